"""Scenario 1: a Debian base from an upstream shaped like bitnami/minideb."""
import oci
import pytest
import shapes
from clients import Docker, Storage, skopeo_copy_all, skopeo_raw

pytestmark = [pytest.mark.root, pytest.mark.slow]


@pytest.mark.timeout(1500)
def test_a_debian_base_is_built_and_published(farm):
    registry, up = farm.registry(), farm.git().repo("minideb")
    up.commit(shapes.minideb_files())
    sheafd = farm.coordinator({"registry": f"{registry.host}/osf", "platforms": ["linux/amd64"],
                               "images": {"minideb": shapes.minideb_image(up, test="apt-get --version")}})
    farm.agent(sheafd, "amd64-1")
    sheafd.wait_idle(900)

    track = sheafd.track("minideb")
    assert track["state"] == "published", track["reason"]
    index = skopeo_raw(registry, "osf/minideb", "bookworm")
    assert oci.schema_errors(index, index["mediaType"]) == []
    assert [d["platform"]["architecture"] for d in index["manifests"]] == ["amd64"]
    manifest, config = registry.image("osf/minideb", "bookworm", "linux/amd64")
    assert oci.schema_errors(manifest, manifest["mediaType"]) == []
    assert oci.schema_errors(config, manifest["config"]["mediaType"]) == []
    assert config["config"]["Cmd"] == ["/bin/bash"]
    skopeo_copy_all(farm, registry, "osf/minideb", "bookworm")

    # The published container works, for two engines that know nothing of Sheaf.
    assert Storage(farm).run(registry, "osf/minideb", "bookworm", ["apt-get", "--version"]).startswith("apt ")
    assert Docker(farm).run(registry, "osf/minideb", "bookworm", ["apt-get", "--version"]).startswith("apt ")

    # What it holds was recorded.
    job = sheafd.jobs("minideb")[0]
    assert job["state"] == "succeeded" and job["content_digest"]
    log = sheafd.job_log(job["key"])
    assert "building bookworm for amd64" in log

    # The same inputs again: the same digest, although everything is made anew.
    before = registry.digest("osf/minideb", "bookworm")
    sheafd.ctl("rebuild", track["id"], "--no-cache")
    sheafd.wait_idle(900)
    again = [j for j in sheafd.jobs("minideb") if j["key"] != job["key"]]
    assert len(again) == 1 and again[0]["state"] == "succeeded"
    assert again[0]["content_digest"] == job["content_digest"]
    assert registry.digest("osf/minideb", "bookworm") == before


@pytest.mark.timeout(900)
def test_the_same_key_on_two_boards_gives_one_digest(farm):
    """A rootfs recipe, built by one board and then by another that has never seen it."""
    registry, git = farm.registry(), farm.git()
    up = git.repo("tree")
    up.commit({"make": shapes.Exec(
        '#!/bin/sh\nset -e\nmkdir -p "$1/etc" "$1/b" "$1/a"\nfor i in 3 1 2; do echo $i >"$1/etc/$i"; done\n'
        'ln "$1/etc/1" "$1/b/one"; ln -s ../etc/2 "$1/a/two"; date >"$1/etc/date.$$" && rm "$1"/etc/date.*\n'
        'chown 8:12 "$1/etc/3"; chmod 4755 "$1/etc/2"\n')})
    sheafd = farm.coordinator({"registry": f"{registry.host}/osf", "platforms": ["linux/amd64"], "images": {
        "tree": {"source": up.url, "ref": "refs/heads/master", "rootfs": './make "$SHEAF_ROOTFS"', "tags": ["latest"]}}})
    first = farm.agent(sheafd, "one")
    sheafd.wait_idle(600)
    first.stop()
    farm.agent(sheafd, "two")
    sheafd.ctl("rebuild", "tree", "--no-cache")
    sheafd.wait_idle(600)
    jobs = sheafd.jobs("tree")
    assert [j["attempts"][-1]["board"] for j in jobs] == ["one", "two"]
    assert jobs[0]["manifest"]["digest"] == jobs[1]["manifest"]["digest"]
    assert jobs[0]["content_digest"] == jobs[1]["content_digest"]
