"""The coordinator as a process: another one beside it, bad files, signals at bad moments, no room on its disk."""
import http.client
import os
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request

import pytest
import shapes
from farm import Coordinator
from procs import Failed, run, wait_for

pytestmark = [pytest.mark.root, pytest.mark.slow]


def one_image(farm, extra="", **more):
    """A farm of one image that one board builds; the registry, the upstream and farm.yaml."""
    registry, git = farm.registry(), farm.git()
    app = git.repo("app")
    app.commit(shapes.base_files("1", platforms=["linux/amd64"]))
    if extra:
        app.commit({"Dockerfile": f"FROM scratch\nARG TARGETARCH\nADD root-$TARGETARCH.tar.gz /\n{extra}"})
    return registry, app, {"registry": f"{registry.host}/osf", "platforms": ["linux/amd64"], "images": {
        "app": {"source": app.url, "ref": "refs/heads/master", "tags": ["latest"]}}, **more}


def accepted(sheafd):
    with open(os.path.join(sheafd.state, "farm.yaml.accepted"), encoding="utf-8") as f:
        return f.read()


@pytest.mark.timeout(400)
def test_two_on_one_state_folder(farm):
    """The second says why it ends, and the first has noticed nothing."""
    _, _, config = one_image(farm)
    first = farm.coordinator(config)
    kept = accepted(first)
    second = Coordinator(farm, {**config, "images": {}}, name="second", start=False)
    second.state = first.state
    with pytest.raises(Failed, match="another coordinator has this store"):
        second.start()
    assert accepted(first) == kept
    first.ctl("status")
    second.socket = first.socket
    with pytest.raises(Failed):
        second.start()
    first.ctl("status")


@pytest.mark.timeout(400)
def test_bad_files(farm):
    """A reload with one changes nothing, and a start with one runs on the last that was good in every respect."""
    registry, _, config = one_image(farm)
    sheafd = farm.coordinator(config)
    kept = accepted(sheafd)

    def says(text):
        sheafd.wait(lambda: text in sheafd.process.output(), 60, text)

    sheafd.configure({**config, "registries": {registry.host: {"username": "u", "password-file": farm.path("nothing")}}})
    sheafd.reload()
    says("nothing is changed: registry")
    with open(sheafd.file, "w", encoding="utf-8") as f:
        f.write("registry: [\n")
    sheafd.reload()
    says("nothing is changed: " + sheafd.file)
    assert accepted(sheafd) == kept and "app" in str(sheafd.get("/v1/images"))
    sheafd.restart()
    says("running on the last accepted farm.yaml")
    assert "app" in str(sheafd.get("/v1/images"))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_more_signals_while_it_stops(farm, number):
    """With somebody at the event stream, so that it takes a moment."""
    _, _, config = one_image(farm)
    sheafd = farm.coordinator(config)
    for _ in range(5):
        stream = urllib.request.urlopen(sheafd.status_url + "/v1/events", timeout=30)
        child = sheafd.process.child
        child.send_signal(signal.SIGTERM)
        while child.poll() is None:
            child.send_signal(number)
            time.sleep(0.001)
        assert child.returncode == 0, sheafd.process.output()[-3000:]
        stream.close()
        sheafd.start()


@pytest.mark.timeout(600)
def test_stopped_at_any_time(farm):
    """With a board and builds under way: it ends well, and nothing is built twice."""
    registry, app, config = one_image(farm)
    sheafd = farm.coordinator(config)
    farm.agent(sheafd, "board")
    sheafd.wait_idle(120)
    for i in range(12):
        app.commit({"n": f"{i}\n"})
        sheafd.poll(app)
        time.sleep(i * 0.15)
        assert sheafd.process.stop(signal.SIGTERM) == 0
        sheafd.start()
    sheafd.settle(app)
    assert sheafd.track("app")["state"] == "published" and registry.digest("osf/app", "latest")
    for job in sheafd.jobs("app"):
        # One that was granted as the coordinator ended, and that the board was never told of, has not begun.
        assert len([a for a in job["attempts"] if a["started_at"]]) <= 1, job


class SmallDisk:
    """The state folder on a file system of its own, which can be filled."""

    def __init__(self, farm, folder, size):
        self.folder, self.filler = folder, os.path.join(folder, "filler")
        os.makedirs(folder)
        run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "tmpfs", folder])
        farm.add(self)
        # Stopped after who uses it.
        farm.parts.remove(self)
        farm.parts.insert(0, self)

    def fill(self):
        with open(self.filler, "ab", buffering=0) as f:
            for piece in (1 << 20, 4096, 1):
                try:
                    while f.write(bytes(piece)) == piece:
                        pass
                except OSError:
                    pass

    def empty(self):
        os.unlink(self.filler)

    def stop(self):
        run(["umount", self.folder], check=False)


