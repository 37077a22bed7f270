//! How a request proves who asks.

use async_trait::async_trait;
use reqwest::header::{AUTHORIZATION, HeaderValue};

/// Proves who asks.
#[async_trait]
pub trait Authorize: Send + Sync {
    /// Adds to a built request what proves who asks. Fails with why that cannot be done.
    async fn authorize(&self, request: &mut reqwest::Request) -> Result<(), String>;

    /// Returns what must never be seen in a message.
    fn secrets(&self) -> Vec<String>;
}

/// A token that does not change.
pub struct Bearer {
    token: String,
}

impl Bearer {
    /// Takes a token. White space around it is dropped: pasted tokens often have some.
    pub fn new(token: &str) -> Self {
        Self {
            token: token.trim().to_owned(),
        }
    }
}

#[async_trait]
impl Authorize for Bearer {
    async fn authorize(&self, request: &mut reqwest::Request) -> Result<(), String> {
        let value = HeaderValue::from_str(&format!("Bearer {}", self.token));
        let mut value = value.map_err(|_| "the token holds characters that no token has".to_owned())?;
        value.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, value);
        Ok(())
    }

    fn secrets(&self) -> Vec<String> {
        vec![self.token.clone()]
    }
}
