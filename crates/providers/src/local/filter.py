"""Lets through what a box may send, and nothing else: it stands between the box's network card and QEMU's user network.

    filter.py internet|none [ALLOWED…]    ALLOWED: ADDRESS[/BITS][:PORT]

QEMU's `filter-redirector` writes each frame of the guest to standard input, its length before it, and sends on what comes
back from standard output; nothing when this program is gone. The guest's root has no say in it. The user network shows
this machine's loopback as 10.0.2.2 and its resolver as 10.0.2.3, and reaches whatever this machine reaches: so what
passes is what is neither this machine, nor a network that it is on, nor a range that is never the internet.

An attempt to open a connection that may not be is marked as its end, too (SYN and FIN): the user network refuses such a
one by itself, so that the guest need not wait for an answer.
"""

import ipaddress
import os
import select
import struct
import sys
import time

HOST = bytes([10, 0, 2, 2])
RESOLVER = bytes([10, 0, 2, 3])
EVERYBODY = b"\xff" * 4
ICMP, TCP, UDP = 1, 6, 17
SYN, FIN, ACK = 2, 1, 16

# Never the internet: private, shared, link-local (with the clouds' metadata services), loopback, multicast and the rest.
NEVER = """0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.168.0.0/16
198.18.0.0/15 224.0.0.0/4 240.0.0.0/4"""

# Shorter routes are no network that this machine is on, but a way into a tunnel.
SHORTEST = 16

# Longer than any frame of a card without segmentation offload.
FRAME_MAX = 70_000

# What QEMU has not taken by then is lost, as on any network. It is never waited for: it may be waiting for us.
PENDING_MAX = 1 << 20

# The operator's machine may move to another network while the box runs.
LOOK_AGAIN = 1.0


def number(address):
    return int.from_bytes(address, "big")


def range_of(text):
    """Returns a network as its number and its mask."""
    network = ipaddress.IPv4Network(text, strict=False)
    return int(network.network_address), int(network.netmask)


def own_networks(trie):
    """Returns this machine's addresses and the networks that it is on, from `/proc/net/fib_trie`."""
    found, address = set(), None
    for line in trie.splitlines():
        words = line.split()
        if words[0] == "|--":
            address = words[1]
        elif address and words[0].startswith("/"):
            bits = int(words[0][1:])
            if words[1:] == ["host", "LOCAL"] or (words[1:] == ["link", "UNICAST"] and bits >= SHORTEST):
                found.add(range_of(f"{address}/{bits}"))
    return found


class Filter:
    """Decides about frames."""

    def __init__(self, mode, allowed):
        self.has_internet = mode == "internet"
        self.allowed = []
        for text in allowed:
            network, _, port = text.partition(":")
            if network.startswith("127."):
                network = "10.0.2.2"
            self.allowed.append((*range_of(network), int(port) if port else None))
        self.never = [range_of(text) for text in NEVER.split()]
        self.ours = set()
        # Addresses that have been found to be outside.
        self.outside = set()

    def know(self, trie):
        ours = own_networks(trie)
        if ours != self.ours:
            self.ours = ours
            self.outside.clear()

    def is_outside(self, target):
        if target in self.outside:
            return True
        value = number(target)
        if not self.has_internet or any(value & mask == network for network, mask in (*self.never, *self.ours)):
            return False
        if len(self.outside) > 10_000:
            self.outside.clear()
        self.outside.add(target)
        return True

    def is_allowed(self, target, port):
        value = number(target)
        return any(value & mask == network and wanted in (None, port) for network, mask, wanted in self.allowed)

    def passes(self, frame):
        """Returns the frame, the frame that goes in its place, or nothing."""
        kind = frame[12:14]
        if kind == b"\x08\x06":  # ARP
            return frame
        if kind != b"\x08\x00" or len(frame) < 34:
            return None
        target = frame[30:34]
        if self.is_outside(target):
            return frame
        start = 14 + 4 * (frame[14] & 15)
        is_whole = not number(frame[20:22]) & 0x3FFF
        if frame[14] >> 4 != 4 or start < 34 or not is_whole or len(frame) < start + 8:
            return None
        protocol, port = frame[23], number(frame[start + 2 : start + 4])
        if protocol == ICMP:
            return frame if target == HOST else None
        if protocol == UDP and port == 67 and target in (HOST, EVERYBODY):
            return frame  # DHCP, which the user network answers
        if target == RESOLVER:
            return frame if protocol in (UDP, TCP) and port == 53 and self.has_internet else None
        if protocol != TCP or len(frame) < start + 20:
            return frame if protocol == UDP and self.is_allowed(target, port) else None
        if self.is_allowed(target, port):
            return frame
        flags = frame[start + 13]
        if not flags & SYN or flags & ACK:
            # Part of a connection that was opened from here, through the forwarded port; or of none at all.
            return frame if target == HOST else None
        return frame if flags & FIN else refused(frame, start)


def refused(frame, start):
    """Adds FIN to a TCP segment, which has none, and corrects its checksum (RFC 1624)."""
    frame = bytearray(frame)
    frame[start + 13] |= FIN
    total = (~number(frame[start + 16 : start + 18]) & 0xFFFF) + FIN
    total = (total & 0xFFFF) + (total >> 16)
    frame[start + 16 : start + 18] = (~total & 0xFFFF).to_bytes(2, "big")
    return bytes(frame)


def main():
    judge = Filter(sys.argv[1], sys.argv[2:])
    held, pending, looked = b"", bytearray(), None
    os.set_blocking(1, False)
    while True:
        readable, writable, _ = select.select([0], [1] if pending else [], [])
        if readable:
            data = os.read(0, 1 << 18)
            if not data:
                return
            if looked is None or time.monotonic() - looked > LOOK_AGAIN:
                with open("/proc/net/fib_trie", encoding="ascii") as trie:
                    judge.know(trie.read())
                looked = time.monotonic()
            held, at = held + data, 0
            while len(held) >= at + 4:
                (length,) = struct.unpack_from(">I", held, at)
                if length > FRAME_MAX:
                    sys.exit(f"network filter: a frame of {length} bytes")
                if len(held) < at + 4 + length:
                    break
                frame = judge.passes(held[at + 4 : at + 4 + length])
                at += 4 + length
                if frame and len(pending) < PENDING_MAX:
                    pending += struct.pack(">I", len(frame)) + frame
            held = held[at:]
        if pending:
            try:
                del pending[: os.write(1, pending)]
            except BlockingIOError:
                pass


if __name__ == "__main__":
    try:
        main()
    except (BrokenPipeError, ConnectionResetError):
        pass  # QEMU has ended.
