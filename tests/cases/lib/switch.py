"""A switch between network namespaces that delays, drops, reorders and corrupts what it carries. A process of its own.

    switch.py [{"netns": "NAME", "ip": "ADDRESS"}, ...]

Each namespace gets a TUN device (`DEVICE`). An IPv4 packet that a host sends into its device leaves from the device of the host
that it is addressed to; what is for nobody here is dropped, and so is multicast. Each line on stdin is a command:

    delay 100 40 loss 0.1      all links from now on; what is not named is off
    cut ADDRESS ...            these hosts are alone: nothing to them, nothing from them. None: all are connected again
    count                      changes nothing

and is answered by one line on stdout, JSON, once it holds: the counters since the start.

| setting        | effect on each packet, drawn anew for each |
| delay MS J     | leaves between MS - J and MS + J later, whatever was before it |
| loss P         | is dropped with probability P |
| reorder P MS   | with probability P, leaves up to MS later than it would: others overtake it |
| corrupt P      | with probability P, up to four bits after the IP header change. The checksum of UDP is made to fit, so that a program
|                | reads it; that of TCP is not, so that the receiver's kernel drops it |
"""
import ctypes
import fcntl
import heapq
import json
import os
import random
import select
import socket
import struct
import sys
import time

DEVICE = "lan0"
CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
LIBC = ctypes.CDLL("libc.so.6", use_errno=True)
UDP = 17
# Bytes of the headers of IP without options and of UDP.
IP_HEAD, UDP_HEAD = 20, 8
# Packets taken from one host before the others have their turn.
BURST = 64
# Seconds without a packet and without a command after which the switch looks again.
IDLE = 1.0
SETTINGS = {"delay": (0.0, 0.0), "loss": (0.0,), "reorder": (0.0, 0.0), "corrupt": (0.0,)}


def device_in(netns):
    """A TUN device in this namespace, as a descriptor. It goes with the descriptor."""
    with open(f"/run/netns/{netns}") as space:
        if LIBC.setns(space.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"setns {netns}")
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", DEVICE.encode(), IFF_TUN | IFF_NO_PI))
    return device


def internet_checksum(data):
    """RFC 1071."""
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def corrupted(packet, draw):
    """The packet with one to four other bits, none of them in its IP header."""
    packet = bytearray(packet)
    head = (packet[0] & 15) * 4
    whole = not (packet[6] & 0x3F or packet[7])  # no fragment
    fits = whole and packet[9] == UDP and len(packet) > head + UDP_HEAD
    first = head + UDP_HEAD if fits else head
    if len(packet) <= first:
        return bytes(packet)
    for _ in range(draw.randint(1, 4)):
        packet[draw.randrange(first, len(packet))] ^= 1 << draw.randrange(8)
    if fits:
        packet[head + 6:head + 8] = b"\0\0"
        pseudo = bytes(packet[12:20]) + struct.pack("!HH", UDP, len(packet) - head)
        packet[head + 6:head + 8] = struct.pack("!H", internet_checksum(pseudo + bytes(packet[head:])) or 0xFFFF)
    return bytes(packet)


class Switch:
    def __init__(self, hosts, seed=1):
        self.devices = {socket.inet_aton(host["ip"]): device_in(host["netns"]) for host in hosts}
        self.draw, self.settings, self.alone = random.Random(seed), dict(SETTINGS), set()
        self.waiting, self.number = [], 0
        self.count = {"carried": 0, "dropped": 0, "reordered": 0, "corrupted": 0, "refused": 0}
        self.late_max = 0.0

    def run(self):
        """Until stdin ends."""
        epoll, commands = select.epoll(), b""
        for descriptor in (0, *self.devices.values()):
            epoll.register(descriptor, select.EPOLLIN)
        while True:
            pause = max(0.0, self.waiting[0][0] - time.monotonic()) if self.waiting else IDLE
            for descriptor, _ in epoll.poll(pause):
                if descriptor:
                    self.take(descriptor)
                    continue
                read = os.read(0, 65536)
                if not read:
                    return
                *lines, commands = (commands + read).split(b"\n")
                for line in lines:
                    print(json.dumps(self.command(line.decode().split())), flush=True)
            self.send_due()

    def command(self, words):
        what = words[0] if words else "count"
        if what == "cut":
            self.alone = {socket.inet_aton(word) for word in words[1:]}
        elif what != "count":
            self.settings = settings_in(words)
        late, self.late_max = self.late_max, 0.0
        return {**self.count, "waiting": len(self.waiting), "late_ms_max": round(1000 * late, 1), "cpu_seconds": round(time.process_time(), 2)}

    def take(self, device):
        """Reads what a host sent, and decides on each packet."""
        for _ in range(BURST):
            try:
                packet = os.read(device, 65536)
            except BlockingIOError:
                return
            if len(packet) >= IP_HEAD and packet[0] >> 4 == 4:
                self.handle(packet)

    def handle(self, packet):
        """Drops a packet, sends it, or keeps it until its time."""
        source, target = packet[12:16], packet[16:20]
        device, draw = self.devices.get(target), self.draw.random
        if device is None:
            return
        (mean, jitter), (loss,) = self.settings["delay"], self.settings["loss"]
        (reorder, held), (corrupt,) = self.settings["reorder"], self.settings["corrupt"]
        if source in self.alone or target in self.alone or (loss and draw() < loss):
            self.count["dropped"] += 1
            return
        if corrupt and draw() < corrupt:
            packet = corrupted(packet, self.draw)
            self.count["corrupted"] += 1
        pause = max(0.0, mean + jitter * (2 * draw() - 1))
        if reorder and draw() < reorder:
            pause += held * draw()
            self.count["reordered"] += 1
        if pause:
            self.number += 1
            heapq.heappush(self.waiting, (time.monotonic() + pause / 1000, self.number, device, packet))
        else:
            self.write(device, packet)

    def send_due(self):
        now = time.monotonic()
        while self.waiting and self.waiting[0][0] <= now:
            due, _, device, packet = heapq.heappop(self.waiting)
            self.late_max = max(self.late_max, now - due)
            self.write(device, packet)

    def write(self, device, packet):
        try:
            os.write(device, packet)
            self.count["carried"] += 1
        except OSError:  # the device is down, or its namespace is being deleted
            self.count["refused"] += 1


def settings_in(words):
    """{setting: numbers}; a ValueError for what is none."""
    settings, name = {}, None
    for word in words:
        if word in SETTINGS:
            name = word
            settings[name] = ()
        elif name is None:
            raise ValueError(f"no setting: {word}")
        else:
            settings[name] += (float(word),)
    wrong = [name for name in settings if len(settings[name]) != len(SETTINGS[name])]
    if wrong:
        raise ValueError(f"wrong number of values: {', '.join(wrong)}")
    return {**SETTINGS, **settings}


def first_of_all():
    """Before everything that competes for the processors, where that is allowed: what is late here is a delay that nobody asked for."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except OSError:
        pass


if __name__ == "__main__":
    first_of_all()
    Switch(json.loads(sys.argv[1])).run()
