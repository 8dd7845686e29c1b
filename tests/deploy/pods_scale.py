"""A set that is scaled from 3 to 5 and back to 3 under load loses no request, and whoever is removed after that has left for good. The rate is FUNK_RATE, if that is set.

Scaling back leaves a majority at every moment, and the removed names can come again as new members.
"""
import os

from lib import Fault, until
from lib.container import Image
from lib.pods import StatefulSet

KIND = "pods"
HOSTS = 6
SECONDS = 240
RATE = int(os.environ.get("FUNK_RATE", "500"))


def members(pods, count):
    def right():
        raft = [node["raft"] for node in pods.nodes() if node["raft"]]
        return raft == ["Voter"] * count

    if not until(right, 30, 0.3):
        raise Fault(f"the members are {pods.nodes()}; right: {count} voters")


def run(trial):
    pods = StatefulSet(trial, Image(trial))
    pods.start(range(3))
    pods.wait_available()
    load = pods.load(RATE, 45)
    pods.scale(5)
    pods.wait_available()
    members(pods, 5)
    gone = pods.scale(3)
    for pod in gone:
        code, said = pods.ctrlc(pods.ordered()[0], "node", "rm", pod.name)
        if code != 0:
            raise Fault(f"ctrlc node rm {pod.name} says {said}; right: it is removed")
    members(pods, 3)
    text = load.result()
    pods.scale(4)
    pods.wait_available()
    if not until(lambda: "funk-3" in {node["id"] for node in pods.nodes() if node["raft"]}, 20, 0.3):
        raise Fault(f"the members are {pods.nodes()}; right: funk-3 is there again")
    return text
