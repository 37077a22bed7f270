//! Asks a service on the Internet for this machine's address as the outside sees it.
//! Keeps out: whether it is asked, and what an answer is worth.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use model::text::error_chain;
use reqwest::{Client, Url, redirect::Policy};

use crate::http::is_here;

/// The service that is asked where no other is named. It answers with the address alone.
pub const SERVICE: &str = "https://checkip.amazonaws.com/";

/// How long it may take.
const TIME_MAX: Duration = Duration::from_secs(15);

/// The longest answer that can hold an address.
const ANSWER_MAX: usize = 256;

/// Asks, over IPv4 and past any proxy, as SSH goes. Only over HTTPS, unless the service is on this machine: whoever
/// could change the answer would let himself in.
pub async fn ask(service: &str) -> Result<String, String> {
    let url = Url::parse(service).map_err(|error| format!("`{service}` is not a URL: {error}"))?;
    if url.scheme() != "https" && !is_here(&url) {
        return Err(format!("{service} does not begin with https://"));
    }
    let client = Client::builder()
        .user_agent(concat!("twolane/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .local_address(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
        .no_proxy()
        .timeout(TIME_MAX)
        .build()
        .map_err(|error| error_chain(&error))?;
    let cut = |error: reqwest::Error| format!("{service}: {}", error_chain(&error.without_url()));
    let mut response = client.get(url).send().await.map_err(cut)?;
    if !response.status().is_success() {
        return Err(format!(
            "{service} answered with HTTP {}",
            response.status().as_u16()
        ));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(cut)? {
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_MAX {
            return Err(format!("{service} answered with more than an address"));
        }
    }
    Ok(String::from_utf8_lossy(&body).into_owned())
}
