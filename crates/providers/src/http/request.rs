//! One request, as an adapter builds it. Keeps out: where it goes and who it is from.

use reqwest::Method;
use serde::Serialize;

use super::Effect;

/// One request.
#[derive(Debug, Clone)]
pub struct Request {
    /// Its method.
    pub method: Method,
    /// Its path below the endpoint; begins with `/`.
    pub path: String,
    /// Its query.
    pub query: Vec<(String, String)>,
    /// Its body.
    pub body: Body,
    /// What it may have done when no answer comes.
    pub effect: Effect,
    /// What it is for, such as `create a box`.
    pub operation: &'static str,
}

/// What a request carries.
#[derive(Debug, Clone)]
pub enum Body {
    /// Nothing.
    None,
    /// JSON.
    Json(serde_json::Value),
    /// A form, as the query protocol of AWS takes it. Its answers are XML.
    Form(Vec<(String, String)>),
    /// JSON for the operation that a header names, as the JSON protocol of AWS takes it.
    Target(&'static str, serde_json::Value),
}

impl Request {
    /// Makes a request that changes nothing, or nothing more when it is sent twice.
    pub fn new(method: Method, path: impl Into<String>, operation: &'static str) -> Self {
        Self {
            method,
            path: path.into(),
            query: Vec::new(),
            body: Body::None,
            effect: Effect::Repeatable,
            operation,
        }
    }

    /// Makes a request that reads.
    pub fn get(path: impl Into<String>, operation: &'static str) -> Self {
        Self::new(Method::GET, path, operation)
    }

    /// Adds to the query.
    pub fn query(mut self, key: &str, value: impl ToString) -> Self {
        self.query.push((key.to_owned(), value.to_string()));
        self
    }

    /// Gives it a body.
    pub fn json(mut self, body: &impl Serialize) -> Self {
        // The wire types are plain structs with text keys, which always serialise.
        self.body = Body::Json(serde_json::to_value(body).expect("wire types serialise"));
        self
    }

    /// Says that it makes something, once each time that it is sent.
    pub fn creates(mut self) -> Self {
        self.effect = Effect::Creates;
        self
    }

    pub(super) fn accept(&self) -> &'static str {
        match self.body {
            Body::None | Body::Json(_) => "application/json",
            Body::Form(_) | Body::Target(..) => "*/*",
        }
    }
}
