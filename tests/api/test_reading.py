"""What can be read of a farm with a past: every GET against the schema, errors, the event stream, logs."""
import http.client
import json

import pytest
from api_schema import check
from history import AMD64, ARM64, quote

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(300)]


def ask(history, method, path, headers=None, body=None):
    """One request to the status listener: (status, headers, body)."""
    connection = http.client.HTTPConnection("127.0.0.1", history.sheafd.status_port, timeout=30)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def paths(history):
    """Every path that answers JSON, with the name of its schema."""
    found = [("status", "/v1/status"), ("images", "/v1/images"), ("tracks", "/v1/tracks"), ("builds", "/v1/builds"),
             ("builds", "/v1/builds?limit=2"), ("boards", "/v1/boards"), ("sources", "/v1/sources"), ("actions", "/v1/actions"), ("actions", "/v1/actions?limit=1")]
    builds = history.sheafd.builds()
    found += [("track_whole", f"/v1/tracks/{quote(t)}") for t in {b["track"] for b in builds} | set(history.sheafd.tracks())]
    found += [("builds", f"/v1/builds?track={quote(t)}") for t in history.sheafd.tracks()]
    found += [("build_whole", f"/v1/builds/{b['id']}") for b in builds]
    return found + [("job_whole", f"/v1/jobs/{quote(key)}") for key in {j["job"] for b in builds for j in b["jobs"]}]


def test_every_answer_is_what_the_schema_says(history):
    for name, path in paths(history):
        status, headers, body = ask(history, "GET", path)
        assert (status, headers["content-type"]) == (200, "application/json"), path
        check(json.loads(body), name)


def test_head_says_what_get_says(history):
    for _, path in [*paths(history), ("", "/"), ("", history.log_path("base"))]:
        get, head = ask(history, "GET", path), ask(history, "HEAD", path)
        assert head[0] == get[0] == 200 and head[2] == b"", path
        assert head[1]["content-type"] == get[1]["content-type"], path
    for path in ("/v1/events", history.log_path("ticking") + "?follow=1"):  # those never end by themselves
        status, _, body = ask(history, "HEAD", path)
        assert (status, body) == (200, b""), path


def test_the_past_is_told_as_it_was(history):
    builds = {name: [check(b, "build") for b in history.sheafd.builds(name)] for name in ("base", "app", "bad", "slow")}
    assert [b["state"] for b in builds["base"]] == ["published", "published"]
    assert [b["class"] for b in builds["app"]][-1] == "ripple" and "base" in builds["app"][-1]["why"]["text"]
    assert builds["bad"][-1]["state"] == "failed" and builds["slow"][-1]["state"] == "cancelled"
    assert builds["slow"][-1]["end"] == {"code": "cancelled", "text": "by request"}
    whole = history.sheafd.get(f"/v1/builds/{builds['bad'][-1]['id']}")
    job, = whole["jobs"]
    assert job["kind"] == "recipe" and job["reason"]["code"] == "job-failed" and "exit status 1" in job["reason"]["text"]
    failed = [a for a in job["attempts"] if a["state"] == "failed"]
    assert len(failed) == 2 and all(a["timings"]["recipe"] > 0 for a in failed)
    # An attempt whose grant the board never read, as it was asking anew, is cancelled.
    assert all(a["state"] == "cancelled" for a in job["attempts"] if a not in failed)
    assert {i["name"] for i in job["inputs"]} >= {"context", "platform", "repository"}
    done = history.job("app")
    assert done["layers"] and done["packages"] == [] and done["manifest"]["digest"] and done["attempts"][-1]["log_size"] > 0
    assert done["log_size"] == len(ask(history, "GET", history.log_path("app"))[2])


def test_a_build_and_its_job_agree(history):
    """The same job by two ways: from the store with its build, from the model by its key."""
    for build in history.sheafd.builds():
        for job in history.sheafd.get(f"/v1/builds/{build['id']}")["jobs"]:
            other = history.sheafd.job(job["key"])
            if job["state"] in ("succeeded", "failed", "cancelled"):
                assert {k: job[k] for k in job.keys() & other.keys()} == {k: other[k] for k in job.keys() & other.keys()}


def test_why_something_waits_is_the_same_everywhere(history):
    track = history.sheafd.track("far")
    cell = next(c for c in track["cells"] if c["platform"] == ARM64)
    build = history.sheafd.get(f"/v1/builds/{track['build']}")
    job = next(j for j in build["jobs"] if j["platform"] == ARM64)
    assert cell["state"] == job["state"] == "wanted"
    assert cell["reason"] == job["reason"] == history.job("far", ARM64)["reason"] and cell["reason"]["code"] == "no-board"
    tracks = history.sheafd.tracks()
    assert tracks["tagged@v1.0.0"]["state"] == "dormant" and tracks["tagged@v1.0.0"]["owned"] == []
    assert tracks["tagged@v1.1.0"]["owned"] == tracks["tagged@v1.1.0"]["tags"] == ["1.1.0", "latest"]


