//! Who may reach a box over SSH. Keeps out: asking for this machine's address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Plan;
use crate::name::ProviderName;

/// Reads an address range; a single address stands for itself. What lies beyond its length is dropped, as some
/// providers refuse it. Everybody is meant only where that is written as it is: `0.0.0.0/0` or `::/0`.
pub(super) fn range(text: &str) -> Result<String, String> {
    let (address, bits) = text
        .split_once('/')
        .map_or((text, None), |(address, bits)| (address, Some(bits)));
    let address: IpAddr = address
        .parse()
        .map_err(|_| format!("`{text}` is not an address range"))?;
    let most: u8 = if address.is_ipv4() { 32 } else { 128 };
    let bits = match bits {
        None => most,
        Some(bits) => bits
            .parse()
            .ok()
            .filter(|bits| *bits <= most)
            .ok_or_else(|| format!("`{text}` is not an address range: at most /{most}"))?,
    };
    if bits == 0 && !address.is_unspecified() {
        return Err(format!(
            "`{text}` lets everybody in; if that is meant, write 0.0.0.0/0 or ::/0"
        ));
    }
    Ok(format!("{}/{bits}", first(address, bits)))
}

/// Returns the first address of a range.
fn first(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or_default();
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or_default();
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

/// Returns whether this machine's address has to be found out: nobody was named, and a box may be made where the provider
/// has a network of its own.
pub fn needs_address(plan: &Plan, has_own_network: &dyn Fn(&ProviderName) -> bool) -> bool {
    let mut candidates = plan.lanes.iter().flat_map(|lane| &lane.candidates);
    plan.allow.is_empty()
        && candidates.any(|candidate| {
            let options = &candidate.options;
            has_own_network(&candidate.provider) && options.security_group.is_none() && !options.private
        })
}

/// Makes a range of what a service answered that was asked for this machine's address. Boxes are reached over IPv4.
pub fn range_of_answer(answer: &str) -> Result<String, String> {
    let answer = answer.trim();
    let shown: String = answer.chars().filter(|c| !c.is_control()).take(60).collect();
    let address: Ipv4Addr = answer
        .parse()
        .map_err(|_| format!("it answered `{shown}`, selector is no IPv4 address"))?;
    match is_outside(address) {
        true => Ok(format!("{address}/32")),
        false => Err(format!(
            "it answered {address}, selector nobody has on the Internet"
        )),
    }
}

fn is_outside(address: Ipv4Addr) -> bool {
    let [a, b, ..] = address.octets();
    let is_shared = a == 100 && (64..128).contains(&b);
    let is_nobodys = a == 0 || a >= 224 || is_shared;
    !(address.is_private() || address.is_loopback() || address.is_link_local() || is_nobodys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(given: &str, expected: &str) {
        assert_eq!(range(given).as_deref(), Ok(expected));
    }

    #[track_caller]
    fn check_refused(given: &str) {
        assert!(range(given).is_err(), "{given}: {:?}", range(given));
    }

    #[test]
    fn ranges_are_read_and_begin_at_their_first_address() {
        check("203.0.113.7", "203.0.113.7/32");
        check("203.0.113.7/24", "203.0.113.0/24");
        check("203.0.113.7/1", "128.0.0.0/1");
        check("2001:db8::7", "2001:db8::7/128");
        check("2001:DB8:0:1::7/48", "2001:db8::/48");
    }

    #[test]
    fn everybody_is_let_in_only_by_name() {
        check("0.0.0.0/0", "0.0.0.0/0");
        check("::/0", "::/0");
        check_refused("203.0.113.7/0");
        check_refused("2001:db8::/0");
        check("0.0.0.0", "0.0.0.0/32");
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for given in [
            "",
            "/",
            "any",
            "300.1.1.1",
            "1.2.3",
            "1.2.3.4/33",
            "1.2.3.4/-1",
            "1.2.3.4/",
            "::/129",
            "1.2.3.4/8/8",
            " 1.2.3.4",
            "1.2.3.4;accept",
        ] {
            check_refused(given);
        }
    }

    #[test]
    fn only_an_address_of_the_internet_is_taken_from_a_service() {
        assert_eq!(range_of_answer("203.0.113.7\n").as_deref(), Ok("203.0.113.7/32"));
        for answer in [
            "",
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.1.1",
            "192.168.1.1",
            "255.255.255.255",
            "2001:db8::7",
            "0.0.0.0/0",
            "<html>welcome to the hotel</html>",
        ] {
            assert!(range_of_answer(answer).is_err(), "{answer}");
        }
    }
}
