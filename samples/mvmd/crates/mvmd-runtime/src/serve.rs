//! Listens, and answers each connection's one request on a thread of its own.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::message::Message;

/// How long either side may keep the other waiting.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A connection that does not wait for ever.
pub trait Connection: Read + Write + Send + 'static {
    /// Sets how long a read or a write may take.
    fn set_patience(&self) -> io::Result<()>;
}

impl Connection for TcpStream {
    fn set_patience(&self) -> io::Result<()> {
        self.set_read_timeout(Some(PATIENCE))?;
        self.set_write_timeout(Some(PATIENCE))
    }
}

impl Connection for UnixStream {
    fn set_patience(&self) -> io::Result<()> {
        self.set_read_timeout(Some(PATIENCE))?;
        self.set_write_timeout(Some(PATIENCE))
    }
}

/// Answers whoever connects. Returns only when nobody can connect any more.
pub fn serve<C: Connection>(
    connections: impl Iterator<Item = io::Result<C>>,
    answer: impl Fn(&Message) -> Message + Send + Sync + 'static,
) -> io::Result<()> {
    let answer = Arc::new(answer);
    for connection in connections {
        let (mut connection, answer) = (connection?, answer.clone());
        thread::spawn(move || {
            if let Err(error) = answer_one(&mut connection, &*answer) {
                eprintln!("a connection ended early: {error}");
            }
        });
    }
    Ok(())
}

fn answer_one<C: Connection>(connection: &mut C, answer: &dyn Fn(&Message) -> Message) -> io::Result<()> {
    connection.set_patience()?;
    let reply = match Message::read(&mut *connection) {
        Ok(request) => answer(&request),
        Err(error) => Message::refused(error),
    };
    connection.write_all(reply.text()?.as_bytes())
}

/// Sends a request to whoever listens at a TCP address, and returns the answer.
pub fn ask_tcp(address: &str, request: &Message) -> io::Result<Message> {
    let connection = TcpStream::connect(address)?;
    connection.set_patience()?;
    request.ask(connection)
}

/// Sends a request to whoever listens at a socket, and returns the answer.
pub fn ask_socket(path: &Path, request: &Message) -> io::Result<Message> {
    let connection = UnixStream::connect(path)?;
    connection.set_patience()?;
    request.ask(connection)
}

/// Listens at a socket in the file system, in place of whoever listened there before.
pub fn listen_socket(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => UnixListener::bind(path),
    }
}

/// Listens at a TCP address.
pub fn listen_tcp(address: &str) -> io::Result<TcpListener> {
    TcpListener::bind(address)
}
