"""Asks one node of a cluster through its gRPC services, as any program may.

usage: outside.py GENERATED led|leaderless MANAGEMENT CLUSTER NODE LEADER NAME NODES
       outside.py GENERATED step-down MANAGEMENT CLUSTER NODE LEADER NAME NODES
"""

import sys

sys.path.insert(0, sys.argv[1])

import grpc  # noqa: E402
import cluster_pb2 as c  # noqa: E402
import cluster_pb2_grpc  # noqa: E402
import managepb_pb2 as m  # noqa: E402
import managepb_pb2_grpc  # noqa: E402

# Seconds for each call; only a hang lasts as long.
TIME = 10
_, _, mode, management, outside, node, leader, name, count = sys.argv
count = int(count)
node_calls = managepb_pb2_grpc.ClusterManagementStub(grpc.insecure_channel(management))
cluster_calls = cluster_pb2_grpc.ClusterStub(grpc.insecure_channel(outside))


def equal(got, expected):
    assert got == expected, f"{got!r}, not {expected!r}"


def changes(node_id):
    """The codes with which each change of this node is refused."""
    calls = [
        (node_calls.AddNode, m.AddNodeRequest),
        (node_calls.RemoveNode, m.RemoveNodeRequest),
        (node_calls.DrainNode, m.DrainNodeRequest),
    ]
    return {m.Error.Code.Name(call(message(node_id=node_id), timeout=TIME).error.error_code) for call, message in calls}


def views():
    """What holds with and without a leader; every answer is the node's own."""
    status = node_calls.GetStatus(m.GetStatusRequest(), timeout=TIME)
    equal((status.local_node_id, status.leader_node_id, status.cluster_name), (node, leader, name))
    equal((status.raft_node_count, status.shard_count, status.your_ip), (count, 10_000, "127.0.0.1"))
    assert status.created > 0 and not status.HasField("error"), status
    nodes = node_calls.ListNodes(m.ListNodesRequest(), timeout=TIME)
    equal((nodes.node_id, nodes.leader_id, len(nodes.nodes)), (node, leader, count))
    equal([each.node_id for each in nodes.nodes if each.leader], [leader] if leader else [])
    shards = node_calls.ListShards(m.ListShardsRequest(), timeout=TIME)
    equal((shards.total_shards, sum(each.shard_count for each in shards.shards)), (10_000, 10_000))
    listed = node_calls.ListEndpoints(m.ListEndpointsRequest(filter="management"), timeout=TIME)
    equal({each.name for each in listed.endpoints}, {"ep.clusterfunk.management"})
    equal([each.address for each in listed.endpoints if each.node_id == node], [management])
    assert not (nodes.HasField("error") or shards.HasField("error") or listed.HasField("error"))
    equal(changes(""), {"INVALID"})
    equal(changes("a_b"), {"INVALID"})
    listed = cluster_calls.Endpoints(c.EndpointsRequest(prefix="ep.cluster"), timeout=TIME).endpoints
    assert (node, "ep.cluster", outside) in [(each.node_id, each.name, each.address) for each in listed]
    watch = cluster_calls.Watch(c.WatchRequest(), timeout=TIME)
    first = next(watch)
    watch.cancel()
    assert first.full and not first.more, first
    equal((first.cluster_name, first.shard_count), (name, 10_000))
    equal(sum(each.last - each.first + 1 for each in first.shards), 10_000)
    equal({each.node_id for each in first.members}, {each.node_id for each in nodes.nodes})


def step_down(**more):
    return node_calls.StepDown(m.StepDownRequest(), timeout=TIME, **more)


if mode == "led":
    views()
    equal(changes("nobody"), {"UNKNOWN_ID"})
    if node != leader:
        # A call that was passed on already goes no further.
        equal(step_down(metadata=[("x-funk-hop", "1")]).error.error_code, m.Error.NO_LEADER)
    assert cluster_calls.Propose(c.ProposeRequest(payload=b"x"), timeout=TIME).index > 0
elif mode == "step-down":
    answer = step_down()
    assert not answer.HasField("error"), answer
    equal(answer.node_id, leader)
elif mode == "leaderless":
    views()
    equal(changes("nobody"), {"NO_LEADER"})
    equal(step_down().error.error_code, m.Error.NO_LEADER)
    try:
        index = cluster_calls.Propose(c.ProposeRequest(payload=b"x"), timeout=1).index
        raise AssertionError(f"committed at {index} without a majority")
    except grpc.RpcError as error:
        assert error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED), error
else:
    sys.exit(__doc__)
