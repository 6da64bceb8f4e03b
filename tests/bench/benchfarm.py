"""What the whole-farm benchmarks share: a farm with many tracks, boards without agents, and how figures are said."""
import contextlib
import gzip
import hashlib
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import time
import urllib.parse

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, f"{ROOT}/tests/lib")
os.environ.setdefault("SHEAF_BUILD", f"{ROOT}/build/gcc")

from farm import AGENT, BUILD, Farm  # noqa: E402
from procs import Failed, Process, wait_for  # noqa: E402

BENCH = f"{BUILD}/tests/bench"
QUIET = ("--log-level", "warning")


def percentile(values, p):
    return sorted(values)[min(len(values) - 1, int(len(values) * p / 100))]


def median(values):
    return statistics.median(values)


def take_priority():
    """As root: what else this machine does is left out of the figures, but for its disk."""
    if os.geteuid() != 0:
        return
    os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))


@contextlib.contextmanager
def farm(name):
    """A farm that is ended, and whose folder is removed, whatever happens."""
    take_priority()
    whole = Farm(name)
    try:
        yield whole
    except BaseException:
        for log, text in whole.tails():
            print(f"---- {log}\n{text}", file=sys.stderr)
        raise
    finally:
        for line in whole.stop():
            print(f"left behind: {line}", file=sys.stderr)
        whole.remove()


class SocketConnection(http.client.HTTPConnection):
    """HTTP by the coordinator's Unix socket, kept."""

    def __init__(self, path):
        super().__init__("localhost", timeout=60)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(self.path)

    def call(self, method, path, body=None):
        self.request(method, path, json.dumps(body) if body is not None else None)
        answer = self.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise Failed(f"{method} {path}: {answer.status} {text[:300]!r}")
        return json.loads(text)


def rebuild_path(track):
    return f"/v1/tracks/{urllib.parse.quote(track, safe='')}/rebuild"


def commits(coordinator):
    """How many turns the coordinator has committed."""
    with socket.create_connection(("127.0.0.1", coordinator.status_port), 10) as s:
        s.sendall(b"GET /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        text = b""
        while b'"turn":' not in text or b"\n" not in text.split(b'"turn":')[1]:
            text += s.recv(4096)
    return int(text.split(b'"turn":')[1].split(b",")[0])


def many_tracks(whole, n, registry="127.0.0.1:1/bench", platforms=("linux/amd64",), args=QUIET, **settings):
    """A coordinator whose farm has one image of `n` branches, each with a job a platform that is like no other."""
    git = whole.git()
    up = git.repo("up")
    commit = up.commit({"Dockerfile": "FROM scratch\nCOPY Dockerfile /\n"})
    refs = "".join(f"create refs/heads/b{i} {commit}\n" for i in range(n))
    up.git("update-ref", "--stdin", input=refs)
    image = {"source": up.url, "ref": "refs/heads/b*", "env": {"BRANCH": "$branch"}, "tags": ["$branch"]}
    config = {"registry": registry, "platforms": list(platforms), "freeze": True, "images": {"image": image}, **settings}
    coordinator = whole.coordinator(config, args=args)
    coordinator.poll(up)
    coordinator.wait(lambda: jobs(coordinator)["wanted"] == n * len(platforms), 60, "all jobs wanted")
    return coordinator


def jobs(coordinator):
    """Counts of jobs under way: wanted, leased, running."""
    return coordinator.get("/v1/status")["jobs"]


def idle(coordinator):
    return not any(jobs(coordinator).values())


def rebuild_all(coordinator):
    """Asks for all tracks to be built again."""
    conn = SocketConnection(coordinator.socket)
    for track in coordinator.tracks():
        conn.call("POST", rebuild_path(track), {})
    conn.close()


def add_boards(coordinator, n):
    """Their secrets."""
    conn = SocketConnection(coordinator.socket)
    secrets = [conn.call("POST", "/v1/boards", {"name": f"bench-{i}"})["secret"] for i in range(n)]
    conn.close()
    return secrets


def noop_agent(whole, coordinator, slots, env=None, args=()):
    """A real agent whose helper does nothing."""
    secret = whole.path("noop.secret")
    coordinator.ctl("boards", "add", "noop", "--secret-file", secret)
    agent = whole.process("sheaf-agent", [
        AGENT, "--coordinator", coordinator.agents_url, "--secret-file", secret, "--state", whole.path("noop"),
        "--slots", str(slots), "--helper", f"{BENCH}/noop-job", *QUIET, *args], env=env)
    coordinator.wait(lambda: any(b["state"] == "online" for b in coordinator.get("/v1/boards")["boards"]), 30, "board online")
    return agent


def push_image(registry, repository, tag, layer, platform="linux/amd64"):
    """Pushes an image of one gzip'ed layer, with nothing of Sheaf's, under a tag or (None) by digest; its digest and bytes."""
    def blob(data):
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        where = registry.request("POST", f"/v2/{repository}/blobs/uploads/", body=b"")[1]["Location"]
        path = where.partition(registry.host)[2] or where
        status, _, text = registry.request("PUT", f"{path}{'&' if '?' in path else '?'}digest={digest}",
                                            {"Content-Type": "application/octet-stream"}, data)
        assert status == 201, text
        return {"digest": digest, "size": len(data)}
    diff = "sha256:" + hashlib.sha256(gzip.decompress(layer)).hexdigest()
    names = dict(zip(("os", "architecture", "variant"), platform.split("/")))
    config = json.dumps({**names, "config": {}, "rootfs": {"type": "layers", "diff_ids": [diff]}}).encode()
    kind = "application/vnd.oci.image."
    manifest = json.dumps({"schemaVersion": 2, "mediaType": kind + "manifest.v1+json",
                           "config": {"mediaType": kind + "config.v1+json", **blob(config)},
                           "layers": [{"mediaType": kind + "layer.v1.tar+gzip", **blob(layer)}]}).encode()
    digest = "sha256:" + hashlib.sha256(manifest).hexdigest()
    status, _, text = registry.request("PUT", f"/v2/{repository}/manifests/{tag or digest}",
                                       {"Content-Type": kind + "manifest.v1+json"}, manifest)
    assert status == 201, text
    return digest, manifest


def run_tool(name, *args, given="", timeout=100):
    """The words that one of this folder's programs prints."""
    done = subprocess.run([f"{BENCH}/{name}", *map(str, args)], input=given, capture_output=True, text=True, timeout=timeout, check=False)
    if done.returncode:
        raise Failed(f"{name}: status {done.returncode}: {done.stderr}")
    return done.stdout.split()


def memory(pid):
    """Resident and private dirty, MB."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="utf-8") as f:
        kb = {line.split(":")[0]: int(line.split()[1]) for line in f if line.rstrip().endswith("kB")}
    return kb["Rss"] / 1024, kb["Private_Dirty"] / 1024


__all__ = ["AGENT", "BENCH", "BUILD", "Failed", "Process", "QUIET", "SocketConnection", "add_boards", "commits", "farm", "idle", "jobs",
           "many_tracks", "median", "memory", "noop_agent", "percentile", "push_image", "rebuild_all", "rebuild_path", "run_tool", "time", "wait_for"]
