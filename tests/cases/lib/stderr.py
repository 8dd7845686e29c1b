"""What a program's stderr may be, from good to gone."""
import fcntl
import os
import subprocess
import threading

from lib.trial import Skip

F_SETPIPE_SZ = 1031
KINDS = ["full device", "closed", "closed pipe", "undrained pipe", "non-blocking pipe", "full disk", "terminal gone"]


class Stderr:
    """One of KINDS, to be given to a process as its stderr. `spoil()` makes it what it is, once the process runs."""

    def __init__(self, trial, kind):
        self.kind, self.kept, self.spoil = kind, [], lambda: None
        self.file = getattr(self, "_" + kind.replace(" ", "_").replace("-", "_"))(trial)

    def close(self):
        """Lets go of all ends."""
        for end in {self.file, *self.kept} - {None}:
            try:
                os.close(end)
            except OSError:
                pass

    def _full_device(self, _):
        return os.open("/dev/full", os.O_WRONLY)

    def _closed(self, _):
        """No descriptor 2 at all; the program that starts ours closes it."""
        return None

    def _closed_pipe(self, _):
        reader, writer = os.pipe()
        os.close(reader)
        return writer

    def _undrained_pipe(self, _):
        reader, writer = os.pipe()
        fcntl.fcntl(writer, F_SETPIPE_SZ, 4096)
        self.kept.append(reader)
        filler = os.dup(writer)
        threading.Thread(target=_fill, args=(filler,), daemon=True).start()
        return writer

    def _non_blocking_pipe(self, _):
        """Full, and whoever writes is told so: another holder made it non-blocking."""
        reader, writer = os.pipe()
        fcntl.fcntl(writer, F_SETPIPE_SZ, 4096)
        os.set_blocking(writer, False)
        self.kept.append(reader)
        try:
            while True:
                os.write(writer, b"x")
        except BlockingIOError:
            return writer

    def _full_disk(self, trial):
        folder = trial.path("disk", "")
        if not os.path.ismount(folder) and subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", folder], stderr=subprocess.DEVNULL).returncode:
            raise Skip("needs to mount a small tmpfs")
        number = len(os.listdir(folder))
        log = os.open(os.path.join(folder, f"{number}.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        full = os.open(os.path.join(folder, "filling"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            while True:
                os.write(full, b"x" * 4096)
        except OSError:
            os.close(full)
        return log

    def _terminal_gone(self, _):
        """A terminal whose window is closed while the program runs."""
        master, slave = os.openpty()
        self.spoil = lambda: os.close(master)
        return slave


def _fill(writer):
    """Keeps a pipe full by a write that does not return while nobody reads."""
    try:
        os.write(writer, b"x" * (1 << 20))
    except OSError:
        pass


def arguments(kind, program):
    """The command that starts `program` with such a stderr."""
    return ["sh", "-c", 'exec "$@" 2>&-', "sh", *program] if kind == "closed" else program
