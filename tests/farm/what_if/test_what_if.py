"""What if: asked of a running farm first, and then done; what was foretold is what is built, and asking changes nothing."""
import copy
import hashlib
import json
import os

import jsonschema
import pytest
import shapes
import yaml
from farm import ROOT
from procs import run

pytestmark = [pytest.mark.root, pytest.mark.slow]
AMD64 = ["linux/amd64"]


def schema(name):
    with open(f"{ROOT}/schema/api.schema.json", encoding="utf-8") as f:
        return {**json.load(f), "$ref": f"#/$defs/{name}"}


class World:
    """base <- left, right <- top; and alone: each in its own folder of one upstream, but for the base."""

    def __init__(self, farm):
        self.farm, self.registry, git = farm, farm.registry(), farm.git()
        name = f"{self.registry.host}/osf"
        self.base, self.rest = git.repo("base"), git.repo("rest")
        self.base.commit(shapes.base_files("1", platforms=AMD64))
        self.files = {
            "left/Dockerfile": f"FROM {name}/base\nARG WORD=one\nRUN cat /etc/alpine-release >/left && echo $WORD >>/left\n",
            "right/Dockerfile": f"FROM {name}/base\nRUN cat /etc/alpine-release >/right\n",
            "top/Dockerfile": f"FROM {name}/left\nCOPY --from={name}/right /right /right\nRUN cat /left /right >/top\n",
            "alone/Dockerfile": "FROM scratch\nCOPY file /file\n", "alone/file": "1\n",
        }
        self.rest.commit(self.files)
        images = {"base": {"source": self.base.url}}
        for image in ("left", "right", "top", "alone"):
            images[image] = {"source": self.rest.url, "context": image}
        for entry in images.values():
            entry.update({"ref": "refs/heads/master", "tags": ["latest"]})
        self.config = {"registry": name, "platforms": AMD64, "poll": "1h", "images": images}
        self.sheafd = farm.coordinator(self.config)
        self.agent = farm.agent(self.sheafd, "board")
        self.sheafd.wait_idle(300)
        assert {t["state"] for t in self.sheafd.tracks().values()} == {"published"}

    def everything(self):
        """What must not change: the store's bytes, what the API tells, and what the registry has."""
        store = {}
        for name in ("sheaf.db", "sheaf.db-wal"):
            with open(os.path.join(self.sheafd.state, name), "rb") as f:
                store[name] = hashlib.sha256(f.read()).hexdigest()
        tags = {i: run(["skopeo", "list-tags", "--tls-verify=false", f"docker://{self.registry.host}/osf/{i}"]).stdout
                for i in self.config["images"]}
        digests = {i: self.registry.digest(f"osf/{i}", "latest") for i in self.config["images"]}
        return store, tags, digests, self.sheafd.get("/v1/images"), self.sheafd.get("/v1/builds?limit=500"), self.sheafd.get("/v1/actions")

    def ask(self, *args):
        """The answer of a question, which changes nothing."""
        before = self.everything()
        answer = self.sheafd.ctl_json("what-if", *args)
        jsonschema.validate(answer, schema("what_if"))
        assert self.everything() == before
        return answer

    def last(self):
        return max(b["id"] for b in self.sheafd.builds())

    def compare(self, answer, last):
        """The builds since `last` are those that were foretold, for the reasons that were."""
        told = sorted((b["track"], b["why"]["code"], b["why"]["text"], b["class"]) for b in answer["builds"])
        made = sorted((b["track"], b["why"]["code"], b["why"]["text"], b["class"]) for b in self.sheafd.builds() if b["id"] > last)
        assert told == made


def waves(answer):
    return {b["track"].split("@")[0]: b["wave"] for b in answer["builds"]}


