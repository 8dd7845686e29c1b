"""Hosts on a switch that delays, drops, reorders and corrupts (switch.py), and what a cluster makes of that."""
import json
import os
import socket
import subprocess
import sys
import time

from lib import rpc
from lib.cluster import Cluster, Monitor
from lib.switch import DEVICE
from lib.trial import Fault, Skip, until

SWITCH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "switch.py")
SLOW, LOSSY = "delay 100 40", "loss 0.1"
QUIET = "delay 0 0"
# Lets the cluster fit its lease to a network that has just become bad.
SETTLE_SECONDS = 10
STEADY_SECONDS = 60
# Calls on shards of a lost node, to see that their new owners serve.
SAMPLE = 20
# An event stream that says nothing for so long has told what it kept.
STREAM_QUIET_SECONDS = 0.5


class Network:
    """All that hosts say to each other goes through a switch. The case itself stays on the bridge, where nothing happens to it."""

    def __init__(self, trial):
        if not os.path.exists("/dev/net/tun"):
            raise Skip("needs TUN devices (/dev/net/tun)")
        hosts = [{"netns": host.netns, "ip": host.ip} for host in trial.hosts]
        self.process = trial.spawn([sys.executable, SWITCH, json.dumps(hosts)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.began = time.monotonic()
        self.count()
        for host in hosts:
            ip("-n", host["netns"], "link", "set", DEVICE, "up")
            for other in hosts:
                if other is not host:
                    ip("-n", host["netns"], "route", "add", f"{other['ip']}/32", "dev", DEVICE, "src", host["ip"])

    def set(self, *settings):
        """What becomes of packets from now on; see switch.py for the settings. Returns the counters."""
        return self._say(" ".join(settings))

    def cut(self, *hosts):
        """These hosts are alone. None: all are connected again."""
        return self._say(" ".join(["cut", *(host.ip for host in hosts)]))

    def count(self):
        return self._say("count")

    def figures(self):
        """What the switch did, for the verdict."""
        count, seconds = self.count(), time.monotonic() - self.began
        return (f"the switch carried {count['carried']} packets ({count['carried'] / seconds:.0f} a second), dropped {count['dropped']}, held back "
                f"{count['reordered']}, corrupted {count['corrupted']}, at most {count['late_ms_max']} ms late, "
                f"{100 * count['cpu_seconds'] / seconds:.1f} % of a processor")

    def _say(self, line):
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        except OSError:
            answer = ""
        if not answer:
            raise RuntimeError(f"the switch ended on {line!r}")
        return json.loads(answer)


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


def told(node, since_ns=0):
    """What this node tells on its event stream of the time since then, in order."""
    data = b""
    with socket.create_connection(node.at("http"), 3) as connection:
        connection.settimeout(STREAM_QUIET_SECONDS)
        # HTTP/1.0: the events alone, without chunks around them.
        connection.sendall(f"GET /api/v1/events?since= HTTP/1.0\r\nHost: {node.ip}\r\n\r\n".encode())
        try:
            while part := connection.recv(65536):
                data += part
        except TimeoutError:
            pass
    if not data:
        raise RuntimeError(f"{node.name} tells no events")
    events = [json.loads(line[5:]) for line in data.decode().splitlines() if line.startswith("data:")]
    return [event for event in events if event and event.get("at_ns", 0) >= since_ns]


def assert_sound(nodes):
    """A Fault if a node ended, panicked, or logged what its authors call a bug."""
    for node in nodes:
        lines = [line for line in node.log().splitlines() if "panicked" in line or " ERROR " in line]
        if lines:
            raise Fault(f"{node.name} logs {len(lines)} errors, the first {lines[0][:300]!r}; right: none")
        if not node.alive():
            raise Fault(f"{node.name} ended with {node.process.returncode}: {node.log()[-300:]!r}; right: it runs")


def steady_on(trial, *weather):
    """Three nodes on a network that is like this for as long as the lease gets to fit, and then while the leader must not change."""
    network = Network(trial)
    cluster = Cluster(trial, hosts=trial.hosts, calm=False)
    network.set(*weather)
    time.sleep(SETTLE_SECONDS)
    return f"{assert_steady(cluster)}; {network.figures()}"


def assert_steady(cluster, seconds=STEADY_SECONDS):
    """A Fault if the leader changes within so long. Returns what was seen."""
    leader = cluster.leader()
    term, began = leader.status()["term"], time.time_ns()
    monitor = Monitor(cluster.nodes, every=0.25)
    time.sleep(seconds)
    monitor.end()
    events = [event for node in cluster.nodes for event in told(node, began)]
    leaders = [event for event in events if event["kind"] == "leader"]
    others = sorted({(event["term"], event["leader"]) for event in leaders if event["leader"]} - {(term, leader.name)})
    lost = sum(not event["leader"] for event in leaders)
    dead = sum(event["kind"] == "member_failed" for event in events) / len(cluster.nodes)
    dark = ", ".join(f"{name} {longest:.1f} s" for name, longest in monitor.longest.items())
    text = (f"{len(others)} leader changes in {seconds} s {others[:4] or ''}; a node lost sight of its leader {lost} times, {dead:.1f} members were "
            f"declared dead, longest not ready {dark}; lease {lease(leader)}")
    assert_sound(cluster.nodes)
    if others:
        raise Fault(f"{text}; right: none")
    return text


def lease(node):
    """The lease's length in milliseconds and why, as a node tells it."""
    timing = node.status(3)["funk_timing"]
    return f"{timing['lease_ms']} ms ({timing['reason']})"


def seconds_dark(cluster, victim, lose, limit):
    """Loses `victim` by `lose()` and returns the seconds until the others serve all shards; None if they do not within `limit`."""
    others = [node for node in cluster.nodes if node is not victim]
    lost = [shard for shard, owner in enumerate(others[0].owners()) if owner == victim.name]
    sample = lost[::max(1, len(lost) // SAMPLE)]
    began = time.monotonic()
    lose()

    def served():
        states = [node.status() for node in others]
        if not all(state["may_serve"] for state in states) or sum(state["shards_owned"] for state in states) != states[0]["shards_total"]:
            return False
        owners = others[0].owners()
        return all(answers_itself(cluster, owners[shard], shard) for shard in sample)

    return time.monotonic() - began if until(served, limit, 0.02) else None


def answers_itself(cluster, owner, shard):
    """Whether this node serves this shard, not through another."""
    node = next((node for node in cluster.nodes if node.name == owner), None)
    try:
        answer = node and rpc.call(node.at("demo"), rpc.LIFF, rpc.liff(shard), 1)
    except rpc.Ended:
        return False
    return bool(answer and answer.ok and answer.head.get("x-funk-node") == owner)


def assert_whole(cluster, when, seconds=60):
    """A Fault unless all are ready under one leader within so long, each listing all of them and nobody else."""
    names = {node.name for node in cluster.nodes}

    def whole():
        states = [node.status(3) for node in cluster.nodes]
        return (all(state["may_serve"] and {member["id"] for member in state["members"]} == names for state in states)
                and all(member["raft"] == "Voter" for state in states for member in state["members"])
                and len({state["leader"] for state in states}) == 1 and sum(state["shards_owned"] for state in states) == states[0]["shards_total"])

    if not until(whole, seconds):
        assert_sound(cluster.nodes)
        raise Fault(f"{when}: the cluster is not whole after {seconds} s: {[seen(node) for node in cluster.nodes]}; right: all ready, one leader")


def seen(node):
    """What a node says of the cluster, in a few words."""
    state = node.status(3)
    members = ", ".join(f"{member['id']} {member['raft'] or '-'} {member['serf']}" for member in state["members"])
    return f"{node.name} {state['state']} of {state['leader'] or 'nobody'} in term {state['term']}, {state['shards_owned']} shards, lists {members}"
