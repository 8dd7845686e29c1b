"""A network that is slow and uneven changes no leader: 60 to 140 ms on every link, once the lease has had ten seconds to fit.

From: own review; nodes in regions that are far apart, links that are full.
Smallest input: three hosts on a switch that delays each packet by 100 +- 40 ms, so that packets overtake each other; 60 s.
"""
from lib.network import SLOW, steady_on

KIND = "network"
HOSTS = 3
SECONDS = 150


def run(trial):
    return steady_on(trial, SLOW)
