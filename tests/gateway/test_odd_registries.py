"""The gateway between our own client and registries with habits: tokens that expire, Locations of all kinds."""
import json
import os
import subprocess

import pytest
from fake_registry import FakeRegistry
from farm import BUILD
from gateway_world import MANIFEST, Gateway, digest_of, manifest_of

SIZE = 3 << 20


class Between:
    """registry-tool, the client that boards use -> gateway-tool -> FakeRegistry."""

    def __init__(self, folder):
        self.folder, self.registry = folder, FakeRegistry()
        self.registry.auth, self.host = "token", self.registry.host
        self.layer, self.config = os.urandom(SIZE), b'{"os":"linux"}'
        self.base = manifest_of(self.config, self.layer)
        for blob in (self.layer, self.config):
            self.registry.add_blob("library/base", blob)
        self.registry.add_manifest("library/base", "latest", MANIFEST, self.base)
        self.gateway = Gateway(folder, self.registry, [{
            "lease": "L1", "secret": "s1", "repository": f"{self.host}/osf/one",
            "bases": [{"repository": f"{self.host}/library/base", "digest": digest_of(self.base)}]}])

    def client(self, *commands):
        """Has a board's client do these commands; each result."""
        done = subprocess.run([f"{BUILD}/tests/registry/registry-tool", f"127.0.0.1:{self.gateway.port}", "L1", "s1"], text=True, timeout=60,
                              capture_output=True, input="".join(json.dumps(c) + "\n" for c in commands), check=True,
                              env={**os.environ, "RETRY_MS": "10"})
        return [json.loads(line) for line in done.stdout.splitlines()]

    def file(self, data):
        path = os.path.join(self.folder, "blob")
        with open(path, "wb") as f:
            f.write(data)
        return path

    def push(self, data, chunk=0, mount_from=None):
        return self.client(["blob-put", f"{self.host}/osf/one", digest_of(data), self.file(data), mount_from, chunk])[0]

    def stop(self):
        assert self.gateway.stop() == 0, self.gateway.process.output()
        self.registry.close()


@pytest.fixture
def between(tmp_path):
    b = Between(str(tmp_path))
    yield b
    b.stop()


@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("chunk", [0, 1 << 20])
@pytest.mark.parametrize("auth", [None, "basic", "token"])
def test_pushes(between, auth, chunk, absolute):
    between.registry.auth, between.registry.absolute = auth, absolute
    data = os.urandom(SIZE)
    assert between.push(data, chunk)["error"] is None
    assert between.registry.blobs["osf/one", digest_of(data)] == data
    assert between.push(data, chunk)["existed"]


def test_tokens_that_expire_half_way(between):
    between.registry.token_uses = 3  # then refused, whatever was said of its life
    data = os.urandom(SIZE)
    assert between.push(data, 1 << 20)["error"] is None
    assert between.registry.blobs["osf/one", digest_of(data)] == data
    between.registry.token_uses, between.registry.token_life = None, 1
    assert between.push(os.urandom(SIZE), 0)["error"] is None


def test_a_manifest_and_back(between):
    between.push(between.config)
    manifest = manifest_of(between.config)
    put, got = between.client(["put", f"{between.host}/osf/one", digest_of(manifest), MANIFEST, manifest.decode(), False],
                              ["get", f"{between.host}/osf/one", digest_of(manifest)])
    assert put["error"] is None and got["error"] is None and got["digest"] == digest_of(manifest)
    assert between.registry.manifests["osf/one", digest_of(manifest)] == (MANIFEST, manifest)


def test_pulls_once_for_many(between):
    """A manifest that several boards pull is fetched from its registry once."""
    between.registry.auth = None  # no 401 in between to count
    reference = [f"{between.host}/library/base", digest_of(between.base)]
    out = os.path.join(between.folder, "out")
    for _ in range(3):
        results = between.client(["get", *reference], ["blob-get", reference[0], digest_of(between.layer), SIZE, out])
        assert [r["error"] for r in results] == [None, None]
        with open(out, "rb") as f:
            assert f.read() == between.layer
        os.unlink(out)
    assert between.registry.count("GET", "/manifests/") == 1


def test_mounts(between):
    assert between.push(between.layer, mount_from=f"{between.host}/library/base")["mounted"]
    between.registry.mounts = False  # the registry opens a session instead
    assert between.push(between.config, mount_from=f"{between.host}/library/base")["error"] is None
    assert between.registry.blobs["osf/one", digest_of(between.config)] == between.config


def test_trouble_is_passed_on_as_trouble(between):
    data = os.urandom(1000)
    between.registry.fault("PUT", "/blobs/uploads/", times=1, status=503)
    assert between.push(data)["error"] is None  # tried again by the board
    between.registry.fault("GET", f"/library/base/blobs/{digest_of(between.layer)}", times=1, send=SIZE // 2)
    out = os.path.join(between.folder, "out")
    got = between.client(["blob-get", f"{between.host}/library/base", digest_of(between.layer), SIZE, out])[0]
    assert got["error"] is None  # cut in the middle: the board's client went on from there
    between.registry.auth, between.registry.password = "basic", "changed"
    status, _, body = between.gateway.request("POST", f"/v2/{between.host}/osf/one/blobs/uploads/")
    assert status == 502 and b"UNAVAILABLE" in body  # our credentials, not the board's
