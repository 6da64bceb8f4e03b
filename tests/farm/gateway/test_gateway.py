"""The gateway: a board pulls its pinned bases and pushes by digest, and can do nothing else."""
import base64
import hashlib
import json
import os
import urllib.error
import urllib.request

import pytest
import shapes
from procs import run

pytestmark = [pytest.mark.root, pytest.mark.slow]


class Board:
    """A board written in Python: the protocol, and then whatever a bad one would try."""

    def __init__(self, farm, sheafd, name="python"):
        self.url = sheafd.agents_url
        secret = farm.path(f"{name}.secret")
        sheafd.ctl("boards", "add", name, "--secret-file", secret)
        with open(secret, encoding="utf-8") as f:
            self.secret = f.read().strip()

    def call(self, method, path, body=None, token=None, headers=None):
        """One request: (status, headers, body)."""
        data = json.dumps(body).encode() if isinstance(body, (dict, list)) else body
        request = urllib.request.Request(self.url + path, method=method, data=data, headers=headers or {})
        request.add_header("Authorization", self.basic(token) if path.startswith("/v2/") else f"Bearer {token or self.secret}")
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, dict(answer.headers), answer.read()
        except urllib.error.HTTPError as e:
            return e.code, dict(e.headers), e.read()

    def basic(self, secret):
        """The gateway's credentials: the lease and its secret."""
        return "Basic " + base64.b64encode(f"{self.granted}:{secret}".encode()).decode()

    def lease(self):
        """Opens a session and polls until there is work; returns the lease."""
        facts = {"platforms": ["linux/amd64"], "emulated": [], "slots": 1, "cpus": 1, "memory": 1 << 30, "machine": "x86_64",
                 "kernel": "6.1.0", "page_size": 4096, "kinds": ["rootfs", "dockerfile"], "builders": {"buildah": "1.28.2"},
                 "sandbox": ["userns", "mount", "pid"], "labels": []}
        status, _, body = self.call("POST", "/v1/agent/session", {"version": 1, "agent": "0.1.0", "boot": "b1", "facts": facts,
                                                                  "held": []})
        assert status == 200, body
        self.session = json.loads(body)["session"]
        for seq in range(1, 10):
            status, _, body = self.call("POST", "/v1/agent/poll", {
                "version": 1, "session": self.session, "seq": seq, "held": [], "free": 1, "load": 0.1, "temperature": None,
                "disk_free": 1 << 40, "memory_free": 1 << 30, "draining": False})
            assert status == 200, body
            leases = json.loads(body)["leases"]
            if leases:
                self.granted = leases[0]["lease"]
                return leases[0]
        raise AssertionError("no lease in ten polls")


def one_image(farm, password="pw"):
    registry, git = farm.registry(user="u", password=password), farm.git()
    with open(farm.path("pw"), "w", encoding="utf-8") as f:
        f.write(password)
    up = git.repo("tool")
    up.commit({"Dockerfile": "FROM scratch\nCOPY Dockerfile /\n"})
    sheafd = farm.coordinator({
        "registry": f"{registry.host}/osf", "platforms": ["linux/amd64"],
        "images": {"tool": {"source": up.url, "ref": "refs/heads/master", "tags": ["latest"]}},
        "registries": {registry.host: {"username": "u", "password-file": farm.path("pw")}},
        "lease-term": "10m"})  # the board in Python does not poll while it works
    return registry, sheafd


