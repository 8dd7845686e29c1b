"""Handshakes with certificates of a stranger, as fast as one processor makes them, delay no heartbeat and no request.

From: own review; to check a chain takes a node longer than to send one.
Smallest input: one process that shows a certificate of another authority to the four TLS ports of the leader, over and over for 15 s.
"""
import os
import socket
import subprocess
import sys
import time

from lib import ALONE, Fault, steps_within, tls
from lib.beside import Beside

KIND = "bounds"
SECONDS = 150
FOR = 15


def run(trial):
    cluster = tls.cluster(trial, **ALONE)
    leader = cluster.leader()
    cert = tls.certificate(trial, tls.authority(trial, "other"), "node", "n2")
    beside = Beside(cluster, FOR + 8)
    ports = ",".join(str(leader.port(listener)) for listener in tls.LISTENERS)
    flood = trial.spawn([sys.executable, __file__, ports, *cert], env={"PYTHONPATH": os.path.dirname(__file__)}, stdout=subprocess.PIPE)
    not_ready, until = 0, time.monotonic() + FOR
    while time.monotonic() < until:
        not_ready += not leader.ready(2)
        time.sleep(0.5)
    made = int(flood.communicate(timeout=30)[0])
    refused = leader.metric("funk_tls_refused_total") + leader.metric("funk_stream_refused_total")
    if made < 100 or refused < 100:
        raise RuntimeError(f"{made} handshakes were begun and {refused:.0f} refused")
    if not_ready:
        raise Fault(f"/readyz of the leader was not 200 in {not_ready} looks; right: strangers take no place of clients")
    return f"{made} handshakes, {made / FOR:.0f} a second, {refused:.0f} refused; {steps_within(cluster.nodes)}; {beside.end()}"


def flood(ports, cert, key):
    context, made, until = tls.context((cert, key)), 0, time.monotonic() + FOR
    context.set_alpn_protocols(["funk-cluster", "h2"])
    while time.monotonic() < until:
        for port in ports:
            made += 1
            try:
                with socket.create_connection(("127.0.0.1", port), 1) as plain, context.wrap_socket(plain) as secured:
                    secured.recv(1)
            except OSError:
                pass
    print(made)


if __name__ == "__main__":
    flood([int(port) for port in sys.argv[1].split(",")], *sys.argv[2:4])
