"""Every command of sheafctl on a real farm; skopeo says what the tags name, before and after a restart."""
import hashlib
import json

import jsonschema
import pytest
import shapes
from farm import ROOT
from procs import run

pytestmark = [pytest.mark.root, pytest.mark.slow]
AMD64 = ["linux/amd64"]


def schema(name):
    with open(f"{ROOT}/schema/api.schema.json", encoding="utf-8") as f:
        return {**json.load(f), "$ref": f"#/$defs/{name}"}


class World:
    """One coordinator, one board, and the images that a test asks for."""

    def __init__(self, farm, images, **more):
        self.farm, self.registry, git = farm, farm.registry(), farm.git()
        self.up = {}
        for name in images:
            self.up[name] = git.repo(name)
        entries = {name: {"source": self.up[name].url, "ref": "refs/heads/master", "tags": ["latest"], **(entry or {})}
                   for name, entry in images.items()}
        self.config = {"registry": f"{self.registry.host}/osf", "platforms": AMD64, "images": entries, **more}

    def start(self):
        self.sheafd = self.farm.coordinator(self.config)
        self.farm.agent(self.sheafd, "board")
        self.sheafd.wait_idle(200)
        return self

    def base(self, name, release):
        self.up[name].commit(shapes.base_files(release, platforms=AMD64))

    def push(self, name, release):
        self.base(name, release)
        self.sheafd.settle(self.up[name])

    def names(self, name, tag="latest"):
        """The digest of what a tag names, and that its per-architecture tag names the child of it."""
        raw = {}
        for t in (tag, f"{tag}-amd64"):
            done = run(["skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{self.registry.host}/osf/{name}:{t}"], check=False)
            if done.returncode:
                return None
            raw[t] = "sha256:" + hashlib.sha256(done.stdout.encode()).hexdigest()
            if t == tag:
                children = [m["digest"] for m in json.loads(done.stdout)["manifests"]]
        assert raw[f"{tag}-amd64"] in children
        return raw[tag]

    def do(self, *args):
        """One command twice: the second time it changes nothing. Its first answer."""
        answers = [self.sheafd.ctl_json(*args) for _ in range(2)]
        for answer in answers:
            jsonschema.validate(answer, schema("command"))
        assert [a["changed"] for a in answers] == [True, False], answers
        self.sheafd.wait_idle(200)
        return answers[0]

    def again(self):
        """Nothing is decided by a restart."""
        builds = len(self.sheafd.builds())
        self.sheafd.restart()
        self.sheafd.wait_idle(200)
        assert len(self.sheafd.builds()) == builds


@pytest.mark.timeout(900)
def test_hold_pin_rollback_promote(farm):
    w = World(farm, {"base": None})
    w.base("base", "1")
    w.start()
    one = w.names("base")
    w.push("base", "2")
    two = w.names("base")
    assert one and two and one != two

    w.do("hold", "base", "--reason", "an audit")
    w.push("base", "3")
    track = w.sheafd.track("base")
    assert track["state"] == "held" and track["hold"]["reason"] == "an audit" and "an audit" in w.sheafd.ctl("status").stdout
    assert w.names("base") == two
    w.again()
    assert w.names("base") == two and w.sheafd.track("base")["state"] == "held"
    w.do("release", "base")
    three = w.names("base")
    assert three not in (one, two)

    # A rollback is a publication of its own, and stays.
    before = w.sheafd.track("base")["publication"]["generation"]
    w.do("rollback", "base", "--reason", "three is bad")
    assert w.names("base") == two
    track = w.sheafd.track("base")
    assert track["publication"]["generation"] == before + 1 and track["hold"]["code"] == "pinned"
    w.again()
    w.push("base", "4")
    assert w.names("base") == two
    w.do("pin", "base", one[:20])
    assert w.names("base") == one
    w.do("promote", "base")
    four = w.names("base")
    assert four not in (one, two, three)
    w.push("base", "5")
    w.again()
    assert w.names("base") == four and w.sheafd.track("base")["state"] == "held"
    w.do("release", "base")
    assert w.names("base") != four

    # Each is on record, and what is not there is said so.
    record = w.sheafd.ctl_json("actions", "--track", "base")
    jsonschema.validate(record, schema("actions"))
    assert [a["command"] for a in reversed(record["actions"])] == ["hold", "release", "rollback", "pin", "promote", "release"]
    assert all("uid 0" in a["by"] for a in record["actions"])
    wrong = w.sheafd.ctl("pin", "base", "99", check=False)
    assert wrong.returncode == 3 and "has no publication '99'" in wrong.stderr
    jsonschema.validate(w.sheafd.track("base"), schema("track_whole"))


