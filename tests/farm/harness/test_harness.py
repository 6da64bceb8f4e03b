"""The harness itself: the real servers start, serve, and leave nothing."""
import json
import os
import subprocess
import tarfile

import debian
import oci
import pytest
from farm import Farm
from gitserver import Exec, Link
from procs import marked, wait_for

pytestmark = [pytest.mark.root]


def test_upstreams_are_made_and_served(farm):
    git = farm.git()
    up = git.repo("minideb")
    first = up.commit({"mkimage": Exec("#!/bin/sh\n"), "README": "one\n", "link": Link("README")})
    up.tag("v1.0")
    second = up.commit({"README": "two\n"})
    up.tag("v1.1", annotated=True)
    forced = up.commit({"only": "this\n"}, branch="v3.20", orphan=True)
    again = up.commit({"only": "that\n"}, branch="v3.20", orphan=True)
    refs = subprocess.run(["git", "ls-remote", up.url], capture_output=True, text=True, timeout=30, check=True).stdout
    assert f"{second}\trefs/heads/master" in refs
    assert f"{first}\trefs/tags/v1.0" in refs
    assert f"{second}\trefs/tags/v1.1^{{}}" in refs
    assert f"{again}\trefs/heads/v3.20" in refs and forced not in refs
    listing = up.git("ls-tree", "-r", second)
    assert "100755 blob" in listing and "120000 blob" in listing


def test_the_same_upstreams_by_http_and_ssh(farm):
    git = farm.git()
    up = git.repo("thing")
    head = up.commit({"a": "b\n"})
    web, ssh = farm.web_git(git), farm.ssh_git(git)
    known = farm.path("known")
    with open(known, "w", encoding="utf-8") as f:
        f.write(ssh.known_hosts())
    command = f"ssh -i {ssh.key} -o UserKnownHostsFile={known} -o IdentitiesOnly=yes"
    for url, env in ((web.url(up), {}), (ssh.url(up), {"GIT_SSH_COMMAND": command})):
        out = subprocess.run(["git", "ls-remote", url], capture_output=True, text=True, timeout=30,
                             env={**os.environ, **env})
        assert head in out.stdout, out.stderr


@pytest.mark.parametrize("password", [None, "secret"])
def test_registry_takes_what_skopeo_pushes(farm, password):
    registry = farm.registry(user="joe" if password else None, password=password)
    layout, tar = farm.path("layout"), farm.path("root.tar")
    with tarfile.open(tar, "w") as t:
        t.add(debian.__file__, "etc/debian.py")
    subprocess.run(["buildah", "--root", farm.path("s"), "--runroot", farm.path("r"), "--storage-driver", "vfs", "bud",
                    "-q", "-t", f"oci:{layout}", "-f-", farm.dir], input=b"FROM scratch\nADD root.tar /\n", check=True,
                   timeout=100, capture_output=True)
    creds = ["--dest-creds", f"joe:{password}"] if password else []
    subprocess.run(["skopeo", "copy", "-q", "--dest-tls-verify=false", *creds, f"oci:{layout}",
                    f"docker://{registry.host}/a/b:1"], check=True, timeout=60)
    assert registry.tags("a/b") == ["1"] and registry.tag_puts("a/b") == ["1"]
    manifest = json.loads(registry.raw("a/b", "1")[0])
    assert oci.schema_errors(manifest, manifest.get("mediaType", "application/vnd.oci.image.manifest.v1+json")) == []
    tree = oci.tar_tree(registry.blob("a/b", manifest["layers"][0]["digest"]))
    assert tree["etc/debian.py"]["type"] == "file"
    manifest["layers"][0].pop("digest")
    assert oci.schema_errors(manifest, "application/vnd.oci.image.manifest.v1+json")


def test_leaks_are_found():
    """A process, and a mount, left by a test do not go unseen."""
    made = Farm("leaky")
    try:
        os.mkdir(made.path("mnt"))
        subprocess.run(["mount", "-t", "tmpfs", "none", made.path("mnt")], check=True, timeout=10)
        child = subprocess.Popen(["sleep", "1000"], env={**os.environ, **made.env})
        wait_for(lambda: marked(made.mark), 10, "the process to be seen")
        made.leaks.SETTLE = 1
        said = made.stop()
        child.wait(10)
        assert any("sleep 1000" in s for s in said) and any("mount " in s for s in said)
        assert made.leaks.found() == []
    finally:
        made.remove()
