"""Who comes with encrypted gossip to a cluster without is told so, or the operator is.

From: own review; a mute refusal costs both sides an afternoon.
Smallest input: one connection to ep.serf with an encrypted push/pull. Right is an error on the stream, or a log line that has the word.
"""
import os
import socket
import struct

from lib import Cluster, Fault, gossip, until

KIND = "gossip"


def run(trial):
    cluster = Cluster(trial, 1)
    node = cluster[1]
    before, told = len(node.log()), b""
    for _ in range(3):
        sealed = bytes([1]) + os.urandom(12 + 200 + 16)
        with socket.create_connection(node.at("serf"), 3) as connection:
            connection.settimeout(3)
            connection.sendall(bytes([gossip.ENCRYPTED]) + struct.pack(">I", len(sealed)) + sealed)
            try:
                told = told or connection.recv(4096)
            except OSError:
                pass
    said = until(lambda: "encrypt" in node.log()[before:].lower(), 5)
    if not said and not told:
        raise Fault("three encrypted streams end without an answer and without a log line; right: the error reply of the protocol, and one WARN a peer")
