"""Of several nodes with one name that find the cluster by mDNS, exactly one gets in; each of the others ends with an error that gives the name.

From: own review; an image that is started twice, one after the other or at the same moment.
Smallest input: a bootstrap, and a node with its name on another host; then two newcomers of one name at once on two hosts.
"""
import time

from lib import Fault, Node, until

KIND = "discovery"
HOSTS = 4
SECONDS = 120


def ends_for_its_name(node, seconds):
    if not until(lambda: not node.alive(), seconds):
        return f"{node.name} on {node.host.ip} still runs after {seconds} s, {node.status(3)['state']}"
    if node.process.returncode != 1:
        return f"{node.name} on {node.host.ip} ended with {node.process.returncode}"
    said = node.log().splitlines()[-3:]
    return None if any(node.name in line and "name" in line for line in said) else f"it says {said}"


def run(trial):
    first = Node(trial, 1, ["--bootstrap"], name="n1", zeroconf=True, host=trial.hosts[0])
    if not first.wait_ready():
        raise RuntimeError("the first does not come up")
    time.sleep(2)
    again = Node(trial, 2, name="n1", zeroconf=True, host=trial.hosts[1])
    wrong = ends_for_its_name(again, 20)
    if wrong:
        raise Fault(f"a joiner under the name of a live node: {wrong}; right: it ends with 1 and says that the name is taken")
    if not first.ready(3):
        raise Fault("the node whose name it was is not ready any more")
    twins = [Node(trial, number, name="twin", zeroconf=True, host=trial.hosts[number - 1]) for number in (3, 4)]

    def one_is_in():
        return sum(node.alive() and node.ready() for node in twins) == 1 and sum(node.alive() for node in twins) == 1

    if not until(one_is_in, 40):
        raise Fault(f"of two newcomers of one name {[node.alive() and node.status(3)['state'] for node in twins]}; right: one is in, one has ended")
    loser = next(node for node in twins if not node.alive())
    wrong = ends_for_its_name(loser, 1)
    if wrong:
        raise Fault(f"the newcomer that was late: {wrong}; right: it ends with 1 and says that the name is taken")
    return "a joiner was refused, and one of two"
