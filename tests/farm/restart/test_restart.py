"""A restart is nothing special: builds go on, nothing is lost, nothing is done twice."""
import os
import signal
import time

import pytest
import shapes

pytestmark = [pytest.mark.root, pytest.mark.slow]


def slow_image(farm, seconds):
    """A farm whose one image takes its time."""
    registry, git = farm.registry(), farm.git()
    base, slow = git.repo("base"), git.repo("slow")
    base.commit(shapes.base_files("1", platforms=["linux/amd64"]))
    slow.commit({"Dockerfile": f"FROM {registry.host}/osf/base\nRUN for i in $(busybox seq {seconds}); do echo line $i; sleep 1; "
                               "done; echo done >/slow\n"})
    common = {"ref": "refs/heads/master", "tags": ["latest"]}
    config = {"registry": f"{registry.host}/osf", "platforms": ["linux/amd64"], "images": {
        "base": {"source": base.url, **common}, "slow": {"source": slow.url, **common}}}
    return registry, slow, farm.coordinator(config)


def running(sheafd, image="slow"):
    """The job of the image that a board says it runs, whole; None when there is none."""
    track = sheafd.track(image)
    cell = track["cells"][0] if track else None
    job = sheafd.job(cell["job"]) if cell and cell["job"] else None
    return job if job and job["state"] == "running" else None


@pytest.mark.timeout(600)
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_the_coordinator_restarts_in_the_middle(farm, how):
    """The board builds on; its log and its result are taken up where they were: one attempt, one build."""
    registry, _, sheafd = slow_image(farm, 12)
    farm.agent(sheafd, "board")
    job = sheafd.wait(lambda: running(sheafd), 200, "slow is running")
    sheafd.wait(lambda: "line 2" in sheafd.job_log(job["key"]), 60)
    sheafd.killed = how == signal.SIGKILL
    sheafd.process.stop(how)
    time.sleep(3)
    sheafd.start()
    sheafd.wait_idle(200)
    job = sheafd.job(job["key"])
    assert job["state"] == "succeeded" and len(job["attempts"]) == 1
    log = sheafd.job_log(job["key"])
    assert [f"line {i}" in log for i in range(1, 13)] == [True] * 12 and log.count("line 7\n") == 1
    assert len(sheafd.builds("slow")) == 1 and registry.digest("osf/slow", "latest")


@pytest.mark.timeout(600)
def test_the_board_dies_in_the_middle(farm):
    """SIGKILL: the lease is lost, its sandbox with it; a restarted agent says so at once, and another attempt wins."""
    registry, _, sheafd = slow_image(farm, 8)
    agent = farm.agent(sheafd, "board")
    job = sheafd.wait(lambda: running(sheafd), 200, "slow is running")
    agent.kill()
    time.sleep(2)
    agent.start()
    sheafd.wait_idle(200)
    job = sheafd.job(job["key"])
    assert [a["state"] for a in job["attempts"]] == ["lost", "succeeded"]
    assert registry.digest("osf/slow", "latest")
    sheafd.wait(lambda: os.listdir(os.path.join(agent.state, "jobs")) == [], 60, "nothing of it to be left")


@pytest.mark.timeout(600)
def test_a_push_while_the_coordinator_is_down(farm):
    """What happened meanwhile is seen at the start."""
    registry, slow, sheafd = slow_image(farm, 1)
    farm.agent(sheafd, "board")
    sheafd.wait_idle(200)
    before = registry.digest("osf/slow", "latest")
    sheafd.stop()
    slow.commit({"Dockerfile": f"FROM {registry.host}/osf/base\nRUN echo other >/slow\n"})
    sheafd.start()
    sheafd.settle(slow)
    assert registry.digest("osf/slow", "latest") != before
    mark = len(sheafd.builds())
    # And starting again decides nothing.
    sheafd.restart()
    sheafd.settle(slow)
    assert len(sheafd.builds()) == mark


@pytest.mark.timeout(600)
def test_the_registry_is_away(farm):
    """The build waits, nobody is blamed, and it publishes when the registry is back."""
    registry, slow, sheafd = slow_image(farm, 1)
    farm.agent(sheafd, "board")
    sheafd.wait_idle(200)
    registry.stop()
    slow.commit({"Dockerfile": f"FROM {registry.host}/osf/base\nRUN echo other >/slow\n"})
    sheafd.poll(slow)
    time.sleep(5)
    assert sheafd.track("slow")["state"] != "failed"
    registry.start()
    sheafd.wait(lambda: len(sheafd.builds("slow")) == 2 and sheafd.track("slow")["state"] == "published", 200, "published")
    assert all(b["blames"] == 0 for b in sheafd.get("/v1/boards")["boards"])
