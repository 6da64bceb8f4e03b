"""The registry client against a registry that does, to order, what the specification allows and people have met."""
import base64
import hashlib
import json
import os
import time
from email.utils import formatdate

import pytest

from fake_registry import FakeRegistry, digest_of
from procs import run

pytestmark = pytest.mark.quick

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
TEXT = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "layers": [],
                   "config": {"mediaType": "x/y", "digest": "sha256:" + "1" * 64, "size": 1}})
DIGEST = digest_of(TEXT.encode())
BLOB = os.urandom(300_000)
BLOB_DIGEST = digest_of(BLOB)


@pytest.fixture
def blob(tmp_path):
    path = tmp_path / "blob"
    path.write_bytes(BLOB)
    return str(path)


# ---- credentials ----

def test_anonymous_asks_nothing_twice(fake, client):
    fake.add_manifest("a/b", "1", MANIFEST, TEXT.encode())
    assert client(fake.host).ok("get", "a/b", "1")["body"] == TEXT
    assert fake.requests == [("GET", "/v2/a/b/manifests/1")]


def test_basic(fake, client):
    fake.auth = "basic"
    tool = client(fake.host, "user", "secret")
    tool.ok("ping")
    tool.ok("put", "a/b", "1", MANIFEST, TEXT, False)
    assert len(fake.requests) == 4  # one 401 in all
    client(fake.host, "user", "wrong").fails("EACCES", "ping")
    client(fake.host).fails("EACCES", "ping")


@pytest.mark.parametrize("key", ["token", "access_token"])
def test_token(fake, client, blob, key):
    fake.auth, fake.token_key = "token", key
    tool = client(fake.host, "user", "secret")
    tool.ok("blob-put", "a/b", BLOB_DIGEST, blob, None, 0)
    tool.ok("put", "a/b", "1", MANIFEST, TEXT, False)
    assert fake.count("GET", "/token") <= 2  # pull for the manifest's HEAD, pull and push for the rest
    assert any("scope=repository:a/b:pull,push" in p for _, p in fake.requests)


def test_token_for_an_anonymous_reader(fake, client):
    fake.auth = "token"
    fake.add_manifest("a/b", "1", MANIFEST, TEXT.encode())
    client(fake.host).ok("get", "a/b", "1")


def test_token_expires_half_way(fake, client, blob):
    fake.auth, fake.token_uses = "token", 2
    tool = client(fake.host, "user", "secret")
    assert tool.ok("blob-put", "a/b", BLOB_DIGEST, blob, None, 40_000)["size"] == len(BLOB)
    assert fake.blobs["a/b", BLOB_DIGEST] == BLOB
    assert fake.count("GET", "/token") >= 4


def test_token_that_says_when_it_expires_is_renewed_before(fake, client):
    fake.auth, fake.token_life = "token", 1
    fake.add_manifest("a/b", "1", MANIFEST, TEXT.encode())
    tool = client(fake.host)
    tool.ok("get", "a/b", "1")
    refused = len(fake.requests)
    time.sleep(1)
    tool.ok("get", "a/b", "1")
    assert [m + p.split("?")[0] for m, p in fake.requests[refused:]] == ["GET/token", "GET/v2/a/b/manifests/1"]


def test_token_that_is_used_up_at_once(fake, client):
    fake.auth, fake.token_life = "token", 0
    fake.add_manifest("a/b", "1", MANIFEST, TEXT.encode())
    tool = client(fake.host)
    tool.ok("get", "a/b", "1")
    tool.ok("get", "a/b", "1")


def test_token_grants_less_than_asked(fake, client, blob):
    fake.auth, fake.grants = "token", {"pull"}
    tool = client(fake.host, "user", "secret")
    result = tool.fails("EACCES", "blob-put", "a/b", BLOB_DIGEST, blob, None, 0)
    assert not result["retryable"] and "UNAUTHORIZED" in result["text"]
    assert fake.count("GET", "/token") < 6
    assert not fake.uploads


