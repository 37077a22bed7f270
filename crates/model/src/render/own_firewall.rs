//! The firewall that a box sets up itself, before its SSH server starts, where its provider has none to give.
//! Keeps out: the provider's own firewalls.

use std::net::IpAddr;

use serde_json::json;

/// Lets in on the outward interfaces what was allowed and what was asked for from inside; whatever else comes is
/// dropped. Traffic of the box's own guests is left alone.
const SCRIPT: &str = r#"rules() {
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
# The image of a bare-metal cloud may forbid root's login: the first file that is read counts.
mkdir -p /etc/ssh/sshd_config.d
echo 'PermitRootLogin prohibit-password' >/etc/ssh/sshd_config.d/00-twolane.conf
"#;

/// The key of a cloud-config whose commands run on every boot before the SSH server.
const BOOTCMD: &str = "\nbootcmd:\n";

/// Returns user-data that does what `user_data`, a cloud-config, does, and has the box let in over SSH only those
/// address ranges. Ranges that are none are left out; without any nobody is let in. It stays one YAML document, as some
/// clouds take nothing else, and the firewall is the first command of every boot: the others may take a while.
pub fn with_own_firewall(user_data: &str, allow: &[String]) -> String {
    let rules: Vec<_> = allow.iter().filter_map(|range| rule(range)).collect();
    let script = json!(SCRIPT.replace("{ALLOW}", &rules.join("\n")));
    let command = format!("{BOOTCMD}  - [sh, -c, {script}]\n");
    match user_data.split_once(BOOTCMD) {
        Some((before, after)) => format!("{before}{command}{after}"),
        None => format!("{}{command}", user_data.trim_end()),
    }
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

    fn parsed(user_data: &str) -> serde_json::Value {
        assert!(user_data.starts_with("#cloud-config\n"), "{user_data}");
        serde_saphyr::from_str(user_data).unwrap()
    }

    #[test]
    fn firewall_script_looks_like_this() {
        let allow = [
            "203.0.113.7/32",
            "2001:db8::/48",
            "0.0.0.0/0; accept",
            "everybody",
        ];
        let user_data = with_own_firewall("#cloud-config\nhostname: \"box-1\"\n", &allow.map(str::to_owned));
        let user_data = parsed(&user_data);
        assert_eq!(user_data["hostname"], "box-1");
        insta::assert_snapshot!(user_data["bootcmd"][0][2].as_str().unwrap());
    }

    #[test]
    fn firewall_is_the_first_command_of_every_boot() {
        let user_data = "#cloud-config\nbootcmd:\n  - [systemctl, mask, x]\nruncmd:\n  - [echo]\n";
        let user_data = parsed(&with_own_firewall(user_data, &[]));
        assert!(user_data["bootcmd"][0][2].as_str().unwrap().contains("nft -f -"));
        assert_eq!(user_data["bootcmd"][1], json!(["systemctl", "mask", "x"]));
        assert_eq!(user_data["runcmd"], json!([["echo"]]));
    }

    #[test]
    fn nobody_is_let_in_when_nobody_is_named() {
        assert!(!with_own_firewall("#cloud-config\n", &[]).contains("saddr"));
    }
}
