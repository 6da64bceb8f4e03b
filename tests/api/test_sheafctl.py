"""sheafctl against a real coordinator with a past: what each command says, with --json too, and how it exits."""
import json
import os
import subprocess
import time

import pytest
from api_schema import check
from farm import CTL
from history import AMD64, ARM64
from procs import run

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(300)]


def ctl(history, *args, status=0):
    """Runs sheafctl; returns what it says on standard output, or on standard error where it fails."""
    done = history.sheafd.ctl(*args, check=False)
    assert done.returncode == status, (args, done.returncode, done.stdout, done.stderr)
    if status:
        assert done.stderr.startswith("sheafctl: "), done.stderr
    return done.stderr if status else done.stdout


def as_json(history, name, *args, status=0):
    """The same with --json: one document, of this schema."""
    done = history.sheafd.ctl("--json", *args, check=False)
    assert done.returncode == status, (args, done.returncode, done.stderr)
    return check(json.loads(done.stdout), name) if name else json.loads(done.stdout)


def rows(text, first):
    """The words of each line of the table that begins with `first`."""
    lines = text.split("\n")
    start = next(i for i, line in enumerate(lines) if line.split()[:1] == [first])
    end = next((i for i in range(start, len(lines)) if not lines[i]), len(lines))
    return [line.split() for line in lines[start + 1:end]]


def test_status(history):
    text = ctl(history, "status")
    table = {row[0]: row[1:] for row in rows(text, "TRACK")}
    assert table["base@master"][:2] == ["published", "ok"] and "latest" in table["base@master"]
    assert table["bad@master"][:2] == ["failed", "failed"] and table["slow@master"][0] == "cancelled"
    assert table["ticking@master"][:2] == ["building", "running"] and table["tagged@v1.0.0"][0] == "dormant"
    assert table["tagged@v1.1.0"][2:4] == ["1.1.0", "latest"] and table["tagged@v1.0.0"][2:4] == ["(1.0.0)", "(latest)"]
    assert "boards 1 of" in text and "bad@master failed: linux/amd64: recipe" in text
    assert "far@master building: linux/arm64:" in text and "source git://" in text and "refused" in text
    assert ["ticking@master", "amd64", "board-1"] == rows(text, "RUNNING")[0][:3]
    status = as_json(history, "status", "status")
    assert status["tracks"]["failed"] == 1 and [r["track"] for r in status["running"]] == ["ticking@master"]
    assert {a["kind"] for a in status["attention"]} >= {"track", "source"}


def test_tracks(history):
    assert [r[0] for r in rows(ctl(history, "tracks", "tagged"), "TRACK")] == ["tagged@v1.0.0", "tagged@v1.1.0"]
    assert {t["image"] for t in as_json(history, "tracks", "tracks", "tagged")["tracks"]} == {"tagged"}
    assert len(as_json(history, "tracks", "tracks")["tracks"]) == len(history.sheafd.tracks())
    assert "nobody" in ctl(history, "tracks", "nobody", status=3)


def test_builds(history):
    text = ctl(history, "builds", "--track", "base@master")
    assert [r[1:3] for r in rows(text, "BUILD")] == [["base@master", "published"]] * 2
    page = as_json(history, "builds", "builds", "-n", "2")
    older = as_json(history, "builds", "builds", "-n", "2", "--before", str(page["next"]))
    assert len(page["builds"]) == 2 and older["builds"][0]["id"] < page["builds"][1]["id"]
    assert f"--before {page['next']}" in ctl(history, "builds", "-n", "2")
    assert ctl(history, "builds", "--track", "nobody@here", status=3)


