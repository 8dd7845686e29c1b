"""A network that loses every tenth packet changes no leader, once the lease has had ten seconds to fit.

From: own review; bad cables, full queues.
Smallest input: three hosts on a switch that drops 10 % of all packets; 60 s.
"""
from lib.network import LOSSY, steady_on

KIND = "network"
HOSTS = 3
SECONDS = 150


def run(trial):
    return steady_on(trial, LOSSY)
