"""Three containers of the image, as the compose file has them, are restarted one after the other under 500 requests a second and lose none.

Each runs as process 1, read only, without root, capabilities and shell, and is operational within a second of its start.
"""
import json
import subprocess

from lib import Fault
from lib.compose import services
from lib.container import Image

KIND = "image"
HOSTS = 3
SECONDS = 120
RATE = 500
LOAD_SECONDS = 12
OPERATIONAL_SECONDS_MAX = 1.0
# What a host fetches.
PACKED_BYTES_MAX = 20_000_000
RIGHTS = {"first": True, "uid": 10001, "groups": [], "capabilities": 0, "new_privileges": False, "read_only": True}


def client(trial, nodes, seconds):
    arguments = [trial.program("client"), "--zeroconf=false", "--concurrency", "64", "--rate", str(RATE), "--duration", f"{seconds}s", "--json"]
    for node in nodes:
        arguments += ["--join", f"{node.ip}:7946"]
    return trial.spawn(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def result(process):
    out, err = process.communicate(timeout=60)
    try:
        return json.loads(out)
    except ValueError:
        raise RuntimeError(f"the client says no result: {err.decode()[-300:]}") from None


def run(trial):
    image = Image(trial)
    size = f"{image.packed_bytes / 1e6:.1f} MB packed, {image.bytes / 1e6:.1f} MB unpacked"
    if image.packed_bytes > PACKED_BYTES_MAX:
        raise Fault(f"the image has {size}; right: {PACKED_BYTES_MAX / 1e6:.0f} MB packed at most")
    nodes = [node.start() for node in services(trial, image)]
    for node in nodes:
        node.seconds_to("operational")
        if node.rights() != RIGHTS:
            raise Fault(f"{node.name} runs with {node.rights()}; right: {RIGHTS}")
        if not node.wait_healthy():
            raise Fault(f"{node.name} is not healthy: {node.exec(node.check['test'][1:], 5)}")
    load, took = client(trial, nodes, LOAD_SECONDS), []
    for node in nodes:
        code = node.stop(node.grace)
        if code != 0:
            raise Fault(f"{node.name} ends with {code} when it is told to stop; right: 0, within {node.grace:.0f} s")
        node.start()
        took.append(node.seconds_to("operational"))
        if not node.wait_healthy():
            raise Fault(f"{node.name} is not healthy again: {node.log()[-300:]!r}")
    if load.poll() is not None:
        raise RuntimeError("the load ended before the restarts did")
    seen = result(load)
    figures = f"{seen['answered']} answered, {seen['lost']} lost; operational after {', '.join(f'{seconds:.2f}' for seconds in took)} s"
    if seen["lost"] or seen["answered"] < RATE * LOAD_SECONDS / 2:
        raise Fault(f"{figures}; right: none lost of about {RATE * LOAD_SECONDS} ({seen.get('last_loss')})")
    if max(took) > OPERATIONAL_SECONDS_MAX:
        raise Fault(f"{figures}; right: {OPERATIONAL_SECONDS_MAX} s at most")
    return f"{size}; {figures}"
