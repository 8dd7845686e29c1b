"""A node whose interface was created anew, or lost its address for a while, is found by mDNS again.

From: own review: a container's network that is set up once more, a laptop that wakes.
Smallest input: a node found by mDNS alone; its host's interface is deleted and made anew with the same address, and later the address is taken
away and given back. After each, a node on another host that is started then gets in.
"""
import subprocess
import time

from lib import Fault, Node, until

KIND = "discovery"
HOSTS = 3
SECONDS = 150


def ip(host, *arguments):
    subprocess.run(["ip", "-n", host.netns, *arguments], check=True, capture_output=True, text=True)


def up(host):
    ip(host, "addr", "replace", f"{host.ip}/24", "dev", "eth0")
    ip(host, "link", "set", "eth0", "up")
    ip(host, "route", "replace", "default", "via", "10.77.0.254")


def anew(host):
    """Another interface of the same name and address."""
    bridge = host.netns.rsplit("-", 1)[0]
    ip(host, "link", "delete", "eth0")
    ip(host, "link", "add", "eth0", "type", "veth", "peer", "name", "again", "netns", bridge)
    subprocess.run(["ip", "-n", bridge, "link", "set", "again", "master", "br0", "up"], check=True)
    up(host)


def readdressed(host):
    ip(host, "addr", "flush", "dev", "eth0")
    time.sleep(5)  # longer than the node needs to notice
    up(host)


def run(trial):
    first = Node(trial, 1, ["--bootstrap"], zeroconf=True, host=trial.hosts[0])
    if not first.wait_ready():
        raise RuntimeError("the first does not come up")
    time.sleep(2)
    for number, (what, harm) in enumerate([("was created anew", anew), ("lost its address for a while", readdressed)], 2):
        harm(trial.hosts[0])
        until(first.ready, 20)
        time.sleep(4)
        joiner = Node(trial, number, zeroconf=True, host=trial.hosts[number - 1])
        if not joiner.wait_ready(40):
            raise Fault(f"40 s after it started a node does not find the one whose interface {what}: {joiner.status(3)['state']}; right: found by mDNS, as before")
