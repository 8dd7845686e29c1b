"""The stateful set of the manifests, obeyed without a cluster: pods as containers with probes, hooks, grace periods, volumes and names.

Each pod that starts has a new address. What the manifests ask for that is not emulated here is an error, so that nothing is passed over.
"""
import json
import os
import shutil
import subprocess
import threading
import time

from lib.cluster import http
from lib.container import Container
from lib.trial import Fault, Skip, until

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "deploy", "kubernetes")


def objects(name):
    """{(kind, name): object} of a kustomization, by kubectl where it is installed; else of one that only lists files."""
    import yaml
    folder = os.path.join(FOLDER, name)
    kubectl = shutil.which("kubectl")
    if kubectl:
        text = subprocess.run([kubectl, "kustomize", folder], check=True, capture_output=True, text=True).stdout
    else:
        with open(os.path.join(folder, "kustomization.yaml")) as file:
            listed = yaml.safe_load(file)
        if set(listed) != {"apiVersion", "kind", "resources"} or any(path.startswith("..") for path in listed["resources"]):
            raise Skip(f"needs kubectl, to put {name} together")
        text = "\n---\n".join(open(os.path.join(folder, path)).read() for path in listed["resources"])
    return {(one["kind"], one["metadata"]["name"]): one for one in yaml.safe_load_all(text) if one}


def environment(container, fields):
    """The variables of a container, each with those before it put in."""
    found = {}
    for variable in container["env"]:
        if "valueFrom" in variable:
            value = fields[variable["valueFrom"]["fieldRef"]["fieldPath"]]
        else:
            value = variable["value"]
            for name, known in found.items():
                value = value.replace(f"$({name})", known)
        if "$(" in value:
            raise Fault(f"{variable['name']} is {value}: what it names must stand before it")
        found[variable["name"]] = value
    return found


class Pod:
    """One pod, from its start to its end."""

    def __init__(self, owner, name, host):
        self.owner, self.name, self.host, self.ip = owner, name, host, host.ip
        self.spec = owner.template
        self.is_ready, self.is_going, self.ready_since, self.restarts, self.was_killed = False, False, None, 0, False
        self.hook = None
        claims = {claim["metadata"]["name"] for claim in owner.set["spec"]["volumeClaimTemplates"]}
        volumes = {"/etc/hosts": owner.trial.path("pods", name, f"hosts-{host.ip}")}
        for mount in self.spec["volumeMounts"]:
            if mount["name"] not in claims:
                raise Skip(f"the volume {mount['name']} is not emulated")
            volumes[mount["mountPath"]] = owner.volume(mount["name"], name)
        self.hosts_path = volumes["/etc/hosts"]
        open(self.hosts_path, "w").close()
        fields = {"status.podIP": self.ip, "metadata.name": name}
        self.container = Container(owner.trial, owner.image, host, f"{name}-{self.ip}", environment=environment(self.spec, fields), volumes=volumes)

    def start(self):
        self.container.start()
        self.thread = threading.Thread(target=self._probe, daemon=True)
        self.thread.start()

    def _ask(self, probe):
        get = probe["httpGet"]
        port = next(port["containerPort"] for port in self.spec["ports"] if port["name"] == get["port"])
        try:
            return http((self.ip, port), get["path"], probe.get("timeoutSeconds", 1))[0] == 200
        except (OSError, ValueError, IndexError):
            return False

    def _probe(self):
        """What the kubelet does: started, then ready or not, and alive or not."""
        startup, failed = self.spec["startupProbe"], 0
        while not self._ask(startup):
            failed += 1
            if failed >= startup["failureThreshold"] or self.is_going:
                self.restarts += not self.is_going
                return
            time.sleep(startup["periodSeconds"])
        probes = {name: {"failed": 0, "due": 0.0} for name in ("readinessProbe", "livenessProbe")}
        while not self.is_going:
            for name, state in probes.items():
                probe = self.spec[name]
                if time.monotonic() < state["due"]:
                    continue
                state["due"] = time.monotonic() + probe["periodSeconds"]
                state["failed"] = 0 if self._ask(probe) else state["failed"] + 1
                if self.is_going:
                    return
                if name == "livenessProbe":
                    self.restarts += state["failed"] == probe["failureThreshold"]
                elif state["failed"] == 0 and not self.is_ready:
                    self.is_ready, self.ready_since = True, time.monotonic()
                    self.owner.publish()
                elif state["failed"] >= probe["failureThreshold"]:
                    self.is_ready, self.ready_since = False, None
                    self.owner.publish()
            time.sleep(0.05)

    def is_available(self):
        since = self.ready_since
        return self.is_ready and since is not None and time.monotonic() - since >= self.owner.set["spec"].get("minReadySeconds", 0)

    def end(self):
        """A deletion: the addresses are without it, the hook runs, then the signal, all within the grace period."""
        self.is_going, self.is_ready = True, False
        self.owner.publish()
        until_then = time.monotonic() + self.owner.grace
        self.hook = self.container.exec(self.spec["lifecycle"]["preStop"]["exec"]["command"], self.owner.grace)
        left = until_then - time.monotonic()
        code = self.container.stop(max(2.0, left))
        self.was_killed = code != 0
        return code


