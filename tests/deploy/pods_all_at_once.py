"""All pods of the manifests are deleted at once and start at new addresses: it is the same cluster, with nobody's help."""
from lib import Fault
from lib.container import Image
from lib.pods import StatefulSet

KIND = "pods"
HOSTS = 7
SECONDS = 120


def run(trial):
    pods = StatefulSet(trial, Image(trial))
    pods.start(range(3))
    pods.wait_available()
    cluster, addresses = pods.cluster(pods.ordered()[0]), {pod.ip for pod in pods.pods.values()}
    pods.stop(pods.ordered())
    pods.start(range(3))
    if addresses & {pod.ip for pod in pods.pods.values()}:
        raise RuntimeError("the pods have old addresses")
    pods.wait_available()
    seen = {pods.cluster(pod) for pod in pods.ordered()}
    if seen != {cluster}:
        raise Fault(f"the clusters are {seen}; right: {cluster} alone")
    if pods.ctrlc(pods.ordered()[0], "status")[0] != 0:
        raise Fault(f"it does not serve: {pods.ctrlc(pods.ordered()[0], 'status')[1]}")