def test_sources_say_when_they_are_looked_at_next(history):
    answer = history.sheafd.get("/v1/sources")
    now = history.sheafd.get("/v1/status")["now_at"]
    for source in answer["sources"]:
        assert source["state"] == "polling" or source["next_at"] >= now - 5000, source
    gone = next(s for s in answer["sources"] if s["url"] == history.gone)
    assert gone["state"] in ("failing", "polling") and gone["failures"] > 0 and "refused" in gone["error"]


def test_what_farm_yaml_names_no_more_is_past(history):
    """Its builds are told of, and nothing of it wants attention."""
    assert "former@master" not in history.sheafd.tracks()
    assert [b["state"] for b in history.sheafd.builds("former")] == ["published"]
    track = history.sheafd.track("former@master")
    assert track["state"] == "unknown" and track["reason"]["text"] == "no longer in farm.yaml" and track["publication"]["digest"]
    status = history.sheafd.get("/v1/status")
    assert [a["id"] for a in status["attention"] if a["kind"] == "source"] == [history.gone]
    assert status["sources"]["failing"] == 1 and history.lost not in json.dumps(history.sheafd.get("/v1/sources"))


def test_pages_of_builds(history):
    seen, before = [], ""
    while True:
        page = history.sheafd.get("/v1/builds?limit=2" + before)
        seen += [b["id"] for b in page["builds"]]
        if page["next"] is None:
            break
        before = f"&before={page['next']}"
    assert seen == sorted(seen, reverse=True) and len(seen) == len(set(seen)) == len(history.sheafd.builds())


@pytest.mark.parametrize("method,path,status,field,says", [
    ("GET", "/v1/nothing", 404, "path", "/v1/nothing"),
    ("GET", "/v1/tracks/nobody", 404, "track", "GET /v1/tracks"),
    ("GET", "/v1/builds/999999", 404, "build", "GET /v1/builds"),
    ("GET", "/v1/builds/x", 404, "build", "'x'"),
    ("GET", "/v1/builds/12x", 404, "build", "'12x'"),
    ("GET", "/v1/jobs/sha256:00", 404, "job", "sha256:00"),
    ("GET", "/v1/jobs/sha256:00/log", 404, "job", "sha256:00"),
    ("GET", "/v1/builds?limit=0", 400, "limit", "from 1 to 500"),
    ("GET", "/v1/builds?limit=501", 400, "limit", "from 1 to 500"),
    ("GET", "/v1/builds?limit=", 400, "limit", "whole number"),
    ("GET", "/v1/builds?limit=+3", 400, "limit", "whole number"),
    ("GET", "/v1/builds?before=-1", 400, "before", "whole number"),
    ("GET", "/v1/builds?track=%f", 400, "query", "hexadecimal"),
    ("GET", "/v1/tracks/%zz", 400, "path", "hexadecimal"),
    ("GET", "{log}?offset=-1", 400, "offset", "whole number from 0"),
    ("GET", "{log}?offset=99999999999999999999", 400, "offset", "whole number"),
    ("GET", "{log}?follow=yes", 400, "follow", "0 or 1"),
    ("GET", "{log}?attempt=0", 400, "attempt", "from 1"),
    ("GET", "/v1/builds?limt=3", 400, "limt", "limt: unknown parameter; this call takes limit before track"),
    ("GET", "/v1/actions?limit=3&since=4", 400, "since", "this call takes limit before track"),
    ("GET", "/v1/tracks?track=x", 400, "track", "this call takes none"),
    ("GET", "/v1/tracks?%ff=x", 400, "query", "UTF-8"),
    ("POST", "/v1/freeze?reason=x", 400, "reason", "this call takes none"),
    ("GET", "{log}?line=3", 400, "line", "this call takes offset follow attempt"),
    ("GET", "{log}?attempt=9999", 404, "attempt", "attempts"),
    ("GET", "{waiting}", 404, "attempt", "ask again later"),
    ("DELETE", "/v1/status", 405, "method", "GET, HEAD"),
    ("POST", "/v1/tracks", 405, "method", "GET, HEAD"),
    ("GET", "/v1/sources/poll", 405, "method", "POST"),
    ("PUT", "/v1/boards", 405, "method", "GET"),
])
def test_errors_name_the_field_and_the_remedy(history, method, path, status, field, says):
    waiting = f"/v1/jobs/{quote(history.cell('far', ARM64)['job'])}/log"
    got, headers, body = ask(history, method, path.format(log=history.log_path("base"), waiting=waiting))
    answer = check(json.loads(body), "error")
    assert (got, answer["field"]) == (status, field) and says in answer["error"], answer
    assert headers["content-type"] == "application/json"
    if status == 405:
        assert set(headers["allow"].split(", ")) <= {"GET", "HEAD", "POST"} and says in headers["allow"]


def test_by_tcp_nothing_changes_anything(history):
    for path in ("/v1/sources/poll", "/v1/boards", "/v1/config/check", "/v1/repositories/adopt", "/v1/builds/1/cancel",
                 f"/v1/tracks/{quote('base@master')}/rebuild", "/v1/jobs/x/cancel"):
        status, _, body = ask(history, "POST", path, body=b"{}")
        assert status == 403 and check(json.loads(body), "error")["field"] == "Authorization", path
    status, _, body = ask(history, "GET", "/v1/status", headers={"Host": "evil.example"})
    assert status == 403 and json.loads(body)["field"] == "Host"
    assert ask(history, "GET", "/v1/status", headers={"Host": "localhost"})[0] == 200


