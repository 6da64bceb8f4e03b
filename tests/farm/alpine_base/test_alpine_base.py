"""Scenario 2: an Alpine base from an upstream shaped like alpinelinux/docker-alpine, for three platforms."""
import oci
import pytest
import shapes
from clients import Docker, Storage, skopeo_copy_all, skopeo_raw

pytestmark = [pytest.mark.root, pytest.mark.slow]


def tarball(files, platform):
    """The minirootfs of one platform, from an upstream's files."""
    folder = shapes.ALPINE[platform] + "/"
    return next(data for name, data in files.items() if name.startswith(folder) and name.endswith(".tar.gz"))


@pytest.mark.timeout(900)
def test_an_alpine_base_for_three_platforms(farm):
    registry, up = farm.registry(), farm.git().repo("docker-alpine")
    older, newer = shapes.alpine_files("3.19.1"), shapes.alpine_files("3.20.0")
    up.commit({"README.md": "nothing here\n"})
    up.commit(older, branch="v3.19", orphan=True)
    up.commit(newer, branch="v3.20", orphan=True)
    up.commit(shapes.alpine_files("3.18.0"), branch="v3.18", orphan=True)
    sheafd = farm.coordinator({"registry": f"{registry.host}/osf", "platforms": list(shapes.ALL), "images": {
        "alpine": shapes.alpine_image(up, versions=">=3.19", emulated=True)}})
    farm.agent(sheafd, "amd64-1")
    farm.agent(sheafd, "arm-1", emulated=["linux/arm64", "linux/arm/v7"])
    sheafd.wait_idle(600)

    # 3.18 is outside `versions`; latest goes to the highest.
    assert {"3.19", "3.20", "latest"} <= set(registry.tags("osf/alpine"))
    assert "3.18" not in registry.tags("osf/alpine")
    assert registry.digest("osf/alpine", "latest") == registry.digest("osf/alpine", "3.20")

    index = skopeo_raw(registry, "osf/alpine", "3.20")
    assert oci.schema_errors(index, index["mediaType"]) == []
    platforms = [d["platform"] for d in index["manifests"]]
    assert {"os": "linux", "architecture": "arm", "variant": "v7"} in platforms
    assert {"os": "linux", "architecture": "arm64", "variant": "v8"} in platforms
    for tag, files in (("3.20", newer), ("3.19", older)):
        for platform in shapes.ALL:
            got = oci.root_tree(registry, "osf/alpine", tag, platform)
            assert oci.differences(oci.tar_tree(tarball(files, platform)), got) == [], f"{tag} {platform}"

    # Per-architecture tags name the children.
    children = registry.children("osf/alpine", "3.20")
    for platform, suffix in (("linux/amd64", "amd64"), ("linux/arm64", "arm64"), ("linux/arm/v7", "arm")):
        assert registry.digest("osf/alpine", f"3.20-{suffix}") == children[platform]["digest"]

    # Every client gets its architecture.
    skopeo_copy_all(farm, registry, "osf/alpine", "3.20")
    storage, docker = Storage(farm), Docker(farm)
    for platform, architecture in (("linux/amd64", "amd64"), ("linux/arm64", "arm64"), ("linux/arm/v7", "arm")):
        assert storage.pull(registry, "osf/alpine", "3.20", platform)["OCIv1"]["architecture"] == architecture
        assert docker.pull(registry, "osf/alpine", "3.20", platform)["Architecture"] == architecture
    assert storage.run(registry, "osf/alpine", "3.20", ["cat", "/etc/alpine-release"]) == "3.20.0\n"

    # The branch is force-pushed, as upstream always does: the new tree replaces the old.
    before = registry.digest("osf/alpine", "3.19")
    up.commit(shapes.alpine_files("3.20.1"), branch="v3.20", orphan=True, replace=True)
    sheafd.poll(up)
    sheafd.settle(up, seconds=600)  # a move that is no descendant counts at its second sighting
    for platform in shapes.ALL:
        assert oci.file_content(registry, "osf/alpine", "3.20", platform, "etc/alpine-release") == b"3.20.1\n"
    assert registry.digest("osf/alpine", "3.19") == before
    assert registry.digest("osf/alpine", "latest") == registry.digest("osf/alpine", "3.20")
