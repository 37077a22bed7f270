//! The filter between a box and QEMU's user network: which frames come out of it, and in which form.

use std::{
    io::{Read, Write},
    process::{Command, Stdio},
};

const FILTER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/local/filter.py");

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const SYN: u8 = 2;
const ACK: u8 = 16;

/// What a guest's root sends.
#[derive(Clone, Copy)]
struct Sent {
    to: [u8; 4],
    protocol: u8,
    port: u16,
    flags: u8,
    fragment: u16,
}

impl Sent {
    fn tcp(to: [u8; 4], port: u16) -> Self {
        Self {
            to,
            protocol: TCP,
            port,
            flags: SYN,
            fragment: 0,
        }
    }

    fn udp(to: [u8; 4], port: u16) -> Self {
        Self {
            protocol: UDP,
            ..Self::tcp(to, port)
        }
    }

    fn frame(self) -> Vec<u8> {
        let mut segment = [22u16.to_be_bytes(), self.port.to_be_bytes()].concat();
        segment.extend([0, 0, 0, 1, 0, 0, 0, 0, 5 << 4, self.flags, 255, 255, 0, 0, 0, 0]);
        let mut packet = vec![0x45, 0, 0, 40, 0, 1];
        packet.extend(self.fragment.to_be_bytes());
        packet.extend([64, self.protocol, 0, 0, 10, 0, 2, 15]);
        packet.extend(self.to);
        if self.protocol == TCP {
            let sum = sum_of(&packet, &segment);
            segment[16..18].copy_from_slice(&(!sum).to_be_bytes());
        }
        let header = [&[0x52; 12][..], &[8, 0]].concat();
        [header, packet, segment].concat()
    }
}

/// Returns the sum over a segment and its pseudo header: all ones when the checksum in it is right.
fn sum_of(packet: &[u8], segment: &[u8]) -> u16 {
    let pseudo = [
        &packet[12..20],
        &[0, packet[9]],
        &(segment.len() as u16).to_be_bytes(),
    ]
    .concat();
    let words = pseudo.chunks(2).chain(segment.chunks(2));
    let mut sum: u32 = words
        .map(|it| u32::from(u16::from_be_bytes([it[0], it[1]])))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// Sends frames through the filter, and returns those that come out.
fn filter(rules: &str, frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut child = Command::new("python3")
        .args(["-I", FILTER])
        .args(rules.split(' '))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    for frame in frames {
        input.write_all(&(frame.len() as u32).to_be_bytes()).unwrap();
        input.write_all(frame).unwrap();
    }
    drop(input);
    let mut output = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut output).unwrap();
    assert!(child.wait().unwrap().success());
    let (mut rest, mut passed) = (&output[..], Vec::new());
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let (frame, after) = after.split_at(u32::from_be_bytes(*length) as usize);
        passed.push(frame.to_vec());
        rest = after;
    }
    passed
}

#[track_caller]
fn check(rules: &str, passes: &[Sent], refused: &[Sent], dropped: &[Sent]) {
    let frames = |sent: &[Sent]| sent.iter().map(|it| it.frame()).collect::<Vec<_>>();
    assert_eq!(
        filter(rules, &frames(passes)),
        frames(passes),
        "these pass: {rules}"
    );
    let dropped_frames = filter(rules, &frames(dropped));
    assert_eq!(dropped_frames, Vec::<Vec<u8>>::new(), "these do not: {rules}");
    // With FIN beside SYN the user network answers by itself that there is nobody.
    let came = filter(rules, &frames(refused));
    assert_eq!(came.len(), refused.len(), "these are refused: {rules}");
    for frame in came {
        assert_eq!(frame[14 + 20 + 13], SYN | 1);
        assert_eq!(
            sum_of(&frame[14..34], &frame[34..]),
            0xffff,
            "the checksum is right"
        );
    }
}

const OPERATOR: [u8; 4] = [10, 0, 2, 2];
const RESOLVER: [u8; 4] = [10, 0, 2, 3];
const OUTSIDE: [u8; 4] = [9, 9, 9, 9];

