"""Certificates for the nodes and the client of a cluster, and TLS as somebody speaks it who is not of it."""
import os
import ssl

from lib.cluster import Cluster

# Where TLS is asked for.
LISTENERS = ["raft", "management", "cluster", "demo"]


def authority(trial, name):
    """A new authority; its folder."""
    folder = trial.path("pki", name, "")
    os.makedirs(folder, exist_ok=True)
    made(trial, ["tls", "init", folder])
    return folder


def certificate(trial, folder, role, name):
    """(certificate, key) of the authority in `folder`."""
    made(trial, ["--cluster-name", "case", "tls", "issue", role, name, "--dir", folder])
    return os.path.join(folder, f"{name}.pem"), os.path.join(folder, f"{name}-key.pem")


def made(trial, arguments):
    code, _, err = trial.command([trial.program("ctrlc"), *arguments])
    if code:
        raise RuntimeError(f"ctrlc {arguments}: {err}")


def environment(trial, folder, role, name):
    cert, key = certificate(trial, folder, role, name)
    return {"FUNK_TLS_CERT": cert, "FUNK_TLS_KEY": key, "FUNK_TLS_CA": os.path.join(folder, "ca.pem")}


def cluster(trial, **options):
    """Three nodes with TLS everywhere but on the page and the metrics."""
    folder = authority(trial, "own")
    each = {number: {"env": environment(trial, folder, "node", f"n{number}")} for number in (1, 2, 3)}
    return Cluster(trial, extra=["--http-tls=false"], each=each, client_env=environment(trial, folder, "client", "shop"), **options)


def context(cert=None):
    """What a stranger speaks TLS with; it believes anybody."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode, made.minimum_version = False, ssl.CERT_NONE, ssl.TLSVersion.TLSv1_3
    if cert:
        made.load_cert_chain(*cert)
    return made


def client_hello():
    """The first bytes of a handshake."""
    out = ssl.MemoryBIO()
    try:
        context().wrap_bio(ssl.MemoryBIO(), out).do_handshake()
    except ssl.SSLWantReadError:
        pass
    return out.read()
