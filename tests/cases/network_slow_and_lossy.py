"""A network that is slow, uneven and loses every tenth packet changes no leader, once the lease has had ten seconds to fit.

From: own review; long ways over links that are full.
Smallest input: three hosts on a switch that delays each packet by 100 +- 40 ms and drops 10 % of them; 60 s.
"""
import time

from lib import Cluster
from lib.network import LOSSY, SETTLE_SECONDS, SLOW, Network, assert_steady

KIND = "network"
HOSTS = 3
SECONDS = 150


def run(trial):
    network = Network(trial)
    cluster = Cluster(trial, hosts=trial.hosts, calm=False)
    network.set(SLOW, LOSSY)
    time.sleep(SETTLE_SECONDS)
    return f"{assert_steady(cluster)}; {network.figures()}"