@pytest.mark.timeout(200)
def test_what_a_lease_may_do(farm):
    registry, sheafd = one_image(farm)
    board = Board(farm, sheafd)
    lease = board.lease()
    token, repository = lease["secret"], lease["job"]["repository"]
    assert repository == f"{registry.host}/osf/tool"
    root = f"/v2/{repository}"

    # The context comes as a tar, and is what the job's key says.
    status, headers, tar = board.call("GET", f"/v1/agent/leases/{lease['lease']}/context", token=token)
    assert status == 200 and len(tar) == int(headers["Content-Length"])
    assert "Dockerfile" in shapes.tarfile.open(fileobj=shapes.io.BytesIO(tar)).getnames()

    # A blob and a manifest by digest: allowed.
    def push_blob(data):
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        status, headers, body = board.call("POST", f"{root}/blobs/uploads/", b"", token=token)
        assert status == 202, body
        place = headers["Location"]
        place = place[len(board.url):] if place.startswith(board.url) else place
        assert place.startswith("/v2/"), place
        joint = "&" if "?" in place else "?"
        status, _, body = board.call("PUT", f"{place}{joint}digest={digest}", data, token=token,
                                     headers={"Content-Type": "application/octet-stream"})
        assert status == 201, body
        return {"digest": digest, "size": len(data)}

    config = push_blob(json.dumps({"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": []}}).encode())
    manifest = json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "layers": [],
                           "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **config}}).encode()
    digest = "sha256:" + hashlib.sha256(manifest).hexdigest()
    as_manifest = {"Content-Type": "application/vnd.oci.image.manifest.v1+json"}
    assert board.call("PUT", f"{root}/manifests/{digest}", manifest, token=token, headers=as_manifest)[0] == 201
    assert board.call("HEAD", f"{root}/manifests/{digest}", token=token, headers={"Accept": as_manifest["Content-Type"]})[0] == 200

    # A tag, another repository, a foreign pull, deleting, listing, a wrong or no secret: refused.
    other = f"/v2/{registry.host}/osf/other"
    refused = [
        ("PUT", f"{root}/manifests/latest", manifest), ("PUT", f"{root}/manifests/1.0", manifest),
        ("PUT", f"{other}/manifests/{digest}", manifest), ("POST", f"{other}/blobs/uploads/", b""),
        ("POST", f"{root}/blobs/uploads/?mount={config['digest']}&from=osf/other", b""),
        ("GET", f"{other}/manifests/{digest}", None), ("GET", f"{other}/blobs/{config['digest']}", None),
        ("GET", f"{root}/tags/list", None), ("GET", "/v2/_catalog", None), ("DELETE", f"{root}/manifests/{digest}", None),
        ("GET", f"/v2/{registry.host}/osf/../other/manifests/{digest}", None),
        ("GET", f"/v2/{registry.host}/osf/%2e%2e/other/manifests/{digest}", None),
        ("GET", "/v2/127.0.0.1:1/x/manifests/" + digest, None),
    ]
    for method, path, body in refused:
        status, _, answer = board.call(method, path, body, token=token, headers=as_manifest if body else None)
        assert 400 <= status < 500 and status != 429, f"{method} {path}: {status}: {answer[:200]}"
    assert board.call("GET", f"{root}/manifests/{digest}", token="wrong")[0] == 401
    assert board.call("GET", f"/v1/agent/leases/{lease['lease']}/context", token="wrong")[0] in (401, 403, 404, 409)
    assert registry.tags("osf/tool") == [] or all(t.startswith("sheaf") for t in registry.tags("osf/tool"))
    # What is wrong with a result is told, and what is stale changes nothing.
    assert board.call("POST", f"/v1/agent/leases/{lease['lease']}/result", {"nonsense": 1}, token=token)[0] == 400


@pytest.mark.timeout(300)
def test_a_gigabyte_passes_in_bounded_memory(farm):
    registry, sheafd = one_image(farm)
    board = Board(farm, sheafd)
    lease = board.lease()
    path, size = farm.path("big"), 1 << 30
    digest = hashlib.sha256()
    piece = os.urandom(1 << 20)
    with open(path, "wb") as f:
        for _ in range(size >> 20):
            f.write(piece)
            digest.update(piece)
    root = f"{board.url}/v2/{lease['job']['repository']}"
    auth = ["-sS", "-f", "-u", f"{lease['lease']}:{lease['secret']}"]
    headers = run(["curl", *auth, "-D", "-", "-o", "/dev/null", "-X", "POST", f"{root}/blobs/uploads/"]).stdout
    place = next(line.split(": ", 1)[1].strip() for line in headers.split("\n") if line.lower().startswith("location:"))
    place = board.url + place if place.startswith("/") else place
    joint = "&" if "?" in place else "?"
    run(["curl", *auth, "-T", path, "-H", "Content-Type: application/octet-stream",
         f"{place}{joint}digest=sha256:{digest.hexdigest()}"], timeout=200)
    status, headers, _ = registry.request("HEAD", f"/v2/osf/tool/blobs/sha256:{digest.hexdigest()}")
    assert status == 200 and int(headers["Content-Length"]) == size
    with open(f"/proc/{sheafd.process.pid}/status", encoding="utf-8") as f:
        peak = next(int(line.split()[1]) for line in f if line.startswith("VmHWM"))
    assert peak < 100 * 1024, f"{peak} kB"