class StatefulSet:
    """The stateful set of the base, with its services' names in each pod's hosts file."""

    def __init__(self, trial, image, name="base"):
        self.trial, self.image, self.objects = trial, image, objects(name)
        self.set = next(one for (kind, _), one in self.objects.items() if kind == "StatefulSet")
        template = self.set["spec"]["template"]["spec"]
        self.template = template["containers"][0]
        self.grace, self.name = template["terminationGracePeriodSeconds"], self.set["metadata"]["name"]
        self.service = self.objects["Service", self.set["spec"]["serviceName"]]
        self.lock, self.pods, self.free = threading.RLock(), {}, list(trial.hosts)
        self.restarts = 0
        rights = self.template["securityContext"]
        user = template["securityContext"]["runAsUser"]
        if not (rights["readOnlyRootFilesystem"] and rights["capabilities"] == {"drop": ["ALL"]} and user == image.user):
            raise Fault(f"containers here are read only and without rights, as user {image.user}: the manifests say something else")
        # Names come from files here; one name has many addresses.
        with open(os.path.join(image.root, "etc", "host.conf"), "w") as file:
            file.write("multi on\n")

    def volume(self, claim, pod):
        path = self.trial.path("claims", f"{claim}-{pod}", "")
        group = self.set["spec"]["template"]["spec"]["securityContext"]["fsGroup"]
        os.chown(path, -1, group)
        os.chmod(path, 0o2775)
        return path

    def publish(self):
        """Writes the names that pods see now."""
        with self.lock:
            early = self.service["spec"].get("publishNotReadyAddresses", False)
            peers = [pod for pod in self.pods.values() if pod.is_ready or early]
            service = self.service["metadata"]["name"]
            lines = ["127.0.0.1 localhost", *(f"{pod.ip} {service} {service}.default.svc.cluster.local" for pod in peers),
                     *(f"{pod.ip} {pod.name}.{service}" for pod in peers)]
            for pod in self.pods.values():
                with open(pod.hosts_path, "w") as file:
                    file.write("\n".join(lines) + "\n")

    def start(self, ordinals):
        with self.lock:
            new = [Pod(self, f"{self.name}-{ordinal}", self.free.pop(0)) for ordinal in ordinals]
            self.pods.update({pod.name: pod for pod in new})
            self.publish()
        if self.set["spec"]["podManagementPolicy"] != "Parallel":
            raise Skip("only Parallel is emulated")
        for pod in new:
            pod.start()

    def stop(self, pods):
        """Deletes these pods, all at once. Returns them when they have ended; a Fault if one had to be killed."""
        threads = [threading.Thread(target=pod.end) for pod in pods]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with self.lock:
            for pod in pods:
                self.pods.pop(pod.name)
                self.restarts += pod.restarts
                self.free.append(pod.host)
            self.publish()
        killed = [pod for pod in pods if pod.was_killed]
        if killed:
            raise Fault(f"{killed[0].name} did not end with 0 within {self.grace} s: {killed[0].container.log()[-400:]!r}")
        return pods

    def ordered(self):
        return sorted(self.pods.values(), key=lambda pod: int(pod.name.rsplit("-", 1)[1]))

    def scale(self, replicas):
        """More pods, or fewer: the last ones go, and their volumes with them if the set says so."""
        if replicas > len(self.pods):
            self.start(range(len(self.pods), replicas))
            return []
        gone = self.stop(self.ordered()[replicas:])
        if self.set["spec"]["persistentVolumeClaimRetentionPolicy"]["whenScaled"] == "Delete":
            for pod in gone:
                shutil.rmtree(pod.container.volumes["/var/lib/funk"])
        return gone

    def evict(self, pod):
        """What a drain of its host does: only while the budget permits, and the set starts it anew at another address."""
        budget = next(one for (kind, _), one in self.objects.items() if kind == "PodDisruptionBudget")["spec"]["maxUnavailable"]
        if not until(lambda: sum(not one.is_available() for one in self.pods.values()) < budget, 60):
            raise Fault(f"the budget never lets {pod.name} go: {self.states()}")
        self.stop([pod])
        self.start([int(pod.name.rsplit("-", 1)[1])])

    def wait_available(self, seconds=60):
        if not until(lambda: all(pod.is_available() for pod in self.pods.values()), seconds):
            raise Fault(f"not all pods are available after {seconds} s: {self.states()}")

    def states(self):
        return {pod.name: (pod.is_ready, pod.container.log()[-300:]) for pod in self.pods.values()}

    def ctrlc(self, pod, *words):
        """ctrlc in a pod, as kubectl exec runs it."""
        return pod.container.exec(["ctrlc", *words], 30)

    def nodes(self):
        code, said = self.ctrlc(self.ordered()[0], "--output", "json", "nodes")
        return json.loads(said)["nodes"] if code == 0 else []

    def cluster(self, pod):
        return json.loads(http((pod.ip, 8080), "/api/v1/status", 3)[1])["funk_cluster"]

    def load(self, rate, seconds):
        """bin/client, at the addresses of the pods of now."""
        arguments = [self.trial.program("client"), "--zeroconf=false", "--rate", str(rate), "--concurrency", "64", "--duration", f"{seconds}s", "--json"]
        for pod in self.ordered():
            arguments += ["--join", f"{pod.ip}:7946"]
        return Load(self.trial.spawn(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE), rate, seconds)


class Load:
    """A client that runs until it is asked for its result."""

    # What a busy machine still sends.
    LEAST = 0.5

    def __init__(self, process, rate, seconds):
        self.process, self.wanted = process, rate * seconds

    def result(self, must_last=True):
        """Its figures; a Fault if a request was lost."""
        if must_last and self.process.poll() is not None:
            raise RuntimeError("the load ended before what it was for")
        out, err = self.process.communicate(timeout=180)
        try:
            seen = json.loads(out)
        except ValueError:
            raise RuntimeError(f"the client says no result: {err.decode()[-300:]}") from None
        text = f"{seen['answered']} answered, {seen['lost']} lost"
        if seen["lost"] or seen["answered"] < self.LEAST * self.wanted:
            raise Fault(f"{text}; right: none lost of about {self.wanted} ({seen.get('last_loss')})")
        return text
