"""A whole farm for one test: registry, git server, coordinator and boards, and proof that nothing is left."""
import copy
import json
import os
import shutil
import signal
import tempfile
import urllib.error
import urllib.parse
import urllib.request
import uuid

import pytest
import yaml

from emulation import Emulation
from gitserver import GitServer, SshGit, WebGit
from procs import MARK, Failed, Leaks, Process, free_port, run, wait_for
from registry import Registry

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("SHEAF_BUILD") or next(
    (b for b in (f"{ROOT}/build/gcc", f"{ROOT}/build/dev") if os.path.isdir(b)), f"{ROOT}/build/gcc")
SHEAFD, AGENT, CTL = f"{BUILD}/daemon/sheafd", f"{BUILD}/agent/sheaf-agent", f"{BUILD}/ctl/sheafctl"
UNSETTLED = ("unknown", "waiting", "building", "publishing")  # states of a track that will change by themselves


class Farm:
    """The parts of one test; what was started last is stopped first."""

    def __init__(self, name):
        # Not below /tmp: a recipe has a /tmp of its own. World-readable: recipes run under foreign ids.
        self.dir = tempfile.mkdtemp(prefix="sheaf-test.", dir="/var/tmp")
        os.chmod(self.dir, 0o755)
        self.name, self.mark = name, uuid.uuid4().hex
        self.leaks = Leaks(self.mark, self.dir)
        os.mkdir(self.path("tmp"), 0o1777)
        self.env = {MARK: self.mark, "LC_ALL": "C.UTF-8", "TMPDIR": self.path("tmp")}
        self.parts, self.logs = [], []
        self.emulation = None

    def path(self, *names):
        return os.path.join(self.dir, *names)

    def log(self, name):
        """A new log file, shown when the test fails."""
        path = self.path(f"{name}.{len(self.logs)}.log")
        self.logs.append(path)
        return path

    def add(self, part):
        self.parts.append(part)
        return part

    def registry(self, **how):
        name = f"registry{len(self.parts)}"
        return self.add(Registry(self.path(name), self.log(name), env=self.env, **how))

    def git(self):
        return self.add(GitServer(self.path("git"), self.log("git"), env=self.env))

    def web_git(self, git):
        return self.add(WebGit(git.folder, self.path(), self.log("lighttpd"), env=self.env))

    def ssh_git(self, git):
        return self.add(SshGit(git.folder, self.path("ssh"), self.log("sshd"), env=self.env))

    def coordinator(self, config, **how):
        if not os.path.exists(SHEAFD):
            pytest.skip("sheafd is not built")
        return self.add(Coordinator(self, config, **how))

    def agent(self, coordinator, name, **how):
        if how.get("emulated"):
            self.emulate()
        return self.add(Agent(self, coordinator, name, **how))

    def emulate(self):
        """Makes the kernel run foreign programs for as long as this farm lives."""
        if not self.emulation:
            self.emulation = Emulation()
            self.emulation.start()

    def process(self, name, command, env=None, **how):
        """Any other program, ended with the farm."""
        return self.add(Process(name, command, self.log(name), env={**self.env, **(env or {})}, **how))

    def stop(self):
        """Stops everything; returns what went wrong while doing so, and what was left behind."""
        said = []
        for part in reversed(self.parts):
            try:
                status = part.stop()
                if isinstance(part, (Coordinator, Agent)) and status not in (0, None) and not part.killed:
                    said.append(f"{part.name} ended with status {status}")
            except Exception as e:  # the rest must still be stopped
                said.append(f"stopping {part}: {e}")
        said += self.leaks.found()
        if self.emulation:
            self.emulation.stop()
        return said

    def tails(self, n=6000):
        """The logs' ends."""
        for path in self.logs:
            if os.path.exists(path):
                with open(path, encoding="utf-8", errors="replace") as f:
                    lines = [line[:400] for line in f.read().split("\n")]
                    yield os.path.basename(path), "\n".join(lines)[-(1500 if "registry" in path else n):]

    def remove(self):
        if not os.environ.get("SHEAF_KEEP"):
            shutil.rmtree(self.dir, ignore_errors=True)


