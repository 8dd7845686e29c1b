"""Real Serf agents, beside nodes."""
import json
import os
import shutil
import socket

from lib.trial import Fault, Skip, until


def _free():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class Agent:
    """A process of `serf agent` on free ports of the loopback address."""

    def __init__(self, trial, name, joins, arguments=(), wait=True):
        if not shutil.which("serf"):
            raise Skip("needs the command serf")
        self.trial, self.name = trial, name
        self.serf, self.rpc = f"127.0.0.1:{_free()}", f"127.0.0.1:{_free()}"
        self.log_path = trial.path("logs", f"{name}.agent")
        command = ["serf", "agent", "-node", name, "-bind", self.serf, "-rpc-addr", self.rpc, "-profile", "lan"]
        command += [part for join in joins for part in ("-retry-join", join)] + ["-retry-interval", "1s", *arguments]
        with open(self.log_path, "ab") as log:
            self.process = trial.spawn(command, stdout=log, stderr=log)
        if wait and not until(lambda: len(self.members()) > 1, 15):
            raise RuntimeError(f"the agent {name} does not get in: {self.log()[-300:]!r}")

    def ask(self, *words, seconds=30):
        """A command to the agent: (exit code, stdout, stderr)."""
        return self.trial.command(["serf", words[0], "-rpc-addr", self.rpc, *words[1:]], seconds=seconds)

    def members(self):
        """{name: status}."""
        code, out, err = self.ask("members", "-format=json")
        if code:
            raise OSError(err)
        return {member["name"]: member["status"] for member in json.loads(out)["members"]}

    def acks(self, *filters, timeout="3s"):
        """Who acknowledged a query with these filters."""
        code, out, err = self.ask("query", "-format=json", f"-timeout={timeout}", *filters, "probe", "")
        if code:
            raise OSError(err)
        return sorted(json.loads(out)["Acks"] or [])

    def log(self):
        with open(self.log_path, errors="replace") as file:
            return file.read()


def all_show(lookers, expected, seconds=20):
    """Waits until all of these show these members so: nodes by their pages, agents by `serf members`. {name: status or None for any}."""
    def wrong():
        out = []
        for looker in lookers:
            if isinstance(looker, Agent):
                seen = looker.members()
            else:
                seen = {member["id"]: member["serf"] for member in looker.status(3)["members"]}
            out += [f"{looker.name} shows {name} {seen.get(name)}" for name, status in expected.items() if seen.get(name) != status]
        return out

    if not until(lambda: not wrong(), seconds, 0.2):
        raise Fault(f"{seconds} s later {'; '.join(wrong()[:6])}; right: {expected}")


def script(trial, name, text):
    """A program for the shell, for event handlers."""
    path = trial.path("scripts", name)
    with open(path, "w") as file:
        file.write("#!/bin/sh\n" + text + "\n")
    os.chmod(path, 0o755)
    return path
