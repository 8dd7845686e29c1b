"""Pods of the manifests start together, are drained one after the other under 2,000 requests a second, and none is lost.

The rate is FUNK_RATE, if that is set. Each pod comes back at another address with its volume and is the same member.
"""
import os

from lib import Fault
from lib.container import Image
from lib.pods import StatefulSet

KIND = "pods"
HOSTS = 4
SECONDS = 240
RATE = int(os.environ.get("FUNK_RATE", "2000"))


def run(trial):
    pods = StatefulSet(trial, Image(trial))
    pods.start(range(3))
    pods.wait_available()
    before, cluster = {node["id"] for node in pods.nodes()}, pods.cluster(pods.ordered()[0])
    load, hooks = pods.load(RATE, 75), []
    for pod in pods.ordered():
        pods.evict(pod)
        hooks.append(pod.hook)
        pods.wait_available()
    text = load.result()
    if any(hook[0] != 0 for hook in hooks):
        raise Fault(f"the hooks say {hooks}; right: each drains its node")
    after = {node["id"] for node in pods.nodes()}
    if after != before or {pods.cluster(pod) for pod in pods.ordered()} != {cluster}:
        raise Fault(f"{before} were {after} afterwards; right: the same members of the same cluster")
    restarts = pods.restarts + sum(pod.restarts for pod in pods.ordered())
    if restarts:
        raise Fault(f"liveness failed {restarts} times; right: never")
    return text