def test_token_server_in_trouble(fake, client):
    fake.auth = "token"
    fake.add_manifest("a/b", "1", MANIFEST, TEXT.encode())
    fake.fault("GET", "^/token", times=2, status=503)
    client(fake.host).ok("get", "a/b", "1")
    fake.fault("GET", "^/token", times=1, status=200, body=b"[]")
    assert "token from" in client(fake.host).fails("EPROTO", "get", "a/b", "1")["text"]
    client(fake.host, "user", "wrong").fails("EACCES", "get", "a/b", "1")


def test_another_hosts_challenge_teaches_nothing(fake, client):
    """Who is redirected to may ask for what it likes: it gets neither credentials nor a say in where they go."""
    other = FakeRegistry()
    try:
        other.auth = fake.auth = "token"
        fake.add_manifest("a/b", "1", MANIFEST, TEXT.encode())
        tool = client(fake.host, "user", "secret")
        tool.ok("get", "a/b", "1")
        fake.fault("GET", "manifests", times=9, status=307, headers={"Location": f"{other.url}/v2/a/b/manifests/1"})
        tool.fails("EACCES", "get", "a/b", "1")
        assert other.count("GET", "manifests") and not other.count("GET", "/token")
        fake.faults.clear()
        tool.ok("get", "a/b", "1")
        assert not other.count("GET", "/token")
    finally:
        other.close()


# ---- too much, broken, away ----

def test_too_many_requests(fake, client):
    fake.add_manifest("a/b", "1", MANIFEST, TEXT.encode())
    fake.fault("GET", "manifests", times=2, status=429, headers={"Retry-After": "1"})
    begun = time.monotonic()
    client(fake.host).ok("get", "a/b", "1")
    assert 2 <= time.monotonic() - begun < 20
    assert fake.count("GET") == 3


def test_retry_after_beyond_patience(fake, client):
    fake.fault("GET", "manifests", status=429, headers={"Retry-After": "3600"})
    begun = time.monotonic()
    result = client(fake.host).fails("EAGAIN", "get", "a/b", "1")
    assert result["retryable"] and result["text"].endswith("retry after 3600 s") and result["retry_after_ms"] == 3600_000
    assert time.monotonic() - begun < 60 and fake.count("GET") == 1


def test_what_a_put_is_told_to_wait(fake, client):
    """It is not repeated: who asked for it is told. As seconds, as a date, and by who gives the tokens."""
    tool = client(fake.host, "user", "secret")
    fake.fault("PUT", "manifests", status=429, headers={"Retry-After": "2"})
    assert tool.fails("EAGAIN", "put", "a/b", "1", MANIFEST, TEXT, True)["retry_after_ms"] == 2000
    fake.fault("PUT", "manifests", status=503, headers={"Retry-After": formatdate(time.time() + 100, usegmt=True)})
    assert 90_000 < tool.fails("EREMOTEIO", "put", "a/b", "1", MANIFEST, TEXT, True)["retry_after_ms"] <= 100_000
    fake.auth = "token"
    fake.fault("GET", "/token", status=429, headers={"Retry-After": "1000"})
    assert tool.fails("EAGAIN", "get", "a/b", "1")["retry_after_ms"] == 1000_000
    fake.auth = None
    assert tool.fails("ENOENT", "get", "a/b", "1")["retry_after_ms"] == 0


# What a proxy says when it gives up is not what the registry did.
@pytest.mark.parametrize("status, error", [(500, "EREMOTEIO"), (502, "ECONNRESET"), (503, "EREMOTEIO"), (504, "ETIMEDOUT")])
def test_server_errors_are_repeated_with_a_cap(fake, client, status, error):
    fake.fault("GET", "manifests", times=100, status=status)
    result = client(fake.host).fails(error, "get", "a/b", "1")
    assert result["retryable"] and fake.count("GET") == 5