def test_show(history):
    build = history.sheafd.builds("bad")[-1]["id"]
    text = ctl(history, "show", str(build))
    assert "failed" in text and "board-1" in text and "exit status 1" in text
    assert as_json(history, "build_whole", "show", str(build))["id"] == build
    text = ctl(history, "show", "app")
    assert "osf/base" in text and "published" in text and len(rows(text, "BUILD")) == 2
    assert as_json(history, "track_whole", "show", "app@master")["image"] == "app"
    assert "app@master" in ctl(history, "show", "base")
    key = history.cell("bad")["job"]
    for args in ((key,), (str(build), AMD64), ("bad", "amd64"), ("bad", "--platform", "amd64")):
        text = ctl(history, "show", *args)
        assert key in text and len([r for r in rows(text, "ATTEMPT") if r[2] == "failed"]) == 2 and rows(text, "INPUT")
        assert as_json(history, "job_whole", "show", *args)["key"] == key
    assert "far@master" in ctl(history, "show", "far")
    assert "no-board" in json.dumps(as_json(history, "job_whole", "show", "far", "arm64"))
    assert "tagged@v1.1.0" in ctl(history, "show", "tagged", status=2), "which of two is meant"
    for what in ("nobody", "999999", "sha256:00"):
        assert what in ctl(history, "show", what, status=3)


def test_boards_and_sources(history):
    board = next(r for r in rows(ctl(history, "boards"), "BOARD") if r[0] == "board-1")
    assert board[1] == "online" and "amd64" in board
    assert {b["name"] for b in as_json(history, "boards", "boards")["boards"]} >= {"board-1", "board-2"}
    text = ctl(history, "sources")
    assert history.repos["base"].url in text and "refused" in text
    assert as_json(history, "sources", "sources")["sources"]


def test_boards_add(history):
    path = history.farm.path("made.secret")
    assert path in ctl(history, "boards", "add", "made", "--file", path)
    with open(path, encoding="utf-8") as f:
        first = f.read()
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert as_json(history, None, "boards", "add", "made", "--file", path) == {"name": "made", "file": path}
    with open(path, encoding="utf-8") as f:
        assert f.read() != first, "a new secret"
    assert len(as_json(history, "board_secret", "boards", "add", "made")["secret"]) == 64
    assert "letters, digits" in ctl(history, "boards", "add", "a b", status=1)
    assert "No such file" in ctl(history, "boards", "add", "made", "--file", "/nowhere/x", status=1)


def test_logs(history):
    assert "oh no" in history.sheafd.ctl("logs", "bad", text=False).stdout.decode(errors="replace")
    job = as_json(history, None, "logs", "app")
    assert "STEP" in job["log"] and job["log_attempt"] == job["attempts"][-1]["id"] and job["state"] == "succeeded"
    bad = as_json(history, None, "logs", "bad")
    assert "oh no" in bad["log"] and "h?lt ä" in bad["log"], "bytes that are no text are marked"
    first = history.job("bad")["attempts"][0]["id"]
    assert as_json(history, None, "logs", "bad", "--attempt", str(first))["log_attempt"] == first
    assert "attempts" in ctl(history, "logs", "bad", "--attempt", "99999", status=3)
    assert "number" in ctl(history, "logs", "bad", "--attempt", "x", status=2)
    assert "no log yet" in ctl(history, "logs", "far", "arm64", status=3)
    assert "sha256:00" in ctl(history, "logs", "sha256:00", status=3)


def test_logs_followed_to_the_end(history):
    assert "built" in ctl(history, "show", "app") and "STEP" in ctl(history, "logs", "-f", "app")
    followed = history.sheafd.ctl("logs", "-f", "bad", check=False, text=False)
    assert followed.returncode == 1 and b"oh no" in followed.stdout and b"failed: recipe" in followed.stderr
    assert as_json(history, None, "logs", "-f", "bad", status=1)["state"] == "failed"
    history.sheafd.ctl("rebuild", "--no-cache", "quick")
    log = ctl(history, "logs", "-f", "quick")
    assert [line for line in log.split("\n") if line.startswith("step ")] == [f"step {i}" for i in range(1, 9)]
    assert history.cell("quick")["state"] == "succeeded", "it was followed to its end"


