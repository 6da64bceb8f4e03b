"""Scenario 4: a tag publishes under its version and latest; an older one pushed later leaves latest alone."""
import oci
import pytest
import shapes

pytestmark = [pytest.mark.root, pytest.mark.slow]


def tool(git, registry):
    """An upstream with versions, and its entry."""
    up = git.repo("tool")
    image = {"source": up.url, "ref": "refs/tags/v*", "tags": ["$version", "$major.$minor", "latest"],
             "platforms": ["linux/amd64"]}
    up.commit({**shapes.base_files("1.3.9", platforms=["linux/amd64"])})
    up.tag("v1.3.9")
    up.commit(shapes.base_files("1.4.0", platforms=["linux/amd64"]))
    up.tag("v1.4.0", annotated=True)
    return up, {"registry": f"{registry.host}/osf", "images": {"tool": image}}


def release(registry, tag):
    return (oci.file_content(registry, "osf/tool", tag, "linux/amd64", "etc/alpine-release") or b"").decode().strip()


@pytest.mark.timeout(600)
def test_versions_and_latest(farm):
    registry = farm.registry()
    up, config = tool(farm.git(), registry)
    sheafd = farm.coordinator(config)
    farm.agent(sheafd, "amd64-1")
    sheafd.wait_idle(300)
    # Of the old tags only the newest is built at first sight.
    assert release(registry, "1.4.0") == "1.4.0" and release(registry, "latest") == "1.4.0"
    assert "1.3.9" not in registry.tags("osf/tool")

    # An older line's version is built and tagged, and does not take latest.
    old = up.commit(shapes.base_files("1.3.10", platforms=["linux/amd64"]), branch="stable-1.3")
    up.tag("v1.3.10", old)
    sheafd.settle(up)
    assert release(registry, "1.3.10") == "1.3.10" and release(registry, "1.3") == "1.3.10"
    assert release(registry, "latest") == "1.4.0" and release(registry, "1.4") == "1.4.0"

    # A newer one takes it.
    up.tag("v1.5.0", up.commit(shapes.base_files("1.5.0", platforms=["linux/amd64"])))
    sheafd.settle(up)
    assert release(registry, "1.5.0") == "1.5.0" and release(registry, "latest") == "1.5.0"
    assert release(registry, "1.4") == "1.4.0"

    # A version whose tree is that of the last one: the tag appears, nothing is built for it.
    jobs = len(sheafd.jobs("tool"))
    up.tag("v1.5.1")
    sheafd.settle(up)
    assert registry.digest("osf/tool", "1.5.1") == registry.digest("osf/tool", "1.5.0")
    assert registry.digest("osf/tool", "1.5") == registry.digest("osf/tool", "1.5.1")
    assert len(sheafd.jobs("tool")) == jobs

    # A pre-release gets its own tag and no other.
    up.tag("v2.0.0-rc1", up.commit(shapes.base_files("2.0.0-rc1", platforms=["linux/amd64"])))
    sheafd.settle(up)
    assert release(registry, "2.0.0-rc1") == "2.0.0-rc1" and release(registry, "latest") == "1.5.0"
    # latest is put last, whenever it is put.
    puts = [t for t in registry.tag_puts("osf/tool") if t in ("1.5.0", "latest")]
    assert puts[-1] == "latest" or puts.index("1.5.0") < len(puts) - 1 - puts[::-1].index("latest")