@pytest.mark.timeout(900)
def test_freeze_retry_rebuild(farm):
    w = World(farm, {"base": None, "top": None})
    w.base("base", "1")
    w.up["top"].commit({"Dockerfile": f"FROM {w.registry.host}/osf/base\nRUN exit 1\n"})
    w.start()
    one = w.names("base")
    assert w.sheafd.track("top")["state"] == "failed" and w.names("top") is None

    w.do("freeze", "--reason", "a move")
    w.push("base", "2")
    status = w.sheafd.ctl_json("status")
    jsonschema.validate(status, schema("status"))
    assert status["frozen"] and status["freeze"]["reason"] == "a move" and "a move" in w.sheafd.ctl("status").stdout
    w.again()
    assert w.names("base") == one and w.sheafd.track("base")["reason"]["code"] == "frozen"
    assert w.sheafd.ctl("release", "base", check=False).returncode == 1
    w.do("thaw")
    assert w.names("base") not in (None, one)

    # What failed is tried again on request: the same inputs, another build.
    builds = len(w.sheafd.builds("top"))
    assert w.sheafd.ctl_json("retry", "top")["changed"]
    w.sheafd.wait_idle(200)
    assert len(w.sheafd.builds("top")) == builds + 1 and w.sheafd.track("top")["why"]["code"] == "retry-asked"
    key = w.sheafd.track("top")["cells"][0]["job"]
    attempts = len(w.sheafd.job(key)["attempts"])
    assert w.sheafd.ctl_json("retry", key)["changed"]
    w.sheafd.wait_idle(200)
    assert len(w.sheafd.job(key)["attempts"]) > attempts
    w.up["top"].commit({"Dockerfile": f"FROM {w.registry.host}/osf/base\nRUN echo well >/top\n"})
    w.sheafd.settle(w.up["top"])

    # A rebuild with its dependents builds each once, the base first.
    jobs = {name: len(w.sheafd.jobs(name)) for name in ("base", "top")}
    answer = w.sheafd.ctl_json("rebuild", "base", "--with-dependents", "--no-cache")
    jsonschema.validate(answer, schema("rebuild"))
    assert sorted(answer["tracks"]) == ["base@master", "top@master"]
    w.sheafd.wait_idle(200)
    assert {name: len(w.sheafd.jobs(name)) - n for name, n in jobs.items()} == {"base": 1, "top": 1}
    w.again()


@pytest.mark.timeout(900)
def test_retire_and_wake(farm):
    versions = {"ref": "refs/tags/v*", "tags": ["$version", "latest"]}
    w = World(farm, {"tool": versions})
    for release in ("1.0.0", "1.1.0"):
        w.base("tool", release)
        w.up["tool"].tag(f"v{release}")
    w.start()
    new = w.names("tool")
    assert w.names("tool", "1.1.0") == new and w.names("tool", "1.0.0") is None
    assert w.sheafd.track("tool@v1.0.0")["state"] == "dormant"
    w.do("wake", "tool@v1.0.0")
    old = w.names("tool", "1.0.0")
    assert old and w.names("tool") == new

    # A ref that is gone upstream: its tags stay, until it is retired.
    w.up["tool"].delete("refs/tags/v1.1.0")
    w.sheafd.poll(w.up["tool"])
    w.sheafd.settle(w.up["tool"])
    assert w.sheafd.track("tool@v1.1.0")["state"] == "deleted" and w.names("tool") == new
    w.do("retire", "tool@v1.1.0")
    w.again()
    assert w.names("tool") == old and w.names("tool", "1.1.0") == new
    assert w.sheafd.ctl_json("wake", "tool@v1.1.0")["changed"]
    w.sheafd.wait_idle(200)
    assert w.names("tool") == new
    gone = w.sheafd.ctl("wake", "tool@v1.1.0", check=False)
    assert gone.returncode == 1 and "gone upstream" in gone.stderr
    # The only platform of a track is not retired alone.
    alone = w.sheafd.ctl("retire", "tool@v1.0.0", "--platform", "linux/amd64", check=False)
    assert alone.returncode == 1 and "retire the track" in alone.stderr
