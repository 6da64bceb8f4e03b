"""What a board may do through the gateway, and that it costs no memory."""
import base64
import hashlib
import http.client
import json
import signal
import socket
import time

import pytest
from gateway_world import MANIFEST, digest_of, manifest_of
from procs import wait_for

GIB = 1 << 30
BLOCK = bytes(1 << 20)


def test_pulls_the_pinned_base(world):
    g = world.gateway
    status, headers, body = g.request("GET", world.path("library/base", f"manifests/{world.pin}"))
    assert (status, body) == (200, world.manifest)
    assert headers["content-type"] == MANIFEST and headers["docker-content-digest"] == world.pin
    for blob in (world.config, world.layer):
        status, headers, body = g.request("GET", world.path("library/base", f"blobs/{digest_of(blob)}"))
        assert (status, body) == (200, blob) and headers["docker-content-digest"] == digest_of(blob)
        status, headers, body = g.request("HEAD", world.path("library/base", f"blobs/{digest_of(blob)}"))
        assert (status, body) == (200, b"") and headers["content-length"] == str(len(blob))
    assert g.request("HEAD", world.path("library/base", f"manifests/{world.pin}"))[0] == 200


def test_pulls_a_range(world):
    status, headers, body = world.gateway.request("GET", world.path("library/base", f"blobs/{digest_of(world.layer)}"),
                                                  headers={"Range": "bytes=5-14"})
    assert (status, body) == (206, world.layer[5:15])
    assert headers["content-range"] == f"bytes 5-14/{len(world.layer)}"


def test_pushes_in_every_way(world):
    g, blobs = world.gateway, [b"config", b"one request" * 99, b"post then put" * 99, b"in chunks" * 9999, b"chunked encoding" * 99]
    world.push(blobs[0])
    status, headers, _ = g.request("POST", world.path("osf/one", f"blobs/uploads/?digest={digest_of(blobs[1])}"), blobs[1])
    if status == 202:  # docker-registry takes no monolithic POST: the session that it opened instead
        status = g.request("PUT", f"{headers['location']}?digest={digest_of(blobs[1])}", blobs[1])[0]
    assert status == 201
    world.push(blobs[2])
    at, sent = world.begin(), 0
    for piece in (blobs[3][:50000], blobs[3][50000:]):
        span = f"{sent}-{sent + len(piece) - 1}"
        status, headers, _ = g.request("PATCH", at, piece, headers={"Content-Range": span, "Content-Type": "application/octet-stream"})
        at, sent = headers["location"], sent + len(piece)
        assert status == 202 and headers["range"] == f"0-{sent - 1}"
    assert g.request("GET", at)[0] == 204
    assert g.request("PUT", f"{at}?digest={digest_of(blobs[3])}")[0] == 201
    at = world.begin()
    status, headers, _ = g.request("PATCH", at, iter([blobs[4][:700], blobs[4][700:]]), chunked=True)
    assert status == 202
    status, headers, _ = g.request("PUT", f"{headers['location']}?digest={digest_of(blobs[4])}")
    assert status == 201 and headers["location"] == world.path("osf/one", f"blobs/{digest_of(blobs[4])}")
    for blob in blobs:
        assert world.registry.blob("osf/one", digest_of(blob)) == blob
        assert g.request("HEAD", world.path("osf/one", f"blobs/{digest_of(blob)}"))[0] == 200
    manifest = manifest_of(*blobs)
    status, headers, _ = g.request("PUT", world.path("osf/one", f"manifests/{digest_of(manifest)}"), manifest, headers={"Content-Type": MANIFEST})
    assert status == 201 and headers["docker-content-digest"] == digest_of(manifest)
    assert world.registry.raw("osf/one", digest_of(manifest))[:2] == (manifest, MANIFEST)
    assert g.request("HEAD", world.path("osf/one", f"manifests/{digest_of(manifest)}"))[0] == 200
    assert world.registry.tags("osf/one") == []


def test_mounts_from_the_base(world):
    layer = digest_of(world.layer)
    status, headers, _ = world.gateway.request("POST", world.path("osf/one", f"blobs/uploads/?mount={layer}&from={world.host}/library/base"))
    assert status == 201 and headers["location"] == world.path("osf/one", f"blobs/{layer}")
    assert world.registry.blob("osf/one", layer) == world.layer


def test_a_bad_digest_is_the_registrys_to_refuse(world):
    status, _, body = world.gateway.request("PUT", f"{world.begin()}?digest={digest_of(b'other')}", b"this")
    assert status == 400 and json.loads(body)["errors"][0]["code"] == "DIGEST_INVALID"


