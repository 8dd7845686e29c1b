"""Asks one node of a cluster through the rest of its gRPC services, as any program may.

usage: outside.py GENERATED MANAGEMENT led|leaderless CLUSTER NODE NAME
       outside.py GENERATED MANAGEMENT drain NODE
"""

import sys

sys.path.insert(0, sys.argv[1])

import grpc  # noqa: E402
import cluster_pb2 as c  # noqa: E402
import cluster_pb2_grpc  # noqa: E402
import managepb_pb2 as m  # noqa: E402
import managepb_pb2_grpc  # noqa: E402

# Seconds for each call; only a hang lasts as long.
TIME = 30
_, _, management, mode, *rest = sys.argv
node_calls = managepb_pb2_grpc.ClusterManagementStub(grpc.insecure_channel(management))


def equal(got, expected):
    assert got == expected, f"{got!r}, not {expected!r}"


def drain(node_id):
    answer = node_calls.DrainNode(m.DrainNodeRequest(node_id=node_id), timeout=TIME)
    equal(answer.node_id, node_id)
    return m.Error.Code.Name(answer.error.error_code) if answer.HasField("error") else None


def views(cluster_calls, outside, node, name):
    """What holds with and without a leader; every answer is the node's own."""
    listed = node_calls.ListEndpoints(m.ListEndpointsRequest(filter="management"), timeout=TIME)
    equal({each.name for each in listed.endpoints}, {"ep.clusterfunk.management"})
    equal([each.address for each in listed.endpoints if each.node_id == node], [management])
    assert not listed.HasField("error"), listed
    equal((drain(""), drain("a_b")), ("INVALID", "INVALID"))
    nodes = node_calls.ListNodes(m.ListNodesRequest(), timeout=TIME)
    listed = cluster_calls.Endpoints(c.EndpointsRequest(prefix="ep.cluster"), timeout=TIME).endpoints
    assert (node, "ep.cluster", outside) in [(each.node_id, each.name, each.address) for each in listed]
    watch = cluster_calls.Watch(c.WatchRequest(), timeout=TIME)
    first = next(watch)
    watch.cancel()
    assert first.full and not first.more, first
    equal((first.cluster_name, first.shard_count), (name, 10_000))
    equal(sum(each.last - each.first + 1 for each in first.shards), 10_000)
    equal({each.node_id for each in first.members}, {each.node_id for each in nodes.nodes})


def main():
    if mode == "drain":
        equal(drain(rest[0]), None)
        return
    if mode not in ("led", "leaderless"):
        sys.exit(__doc__)
    outside, node, name = rest
    cluster_calls = cluster_pb2_grpc.ClusterStub(grpc.insecure_channel(outside))
    views(cluster_calls, outside, node, name)
    if mode == "led":
        equal(drain("nobody"), "UNKNOWN_ID")
        assert cluster_calls.Propose(c.ProposeRequest(payload=b"x"), timeout=TIME).index > 0
        return
    equal(drain("nobody"), "NO_LEADER")
    try:
        index = cluster_calls.Propose(c.ProposeRequest(payload=b"x"), timeout=1).index
        raise AssertionError(f"committed at {index} without a majority")
    except grpc.RpcError as error:
        assert error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED), error


main()