def test_dropped_connections(fake, client, blob):
    fake.fault("POST", "uploads", drop=True)
    fake.fault("PUT", "manifests", drop=True)
    fake.fault("HEAD", "blobs", drop=True)
    tool = client(fake.host)
    tool.ok("blob-put", "a/b", BLOB_DIGEST, blob, None, 0)
    tool.ok("put", "a/b", "1", MANIFEST, TEXT, False)


def test_nobody_there(fake, client):
    fake.close()
    result = client(fake.host).fails("ECONNREFUSED", "get", "a/b", "1")
    assert result["retryable"] and fake.host in result["text"]


# ---- manifests ----

def test_manifest_put_head_get(fake, client):
    tool = client(fake.host)
    assert not tool.ok("put", "a/b", "1", MANIFEST, TEXT, False)["existed"]
    head = tool.ok("head", "a/b", "1")
    assert (head["digest"], head["media_type"], head["size"]) == (DIGEST, MANIFEST, len(TEXT))
    assert tool.ok("get", "a/b", DIGEST)["body"] == TEXT
    assert tool.ok("put", "a/b", "1", MANIFEST, TEXT, False)["existed"]
    assert fake.count("PUT") == 1
    tool.ok("delete", "a/b", DIGEST)
    tool.fails("ENOENT", "head", "a/b", "1")


def test_put_once_is_one_put(fake, client):
    fake.fault("PUT", "manifests", times=3, drop=True)
    assert client(fake.host).fails("ECONNRESET", "put", "a/b", "1", MANIFEST, TEXT, True)["retryable"]
    assert fake.count("PUT") == 1


# Whatever is not a refusal may have been carried out, or may still be.
@pytest.mark.parametrize("how, unknown", [
    ({"status": 500}, True), ({"status": 502}, True), ({"status": 503}, True), ({"status": 504}, True),
    ({"status": 503, "headers": {"Retry-After": "5"}}, True), ({"status": 408}, True), ({"drop": True}, True),
    ({"status": 429}, False), ({"status": 400}, False), ({"status": 404}, False), ({"status": 403}, False)])
def test_a_put_whose_outcome_is_not_known(fake, client, how, unknown):
    fake.fault("PUT", "manifests", **how)
    assert client(fake.host)("put", "a/b", "1", MANIFEST, TEXT, True)["unknown"] == unknown
    assert fake.count("PUT") == 1


def test_a_put_that_never_began_is_known(fake, client):
    fake.fault("HEAD", "manifests", times=9, status=503)
    assert not client(fake.host)("put", "a/b", "1", MANIFEST, TEXT, True)["unknown"]
    fake.close()
    assert not client(fake.host)("put", "a/b", "1", MANIFEST, TEXT, True)["unknown"]


def test_old_registry_says_no_digest(fake, client):
    fake.digest_headers = False
    tool = client(fake.host)
    tool.ok("put", "a/b", "1", MANIFEST, TEXT, False)
    assert tool.ok("head", "a/b", "1")["digest"] == DIGEST
    assert tool.ok("get", "a/b", "1")["digest"] == DIGEST


def test_wrong_content_is_refused(fake, client):
    fake.add_manifest("a/b", "1", MANIFEST, TEXT.encode())
    fake.manifests["a/b", "sha256:" + "2" * 64] = (MANIFEST, TEXT.encode())
    tool = client(fake.host)
    tool.fails("EBADMSG", "get", "a/b", "sha256:" + "2" * 64)
    fake.lie = "sha256:" + "3" * 64
    tool.fails("EBADMSG", "get", "a/b", "1")
    tool.fails("EBADMSG", "put", "a/b", "2", MANIFEST, TEXT, False)


def test_manifest_bounds(fake, client):
    fake.add_manifest("a/b", "big", MANIFEST, b" " * (4 * 1024 * 1024 + 1))
    fake.add_manifest("a/b", "text", "text/html", b"<html>")
    tool = client(fake.host)
    assert not tool.fails("EMSGSIZE", "get", "a/b", "big")["retryable"]
    tool.fails("EPROTO", "get", "a/b", "text")


