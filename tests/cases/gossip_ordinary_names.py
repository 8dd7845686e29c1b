"""Serf members with ordinary names are listed: long ones, and such with an underscore.

From: own review; a member of Serf is named after its host by default.
Smallest input: two plain members of gossip, ip-10-0-12-34.eu-west-1.compute.internal and web_server_1.
"""
from lib import Cluster, Fault, gossip, until

KIND = "gossip"
NAMES = ["ip-10-0-12-34.eu-west-1.compute.internal", "web_server_1", "web-server-1"]


def run(trial):
    cluster = Cluster(trial, 1)
    node = cluster[1]
    members = [gossip.PlainMember(name, [node], tags={"ep.x": "127.0.0.1:5"}) for name in NAMES]
    if not until(lambda: node.member("web-server-1"), 10):
        raise RuntimeError("not even a short plain name is listed")

    def missing():
        shown = [member["id"] for member in node.status()["members"]]
        listed = trial.ctrlc(node, "--output", "json", "nodes")[1]
        return [name for name in NAMES if name not in shown or name not in listed]

    until(lambda: not missing(), 8)
    gone = missing()
    for member in members:
        member.stop()
    if gone:
        raise Fault(f"members of gossip, but neither in /api/v1/status nor in ctrlc nodes: {', '.join(gone)}; right: listed like any other")
