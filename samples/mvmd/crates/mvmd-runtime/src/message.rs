//! A message: one line with its verb, lines `name: value`, an empty line. Every hop speaks it, requests and answers alike.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};

/// Longest message, in bytes.
pub const LONGEST: u64 = 8 * 1024;

/// One request or one answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// What is asked for, or how it went: `boot`; `ok`, `refused`.
    pub verb: String,
    /// By name, so that the same message is always written the same way.
    pub fields: BTreeMap<String, String>,
}

impl Message {
    /// Makes a message without fields.
    pub fn new(verb: &str) -> Self {
        Message {
            verb: verb.to_owned(),
            fields: BTreeMap::new(),
        }
    }

    /// Makes the answer to a request that is not carried out.
    pub fn refused(why: impl ToString) -> Self {
        Message::new("refused").with("why", one_line(&why.to_string()))
    }

    /// Adds a field.
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.fields.insert(name.to_owned(), value.to_string());
        self
    }

    /// Returns a field, or nothing's text.
    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    /// Returns the message as it is written, or why it cannot be.
    pub fn text(&self) -> io::Result<String> {
        let mut text = format!("{}\n", self.verb);
        for (name, value) in &self.fields {
            text.push_str(&format!("{name}: {value}\n"));
        }
        text.push('\n');
        let is_plain = |text: &str| !text.chars().any(char::is_control);
        let names = self
            .fields
            .keys()
            .all(|name| is_plain(name) && !name.contains(':'));
        if !is_plain(&self.verb) || !names || !self.fields.values().all(|value| is_plain(value)) {
            return Err(broken("a message holds one line for each field"));
        }
        if text.len() as u64 > LONGEST {
            return Err(broken("the message is too long"));
        }
        Ok(text)
    }

    /// Reads one message.
    pub fn read(from: impl Read) -> io::Result<Self> {
        let mut lines = BufReader::new(from.take(LONGEST)).lines();
        let verb = lines.next().ok_or_else(|| broken("nothing was said"))??;
        let mut message = Message::new(&verb);
        for line in lines {
            let line = line?;
            if line.is_empty() {
                return Ok(message);
            }
            let (name, value) = line
                .split_once(": ")
                .ok_or_else(|| broken("a line is no field"))?;
            if message.fields.insert(name.to_owned(), value.to_owned()).is_some() {
                return Err(broken("a field appears twice"));
            }
        }
        Err(broken("the message does not end"))
    }

    /// Sends this request over a connection, and returns its answer.
    pub fn ask(&self, mut connection: impl Read + Write) -> io::Result<Message> {
        connection.write_all(self.text()?.as_bytes())?;
        Message::read(connection)
    }
}

fn broken(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let message = Message::new("boot").with("text", "a: b").with("number", 7);
        let text = message.text().unwrap();
        assert_eq!(text, "boot\nnumber: 7\ntext: a: b\n\n");
        assert_eq!(Message::read(text.as_bytes()).unwrap(), message);
    }

    #[test]
    fn a_field_cannot_smuggle_in_another() {
        assert!(Message::new("boot").with("text", "a\nnumber: 1").text().is_err());
        assert_eq!(Message::refused("a\nb").field("why"), "a b");
    }

    #[test]
    fn what_is_cut_or_doubled_or_endless_is_refused() {
        for text in [
            "",
            "boot\n",
            "boot\na: 1\n",
            "boot\na: 1\na: 2\n\n",
            "boot\nnonsense\n\n",
        ] {
            assert!(Message::read(text.as_bytes()).is_err(), "{text:?}");
        }
        let endless = format!("boot\na: {}\n\n", "x".repeat(LONGEST as usize));
        assert!(Message::read(endless.as_bytes()).is_err());
        assert!(
            Message::new("boot")
                .with("a", "x".repeat(LONGEST as usize))
                .text()
                .is_err()
        );
    }
}
