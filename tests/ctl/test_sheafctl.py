"""sheafctl against a coordinator that only talks: what it asks, what it shows, how it exits."""
import json
import os
import re
import stat
import subprocess

import jsonschema
import pytest
from fake_coordinator import ROOT, FakeCoordinator
from farm import CTL

pytestmark = pytest.mark.quick
COMMANDS = ["status", "tracks", "builds", "show", "logs", "rebuild", "hold", "release", "freeze", "thaw", "pin", "rollback", "promote",
            "retry", "retire", "wake", "actions", "cancel", "boards", "sources", "poll", "check", "what-if"]
AMD64 = 0


@pytest.fixture
def fake(tmp_path):
    server = FakeCoordinator(str(tmp_path / "sock"))
    server.socket = str(tmp_path / "sock")
    yield server
    server.stop()


def ctl(fake, *args, url=False):
    env = {k: v for k, v in os.environ.items() if not k.startswith("SHEAF_")}
    where = ["--url", fake.url] if url else ["--socket", fake.socket]
    return subprocess.run([CTL, *where, *args], capture_output=True, text=True, env=env, timeout=100, check=False)


def said(done, status=0):
    assert done.returncode == status, (done.stdout, done.stderr)
    return done.stdout


def schema(name):
    with open(f"{ROOT}/schema/api.schema.json", encoding="utf-8") as f:
        document = json.load(f)
    return jsonschema.Draft202012Validator({**document, "$ref": f"#/$defs/{name}"})


@pytest.mark.parametrize("args,name", [
    (["status"], "status"), (["tracks"], "tracks"), (["builds"], "builds"), (["show", "17"], "build_whole"),
    (["show", "minideb@master:trixie"], "track_whole"), (["show", "17", "arm64"], "job"), (["boards"], "boards"),
    (["sources"], "sources"), (["rebuild", "alpine@v3.19"], "rebuild"), (["poll", "minideb"], "poll"), (["hold", "alpine@v3.19"], "command"),
    (["actions"], "actions"), (["what-if", "push", "minideb"], "what_if"), (["boards", "add", "x"], "board_secret")])
def test_json_is_the_answer_of_the_schema(fake, args, name):
    schema(name).validate(json.loads(said(ctl(fake, "--json", *args))))


def test_what_awaits_another_look_is_told(fake):
    text = "look 7 found refs/heads/master at 1234, which is not pushed onto 8f3c"
    fake.data.images[1]["tracks"][0]["sighting"] = {"commit": "1234", "look": 7, "text": text}
    assert f"minideb@master:bookworm {text}" in said(ctl(fake, "status"))
    assert f"sighting     {text}" in said(ctl(fake, "show", "minideb@master:bookworm"))
    assert "https://git.example/minideb.git look 7 did not find refs/heads/old: it counts as gone" in said(ctl(fake, "sources"))


def test_why_a_track_is_awake_is_told(fake):
    fake.data.images[1]["tracks"][0]["awake"] = {"code": "asked", "text": "a person woke it: it does not sleep by itself"}
    assert "awake        a person woke it: it does not sleep by itself" in said(ctl(fake, "show", "minideb@master:bookworm"))
    assert "awake" not in said(ctl(fake, "show", "minideb@master:trixie"))


def test_status_is_a_table_by_platforms(fake):
    out = said(ctl(fake, "status"))
    head = next(line for line in out.split("\n") if line.startswith("TRACK"))
    row = next(line for line in out.split("\n") if line.startswith("minideb@master:trixie"))
    assert re.fullmatch(r"TRACK +STATE +amd64 +arm64 +arm/v7 +TAGS +PUBLISHED", head)
    assert row[head.index("STATE"):].startswith("failed") and row[head.index("arm64"):].startswith("failed")
    assert row[head.index("arm/v7"):].startswith("wanted") and "(emulated)" in out
    assert "minideb@master:trixie failed: linux/arm64: mkimage" in out and "board pi-3b: not seen" in out
    assert "\033" not in out


