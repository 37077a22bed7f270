//! Finds the address of a box in what `provider_up` wrote to standard output.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

/// How much of a line is shown.
const SHOWN: usize = 80;

/// Returns the address in the last line that is not empty, or says what is wrong with it.
pub(crate) fn address(stdout: &str, has_route: fn(IpAddr) -> bool) -> Result<IpAddr, String> {
    let lines: Vec<&str> = stdout
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let Some((last, before)) = lines.split_last() else {
        return Err("it printed no address".to_owned());
    };
    let Ok(address) = last.parse::<IpAddr>() else {
        let earlier = before.iter().rev().find(|line| line.parse::<IpAddr>().is_ok());
        let more = earlier.map_or(String::new(), |line| {
            format!("; {line} came before it, and the address must come last")
        });
        return Err(format!(
            "the last line that it printed is `{}`, and not an IP address{more}",
            shown(last)
        ));
    };
    let address = address.to_canonical();
    match why_unusable(address) {
        Some(why) => Err(format!("it printed {address}, {why}")),
        None if address.is_ipv6() && !has_route(address) => Err(format!(
            "it printed the IPv6 address {address}, and this machine has no route to it"
        )),
        None => Ok(address),
    }
}

/// Says why no box can be reached at an address. The loopback is one: an adapter may make boxes on this machine.
fn why_unusable(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => why_unusable_v4(address),
        IpAddr::V6(address) => why_unusable_v6(address),
    }
}

fn why_unusable_v4(address: Ipv4Addr) -> Option<&'static str> {
    match address.octets()[0] {
        0 => Some("which is no address of a machine"),
        169 if address.is_link_local() => Some("which is link-local: the box has no address of its own yet"),
        224..=239 => Some("which is a multicast address"),
        240..=255 => Some("which is no address of a machine"),
        _ => None,
    }
}

fn why_unusable_v6(address: Ipv6Addr) -> Option<&'static str> {
    if address.is_unspecified() {
        Some("which is no address of a machine")
    } else if address.is_multicast() {
        Some("which is a multicast address")
    } else if address.is_unicast_link_local() {
        Some("which is link-local: it means nothing outside of the box's own network")
    } else {
        None
    }
}

/// Returns whether this machine has a route to an address. Sends nothing.
pub(crate) fn has_route(address: IpAddr) -> bool {
    let any: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    UdpSocket::bind((any, 0)).is_ok_and(|socket| socket.connect((address, 22)).is_ok())
}

/// Returns the beginning of a line, for a sentence.
pub(crate) fn shown(line: &str) -> String {
    plain(line, SHOWN)
}

/// Returns the beginning of a line, without what a terminal would obey.
pub(crate) fn plain(line: &str, chars_max: usize) -> String {
    let mut chars = line.chars();
    let text: String = chars
        .by_ref()
        .take(chars_max)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    match chars.next() {
        Some(_) => format!("{text}…"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn good(stdout: &str, wanted: &str) {
        assert_eq!(
            address(stdout, |_| true),
            Ok(wanted.parse().unwrap()),
            "{stdout:?}"
        );
    }

    #[track_caller]
    fn bad(stdout: &str, wanted: &str) {
        let why = address(stdout, |_| true).unwrap_err();
        assert!(why.contains(wanted), "{stdout:?}: {why}");
    }

    #[test]
    fn the_last_line_counts() {
        good("203.0.113.9", "203.0.113.9");
        good("creating\nstill creating\n 203.0.113.9 \r\n\n\n", "203.0.113.9");
        good("127.0.54.1\n", "127.0.54.1");
        good("::ffff:203.0.113.9\n", "203.0.113.9");
        good("2001:db8::7\n", "2001:db8::7");
    }

    #[test]
    fn what_is_no_address_is_reported() {
        bad("", "no address");
        bad("\n \n", "no address");
        bad("203.0.113.9\nDone.\n", "the last line that it printed is `Done.`");
        bad("203.0.113.9\nDone.\n", "203.0.113.9 came before it");
        bad("box.example.org\n", "`box.example.org`");
        bad("203.0.113.9:2222\n", "not an IP address");
        bad("[2001:db8::7]\n", "not an IP address");
        bad("ip=203.0.113.9\n", "not an IP address");
        bad("203.0.113.9 10.0.0.4\n", "not an IP address");
        bad("\x1b[2J\x07\n", "not an IP address");
        assert_eq!(shown(&"x".repeat(81)).chars().count(), 81);
        assert_eq!(shown("\x1b[2J"), " [2J");
    }

    #[test]
    fn where_nothing_can_be_reached_is_reported() {
        bad("0.0.0.0\n", "no address of a machine");
        bad("255.255.255.255\n", "no address of a machine");
        bad("240.0.0.1\n", "no address of a machine");
        bad("224.0.0.1\n", "multicast");
        bad("169.254.3.4\n", "link-local");
        bad("::\n", "no address of a machine");
        bad("ff02::1\n", "multicast");
        bad("fe80::1\n", "link-local");
        bad("fe80::1%eth0\n", "not an IP address");
    }

    #[test]
    fn an_ipv6_address_needs_a_route_from_here() {
        let why = address("2001:db8::7\n", |_| false).unwrap_err();
        assert!(why.contains("no route"), "{why}");
        assert!(address("203.0.113.9\n", |_| false).is_ok());
        assert!(has_route(Ipv4Addr::LOCALHOST.into()));
    }

    #[test]
    fn output_of_any_kind_is_an_address_or_a_sentence() {
        let corpus: &[&[u8]] = &[
            b"creating\nstill creating\n 203.0.113.9 \r\n\n",
            b"2001:db8::7\n",
            b"::ffff:203.0.113.9",
            b"fe80::1%eth0\n",
        ];
        let read = |input: &[u8]| match address(&String::from_utf8_lossy(input), |_| true) {
            Ok(address) => assert_eq!(why_unusable(address), None),
            Err(why) => assert!(why.len() < 1000 && !why.chars().any(char::is_control), "{why:?}"),
        };
        fuzz::check(&[("an adapter's output", corpus, &read)], 2_000);
    }
}
