"""Scenario 5: one platform fails: nothing is published, the old tag works on, and the reason is told."""
import pytest
import shapes
from clients import Storage

pytestmark = [pytest.mark.root, pytest.mark.slow]


@pytest.mark.timeout(900)
def test_a_failing_platform_holds_everything(farm):
    registry, git = farm.registry(), farm.git()
    base, app = git.repo("base"), git.repo("app")
    base.commit(shapes.base_files("1"))
    name = f"{registry.host}/osf"
    app.commit({"Dockerfile": f"FROM {name}/base\nRUN echo one >/app\n"})
    common = {"ref": "refs/heads/master", "tags": ["latest"], "emulated": True}
    sheafd = farm.coordinator({"registry": name, "platforms": list(shapes.ALL), "images": {
        "base": {"source": base.url, **common}, "app": {"source": app.url, **common}}})
    farm.agent(sheafd, "amd64-1")
    farm.agent(sheafd, "arm-1", emulated=["linux/arm64", "linux/arm/v7"])
    sheafd.wait_idle(600)
    before = registry.digest("osf/app", "latest")
    assert before

    app.commit({"Dockerfile": f"FROM {name}/base\nRUN case $(uname -m) in armv[78]l) echo the stalk is bent; exit 3;; esac; "
                              "echo two >/app\n"})
    sheafd.settle(app, seconds=600)
    assert registry.digest("osf/app", "latest") == before, "nothing half-published"
    assert Storage(farm).run(registry, "osf/app", "latest", ["cat", "/app"]) == "one\n"
    track = sheafd.track("app")
    assert track["state"] == "failed" and "linux/arm/v7" in track["reason"]["text"]
    cells = {c["platform"]: c for c in track["cells"]}
    assert cells["linux/arm/v7"]["state"] == "failed"
    assert cells["linux/amd64"]["state"] == cells["linux/arm64"]["state"] == "succeeded"
    job = sheafd.job(cells["linux/arm/v7"]["job"])
    assert job["kind"] == "recipe" and len(job["attempts"]) == 2, "run once more before it counts"
    assert "the stalk is bent" in sheafd.job_log(job["key"])
    shown = sheafd.ctl("show", "app", check=False).stdout
    assert "linux/arm/v7" in shown and "the stalk is bent" in shown

    app.commit({"Dockerfile": f"FROM {name}/base\nRUN echo three >/app\n"})
    sheafd.settle(app, seconds=600)
    assert sheafd.track("app")["state"] == "published"
    assert Storage(farm).run(registry, "osf/app", "latest", ["cat", "/app"]) == "three\n"
    assert set(registry.children("osf/app", "latest")) == set(shapes.ALL)
