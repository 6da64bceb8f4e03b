"""Scenario 3: derived images rebuild when their bases do: all of them, once each, in order, and nothing else."""
import oci
import pytest
import shapes

pytestmark = [pytest.mark.root, pytest.mark.slow]


class Family:
    """A base with what hangs on it: a chain of three, a diamond, a multi-stage one, and one that is no kin."""

    def __init__(self, farm, platforms):
        self.farm, self.platforms = farm, platforms
        self.registry, git = farm.registry(), farm.git()
        name = f"{self.registry.host}/osf"
        self.base = git.repo("base")
        self.base.commit(shapes.base_files("1", platforms=platforms))
        dockerfiles = {
            "chain1": f"FROM {name}/base\nRUN uname -m >/chain1 && cat /etc/alpine-release >>/chain1\n",
            "chain2": f"ARG FROM={name}/chain1:latest\nFROM $FROM\nRUN cat /chain1 >/chain2\n",
            "left": f"FROM {name}/base:latest\nRUN cat /etc/alpine-release >/left\n",
            "right": f"from {name}/base:latest AS it\nRUN cat /etc/alpine-release \\\n  # a comment\n  >/right\n",
            "top": f"FROM {name}/left AS stage\nRUN echo top >/top\n"
                   f"FROM stage\nCOPY --from={name}/right /right /right\nCOPY --from=0 /top /copied\n",
            "alone": 'FROM scratch\nADD root.tar.gz /\nCMD ["/bin/sh"]\n',
        }
        self.repos, images = {}, {"base": self._image(self.base)}
        for image, text in dockerfiles.items():
            files = {"Dockerfile": text}
            if image == "alone":
                files["root.tar.gz"] = shapes.minirootfs("linux/amd64")
            self.repos[image] = git.repo(image)
            self.repos[image].commit(files)
            images[image] = self._image(self.repos[image])
        images["alone"]["platforms"] = ["linux/amd64"]
        self.config = {"registry": name, "platforms": list(platforms), "images": images}

    def _image(self, up):
        return {"source": up.url, "ref": "refs/heads/master", "tags": ["latest"], "emulated": True}

    def digests(self):
        return {image: self.registry.digest(f"osf/{image}", "latest") for image in self.config["images"]}


def order(sheafd, after):
    """The images whose builds are newer than that id, in the order in which they finished."""
    builds = [b for b in sheafd.builds() if b["id"] > after and b["state"] in ("published", "unchanged")]
    return [b["image"] for b in sorted(builds, key=lambda b: b["finished_at"])]


def last_build(sheafd):
    return max(b["id"] for b in sheafd.builds())


def check_derived(family, release):
    """Every derived image holds what this release of the base says, on every platform."""
    machines = {"linux/amd64": "x86_64", "linux/arm64": "aarch64", "linux/arm/v7": "armv7l"}
    for platform in family.platforms:
        def text(image, path):
            return oci.file_content(family.registry, f"osf/{image}", "latest", platform, path)
        machine, line = text("chain2", "chain2").decode().split("\n")[:2]
        assert machine == machines[platform] or (platform == "linux/arm/v7" and machine == "armv8l")
        assert line == release
        assert text("top", "right") == f"{release}\n".encode() and text("top", "copied") == b"top\n"
        assert text("left", "left") == f"{release}\n".encode()


@pytest.mark.timeout(1500)
def test_a_change_to_the_base_ripples_once_and_in_order(farm):
    family = Family(farm, shapes.ALL)
    sheafd = farm.coordinator(family.config)
    farm.agent(sheafd, "amd64-1")
    farm.agent(sheafd, "arm64-1", emulated=["linux/arm64"])
    farm.agent(sheafd, "armv7-1", emulated=["linux/arm/v7"])
    sheafd.wait_idle(900)
    assert {t["state"] for t in sheafd.tracks().values()} == {"published"}
    first = order(sheafd, 0)
    assert sorted(first) == sorted(family.config["images"]), "each once"
    check_derived(family, "1")
    before, mark = family.digests(), last_build(sheafd)

    # The base changes: exactly what depends on it, once each, after what it stands on.
    family.base.commit(shapes.base_files("2"))
    sheafd.settle(family.base, seconds=900)
    built = order(sheafd, mark)
    assert sorted(built) == ["base", "chain1", "chain2", "left", "right", "top"]
    for below, above in (("base", "chain1"), ("chain1", "chain2"), ("base", "left"), ("left", "top"), ("right", "top")):
        assert built.index(below) < built.index(above)
    check_derived(family, "2")
    after = family.digests()
    assert after["alone"] == before["alone"] and all(after[i] != before[i] for i in built)
    ripple = [b for b in sheafd.builds("chain2") if b["id"] > mark]
    assert len(ripple) == 1 and ripple[0]["class"] == "ripple" and "chain1" in ripple[0]["why"]["text"]


@pytest.mark.timeout(600)
def test_equal_output_ripples_nothing(farm):
    """A comment in the base's Dockerfile: the base builds, keeps its manifest, and nothing else is built."""
    family = Family(farm, ["linux/amd64"])
    sheafd = farm.coordinator(family.config)
    farm.agent(sheafd, "amd64-1")
    sheafd.wait_idle(600)
    before, mark = family.digests(), last_build(sheafd)
    text = shapes.base_files("1")["Dockerfile"]
    family.base.commit({"Dockerfile": "# says nothing\n" + text})
    sheafd.settle(family.base, seconds=300)
    new = [b for b in sheafd.builds() if b["id"] > mark]
    assert [b["image"] for b in new] == ["base"]
    assert family.digests() == before

    # And a change that nothing in the context sees builds nothing at all.
    mark = last_build(sheafd)
    family.base.commit({}, message="an empty commit")
    sheafd.settle(family.base)
    assert [b["image"] for b in sheafd.builds() if b["id"] > mark] == []


@pytest.mark.timeout(600)
def test_rebuild_anyway(farm):
    """A person's rebuild builds although nothing changed; equal output leaves the tag where it was."""
    family = Family(farm, ["linux/amd64"])
    sheafd = farm.coordinator(family.config)
    farm.agent(sheafd, "amd64-1")
    sheafd.wait_idle(600)
    before, mark = family.digests(), last_build(sheafd)
    sheafd.ctl("rebuild", "left")
    sheafd.wait_idle(300)
    new = [b for b in sheafd.builds() if b["id"] > mark]
    assert [(b["image"], b["class"]) for b in new] == [("left", "person")]
    assert family.digests() == before
