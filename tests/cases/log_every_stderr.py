"""Whatever stderr is, full, closed, blocked or gone, every program does its work and ends in time.

From: own review.
Smallest input: each of a full device, no stderr at all, a pipe without a reader, a full pipe, one that does not block, a file on a
full disk, and a terminal that is closed, as the stderr of: a node with and without its watcher, a seed, a client, ctrlc; all with --log-level debug where
there is one. They serve, and SIGTERM ends them within 3 s; ctrlc and the client end by themselves.
"""
import json
import signal
import subprocess
import time

from lib import Cluster, Fault, Node, http, stderr, until

KIND = "logs"
SECONDS = 360
TERM_MAX = 3
HEARTH = "127.0.0.1:21001"


def run(trial):
    cluster = Cluster(trial, 1)
    wrong = []
    for number, kind in enumerate(stderr.KINDS):
        for name, check in (("demo", node), ("demo --guard=false", unwatched), ("seed", seed), ("client", client), ("ctrlc", ctrlc)):
            given = stderr.Stderr(trial, kind)
            try:
                why = check(trial, cluster, kind, given, number)
            finally:
                given.close()
            if why:
                wrong.append(f"{name}, {kind}: {why}")
    if not cluster[1].ready(3):
        wrong.append("the node whose log is well is not ready")
    if wrong:
        raise Fault(f"{len(wrong)} of {5 * len(stderr.KINDS)} go wrong: {'; '.join(wrong)}")


def start(trial, kind, given, program, **streams):
    return trial.spawn(stderr.arguments(kind, program), stderr=subprocess.DEVNULL if given.file is None else given.file, **streams)


def ended(process, seconds):
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return None


def node(trial, cluster, kind, given, number, extra=()):
    """A second node: it joins, sees a third come and go, and leaves."""
    arguments = [trial.program("demo"), "--node-id", "m2", "--interface", "127.0.0.1", "--cluster-name", "case", "--zeroconf=false", "--log-level", "debug",
                 "--http-endpoint", "127.0.0.1:22007", "--join", HEARTH, *extra]
    process = start(trial, kind, given, arguments, stdout=subprocess.DEVNULL)

    def ready():
        return http(("127.0.0.1", 22007), "/readyz", 2)[0] == 200

    def state():
        return "its process runs" if process.poll() is None else f"its process ended with {process.returncode}"

    if not until(ready, 20):
        return f"it is not ready; {state()}"
    given.spoil()
    third = Node(trial, 3, joins=[HEARTH])
    third.wait_ready()
    third.kill()
    time.sleep(1)
    if not until(ready, 10):
        return f"it does not serve after another node came and went; {state()}"
    process.send_signal(signal.SIGTERM)
    code = ended(process, TERM_MAX)
    until(lambda: len([member for member in cluster[1].status()["members"] if member["gossip"] == "alive"]) == 1, 10)
    return None if code == 0 else f"SIGTERM gives {code} within {TERM_MAX} s"


def unwatched(trial, cluster, kind, given, number):
    return node(trial, cluster, kind, given, number, ["--guard=false"])


def seed(trial, cluster, kind, given, number):
    at = f"127.0.0.1:{29100 + number}"
    process = start(trial, kind, given, [trial.program("seed"), "--cluster-name", "case", "--node-id", f"s{number}", "--interface", "127.0.0.1", "--zeroconf=false",
                                         "--serf-endpoint", at, "--join", HEARTH, "--log-level", "debug"], stdout=subprocess.DEVNULL)
    seen = until(lambda: cluster[1].member(f"s{number}"), 10)
    given.spoil()
    time.sleep(1.5)
    if process.poll() is not None:
        return f"it ended with {process.returncode}"
    process.send_signal(signal.SIGTERM)
    code = ended(process, TERM_MAX)
    if not seen:
        return "nobody sees it in gossip"
    return None if code == 0 else f"SIGTERM gives {code} within {TERM_MAX} s"


def client(trial, cluster, kind, given, number):
    arguments = [trial.program("client"), "--cluster-name", "case", "--zeroconf=false", "--join", HEARTH, "--rate", "100", "--json"]
    process = start(trial, kind, given, [*arguments, "--duration", "2s"], stdout=subprocess.PIPE)
    time.sleep(0.5)
    given.spoil()
    try:
        out, _ = process.communicate(timeout=15)
    except subprocess.TimeoutExpired:
        process.kill()
        return "it does not end"
    try:
        result = json.loads(out)
    except ValueError:
        return f"it ends with {process.returncode} and says {out[-80:]!r}"
    if process.returncode or not result["answered"] or result["lost"]:
        return f"it ends with {process.returncode}, {result['answered']} answers, {result['lost']} lost"
    return None


def ctrlc(trial, cluster, kind, given, number):
    """Once with something to say on stdout, and once with an error to tell."""
    base = [trial.program("ctrlc"), "-n", "case", "-e", f"127.0.0.1:{cluster[1].port('management')}"]
    for extra, right in ((["nodes"], 0), (["node", "rm", "nobody"], 1)):
        process = start(trial, kind, given, [*base, *extra], stdout=subprocess.PIPE)
        given.spoil()
        given.spoil = lambda: None
        try:
            out, _ = process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            return f"{' '.join(extra)} does not end"
        if process.returncode != right or (right == 0 and b"n1" not in out):
            return f"{' '.join(extra)} ends with {process.returncode} and says {out[-80:]!r}; right: {right}"
    return None
