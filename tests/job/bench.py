"""One board's helper under test: the real sheaf-job, against the real docker-registry behind a small gateway."""
import base64
import hashlib
import http.client
import http.server
import io
import json
import os
import shutil
import signal
import subprocess
import tarfile
import tempfile
import threading
import uuid

from procs import MARK, Leaks
from registry import Registry

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("SHEAF_BUILD") or next(
    (b for b in (f"{ROOT}/build/gcc", f"{ROOT}/build/dev") if os.path.isdir(b)), f"{ROOT}/build/gcc")
JOB = f"{BUILD}/agent/sheaf-job"
KEPT = f"{ROOT}/build/cache/job"  # build roots take minutes: kept from run to run
EPOCH = 1700000000
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class Gateway(http.server.ThreadingHTTPServer):
    """What a board sees of its coordinator: one lease's context, and the registry under full names."""

    daemon_threads = True

    def __init__(self, registry):
        super().__init__(("127.0.0.1", 0), Handler)
        self.registry = registry
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.leases, self.requests = {}, []
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def lease(self):
        """The lease whose secret the request carries."""
        kind, _, value = self.headers.get("Authorization", "").partition(" ")
        if kind == "Basic":
            name, _, value = base64.b64decode(value).decode().partition(":")
            return self.server.leases.get(name) if self.server.leases.get(name, {}).get("secret") == value else None
        return next((x for x in self.server.leases.values() if x["secret"] == value), None)

    def answer(self, status, body=b"", headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def any(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.requests.append((self.command, self.path))
        lease = self.lease()
        if not lease:
            return self.answer(401, b"{}", [("WWW-Authenticate", 'Basic realm="sheaf"')])
        if self.path.endswith("/context"):
            return self.answer(200, lease["tar"])
        return self.relay(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = any

    def relay(self, body):
        """Passes a /v2 request on, with the registry's host taken out of the path and put back into Location."""
        host = self.server.registry.host
        up = http.client.HTTPConnection(host, timeout=60)
        headers = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "authorization", "connection")}
        up.request(self.command, self.path.replace(f"/v2/{host}/", "/v2/", 1), body, headers)
        answer = up.getresponse()
        data = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() == "location":
                value = self.server.url + "/v2/" + host + "/" + value.partition("/v2/")[2]
            if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                self.send_header(name, value)
        self.send_header("Content-Length", answer.getheader("Content-Length") or str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def make_tar(files):
    """A context: {name: bytes | str | (mode, bytes) | ("link", target) | TarInfo}."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, what in files.items():
            if isinstance(what, tarfile.TarInfo):
                tar.addfile(what)
                continue
            info = tarfile.TarInfo(name)
            if isinstance(what, tuple) and what[0] == "link":
                info.type, info.linkname = tarfile.SYMTYPE, what[1]
                tar.addfile(info)
                continue
            mode, data = what if isinstance(what, tuple) else (0o755 if name.endswith(".sh") else 0o644, what)
            data = data.encode() if isinstance(data, str) else data
            info.mode, info.size = mode, len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


class Outcome:
    """What became of one job."""

    def __init__(self, status, result, log):
        self.status, self.result, self.log = status, result, log

    def __getattr__(self, name):
        return self.result[name]

    def ok(self):
        assert self.result["outcome"] == "succeeded", f"{self.result}\n{self.log[-6000:]}"
        return self


class Bench:
    """A registry, a gateway and a board's folders."""

    def __init__(self, name):
        self.dir = tempfile.mkdtemp(prefix="sheaf-test.", dir="/var/tmp")
        self.mark = uuid.uuid4().hex
        self.leaks = Leaks(self.mark, self.dir)
        self.env = {MARK: self.mark}
        self.registry = Registry(self.path("registry"), self.path("registry.log"), env=self.env)
        self.gateway = Gateway(self.registry)
        self.n = 0
        os.makedirs(KEPT, exist_ok=True)
        os.makedirs(self.path("jobs"))

    def path(self, *names):
        return os.path.join(self.dir, *names)

    def stop(self):
        self.gateway.shutdown()
        self.gateway.server_close()
        self.registry.stop()
        said = self.leaks.found()
        for name in os.listdir(self.path("jobs")):
            said += [f"jobs/{name}/{left}" for left in os.listdir(self.path("jobs", name))
                     if left not in ("lease.json", "result.json", "log")]
        shutil.rmtree(self.dir, ignore_errors=True)
        return said

    # ---- jobs ----

    def prepare(self, context=None, boards="board", options=None, **job):
        """Writes a lease; its folder."""
        self.n += 1
        lease, secret = f"L{self.n}", uuid.uuid4().hex
        full = {"key": "sha256:" + "0" * 64, "image": "x", "track": "x@main", "platform": "linux/amd64", "emulated": False,
                "repository": f"{self.registry.host}/osf/x", "kind": "rootfs",
                "context": {"id": "sha256:" + "1" * 64} if context is not None else None, "epoch": EPOCH,
                "script": None, "variant": None, "builder": None, "dockerfile": None, "target": "", "args": {},
                "bases": [], "cmd": None, "entrypoint": None, "env": {}, "labels": {}, "workdir": None, "user": None,
                "test": None, "media_type": "oci", "compression": "gzip", "timeout_ms": 600000, "no_cache": False,
                "previous": None, **job}
        tar = context if isinstance(context, bytes) else make_tar(context or {})
        self.gateway.leases[lease] = {"secret": secret, "tar": tar}
        folder = self.path("jobs", lease)
        os.makedirs(folder)
        with open(os.path.join(folder, "lease.json"), "w", encoding="utf-8") as f:
            json.dump({"coordinator": self.gateway.url,
                       "lease": {"lease": lease, "epoch": 1, "secret": secret, "job": full},
                       "options": {"emulated": False, "cache": self.folder(boards, "cache"), "cache_limit": 1 << 30,
                                   "buildroots": f"{KEPT}/buildroots", "builder": "buildah", **(options or {})}}, f)
        os.chmod(os.path.join(folder, "lease.json"), 0o600)
        return folder

    def folder(self, *names):
        path = self.path(*names)
        os.makedirs(path, exist_ok=True)
        return path

    def start(self, *args, **job):
        """Starts a job: (folder, process)."""
        folder = self.prepare(*args, **job)
        with open(os.path.join(folder, "log"), "wb") as log:
            return folder, subprocess.Popen([*os.environ.get("SHEAF_WRAP", "").split(), JOB, folder], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env={**os.environ, **self.env, "SHEAF_TEST_SECRET": "hunter2"})

    def finish(self, folder, process, timeout=900):
        """Waits for a started job."""
        try:
            status = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
            raise
        with open(os.path.join(folder, "log"), encoding="utf-8", errors="replace") as f:
            log = f.read()
        with open(os.path.join(folder, "result.json"), encoding="utf-8") as f:
            return Outcome(status, json.load(f), log)

    def run(self, *args, **job):
        """A job from beginning to end."""
        return self.finish(*self.start(*args, **job))

    # ---- images in the registry ----

    def put_blob(self, repository, data):
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        _, headers, _ = self.registry.request("POST", f"/v2/{repository}/blobs/uploads/")
        place = "/v2/" + headers["Location"].partition("/v2/")[2]
        status, _, _ = self.registry.request("PUT", f"{place}{'&' if '?' in place else '?'}digest={digest}",
                                             {"Content-Type": "application/octet-stream"}, data)
        assert status == 201
        return digest

    def put_image(self, repository, layers, architecture="amd64", variant=None, config=None, media=MANIFEST):
        """An image of uncompressed tars: its base entry for a lease."""
        docker = "docker" in media
        gz = [__import__("gzip").compress(t, mtime=0) for t in layers]
        whole = {"os": "linux", "architecture": architecture, "config": config or {}, "history": [],
                 "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(t).hexdigest() for t in layers]}}
        if variant:
            whole["variant"] = variant
        text = json.dumps(whole).encode()
        layer_type = "application/vnd.docker.image.rootfs.diff.tar.gzip" if docker else "application/vnd.oci.image.layer.v1.tar+gzip"
        config_type = "application/vnd.docker.container.image.v1+json" if docker else "application/vnd.oci.image.config.v1+json"
        manifest = {"schemaVersion": 2, "mediaType": media,
                    "config": {"mediaType": config_type, "size": len(text), "digest": self.put_blob(repository, text)},
                    "layers": [{"mediaType": layer_type, "size": len(g), "digest": self.put_blob(repository, g)} for g in gz]}
        body = json.dumps(manifest).encode()
        digest = "sha256:" + hashlib.sha256(body).hexdigest()
        status, _, answer = self.registry.request("PUT", f"/v2/{repository}/manifests/{digest}", {"Content-Type": media}, body)
        assert status == 201, answer
        full = f"{self.registry.host}/{repository}"
        return {"reference": f"{full}:latest", "repository": full, "digest": digest}

    def manifest(self, result):
        return json.loads(self.registry.raw("osf/x", result.manifest["digest"])[0])

    def config(self, result):
        return json.loads(self.registry.blob("osf/x", result.config_digest))

    def layer(self, result, n=0):
        """A layer as {name: TarInfo}."""
        data = self.registry.blob("osf/x", result.layers[n]["digest"])
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            return {m.name: m for m in tar.getmembers()}


def busybox_files(busybox="/bin/busybox"):
    """A root file system of one static program, as make_tar takes it."""
    with open(busybox, "rb") as f:
        files = {"bin/busybox": (0o755, f.read())}
    for name in ("sh", "ls", "cat", "mkdir", "echo", "sleep", "id", "env", "mount", "umount", "mknod", "chmod", "chown", "rm",
                 "ln", "touch", "tar", "cp", "dd", "seq", "uname", "test", "grep", "find", "wget", "nc", "ps", "kill", "true"):
        files[f"bin/{name}"] = ("link", "busybox")
    files["etc/passwd"] = "root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n"
    return files
