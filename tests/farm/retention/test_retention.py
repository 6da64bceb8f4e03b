"""Retention: Debian's own collector deletes every untagged manifest after every step, and nothing that is kept breaks."""
import json

import oci
import pytest
import shapes

pytestmark = [pytest.mark.root, pytest.mark.slow]
AMD64 = ["linux/amd64"]


def whole(registry, repository, digest):
    """Whether an index is there with each of its children, their configs and layers."""
    found = registry.raw(repository, digest)
    if not found:
        return False
    for child in json.loads(found[0])["manifests"]:
        manifest = registry.raw(repository, child["digest"])
        if not manifest:
            return False
        manifest = json.loads(manifest[0])
        for blob in [manifest["config"], *manifest["layers"]]:
            registry.blob(repository, blob["digest"])
    return True


def release(registry, tag="latest"):
    return (oci.file_content(registry, "osf/base", tag, "linux/amd64", "etc/alpine-release") or b"").decode().strip()


class World:
    def __init__(self, farm):
        self.registry, git = farm.registry(), farm.git()
        self.up, self.top = git.repo("base"), git.repo("top")
        config = {"registry": f"{self.registry.host}/osf", "platforms": AMD64, "keep": 2, "images": {
            "base": {"source": self.up.url, "ref": "refs/heads/master", "tags": ["latest"]},
            "top": {"source": self.top.url, "ref": "refs/heads/master", "tags": ["latest"]}}}
        self.up.commit(shapes.base_files("1", platforms=AMD64))
        self.top.commit({"Dockerfile": f"FROM {self.registry.host}/osf/base\nRUN cat /etc/alpine-release >/top\n"})
        self.sheafd = farm.coordinator(config)
        self.agent = farm.agent(self.sheafd, "board")

    def push(self, number):
        self.up.commit(shapes.base_files(str(number), platforms=AMD64))
        self.sheafd.settle(self.up)

    def collect(self):
        """Collects, and then: every publication that a track's tags can return to is whole, as is what its tag names."""
        before = len(self.kept())
        self.registry.collect()
        assert len(self.kept()) == before
        for image, digest in self.kept():
            assert whole(self.registry, f"osf/{image}", digest), (image, digest)
        for image in ("base", "top"):
            assert whole(self.registry, f"osf/{image}", self.registry.digest(f"osf/{image}", "latest"))

    def kept(self):
        return [(image, p["digest"]) for image in ("base", "top") for p in self.sheafd.track(image)["publications"]]


@pytest.mark.timeout(900)
def test_the_collector_takes_nothing_that_is_kept(farm):
    w = World(farm)
    w.sheafd.wait_idle(200)
    w.collect()
    for number in (2, 3, 4):
        w.push(number)
        w.collect()
        assert release(w.registry) == str(number)
    # Two of each are kept, under places of their own, which users' tags are not among.
    assert len(w.kept()) == 4
    tags = w.registry.tags("osf/base")
    assert sorted(t for t in tags if not t.startswith("_sheaf.")) == ["latest", "latest-amd64"]
    assert len([t for t in tags if ".amd64." in t]) == len([t for t in tags if ".index." in t]) == 3

    # What is kept can be returned to, and what was before that is history.
    w.sheafd.ctl("rollback", "base")
    w.sheafd.wait_idle(200)
    assert release(w.registry) == "3"
    w.collect()
    w.push(5)
    w.collect()
    assert release(w.registry) == "3"
    w.sheafd.restart()
    w.sheafd.wait_idle(200)
    w.sheafd.ctl("release", "base")
    w.sheafd.wait_idle(200)
    w.collect()
    assert release(w.registry) == "5"
    first = w.sheafd.builds("base")[0]["publication"]
    assert first["generation"] == 1 and first["digest"] not in [d for _, d in w.kept()]
