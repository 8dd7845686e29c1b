"""The page of an observer says that it observes, not that it looks for a cluster that takes it in.

From: own review.
Smallest input: bin/demo --non-member beside a cluster of one; the sentence that the page's own script makes of its status. Needs Node.js.
"""
import json
import shutil
import time

from lib import Cluster, Fault, Skip, until

KIND = "page"
ASK = """
import { readFileSync } from 'node:fs';
const words = await import('data:text/javascript;base64,' + readFileSync(process.argv[1]).toString('base64'));
if (typeof words.sentence !== 'function') { console.log('NO SENTENCE'); } else { console.log(words.sentence(JSON.parse(readFileSync(process.argv[2])))); }
"""


def run(trial):
    engine = shutil.which("node") or shutil.which("nodejs")
    if not engine:
        raise Skip("needs Node.js")
    cluster = Cluster(trial, 1)
    observer = cluster.add(2, ["--non-member"])
    if not until(lambda: len(observer.status()["members"]) == 2, 15):
        raise RuntimeError("the observer sees no cluster")
    time.sleep(1)
    page = observer.get("/", 3)[1].decode()
    script = next((path for path in ("/page/words.js", "/words.js") if observer.get(path, 3)[0] == 200), None)
    if script is None:
        raise Skip(f"the page has no words.js any more ({page.count('<script')} scripts): look at the sentence by eye")
    with open(trial.path("words.mjs"), "wb") as file:
        file.write(observer.get(script, 3)[1])
    with open(trial.path("status.json"), "w") as file:
        json.dump(observer.status(), file)
    code, said, err = trial.command([engine, "--input-type=module", "--eval", ASK, trial.path("words.mjs"), trial.path("status.json")])
    if code or said == "NO SENTENCE":
        raise Skip(f"the page's script says its sentence in another way now: look by eye ({err[-120:]})")
    if "looks for a cluster" in said or said.startswith("Joining"):
        state = observer.status()
        raise Fault(f"the page of an observer (role {state['role']}, state {state['state']}) says {said!r}; right: that it watches the cluster and owns nothing")
