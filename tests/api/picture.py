#!/usr/bin/python3
"""Makes docs/dashboard.png: the status page of a real farm, with boards of three architectures (two of them emulated).

usage: tests/api/picture.py [FILE]     as root; SHEAF_BUILD names the build
"""
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "lib"))
sys.dont_write_bytecode = True
import shapes  # noqa: E402
from browser import Browser  # noqa: E402
from farm import Farm  # noqa: E402

PLATFORMS = ["linux/amd64", "linux/arm64", "linux/arm/v7"]
SLOW = "RUN i=0; while [ $i -lt 600 ]; do echo step $i; sleep 1; i=$((i + 1)); done\n"


def upstreams(farm, registry):
    """Four repositories, and their entries of farm.yaml."""
    git = farm.git()
    alpine, web, sensor, relay = (git.repo(n) for n in ("docker-alpine", "containers", "sensor", "relay"))
    for version in ("v3.19", "v3.20"):
        alpine.commit(shapes.alpine_files(version[1:] + ".0"), branch=version, orphan=True)
    base = f"FROM {registry.host}/osf/alpine:3.20\n"
    web.commit({"nginx-coap-proxy/Dockerfile": base + "RUN uname -m >/built-on\nCMD [\"sh\"]\n"})
    web.tag("v1.4.0")
    sensor.commit({"Dockerfile": base + "ARG TARGETARCH\nRUN [ $TARGETARCH != arm ] || { echo sensor: no 64-bit atomics here >&2; exit 1; }\n"})
    relay.commit({"Dockerfile": base + "RUN true\n"})
    common = {"emulated": True}
    return relay, {
        "alpine": shapes.alpine_image(alpine, history=2, **common),
        "nginx-coap-proxy": {"source": web.url, "ref": "refs/tags/v*", "context": "nginx-coap-proxy",
                             "tags": ["$version", "$major.$minor", "latest"], **common},
        "sensor": {"source": sensor.url, "ref": "refs/heads/master", "tags": ["edge"], **common},
        "relay": {"source": relay.url, "ref": "refs/heads/master", "tags": ["edge"], **common}}


def main():
    farm = Farm("picture")
    try:
        registry = farm.registry()
        relay, images = upstreams(farm, registry)
        sheafd = farm.coordinator({"registry": f"{registry.host}/osf", "platforms": PLATFORMS, "images": images})
        farm.agent(sheafd, "server-1", slots=2)
        for name, platform in (("pi-4", "linux/arm64"), ("pi-3", "linux/arm/v7")):
            farm.agent(sheafd, name, slots=1, emulated=[platform])
        sheafd.wait_idle(600)
        relay.commit({"Dockerfile": f"FROM {registry.host}/osf/alpine:3.20\n{SLOW}"})
        sheafd.poll(relay)
        sheafd.wait(lambda: sheafd.get("/v1/status")["jobs"]["running"] >= 2, 120, "something running")
        browser = farm.add(Browser(farm.path("browser"), farm.env))
        browser.shape(1280, 920, scale=1)
        browser.open(sheafd.status_url + "/")
        browser.wait("document.querySelectorAll('#images tbody tr').length > 3 && document.querySelectorAll('#boards tbody tr').length > 2")
        browser.wait("document.querySelectorAll('#running tbody tr').length > 1")
        browser.picture(sys.argv[1] if len(sys.argv) > 1 else os.path.join(ROOT, "docs", "dashboard.png"))
    finally:
        said = farm.stop()
        farm.remove()
    print("\n".join(said), end="")


if __name__ == "__main__":
    main()
