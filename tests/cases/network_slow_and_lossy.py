"""A network that is slow, uneven and loses every tenth packet changes no leader, once the lease has had ten seconds to fit.

From: own review; long ways over links that are full.
Smallest input: three hosts on a switch that delays each packet by 100 +- 40 ms and drops 10 % of them; 60 s.
"""
from lib.network import LOSSY, SLOW, steady_on

KIND = "network"
HOSTS = 3
SECONDS = 150


def run(trial):
    return steady_on(trial, SLOW, LOSSY)
