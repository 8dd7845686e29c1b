"""Containers without an engine: an image's root file system, read only, under namespaces of its own, in the network of a host.

The first process is the image's entry point, without root, capabilities and shell, as an engine with
`--read-only --cap-drop ALL --security-opt no-new-privileges` starts it.
"""
import gzip
import json
import os
import re
import shutil
import signal
import subprocess
import tarfile
import time

from lib.trial import Skip, until

ARCHIVE = "target/image/funk.tar"
TOOLS = ("ip", "unshare", "nsenter", "setpriv", "mount", "sh")
# What runs before the container's own process: mounts, which only the container sees.
PREPARE = """set -e
{mount} --bind {root} {root}
{binds}
{mount} -o remount,bind,ro {root} {root}
exec {setpriv} --no-new-privs --clear-groups {unshare} --pid --fork --kill-child --root={root} --mount-proc=/proc --wd=/ \
 --setgid {gid} --setuid {uid} -- "$@"
"""


def tool(name):
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if not path:
        raise Skip(f"needs the command {name}")
    return path


class Image:
    """What `make image` made: the root file system, and what its configuration says."""

    def __init__(self, trial):
        self.archive = os.environ.get("FUNK_IMAGE", os.path.join(os.path.dirname(trial.programs), ARCHIVE))
        if not os.path.exists(self.archive):
            raise Skip(f"needs the image {self.archive}: make image")
        self.tools = {name: tool(name) for name in TOOLS}
        self.root = trial.path("image", "root", "")
        with tarfile.open(self.archive) as archive:
            def read(name):
                return archive.extractfile(name)
            manifest = json.load(read("manifest.json"))[0]
            self.config = json.load(read(manifest["Config"]))["config"]
            for layer in manifest["Layers"]:
                with tarfile.open(fileobj=read(layer)) as files:
                    files.extractall(self.root, numeric_owner=True)
            # As registries keep it and hosts fetch it.
            self.packed_bytes = sum(len(gzip.compress(read(layer).read(), 6)) for layer in manifest["Layers"])
        self.bytes = sum(os.lstat(os.path.join(path, name)).st_size for path, _, names in os.walk(self.root) for name in names)
        self.user, self.group = (int(number) for number in self.config["User"].split(":"))
        self.environment = dict(pair.split("=", 1) for pair in self.config["Env"])
        self.stop_signal = getattr(signal, self.config["StopSignal"])


class Container:
    """A container that runs on a host. `volumes`: {place in the container: path here}; files and directories."""

    def __init__(self, trial, image, host, name, arguments=(), environment=None, volumes=None, command=None):
        self.trial, self.image, self.host, self.name = trial, image, host, name
        self.words = [*(command or image.config["Entrypoint"]), *arguments]
        self.environment = {**image.environment, **(environment or {})}
        self.volumes = volumes or {}
        self.log_path = trial.path("logs", f"{name}.err")
        self.out_path = trial.path("logs", f"{name}.out")
        self.process, self.init = None, None

    def start(self):
        tools, root = self.image.tools, self.image.root
        binds = "\n".join(f"{tools['mount']} --bind {path} {root.rstrip('/')}{place}" for place, path in self.volumes.items())
        script = PREPARE.format(root=root.rstrip("/"), binds=binds, uid=self.image.user, gid=self.image.group, **tools)
        arguments = [tools["ip"], "netns", "exec", self.host.netns, tools["unshare"], "--mount", "--uts", "--ipc",
                     tools["sh"], "-c", script, "sh", *self.words]
        self.began = time.monotonic()
        with open(self.log_path, "ab") as log, open(self.out_path, "wb") as out:
            self.process = self.trial.spawn(arguments, env=self.environment, stdout=out, stderr=log)
        self.init = until(self._first, 10, 0.002)
        if not self.init:
            raise RuntimeError(f"{self.name} does not start: {self.log()[-400:]!r}")
        return self

    def _first(self):
        """The id, out here, of the container's first process."""
        path = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        with open(path) as file:
            children = file.read().split()
        if not children:
            return None
        # Until it is the entry point, it is still unshare.
        with open(f"/proc/{children[0]}/cmdline") as file:
            return int(children[0]) if file.read().split("\0")[0] == self.words[0] else None

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def said(self):
        with open(self.out_path, errors="replace") as file:
            return file.read().splitlines()

    def log(self):
        with open(self.log_path, errors="replace") as file:
            return file.read()

    def seconds_to(self, line, most=20):
        """From the start to the moment at which this line stands on stdout."""
        if not until(lambda: line in self.said() or not self.alive(), most, 0.005) or not self.alive():
            raise RuntimeError(f"{self.name} does not say {line!r}: {self.log()[-600:]!r}")
        return time.monotonic() - self.began

    def exec(self, words, seconds):
        """A command in the container; its exit code, None after so long, and what it said."""
        arguments = [self.image.tools["nsenter"], "--target", str(self.init), "--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd",
                     f"--setgid={self.image.group}", f"--setuid={self.image.user}", "--", *words]
        process = self.trial.spawn(arguments, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            said, _ = process.communicate(timeout=seconds)
            return process.returncode, said.strip()
        except subprocess.TimeoutExpired:
            process.kill()
            return None, process.communicate()[0].strip()
        finally:
            self.trial.processes.remove(process)

    def stop(self, seconds):
        """The stop signal, and the other one after so long; the exit code."""
        try:
            os.kill(self.init, self.image.stop_signal)
            return self.process.wait(seconds)
        except ProcessLookupError:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.kill(self.init, signal.SIGKILL)
            return self.process.wait()

    def rights(self):
        """{"first", "uid", "capabilities", "new_privileges", "read_only"} of the first process."""
        with open(f"/proc/{self.init}/status") as file:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        with open(f"/proc/{self.init}/mountinfo") as file:
            root = next(line.split() for line in file if line.split()[4] == "/")
        return {"first": status["NSpid"].split()[-1] == "1", "uid": int(status["Uid"].split()[0]), "groups": status["Groups"].split(),
                "capabilities": int(status["CapEff"], 16), "new_privileges": status["NoNewPrivs"] == "0",
                "read_only": "ro" in root[5].split(",")}


def seconds(text):
    """10s, 500ms, 1m30s as compose and images write them."""
    units = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
    return sum(float(number) * units[unit] for number, unit in re.findall(r"([0-9.]+)(ms|s|m|h)", text))