@pytest.mark.timeout(900)
def test_what_was_foretold_is_built(farm):
    w = World(farm)

    # A push to the base: all that hangs on it, once, in order.
    answer = w.ask("push", w.base.url)
    assert waves(answer) == {"base": 1, "left": 2, "right": 2, "top": 3} and answer["jobs"] == 4
    assert {(t["repository"].rpartition("/")[2], t["tag"]) for t in answer["tags"]} == {(i, "latest") for i in ("base", "left", "right", "top")}
    assert answer["tracks"] == answer["unserved"] == answer["notes"] == []
    last = w.last()
    w.base.commit(shapes.base_files("2", platforms=AMD64))
    w.sheafd.settle(w.base)
    w.compare(answer, last)

    # A push to some of the files of an upstream that five images share.
    answer = w.ask("push", w.rest.url, "--path", "alone/file")
    assert waves(answer) == {"alone": 1} and w.ask("push", w.rest.url, "--path", "docs")["builds"] == []
    assert waves(w.ask("push", "right")) == {"right": 1, "top": 2}
    last = w.last()
    w.rest.commit({**w.files, "alone/file": "2\n"})
    w.sheafd.settle(w.rest)
    w.compare(answer, last)

    # A commit that there is: its own files count. What .dockerignore leaves out does not.
    w.files.update({"alone/.dockerignore": "docs\n", "alone/docs/a": "1\n", "alone/file": "2\n"})
    w.rest.commit(w.files)
    commit = w.rest.commit({**w.files, "right/Dockerfile": "FROM scratch\nCOPY Dockerfile /right\n"}, branch="next")
    w.sheafd.settle(w.rest)
    assert w.ask("push", w.rest.url, "--path", "alone/docs/a")["builds"] == []
    assert waves(w.ask("push", w.rest.url, "--path", "alone/docs2")) == {"alone": 1}
    answer = w.ask("push", w.rest.url, "--ref", "master", "--to", commit)
    assert waves(answer) == {"alone": 1, "left": 1, "right": 1, "top": 2} and len(answer["notes"]) == 4  # nothing follows it: not fetched
    before = w.rest.commit({**w.files, "right/Dockerfile": "FROM scratch\nCOPY Dockerfile /right\n"})
    w.sheafd.settle(w.rest)
    w.rest.commit(w.files)
    w.sheafd.settle(w.rest)
    answer = w.ask("push", w.rest.url, "--ref", "master", "--to", before)
    assert answer["notes"] == [] and answer["jobs"] == 0 and waves(answer) == {"right": 1, "top": 2}
    assert "its Dockerfile changed" in answer["builds"][0]["why"]["text"] and answer["builds"][0]["jobs"][0]["done_before"]

    # In words.
    said = w.sheafd.ctl("what-if", "push", "base").stdout
    assert "would cause 4 builds (4 jobs) in 3 waves" in said and "Wave 3\n  top@master: " in said and " on board\n" in said
    assert "base@master: its files changed\n" in said


@pytest.mark.timeout(900)
def test_another_farm_yaml(farm):
    w = World(farm)
    other = copy.deepcopy(w.config)
    other["images"]["left"]["args"] = {"WORD": "two"}
    other["images"]["more"] = {**other["images"]["alone"], "test": None}
    del other["images"]["more"]["test"], other["images"]["alone"]
    path = farm.path("other.yaml")

    def write(config):
        with open(path, "w", encoding="utf-8") as f:
            yaml.safe_dump(config, f)
    write(other)
    answer = w.ask("config", path)
    assert answer["images"] == {"added": ["more"], "removed": ["alone"], "changed": ["left"]}
    assert waves(answer) == {"left": 1, "more": 1, "top": 2}
    assert [b["why"]["text"] for b in answer["builds"] if b["track"] == "left@master"] == ["build argument WORD is new: two"]
    said = w.sheafd.ctl("check", path, "--against-running").stdout
    assert "New: more\nGone: alone\nChanged: left\n" in said and "left@master: build argument WORD is new: two\n" in said
    last = w.last()
    first = w.config
    w.sheafd.configure(other)
    w.sheafd.reload()
    w.sheafd.wait(lambda: w.sheafd.tracks("more"), 60, "the new image")
    w.sheafd.wait_idle(300)
    w.compare(answer, last)

    # Taken back: it was all built before, however long ago.
    w.config = {**first, "images": {i: e for i, e in first["images"].items()}}
    write(first)
    answer = w.ask("config", path)
    assert answer["jobs"] == 0 and waves(answer) == {"left": 1, "top": 2} and all(j["done_before"] for b in answer["builds"] for j in b["jobs"])

    # A new image is read from the mirror: what it is built on is known.
    more = copy.deepcopy(first)
    more["images"]["again"] = {**more["images"]["left"], "tags": ["$version", "again"]}
    more["images"]["again"]["tags"] = ["again"]
    write(more)
    answer = w.ask("config", path)
    assert answer["notes"] == [] and waves(answer)["again"] == 1

    # What would be worse is an exit status of its own; what is wrong is another.
    worse = copy.deepcopy(other)
    worse["images"]["third"] = {**worse["images"]["more"], "platforms": ["linux/riscv64"]}
    write(worse)
    done = w.sheafd.ctl("check", path, "--against-running", check=False)
    assert done.returncode == 5 and "no board offers linux/riscv64" in done.stdout, done.stdout
    write({**other, "imagez": {}})
    done = w.sheafd.ctl("check", path, "--against-running", check=False)
    assert done.returncode == 1 and "imagez" in done.stderr
    done = w.sheafd.ctl("what-if", "config", path, check=False)
    assert done.returncode == 1 and "imagez" in done.stderr


