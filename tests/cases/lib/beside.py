"""What a flood does to everybody else: a client beside it, and each node before and after."""
import os
import time

from lib import rpc
from lib.cluster import Monitor
from lib.trial import Fault, until

RATE = 200
# A node that has served a while holds this much more or less, whatever happens.
RSS_GROWN_MB_MAX = 20
BACK_SECONDS = 45


class Beside:
    """A client at 200 requests a second, from now until `end()`, which says what became of it and of the nodes.

    Nothing of the client is lost, the leader stays, and when the flood is over memory and descriptors come back to what they were.
    """

    def __init__(self, cluster, seconds):
        self.nodes = list(cluster.nodes)
        # Connections between nodes, and what a node needs once, are there before it is measured.
        cluster.client(2, rate=RATE).result()
        for node in [] if cluster.client_env else self.nodes:
            owners = node.owners()
            for shard in {owners.index(name) for name in set(owners) if name and name != node.name}:
                rpc.call(node.at("demo"), rpc.LIFF, rpc.liff(shard))
        time.sleep(1)
        self.before = {node.name: (node.rss_mb(), descriptors(node)) for node in self.nodes}
        self.monitor, self.load = Monitor(self.nodes, every=0.25), cluster.client(seconds, rate=RATE)
        time.sleep(0.5)

    def end(self):
        """Once the flood has let go of everything. Returns the figures, or raises Fault."""
        result = self.load.result()
        monitor, wrong = self.monitor.end(), []
        reigns = len(monitor.reigns)
        if not result["answered"] or result["lost"]:
            wrong.append(f"a client at {RATE}/s beside it has {result['answered']} answers and lost {result['lost']} ({result['errors']}); right: none")
        if reigns != 1:
            wrong.append(f"{reigns - 1} leader changes; right: none")

        def back():
            return all(node.rss_mb() - self.before[node.name][0] <= RSS_GROWN_MB_MAX and descriptors(node) <= self.before[node.name][1] for node in self.nodes)

        until(back, BACK_SECONDS, 0.5)
        figures = []
        for node in self.nodes:
            rss, had = self.before[node.name]
            grown, has = node.rss_mb() - rss, descriptors(node)
            figures.append(f"{node.name} {rss:.0f} MB, at most {monitor.rss_mb[node.name]:.0f}, then {rss + grown:.0f}, descriptors {had} then {has}")
            if grown > RSS_GROWN_MB_MAX:
                wrong.append(f"{node.name} holds {grown:.0f} MB more {BACK_SECONDS} s after it; right: {RSS_GROWN_MB_MAX} at most")
            if has > had:
                wrong.append(f"{node.name} holds {has} descriptors, before it {had}; right: no more than before")
        text = f"{result['answered']} answered, {result['lost']} lost, {result['retries']} retries, {reigns - 1} leader changes; " + "; ".join(figures)
        if wrong:
            raise Fault("; ".join(wrong) + f" [{text}]")
        return text


def descriptors(node):
    return len(os.listdir(f"/proc/{node.pid()}/fd"))
