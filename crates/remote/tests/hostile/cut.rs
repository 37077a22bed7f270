//! A way to a server that ends after so many of the server's bytes.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

/// A way to a server that ends after so many of the server's bytes.
pub(crate) struct Cut {
    pub(crate) port: u16,
    carried: Arc<AtomicU64>,
}

impl Cut {
    /// Leads to `server`, and ends each connection after `bytes` of its answer.
    pub(crate) fn before(server: u16, bytes: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let carried = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&carried);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else {
                    return;
                };
                carry(client, server, bytes, &count);
            }
        });
        Self { port, carried }
    }

    /// Returns how many bytes the server has sent over the last connection.
    pub(crate) fn carried(&self) -> u64 {
        self.carried.load(Ordering::SeqCst)
    }
}

fn carry(client: TcpStream, server: TcpStream, bytes: u64, count: &Arc<AtomicU64>) {
    count.store(0, Ordering::SeqCst);
    let count = Arc::clone(count);
    let (mut from_client, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    thread::spawn(move || {
        let _ = std::io::copy(&mut from_client, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Both);
    });
    thread::spawn(move || {
        let (mut from, mut to) = (server.take(bytes), client);
        let mut buffer = vec![0; 4096];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            if to.write_all(&buffer[..length]).is_err() {
                break;
            }
            count.fetch_add(length as u64, Ordering::SeqCst);
        }
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.into_inner().shutdown(Shutdown::Both);
    });
}