def test_rebuild(history):
    last = history.sheafd.builds("app")[-1]["id"]
    answer = as_json(history, "rebuild", "rebuild", "app")
    assert answer["build"] > last and answer["track"] == "app@master" and answer["waits"] is None
    build = history.sheafd.get(f"/v1/builds/{answer['build']}")
    assert build["class"] == "person" and build["why"]["code"] == "rebuild-asked"
    history.sheafd.wait(lambda: history.settled("app"), 120, "app built again")
    assert history.sheafd.get(f"/v1/builds/{answer['build']}")["state"] == "unchanged"
    assert f"build {answer['build'] + 1}" in ctl(history, "rebuild", "--platform", AMD64, "app")
    history.sheafd.wait(lambda: history.settled("app"), 120, "app built again")
    assert "write one of linux/amd64" in ctl(history, "rebuild", "--platform", ARM64, "app", status=1)
    assert "linux/arm64" in ctl(history, "rebuild", "--platform", "arm99", "app", status=1)
    assert "nobody" in ctl(history, "rebuild", "nobody", status=3)


def test_a_rebuild_that_cannot_begin_says_why(history):
    history.repos["app"].commit({"Dockerfile": f"FROM {history.registry.host}/osf/base:none\n"})
    history.sheafd.poll(history.repos["app"])
    history.sheafd.wait(lambda: history.cell("app")["state"] == "blocked", 120, "app blocked")
    answer = as_json(history, "rebuild", "rebuild", "app")
    assert answer["build"] is None and answer["waits"]["code"] == "base-missing", answer
    assert "not begun: " in ctl(history, "rebuild", "app")
    history.repos["app"].commit(history.dockerfile("RUN echo built >/built"))
    history.sheafd.poll(history.repos["app"])
    history.sheafd.wait(lambda: history.settled("app"), 120, "app built again")


def test_poll_and_adopt_and_check(history):
    url = history.repos["base"].url
    assert url in ctl(history, "poll", "base") and url in ctl(history, "poll", url)
    assert as_json(history, "poll", "poll", "base") == {"source": url}
    assert "GET /v1/sources" in ctl(history, "poll", "nobody", status=3)
    repository = f"{history.registry.host}/osf/base"
    assert repository in ctl(history, "adopt", repository)
    assert as_json(history, "adopt", "adopt", repository) == {"repository": repository}
    assert "GET /v1/images" in ctl(history, "adopt", "osf/base", status=3)
    assert "good" in ctl(history, "check", history.sheafd.file)
    assert as_json(history, "check", "check", history.sheafd.file) == {"ok": True, "errors": []}
    wrong = history.farm.path("wrong.yaml")
    with open(wrong, "w", encoding="utf-8") as f:
        f.write("registry: r.example.org/x\nplatform: [linux/amd64]\nimages: {}\n")
    done = history.sheafd.ctl("check", wrong, check=False)
    assert done.returncode == 1 and done.stderr.startswith(f"{wrong}:2:1: platform: ") and not done.stdout
    answer = as_json(history, "check", "check", wrong, status=1)
    assert not answer["ok"] and answer["errors"] == done.stderr.strip().split("\n")
    assert "No such file" in ctl(history, "check", "/nowhere/farm.yaml", status=3)


@pytest.mark.parametrize("path,body,field,says", [
    ("/v1/tracks/base%40master/rebuild", {"no_cahce": True}, "no_cahce", "takes no such member"),
    ("/v1/tracks/base%40master/rebuild", {"no_cache": "yes"}, "no_cache", "true or false"),
    ("/v1/tracks/base%40master/rebuild", {"platform": 7}, "platform", "a text is needed"),
    ("/v1/tracks/base%40master/rebuild", [], "body", "{}"),
    ("/v1/sources/poll", {}, "source", "a text is needed"),
    ("/v1/sources/poll", {"url": "x"}, "url", "takes source"),
    ("/v1/boards", {"name": "-x"}, "name", "beginning with a letter or digit"),
    ("/v1/config/check", {"path": "farm.yaml"}, "path", "absolute"),
    ("/v1/repositories/adopt", {"repository": ""}, "repository", "a text is needed"),
    ("/v1/builds/1/cancel", {"why": "no"}, "why", "takes none"),
])
def test_bad_requests_name_the_member(history, path, body, field, says):
    answer = json.loads(run(["curl", "-s", "--unix-socket", history.sheafd.socket, "-d", json.dumps(body), f"http://sheaf{path}"]).stdout)
    assert check(answer, "error")["field"] == field and says in answer["error"], answer


