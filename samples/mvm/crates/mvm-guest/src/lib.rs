//! Messages between the host and the agent in a guest: a kind, a length, and the payload.
//! The agent lays a filter on itself before it reads the first one.

use std::fmt;

use mvm_security::{Denial, Filter, calls};

/// The longest payload that either side takes.
pub const PAYLOAD_MAX: usize = 64 * 1024;

const HEADER: usize = 5;
const EPERM: u16 = 1;

/// One message on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Asks whether the agent is there; it answers with the same number.
    Ping(u32),
    /// A line that a program in the guest wrote.
    Output(Vec<u8>),
    /// The exit code of the program.
    Exit(u8),
}

/// Why bytes are not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// No message begins with this byte.
    Kind(u8),
    /// The payload has a length that its kind can not have.
    Length(usize),
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::Kind(kind) => write!(f, "no message is of kind {kind}"),
            Malformed::Length(length) => write!(f, "a payload of {length} bytes does not fit"),
        }
    }
}

impl std::error::Error for Malformed {}

impl Message {
    /// Returns the bytes of this message. The payload must be at most [`PAYLOAD_MAX`] long.
    pub fn encode(&self) -> Vec<u8> {
        let (kind, payload) = match self {
            Message::Ping(number) => (1, number.to_le_bytes().to_vec()),
            Message::Output(line) => (2, line.clone()),
            Message::Exit(code) => (3, vec![*code]),
        };
        assert!(payload.len() <= PAYLOAD_MAX, "the caller splits output");
        let mut bytes = vec![kind];
        bytes.extend((payload.len() as u32).to_le_bytes());
        bytes.extend(payload);
        bytes
    }

    /// Takes the first message off `bytes`, and says how long it was; `None` when it has not all come yet.
    pub fn decode(bytes: &[u8]) -> Result<Option<(Message, usize)>, Malformed> {
        let (kind, length) = match bytes {
            [kind, a, b, c, d, ..] => (*kind, u32::from_le_bytes([*a, *b, *c, *d]) as usize),
            _ => return Ok(None),
        };
        if length > PAYLOAD_MAX {
            return Err(Malformed::Length(length));
        }
        let end = HEADER + length;
        match bytes.get(HEADER..end) {
            Some(payload) => Ok(Some((Message::of(kind, payload)?, end))),
            None => Ok(None),
        }
    }

    fn of(kind: u8, payload: &[u8]) -> Result<Message, Malformed> {
        match (kind, payload) {
            (1, [a, b, c, d]) => Ok(Message::Ping(u32::from_le_bytes([*a, *b, *c, *d]))),
            (2, line) => Ok(Message::Output(line.to_vec())),
            (3, [code]) => Ok(Message::Exit(*code)),
            (1 | 3, _) => Err(Malformed::Length(payload.len())),
            _ => Err(Malformed::Kind(kind)),
        }
    }
}

/// Returns the filter that takes from an agent what it never needs.
pub fn confinement() -> Filter {
    Filter::denying(calls::MAKE_DIRECTORY, Denial::Error(EPERM))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages() -> Vec<Message> {
        vec![
            Message::Ping(7),
            Message::Output(b"a line".to_vec()),
            Message::Output(Vec::new()),
            Message::Output(vec![0xff; PAYLOAD_MAX]),
            Message::Exit(3),
        ]
    }

    #[test]
    fn messages_come_back_as_they_were() {
        for message in messages() {
            let bytes = message.encode();
            let length = bytes.len();
            assert_eq!(Message::decode(&bytes), Ok(Some((message, length))));
        }
    }

    #[test]
    fn a_part_of_a_message_is_waited_for() {
        let bytes = Message::Output(b"a line".to_vec()).encode();
        for length in 0..bytes.len() {
            assert_eq!(Message::decode(&bytes[..length]), Ok(None));
        }
    }

    #[test]
    fn messages_follow_each_other() {
        let mut stream: Vec<u8> = messages().iter().flat_map(Message::encode).collect();
        let mut seen = Vec::new();
        while let Some((message, length)) = Message::decode(&stream).unwrap() {
            seen.push(message);
            stream.drain(..length);
        }
        assert_eq!(seen, messages());
        assert!(stream.is_empty());
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_before_it_is_waited_for() {
        let bytes = [2, 0xff, 0xff, 0xff, 0xff];
        let length = 0xffff_ffff;
        assert_eq!(Message::decode(&bytes), Err(Malformed::Length(length)));
    }

    #[test]
    fn unknown_kinds_and_wrong_lengths_are_refused() {
        assert_eq!(Message::decode(&[9, 0, 0, 0, 0]), Err(Malformed::Kind(9)));
        assert_eq!(Message::decode(&[3, 2, 0, 0, 0, 1, 1]), Err(Malformed::Length(2)));
    }
}
