"""A network that loses every tenth packet changes no leader, once the lease has had ten seconds to fit.

From: own review; bad cables, full queues.
Smallest input: three hosts on a switch that drops 10 % of all packets; 60 s.
"""
import time

from lib import Cluster
from lib.network import LOSSY, SETTLE_SECONDS, Network, assert_steady

KIND = "network"
HOSTS = 3
SECONDS = 150


def run(trial):
    network = Network(trial)
    cluster = Cluster(trial, hosts=trial.hosts, calm=False)
    network.set(LOSSY)
    time.sleep(SETTLE_SECONDS)
    return f"{assert_steady(cluster)}; {network.figures()}"