def test_colours_only_where_wanted(fake):
    assert "\033[32m" in said(ctl(fake, "--color", "always", "status"))
    assert "\033" not in said(ctl(fake, "--color", "never", "status"))
    assert ctl(fake, "--color", "pink", "status").returncode == 2


def test_by_tcp_with_a_token(fake, tmp_path):
    token = tmp_path / "token"
    token.write_text("hush\n")
    said(ctl(fake, "--token-file", str(token), "poll", "minideb", url=True))
    assert fake.data.posts == [("/v1/sources/poll", {"source": "minideb"}, "Bearer hush")]


def test_what_changes(fake):
    said(ctl(fake, "rebuild", "--no-cache", "--platform", "linux/arm64", "nginx-coap-proxy"))
    said(ctl(fake, "cancel", "17"))
    said(ctl(fake, "cancel", "17", "amd64"))
    assert all(p[1].pop("by") for p in fake.data.posts if p[0].endswith("rebuild"))
    assert [p[:2] for p in fake.data.posts] == [
        ("/v1/tracks/nginx-coap-proxy@v1.4.0/rebuild", {"no_cache": True, "with_dependents": False, "platform": "linux/arm64"}), ("/v1/builds/17/cancel", {}),
        (f"/v1/jobs/{fake.data.tracks()[1]['cells'][AMD64]['job']}/cancel", {})]


@pytest.mark.parametrize("args,path,body", [
    (["hold", "alpine@v3.19", "--reason", "an audit"], "/v1/tracks/alpine@v3.19/hold", {"reason": "an audit"}),
    (["release", "nginx-coap-proxy"], "/v1/tracks/nginx-coap-proxy@v1.4.0/release", {}),
    (["freeze", "--reason", "a move"], "/v1/freeze", {"reason": "a move"}), (["thaw"], "/v1/thaw", {}),
    (["pin", "alpine@v3.19", "7"], "/v1/tracks/alpine@v3.19/pin", {"publication": "7"}),
    (["rollback", "alpine@v3.19"], "/v1/tracks/alpine@v3.19/rollback", {}),
    (["rollback", "alpine@v3.19", "sha256:0123456"], "/v1/tracks/alpine@v3.19/rollback", {"publication": "sha256:0123456"}),
    (["promote", "alpine@v3.19"], "/v1/tracks/alpine@v3.19/promote", {}), (["retry", "alpine@v3.19"], "/v1/tracks/alpine@v3.19/retry", {}),
    (["retry", "sha256:00"], "/v1/jobs/sha256:00/retry", {}), (["wake", "alpine@v3.19"], "/v1/tracks/alpine@v3.19/wake", {}),
    (["retire", "alpine@v3.19", "--platform", "linux/arm64"], "/v1/tracks/alpine@v3.19/retire", {"platform": "linux/arm64"})])
def test_commands(fake, args, path, body):
    assert said(ctl(fake, *args)) == f"{args[0]}: done\n"
    (asked, sent, _), = fake.data.posts
    assert asked == path and {k: v for k, v in sent.items() if k != "by"} == body and sent["by"]


def test_the_record(fake):
    out = said(ctl(fake, "actions", "--track", "alpine@v3.19"))
    assert "ann (uid 0)" in out and "it is held" in out and "an audit" in out


def test_a_board_gets_its_secret_in_a_file(fake, tmp_path):
    path = tmp_path / "secret"
    path.write_text("old")
    assert "s3cret" not in said(ctl(fake, "boards", "add", "pi-9", "--file", str(path)))
    assert path.read_text() == "s3cret\n" and stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(os.listdir(tmp_path)) == ["secret", "sock"]
    assert said(ctl(fake, "boards", "add", "pi-9")) == "s3cret\n"


def test_logs(fake):
    text = fake.data.log.decode()
    assert said(ctl(fake, "logs", "alpine@v3.20", "arm/v7")) == text
    followed = ctl(fake, "logs", "-f", "17", "linux/arm/v7")  # the fake's job fails when its log was followed
    assert said(followed, 1) == text and "failed" in followed.stderr
    assert "which one" in ctl(fake, "logs", "17").stderr