def test_credentials_are_asked_for(world):
    for lease, secret in ((None, None), ("L1", "s2"), ("L2", "s1"), ("", "")):
        status, headers, body = world.gateway.request("GET", "/v2/", lease=lease, secret=secret)
        assert status == 401 and headers["www-authenticate"].startswith("Basic ")
        assert json.loads(body)["errors"][0]["code"] == "UNAUTHORIZED"
    assert world.gateway.request("GET", "/v2/")[0] == 200
    for token in ("L1:s1", "s1"):
        assert world.gateway.request("GET", "/v2/", lease=None, headers={"Authorization": f"Bearer {token}"})[0] == 200


def test_a_registry_that_is_away(world):
    world.registry.stop()
    status, _, body = world.gateway.request("GET", world.path("library/base", f"manifests/{world.pin}"))
    assert status in (502, 503) and json.loads(body)["errors"][0]["code"] == "UNAVAILABLE"
    status, _, _ = world.gateway.request("POST", world.path("osf/one", "blobs/uploads/"))
    assert status == 502


def open_upload(world, length):
    """A connection on which an upload of `length` bytes has begun."""
    at = world.begin()
    connection = http.client.HTTPConnection("127.0.0.1", world.gateway.port, timeout=120)
    connection.putrequest("PATCH", at)
    connection.putheader("Authorization", "Basic " + base64.b64encode(b"L1:s1").decode())
    connection.putheader("Content-Length", str(length))
    connection.endheaders()
    return connection


def test_a_reload_in_the_middle_of_a_manifest(world):
    """The registry's client that the request began with has gone when its body is there."""
    manifest = manifest_of(b"config", b"layer")
    world.push(b"config")
    world.push(b"layer")
    connection = http.client.HTTPConnection("127.0.0.1", world.gateway.port, timeout=60)
    connection.putrequest("PUT", world.path("osf/one", f"manifests/{digest_of(manifest)}"))
    connection.putheader("Authorization", "Basic " + base64.b64encode(b"L1:s1").decode())
    connection.putheader("Content-Type", MANIFEST)
    connection.putheader("Content-Length", str(len(manifest)))
    connection.endheaders()
    connection.send(manifest[:10])
    assert world.gateway.request("GET", "/v2/")[0] == 200  # a turn of the loop
    world.gateway.process.child.send_signal(signal.SIGHUP)
    wait_for(lambda: "reloaded" in world.gateway.process.output(), 10, "reloaded")
    connection.send(manifest[10:])
    assert connection.getresponse().status == 201
    connection.close()


def test_a_board_that_vanishes(world):
    for _ in range(20):
        connection = open_upload(world, GIB)
        connection.send(BLOCK)
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.close()
    world.push(b"still there")
    assert world.registry.blob("osf/one", digest_of(b"still there")) == b"still there"


@pytest.mark.timeout(300)
def test_a_gigabyte_up_and_down_in_bounded_memory(world):
    g, whole = world.gateway, hashlib.sha256()
    world.push(b"warm")
    before = g.memory()
    connection, began = open_upload(world, GIB), time.monotonic()
    for _ in range(GIB // len(BLOCK)):
        connection.send(BLOCK)
        whole.update(BLOCK)
    answer = connection.getresponse()
    answer.read()
    took, digest = time.monotonic() - began, "sha256:" + whole.hexdigest()
    assert answer.status == 202 and answer.getheader("Range") == f"0-{GIB - 1}"
    print(f"1 GiB up in {took:.1f} s, {1024 / took:.0f} MiB/s, {g.memory()} MiB resident at most ({before} before)")
    assert g.memory() - before < 8
    assert g.request("PUT", f"{answer.getheader('Location')}?digest={digest}")[0] == 201
    check_download(world, digest, before)


def check_download(world, digest, before):
    """The same blob as a base of another lease, read back slowly at first."""
    manifest = manifest_of(world.config, b"")
    document = json.loads(manifest)
    document["layers"][0].update(digest=digest, size=GIB)
    manifest = json.dumps(document).encode()
    world.fill("osf/one", [world.config], {"big": manifest})
    world.gateway.stop()
    gateway = type(world.gateway)(world.folder, world.registry, [
        {"lease": "L3", "secret": "s3", "repository": f"{world.host}/osf/three",
         "bases": [{"repository": f"{world.host}/osf/one", "digest": digest_of(manifest)}]}])
    world.gateway = gateway
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=120)
    connection.request("GET", world.path("osf/one", f"blobs/{digest}"),
                       headers={"Authorization": "Basic " + base64.b64encode(b"L3:s3").decode()})
    answer, got = connection.getresponse(), hashlib.sha256()
    time.sleep(1)
    while piece := answer.read(1 << 20):
        got.update(piece)
    assert "sha256:" + got.hexdigest() == digest
    print(f"1 GiB down, {gateway.memory()} MiB resident at most")
    assert gateway.memory() - before < 8
