"""What a board may not do, one by one; each is tried, and the registry is looked at afterwards."""
import json

import pytest
from gateway_world import MANIFEST, digest_of, manifest_of

INDEX = "application/vnd.oci.image.index.v1+json"


def refused(answer, status=403, code="DENIED"):
    assert (answer[0], json.loads(answer[2])["errors"][0]["code"]) == (status, code), answer


@pytest.fixture
def before(world):
    """Whatever a test of this file tries, the registry holds what it held."""
    def state():
        return {r: (world.registry.tags(r), world.registry.digest(r, "latest")) for r in ("library/base", "secret/place", "osf/one", "osf/two")}
    held = state()
    yield held
    assert state() == held


@pytest.mark.parametrize("repository,rest", [
    ("library/base", "manifests/latest"), ("library/base", "manifests/OTHER"), ("library/base", "blobs/HIDDEN"),
    ("secret/place", "manifests/latest"), ("secret/place", "manifests/PIN"), ("secret/place", "blobs/LAYER"),
    ("osf/two", "blobs/LAYER"), ("osf/one", "blobs/LAYER"),
    ("library/base", "tags/list"), ("osf/one", "tags/list"), ("osf/one", "referrers/PIN"), ("library/base/../../secret/place", "blobs/LAYER"),
    ("library/base%2F..%2F..%2Fsecret/place", "blobs/LAYER"), ("LIBRARY/base", "manifests/PIN")])
def test_pulling_anything_else(world, before, repository, rest):
    for name, data in (("OTHER", world.other), ("HIDDEN", world.hidden), ("PIN", world.manifest), ("LAYER", world.layer)):
        rest = rest.replace(name, digest_of(data))
    refused(world.gateway.request("GET", world.path(repository, rest)))


def test_the_catalogue(world, before):
    refused(world.gateway.request("GET", "/v2/_catalog"))


def test_a_base_of_another_lease(world, before):
    refused(world.gateway.request("GET", world.path("library/base", f"manifests/{world.pin}"), lease="L2", secret="s2"))
    refused(world.gateway.request("GET", world.path("library/base", f"blobs/{digest_of(world.layer)}"), lease="L2", secret="s2"))


def test_heads_beyond_ones_own(world, before):
    for path in (world.path("secret/place", f"blobs/{digest_of(world.layer)}"), world.path("osf/two", f"manifests/{world.pin}"),
                 world.path("library/base", f"blobs/{digest_of(world.hidden)}"), world.path("osf/one", "manifests/latest")):
        assert world.gateway.request("HEAD", path)[0] == 403


def test_a_tag(world, before):
    world.push(world.config)
    manifest = manifest_of(world.config)
    for reference in ("latest", "1.0", "sha256:short"):
        refused(world.gateway.request("PUT", world.path("osf/one", f"manifests/{reference}"), manifest, headers={"Content-Type": MANIFEST}))


def test_a_tag_by_the_back_door(world, before):
    world.push(world.config)
    manifest = manifest_of(world.config)
    path = world.path("osf/one", f"manifests/{digest_of(manifest)}?tag=latest&tag=1.0")
    assert world.gateway.request("PUT", path, manifest, headers={"Content-Type": MANIFEST})[0] == 201  # the tags are not passed on


@pytest.mark.parametrize("repository", ["library/base", "secret/place", "osf/two", "osf/one/deeper"])
def test_pushing_elsewhere(world, before, repository):
    manifest = manifest_of(world.config)
    refused(world.gateway.request("PUT", world.path(repository, f"manifests/{digest_of(manifest)}"), manifest, headers={"Content-Type": MANIFEST}))
    refused(world.gateway.request("POST", world.path(repository, "blobs/uploads/")))
    refused(world.gateway.request("POST", world.path(repository, f"blobs/uploads/?digest={digest_of(b'x')}"), b"x"))


def test_a_manifest_that_is_not_what_it_says(world, before):
    manifest = manifest_of(world.config)
    path = world.path("osf/one", f"manifests/{digest_of(b'another')}")
    refused(world.gateway.request("PUT", path, manifest, headers={"Content-Type": MANIFEST}), 400, "DIGEST_INVALID")
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": []}).encode()
    for body, kind in ((index, INDEX), (b"{}", MANIFEST), (b"no JSON", MANIFEST)):
        path = world.path("osf/one", f"manifests/{digest_of(body)}")
        refused(world.gateway.request("PUT", path, body, headers={"Content-Type": kind}), 400, "MANIFEST_INVALID")


def test_a_manifest_that_is_too_large(world, before):
    big = bytes(5 << 20)
    path = world.path("osf/one", f"manifests/{digest_of(big)}")
    refused(world.gateway.request("PUT", path, iter([big]), headers={"Content-Type": MANIFEST}, chunked=True), 413, "MANIFEST_INVALID")


def test_mounting_from_elsewhere(world, before):
    layer, hidden = digest_of(world.layer), digest_of(world.hidden)
    for digest, source in ((layer, "secret/place"), (layer, "osf/two"), (hidden, "library/base")):
        refused(world.gateway.request("POST", world.path("osf/one", f"blobs/uploads/?mount={digest}&from={world.host}/{source}")))
    refused(world.gateway.request("POST", world.path("osf/two", f"blobs/uploads/?mount={layer}&from={world.host}/library/base"), lease="L2", secret="s2"))


@pytest.mark.parametrize("rest", ["manifests/PIN", "manifests/latest", "blobs/LAYER"])
def test_deleting(world, before, rest):
    world.push(world.layer)
    rest = rest.replace("PIN", world.pin).replace("LAYER", digest_of(world.layer))
    for repository in ("osf/one", "library/base"):
        refused(world.gateway.request("DELETE", world.path(repository, rest)))
    assert world.registry.blob("osf/one", digest_of(world.layer)) == world.layer


def test_sessions_are_the_leases_own(world, before):
    at, unknown = world.begin(), (404, "BLOB_UPLOAD_UNKNOWN")
    refused(world.gateway.request("DELETE", at, lease="L2", secret="s2"))
    moved = at.replace("osf/one", "osf/two")
    for method in ("GET", "DELETE", "PATCH", "PUT"):
        query = f"?digest={digest_of(b'')}" if method == "PUT" else ""
        refused(world.gateway.request(method, moved + query, lease="L2", secret="s2"), *unknown)
    refused(world.gateway.request("DELETE", world.path("osf/one", "blobs/uploads/made-up")), *unknown)
    assert world.gateway.request("DELETE", at)[0] == 204
    refused(world.gateway.request("DELETE", at), *unknown)
    refused(world.gateway.request("PUT", world.begin() + "?digest=md5:00", b"x"), 400, "DIGEST_INVALID")


def test_too_many_sessions(world, before):
    for _ in range(64):
        world.begin()
    refused(world.gateway.request("POST", world.path("osf/one", "blobs/uploads/")), 429, "TOOMANYREQUESTS")
    assert world.gateway.request("POST", world.path("osf/two", "blobs/uploads/"), lease="L2", secret="s2")[0] == 202
