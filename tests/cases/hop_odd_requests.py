"""No request on the status page can be read as two, and no odd one ends the node.

From: own review; the kind of request smuggling.
Smallest input: one connection each for both Content-Length and chunked, two lengths, folded headers, a chunk of 2^68 bytes, a huge chunk
extension, no Host, line feeds alone, an HTTP/2 preface, a path that climbs, 500 headers.
"""
import socket

from lib import Cluster, Fault

KIND = "hop"
GUARD = True
HIDDEN = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
ODD = {
    "length and chunked": b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "two lengths": b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello" + HIDDEN,
    "a space before the colon": b"GET /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "a folded header": b"GET /healthz HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n",
    "no host": b"GET /healthz HTTP/1.1\r\n\r\n",
    "line feeds": b"GET /healthz HTTP/1.1\nHost: x\n\n",
    "a huge chunk": b"GET /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
    "a long chunk extension": b"GET /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5;" + b"a" * 100000 + b"\r\nhello\r\n0\r\n\r\n",
    "an HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
    "a path that climbs": b"GET /page/../../../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
    "500 headers": b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 500 + b"\r\n",
    "a POST": b"POST /api/v1/status HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
}


def run(trial):
    cluster = Cluster(trial, 1)
    node = cluster[1]
    wrong = []
    for name, request in ODD.items():
        connection = socket.create_connection(node.at("http"), 2)
        connection.settimeout(1)
        got = b""
        try:
            connection.sendall(request)
            while len(got) < 300000:
                part = connection.recv(65536)
                if not part:
                    break
                got += part
        except OSError:
            pass
        connection.close()
        if got.count(b"HTTP/1.1 ") > 1 or b"cf_cluster_" in got or b"root:" in got:
            wrong.append(f"{name}: {got.count(b'HTTP/1.1 ')} answers")
        if not node.alive():
            raise Fault(f"the node ended at: {name}")
    if wrong:
        raise Fault("; ".join(wrong))
    if not node.ready(3):
        raise Fault("the node is not ready afterwards")