#[test]
fn guest_reaches_the_internet_and_nothing_of_the_operator() {
    let ssh_answer = Sent {
        flags: ACK,
        ..Sent::tcp(OPERATOR, 40_000)
    };
    let hidden_syn = Sent {
        fragment: 0x2000,
        ..Sent::tcp(OPERATOR, 5432)
    };
    let ping = |to| Sent {
        protocol: ICMP,
        ..Sent::tcp(to, 0)
    };
    check(
        "internet",
        &[
            Sent::tcp(OUTSIDE, 443),
            Sent::udp(OUTSIDE, 53),
            ping(OUTSIDE),
            Sent::udp(RESOLVER, 53),
            Sent::tcp(RESOLVER, 53),
            Sent::udp([255; 4], 67),
            ssh_answer,
        ],
        &[
            Sent::tcp(OPERATOR, 5432),
            Sent::tcp([169, 254, 169, 254], 80),
            Sent::tcp([127, 0, 0, 1], 22),
            Sent::tcp([0, 0, 0, 0], 22),
            Sent::tcp([192, 168, 1, 1], 80),
            Sent::tcp([172, 31, 0, 9], 80),
            Sent::tcp([10, 0, 2, 77], 80),
            Sent::tcp([100, 64, 0, 1], 80),
            Sent::tcp([255; 4], 80),
        ],
        &[
            hidden_syn,
            Sent::udp(OPERATOR, 53),
            Sent::udp(OPERATOR, 69),
            Sent::udp(RESOLVER, 54),
            Sent::udp([255; 4], 5353),
            Sent::udp([224, 0, 0, 251], 5353),
            Sent::udp([169, 254, 169, 254], 53),
            ping([192, 168, 1, 1]),
        ],
    );
}

#[test]
fn exceptions_are_an_address_a_network_or_a_port() {
    let rules = "none 127.0.0.1:3142 10.1.0.0/16 192.168.7.7:8080";
    check(
        rules,
        &[
            Sent::tcp(OPERATOR, 3142),
            Sent::tcp([10, 1, 2, 3], 1),
            Sent::udp([10, 1, 2, 3], 1),
            Sent::tcp([192, 168, 7, 7], 8080),
        ],
        &[
            Sent::tcp(OPERATOR, 3143),
            Sent::tcp([10, 2, 2, 3], 1),
            Sent::tcp([192, 168, 7, 7], 80),
            Sent::tcp([192, 168, 7, 8], 8080),
            Sent::tcp(OUTSIDE, 443),
        ],
        &[Sent::udp(OUTSIDE, 53), Sent::udp(RESOLVER, 53)],
    );
}

#[test]
fn frames_of_another_kind_do_not_pass() {
    let arp = [&[0x52; 12][..], &[8, 6], &[0; 28]].concat();
    let tagged = [&[0x52; 12][..], &[0x81, 0, 0, 1, 8, 0], &[0x45; 40]].concat();
    let ipv6 = [&[0x52; 12][..], &[0x86, 0xdd], &[0x60; 60]].concat();
    let frames = [arp.clone(), tagged, ipv6, vec![8; 3], Vec::new()];
    assert_eq!(filter("internet", &frames), [arp]);
}

#[test]
fn networks_of_this_machine_are_read_from_its_routes() {
    let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     +-- 8.8.0.0/24 2 0 2\n        \
        |-- 8.8.0.0\n           /24 link UNICAST\n        |-- 8.8.0.7\n           /32 host LOCAL\n        |-- 8.8.0.255\n           \
        /32 link BROADCAST\n     |-- 64.0.0.0\n        /2 link UNICAST\n     |-- 203.0.114.0\n        /24 universe UNICAST\n";
    let program = "import sys; names = {'__name__': 'filter'}; exec(open(sys.argv[1]).read(), names)\n\
        judge = names['Filter']('internet', [])\n\
        judge.know(sys.argv[2])\n\
        for text in sys.argv[3:]: print(judge.is_outside(bytes(map(int, text.split('.')))))";
    let output = Command::new("python3")
        .args(["-I", "-c", program, FILTER, trie])
        .args(["8.8.0.9", "8.8.0.7", "8.8.1.9", "65.1.1.1", "203.0.114.1"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        text.lines().collect::<Vec<_>>(),
        ["False", "False", "True", "True", "True"],
        "{output:?}"
    );
}
