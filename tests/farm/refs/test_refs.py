"""What upstreams do with their refs, without boards: which commit each track counts as."""
import os
import socket
import threading

import pytest

pytestmark = pytest.mark.slow

FILES = {"Dockerfile": "FROM scratch\nCOPY . /\n"}


@pytest.fixture
def watched(farm):
    """(upstream, a function that starts the coordinator with images of {name: ref})."""
    up = farm.git().repo("app")

    def start(refs, source=None, **more):
        return farm.coordinator({"registry": "127.0.0.1:1/osf", "platforms": ["linux/amd64"], "images": {
            name: {"source": source or up.url, "ref": ref, "tags": [f"{name}-$version" if "*" in ref else name]}
            for name, ref in refs.items()}, **more})
    return up, start


def source(sheafd):
    return sheafd.get("/v1/sources")["sources"][0]


def commits(sheafd, image=None):
    return {t["id"]: t["commit"] for t in sheafd.tracks(image).values() if t["state"] not in ("dormant", "deleted")}


def counts(sheafd, track, commit):
    """Waits until a track counts as a commit, and has read it."""
    def there():
        found = sheafd.tracks().get(track, {})
        return found.get("commit") == commit and found["state"] == "building"
    sheafd.wait(there, 120, f"{track} at {commit}")


@pytest.mark.timeout(900)
def test_branches(watched):
    """A fast-forward counts at once; a force-push and an orphan at the second sighting, an unsteady one later."""
    up, start = watched
    first = up.commit(FILES)
    sheafd = start({"app": "refs/heads/master"})
    counts(sheafd, "app@master", first)
    forward = up.commit({"f": "1"})
    sheafd.poll(up)
    counts(sheafd, "app@master", forward)
    up.git("update-ref", "refs/heads/master", first)  # back: a lagging mirror, or a force-push
    sheafd.poll(up)
    assert commits(sheafd) == {"app@master": forward}
    up.commit({**FILES, "f": "2"}, orphan=True)
    sheafd.poll(up)
    assert commits(sheafd) == {"app@master": forward}
    orphan = up.commit({**FILES, "f": "3"}, orphan=True)
    sheafd.poll(up)
    assert commits(sheafd) == {"app@master": forward}
    sheafd.restart()  # a sighting counts across a restart
    sheafd.poll(up)
    counts(sheafd, "app@master", orphan)


@pytest.mark.timeout(900)
def test_a_forced_branch_that_is_pushed_to_before_every_look(watched):
    """What was pushed onto what the last look saw is the second sighting, over a restart too; a mirror that lags and
    catches up is none."""
    up, start = watched
    line = [up.commit(FILES)] + [up.commit({"f": str(n)}) for n in range(3)]
    sheafd = start({"app": "refs/heads/master"})
    counts(sheafd, "app@master", line[3])
    for behind in line[:3]:
        up.git("update-ref", "refs/heads/master", behind)
        sheafd.poll(up)
        assert commits(sheafd) == {"app@master": line[3]}
    up.commit({**FILES, "f": "a"}, orphan=True)
    sheafd.poll(up)
    assert commits(sheafd) == {"app@master": line[3]}
    sheafd.restart()
    on = up.commit({"f": "b"})
    sheafd.poll(up)
    counts(sheafd, "app@master", on)


@pytest.mark.timeout(900)
def test_tags(watched):
    """Annotated tags are their commits; one that moves counts at the second sighting; one of a tree stops no other."""
    up, start = watched
    first = up.commit(FILES)
    up.tag("v1.0.0", annotated=True)
    sheafd = start({"app": "refs/tags/v*", "odd": "refs/tags/odd"})
    counts(sheafd, "app@v1.0.0", first)
    second = up.commit({"f": "1"})
    up.tag("v1.0.0", annotated=True)
    up.tag("odd", up.git("rev-parse", f"{second}^{{tree}}").strip())
    up.tag("v1.1.0")
    sheafd.poll(up)
    counts(sheafd, "app@v1.1.0", second)
    sheafd.poll(up)
    counts(sheafd, "app@v1.0.0", second)
    sheafd.wait(lambda: sheafd.track("odd")["state"] == "blocked", 120, "the tag of a tree")
    assert "refs/tags/odd is not a commit" in sheafd.track("odd")["reason"]["text"]
    # it moves, among others that do
    third = up.commit({"f": "2"})
    up.tag("odd", up.blob(b"x"))
    up.tag("v1.1.0", annotated=True)
    sheafd.poll(up)
    sheafd.poll(up)
    counts(sheafd, "app@v1.1.0", third)
    assert source(sheafd)["state"] == "ok"
    up.tag("odd", third)
    sheafd.poll(up)
    sheafd.poll(up)
    counts(sheafd, "odd@odd", third)


@pytest.mark.timeout(900)
def test_head_alone(watched):
    """An upstream without branches, whose HEAD is a commit."""
    up, start = watched
    first = up.commit(FILES)
    up.git("update-ref", "--no-deref", "HEAD", first)
    up.delete("refs/heads/master")
    sheafd = start({"app": "HEAD"})
    counts(sheafd, "app@HEAD", first)
    second = up.commit({**FILES, "f": "1"}, branch="other", orphan=True)
    up.git("update-ref", "--no-deref", "HEAD", second)
    up.delete("refs/heads/other")
    sheafd.poll(up)
    sheafd.poll(up)
    counts(sheafd, "app@HEAD", second)


