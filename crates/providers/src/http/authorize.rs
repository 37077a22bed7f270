//! How a request proves who asks.

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use model::time::Timestamp;
use reqwest::header::{AUTHORIZATION, HeaderValue};

/// Proves who asks.
#[async_trait]
pub trait Authorize: Send + Sync {
    /// Adds to a built request what proves who asks. Fails with why that cannot be done.
    async fn authorize(&self, request: &mut reqwest::Request) -> Result<(), String>;

    /// Returns what must never be seen in a message.
    fn secrets(&self) -> Vec<String>;

    /// Returns when it can prove that no longer, where that is known and nothing renews it.
    fn expiry(&self) -> Option<Timestamp> {
        None
    }
}

/// Proves nothing: for what anybody may read, and an address that holds its own permission.
pub struct Nobody;

#[async_trait]
impl Authorize for Nobody {
    async fn authorize(&self, _request: &mut reqwest::Request) -> Result<(), String> {
        Ok(())
    }

    fn secrets(&self) -> Vec<String> {
        Vec::new()
    }
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

    fn expiry(&self) -> Option<Timestamp> {
        expiry_of(&self.token)
    }
}

/// Returns when a token expires that says so itself: a JSON Web Token.
fn expiry_of(token: &str) -> Option<Timestamp> {
    let mut parts = token.split('.');
    let (claims, Some(_), None) = (parts.nth(1)?, parts.next(), parts.next()) else {
        return None;
    };
    let claims = URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&claims).ok()?;
    Timestamp::from_second(claims.get("exp")?.as_i64()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_may_say_when_it_expires() {
        let claims = URL_SAFE_NO_PAD.encode(r#"{"aud": "a", "exp": 1800000000}"#);
        let expiry = |token: &str| Bearer::new(token).expiry();
        assert_eq!(
            expiry(&format!("e30.{claims}.sig")),
            Some(Timestamp::from_second(1_800_000_000).unwrap())
        );
        for other in ["plain", &format!("e30.{claims}"), "a.b.c", "..", "ya29.a0Af.xx"] {
            assert_eq!(expiry(other), None, "{other}");
        }
    }
}
