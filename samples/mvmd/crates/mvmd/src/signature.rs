//! Signed requests: who signs, and who lets in what is signed, fresh, and seen for the first time.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use mvmd_runtime::message::Message;

use crate::sha256::{hex, hmac};

/// How far the clocks of both sides may be apart, in seconds.
const SKEW_MAX: u64 = 30;

/// Most nonces that are remembered at once.
const NONCES_MAX: usize = 100_000;

/// Shortest secret, in characters: 256 bits in hexadecimal.
const SECRET_MIN: usize = 64;

/// The secret that both sides know. Never shown.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Takes a secret that is long enough.
    pub fn new(text: &str) -> Result<Self, String> {
        if text.len() < SECRET_MIN {
            return Err(format!("the secret is shorter than {SECRET_MIN} characters"));
        }
        Ok(Secret(text.to_owned()))
    }

    /// Returns the request with the moment, a nonce and the signature over all of it.
    pub fn sign(&self, request: Message) -> io::Result<Message> {
        self.sign_at(request, now(), &nonce()?)
    }

    fn sign_at(&self, request: Message, time: u64, nonce: &str) -> io::Result<Message> {
        let request = request.with("time", time).with("nonce", nonce);
        let code = self.code(&request)?;
        Ok(request.with("signature", code))
    }

    fn code(&self, request: &Message) -> io::Result<String> {
        let mut unsigned = request.clone();
        unsigned.fields.remove("signature");
        Ok(hex(&hmac(self.0.as_bytes(), unsigned.text()?.as_bytes())))
    }
}

/// Lets requests in.
pub struct Guard {
    secret: Secret,
    /// When each nonce was first seen.
    seen: Mutex<HashMap<String, u64>>,
}

impl Guard {
    /// Lets in what was signed with `secret`.
    pub fn new(secret: Secret) -> Self {
        Guard {
            secret,
            seen: Mutex::default(),
        }
    }

    /// Lets a request in, or says why not.
    pub fn admit(&self, request: &Message) -> Result<(), &'static str> {
        self.admit_at(request, now())
    }

    fn admit_at(&self, request: &Message, now: u64) -> Result<(), &'static str> {
        let given = request.field("signature");
        if given.is_empty() {
            return Err("the request is not signed");
        }
        let code = self
            .secret
            .code(request)
            .map_err(|_| "the request cannot be read")?;
        if !is_same(code.as_bytes(), given.as_bytes()) {
            return Err("the signature is wrong");
        }
        let time: u64 = request
            .field("time")
            .parse()
            .map_err(|_| "the request has no time")?;
        if now.abs_diff(time) > SKEW_MAX {
            return Err("the request is too old, or from the future");
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // An older one can be forgotten: its request is too old by now.
        seen.retain(|_, first| now.saturating_sub(*first) <= 2 * SKEW_MAX);
        if seen.len() >= NONCES_MAX {
            return Err("there are too many requests");
        }
        match seen.insert(request.field("nonce").to_owned(), now) {
            None => Ok(()),
            Some(_) => Err("the request was seen before"),
        }
    }
}

/// Compares in a time that does not tell where the first difference is.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

fn nonce() -> io::Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(hex(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(letter: &str) -> Secret {
        Secret::new(&letter.repeat(SECRET_MIN)).unwrap()
    }

    fn signed(time: u64, nonce: &str) -> Message {
        secret("a")
            .sign_at(Message::new("boot").with("number", 1), time, nonce)
            .unwrap()
    }

    #[track_caller]
    fn check(guard: &Guard, request: &Message, expected: Result<(), &'static str>) {
        assert_eq!(guard.admit_at(request, 1000), expected);
    }

    #[test]
    fn a_fresh_signed_request_is_let_in_once() {
        let guard = Guard::new(secret("a"));
        check(&guard, &signed(1000, "n"), Ok(()));
        check(&guard, &signed(1000, "n"), Err("the request was seen before"));
        check(&guard, &signed(1000, "m"), Ok(()));
    }

    #[test]
    fn what_is_unsigned_changed_or_signed_by_another_is_refused() {
        let guard = Guard::new(secret("a"));
        check(&guard, &Message::new("boot"), Err("the request is not signed"));
        let changed = signed(1000, "n").with("number", 2);
        check(&guard, &changed, Err("the signature is wrong"));
        let renewed = signed(1000, "n").with("nonce", "m");
        check(&guard, &renewed, Err("the signature is wrong"));
        check(
            &Guard::new(secret("b")),
            &signed(1000, "n"),
            Err("the signature is wrong"),
        );
        // What was refused has not used the nonce up.
        check(&guard, &signed(1000, "n"), Ok(()));
    }

    #[test]
    fn a_request_lives_for_a_while_only() {
        let guard = Guard::new(secret("a"));
        check(&guard, &signed(970, "a"), Ok(()));
        check(&guard, &signed(1030, "b"), Ok(()));
        let stale = Err("the request is too old, or from the future");
        check(&guard, &signed(969, "c"), stale);
        check(&guard, &signed(1031, "d"), stale);
    }

    #[test]
    fn a_nonce_is_remembered_as_long_as_its_request_lives() {
        let guard = Guard::new(secret("a"));
        let early = signed(1030, "n");
        assert_eq!(guard.admit_at(&early, 1000), Ok(()));
        assert_eq!(guard.admit_at(&early, 1060), Err("the request was seen before"));
    }

    #[test]
    fn a_short_secret_is_no_secret() {
        assert!(Secret::new("0123").is_err());
    }
}
