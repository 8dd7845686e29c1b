"""TLS handshakes that are begun and never ended end by themselves, and others get in beside them.

From: own review; the kind of slow handshakes against any TLS server.
Smallest input: 10,000 connections to the four TLS ports of the leader, a third of them silent, a third with a ClientHello and no more, a third
with one byte of it a second; beside them a client and a node that joins anew.
"""
import socket
import time

from lib import ALONE, Fault, steps_within, tls
from lib.beside import Beside
from lib.cluster import many_descriptors

KIND = "bounds"
SECONDS = 150
CONNECTIONS = 10_000


def run(trial):
    many_descriptors()
    cluster = tls.cluster(trial, **ALONE)
    leader, hello = cluster.leader(), tls.client_hello()
    beside, slow, held, not_ready = Beside(cluster, 40), [], [], 0
    for number in range(CONNECTIONS):
        connection = socket.socket()
        connection.settimeout(0.2)
        try:
            # From many addresses, since each has bounds of its own.
            connection.bind((f"127.0.{number % 50}.{1 + number % 200}", 0))
            connection.connect(leader.at(tls.LISTENERS[number % 4]))
            if number // 4 % 3 == 1:
                connection.sendall(hello)
            if number // 4 % 3 == 2:
                connection.sendall(hello[:1])
                slow.append(connection)
            held.append(connection)
        except OSError:
            connection.close()
    if len(held) < CONNECTIONS / 2:
        raise RuntimeError(f"only {len(held)} of {CONNECTIONS} connections were made")
    for second in range(1, 8):
        for connection in slow:
            try:
                connection.send(hello[second:second + 1])
            except OSError:
                pass
        not_ready += not leader.ready(2)
        time.sleep(0.8)
    if not_ready:
        raise Fault(f"/readyz of the leader was not 200 in {not_ready} of 7 looks; right: a handshake that is not ended is no client")
    open_still = sum(is_open(connection) for connection in held if connection in set(slow))
    if open_still:
        raise Fault(f"{open_still} of {len(slow)} handshakes with a byte a second are open after 6 s; right: each ends within 2 s")
    steps = steps_within(cluster.nodes)
    for connection in held:
        connection.close()
    return f"{len(held)} connections; {steps}; {beside.end()}"


def is_open(connection):
    connection.settimeout(0)
    try:
        while connection.recv(4096):
            pass
        return False
    except BlockingIOError:
        return True
    except OSError:
        return False
