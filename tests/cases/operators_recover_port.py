"""ctrlc recover reaches the survivor where it listens now, not where it listened before it was restarted.

From: own review.
Smallest input: three nodes with data directories and free ports; kill -9 of all, two directories deleted, the third node started again; ctrlc
--join HOST recover --from it.
"""
import time

from lib import Fault, Node, until

KIND = "operators"


def run(trial):
    nodes = []
    for number in (1, 2, 3):
        extra = ["--serf-endpoint", f"127.0.0.1:2750{number}", "--http-endpoint", f"127.0.0.1:{20000 + 1000 * number + 7}"] + (["--bootstrap"] if number == 1 else [])
        node = Node(trial, number, extra, name=f"r{number}", data=trial.path("data", str(number), ""), joins=["127.0.0.1:27501"], ports=False)
        if not node.wait_ready():
            raise RuntimeError(f"{node.name} does not come up: {node.alive()}, {node.log()[-400:]}")
        nodes.append(node)
    if not until(lambda: nodes[0].status()["shards_owned"] < 4000, 15):
        raise RuntimeError("the shards do not spread")
    time.sleep(1)
    for node in nodes:
        node.kill()
    survivor = nodes[0]
    survivor.arguments.remove("--bootstrap")
    survivor.again()
    if not until(lambda: survivor.status()["state"], 10):
        raise RuntimeError("the survivor does not start")
    time.sleep(2)
    code, out, err = trial.command([trial.program("ctrlc"), "-n", "case", "--join", "127.0.0.1:27501", "--timeout", "20s", "recover", "--from", "r1"], seconds=40)
    if code:
        raise Fault(f"recover ends with {code}: {err or out}; right: it asks the survivor, which runs, and recovers")
    if not until(survivor.ready, 15):
        raise Fault("recover said 0, but the survivor is not ready after 15 s")