def test_who_is_there(history):
    away = run([CTL, "--socket", history.farm.path("no.sock"), "status"], check=False)
    assert away.returncode == 4 and history.farm.path("no.sock") in away.stderr and not away.stdout
    by_tcp = run([CTL, "--url", history.sheafd.status_url, "tracks"], check=False)
    assert by_tcp.returncode == 0 and "base@master" in by_tcp.stdout
    refused = run([CTL, "--url", history.sheafd.status_url, "poll", "base"], check=False)
    assert refused.returncode == 1 and "token-file" in refused.stderr


def test_changes_by_tcp_with_the_token(history):
    d, token = history.sheafd, history.farm.path("token")
    with open(token, "w", encoding="utf-8") as f:
        f.write("correct horse battery staple\n")
    os.chmod(token, 0o600)
    before = d.config
    d.configure({**before, "listen": {"token-file": token, "hosts": ["farm.lan"]}})
    d.restart()
    said = run([CTL, "--url", d.status_url, "--token-file", token, "poll", "base"], check=False)
    assert said.returncode == 0 and "being looked at" in said.stdout
    assert run([CTL, "--url", d.status_url, "poll", "base"], check=False).returncode == 1
    assert run(["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", "Host: farm.lan", f"{d.status_url}/v1/status"]).stdout == "200"
    d.configure(before)
    d.restart()


def follower(history, *args):
    """sheafctl logs -f in the background."""
    return subprocess.Popen([CTL, "--socket", history.sheafd.socket, "logs", "-f", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            env={**os.environ, **history.farm.env}, text=True)


def read_ticks(child, n):
    """Reads until `n` more ticks have come."""
    got = []
    while len(got) < n:
        line = child.stdout.readline()
        assert line, child.stderr.read()
        got += [int(line.split()[1])] if line.startswith("tick ") else []
    return got


def test_cancel_ends_who_follows(history):
    """A follower sees the whole log, over a restart of the coordinator, and ends as the job ends."""
    build = history.sheafd.track("ticking")["build"]
    child = follower(history, str(build))
    try:
        ticks = read_ticks(child, 5)
        history.sheafd.restart()
        ticks += read_ticks(child, 10)
        assert ticks == list(range(ticks[0], ticks[0] + len(ticks))) and ticks[0] == 0, "nothing twice, nothing missing"
        time.sleep(0)
        assert f"build {build}: cancelled" in ctl(history, "cancel", str(build))
        out, err = child.communicate(timeout=60)
        assert child.returncode == 1 and "cancelled" in err, (child.returncode, out[-200:], err)
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
    history.sheafd.wait(lambda: history.job("ticking")["attempts"][-1]["state"] == "cancelled", 120, "the board has let go of it")
    assert f"build {build}: cancelled" in ctl(history, "cancel", str(build)), "as the first time"
    assert "has ended" in ctl(history, "cancel", str(history.sheafd.builds("base")[0]["id"]), status=1)
    assert ": cancelled" in ctl(history, "cancel", "ticking", "amd64")
    assert "999999" in ctl(history, "cancel", "999999", status=3)
    history.sheafd.ctl("rebuild", "ticking")
    history.sheafd.wait(lambda: history.cell("ticking")["state"] == "running", 120, "ticking again")
    key = history.cell("ticking")["job"]
    assert as_json(history, "cancel_job", "cancel", "ticking", "amd64") == {"job": key}
    history.sheafd.wait(lambda: history.settled("ticking"), 120, "cancelled again")