def test_refusals_are_told_apart(fake, client):
    tool = client(fake.host)
    for status, code, error in ((400, "MANIFEST_BLOB_UNKNOWN", "ENODATA"), (404, "BLOB_UNKNOWN_TO_REGISTRY", "ENODATA"),
                                (403, "DENIED", "EACCES"), (413, "X", "EFBIG"), (400, "MANIFEST_INVALID", "EPROTO")):
        fake.fault("PUT", "manifests", status=status,
                   body=json.dumps({"errors": [{"code": code, "message": "because"}]}).encode())
        result = tool.fails(error, "put", "a/b", "1", MANIFEST, TEXT, False)
        assert code in result["text"] and "because" in result["text"]


def test_names_cannot_become_paths(fake, client):
    tool = client(fake.host)
    tool.fails("EINVAL", "get", "a/../b", "1")
    tool.fails("EINVAL", "get", "a/b?x", "1")
    tool.fails("EINVAL", "get", "a/b", "1/../2")
    tool.fails("EINVAL", "blob-head", "a/b", "sha256:1")
    tool.fails("EINVAL", "put", "a/b", "sha256:" + "2" * 64, MANIFEST, TEXT, False)
    assert not fake.requests


def test_tags_over_pages(fake, client):
    for i in range(25):
        fake.add_manifest("a/b", f"t{i:02}", MANIFEST, TEXT.encode())
    fake.page = 10
    tool = client(fake.host)
    assert tool.ok("tags", "a/b")["tags"] == [f"t{i:02}" for i in range(25)]
    assert fake.count("GET", "tags") == 3
    tool.fails("ENOENT", "tags", "no/such")


# ---- fetching blobs ----

@pytest.mark.parametrize("ranges", [True, False])
def test_blob_is_taken_up_where_it_broke(fake, client, tmp_path, ranges):
    fake.ranges = ranges
    fake.add_blob("a/b", BLOB)
    fake.fault("GET", "blobs", send=100_000)
    fake.fault("GET", "blobs", send=50_000 if ranges else 150_000)
    out = tmp_path / "out"
    result = client(fake.host).ok("blob-get", "a/b", BLOB_DIGEST, len(BLOB), str(out))
    assert out.read_bytes() == BLOB and result["size"] == len(BLOB)
    assert fake.count("GET", "blobs") == 3


def test_blob_into_memory(fake, client):
    digest = fake.add_blob("a/b", b"small")
    tool = client(fake.host)
    assert tool.ok("blob-get", "a/b", digest, -1)["body"] == "small"
    assert tool.ok("blob-head", "a/b", digest)["size"] == 5
    fake.add_blob("a/b", BLOB)
    tool.fails("EMSGSIZE", "blob-get", "a/b", BLOB_DIGEST, -1)


def test_blob_that_is_not_what_it_says(fake, client, tmp_path):
    out = str(tmp_path / "out")
    fake.blobs["a/b", BLOB_DIGEST] = b"x" + BLOB[1:]
    tool = client(fake.host)
    tool.fails("EBADMSG", "blob-get", "a/b", BLOB_DIGEST, len(BLOB), out)
    fake.blobs["a/b", BLOB_DIGEST] = BLOB + b"x"
    tool.fails("EBADMSG", "blob-get", "a/b", BLOB_DIGEST, len(BLOB), out)
    fake.blobs["a/b", BLOB_DIGEST] = BLOB[:-1]
    tool.fails("EBADMSG", "blob-get", "a/b", BLOB_DIGEST, len(BLOB), out)
    tool.fails("ENOENT", "blob-get", "a/c", BLOB_DIGEST, len(BLOB), out)