class Events:
    """A reader of the event stream."""

    def __init__(self, history):
        self.connection = http.client.HTTPConnection("127.0.0.1", history.sheafd.status_port, timeout=30)
        self.connection.request("GET", "/v1/events", headers={"Accept": "text/event-stream"})
        self.answer = self.connection.getresponse()
        assert self.answer.status == 200 and self.answer.getheader("Content-Type") == "text/event-stream"

    def next(self):
        """The next event's data."""
        lines = []
        while (line := self.answer.readline().decode()) != "\n" or not lines:
            assert line, "the stream has ended"
            lines += [line.rstrip("\n")] if line != "\n" and not line.startswith(":") else []
        assert lines[0] == "event: change" and lines[1].startswith("data: ") and len(lines) == 2, lines
        return check(json.loads(lines[1][len("data: "):]), "event")

    def close(self):
        self.connection.close()


def test_events_tell_what_changed(history):
    first, second = Events(history), Events(history)
    everything = ["boards", "builds", "images", "jobs", "sources"]
    assert first.next()["what"] == everything and second.next()["what"] == everything
    history.sheafd.ctl("boards", "add", "board-3")
    turn, seen = 0, set()
    while "boards" not in seen:
        event = first.next()
        assert event["turn"] > turn
        turn, seen = event["turn"], seen | set(event["what"])
    assert any(b["name"] == "board-3" for b in history.sheafd.get("/v1/boards")["boards"])
    while "boards" not in second.next()["what"]:
        pass
    first.close()
    history.sheafd.ctl("poll", "base")
    while "sources" not in second.next()["what"]:
        pass
    second.close()


def test_a_log_in_pieces(history):
    path = history.log_path("bad")
    attempts = history.job("bad")["attempts"]
    status, headers, whole = ask(history, "GET", path)
    assert status == 200 and headers["content-type"] == "text/plain; charset=utf-8" and headers["accept-ranges"] == "bytes"
    assert int(headers["sheaf-attempt"]) == attempts[-1]["id"] and b"oh no" in whole and b"h\xe4lt \xc3\xa4" in whole
    assert attempts[-1]["log_size"] == len(whole)
    status, headers, first = ask(history, "GET", f"{path}?attempt={attempts[0]['id']}")
    assert int(headers["sheaf-attempt"]) == attempts[0]["id"] and b"oh no" in first and len(first) == attempts[0]["log_size"]
    assert ask(history, "GET", f"{path}?offset=10")[2] == whole[10:]
    assert ask(history, "GET", f"{path}?offset={len(whole) + 5}")[::2] == (200, b"")
    status, headers, part = ask(history, "GET", path, headers={"Range": "bytes=5-14"})
    assert (status, part, headers["content-range"]) == (206, whole[5:15], f"bytes 5-14/{len(whole)}")
    assert ask(history, "GET", path, headers={"Range": "bytes=-7"})[::2] == (206, whole[-7:])
    status, headers, _ = ask(history, "GET", path, headers={"Range": f"bytes={len(whole)}-"})
    assert (status, headers["content-range"]) == (416, f"bytes */{len(whole)}")
    assert ask(history, "GET", f"{path}?follow=1")[::2] == (200, whole), "what has ended is not waited for"


def test_a_log_that_grows_is_followed(history):
    path = history.log_path("ticking")
    connection = http.client.HTTPConnection("127.0.0.1", history.sheafd.status_port, timeout=30)
    connection.request("GET", path + "?follow=1")
    answer = connection.getresponse()
    assert answer.getheader("Transfer-Encoding") == "chunked" and answer.getheader("Sheaf-Attempt")
    got = b""
    while got.count(b"tick ") < 3:
        got += answer.read1(4096)
    size = len(got)
    while got.count(b"tick ") < 8:
        piece = answer.read1(4096)
        assert piece
        got += piece
    connection.close()
    now = ask(history, "GET", path)[2]
    assert now.startswith(got) and ask(history, "GET", f"{path}?offset={size}")[2].startswith(got[size:])
    job = history.job("ticking")
    assert job["state"] == "running" and job["log_size"] >= len(now) and job["attempts"][-1]["log_size"] == job["log_size"]
    build = history.sheafd.get(f"/v1/builds/{history.sheafd.track('ticking')['build']}")
    assert build["jobs"][0]["log_size"] >= job["log_size"] and build["jobs"][0]["attempts"][-1]["log_size"] >= job["log_size"]


def test_the_board_is_told_of(history):
    board = next(b for b in history.sheafd.get("/v1/boards")["boards"] if b["name"] == "board-1")
    assert board["state"] == "online" and AMD64 in board["platforms"] and board["labels"] == ["fast"] and board["slots"] == 3
    assert [r["track"] for r in board["running"]] == ["ticking@master"] and board["facts"] and board["disk_free"] > 0