@pytest.mark.timeout(600)
def test_a_lost_board(farm):
    w = World(farm)
    answer = w.ask("board", "board", "--lost")
    assert [(u["platform"], len(u["tracks"])) for u in answer["unserved"]] == [("linux/amd64", 5)]
    said = w.sheafd.ctl("what-if", "board", "board", "--lost").stdout
    assert said.startswith("The loss of board would stop and delay no job.\n") and "  linux/amd64: no board is left\n" in said
    assert "No board for linux/amd64: 5 tracks" in said
    w.agent.stop()
    w.sheafd.wait(lambda: w.sheafd.get("/v1/boards")["boards"][0]["state"] == "offline", 200, "the board offline")
    answer = w.ask("push", "base")
    (build,) = answer["builds"]
    assert build["track"] == "base@master" and build["jobs"][0]["reason"]["code"] in ("no-board", "boards-busy")
    assert [t["after"]["state"] for t in answer["tracks"]] == ["building"]
    for args, status in ((["push", "nobody"], 3), (["base", "debian:1"], 3), (["board", "two", "--lost"], 3), (["board", "board"], 2)):
        assert w.sheafd.ctl("what-if", *args, check=False).returncode == status


def post(sheafd, body, by="--unix-socket"):
    """The status and the answer of POST /v1/what-if."""
    where = ["--unix-socket", sheafd.socket, "http://sheaf/v1/what-if"] if by == "--unix-socket" else [f"{sheafd.status_url}/v1/what-if"]
    done = run(["curl", "-s", "-w", "\n%{http_code}", "-H", "Content-Type: application/json", "-d", json.dumps(body), *where])
    text, _, status = done.stdout.rpartition("\n")
    return int(status), json.loads(text)


@pytest.mark.timeout(200)
def test_odd_questions(farm):
    registry, up = farm.registry(), farm.git().repo("one")
    up.commit({"Dockerfile": "FROM scratch\nCOPY Dockerfile /\n"})
    sheafd = farm.coordinator({"registry": f"{registry.host}/osf", "platforms": AMD64, "poll": "1h",
                               "images": {"one": {"source": up.url, "ref": "refs/heads/*", "tags": ["$branch"]}}})
    sheafd.wait(lambda: sheafd.tracks("one"), 60, "the image")
    for body, field in (({}, "event"), ({"event": "storm"}, "event"), ({"event": "push"}, "source"), ({"event": "push", "source": 1}, "source"),
                        ({"event": "push", "source": "one", "paths": [1]}, "paths"), ({"event": "push", "source": "one", "board": "x"}, "board"),
                        ({"event": "config", "path": "farm.yaml"}, "path"), ({"event": "config", "path": "/none/farm.yaml"}, "path")):
        status, answer = post(sheafd, body)
        jsonschema.validate(answer, schema("error"))
        assert (status, answer["field"]) == (400, field), answer
    push = {"event": "push", "source": "one"}
    assert post(sheafd, push, by="tcp")[0] == 403
    assert post(sheafd, {"event": "push", "source": "nobody"})[0] == 404
    # A branch that nobody has made yet.
    status, answer = post(sheafd, {**push, "ref": "refs/heads/next"})
    assert status == 200 and [b["track"] for b in answer["builds"]] == ["one@next"] and answer["question"]["refs"] == ["refs/heads/next"]
    # One after the other, and a farm that is replaced meanwhile.
    asking = [farm.process(f"asks{i}", ["curl", "-s", "--unix-socket", sheafd.socket, "-d", json.dumps(push), "http://sheaf/v1/what-if"])
              for i in range(8)]
    sheafd.reload()
    sheafd.wait(lambda: all(p.child.poll() is not None for p in asking), 60, "the answers")
    answers = [json.loads(p.output()) for p in asking]
    assert all("builds" in a or "another such question" in a["error"] for a in answers) and any("builds" in a for a in answers)
    assert post(sheafd, push)[0] == 200
