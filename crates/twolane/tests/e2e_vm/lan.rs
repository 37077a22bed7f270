//! A network of this machine's with another host on it, and a metadata service beside it: what a box's root must not reach.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::support::wait_until;

/// This machine's address there, and the other host's. Nobody's (RFC 5737): only being on the network makes it ours. It has
/// these two addresses and no others, as walled-in machines have their mirrors in such ranges.
const HERE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 253);
const OTHER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 254);

/// The same two in IPv6 (RFC 3849).
const HERE_6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x18, 0, 0, 0, 0, 1);
const OTHER_6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x18, 0, 0, 0, 0, 2);

/// Where clouds tell a machine who it is, and hand out its credentials.
const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

/// The port of the other host that a box may be allowed.
pub(crate) const ALLOWED: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(OTHER), 8002);

/// Listens at all ports that its arguments name.
const SERVER: &str = "import socket, sys, time\nheld = [socket.create_server((\"\", int(p)), family=socket.AF_INET6, dualstack_ipv6=True) for p in sys.argv[1:]]\ntime.sleep(3600)";

/// The network. It is gone when this is dropped.
pub(crate) struct Lan {
    name: String,
    server: Child,
    here: TcpListener,
    here_6: TcpListener,
}

impl Lan {
    /// Makes one, where this user may.
    pub(crate) fn new() -> Option<Self> {
        let name = format!("tl-{}", std::process::id());
        let ip = |line: &str| {
            let line = line.replace("NAME", &name);
            let status = Command::new("ip")
                .args(line.split(' '))
                .stderr(Stdio::null())
                .status();
            status.is_ok_and(|status| status.success())
        };
        if !ip("netns add NAME") {
            return None;
        }
        let mut server = Command::new("ip")
            .args([
                "netns", "exec", &name, "python3", "-c", SERVER, "80", "8001", "8002",
            ])
            .spawn()
            .unwrap();
        let is_made = ip("link add NAME type veth peer name other netns NAME")
            && ip("addr add 198.51.100.253/30 dev NAME")
            && ip("link set NAME up")
            && ip("addr add 2001:db8:18::1/64 dev NAME nodad")
            && ip("-n NAME addr add 198.51.100.254/30 dev other")
            && ip("-n NAME addr add 2001:db8:18::2/64 dev other nodad")
            && ip("-n NAME addr add 169.254.169.254/32 dev other")
            && ip("-n NAME link set other up")
            // Where this machine has a metadata service, that one is tried.
            && (is_open(SocketAddr::from((METADATA, 80))) || ip("route add 169.254.169.254/32 dev NAME"));
        let here = is_made.then(|| TcpListener::bind((HERE, 0)).ok()).flatten();
        let here_6 = is_made.then(|| TcpListener::bind((HERE_6, 0)).ok()).flatten();
        let (Some(here), Some(here_6)) = (here, here_6) else {
            end(&name, &mut server);
            return None;
        };
        let lan = Self {
            name,
            server,
            here,
            here_6,
        };
        for target in lan.targets().into_iter().chain(lan.targets_6()) {
            wait_until("the network answers this machine", || is_open(target));
        }
        Some(lan)
    }

    /// Returns what is there, all of which this machine reaches.
    pub(crate) fn targets(&self) -> Vec<SocketAddr> {
        let closed = SocketAddr::from((OTHER, 8001));
        let metadata = SocketAddr::from((METADATA, 80));
        vec![self.here.local_addr().unwrap(), closed, ALLOWED, metadata]
    }

    /// Returns what is there in IPv6, all of which this machine reaches.
    pub(crate) fn targets_6(&self) -> Vec<SocketAddr> {
        let other = [8001, 8002].map(|port| SocketAddr::from((OTHER_6, port)));
        [vec![self.here_6.local_addr().unwrap()], other.to_vec()].concat()
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        end(&self.name, &mut self.server);
    }
}

fn end(name: &str, server: &mut Child) {
    let _ = server.kill();
    let _ = server.wait();
    let _ = Command::new("ip").args(["netns", "del", name]).status();
}

fn is_open(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
}