def post(sheafd, path):
    """By the socket: (status, Retry-After)."""
    connection = http.client.HTTPConnection("localhost", timeout=30)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(sheafd.socket)
    connection.request("POST", path, body=b"{}")
    answer = connection.getresponse()
    connection.close()
    return answer.status, answer.getheader("Retry-After")


@pytest.mark.timeout(600)
def test_no_room(farm):
    """The store has none while a job runs, for longer than a lease's term: changes are refused, reads are answered with
    what is committed, and afterwards all goes on as if the time had stood still."""
    registry, app, config = one_image(farm, "RUN for i in $(busybox seq 18); do echo line $i; sleep 1; done\n",
                                      **{"lease-term": "10s", "poll": "5s"})
    disk = SmallDisk(farm, farm.path("sheafd"), "48m")
    sheafd = farm.coordinator(config)
    farm.agent(sheafd, "board")
    sheafd.wait(lambda: any("line 2" in sheafd.job_log(j["key"]) for j in sheafd.jobs("app")), 120, "the job runs")
    disk.fill()

    def stalled():
        # What changes the store finds out that there is no room; who asked for it waits for that.
        subprocess.Popen(["true"]).wait()
        threading.Thread(target=lambda: sheafd.ctl("hold", "app", check=False, timeout=120), daemon=True).start()
        return sheafd.get("/v1/status")["stalled"]

    wait_for(stalled, 120, "the store to stall", every=1)
    assert post(sheafd, "/v1/freeze") == (503, "5")
    refused = sheafd.ctl("freeze", check=False)
    assert refused.returncode != 0 and "full" in refused.stderr
    # The hold that found it out is decided and not committed: nobody sees it.
    seen = [sheafd.get(path) for path in ("/v1/images", "/v1/tracks", "/v1/boards", "/v1/sources", "/v1/builds", "/v1/actions")]
    assert seen[0]["images"] and seen[3]["sources"] and seen[5]["actions"] == []
    track, = seen[1]["tracks"]
    assert track["hold"] is None and track["state"] == "building", track
    assert sheafd.get(f"/v1/tracks/{track['id']}")["hold"] is None
    board, = seen[2]["boards"]
    assert board["state"] == "online" and len(board["running"]) == 1 and board["disk_free"], board
    job, = seen[4]["builds"][0]["jobs"]
    assert job["state"] == "running" and "line 2" in sheafd.job_log(job["job"])
    # What would be is foretold from that, too.
    foretold = sheafd.ctl_json("what-if", "board", "board", "--lost")
    assert [j["track"] for j in foretold["interrupted"]] == [track["id"]] and not foretold["builds"], foretold
    sheafd.wait(lambda: sheafd.get("/v1/sources")["sources"][0]["state"] != "polling", 120, "a poll to end")
    polls = app.server.requests()
    sheafd.reload()
    time.sleep(25)
    assert polls and app.server.requests() == polls, "upstream is asked for something new"
    assert "reloaded" not in sheafd.process.output(), "that is an event, too"
    assert sheafd.get("/v1/tracks") == seen[1] and sheafd.get("/v1/status")["stalled"]
    disk.empty()
    sheafd.wait(lambda: not sheafd.get("/v1/status")["stalled"], 120, "room again")
    sheafd.wait(lambda: sheafd.track("app")["hold"], 120, "the hold to be seen")
    sheafd.wait(lambda: "reloaded" in sheafd.process.output(), 120, "the reload that waited")
    sheafd.wait(lambda: app.server.requests() > polls, 120, "upstream to be asked again")
    sheafd.ctl("release", "app")
    sheafd.wait_idle(200)
    assert sheafd.track("app")["state"] == "published" and registry.digest("osf/app", "latest")
    job, = sheafd.jobs("app")
    assert [a["state"] for a in job["attempts"]] == ["succeeded"]
    log = sheafd.job_log(job["key"])
    assert all(log.count(f"line {i}\n") == 1 for i in range(1, 19)), log
    # And a start with no room at all is a start.
    disk.fill()
    sheafd.kill()
    sheafd.start()
    assert sheafd.track("app")["state"] == "published"
    disk.empty()
    sheafd.wait(lambda: not sheafd.get("/v1/status")["stalled"], 120, "room again")
    sheafd.settle(app)
