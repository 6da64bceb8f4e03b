"""The coordinator as a process: another one beside it, bad files, signals at bad moments."""
import os
import signal
import time
import urllib.request

import pytest
import shapes
from farm import Coordinator
from procs import Failed

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


@pytest.mark.timeout(120)
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


@pytest.mark.timeout(120)
def test_bad_files(farm):
    """A reload with one changes nothing, and a start with one runs on the last that was good in every respect."""
    registry, _, config = one_image(farm)
    sheafd = farm.coordinator(config)
    kept = accepted(sheafd)

    def says(text):
        sheafd.wait(lambda: text in sheafd.process.output(), 20, text)

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
