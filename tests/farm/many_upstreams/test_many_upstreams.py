"""Scenario 6: two hundred upstreams on one coordinator; three change; exactly those build."""
import gzip
import time

import pytest
import shapes

pytestmark = [pytest.mark.root, pytest.mark.slow]

COUNT = 200


def tiny(text):
    """The smallest image's context."""
    tar = shapes.TarMaker(compress=False).add("it", text.encode()).bytes()
    return {"Dockerfile": "FROM scratch\nADD it.tar.gz /\n", "it.tar.gz": gzip.compress(tar, 1, mtime=0)}


@pytest.mark.timeout(1200)
def test_two_hundred_upstreams(farm):
    registry, git = farm.registry(), farm.git()
    ups = []
    for i in range(COUNT):
        ups.append(git.repo(f"up{i:03}"))
        ups[-1].commit(tiny(f"{i}\n"))
    sheafd = farm.coordinator({"registry": f"{registry.host}/osf", "platforms": ["linux/amd64"], "images": {
        up.name: {"source": up.url, "ref": "refs/heads/master", "tags": ["latest"]} for up in ups}})
    farm.agent(sheafd, "amd64-1", slots=4)
    sheafd.wait_idle(900)
    assert {t["state"] for t in sheafd.tracks().values()} == {"published"}
    mark = max(b["id"] for b in sheafd.builds())

    for i in (7, 70, 170):
        ups[i].commit(tiny(f"{i} again\n"))
    begun = time.monotonic()
    for up in ups:
        sheafd.ctl("poll", up.url)
    sheafd.settle(ups[-1], ups[7], ups[70], ups[170])
    print(f"{COUNT} polls and 3 builds in {time.monotonic() - begun:.1f} s")
    assert sorted(b["image"] for b in sheafd.builds() if b["id"] > mark) == ["up007", "up070", "up170"]
    assert sheafd.get("/v1/status")["sources"].get("failing", 0) == 0


@pytest.mark.timeout(300)
def test_images_of_one_source_poll_it_once(farm):
    registry, git = farm.registry(), farm.git()
    up = git.repo("both")
    up.commit({f"{name}/{file}": data for name in ("a", "b") for file, data in tiny(name).items()})
    sheafd = farm.coordinator({"registry": f"{registry.host}/osf", "platforms": ["linux/amd64"], "images": {
        name: {"source": up.url, "ref": "refs/heads/master", "context": name, "tags": ["latest"]} for name in ("a", "b")}})
    farm.agent(sheafd, "amd64-1")
    sheafd.wait_idle(200)
    assert len(sheafd.get("/v1/sources")["sources"]) == 1
    mark = max(b["id"] for b in sheafd.builds())
    # A change in one folder is a change of one image.
    up.commit({f"b/{file}": data for file, data in tiny("changed").items()})
    sheafd.settle(up)
    assert [b["image"] for b in sheafd.builds() if b["id"] > mark] == ["b"]
