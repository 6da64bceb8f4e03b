"""A farm with a past of every kind in its store, for tests of what can be read and asked of it."""
import urllib.parse

import shapes
from procs import free_port

AMD64, ARM64 = "linux/amd64", "linux/arm64"
TICKS = "i=0; while [ $i -lt 15000 ]; do echo tick $i; sleep 0.2; i=$((i + 1)); done"  # for longer than all tests take


def quote(text):
    return urllib.parse.quote(text, safe="")


class History:
    """The farm, what is in it, and what happened to it.

    steady published once, base twice, app built on it and rebuilt with it, bad failed, slow cancelled by a person, far waits for
    a board that nobody has, gone has an upstream that is away, former and lost (away
    too) have been taken out of farm.yaml, tagged keeps an old version dormant; ticking runs."""

    def __init__(self, farm):
        self.farm = farm
        self.registry, self.git = farm.registry(), farm.git()
        self.repos = {name: self.git.repo(name) for name in ("steady", "base", "app", "bad", "slow", "far", "tagged", "ticking", "quick", "former")}
        self.gone, self.lost = (f"git://127.0.0.1:{free_port()}/{n}.git" for n in ("gone", "lost"))
        self.make_upstreams()
        self.sheafd = farm.coordinator(self.config(), args=())
        self.board = farm.agent(self.sheafd, "board-1", slots=3, labels=["fast"])
        self.sheafd.ctl("boards", "add", "board-2", "--secret-file", farm.path("board-2.secret"))  # never comes
        self.past()

    def dockerfile(self, *lines, base="base"):
        return {"Dockerfile": "\n".join([f"FROM {self.registry.host}/osf/{base}", *lines]) + "\n"}

    def make_upstreams(self):
        r = self.repos
        r["base"].commit(shapes.base_files("1", platforms=[AMD64]))
        r["steady"].commit(shapes.base_files("1", platforms=[AMD64]))
        r["app"].commit(self.dockerfile("RUN echo built >/built"))
        r["bad"].commit(self.dockerfile("RUN echo oh no; printf 'h\\344lt \\303\\244\\n'; exit 1"))
        r["slow"].commit(self.dockerfile(f"RUN {TICKS}", base="steady"))
        r["far"].commit({"Dockerfile": "FROM scratch\nCOPY Dockerfile /\n"})
        r["former"].commit(self.dockerfile("RUN true", base="steady"))
        r["ticking"].commit(self.dockerfile(f"RUN {TICKS}", base="steady"))
        r["quick"].commit(self.dockerfile("RUN for i in 1 2 3 4 5 6 7 8; do echo step $i; sleep 0.5; done"))
        for version in ("1.0.0", "1.1.0"):
            r["tagged"].commit({**self.dockerfile("COPY version /version"), "version": version})
            r["tagged"].tag(f"v{version}")

    def image(self, name, **more):
        return {"source": self.repos[name].url, "ref": "refs/heads/master", "tags": ["latest"], **more}

    def config(self, later=False):
        images = {name: self.image(name) for name in ("steady", "base", "app", "bad", "slow", "quick")}
        images["far"] = self.image("far", platforms=[AMD64, ARM64])
        images["tagged"] = self.image("tagged", ref="refs/tags/v*", tags=["$version", "latest"])
        images["gone"] = {"source": self.gone, "ref": "HEAD", "tags": ["latest"]}
        if later:
            images["ticking"] = self.image("ticking")
        else:
            images["former"] = self.image("former")
            images["lost"] = {"source": self.lost, "ref": "HEAD", "tags": ["latest"]}
        return {"registry": f"{self.registry.host}/osf", "platforms": [AMD64], "images": images}

    def past(self):
        """Makes the history, and has the coordinator load it from its store."""
        d = self.sheafd
        d.wait(lambda: self.cell("slow").get("state") == "running", 300, "slow running")
        d.ctl("cancel", str(d.track("slow")["build"]))
        d.wait(lambda: self.settled("base", "app", "bad", "slow", "tagged@v1.1.0", "quick", "former"), 600, "the first builds")
        self.repos["base"].commit(shapes.base_files("2", platforms=[AMD64]))
        d.poll(self.repos["base"])
        d.wait(lambda: len(d.builds("app")) > 1 and self.settled("base", "app", "bad", "tagged@v1.1.0", "quick"), 600, "the ripple")
        d.poll(self.gone, self.lost)
        d.configure(self.config(later=True))
        d.restart()
        d.wait(lambda: [r["track"] for r in d.get("/v1/status")["running"]] == ["ticking@master"], 300, "ticking running, and nothing else")
        d.wait(lambda: self.job("ticking")["state"] == "running", 60, "its board to say so")

    def track_id(self, name):
        return name if "@" in name else f"{name}@master"

    def cell(self, name, platform=AMD64):
        """One cell of a track; {} before there is one."""
        track = self.sheafd.tracks().get(self.track_id(name)) or {"cells": []}
        return next((c for c in track["cells"] if c["platform"] == platform), {})

    def settled(self, *names):
        tracks = self.sheafd.tracks()
        states = [tracks.get(self.track_id(n), {}).get("state") for n in names]
        return all(s in ("published", "failed", "cancelled") for s in states)

    def job(self, name, platform=AMD64):
        """The job that a track's cell refers to, whole."""
        return self.sheafd.job(self.cell(name, platform)["job"])

    def log_path(self, name):
        return f"/v1/jobs/{quote(self.cell(name)['job'])}/log"
