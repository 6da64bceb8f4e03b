"""Upstreams by every transport, and what becomes of one that is away, empty, or loses a ref."""
import os

import pytest
import shapes

pytestmark = [pytest.mark.root, pytest.mark.slow]


def entry(url, **more):
    return {"source": url, "ref": "refs/heads/master", "tags": ["latest"], **more}


@pytest.mark.timeout(1200)
def test_every_transport(farm):
    registry, git = farm.registry(), farm.git()
    ups = {name: git.repo(name) for name in ("native", "web", "local", "ssh")}
    for up in ups.values():
        up.commit(shapes.base_files("1", platforms=["linux/amd64"]))
    web, ssh = farm.web_git(git), farm.ssh_git(git)
    home = farm.path("home")
    os.makedirs(f"{home}/.ssh", mode=0o700)
    with open(f"{home}/.ssh/known_hosts", "w", encoding="utf-8") as f:
        f.write(ssh.known_hosts())
    farm.env["HOME"] = home
    images = {"native": entry(ups["native"].url), "web": entry(web.url(ups["web"])),
              "local": entry(f"file://{ups['local'].path}"), "ssh": entry(ssh.url(ups["ssh"]))}
    sheafd = farm.coordinator({"registry": f"{registry.host}/osf", "platforms": ["linux/amd64"], "images": images,
                               "sources": {ssh.url(ups["ssh"]): {"ssh-key": ssh.key}}})
    farm.agent(sheafd, "board")
    sheafd.wait_idle(200)
    states = {t["image"]: t["state"] for t in sheafd.tracks().values()}
    assert states == dict.fromkeys(images, "published"), sheafd.get("/v1/sources")
    for name, up in ups.items():
        up.commit(shapes.base_files("2", platforms=["linux/amd64"]))
    sheafd.settle(*(i["source"] for i in images.values()))
    assert all(len(sheafd.builds(name)) == 2 for name in images)


@pytest.mark.timeout(1200)
def test_away_empty_and_deleted(farm):
    registry, git = farm.registry(), farm.git()
    good, empty = git.repo("good"), git.repo("empty")
    good.commit(shapes.base_files("1", platforms=["linux/amd64"]))
    good.commit(shapes.base_files("2", platforms=["linux/amd64"]), branch="v3.20", orphan=True)
    away = f"git://127.0.0.1:{git.port}/not-there.git"
    sheafd = farm.coordinator({"registry": f"{registry.host}/osf", "platforms": ["linux/amd64"], "images": {
        "good": entry(good.url), "empty": entry(empty.url), "away": entry(away),
        "line": {"source": good.url, "ref": "refs/heads/v*", "tags": ["$version"]}}})
    farm.agent(sheafd, "board")
    sheafd.wait(lambda: (sheafd.track("good") or {}).get("state") == "published", 300, "good published")
    sheafd.wait(lambda: "3.20" in registry.tags("osf/line"), 300, "line published")

    def polled():
        """The sources, while none is being looked at: what is away is looked at again every few seconds."""
        sources = {s["url"]: s for s in sheafd.get("/v1/sources")["sources"]}
        return all(s["state"] not in ("new", "polling") for s in sources.values()) and sources
    sources = sheafd.wait(polled, 60, "all polled")
    assert sources[away]["state"] == "failing" and sources[away]["error"]
    assert sources[good.url]["state"] == sources[empty.url]["state"] == "ok"

    # An empty source that gets its first commit is built.
    empty.commit(shapes.base_files("1", platforms=["linux/amd64"]))
    sheafd.poll(empty)
    sheafd.wait(lambda: (sheafd.track("empty") or {}).get("state") == "published", 300, "empty published")

    # A deleted ref stops its track at the second sighting; its tag stays.
    good.delete("refs/heads/v3.20")
    sheafd.poll(good)
    assert sheafd.track("line")["state"] == "published", "one sighting is not enough"
    sheafd.poll(good)
    sheafd.wait(lambda: sheafd.track("line")["state"] == "deleted", 60, "deleted")
    assert "3.20" in registry.tags("osf/line")
