"""A page elsewhere on the web cannot read a node's status by a name of its own that leads here.

From: own review; DNS rebinding.
Smallest input: GET /api/v1/status with Host: attacker.example; and with an address, localhost, and the node's own address and port.
"""
import socket

from lib import Cluster, Fault

KIND = "page"


def run(trial):
    cluster = Cluster(trial, 1)
    node = cluster[1]

    def answer(host):
        with socket.create_connection(node.at("http"), 3) as connection:
            connection.settimeout(3)
            connection.sendall(f"GET /api/v1/status HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            return int(connection.recv(64).split()[1])

    for host in ("127.0.0.1", f"127.0.0.1:{node.port('http')}", "localhost", f"localhost:{node.port('http')}"):
        if answer(host) != 200:
            raise Fault(f"Host: {host} gets {answer(host)}; right: 200")
    if answer("attacker.example") == 200:
        raise Fault("Host: attacker.example gets the status; right: names that nobody gave this node are refused, addresses and localhost are not")
