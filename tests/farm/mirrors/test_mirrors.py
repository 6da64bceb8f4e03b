"""The coordinator's copies of upstreams are lost, broken, or in somebody's hands: builds go on."""
import contextlib
import fcntl
import glob
import gzip
import hashlib
import os
import shutil

import oci
import pytest
import shapes

pytestmark = [pytest.mark.root, pytest.mark.slow]


def tiny(text, dockerfile="FROM scratch\nADD it.tar.gz /\n"):
    """The smallest image's context."""
    tar = shapes.TarMaker(compress=False).add("it", text.encode()).bytes()
    return {"Dockerfile": dockerfile, "it.tar.gz": gzip.compress(tar, 1, mtime=0)}


def one_image(farm, files, **more):
    """A coordinator with one image, published once by one board."""
    registry, up = farm.registry(), farm.git().repo("app")
    up.commit(files)
    sheafd = farm.coordinator({"registry": f"{registry.host}/osf", "platforms": ["linux/amd64"], "images": {
        "app": {"source": up.url, "ref": "refs/heads/master", "tags": ["latest"], **more}}})
    agent = farm.agent(sheafd, "board")
    sheafd.wait_idle()
    assert sheafd.track("app")["state"] == "published"
    return registry, up, sheafd, agent


def mirror(sheafd, up):
    return os.path.join(sheafd.state, "mirrors", hashlib.sha256(up.url.encode()).hexdigest()[:40])


def forget_contexts(sheafd):
    for path in glob.glob(f"{sheafd.state}/contexts/*.tar"):
        os.unlink(path)


def content(registry, path="it"):
    return oci.file_content(registry, "osf/app", "latest", "linux/amd64", path).decode()


def lose(path):
    shutil.rmtree(path)


def lose_packs(path):
    for pack in glob.glob(f"{path}/objects/pack/*"):
        os.unlink(pack)


def overwrite_packs(path):
    for pack in glob.glob(f"{path}/objects/pack/*.pack"):
        size = os.path.getsize(pack)
        os.chmod(pack, 0o600)
        with open(pack, "r+b") as f:
            f.seek(12)
            f.write(os.urandom(size - 12))


def shorten_packs(path):
    for pack in glob.glob(f"{path}/objects/pack/*.pack"):
        os.chmod(pack, 0o600)
        os.truncate(pack, 40)


def be_a_file(path):
    shutil.rmtree(path)
    with open(path, "w", encoding="ascii") as f:
        f.write("no repository")


@pytest.mark.timeout(900)
@pytest.mark.parametrize("harm", [lose, lose_packs, overwrite_packs, shorten_packs, be_a_file])
def test_a_mirror_is_lost(farm, harm):
    """What upstream pushes next is built; so is what was built before, whose context is gone as well."""
    registry, up, sheafd, _ = one_image(farm, tiny("1"))
    harm(mirror(sheafd, up))
    up.commit(tiny("2"))
    sheafd.settle(up)
    assert content(registry) == "2"
    harm(mirror(sheafd, up))
    forget_contexts(sheafd)
    sheafd.restart()  # one that is made anew may be so again
    sheafd.ctl("rebuild", "app@master", "--no-cache")
    sheafd.wait(lambda: len(sheafd.builds("app")) == 3 and sheafd.idle(), 100, "rebuilt")
    assert sheafd.track("app")["state"] == "published", sheafd.track("app")


@pytest.mark.timeout(900)
def test_the_commit_is_gone_upstream(farm):
    """A job waits for a board while its commit is replaced by another with the same files, and the mirror is lost."""
    registry, up = farm.registry(), farm.git().repo("app")
    first = up.commit({**{f"app/{name}": data for name, data in tiny("1").items()}, "README": "one"})
    sheafd = farm.coordinator({"registry": f"{registry.host}/osf", "platforms": ["linux/amd64"], "images": {
        "app": {"source": up.url, "ref": "refs/heads/master", "context": "app", "tags": ["latest"]}}})
    sheafd.wait(lambda: (sheafd.track("app") or {}).get("state") == "building", 60, "a job waits")
    second = up.commit({**{f"app/{name}": data for name, data in tiny("1").items()}, "README": "two"}, orphan=True, replace=True)
    up.git("reflog", "expire", "--expire=now", "--all")
    up.git("gc", "--quiet", "--prune=now")
    assert first not in up.git("rev-list", "--all", "--objects")
    for _ in range(2):
        sheafd.poll(up)

    def read():
        """The second commit counts, and has been read: nobody works in the mirror."""
        track = sheafd.track("app")
        return track["commit"] == second and track["state"] == "building"
    sheafd.wait(read, 60, "the second commit counts")
    shutil.rmtree(mirror(sheafd, up))
    farm.agent(sheafd, "board")
    sheafd.wait_idle()
    assert content(registry) == "1" and len(sheafd.builds("app")) == 1


