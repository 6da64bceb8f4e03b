"""Debian's docker-registry for a test, and what is in it, read with nothing of Sheaf's."""
import base64
import crypt
import hashlib
import json
import os
import re
import urllib.error
import urllib.request

from procs import Process, free_port, run, wait_for

INDEX_TYPES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
MANIFEST_TYPES = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")


class Registry:
    """docker-registry on loopback, with a storage folder of its own; `password` asks for basic credentials."""

    def __init__(self, folder, log, env=None, user=None, password=None, port=None):
        self.folder, self.log, self.env, self.user, self.password = folder, log, env, user, password
        self.port = port or free_port()
        self.host = f"127.0.0.1:{self.port}"
        os.makedirs(folder)
        self.config = os.path.join(folder, "config.yml")
        with open(self.config, "w", encoding="utf-8") as f:
            f.write(self._config())
        self.start()

    def _config(self):
        text = f"""version: 0.1
log: {{level: info, formatter: json, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {self.folder}/data}}, delete: {{enabled: true}}}}
http: {{addr: "{self.host}"}}
"""
        if self.user:
            path = os.path.join(self.folder, "htpasswd")
            with open(path, "w", encoding="utf-8") as f:
                hashed = crypt.crypt(self.password, crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=32))
                f.write(f"{self.user}:{hashed.replace('$2b$', '$2y$', 1)}\n")
            text += f"auth: {{htpasswd: {{realm: test, path: {path}}}}}\n"
        return text

    def start(self):
        self.process = Process("docker-registry", ["docker-registry", "serve", self.config], self.log, env=self.env)
        wait_for(lambda: self.request("GET", "/v2/")[0] in (200, 401), 60, "docker-registry", alive=[self.process])

    def stop(self):
        return self.process.stop()

    def collect(self):
        """Debian's own collector deletes every manifest that no tag names, and what only those named. The registry is
        stopped meanwhile, as its manual asks."""
        self.stop()
        said = run(["docker-registry", "garbage-collect", "--delete-untagged", self.config]).stdout
        self.start()
        return said

    def request(self, method, path, headers=None, body=None):
        """One request: (status, headers, body). Status 0 where nobody answers."""
        request = urllib.request.Request(f"http://{self.host}{path}", method=method, headers=headers or {}, data=body)
        if self.user:
            pair = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
            request.add_header("Authorization", f"Basic {pair}")
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, dict(answer.headers), answer.read()
        except urllib.error.HTTPError as e:
            return e.code, dict(e.headers), e.read()
        except OSError:
            return 0, {}, b""

    def tags(self, repository):
        """The repository's tags, sorted; none where there is no such repository."""
        status, _, body = self.request("GET", f"/v2/{repository}/tags/list")
        return sorted(json.loads(body).get("tags") or []) if status == 200 else []

    def public_tags(self, repository):
        """Those that people use: without retention tags."""
        return [t for t in self.tags(repository) if not t.startswith(("sheaf-", "_sheaf", "keep-"))]

    def raw(self, repository, reference):
        """A manifest's or an index's bytes, media type and digest; None where there is none."""
        accept = ", ".join(INDEX_TYPES + MANIFEST_TYPES)
        status, headers, body = self.request("GET", f"/v2/{repository}/manifests/{reference}", {"Accept": accept})
        if status != 200:
            return None
        return body, headers["Content-Type"], "sha256:" + hashlib.sha256(body).hexdigest()

    def digest(self, repository, reference):
        """The digest that a tag points to; None where there is none."""
        found = self.raw(repository, reference)
        return found[2] if found else None

    def index(self, repository, tag):
        """The index under a tag, as a dict; None where there is none."""
        found = self.raw(repository, tag)
        return json.loads(found[0]) if found else None

    def blob(self, repository, digest):
        """A blob's bytes, checked."""
        status, _, body = self.request("GET", f"/v2/{repository}/blobs/{digest}")
        assert status == 200, f"{repository}: blob {digest}: {status}"
        assert "sha256:" + hashlib.sha256(body).hexdigest() == digest
        return body

    def children(self, repository, tag):
        """{platform: descriptor} of the index under a tag."""
        index = self.index(repository, tag)
        return {platform_name(d["platform"]): d for d in index["manifests"]} if index else {}

    def image(self, repository, tag, platform):
        """(manifest, config) of one platform of the index under a tag."""
        child = self.children(repository, tag)[platform]
        manifest = json.loads(self.raw(repository, child["digest"])[0])
        return manifest, json.loads(self.blob(repository, manifest["config"]["digest"]))

    def tag_puts(self, repository):
        """The tags that were PUT, in order, as the registry's own log tells."""
        puts = []
        with open(self.log, encoding="utf-8", errors="replace") as f:
            for line in f:
                match = re.search(r'"http\.request\.method":"PUT".*?"http\.request\.uri":"/v2/([^"]+)/manifests/([^"?]+)"', line)
                if match and match.group(1) == repository and not match.group(2).startswith("sha256:") \
                        and '"http.response.status":201' in line:
                    puts.append(match.group(2))
        return puts


def platform_name(platform):
    """OCI's os, architecture and variant as Sheaf writes them."""
    name = f"{platform['os']}/{platform['architecture']}"
    if platform.get("variant") and not (platform["architecture"] == "arm64" and platform["variant"] == "v8"):
        name += "/" + platform["variant"]
    return name
