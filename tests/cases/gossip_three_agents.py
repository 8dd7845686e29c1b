"""Beside real agents of Serf a node is what an agent is: removed, it is left; members of any name are listed; queries by tags and events reach it.

From: own review.
Smallest input: three nodes and three real agents, two of them with a long name and with underscores. Queries with filters by tags and names
from an agent; an event, and then a node and an agent that come later; ctrlc node rm of a follower.
"""
from lib import Cluster, Fault, until
from lib.agents import Agent, all_show, script

KIND = "gossip"
SECONDS = 150
NAMES = ["ip-10-0-12-34.eu-west-1.compute.internal", "web_server_1", "plain"]


def run(trial):
    cluster = Cluster(trial)
    joins = [f"127.0.0.1:{node.port('serf')}" for node in cluster.nodes]
    agents = [Agent(trial, name, [join], ["-tag", f"role={role}"]) for name, join, role in zip(NAMES, joins, ["web-1", "web-2", "db"])]
    nodes = [node.name for node in cluster.nodes]
    all_show([*cluster.nodes, *agents], {name: "alive" for name in [*NAMES, *nodes]})
    listed = trial.ctrlc(cluster[1], "--output", "json", "nodes")[1]
    gone = [name for name in NAMES if name not in listed]
    if gone:
        raise Fault(f"members of gossip, but not in ctrlc nodes: {', '.join(gone)}; right: listed like any other")
    queries(agents[0], nodes)
    events(trial, cluster, agents)
    removed(trial, cluster, agents)


def queries(agent, nodes):
    expected = {
        (): [*NAMES, *nodes],
        ("-tag", "meta.clusterName=^case$"): nodes,
        ("-tag", "ep.raft=:[0-9]+$"): nodes,
        ("-tag", "role=^web-\\d$"): NAMES[:2],
        ("-tag", "ep.raft=^nowhere"): [],
        ("-node", "n2", "-node", NAMES[1]): ["n2", NAMES[1]],
        ("-node", "n2", "-tag", "ep.raft=."): ["n2"],
        ("-relay-factor", "2"): [*NAMES, *nodes],
    }
    for filters, names in expected.items():
        seen = []
        if not until(lambda filters=filters, names=names: seen.append(set(agent.acks(*filters, timeout="2s"))) or seen[-1] == set(names), 12):
            raise Fault(f"a query of an agent with {' '.join(filters) or 'no filter'} is acked by {sorted(seen[-1])}; right: by {sorted(names)}")


def events(trial, cluster, agents):
    code, _, err = agents[0].ask("event", "deploy", "7")
    if code:
        raise RuntimeError(f"serf event: {err}")

    def heard(node):
        return node.metric("funk_gossip_user_events_total") >= 1

    if not until(lambda: all(heard(node) for node in cluster.nodes), 10):
        raise Fault("10 s after an agent's event a node has not heard it; right: all have")
    late = cluster.add(4)
    if not late.wait_ready() or not until(lambda: heard(late), 10):
        raise Fault("a node that joined after an event never hears of it; right: push/pulls tell of it, as agents' do")
    said = trial.path("scripts", "said")
    handler = script(trial, "deploy.sh", f'echo "$SERF_USER_EVENT $(cat)" >> {said}')
    asker = Agent(trial, "late", [], ["-event-handler", f"user:deploy={handler}"], wait=False)
    # It knows nobody but a node: what is replayed to it comes from there.
    if not until(lambda: asker.ask("join", "-replay", f"127.0.0.1:{late.port('serf')}")[0] == 0, 10):
        raise RuntimeError(f"serf join: {asker.log()[-300:]!r}")

    def told():
        with open(said) as file:
            return file.read().split() == ["deploy", "7"]

    if not until(told, 5):
        raise Fault("an agent that joins a node and asks for a replay is not told of the event before; right: told once, as by an agent")


def removed(trial, cluster, agents):
    victim = cluster.followers()[0]
    code, out, err = trial.ctrlc(cluster.leader(), "node", "rm", victim.name)
    if code:
        raise RuntimeError(f"ctrlc node rm: {out} {err}")
    all_show(agents, {victim.name: "left"}, 6)