@pytest.mark.timeout(900)
def test_deleted_and_back(watched):
    up, start = watched
    first = up.commit(FILES)
    line = up.commit(FILES, branch="v1")
    sheafd = start({"app": "refs/heads/master", "line": "refs/heads/v*"})
    counts(sheafd, "app@master", first)
    counts(sheafd, "line@v1", line)
    up.delete("refs/heads/v1")
    sheafd.poll(up)
    assert sheafd.track("line@v1")["state"] == "building"
    sheafd.poll(up)
    sheafd.wait(lambda: sheafd.track("line@v1")["state"] == "deleted", 120, "deleted")
    back = up.commit({**FILES, "f": "1"}, branch="v1")
    sheafd.poll(up)
    sheafd.poll(up)
    counts(sheafd, "line@v1", back)


@pytest.mark.timeout(900)
def test_emptied_while_nobody_looked(watched):
    """No refs where there were some is an error, after a restart as well; nothing is taken for deleted."""
    up, start = watched
    first = up.commit(FILES)
    sheafd = start({"app": "refs/heads/master"})
    counts(sheafd, "app@master", first)
    sheafd.stop()
    up.delete("refs/heads/master")
    sheafd.start()
    for failures in (1, 2, 3):
        sheafd.poll(up)
        sheafd.wait(lambda: source(sheafd)["failures"] >= failures, 120, "failing")
    assert source(sheafd)["state"] == "failing" and "no refs" in source(sheafd)["error"]
    assert sheafd.track("app@master")["state"] == "building"
    up.git("update-ref", "refs/heads/master", first)
    sheafd.poll(up)
    sheafd.wait(lambda: source(sheafd)["state"] == "ok" and source(sheafd)["failures"] == 0, 120, "back")


@pytest.mark.timeout(900)
def test_away_and_back(watched):
    """Away at the start, empty, there, vanished, back."""
    up, start = watched
    os.rename(up.path, up.path + ".away")
    sheafd = start({"app": "refs/heads/master"})
    sheafd.wait(lambda: source(sheafd)["state"] == "failing", 120, "away")
    os.rename(up.path + ".away", up.path)
    sheafd.poll(up)
    sheafd.wait(lambda: source(sheafd)["state"] == "ok", 120, "empty")
    assert sheafd.tracks() == {} and source(sheafd)["refs"] == 0
    first = up.commit(FILES)
    sheafd.poll(up)
    counts(sheafd, "app@master", first)
    os.rename(up.path, up.path + ".away")
    sheafd.poll(up)
    sheafd.wait(lambda: source(sheafd)["state"] == "failing", 120, "vanished")
    assert source(sheafd)["error"] and sheafd.track("app@master")["state"] == "building"
    os.rename(up.path + ".away", up.path)
    second = up.commit({"f": "1"})
    sheafd.poll(up)
    counts(sheafd, "app@master", second)
    assert source(sheafd)["error"] is None


@pytest.mark.timeout(900)
def test_another_source(watched):
    """farm.yaml names another upstream: nothing counts as deleted before that has been looked at, and it is followed then."""
    up, start = watched
    first = up.commit(FILES)
    sheafd = start({"app": "refs/heads/master"})
    counts(sheafd, "app@master", first)
    moved = up.server.repo("moved")
    os.rename(moved.path, moved.path + ".away")
    sheafd.config["images"]["app"]["source"] = moved.url
    sheafd.configure(sheafd.config)
    sheafd.reload()
    sheafd.wait(lambda: sheafd.track("app@master")["reason"]["code"] == "source-away", 120, "the other one is away")
    sheafd.restart()
    sheafd.wait(lambda: sheafd.track("app@master")["reason"]["code"] == "source-away", 120, "it is away still")
    os.rename(moved.path + ".away", moved.path)
    second = moved.commit({**FILES, "f": "1"})
    sheafd.poll(moved)
    counts(sheafd, "app@master", second)


@pytest.mark.timeout(900)
def test_names_that_are_hostile(watched):
    """A server that advertises names which git itself refuses: they are not there, and the others are."""
    up, start = watched
    first = up.commit(FILES)
    names = ["refs/tags/v1.0.0", "refs/tags/v1.0.1\x1b[31m", "refs/tags/v1.0.2\n", "refs/tags/v1.0.3/../../x", "refs/tags/v1.0.4 x",
             "refs/tags/v1.0." + "5" * 5000, "refs/tags/v1.0.6~1", b"refs/tags/v1.0.7\xff", "refs/tags/v1.0.8"]
    with Advertiser(first, names) as server:
        sheafd = start({"app": "refs/tags/v*"}, source=server.url)
        sheafd.wait(lambda: source(sheafd)["state"] not in ("new", "polling"), 120, "polled")
        assert source(sheafd)["state"] == "ok" and source(sheafd)["refs"] == 2, source(sheafd)
        assert set(sheafd.tracks()) == {"app@v1.0.0", "app@v1.0.8"}


class Advertiser:
    """A git server that lists these names at one commit, and has nothing more to say."""

    def __init__(self, commit, names):
        lines = [commit.encode() + b" " + (n if isinstance(n, bytes) else n.encode()) for n in names]
        lines[0] += b"\0ofs-delta"
        self.text = b"".join(b"%04x" % (len(line) + 5) + line + b"\n" for line in lines) + b"0000"
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"git://127.0.0.1:{self.socket.getsockname()[1]}/x"
        self.thread = threading.Thread(target=self.serve)

    def serve(self):
        while True:
            try:
                peer, _ = self.socket.accept()
            except OSError:
                return
            with peer:
                peer.recv(4096)
                peer.sendall(self.text)
                peer.recv(4096)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join()
