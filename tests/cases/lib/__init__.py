"""What a case is written with: `from lib import *`.

cluster.py  starts nodes, asks them, puts load on them
beside.py   a client beside a flood, and what the nodes hold before and after
own.py      asks nodes directly who serves what, and finds stale answers
rpc.py      gRPC calls and bare HTTP/2 frames
wire.py     what nodes say to each other: hello, Raft and member frames, liveness datagrams
tls.py      certificates, and TLS as a stranger speaks it
gossip.py   Serf's messages: datagrams, push/pull, a member that answers pings
stderr.py   what stderr may be: full, closed, blocked, gone
network.py  hosts on a switch that delays, drops, reorders and corrupts
switch.py   that switch
trial.py    one case that runs: its folder, its processes, its verdict
runner.py   `tests/cases/run`
"""
from lib.trial import Fault, Skip, Trial, until
from lib.cluster import ALONE, CALM, Cluster, Monitor, Node, http, port, steps_within

__all__ = ["ALONE", "CALM", "Cluster", "Fault", "Monitor", "Node", "Skip", "Trial", "http", "port", "steps_within", "until"]
