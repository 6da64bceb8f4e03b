"""A registry with something in it, and the gateway before it."""
import base64
import hashlib
import http.client
import json
import os

from farm import BUILD
from procs import Process, wait_for
from registry import Registry

MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def descriptor(data, kind):
    return {"mediaType": kind, "digest": digest_of(data), "size": len(data)}


def manifest_of(config, *layers):
    return json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor(config, "application/vnd.oci.image.config.v1+json"),
                       "layers": [descriptor(layer, "application/vnd.oci.image.layer.v1.tar+gzip") for layer in layers]}).encode()


class Gateway:
    """gateway-tool, and requests to it."""

    def __init__(self, folder, registry, leases):
        config = {"registries": [{"host": registry.host, "username": registry.user, "password": registry.password}], "leases": leases}
        path, self.log = os.path.join(folder, "gateway.json"), os.path.join(folder, f"gateway.{leases[0]['lease']}.log")
        with open(path, "w", encoding="utf-8") as f:
            json.dump(config, f)
        self.process = Process("gateway-tool", [f"{BUILD}/tests/gateway-tool", path], self.log, env=getattr(registry, "env", None))
        wait_for(lambda: "\n" in self.process.output(), 60, "gateway", alive=[self.process])
        self.port = int(self.process.output().split("\n")[0])

    def request(self, method, path, body=None, lease="L1", secret="s1", headers=(), chunked=False):
        """(status, headers, body) of one request; `path` may be a Location."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        sent = dict(headers)
        if lease:
            sent["Authorization"] = "Basic " + base64.b64encode(f"{lease}:{secret}".encode()).decode()
        if method in ("POST", "PUT", "PATCH") and body is None:
            sent["Content-Length"] = "0"
        connection.request(method, path, body, sent, encode_chunked=chunked)
        answer = connection.getresponse()
        got = answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        connection.close()
        return got

    def memory(self):
        """The most memory that it ever had resident, in MiB."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("VmHWM")) // 1024

    def stop(self):
        return self.process.stop()


class World:
    """Two jobs' repositories, a pinned base, and what must stay out of reach."""

    def __init__(self, folder):
        self.folder = folder
        self.registry = Registry(os.path.join(folder, "registry"), os.path.join(folder, "registry.log"), user="farm", password="hush")
        self.host = self.registry.host
        self.config, self.layer, self.hidden = b'{"os":"linux"}', b"base layer" * 1000, b"not named by the pinned manifest"
        self.manifest, self.other = manifest_of(self.config, self.layer), manifest_of(self.config, self.hidden)
        self.pin = digest_of(self.manifest)
        self.fill("library/base", [self.config, self.layer, self.hidden], {"latest": self.manifest, "other": self.other})
        self.fill("secret/place", [self.config, self.layer, self.hidden], {"latest": self.other})
        base = {"repository": f"{self.host}/library/base", "digest": self.pin}
        self.gateway = Gateway(folder, self.registry, [
            {"lease": "L1", "secret": "s1", "repository": f"{self.host}/osf/one", "bases": [base]},
            {"lease": "L2", "secret": "s2", "repository": f"{self.host}/osf/two", "bases": []}])

    def fill(self, repository, blobs, tags):
        for blob in blobs:
            status, headers, _ = self.registry.request("POST", f"/v2/{repository}/blobs/uploads/")
            assert status == 202
            where = headers["Location"].split(self.host)[1]
            assert self.registry.request("PUT", f"{where}&digest={digest_of(blob)}", {"Content-Type": "application/octet-stream"}, blob)[0] == 201
        for tag, manifest in tags.items():
            assert self.registry.request("PUT", f"/v2/{repository}/manifests/{tag}", {"Content-Type": MANIFEST}, manifest)[0] == 201

    def path(self, repository, rest):
        return f"/v2/{self.host}/{repository}/{rest}"

    def begin(self, lease="L1", secret="s1", repository="osf/one", query=""):
        """Begins an upload; its Location."""
        status, headers, _ = self.gateway.request("POST", self.path(repository, f"blobs/uploads/{query}"), lease=lease, secret=secret)
        assert status == 202
        return headers["location"]

    def push(self, blob):
        assert self.gateway.request("PUT", f"{self.begin()}?digest={digest_of(blob)}", blob)[0] == 201

    def stop(self):
        status = self.gateway.stop()
        self.registry.stop()
        assert status == 0, self.gateway.process.output()
