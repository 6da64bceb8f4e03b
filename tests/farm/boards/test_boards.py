"""Boards: who gets what, live logs, cancelling, time limits, test commands, and what is refused."""
import time

import pytest
import shapes

pytestmark = [pytest.mark.root, pytest.mark.slow]


def farm_of(farm, dockerfiles, **common):
    """A coordinator with a busybox base, and an image for each Dockerfile (BASE stands for it)."""
    registry, git = farm.registry(), farm.git()
    base = git.repo("base")
    base.commit(shapes.base_files("1"))
    images = {"base": {"source": base.url, "ref": "refs/heads/master", "tags": ["latest"], "emulated": True}}
    for name, (text, more) in dockerfiles.items():
        up = git.repo(name)
        up.commit({"Dockerfile": text.replace("BASE", f"{registry.host}/osf/base")})
        images[name] = {"source": up.url, "ref": "refs/heads/master", "tags": ["latest"], **more}
    return registry, farm.coordinator({"registry": f"{registry.host}/osf", "platforms": ["linux/amd64"], "images": images,
                                       **common})


@pytest.mark.timeout(400)
def test_logs_are_live_and_cancel_cancels(farm):
    _, sheafd = farm_of(farm, {"long": ("FROM BASE\nRUN echo beginning; sleep 300; echo end\n", {})})
    farm.agent(sheafd, "board")
    cell = sheafd.wait(lambda: next((c for t in sheafd.tracks("long").values() for c in t["cells"] if c["state"] == "running"),
                                    None), 200, "long is running")
    sheafd.wait(lambda: "beginning" in sheafd.job_log(cell["job"]), 60, "the log's first line while it runs")
    sheafd.ctl("cancel", str(sheafd.builds("long")[-1]["id"]))
    # Long before it would end by itself, or its lease would.
    sheafd.wait(lambda: sheafd.job(cell["job"])["state"] == "cancelled", 60, "cancelled")
    sheafd.wait(lambda: sheafd.job(cell["job"])["attempts"][-1]["state"] == "cancelled", 60, "the board to have let go of it")
    assert sheafd.get("/v1/boards")["boards"][0]["running"] == []
    assert sheafd.job_log(cell["job"]).count("end\n") <= 1  # the command's own echo, never its output


@pytest.mark.timeout(400)
def test_time_limits_and_test_commands(farm):
    registry, sheafd = farm_of(farm, {
        "slow": ("FROM BASE\nRUN sleep 300\n", {"timeout": "5s"}),
        "good": ("FROM BASE\nRUN echo ok >/state\n", {"test": "grep ok /state"}),
        "bad": ("FROM BASE\nRUN echo bad >/state\n", {"test": "grep ok /state"}),
    })
    farm.agent(sheafd, "board")
    sheafd.wait_idle(300)
    assert sheafd.track("good")["state"] == "published"
    assert sheafd.track("slow")["state"] == "failed" and sheafd.track("bad")["state"] == "failed"
    assert sheafd.job(sheafd.track("slow")["cells"][0]["job"])["kind"] == "timeout"
    assert "test" in sheafd.track("bad")["reason"]["text"]
    assert registry.tags("osf/bad") == [] and registry.tags("osf/slow") == []


@pytest.mark.timeout(400)
def test_a_foreign_binary_is_rejected(farm):
    """An image for amd64 that holds an ARM program is not what it says."""
    registry, git = farm.registry(), farm.git()
    up = git.repo("liar")
    up.commit({"root.tar.gz": shapes.minirootfs("linux/arm/v7"), "Dockerfile": "FROM scratch\nADD root.tar.gz /\n"})
    sheafd = farm.coordinator({"registry": f"{registry.host}/osf", "platforms": ["linux/amd64"], "images": {
        "liar": {"source": up.url, "ref": "refs/heads/master", "tags": ["latest"]}}})
    farm.agent(sheafd, "board")
    sheafd.wait_idle(200)
    job = sheafd.job(sheafd.track("liar")["cells"][0]["job"])
    assert job["state"] == "failed" and job["kind"] == "rejected"
    assert "busybox" in job["attempts"][-1]["reason"]
    assert registry.tags("osf/liar") == []


@pytest.mark.timeout(400)
def test_emulated_boards_serve_only_who_asks(farm):
    """An image takes no emulated board unless it says so, and such a board is marked wherever it is shown."""
    _, sheafd = farm_of(farm, {
        "native": ("FROM BASE\nRUN true\n", {"platforms": ["linux/arm/v7"]}),
        "asks": ("FROM BASE\nRUN true\n", {"platforms": ["linux/arm/v7"], "emulated": True}),
    }, platforms=["linux/arm/v7"])
    farm.agent(sheafd, "pretender", emulated=["linux/arm/v7"])
    sheafd.wait(lambda: (sheafd.track("asks") or {}).get("state") == "published", 300, "asks published")
    track = sheafd.track("native")
    assert track["state"] in ("waiting", "building") and track["cells"][0]["state"] == "wanted"
    assert "linux/arm/v7" in track["cells"][0]["reason"]["text"] and "board" in track["cells"][0]["reason"]["text"]
    board = sheafd.get("/v1/boards")["boards"][0]
    assert board["emulated"] == ["linux/arm/v7"] and "linux/amd64" in board["platforms"] and "linux/arm/v7" not in board["platforms"]
    assert sheafd.track("asks")["cells"][0]["emulated"] is True
    assert "emulated" in sheafd.ctl("boards").stdout
    assert "emulated" in sheafd.get("/", raw=True).decode()


@pytest.mark.timeout(400)
def test_a_wrong_secret_gets_nothing(farm):
    registry = farm.registry()
    sheafd = farm.coordinator({"registry": f"{registry.host}/osf", "platforms": ["linux/amd64"], "images": {}})
    agent = farm.agent(sheafd, "board", start=False)
    with open(agent.secret, "w", encoding="utf-8") as f:
        f.write("not the secret\n")
    agent.start(wait=False)
    time.sleep(3)
    assert all(b["state"] != "online" for b in sheafd.get("/v1/boards")["boards"])
    agent.killed = True  # whichever way it ends is its own business


@pytest.mark.timeout(400)
def test_a_base_that_is_missing_blocks(farm):
    """A farm repository's missing tag is never fetched from elsewhere; a cycle is named."""
    registry, git = farm.registry(), farm.git()
    images = {}
    for name, base in (("lost", "nowhere:1"), ("hen", "egg:latest"), ("egg", "hen:latest")):
        up = git.repo(name)
        up.commit({"Dockerfile": f"FROM {registry.host}/osf/{base}\n"})
        images[name] = {"source": up.url, "ref": "refs/heads/master", "tags": ["latest"]}
    sheafd = farm.coordinator({"registry": f"{registry.host}/osf", "platforms": ["linux/amd64"], "images": images})
    farm.agent(sheafd, "board")
    sheafd.wait_idle(100)
    for name, word in (("lost", "nowhere"), ("hen", "egg"), ("egg", "hen")):
        track = sheafd.track(name)
        assert track["state"] == "blocked" and word in track["reason"]["text"], track
