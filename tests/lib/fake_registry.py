"""A registry that misbehaves to order, for what real ones do too rarely to wait for.

Each trait of `FakeRegistry` is an attribute that a test sets; `fault` makes single requests go wrong. All
requests are kept in `requests`, so that a test can say what must have been sent, and how often.
"""
import base64
import hashlib
import json
import re
import socket
import ssl
import threading
import urllib.parse
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Fault:
    """What happens to the next `times` requests that match: a status, or the connection goes."""

    def __init__(self, method, path, times=1, status=None, headers=None, body=b"", drop=False, keep=None, send=None):
        self.method, self.path, self.left = method, re.compile(path), times
        self.status, self.headers, self.body = status, headers or {}, body
        self.drop = drop    # no answer at all
        self.keep = keep    # of an upload's body, only so many bytes arrive; then no answer
        self.send = send    # of an answer's body, only so many bytes are sent; then the connection ends


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        pass  # a connection that we ended ourselves


class FakeRegistry:
    def __init__(self, certificate=None):
        """`certificate`: a PEM file with certificate and key; then it speaks TLS."""
        self.blobs, self.manifests, self.uploads = {}, {}, {}  # (repository, digest) and (repository, reference)
        self.requests, self.faults, self.tokens = [], [], {}
        self.auth = None               # None, "basic" or "token"
        self.user, self.password = "user", "secret"
        self.token_uses = None         # a token is refused after so many requests
        self.token_life = 300          # expires_in; None leaves it out
        self.token_key = "token"       # or "access_token"
        self.grants = None             # the actions that tokens get at most
        self.digest_headers = True     # Docker-Content-Digest
        self.absolute = False          # Location
        self.mounts = True             # 201, else 202
        self.min_chunk = None          # OCI-Chunk-Min-Length
        self.ranges = True             # 206 for blobs
        self.max_body = None           # else 413
        self.lie = None                # a Docker-Content-Digest for everything
        self.page = None               # tags a page
        self.lock = threading.Lock()
        fake = self

        class Handler(RequestHandler):
            registry = fake

        self.server = Server(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server.server_port}"
        self.url = f"http{'s' if certificate else ''}://{self.host}"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def fault(self, method, path, **how):
        self.faults.append(Fault(method, path, **how))

    def count(self, method, path=""):
        """How many requests of this kind came in."""
        return sum(1 for m, p in self.requests if m == method and re.search(path, p))

    def add_blob(self, repository, data):
        digest = digest_of(data)
        self.blobs[repository, digest] = data
        return digest

    def add_manifest(self, repository, reference, media_type, data):
        digest = digest_of(data)
        self.manifests[repository, reference] = self.manifests[repository, digest] = (media_type, data)
        return digest

    # ---- tokens ----

    def issue(self, scopes):
        token = uuid.uuid4().hex
        granted = set()
        for scope in scopes:
            _, name, actions = scope.split(":")
            granted |= {(name, a) for a in actions.split(",") if self.grants is None or a in self.grants}
        with self.lock:
            self.tokens[token] = [granted, self.token_uses]
        return token

    def token_ok(self, token, need):
        with self.lock:
            known = self.tokens.get(token)
            if not known or not need <= known[0]:
                return False
            if known[1] is not None:
                known[1] -= 1
                if known[1] < 0:
                    del self.tokens[token]
                    return False
            return True


class RequestHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    registry = None

    def log_message(self, *args):
        pass

    # ---- plumbing ----

    def answer(self, status, headers=None, body=b""):
        fault = self.fault
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", (headers or {}).get("X-Length", len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault and fault.send is not None and status < 300:
            self.wfile.write(body[:fault.send])
            self.hang_up()
        else:
            self.wfile.write(body)

    def error(self, status, code, message, headers=None):
        self.answer(status, {"Content-Type": "application/json", **(headers or {})},
                    json.dumps({"errors": [{"code": code, "message": message}]}).encode())

    def hang_up(self):
        self.close_connection = True
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)

    def body(self, most=None):
        """The request's body; of one that is longer than `most`, so much, and then the connection is ended."""
        if self.headers.get("Transfer-Encoding") == "chunked":
            data = b""
            while size := int(self.rfile.readline(), 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return data
        length = int(self.headers.get("Content-Length") or 0)
        return self.rfile.read(length if most is None else min(most, length))

    def matching_fault(self):
        for fault in self.registry.faults:
            if fault.left > 0 and fault.method == self.command and fault.path.search(self.path):
                fault.left -= 1
                return fault
        return None

    def handle_one(self):
        registry = self.registry
        registry.requests.append((self.command, self.path))
        self.fault = self.matching_fault()
        url = urllib.parse.urlsplit(self.path)
        self.query = urllib.parse.parse_qs(url.query)
        if self.fault and self.fault.drop:
            return self.hang_up()
        if self.fault and self.fault.status:
            self.body()
            return self.answer(self.fault.status, self.fault.headers, self.fault.body)
        if url.path == "/token":
            return self.token()
        if registry.max_body is not None and int(self.headers.get("Content-Length") or 0) > registry.max_body:
            self.close_connection = True
            return self.answer(413)
        if not self.authorised(url.path):
            return None
        for pattern, handler in self.ROUTES:
            match = re.fullmatch(pattern, url.path)
            if match:
                return getattr(self, handler)(*match.groups())
        return self.error(404, "NAME_UNKNOWN", "no such route")

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = lambda self: self.handle_one()

    # ---- credentials ----

    def basic_ok(self):
        pair = base64.b64encode(f"{self.registry.user}:{self.registry.password}".encode()).decode()
        return self.headers.get("Authorization") == f"Basic {pair}"

    def authorised(self, path):
        registry, header = self.registry, self.headers.get("Authorization") or ""
        if registry.auth is None or (registry.auth == "basic" and self.basic_ok()):
            return True
        challenge = 'Basic realm="fake"'
        if registry.auth == "token":
            match = re.fullmatch(r"/v2/(.+)/(?:manifests|blobs|tags)/.*", path)
            actions = {"pull"} if self.command in ("GET", "HEAD") and "/uploads/" not in path else {"pull", "push"}
            need = {(match.group(1), a) for a in actions} if match else set()
            if header.startswith("Bearer ") and registry.token_ok(header[7:], need):
                return True
            scope = f',scope="repository:{match.group(1)}:{",".join(sorted(actions))}"' if match else ""
            challenge = f'Bearer realm="{registry.url}/token",service="fake registry"{scope},error="invalid_token"'
        self.body()
        self.error(401, "UNAUTHORIZED", "authentication required", {"WWW-Authenticate": challenge})
        return False

    def token(self):
        registry = self.registry
        if self.headers.get("Authorization") and not self.basic_ok():
            return self.error(401, "UNAUTHORIZED", "who?")
        assert self.query["service"] == ["fake registry"]
        answer = {registry.token_key: registry.issue(self.query.get("scope", []))}
        if registry.token_life is not None:
            answer["expires_in"] = registry.token_life
        return self.answer(200, {"Content-Type": "application/json"}, json.dumps(answer).encode())

    # ---- the API ----

    def ping(self):
        self.answer(200)

    def tags(self, repository):
        registry = self.registry
        tags = sorted(t for r, t in registry.manifests if r == repository and not t.startswith("sha256:"))
        if not tags:
            return self.error(404, "NAME_UNKNOWN", "no such repository")
        last = self.query.get("last", [""])[0]
        tags = [t for t in tags if t > last]
        headers = {"Content-Type": "application/json"}
        if registry.page and len(tags) > registry.page:
            tags = tags[:registry.page]
            headers["Link"] = f'</v2/{repository}/tags/list?last={tags[-1]}>; rel="next"'
        return self.answer(200, headers, json.dumps({"name": repository, "tags": tags}).encode())

    def said(self, digest):
        registry = self.registry
        if registry.lie:
            return {"Docker-Content-Digest": registry.lie}
        return {"Docker-Content-Digest": digest} if registry.digest_headers else {}

    def manifest(self, repository, reference):
        registry = self.registry
        if self.command == "PUT":
            data = self.body()
            digest = registry.add_manifest(repository, reference, self.headers["Content-Type"], data)
            return self.answer(201, {"Location": f"/v2/{repository}/manifests/{digest}", **self.said(digest)})
        found = registry.manifests.get((repository, reference))
        if not found:
            return self.error(404, "MANIFEST_UNKNOWN", "manifest unknown")
        if self.command == "DELETE":
            for key in [k for k, v in registry.manifests.items() if k[0] == repository and v == found]:
                del registry.manifests[key]
            return self.answer(202)
        return self.answer(200, {"Content-Type": found[0], **self.said(digest_of(found[1]))}, found[1])

    def blob(self, repository, digest):
        registry = self.registry
        data = registry.blobs.get((repository, digest))
        if data is None:
            return self.error(404, "BLOB_UNKNOWN", "blob unknown")
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        if match and registry.ranges:
            start = int(match.group(1))
            return self.answer(206, {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}, data[start:])
        return self.answer(200, self.said(digest), data)

    def location(self, repository, session):
        """Where an upload goes on: relative, with a query whose state is checked, and new each time."""
        upload = self.registry.uploads[session]
        upload["state"] = uuid.uuid4().hex
        path = f"/v2/{repository}/blobs/uploads/{session}?_state={upload['state']}"
        return f"http://{self.registry.host}{path}" if self.registry.absolute else path

    def open_upload(self, repository):
        registry = self.registry
        digest, source = self.query.get("mount", [None])[0], self.query.get("from", [None])[0]
        self.body()
        if digest and registry.mounts and (source, digest) in registry.blobs:
            registry.blobs[repository, digest] = registry.blobs[source, digest]
            return self.answer(201, {"Location": f"/v2/{repository}/blobs/{digest}"})
        session = uuid.uuid4().hex
        registry.uploads[session] = {"data": b"", "state": None}
        headers = {"Location": self.location(repository, session), "Range": "0-0"}
        if registry.min_chunk:
            headers["OCI-Chunk-Min-Length"] = str(registry.min_chunk)
        return self.answer(202, headers)

    def upload(self, repository, session):
        registry = self.registry
        upload = registry.uploads.get(session)
        if not upload:
            return self.error(404, "BLOB_UPLOAD_UNKNOWN", "upload unknown")
        if self.query.get("_state") != [upload["state"]]:
            return self.error(400, "BLOB_UPLOAD_INVALID", "stale state")
        if self.command == "DELETE":
            del registry.uploads[session]
            return self.answer(204)
        if self.command in ("PATCH", "PUT") and not self.receive(upload):
            return None
        if self.command == "PUT":
            return self.finish_upload(repository, session, upload)
        last = max(len(upload["data"]) - 1, 0)
        return self.answer(204 if self.command == "GET" else 202,
                           {"Location": self.location(repository, session), "Range": f"0-{last}"})

    def receive(self, upload):
        """Takes a PATCH's or PUT's body; False when the answer was given already."""
        start = len(upload["data"])
        match = re.fullmatch(r"(\d+)-(\d+)", self.headers.get("Content-Range") or "")
        if match and int(match.group(1)) != start:
            self.body()
            self.error(416, "RANGE_INVALID", "not where we are")
            return False
        if self.fault and self.fault.keep is not None:
            upload["data"] += self.body(self.fault.keep)
            self.hang_up()
            return False
        upload["data"] += self.body()
        return True

    def finish_upload(self, repository, session, upload):
        registry = self.registry
        digest, data = self.query["digest"][0], upload["data"]
        del registry.uploads[session]
        if digest_of(data) != digest:
            return self.error(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        registry.blobs[repository, digest] = data
        return self.answer(201, {"Location": f"/v2/{repository}/blobs/{digest}", **self.said(digest)})

    ROUTES = [
        (r"/v2/", "ping"),
        (r"/v2/(.+)/tags/list", "tags"),
        (r"/v2/(.+)/manifests/([^/]+)", "manifest"),
        (r"/v2/(.+)/blobs/uploads/", "open_upload"),
        (r"/v2/(.+)/blobs/uploads/([^/]+)", "upload"),
        (r"/v2/(.+)/blobs/(sha256:[0-9a-f]+)", "blob"),
    ]
