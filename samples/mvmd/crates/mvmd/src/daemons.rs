//! The three daemons of this program. A request goes from the gateway to the coordinator to the agent to mvm-hostd.

use std::path::{Path, PathBuf};

use mvmd_runtime::message::Message;
use mvmd_runtime::serve::{ask_socket, ask_tcp, listen_socket, listen_tcp, serve};

use crate::config::{CoordinatorConfig, GatewayConfig};
use crate::signature::Guard;

/// Lets signed requests in from outside, and signs them anew for the coordinator.
pub fn gateway(config: GatewayConfig) -> Result<(), String> {
    let guard = Guard::new(config.secret.clone());
    listen("gateway", &config.listen.clone(), move |request| {
        guard.admit(request)?;
        let onward = config
            .secret
            .sign(inner(request))
            .map_err(|_| "the request cannot be sent on")?;
        ask_tcp(&config.coordinator, &onward).map_err(|_| "the coordinator does not answer")
    })
}

/// Gives a request to its node.
pub fn coordinator(config: CoordinatorConfig) -> Result<(), String> {
    let guard = Guard::new(config.secret);
    let agent = config.agent;
    listen("coordinator", &config.listen, move |request| {
        guard.admit(request)?;
        ask_socket(&agent, &inner(request)).map_err(|_| "the agent does not answer")
    })
}

/// Stands for a node: hands requests to the privileged daemon beside it.
pub fn agent(socket: &Path, hostd: PathBuf) -> Result<(), String> {
    let served = listen_socket(socket).and_then(|listener| {
        println!("agent listens at {}", socket.display());
        serve(listener.incoming(), move |request| {
            ask_socket(&hostd, request).unwrap_or_else(|error| {
                eprintln!("mvm-hostd does not answer at {}: {error}", hostd.display());
                Message::refused("mvm-hostd does not answer")
            })
        })
    });
    served.map_err(|error| format!("could not serve at {}: {error}", socket.display()))
}

fn listen(
    name: &'static str,
    address: &str,
    answer: impl Fn(&Message) -> Result<Message, &'static str> + Send + Sync + 'static,
) -> Result<(), String> {
    let served = listen_tcp(address).and_then(|listener| {
        println!("{name} listens at {address}");
        serve(listener.incoming(), move |request| {
            answer(request).unwrap_or_else(|why| {
                eprintln!("refused a request: {why}");
                Message::refused(why)
            })
        })
    });
    served.map_err(|error| format!("could not serve at {address}: {error}"))
}

/// Returns the request without what belongs to one hop alone.
fn inner(request: &Message) -> Message {
    let mut inner = request.clone();
    for name in ["time", "nonce", "signature"] {
        inner.fields.remove(name);
    }
    inner
}
