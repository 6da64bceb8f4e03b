"""The rule that nothing may break, with the coordinator killed at every request of a publication."""
import json
import threading

import pytest
from procs import run
from registry_proxy import RegistryProxy

pytestmark = [pytest.mark.root, pytest.mark.slow]

PLATFORMS = ["linux/amd64", "linux/arm64"]
TAGS = ["1.0", "latest"]
# A publication begins by keeping what was built.
BEGIN = r"HEAD /v2/osf/app/manifests/_sheaf"


def platforms(index):
    return sorted(f"{d['platform']['os']}/{d['platform']['architecture']}" for d in index["manifests"])


class World:
    """A farm of one image for two platforms, whose registry is behind a proxy."""

    def __init__(self, farm, limit="4s", **more):
        self.registry, git = farm.registry(), farm.git()
        self.proxy = farm.add(RegistryProxy(self.registry))
        self.app = git.repo("app")
        self.push(0)
        self.sheafd = farm.coordinator({
            "registry": f"{self.proxy.host}/osf", "platforms": PLATFORMS, "registry-timeout": limit, **more, "images": {
                "app": {"source": self.app.url, "ref": "refs/heads/master", "tags": TAGS, "emulated": True}}})
        farm.agent(self.sheafd, "amd64-1")
        farm.agent(self.sheafd, "arm64-1", emulated=["linux/arm64"])
        self.sheafd.wait_idle(120)
        self.check()

    def push(self, n):
        self.n = n
        self.app.commit({"Dockerfile": "FROM scratch\nCOPY n /n\n", "n": f"{n}\n"})

    def raw(self, reference):
        """As skopeo sees it, from the registry itself."""
        done = run(["skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{self.registry.host}/osf/app{reference}"])
        return json.loads(done.stdout)

    def check(self):
        """Whatever a tag names now is whole, and so was everything that one ever named."""
        for tag in TAGS:
            index = self.raw(f":{tag}")
            assert platforms(index) == PLATFORMS
            for child in index["manifests"]:
                assert self.raw(f"@{child['digest']}")["layers"]
        for repository, tag, body in self.proxy.tag_puts:
            document = json.loads(body)
            if "manifests" in document:
                assert repository == "osf/app" and platforms(document) == PLATFORMS, tag
            else:
                assert tag.endswith(("-amd64", "-arm64")) or tag.startswith("_sheaf"), tag

    def check_published(self):
        """The newest push is what all tags name; it was built once, whatever happened meanwhile."""
        self.check()
        sheafd = self.sheafd
        assert sheafd.track("app")["state"] == "published"
        assert len({self.registry.digest("osf/app", tag) for tag in TAGS}) == 1
        for child in self.raw(":latest")["manifests"]:
            for tag in TAGS:
                assert self.registry.digest("osf/app", f"{tag}-{child['platform']['architecture']}") == child["digest"]
        builds = sheafd.builds("app")
        assert len(builds) == self.n + 1
        for job in builds[-1]["jobs"]:
            job = sheafd.job(job["job"])
            assert job["state"] == "succeeded" and len(job["attempts"]) == 1, job


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("forward", [False, True], ids=["stalled", "answer_lost"])
def test_killed_at_every_request(farm, forward):
    world = World(farm)
    sheafd, proxy, n = world.sheafd, world.proxy, 0
    while True:
        n += 1
        proxy.catch(n, BEGIN, forward)
        world.push(n)
        sheafd.poll(world.app)
        sheafd.wait(lambda: proxy.caught.is_set() or (proxy.seen and sheafd.idle()), 120, f"request {n}")
        if not proxy.caught.is_set():
            break
        sheafd.kill()
        proxy.release()
        print(f"request {n}: {proxy.what}")
        world.check()
        sheafd.start()
        sheafd.wait_idle(120)
        world.check_published()
    proxy.release()
    world.check_published()
    assert n > 15, "every step of a publication was met"


@pytest.mark.timeout(300)
def test_a_put_that_lands_after_the_restart(farm):
    """It was on its way when the coordinator was killed, and arrives when the next version has long been pushed."""
    world = World(farm, limit="20s")
    sheafd, proxy = world.sheafd, world.proxy
    proxy.late = True
    proxy.catch(1, "PUT /v2/osf/app/manifests/latest$")
    world.push(1)
    sheafd.poll(world.app)
    sheafd.wait(proxy.caught.is_set, 120, "the PUT of latest")
    sheafd.kill()
    # Well before it can land no more, which the coordinator reckons from its start.
    threading.Timer(10, proxy.release).start()
    sheafd.start()
    world.push(2)
    sheafd.poll(world.app)
    sheafd.wait(proxy.delivered.is_set, 60, "the late PUT")
    sheafd.wait_idle(120)
    world.check_published()


@pytest.mark.timeout(300)
def test_a_put_that_lands_after_503(farm):
    """A registry in trouble answers 503, and stores the tag all the same, when the next version has long been pushed."""
    world = World(farm, limit="20s")
    sheafd, proxy = world.sheafd, world.proxy
    proxy.late, proxy.status = True, 503
    proxy.catch(1, "PUT /v2/osf/app/manifests/latest$")
    world.push(1)
    sheafd.poll(world.app)
    sheafd.wait(proxy.caught.is_set, 120, "the PUT of latest")
    threading.Timer(10, proxy.release).start()
    world.push(2)
    sheafd.poll(world.app)
    sheafd.wait(proxy.delivered.is_set, 60, "the late PUT")
    sheafd.wait_idle(120)
    world.check_published()


@pytest.mark.timeout(600)
def test_a_retention_that_lands_after_the_restart(farm):
    """A child was to be kept when the coordinator was killed; the PUT arrives when that child is needed no more."""
    world = World(farm, limit="10m", keep=2)
    sheafd, proxy = world.sheafd, world.proxy
    proxy.late = True
    proxy.catch(1, r"PUT /v2/osf/app/manifests/_sheaf\..*\.amd64\.")
    world.push(1)
    sheafd.poll(world.app)
    sheafd.wait(proxy.caught.is_set, 120, "the PUT of a child")
    place, late = proxy.what.rsplit("/", 1)[1], None
    sheafd.kill()
    sheafd.start()
    for n in range(2, 6):
        if n == 5:
            late = world.registry.digest("osf/app", place)
            proxy.release()
            sheafd.wait(proxy.delivered.is_set, 60, "the late PUT")
            assert world.registry.digest("osf/app", place) == late, "nothing else has that place yet"
        world.push(n)
        sheafd.settle(world.app)
    world.check_published()
    tagged = {world.registry.digest("osf/app", tag) for tag in world.registry.tags("osf/app")}
    kept = [p["digest"] for p in sheafd.track("app")["publications"]]
    assert len(kept) == 2
    for index in kept:
        assert {index, *(child["digest"] for child in world.raw(f"@{index}")["manifests"])} <= tagged
