"""Asks one node through the management calls that are fixed for ever, by their numbers in contract.proto.

usage: contract.py GENERATED MANAGEMENT led|leaderless|step-down NODE LEADER NAME NODES
       contract.py GENERATED MANAGEMENT add|remove NODE
"""

import sys

sys.path.insert(0, sys.argv[1])

import grpc  # noqa: E402
import contract_pb2 as m  # noqa: E402
import contract_pb2_grpc  # noqa: E402

# Seconds for each call; only a hang lasts as long.
TIME = 30
# Fields that are not in the contract have numbers from here on.
NEW = 100
_, _, management, mode, *rest = sys.argv
calls = contract_pb2_grpc.ClusterManagementStub(grpc.insecure_channel(management))


def equal(got, expected):
    assert got == expected, f"{got!r}, not {expected!r}"


def ask(call, message, **more):
    answer = call(message, timeout=TIME, **more)
    numbers = [field.field_number for field in answer.UnknownFields()]
    assert all(number >= NEW for number in numbers), f"fields {numbers} are in no contract: {answer}"
    return answer


def worked(call, message):
    answer = ask(call, message)
    assert not answer.HasField("error"), answer
    return answer


def refused(node_id):
    """The codes with which each change of this node is refused."""
    codes = set()
    for call, message in [(calls.AddNode, m.AddNodeRequest), (calls.RemoveNode, m.RemoveNodeRequest)]:
        answer = ask(call, message(node_id=node_id))
        equal(answer.node_id, node_id)
        assert answer.error.message, answer
        codes.add(m.Error.Code.Name(answer.error.error_code))
    return codes


def views(node, leader, name, count):
    """What holds with and without a leader; every answer is the node's own."""
    status = worked(calls.GetStatus, m.GetStatusRequest())
    equal((status.local_node_id, status.leader_node_id, status.cluster_name), (node, leader, name))
    equal((status.raft_node_count, status.shard_count, status.your_ip), (count, 10_000, "127.0.0.1"))
    assert 1 <= status.serf_node_count <= count, status
    # Unix nanoseconds of this century.
    assert 10**18 < status.created < 4 * 10**18, status
    if leader:
        role = "Leader" if node == leader else "Follower"
        equal((status.serf_node_count, status.local_role, status.local_state), (count, role, "Operational"))
    nodes = worked(calls.ListNodes, m.ListNodesRequest())
    equal((nodes.node_id, nodes.leader_id, len(nodes.nodes)), (node, leader, count))
    equal([each.node_id for each in nodes.nodes if each.leader], [leader] if leader else [])
    equal({each.raft_state for each in nodes.nodes}, {"Voter"})
    assert {each.serf_state for each in nodes.nodes} <= {"alive", "failed"}, nodes
    shards = worked(calls.ListShards, m.ListShardsRequest())
    equal((shards.node_id, shards.total_shards), (node, 10_000))
    equal({each.node_id for each in shards.shards}, {each.node_id for each in nodes.nodes})
    equal(sum(each.shard_count for each in shards.shards), 10_000)
    equal(refused(""), {"INVALID"})
    equal(refused("a_b"), {"INVALID"})


def main():
    if mode == "add":
        equal(worked(calls.AddNode, m.AddNodeRequest(node_id=rest[0])).node_id, rest[0])
        return
    if mode == "remove":
        equal(worked(calls.RemoveNode, m.RemoveNodeRequest(node_id=rest[0])).node_id, rest[0])
        return
    node, leader, name, count = rest
    if mode == "led":
        views(node, leader, name, int(count))
        equal(refused("nobody"), {"UNKNOWN_ID"})
        if node != leader:
            # A call that was passed on already goes no further.
            answer = ask(calls.StepDown, m.StepDownRequest(), metadata=[("x-funk-hop", "1")])
            equal(answer.error.error_code, m.Error.NO_LEADER)
    elif mode == "step-down":
        equal(worked(calls.StepDown, m.StepDownRequest()).node_id, leader)
    elif mode == "leaderless":
        views(node, leader, name, int(count))
        equal(refused("nobody"), {"NO_LEADER"})
        equal(ask(calls.StepDown, m.StepDownRequest()).error.error_code, m.Error.NO_LEADER)
    else:
        sys.exit(__doc__)


main()
