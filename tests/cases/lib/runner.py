"""`tests/cases/run`: runs cases one after the other, each in network namespaces of its own."""
import argparse
import ast
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

LIBRARY = os.path.dirname(os.path.abspath(__file__))
PACKAGES = ["h2>=4.1,<5", "pyyaml>=6,<7"]
UNMET = "unmet.txt"
KINDS = ["hop", "logs", "gossip", "authority", "bounds", "disk", "discovery", "operators", "page", "network", "manifests", "image", "pods"]


class Case:
    """A file with a docstring that begins with the claim, and the constants KIND, GUARD, HOSTS, SECONDS."""

    def __init__(self, path):
        self.path, self.name = path, os.path.basename(path)[:-3].replace("_", "-")
        with open(path) as file:
            tree = ast.parse(file.read())
        self.claim = " ".join(ast.get_docstring(tree).split("\n\n")[0].split())
        values = {target.id: ast.literal_eval(node.value) for node in tree.body if isinstance(node, ast.Assign)
                  for target in node.targets if getattr(target, "id", None) in ("KIND", "GUARD", "HOSTS", "SECONDS")}
        self.kind, self.guard = values["KIND"], values.get("GUARD", False)
        self.hosts, self.seconds = values.get("HOSTS", 0), values.get("SECONDS", 90)


def cases_in(folder):
    paths = [os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(".py") and not name.startswith("_")]
    return sorted((Case(path) for path in paths), key=lambda case: (KINDS.index(case.kind), case.guard, case.name))


def unmet_in(folder):
    """{case: reason} of the cases that are not expected to pass yet, and the names of those that pass at times."""
    with open(os.path.join(folder, UNMET)) as file:
        lines = [line.strip() for line in file if line.strip() and not line.startswith("#")]
    parts = [(name.strip(), reason.strip()) for name, _, reason in (line.partition(":") for line in lines)]
    return {name.rstrip("?"): reason for name, reason in parts}, {name[:-1] for name, _ in parts if name.endswith("?")}


def main(folder):
    parser = argparse.ArgumentParser(prog="run", description="Runs cases against the programs in $FUNK_BIN (default: bin).")
    parser.add_argument("names", nargs="*", metavar="NAME", help="a case, or a kind; all without")
    parser.add_argument("--list", action="store_true", help="say what there is, run nothing")
    parser.add_argument("--keep", action="store_true", help="keep the logs, and say where")
    parser.add_argument("--turn", type=int, metavar="NUMBER", help="of the cases that should pass, those whose turn it is")
    parser.add_argument("--seconds", type=int, default=240, metavar="N", help="a turn ends within so long (240)")
    options = parser.parse_args()
    cases = cases_in(folder)
    unmet, at_times = unmet_in(folder)
    stray = sorted(set(unmet) - {case.name for case in cases})
    if stray:
        parser.error(f"{UNMET} names no case: {', '.join(stray)}")
    unknown = [name for name in options.names if not any(name in (case.name, case.kind) for case in cases)]
    if unknown:
        parser.error(f"no case and no kind: {', '.join(unknown)} (see --list)")
    if options.names:
        cases = [case for case in cases if case.name in options.names or case.kind in options.names]
    if options.turn is not None:
        due = [case for case in cases if case.name not in unmet]
        first = options.turn % max(1, len(due))
        cases = due[first:] + due[:first]
    if options.list:
        for case in cases:
            print(f"{case.name:28} {case.kind:10} {'unmet' if case.name in unmet else 'guard' if case.guard else '     '} {case.claim}")
        return 0
    programs = os.path.abspath(os.environ.get("FUNK_BIN", "bin"))
    python = prepared(programs)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        return run_all(cases, unmet, at_times, python, programs, options)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def run_all(cases, unmet, at_times, python, programs, options):
    """0; 1 if a case fails that should pass, or passes that should not yet; 3 if none does, but one was skipped."""
    began, seen = time.monotonic(), {"PASS": 0, "FAIL": 0, "SKIP": 0, "KNOWN": 0}
    for case in cases:
        if options.turn is not None and time.monotonic() - began + case.seconds > options.seconds:
            continue
        verdict, text = run(case, python, programs, options.keep)
        if verdict == "FAIL" and case.name in unmet:
            verdict, text = "KNOWN", f"{unmet[case.name]} ({text.strip()})"
        elif verdict == "PASS" and case.name in unmet and case.name not in at_times:
            verdict, text = "FAIL", f"it passes: take it out of {UNMET}, where it stands for: {unmet[case.name]}"
        print(f"{verdict} {case.name}" + (f": {text.strip()}" if text and (verdict != "PASS" or options.keep) else ""), flush=True)
        seen[verdict] += 1
    print(f"{seen['PASS']} passed, {seen['FAIL']} failed, {seen['KNOWN']} known to fail, {seen['SKIP']} skipped, in {time.monotonic() - began:.0f} s")
    return 1 if seen["FAIL"] else 3 if seen["SKIP"] else 0


