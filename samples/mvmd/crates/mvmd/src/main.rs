//! `mvmd`: one program, three daemons, and the request that a person or a smoke test sends to them.

mod config;
mod daemons;
mod sha256;
mod signature;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use config::{CoordinatorConfig, GatewayConfig};
use mvmd_runtime::message::Message;
use mvmd_runtime::serve::ask_tcp;

const USAGE: &str = "usage: mvmd gateway CONFIG
       mvmd coordinator CONFIG
       mvmd agent SOCKET HOSTD-SOCKET
       mvmd request [signed|unsigned|replayed] GATEWAY-CONFIG NUMBER TEXT";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words[..] {
        ["gateway", config] => GatewayConfig::read(Path::new(config)).and_then(daemons::gateway),
        ["coordinator", config] => CoordinatorConfig::read(Path::new(config)).and_then(daemons::coordinator),
        ["agent", socket, hostd] => daemons::agent(Path::new(socket), PathBuf::from(hostd)),
        [
            "request",
            kind @ ("signed" | "unsigned" | "replayed"),
            config,
            number,
            text,
        ] => request(kind, Path::new(config), number, text),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("mvmd: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Sends a request to the gateway, and prints the answer. The secret is read from the gateway's own file, so that it
/// stands in no list of arguments.
fn request(kind: &str, config: &Path, number: &str, text: &str) -> Result<(), String> {
    let config = GatewayConfig::read(config)?;
    let ask = |request: &Message| {
        ask_tcp(&config.listen, request).map_err(|error| format!("could not ask {}: {error}", config.listen))
    };
    let mut request = Message::new("boot").with("number", number).with("text", text);
    if kind != "unsigned" {
        request = config
            .secret
            .sign(request)
            .map_err(|error| format!("could not sign: {error}"))?;
    }
    if kind == "replayed" {
        let first = ask(&request)?;
        if first.verb != "ok" {
            return Err(format!("the first time already: {}", first.field("why")));
        }
    }
    let answer = ask(&request)?;
    match answer.verb.as_str() {
        "ok" => {
            println!(
                "said: {}\nanswer: {}\nexits: {}",
                answer.field("said"),
                answer.field("answer"),
                answer.field("exits")
            );
            Ok(())
        }
        verb => Err(format!("{verb}: {}", answer.field("why"))),
    }
}
