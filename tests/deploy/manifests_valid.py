"""The manifests are right for three versions of Kubernetes, strictly: no field is unknown to any of them.

The schemas are those of the Python package kubernetes-validate, which is installed into a folder of its own.
"""
import json
import os
import subprocess
import sys

from lib import Fault, Skip
from lib.pods import objects

KIND = "manifests"
SECONDS = 120
PACKAGE = "kubernetes-validate>=1.34,<2"
VERSIONS = ["1.29", "1.32", "1.34"]
OURS = ["base", "tls"]
CHECK = """import json, sys, kubernetes_validate
things = json.load(sys.stdin)
for version in sys.argv[1:]:
    for thing in things:
        try:
            kubernetes_validate.validate(thing, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            print(version, thing["kind"], thing["metadata"]["name"], "/".join(map(str, error.path)), error.message)
"""


def python():
    """A Python that has the package."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = os.path.join(cache, "funk-cases", f"kubernetes{sys.version_info.major}.{sys.version_info.minor}")
    found = os.path.join(folder, "bin", "python")
    # The case itself has no network.
    if not os.path.exists(found) or subprocess.run([found, "-c", "import kubernetes_validate"], capture_output=True).returncode:
        raise Skip(f"needs the Python package kubernetes-validate: python3 -m venv {folder} && {folder}/bin/pip install '{PACKAGE}'")
    return found


def wrong(things):
    done = subprocess.run([python(), "-c", CHECK, *VERSIONS], input=json.dumps(things), capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-300:])
    return done.stdout.strip()


def run(trial):
    count = 0
    for name in OURS:
        things = list(objects(name).values())
        count += len(things)
        said = wrong(things)
        if said:
            raise Fault(f"{name}: {said}; right: valid for {', '.join(VERSIONS)}")
    # What is wrong is found.
    broken = [{**thing, "spec": {**thing["spec"], "replica": 3}} for thing in things if thing["kind"] == "StatefulSet"]
    if not broken or not wrong(broken):
        raise RuntimeError("a field that does not exist is not found")
    return f"{count} objects for {', '.join(VERSIONS)}"