def prepared(programs):
    """What all cases need; ends with 2 and says what is missing."""
    def missing(text):
        print(f"cases cannot run: {text}", file=sys.stderr)
        sys.exit(2)

    if os.geteuid() != 0:
        missing("they make network namespaces, which needs root")
    if not shutil.which("ip"):
        missing("the command ip is not installed (iproute2)")
    if not os.access(os.path.join(programs, "demo"), os.X_OK):
        missing(f"no program {programs}/demo: run make, or set FUNK_BIN to the folder of the programs")
    try:
        space = Space(f"fc{os.getpid()}-try", 0)
        space.end()
    except (subprocess.CalledProcessError, OSError) as error:
        missing(f"network namespaces cannot be made here: {error}")
    return interpreter(missing)


def interpreter(missing):
    """A Python that has h2 and yaml: this one, or one in a cache folder."""
    if subprocess.run([sys.executable, "-c", "import h2, hpack, yaml"], stderr=subprocess.DEVNULL).returncode == 0:
        return sys.executable
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = os.path.join(cache, "funk-cases", f"python{sys.version_info.major}.{sys.version_info.minor}")
    python = os.path.join(folder, "bin", "python")
    if not os.path.exists(python) or subprocess.run([python, "-c", "import h2, hpack, yaml"], stderr=subprocess.DEVNULL).returncode:
        made = subprocess.run([sys.executable, "-m", "venv", folder], capture_output=True, text=True)
        made = made if made.returncode else subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], capture_output=True, text=True)
        if made.returncode:
            missing(f"the Python packages h2 and pyyaml cannot be installed into {folder}: {(made.stderr or made.stdout).strip()[-300:]}")
    return python


class Space:
    """A network namespace with loopback, and as many hosts on a bridge in it as a case wants."""

    def __init__(self, name, hosts):
        self.name, self.names, self.hosts = name, [], []
        try:
            self._add(name)
            ip("-n", name, "link", "set", "lo", "up", "multicast", "on")
            ip("-n", name, "route", "add", "224.0.0.0/4", "dev", "lo")
            if hosts:
                self._bridge(hosts)
        except Exception:
            self.end()
            raise

    def _add(self, name):
        ip("netns", "add", name)
        self.names.append(name)

    def _bridge(self, hosts):
        name = self.name
        ip("-n", name, "link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
        ip("-n", name, "addr", "add", "10.77.0.254/24", "dev", "br0")
        ip("-n", name, "link", "set", "br0", "up")
        for number in range(1, hosts + 1):
            host = f"{name}-h{number}"
            self._add(host)
            ip("-n", host, "link", "set", "lo", "up")
            ip("-n", host, "link", "add", "eth0", "type", "veth", "peer", "name", f"v{number}", "netns", name)
            ip("-n", name, "link", "set", f"v{number}", "master", "br0", "up")
            ip("-n", host, "addr", "add", f"10.77.0.{number}/24", "dev", "eth0")
            ip("-n", host, "link", "set", "eth0", "up")
            ip("-n", host, "route", "add", "default", "via", "10.77.0.254")
            self.hosts.append({"netns": host, "ip": f"10.77.0.{number}"})

    def processes(self):
        """Ids of what runs in these namespaces, all of it started by the case."""
        out = []
        for name in self.names:
            listed = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True).stdout
            out += [int(word) for word in listed.split()]
        return out

    def end(self):
        for which in (signal.SIGTERM, signal.SIGKILL):
            running = self.processes()
            for process in running:
                try:
                    os.kill(process, which)
                except ProcessLookupError:
                    pass
            for _ in range(30):
                if not running or not self.processes():
                    break
                time.sleep(0.1)
        for name in reversed(self.names):
            subprocess.run(["ip", "netns", "delete", name], stderr=subprocess.DEVNULL)


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


def run(case, python, programs, keep):
    """(PASS, FAIL or SKIP; text)."""
    folder = tempfile.mkdtemp(prefix=f"funk-case-{case.name}-")
    space = child = None
    try:
        space = Space(f"fc{os.getpid()}", case.hosts)
        task = {"case": case.path, "programs": programs, "folder": folder, "hosts": space.hosts}
        with open(os.path.join(folder, "case.out"), "wb") as out:
            child = subprocess.Popen(["ip", "netns", "exec", space.name, python, os.path.join(LIBRARY, "carry_out.py"), json.dumps(task)],
                                     stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
            try:
                child.wait(case.seconds)
            except subprocess.TimeoutExpired:
                return "FAIL", f"not done after {case.seconds} s; a right cluster needs far less" + kept(keep, folder)
        try:
            with open(os.path.join(folder, "verdict.json")) as file:
                verdict, text = json.load(file)
        except (OSError, ValueError):
            with open(os.path.join(folder, "case.out"), errors="replace") as file:
                verdict, text = "FAIL", f"the case itself broke: {' '.join(file.read().split())[-400:]}"
        return verdict, text + kept(keep, folder)
    finally:
        if child and child.poll() is None:
            child.terminate()
            try:
                child.wait(8)
            except subprocess.TimeoutExpired:
                child.kill()
        if space:
            space.end()
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


def kept(keep, folder):
    return f" [logs: {folder}]" if keep else ""