WHAT_IF = """\
A push to minideb (master) that changes a and b would cause 2 builds (1 job) in 2 waves, in about 3 min 20 s.
1 job is under way now, which would end in about 5 s without it.

Wave 1
  alpine@v3.19: its files changed
      arm64      3 min 20 s on pi-1
      riscv64    no board offers linux/riscv64; its last good child counts as stale in 23 h

Wave 2
  tool@master: base alpine:3.19 has new content (waiting)
      arm64      no board offers linux/arm64

Tags
  r/alpine:3.19 moves

Tracks
  tool@master: published → building: no board offers linux/arm64

Note: nothing is known of it
"""


def test_what_if(fake, tmp_path):
    assert said(ctl(fake, "what-if", "push", "minideb", "--path", "a", "--path", "b")) == WHAT_IF
    said(ctl(fake, "what-if", "push", "minideb", "--ref", "next"))
    said(ctl(fake, "what-if", "base", "debian:12"))
    said(ctl(fake, "what-if", "board", "pi-1", "--lost"))
    good = tmp_path / "good.yaml"
    good.write_text("images: {}\n")
    said(ctl(fake, "what-if", "config", str(good)))
    said(ctl(fake, "check", "--against-running", str(good)), 5)
    asked = [body for path, body, _ in fake.data.posts if path == "/v1/what-if"]
    config = {"event": "config", "path": str(good)}
    assert asked == [{"event": "push", "source": "minideb", "paths": ["a", "b"]}, {"event": "push", "source": "minideb", "paths": [], "ref": "next"},
                     {"event": "base", "reference": "debian:12"}, {"event": "board", "board": "pi-1"}, config, config]
    for body in asked:
        schema("what_if_request").validate(body)


def test_check(fake, tmp_path):
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text("images: {}\n")
    bad.write_text("imagez: {}\n")
    said(ctl(fake, "check", str(good)))
    refused = ctl(fake, "check", str(bad))
    assert refused.returncode == 1 and f"{bad}:1:1: imagez" in refused.stderr
    assert ctl(fake, "check", str(tmp_path / "none")).returncode == 3


@pytest.mark.parametrize("args,status", [
    ([], 2), (["frobnicate"], 2), (["show"], 2), (["status", "x"], 2), (["status", "-f"], 2), (["--nonsense"], 2), (["builds", "-n", "x"], 2),
    (["show", "99"], 3), (["show", "nobody"], 3), (["show", "sha256:00"], 3), (["tracks", "nobody"], 3), (["poll", "nobody"], 3),
    (["logs", "sha256:00"], 3), (["logs", "-f", "sha256:00"], 3), (["cancel", "15"], 1), (["rebuild", "alpine"], 2),
    (["what-if", "board", "pi-1"], 2), (["what-if", "storm", "x"], 2), (["what-if", "base", "x", "--path", "a"], 2), (["what-if", "config", "/none"], 3)])
def test_exit_statuses(fake, args, status):
    done = ctl(fake, *args)
    assert done.returncode == status, done.stderr
    assert done.stderr and not done.stdout


def test_nobody_there(tmp_path):
    done = subprocess.run([CTL, "--socket", str(tmp_path / "none"), "status"], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 4 and str(tmp_path / "none") in done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_help(fake, command):
    out = said(ctl(fake, command, "--help"))
    assert out.startswith(f"usage: sheafctl {command}") and "Exit status" in out


def test_the_page_needs_nothing_from_elsewhere():
    with open(f"{ROOT}/daemon/page/status.html", encoding="utf-8") as f:
        page = f.read()
    assert not re.search(r"""(src|href)=["'](https?:)?//|@import|url\(|innerHTML|document\.write|eval\(""", page)
    assert '<html lang="en">' in page and "<noscript>" in page and 'role="status"' in page