def test_blob_that_never_comes_whole(fake, client, tmp_path):
    fake.add_blob("a/b", BLOB)
    fake.fault("GET", "blobs", times=100, send=0)
    assert client(fake.host).fails("ECONNRESET", "blob-get", "a/b", BLOB_DIGEST, len(BLOB), str(tmp_path / "o"))["retryable"]
    assert fake.count("GET", "blobs") == 5


# ---- uploads ----

@pytest.mark.parametrize("absolute", [False, True])
def test_upload_whole(fake, client, blob, absolute):
    fake.absolute = absolute
    tool = client(fake.host)
    assert not tool.ok("blob-put", "a/b", BLOB_DIGEST, blob, None, 0)["existed"]
    assert [m for m, _ in fake.requests] == ["HEAD", "POST", "PUT"]
    assert tool.ok("blob-put", "a/b", BLOB_DIGEST, blob, None, 0)["existed"]
    assert fake.blobs["a/b", BLOB_DIGEST] == BLOB and not fake.uploads


def test_upload_of_nothing_and_of_text(fake, client, tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    tool = client(fake.host)
    tool.ok("blob-put", "a/b", digest_of(b""), str(tmp_path / "empty"), None, 0)
    tool.ok("blob-text", "a/b", digest_of(b"text"), "text")
    assert fake.blobs["a/b", digest_of(b"")] == b"" and fake.blobs["a/b", digest_of(b"text")] == b"text"


def test_upload_in_chunks(fake, client, blob):
    client(fake.host).ok("blob-put", "a/b", BLOB_DIGEST, blob, None, 100_000)
    assert fake.count("PATCH") == 3 and fake.blobs["a/b", BLOB_DIGEST] == BLOB


def test_least_chunk_is_honoured(fake, client, blob):
    fake.min_chunk = 200_000
    client(fake.host).ok("blob-put", "a/b", BLOB_DIGEST, blob, None, 1000)
    assert fake.count("PATCH") == 2 and fake.blobs["a/b", BLOB_DIGEST] == BLOB


@pytest.mark.parametrize("method,chunk", [("PUT", 0), ("PATCH", 100_000)])
def test_upload_breaks_off(fake, client, blob, method, chunk):
    fake.fault(method, "uploads", keep=70_000)
    client(fake.host).ok("blob-put", "a/b", BLOB_DIGEST, blob, None, chunk)
    assert fake.blobs["a/b", BLOB_DIGEST] == BLOB
    assert fake.count("GET", "uploads") == 1 and fake.count("POST") == 1


def test_upload_out_of_step(fake, client, blob):
    fake.fault("PATCH", "uploads", status=416)
    client(fake.host).ok("blob-put", "a/b", BLOB_DIGEST, blob, None, 100_000)
    assert fake.count("GET", "uploads") == 1 and fake.blobs["a/b", BLOB_DIGEST] == BLOB


def test_upload_session_is_lost(fake, client, blob):
    fake.fault("PATCH", "uploads", status=404)
    client(fake.host).ok("blob-put", "a/b", BLOB_DIGEST, blob, None, 100_000)
    assert fake.count("POST") == 2 and fake.blobs["a/b", BLOB_DIGEST] == BLOB


def test_upload_too_large_for_a_proxy(fake, client, tmp_path):
    data = os.urandom(9_000_000)
    (tmp_path / "large").write_bytes(data)
    fake.max_body = 1024 * 1024
    client(fake.host).ok("blob-put", "a/b", digest_of(data), str(tmp_path / "large"), None, 0)
    assert fake.blobs["a/b", digest_of(data)] == data


def test_upload_with_5xx_and_429(fake, client, blob):
    fake.fault("PUT", "uploads", status=500)
    fake.fault("PUT", "uploads", status=429, headers={"Retry-After": "0"})
    client(fake.host).ok("blob-put", "a/b", BLOB_DIGEST, blob, None, 0)
    assert fake.blobs["a/b", BLOB_DIGEST] == BLOB


def test_upload_of_the_wrong_bytes(fake, client, blob):
    result = client(fake.host).fails("EBADMSG", "blob-put", "a/b", "sha256:" + "2" * 64, blob, None, 0)
    assert "DIGEST_INVALID" in result["text"] and not result["retryable"]


def test_upload_that_fails_is_deleted(fake, client, blob):
    fake.fault("PUT", "uploads", status=403)
    tool = client(fake.host)
    tool.fails("EACCES", "blob-put", "a/b", BLOB_DIGEST, blob, None, 0)
    tool.ok("ping")
    tool.ok("ping")
    assert fake.count("DELETE", "uploads") == 1 and not fake.uploads


# ---- mounts ----

def test_mount(fake, client, blob):
    fake.add_blob("src/x", BLOB)
    tool = client(fake.host)
    assert tool.ok("blob-put", "a/b", BLOB_DIGEST, blob, "src/x", 0)["mounted"]
    assert fake.count("PUT") == 0 and ("a/b", BLOB_DIGEST) in fake.blobs
    assert tool.ok("mount", "a/c", "src/x", BLOB_DIGEST)["mounted"]


def test_mount_is_not_done(fake, client, blob):
    fake.mounts = False
    fake.add_blob("src/x", BLOB)
    tool = client(fake.host)
    assert not tool.ok("mount", "a/b", "src/x", BLOB_DIGEST)["mounted"]
    assert fake.count("DELETE", "uploads") == 1 and not fake.uploads
    assert not tool.ok("blob-put", "a/b", BLOB_DIGEST, blob, "src/x", 0)["mounted"]
    assert fake.count("POST") == 2 and fake.blobs["a/b", BLOB_DIGEST] == BLOB


def test_mount_with_tokens_names_both_repositories(fake, client, blob):
    fake.auth = "token"
    fake.add_blob("src/x", BLOB)
    assert client(fake.host, "user", "secret").ok("blob-put", "a/b", BLOB_DIGEST, blob, "src/x", 0)["mounted"]
    assert any("scope=repository:a/b:pull,push&scope=repository:src/x:pull" in p for _, p in fake.requests)


def test_mount_from_what_is_forbidden_uploads(fake, client, blob):
    fake.fault("POST", "mount=", status=403)
    client(fake.host).ok("blob-put", "a/b", BLOB_DIGEST, blob, "src/x", 0)
    assert fake.blobs["a/b", BLOB_DIGEST] == BLOB


# ---- TLS ----

def certificate(folder, name, days):
    """A self-signed certificate of 127.0.0.1 with its key, and the pin of that key. Boards know no calendar."""
    path = str(folder / f"{name}.pem")
    run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", path,
         "-out", path + ".crt", "-days", str(days), "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"])
    public = run(["openssl", "x509", "-in", path + ".crt", "-noout", "-pubkey"]).stdout
    der = run(["openssl", "pkey", "-pubin", "-outform", "der"], input=public.encode(), text=False).stdout
    with open(path, "a", encoding="ascii") as f, open(path + ".crt", encoding="ascii") as crt:
        f.write(crt.read())
    return path, base64.b64encode(hashlib.sha256(der).digest()).decode()


def test_the_pinned_key_is_what_counts(client, tmp_path):
    path, pin = certificate(tmp_path, "one", days=1)
    _, other = certificate(tmp_path, "other", days=1)
    fake = FakeRegistry(path)
    try:
        for auth in (None, "token"):
            fake.auth = auth
            client(fake.host, endpoint=fake.url, pin=pin).ok("ping")
        client(fake.host, endpoint=fake.url, ca_file=path + ".crt").ok("ping")
        for how in ({"pin": other}, {}):
            assert not client(fake.host, endpoint=fake.url, **how).fails("EKEYREJECTED", "ping")["retryable"]
        client(fake.host, endpoint=fake.url, pin="").fails("EINVAL", "ping")
        client(fake.host, pin=pin).fails("EINVAL", "ping")
    finally:
        fake.close()
