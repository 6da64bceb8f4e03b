"""The registry client against Debian's docker-registry; skopeo judges what it pushed."""
import gzip
import hashlib
import io
import json
import os
import tarfile

import pytest

from fake_registry import digest_of
from procs import run

pytestmark = pytest.mark.quick

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def tar_of(files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


class Image:
    """A small image: its blobs, its manifest and an index around it."""

    def __init__(self, folder, content=b"hello\n"):
        tar = tar_of({"greeting": content})
        self.layer = gzip.compress(tar, mtime=0)
        self.config = json.dumps({"os": "linux", "architecture": "amd64", "config": {"Cmd": ["/greeting"]},
                                  "rootfs": {"type": "layers", "diff_ids": [digest_of(tar)]}}).encode()
        self.files = {}
        for data in (self.layer, self.config):
            path = folder / digest_of(data)[7:]
            path.write_bytes(data)
            self.files[digest_of(data)] = str(path)
        self.manifest = json.dumps({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": digest_of(self.config), "size": len(self.config)},
            "layers": [{"mediaType": LAYER, "digest": digest_of(self.layer), "size": len(self.layer)}]})
        self.digest = digest_of(self.manifest.encode())
        self.index = json.dumps({
            "schemaVersion": 2, "mediaType": INDEX,
            "manifests": [{"mediaType": MANIFEST, "digest": self.digest, "size": len(self.manifest),
                           "platform": {"os": "linux", "architecture": "amd64"}}]})

    def push(self, tool, repository, tag, **how):
        for digest, path in self.files.items():
            tool.ok("blob-put", repository, digest, path, how.get("source"), how.get("chunk", 0))
        tool.ok("put", repository, self.digest, MANIFEST, self.manifest, False)
        tool.ok("put", repository, tag, INDEX, self.index, False)


def skopeo(*args):
    return run(["skopeo", *args], timeout=60).stdout


@pytest.mark.parametrize("credentials", [None, ("user", "se:cret")])
def test_push_is_what_skopeo_reads(debian_registry, client, tmp_path, credentials):
    user, password = credentials or (None, None)
    registry = debian_registry(user=user, password=password)
    tool = client(registry.host, *(credentials or ()))
    tool.ok("ping")
    image = Image(tmp_path)
    image.push(tool, "osf/hello", "1.0")
    login = ["--creds", ":".join(credentials)] if credentials else []
    assert skopeo("inspect", "--tls-verify=false", *login, "--raw", f"docker://{registry.host}/osf/hello:1.0") == image.index
    skopeo("copy", "--src-tls-verify=false", *[x.replace("--creds", "--src-creds") for x in login],
           f"docker://{registry.host}/osf/hello:1.0", f"oci:{tmp_path}/layout:x")
    layer = tmp_path / "layout" / "blobs" / "sha256" / digest_of(image.layer)[7:]
    assert layer.read_bytes() == image.layer
    assert tool.ok("tags", "osf/hello")["tags"] == ["1.0"]
    if credentials:
        client(registry.host, "user", "wrong").fails("EACCES", "ping")
        client(registry.host).fails("EACCES", "head", "osf/hello", "1.0")


def test_pull_of_what_skopeo_pushed(debian_registry, client, tmp_path):
    registry = debian_registry()
    tool = client(registry.host)
    image = Image(tmp_path)
    image.push(tool, "osf/hello", "1.0")
    skopeo("copy", "--src-tls-verify=false", "--dest-tls-verify=false", "--format", "v2s2",
           f"docker://{registry.host}/osf/hello:1.0", f"docker://{registry.host}/osf/copy:2")
    head = tool.ok("head", "osf/copy", "2")
    assert head["media_type"] == "application/vnd.docker.distribution.manifest.v2+json"
    manifest = json.loads(tool.ok("get", "osf/copy", head["digest"])["body"])
    layer = manifest["layers"][0]
    tool.ok("blob-get", "osf/copy", layer["digest"], layer["size"], str(tmp_path / "out"))
    assert digest_of((tmp_path / "out").read_bytes()) == layer["digest"]


def test_chunks_mounts_and_things_that_are_not_there(debian_registry, client, tmp_path):
    registry = debian_registry()
    tool = client(registry.host)
    data = os.urandom(3_000_000)
    digest = digest_of(data)
    (tmp_path / "blob").write_bytes(data)
    tool.ok("blob-put", "a/chunks", digest, str(tmp_path / "blob"), None, 700_000)
    assert registry.blob("a/chunks", digest) == data
    assert tool.ok("blob-put", "a/chunks", digest, str(tmp_path / "blob"), None, 0)["existed"]
    assert tool.ok("mount", "a/mounted", "a/chunks", digest)["mounted"]
    assert tool.ok("blob-put", "a/third", digest, str(tmp_path / "blob"), "a/chunks", 0)["mounted"]
    assert tool.ok("blob-head", "a/mounted", digest)["size"] == len(data)
    other = digest_of(b"not there")
    assert not tool.ok("mount", "a/mounted", "a/chunks", other)["mounted"]
    tool.fails("ENOENT", "blob-head", "a/mounted", other)
    tool.fails("ENOENT", "head", "a/mounted", "1")
    tool.fails("ENOENT", "tags", "no/such")
    tool.fails("ENODATA", "put", "a/mounted", "1", MANIFEST, Image(tmp_path).manifest, False)


def test_manifest_delete(debian_registry, client, tmp_path):
    registry = debian_registry()
    tool = client(registry.host)
    image = Image(tmp_path)
    image.push(tool, "a/b", "1")
    tool.ok("delete", "a/b", digest_of(image.index.encode()))
    tool.fails("ENOENT", "head", "a/b", "1")


@pytest.mark.timeout(600)
def test_a_large_blob_leaves_memory_flat(debian_registry, client, tmp_path):
    registry = debian_registry()
    path, out = tmp_path / "large", tmp_path / "out"
    block, hashed = os.urandom(1 << 20), hashlib.sha256()
    with open(path, "wb") as f:
        for i in range(300):
            piece = i.to_bytes(8, "big") + block[8:]
            f.write(piece)
            hashed.update(piece)
    digest, size = "sha256:" + hashed.hexdigest(), 300 << 20
    tool = client(registry.host)
    before = tool.ok("ping")["peak_kb"]
    tool.ok("blob-put", "a/large", digest, str(path), None, 0)
    tool.ok("blob-put", "a/chunked", digest, str(path), None, 32 << 20)
    after = tool.ok("blob-get", "a/large", digest, size, str(out))["peak_kb"]
    assert out.stat().st_size == size
    assert after - before < 4096, f"{before} kB before, {after} after"


def test_restart_of_the_registry_in_the_middle(debian_registry, client, tmp_path):
    registry = debian_registry()
    tool = client(registry.host, retry_ms=300)
    image = Image(tmp_path)
    image.push(tool, "a/b", "1")
    registry.stop()
    registry.start()
    assert tool.ok("head", "a/b", "1")["digest"] == digest_of(image.index.encode())  # the pooled connection is dead
