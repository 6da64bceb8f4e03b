"""sheaf-git-worker, spoken to as sheafd speaks to it."""
import json
import os
import select
import signal
import subprocess
import time

from procs import Failed

BUILD = os.environ.get("SHEAF_BUILD") or os.path.join(
    os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "build", "dev")
PROGRAM = os.path.join(BUILD, "daemon", "sheaf-git-worker")


class TooLate(Exception):
    """The worker had not answered at the deadline."""


class GitWorker:
    """One worker process over a state folder of its own."""

    def __init__(self, state, *options, env=None, before=()):
        os.makedirs(state, exist_ok=True)
        self.state, self.last, self.rest = str(state), 0, b""
        self.child = subprocess.Popen([*before, PROGRAM, "--state", self.state, *map(str, options)], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, env={**os.environ, **(env or {})})

    def send(self, **request):
        """Sends one request and does not wait."""
        self.last += 1
        self.child.stdin.write(json.dumps({"id": self.last, **request}).encode() + b"\n")
        self.child.stdin.flush()

    def line(self, seconds=60):
        """The next line that it writes."""
        until = time.monotonic() + seconds
        while b"\n" not in self.rest:
            left = until - time.monotonic()
            if left <= 0 or not select.select([self.child.stdout], [], [], left)[0]:
                raise TooLate(f"no answer within {seconds} s")
            data = os.read(self.child.stdout.fileno(), 1 << 20)
            if not data:
                raise Failed(f"the worker ended: {self.child.wait(10)}")
            self.rest += data
        line, _, self.rest = self.rest.partition(b"\n")
        return line

    def ask(self, op, seconds=60, **request):
        """One request and its answer."""
        self.send(op=op, **request)
        answer = json.loads(self.line(seconds))
        assert answer["id"] == self.last
        return answer

    def good(self, op, **request):
        """As ask, for what must succeed."""
        answer = self.ask(op, **request)
        assert answer["ok"], answer
        return answer

    def bad(self, op, code, **request):
        """As ask, for what must fail with a code; returns the text."""
        answer = self.ask(op, **request)
        assert not answer["ok"] and answer["code"] == code, answer
        return answer["error"]

    def mirror(self, name="mirror"):
        return os.path.join(self.state, "mirrors", name)

    def fetch(self, url, *refs, name="mirror", **more):
        """Fetches refs and returns {name: what was fetched}."""
        answer = self.good("fetch", url=url, mirror=self.mirror(name), refs=list(refs), **more)
        return {f["name"]: f for f in answer["fetched"]}

    def inspect(self, commit, context="", dockerfile=None, name="mirror"):
        return self.good("inspect", mirror=self.mirror(name), commit=commit, context=context, dockerfile=dockerfile)

    def archive(self, commit, context="", name="mirror", output="context.tar", **more):
        """Writes the tar and returns its path."""
        path = os.path.join(self.state, output)
        answer = self.good("archive", mirror=self.mirror(name), commit=commit, context=context, output=path, **more)
        assert answer["size"] == os.path.getsize(path)
        return path

    def memory(self):
        """Resident kilobytes."""
        with open(f"/proc/{self.child.pid}/status", encoding="ascii") as f:
            return int(next(line for line in f if line.startswith("VmRSS")).split()[1])

    def cpu(self):
        """Seconds of CPU so far."""
        with open(f"/proc/{self.child.pid}/stat", encoding="ascii") as f:
            fields = f.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def kill(self):
        self.child.send_signal(signal.SIGKILL)
        return self.close()

    def close(self):
        """Ends it as sheafd does, by closing its input; returns the status."""
        self.child.stdin.close()
        try:
            return self.child.wait(20)
        finally:
            self.child.kill()
            self.child.wait(10)
            self.child.stdout.close()