class Coordinator:
    """sheafd with a state folder of its own."""

    def __init__(self, farm, config, name="sheafd", start=True, args=()):
        self.farm, self.name, self.killed = farm, name, False
        self.state, self.file = farm.path(name), farm.path(f"{name}.yaml")
        self.socket = farm.path(f"{name}.sock")
        self.agents_port, self.status_port = free_port(), free_port()
        self.args, self.process = list(args), None
        self.configure(config)
        if start:
            self.start()

    @property
    def agents_url(self):
        return f"http://127.0.0.1:{self.agents_port}"

    @property
    def status_url(self):
        return f"http://127.0.0.1:{self.status_port}"

    def configure(self, config):
        """Writes farm.yaml; `reload` makes a running coordinator read it."""
        self.config = copy.deepcopy(config)
        with open(self.file, "w", encoding="utf-8") as f:
            yaml.safe_dump(self.config, f, sort_keys=False)

    def start(self):
        self.killed = False
        self.process = Process(self.name, [
            SHEAFD, "--config", self.file, "--state", self.state,
            "--listen-agents", f"127.0.0.1:{self.agents_port}", "--listen-status", f"127.0.0.1:{self.status_port}",
            "--socket", self.socket, "--log-level", "debug", *self.args], self.farm.log(self.name), env=self.farm.env)
        wait_for(self.ready, 120, f"{self.name} ready", alive=[self.process])

    def ready(self):
        """Whether the status endpoint and the socket answer."""
        try:
            self.get("/v1/images")
        except (OSError, Failed):
            return False
        return os.path.exists(self.socket)

    def stop(self):
        return self.process.stop() if self.process else None

    def kill(self):
        self.killed = True
        return self.process.kill()

    def restart(self):
        self.stop()
        self.start()

    def reload(self):
        os.kill(self.process.pid, signal.SIGHUP)

    # ---- what it says ----

    def get(self, path, raw=False):
        """GETs a path of the status endpoint: parsed JSON, or the bytes."""
        try:
            with urllib.request.urlopen(self.status_url + path, timeout=30) as answer:
                body = answer.read()
        except urllib.error.HTTPError as e:
            raise Failed(f"GET {path}: {e.code}: {e.read()[:500]!r}") from None
        return body if raw else json.loads(body)

    def ctl(self, *args, check=True, timeout=60, **how):
        """sheafctl with these arguments; the finished process."""
        return run([CTL, "--socket", self.socket, *args], check=check, timeout=timeout, **how,
                   env={**os.environ, **self.farm.env})

    def ctl_json(self, *args):
        return json.loads(self.ctl("--json", *args).stdout)

    def tracks(self, image=None):
        """{id: track}, of one image or of all."""
        return {t["id"]: t for t in self.get("/v1/tracks")["tracks"] if image in (None, t["image"])}

    def track(self, name):
        """One track whole, by its id or, where the image has only one, by the image's name."""
        if "@" not in name:
            ids = list(self.tracks(name))
            if len(ids) != 1:
                return None
            name = ids[0]
        return self.get("/v1/tracks/" + urllib.parse.quote(name, safe=""))

    def builds(self, image=None):
        """All builds, oldest first, of one image or of all."""
        found, before = [], ""
        while True:
            page = self.get("/v1/builds?limit=500" + before)
            found += page["builds"]
            if not page["next"]:
                break
            before = f"&before={page['next']}"
        return [b for b in reversed(found) if image in (None, b["image"])]

    def job(self, key):
        return self.get("/v1/jobs/" + urllib.parse.quote(key, safe=""))

    def job_log(self, key):
        """The log of a job's newest attempt; empty before that has begun."""
        if not self.job(key)["attempts"]:
            return ""
        return self.get(f"/v1/jobs/{urllib.parse.quote(key, safe='')}/log", raw=True).decode(errors="replace")

    def jobs(self, image=None):
        """Every job that a build refers to, whole, each once, in the order of their start."""
        keys = dict.fromkeys(j["job"] for b in self.builds(image) for j in b["jobs"])
        return sorted((self.job(k) for k in keys), key=lambda j: j["started_at"] or 0)

    # ---- what it is asked, and waiting ----

    def poll(self, *upstreams):
        """Looks at these upstreams now, and returns when it has."""
        for url in (u if isinstance(u, str) else u.url for u in upstreams):
            begun = self.get("/v1/status")["now_at"]
            self.ctl("poll", url)
            self.wait(lambda: any(s["url"] == url and (s["polled_at"] or 0) >= begun and s["state"] in ("ok", "failing")
                                  for s in self.get("/v1/sources")["sources"]), 120, f"{url} polled")

    def idle(self):
        """Whether there is nothing left to do: every track has come to rest, and no build is open."""
        if any(s["state"] in ("new", "polling") for s in self.get("/v1/sources")["sources"]):
            return False
        if any(t["state"] in UNSETTLED for t in self.get("/v1/tracks")["tracks"]):
            return False
        return not any(b["state"] in ("waiting", "running", "publishing") for b in self.get("/v1/builds?limit=500")["builds"])

    def settle(self, *upstreams, seconds=300):
        """Polls these upstreams and waits until the farm has nothing left to do."""
        self.poll(*upstreams)
        self.wait_idle(seconds)

    def wait_idle(self, seconds=300):
        try:
            self.wait(self.idle, seconds, "the farm idle")
        except Failed as e:
            states = [f"{t['id']}: {t['state']}: {(t['reason'] or {}).get('text')}" for t in self.tracks().values()]
            raise Failed(f"{e}\n" + "\n".join(states)) from None

    def wait(self, predicate, seconds=120, what=None):
        """wait_for, with this coordinator's death ending the wait."""
        return wait_for(predicate, seconds, what, every=0.2, alive=[self.process])


class Agent:
    """sheaf-agent: a board."""

    def __init__(self, farm, coordinator, name, slots=2, emulated=None, labels=(), root=None, start=True, args=()):
        self.farm, self.coordinator, self.name, self.killed = farm, coordinator, name, False
        self.state, self.secret = farm.path(f"agent-{name}"), farm.path(f"agent-{name}.secret")
        self.slots, self.emulated, self.labels, self.root = slots, emulated, labels, root
        self.args, self.process = list(args), None
        coordinator.ctl("boards", "add", name, "--secret-file", self.secret)
        assert os.stat(self.secret).st_mode & 0o777 == 0o600
        if start:
            self.start()

    def command(self):
        command = [AGENT, "--coordinator", self.coordinator.agents_url, "--secret-file", self.secret, "--name", self.name,
                   "--state", self.state, "--slots", str(self.slots), "--log-level", "debug", *self.args]
        if self.emulated:
            command += ["--emulated", ",".join(self.emulated)]
        for label in self.labels:
            command += ["--label", label]
        return command

    def start(self, wait=True):
        self.killed = False
        self.process = Process(self.name, self.command(), self.farm.log(self.name), env=self.farm.env, grace=60)
        if wait:
            self.coordinator.wait(self.online, 120, f"board {self.name} online")

    def online(self):
        self.process.check()
        return any(b["name"] == self.name and b["state"] == "online" for b in self.coordinator.get("/v1/boards")["boards"])

    def stop(self):
        return self.process.stop() if self.process else None

    def kill(self):
        self.killed = True
        return self.process.kill()
