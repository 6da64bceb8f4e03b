"""Somebody moves, deletes and pushes our tags by hand, on Debian's own registry, with skopeo."""
import hashlib
import json

import oci
import pytest
import shapes
from procs import run

pytestmark = [pytest.mark.root, pytest.mark.slow]
AMD64 = ["linux/amd64"]


class World:
    """One image with two publications."""

    def __init__(self, farm, **more):
        self.registry, git = farm.registry(), farm.git()
        self.up = git.repo("base")
        self.config = {"registry": f"{self.registry.host}/osf", "platforms": AMD64, **more, "images": {
            "base": {"source": self.up.url, "ref": "refs/heads/master", "tags": ["latest"]}}}
        self.repository = f"{self.registry.host}/osf/base"
        self.up.commit(shapes.base_files("1", platforms=AMD64))
        self.sheafd = farm.coordinator(self.config)
        farm.agent(self.sheafd, "board")
        self.sheafd.wait_idle(200)
        self.one = self.registry.digest("osf/base", "latest")
        self.push("2")
        self.two = self.registry.digest("osf/base", "latest")
        assert self.one != self.two

    def push(self, release):
        self.up.commit(shapes.base_files(release, platforms=AMD64))
        self.sheafd.settle(self.up)

    def copy(self, reference, tag):
        run(["skopeo", "copy", "--all", "--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false",
             f"docker://{self.repository}{reference}", f"docker://{self.repository}:{tag}"])

    def strange(self, tag):
        """An index that Sheaf did not make, under a tag of its."""
        body, media_type, _ = self.registry.raw("osf/base", self.two)
        body = json.dumps({**json.loads(body), "annotations": {"by": "hand"}}).encode()
        assert self.registry.request("PUT", f"/v2/osf/base/manifests/{tag}", {"Content-Type": media_type}, body)[0] == 201
        return "sha256:" + hashlib.sha256(body).hexdigest()

    def audit(self):
        self.sheafd.ctl("audit", self.repository)

    def attention(self, code):
        return [a for a in self.sheafd.get("/v1/status")["attention"] if a["reason"]["code"] == code]

    def latest(self):
        return self.registry.digest("osf/base", "latest")


@pytest.mark.timeout(600)
def test_moved_by_hand_is_said(farm):
    w = World(farm)
    w.copy(f"@{w.one}", "latest")
    w.audit()
    w.sheafd.wait(lambda: w.attention("tag-moved"), 60, "the move is said")
    assert w.attention("tag-moved")[0]["id"] == f"{w.repository}:latest"
    assert "tag-moved" in w.sheafd.ctl("status").stdout or "somebody moved it" in w.sheafd.ctl("status").stdout
    w.sheafd.restart()
    assert w.attention("tag-moved") and w.latest() == w.one
    # The next publication moves it on.
    w.push("3")
    assert not w.attention("tag-moved") and w.latest() not in (w.one, w.two)


@pytest.mark.timeout(600)
def test_enforced_it_is_put_back(farm):
    w = World(farm, enforce=True)
    generation = w.sheafd.track("base")["publication"]["generation"]
    w.copy(f"@{w.one}", "latest")
    w.audit()
    w.sheafd.wait(lambda: w.latest() == w.two, 60, "it is put back")
    w.sheafd.wait_idle(60)
    assert w.sheafd.track("base")["publication"]["generation"] == generation + 1
    # Deleting the index takes every tag that is on it: all are brought back, from the store's bytes.
    assert w.registry.request("DELETE", f"/v2/osf/base/manifests/{w.two}")[0] == 202
    assert w.latest() is None
    w.audit()
    w.sheafd.wait(lambda: w.latest() == w.two, 60, "it is there again")
    w.sheafd.wait_idle(60)
    w.registry.collect()
    assert oci.file_content(w.registry, "osf/base", "latest", "linux/amd64", "etc/alpine-release").strip() == b"2"


@pytest.mark.timeout(600)
def test_a_stranger_stops_the_repository(farm):
    w = World(farm, enforce=True)
    hand = w.strange("latest")
    w.audit()
    w.sheafd.wait(lambda: w.attention("repository-stopped"), 60, "the repository stops")
    w.up.commit(shapes.base_files("3", platforms=AMD64))
    w.sheafd.poll(w.up)
    w.sheafd.wait(lambda: w.sheafd.builds("base")[-1]["id"] == 3 and w.sheafd.track("base")["cells"][0]["state"] == "succeeded",
                  100, "it is built")
    assert w.latest() == hand and w.sheafd.track("base")["reason"]["code"] == "repository-stopped"
    w.sheafd.restart()
    assert w.attention("repository-stopped")
    # Ours is put back, what was built meanwhile.
    w.sheafd.ctl("restore", w.repository)
    w.sheafd.wait(lambda: w.latest() not in (hand, w.two), 60, "the newest is published")
    w.sheafd.wait_idle(60)
    w.sheafd.wait(lambda: not w.attention("restoring"), 60, "it is restored")
    assert not w.attention("repository-stopped") and not w.attention("tag-moved")
    # Another stranger is adopted, and stays until there is something new.
    hand = w.strange("latest")
    w.audit()
    w.sheafd.wait(lambda: w.attention("repository-stopped"), 60, "the repository stops again")
    w.sheafd.ctl("adopt", w.repository)
    w.sheafd.wait_idle(60)
    w.audit()
    assert w.latest() == hand and not w.attention("repository-stopped")
    w.push("4")
    assert w.latest() != hand and w.sheafd.track("base")["state"] == "published"
    assert w.sheafd.ctl("restore", "no/such", check=False).returncode == 3


@pytest.mark.timeout(600)
def test_a_child_that_was_deleted_is_built_again(farm):
    w = World(farm)
    w.sheafd.restart()  # the manifest's bytes are not at hand any more
    child = w.registry.children("osf/base", "latest")["linux/amd64"]["digest"]
    assert w.registry.request("DELETE", f"/v2/osf/base/manifests/{child}")[0] == 202
    jobs = sum(len(j["attempts"]) for j in w.sheafd.jobs("base"))
    w.audit()
    w.sheafd.wait(lambda: sum(len(j["attempts"]) for j in w.sheafd.jobs("base")) > jobs, 60, "it is built again")
    w.sheafd.wait_idle(200)
    for descriptor in w.registry.children("osf/base", "latest").values():
        assert w.registry.raw("osf/base", descriptor["digest"])
    w.registry.collect()
    assert oci.file_content(w.registry, "osf/base", "latest", "linux/amd64", "etc/alpine-release").strip() == b"2"
