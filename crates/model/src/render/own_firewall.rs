//! The firewall that a box sets up itself, before its SSH server starts, where its provider has none to give.
//! Keeps out: the provider's own firewalls.

use std::net::IpAddr;

/// What parts the pieces of the user-data. Nothing of ours holds such a line.
const BOUNDARY: &str = "==twolane-part==";

/// Lets in on the outward interfaces what was allowed and what was asked for from inside; whatever else comes is
/// dropped. Traffic of the box's own guests is left alone. Runs on every boot, before the SSH server.
const SCRIPT: &str = r#"#!/bin/sh
rules() {
	cat <<RULES
table inet twolane_ingress
delete table inet twolane_ingress
table inet twolane_ingress {
	chain input {
		type filter hook input priority -10; policy accept;
		iifname != { $outward } accept
		ct state established,related accept
		meta l4proto { icmp, ipv6-icmp } accept
		udp sport 67 udp dport 68 accept
		udp sport 547 udp dport 546 accept
{ALLOW}
		drop
	}
}
RULES
}
find_outward() {
	outward=$( (ip -o route show default; ip -o -6 route show default) | sed -n 's/.* dev \([^ ]*\).*/"\1"/p')
	outward=$(echo "$outward" | sort -u | paste -sd, -)
	[ -n "$outward" ]
}
# An image may start cloud-init before its network is there.
tries=240
until find_outward || [ $((tries -= 1)) = 0 ]; do sleep 0.5; done
command -v nft >/dev/null || { apt-get -q update && apt-get -qy install nftables; } >/dev/null 2>&1
if [ -z "$outward" ] || ! rules | nft -f -; then
	echo 'twolane: the firewall could not be set up, so nobody is let in over SSH' | tee /dev/console
	systemctl mask --runtime ssh.service ssh.socket sshd.service
fi
"#;

/// Returns user-data that does what `user_data`, a cloud-config, does, and has the box let in over SSH only those
/// address ranges. Ranges that are none are left out; without any nobody is let in.
pub fn with_own_firewall(user_data: &str, allow: &[String]) -> String {
    let rules: Vec<_> = allow.iter().filter_map(|range| rule(range)).collect();
    let script = SCRIPT.replace("{ALLOW}", &rules.join("\n"));
    let part = |kind: &str, text: &str| {
        format!(
            "--{BOUNDARY}\nMIME-Version: 1.0\nContent-Type: text/{kind}; charset=\"us-ascii\"\n\
             Content-Transfer-Encoding: 7bit\n\n{text}\n"
        )
    };
    format!(
        "Content-Type: multipart/mixed; boundary=\"{BOUNDARY}\"\nMIME-Version: 1.0\n\n{}{}--{BOUNDARY}--\n",
        part("cloud-boothook", &script),
        part("cloud-config", user_data),
    )
}

fn rule(range: &str) -> Option<String> {
    let (address, bits) = range.split_once('/')?;
    let (address, bits): (IpAddr, u8) = (address.parse().ok()?, bits.parse().ok()?);
    let family = if address.is_ipv4() { "ip" } else { "ip6" };
    Some(format!("\t\t{family} saddr {address}/{bits} tcp dport 22 accept"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_data_with_a_firewall_looks_like_this() {
        let allow = [
            "203.0.113.7/32",
            "2001:db8::/48",
            "0.0.0.0/0; accept",
            "everybody",
        ];
        insta::assert_snapshot!(with_own_firewall(
            "#cloud-config\nhostname: \"box-1\"\n",
            &allow.map(str::to_owned)
        ));
    }

    #[test]
    fn nobody_is_let_in_when_nobody_is_named() {
        assert!(!with_own_firewall("#cloud-config\n", &[]).contains("saddr"));
    }
}
