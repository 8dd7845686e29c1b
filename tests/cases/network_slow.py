"""A network that is slow and uneven changes no leader: 60 to 140 ms on every link, once the lease has had ten seconds to fit.

From: own review; nodes in regions that are far apart, links that are full.
Smallest input: three hosts on a switch that delays each packet by 100 +- 40 ms, so that packets overtake each other; 60 s.
"""
import time

from lib import Cluster
from lib.network import SETTLE_SECONDS, SLOW, Network, assert_steady

KIND = "network"
HOSTS = 3
SECONDS = 150


def run(trial):
    network = Network(trial)
    cluster = Cluster(trial, hosts=trial.hosts, calm=False)
    network.set(SLOW)
    time.sleep(SETTLE_SECONDS)
    return f"{assert_steady(cluster)}; {network.figures()}"