@pytest.mark.timeout(900)
def test_a_dockerfile_that_is_left_out_of_the_context(farm):
    """It is in the tar all the same, and a changed one is another tar though the context's id is the same."""
    files = tiny("1", "FROM scratch\nADD it.tar.gz /\nENV WHAT=first\n")
    registry, up, sheafd, _ = one_image(farm, {**files, ".dockerignore": "Dockerfile\n.dockerignore\n"})
    up.commit({"Dockerfile": "FROM scratch\nADD it.tar.gz /other/\nENV WHAT=second\n"})
    sheafd.settle(up)
    assert content(registry, "other/it") == "1"


@contextlib.contextmanager
def held(sheafd, up):
    """Keeps the workers from fetching into the mirror, as a slow server would."""
    with open(mirror(sheafd, up) + ".fetch", "a", encoding="ascii") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield


def wait_for_fetch(sheafd):
    """Waits until a worker wants to fetch into a mirror that is held: the listing has ended, its sighting is being made."""
    def waiting():
        with open("/proc/locks", encoding="ascii") as f:
            pids = [line.split()[5] for line in f if "-> FLOCK" in line]
        return [pid for pid in pids if parent(pid) == sheafd.process.pid]
    sheafd.wait(waiting, 60, "a fetch that is held")


def parent(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
            return int(f.read().rpartition(")")[2].split()[1])
    except OSError:
        return None


@pytest.mark.timeout(900)
def test_a_source_goes_while_it_is_read(farm):
    """It is taken from farm.yaml with an inspection and a sighting under way, comes back, and is stopped in the middle."""
    _, up, sheafd, _ = one_image(farm, tiny("1"))
    config, rest = sheafd.config, {**sheafd.config, "images": {}}
    with held(sheafd, up):
        up.commit(tiny("2"))
        sheafd.ctl("poll", up.url)
        wait_for_fetch(sheafd)
        sheafd.configure(rest)
        sheafd.reload()
        sheafd.wait(lambda: not sheafd.get("/v1/sources")["sources"], 30, "no sources")
        sheafd.configure(config)
        sheafd.reload()
        sheafd.wait(lambda: sheafd.get("/v1/sources")["sources"], 30, "a source")
    sheafd.settle(up)
    assert len(sheafd.builds("app")) == 2 and sheafd.track("app")["state"] == "published"
    with held(sheafd, up):
        up.commit(tiny("3"))
        sheafd.ctl("poll", up.url)
        wait_for_fetch(sheafd)
        assert sheafd.stop() == 0
    open(f"{sheafd.state}/contexts/half.tar.tmp", "w", encoding="ascii").close()
    sheafd.start()
    sheafd.settle(up)
    assert len(sheafd.builds("app")) == 3 and os.path.isdir(mirror(sheafd, up))
    sheafd.wait(lambda: not os.path.exists(f"{sheafd.state}/contexts/half.tar.tmp"), 60, "what was left half made to be gone")
    # a restart without it gives the disk back
    sheafd.configure(rest)
    sheafd.restart()
    sheafd.wait(lambda: os.listdir(f"{sheafd.state}/mirrors") == [], 30, "no mirrors")


@pytest.mark.timeout(900)
def test_a_new_pattern_while_a_sighting_is_made(farm):
    """A sighting by the old patterns is not taken for the first of the new: of many tags the newest alone is built."""
    _, up, sheafd, _ = one_image(farm, tiny("1"))
    for i in range(6):
        up.tag(f"v1.{i}.0", annotated=i % 2)
    config = sheafd.config
    images = {**config["images"], "line": {"source": up.url, "ref": "refs/tags/v*", "tags": ["$version"]}}
    with held(sheafd, up):
        up.commit(tiny("2"))
        sheafd.ctl("poll", up.url)
        wait_for_fetch(sheafd)
        sheafd.configure({**config, "images": images})
        sheafd.reload()
        sheafd.wait(lambda: len(sheafd.get("/v1/images")["images"]) == 2, 30, "two images")
    sheafd.settle(up)
    states = {t["id"]: t["state"] for t in sheafd.tracks("line").values()}
    assert states == {**{f"line@v1.{i}.0": "dormant" for i in range(5)}, "line@v1.5.0": "published"}
    # and an image whose pattern is known already is found at once
    sheafd.configure({**config, "images": {**images, "twin": {**images["line"], "tags": ["twin-$version"]}}})
    sheafd.reload()
    sheafd.wait(lambda: sheafd.tracks("twin") and sheafd.idle(), 60, "twin")
    assert [t for t, s in sheafd.tracks("twin").items() if s["state"] == "published"] == ["twin@v1.5.0"]
