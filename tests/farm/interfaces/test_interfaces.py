"""The HTTP API against its schema, sheafctl, the page, and farm.yaml's errors."""
import json
import os
import urllib.error
import urllib.parse
import urllib.request

import jsonschema
import pytest
import shapes
from farm import ROOT, SHEAFD
from procs import run

pytestmark = [pytest.mark.root, pytest.mark.slow]


def schema_of(name):
    with open(f"{ROOT}/schema/api.schema.json", encoding="utf-8") as f:
        whole = json.load(f)
    return {**whole, "$ref": f"#/$defs/{name}"}


def small_farm(farm):
    registry, git = farm.registry(), farm.git()
    base, bad = git.repo("base"), git.repo("bad")
    base.commit(shapes.base_files("1", platforms=["linux/amd64"]))
    bad.commit({"Dockerfile": f"FROM {registry.host}/osf/base\nRUN echo oh no; exit 1\n"})
    common = {"ref": "refs/heads/master", "tags": ["latest"]}
    sheafd = farm.coordinator({"registry": f"{registry.host}/osf", "platforms": ["linux/amd64"], "images": {
        "base": {"source": base.url, **common}, "bad": {"source": bad.url, **common}}})
    farm.agent(sheafd, "board")
    sheafd.wait_idle(200)
    return registry, base, sheafd


@pytest.mark.timeout(300)
def test_the_api_is_what_its_schema_says(farm):
    _, base, sheafd = small_farm(farm)
    paths = {"status": "/v1/status", "images": "/v1/images", "tracks": "/v1/tracks", "builds": "/v1/builds",
             "boards": "/v1/boards", "sources": "/v1/sources"}
    for track in sheafd.tracks():
        paths[f"track_whole {track}"] = "/v1/tracks/" + urllib.parse.quote(track, safe="")
    for build in sheafd.builds():
        paths[f"build_whole {build['id']}"] = f"/v1/builds/{build['id']}"
        for job in build["jobs"]:
            paths[f"job {job['job']}"] = "/v1/jobs/" + urllib.parse.quote(job["job"], safe="")
    for name, path in paths.items():
        jsonschema.validate(sheafd.get(path), schema_of(name.split()[0]))
    for path in ("/v1/nothing", "/v1/builds/999999", "/v1/tracks/nobody", "/v1/jobs/sha256:00"):
        with pytest.raises(urllib.error.HTTPError) as e:
            urllib.request.urlopen(sheafd.status_url + path, timeout=10)
        assert e.value.code == 404
        jsonschema.validate(json.loads(e.value.read()), schema_of("error"))
    # By TCP, nothing changes anything.
    for path in ("/v1/sources/poll", "/v1/boards", "/v1/config/check"):
        with pytest.raises(urllib.error.HTTPError) as e:
            urllib.request.urlopen(urllib.request.Request(sheafd.status_url + path, method="POST", data=b"{}"), timeout=10)
        assert e.value.code == 403
    # A page elsewhere that points a name of its own here is not answered.
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(urllib.request.Request(sheafd.status_url + "/v1/status", headers={"Host": "evil.example"}), timeout=10)
    page = sheafd.get("/", raw=True).decode()
    assert "<html" in page.lower() and "/v1/images" in page


@pytest.mark.timeout(300)
def test_sheafctl(farm):
    _, base, sheafd = small_farm(farm)
    for command in (["status"], ["builds"], ["boards"], ["show", "base"], ["show", "bad"]):
        text = sheafd.ctl(*command, check=False)
        assert text.returncode in (0, 1) and text.stdout, command
        json.loads(sheafd.ctl("--json", *command, check=False).stdout)
    assert "oh no" in sheafd.ctl("logs", "bad").stdout
    followed = sheafd.ctl("logs", "-f", "bad", check=False)
    assert "oh no" in followed.stdout and followed.returncode == 1, "follow ends with the job, and as it ended"
    assert sheafd.ctl("show", "nobody", check=False).returncode == 3
    assert sheafd.ctl("check", sheafd.file).returncode == 0
    wrong = farm.path("wrong.yaml")
    with open(wrong, "w", encoding="utf-8") as f:
        f.write("registry: r.example.org/x\nplatform: [linux/amd64]\nimages: {}\n")
    answer = sheafd.ctl("check", wrong, check=False)
    assert answer.returncode != 0 and "2:1" in answer.stdout + answer.stderr
    away = run([os.path.join(os.path.dirname(SHEAFD), "../ctl/sheafctl"), "--socket", farm.path("no.sock"), "status"], check=False)
    assert away.returncode == 4 and farm.path("no.sock") in away.stderr


@pytest.mark.timeout(60)
@pytest.mark.parametrize("text, where, says", [
    ("registry: r.example.org/x\nimages:\n  a:\n    sorce: x\n", "4:5", "source"),
    ("registry: r.example.org/x\nplatforms: [linux/armhf]\nimages: {}\n", "2:13", "linux/arm"),
    ("registry: r.example.org/x\nimages:\n  a: {source: /x, tags: [1]}\n  a: {source: /y}\n", "4:3", "a"),
    ("registry: [\n", "", ""),
])
def test_check_config(farm, text, where, says):
    if not os.path.exists(SHEAFD):
        pytest.skip("sheafd is not built")
    path = farm.path("farm.yaml")
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    answer = run([SHEAFD, "--check-config", path], check=False)
    said = (answer.stdout + answer.stderr).strip()
    assert answer.returncode == 1 and len(said.split("\n")) == 1
    assert said.startswith(f"{path}:{where}") and says in said
