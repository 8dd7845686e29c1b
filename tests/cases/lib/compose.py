"""The compose file, obeyed without an engine: its services as containers at the addresses that it gives them."""
import os
import shlex
import subprocess

from lib.container import Container, seconds
from lib.trial import Skip, until

FILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "deploy", "docker", "compose.yaml")
NETWORK = "funk"


class Service(Container):
    """A service of the file."""

    def __init__(self, trial, image, host, name, service):
        address = service["networks"][NETWORK]["ipv4_address"]
        volumes = {}
        for volume in service["volumes"]:
            source, place = volume.split(":")
            path = trial.path("volumes", source, "")
            # As an engine fills a new volume from the image: with its owner.
            owner = os.stat(image.root.rstrip("/") + place)
            os.chown(path, owner.st_uid, owner.st_gid)
            volumes[place] = path
        super().__init__(trial, image, host, name, shlex.split(service["command"]), service.get("environment"), volumes)
        self.ip, self.grace, self.check = address, seconds(service["stop_grace_period"]), service["healthcheck"]
        if not (service["read_only"] and service["cap_drop"] == ["ALL"] and service["security_opt"] == ["no-new-privileges:true"]):
            raise RuntimeError("containers here are read only and without rights: the file says something else")

    def healthy(self):
        kind, *words = self.check["test"]
        if kind != "CMD":
            raise RuntimeError(f"no {kind} here")
        return self.alive() and self.exec(words, seconds(self.check["timeout"]))[0] == 0

    def wait_healthy(self, most=30):
        return until(self.healthy, most, 0.05)


def services(trial, image):
    """The services of the file, each on a host of its own, not started yet."""
    try:
        import yaml
    except ImportError as error:
        raise Skip("needs the Python package yaml") from error
    with open(FILE) as file:
        compose = yaml.safe_load(file)
    found = []
    for host, (name, service) in zip(trial.hosts, compose["services"].items()):
        service = Service(trial, image, host, name, service)
        subprocess.run(["ip", "-n", host.netns, "addr", "add", f"{service.ip}/24", "dev", "eth0"], check=True)
        found.append(service)
    # The case itself is at the network's other end.
    away = found[0].ip.rsplit(".", 1)[0] + ".254/24"
    subprocess.run(["ip", "addr", "add", away, "dev", "br0"], check=True)
    return found
