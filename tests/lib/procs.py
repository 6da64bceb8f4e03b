"""Processes of a test: started, watched, ended by pid; and proof that nothing of them is left."""
import os
import random
import signal
import socket
import subprocess
import time

MARK = "SHEAF_TEST_MARK"  # in the environment of everything that a test starts


class Failed(AssertionError):
    """What the harness itself finds wrong."""


_given = set()  # ports, which are not given again


def free_port():
    """A TCP port on loopback that nobody listens on. Not one of those that the kernel gives to clients and to who binds port
    0: such a port may be somebody else's when who asked for this one binds it, or while its server is down in between. Nor
    10080, which browsers refuse."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as f:
        first, last = map(int, f.read().split())
    spare = range(10081, first) if first > 20000 else range(last + 1, 65536) or range(10081, 65536)
    while True:
        port = random.choice(spare)
        if port in _given:
            continue
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port


def wait_for(predicate, seconds=30, what=None, every=0.1, alive=()):
    """Polls until the predicate gives something true, and returns that. `alive`: processes that must live on."""
    until = time.monotonic() + seconds
    while True:
        value = predicate()
        if value:
            return value
        for process in alive:
            process.check()
        if time.monotonic() > until:
            raise Failed(f"not within {seconds} s: {what or predicate}")
        time.sleep(every)


def listening(port):
    """Whether somebody accepts connections there."""
    with socket.socket() as s:
        s.settimeout(1)
        return s.connect_ex(("127.0.0.1", port)) == 0


def run(command, timeout=120, check=True, **how):
    """subprocess.run with text, captured output, a limit, and the output in the failure."""
    how.setdefault("stdin", subprocess.DEVNULL) if "input" not in how else None
    done = subprocess.run(command, capture_output=True, text=how.pop("text", True), timeout=timeout, **how)
    if check and done.returncode != 0:
        raise Failed(f"{' '.join(map(str, command))}: status {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    return done


class Process:
    """One program in the background; its output goes to a file."""

    def __init__(self, name, command, log, env=None, cwd=None, grace=30):
        self.name, self.command, self.log, self.grace = name, [str(c) for c in command], log, grace
        with open(log, "ab") as out:
            # A process group of its own: Ctrl-C is for whoever started us, who then ends this in order.
            self.child = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=cwd,
                                          env={**os.environ, **(env or {})}, process_group=0)

    @property
    def pid(self):
        return self.child.pid

    def output(self):
        """All it has written so far."""
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read()

    def check(self):
        """Raises when it has ended by itself."""
        if self.child.poll() is not None:
            raise Failed(f"{self.name} has ended with status {self.child.returncode}:\n{self.output()[-3000:]}")

    def stop(self, sig=signal.SIGTERM):
        """Asks it to end, waits, and kills it when it does not. Returns the exit status; -9 when killed."""
        if self.child.poll() is None:
            self.child.send_signal(sig)
            try:
                self.child.wait(self.grace)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait(10)
        return self.child.returncode

    def kill(self):
        """SIGKILL: what a crash or a power cut is."""
        return self.stop(signal.SIGKILL)


def _others():
    """Every process but this one, its ancestors and PID 1: (pid, command line). Those that end meanwhile vanish."""
    mine, pid = {1}, os.getpid()
    while pid > 1:
        mine.add(pid)
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as f:
            pid = int(f.read().rpartition(")")[2].split()[1])
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/cmdline", "rb") as f:
                command = f.read().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue
        if command and int(name) not in mine:
            yield int(name), command


def marked(mark):
    """Processes that carry a test's mark in their environment, as {pid: command line}."""
    found = {}
    for pid, command in _others():
        try:
            with open(f"/proc/{pid}/environ", "rb") as f:
                environ = f.read()
        except OSError:
            continue
        if f"{MARK}={mark}".encode() in environ.split(b"\0"):
            found[pid] = command
    return found


def sandboxed(folder):
    """Processes of another mount namespace whose root, or a mount of theirs, lies in a folder of ours.

    Those are the recipes' (which carry no mark). A process of this machine's own namespace is never one of
    them, whatever it has mounted."""
    found, here = {}, os.readlink("/proc/self/ns/mnt")
    for pid, command in _others():
        try:
            if os.readlink(f"/proc/{pid}/ns/mnt") == here:
                continue
            with open(f"/proc/{pid}/mountinfo", encoding="utf-8", errors="replace") as f:
                roots = [line.split(" ")[3] for line in f]
        except OSError:
            continue
        if any(root == folder or root.startswith(folder + "/") for root in roots):
            found[pid] = command
    return found


def mounts_under(folder):
    """Mount points below a folder, deepest first."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as f:
        points = [line.split(" ")[4] for line in f]
    return sorted((p for p in points if p == folder or p.startswith(folder + "/")), key=len, reverse=True)


class Leaks:
    """What of a test is left after it: processes, mounts, files and cgroups.

    Processes and mounts are known by the test's mark and folder, and are ended. Files elsewhere have no such
    mark: they are only named, never touched, and only where ALONE says that nobody else works on this machine."""

    ALONE = "SHEAF_TEST_ALONE"
    PLACES = ("/tmp", "/var/tmp", "/run", "/dev/shm", "/sys/fs/cgroup", "/sys/fs/cgroup/unified")
    NAMES = ("sheaf", "buildah", "oci-", "storage-run", "mmdebstrap")
    SETTLE = 30  # seconds in which what is ending may end; waited only while there is something

    def __init__(self, mark, folder):
        self.mark, self.folder, self.before = mark, folder, self._files()

    def _files(self):
        found = set()
        for place in self.PLACES if os.environ.get(self.ALONE) else ():
            if os.path.isdir(place):
                found |= {os.path.join(place, n) for n in os.listdir(place) if n.startswith(self.NAMES)}
        return found

    def found(self):
        """Lines that say what is left. Processes and mounts of the test are then ended."""
        until = time.monotonic() + self.SETTLE
        while (left := {**marked(self.mark), **sandboxed(self.folder)}) and time.monotonic() < until:
            time.sleep(0.2)
        said = []
        for pid, command in left.items():
            said.append(f"process {pid}: {command}")
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        for point in mounts_under(self.folder):
            said.append(f"mount {point}")
            subprocess.run(["umount", "-l", point], check=False, timeout=30)
        return said + [f"file {path}" for path in sorted(self._files() - self.before) if path != self.folder]
