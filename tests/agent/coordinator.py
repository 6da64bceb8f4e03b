"""A coordinator that says what a test tells it to, and remembers all that it hears."""
import http.server
import json
import re
import socket
import threading
import time

KEY = "sha256:" + "a" * 64


def job(script, **how):
    """A job of kind rootfs."""
    return {"key": KEY, "image": "i", "track": "i@main", "repository": "127.0.0.1:1/i", "platform": "linux/amd64",
            "emulated": False, "kind": "rootfs", "context": None, "epoch": 1700000000, "script": script, "variant": None,
            "builder": None, "dockerfile": None, "target": None, "args": {}, "bases": [], "cmd": None, "entrypoint": None,
            "env": {}, "labels": {}, "workdir": None, "user": None, "test": None, "media_type": "oci",
            "compression": "gzip", "timeout_ms": 60000, "no_cache": False, "previous": None, **how}


class Coordinator:
    """What it knows outlives its server: stop() and start() are a restart on the same port."""

    def __init__(self, port, poll_ms=30000):
        self.port, self.poll_ms = port, poll_ms
        self.change = threading.Condition()
        self.sessions, self.joins, self.polls, self.seqs = set(), [], [], {}
        self.grants, self.unconfirmed, self.cancels, self.leases = [], [], [], {}
        self.logs, self.results, self.patches, self.wrong = {}, [], [], []
        self.result_status, self.garbage, self.repeat = 200, False, False
        self.server = None

    # ---- what a test does ----

    def start(self):
        self.server = Server(("127.0.0.1", self.port), self)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self, forget=True):
        """Breaks every connection. `forget`: sessions are not known afterwards."""
        server, self.server = self.server, None
        if not server:
            return
        with self.change:
            server.stopping = True
            if forget:
                self.sessions.clear()
            self.change.notify_all()
        server.shutdown()
        server.server_close()
        server.break_all()

    def forget(self):
        """Polls of the sessions so far get 410."""
        with self.change:
            self.sessions.clear()
            self.change.notify_all()

    def grant(self, name, script, epoch=1, **how):
        """Hands out a lease with the next poll that has a free slot."""
        lease = {"lease": name, "epoch": epoch, "secret": f"secret-of-{name}", "job": job(script, **how)}
        with self.change:
            self.leases[name] = lease
            self.grants.append(lease)
            self.change.notify_all()

    def cancel(self, name):
        with self.change:
            self.cancels.append(name)
            self.change.notify_all()

    def wait(self, predicate, seconds=60, what=None):
        """Waits until predicate() is true, and returns what it gave."""
        until = time.monotonic() + seconds
        with self.change:
            while True:
                value = predicate()
                if value:
                    return value
                left = until - time.monotonic()
                assert left > 0, f"not within {seconds} s: {what or predicate}"
                self.change.wait(min(left, 0.2))

    def result(self, name, seconds=60):
        """The first result of a lease."""
        return self.wait(lambda: next((r for n, r in self.results if n == name), None), seconds, f"result of {name}")

    def log(self, name):
        return bytes(self.logs.get(name, b""))

    # ---- what it answers (called with the lock held) ----

    def session(self, body):
        self.joins.append(body)
        name = f"S{len(self.joins)}"
        self.sessions.add(name)
        return 200, {"session": name, "board": "pi-1", "cancel": [], "term_ms": 90000, "poll_ms": self.poll_ms}

    def poll(self, body, server):
        self.polls.append(body)
        session, seq = body["session"], body["seq"]
        self.seqs[session] = seq
        until = time.monotonic() + self.poll_ms / 1000
        held = [h["lease"] for h in body["held"]]
        # As the real one does: what an answer granted that never arrived is granted again.
        lost = [lease for lease in self.unconfirmed if lease["lease"] not in held]
        self.unconfirmed, self.grants = [], lost + self.grants
        while True:
            if server.stopping:
                return None
            if session not in self.sessions:
                return 410, {"error": "no such session"}
            granted = []
            cancel = [c for c in self.cancels if c in held]
            if self.seqs[session] == seq:
                granted, self.grants = self.grants[:body["free"]], self.grants[body["free"]:]
                self.unconfirmed += granted
                if self.repeat and granted:
                    self.grants = granted + self.grants
                    self.repeat = False
            if granted or cancel or self.seqs[session] != seq or time.monotonic() > until:
                self.cancels = [c for c in self.cancels if c not in cancel]
                return 200, {"seq": seq, "leases": granted, "cancel": cancel, "later": True}
            self.change.wait(0.2)

    def take_log(self, name, offset, data):
        log = self.logs.setdefault(name, bytearray())
        self.patches.append((name, offset, len(data)))
        if offset != len(log):
            return 409, {"received": len(log)}
        log += data
        return 200, {"received": len(log), "durable": 0}

    def take_result(self, name, body):
        self.results.append((name, body))
        return self.result_status, {} if self.result_status == 200 else {"error": "told to"}


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    allow_reuse_address = True

    def __init__(self, address, coordinator):
        self.coordinator, self.stopping, self.connections = coordinator, False, set()
        super().__init__(address, Handler)

    def process_request(self, request, client_address):
        self.connections.add(request)
        super().process_request(request, client_address)

    def break_all(self):
        for connection in self.connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def handle_error(self, request, client_address):
        pass


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer is one write: two small ones wait for each other's acknowledgement

    def log_message(self, *args):
        pass

    def answer(self, status, body):
        data = b"not json" if self.server.coordinator.garbage else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()

    def authorized(self, secret):
        given = self.headers.get("Authorization", "")
        return given == f"Bearer {secret}"

    def do_POST(self):
        c = self.server.coordinator
        data = self.rfile.read(int(self.headers["Content-Length"]))
        lease = re.fullmatch(r"/v1/agent/leases/([\w-]+)/result", self.path)
        with c.change:
            secret = f"secret-of-{lease[1]}" if lease else "board-secret"
            if not self.authorized(secret):
                c.wrong.append((self.path, self.headers.get("Authorization")))
                answer = 401, {"error": "who are you"}
            elif lease:
                answer = c.take_result(lease[1], json.loads(data))
            elif self.path == "/v1/agent/session":
                answer = c.session(json.loads(data))
            else:
                answer = c.poll(json.loads(data), self.server)
            c.change.notify_all()
        if answer is None:
            self.close_connection = True
            return
        self.answer(*answer)

    def do_PATCH(self):
        c = self.server.coordinator
        data = self.rfile.read(int(self.headers["Content-Length"]))
        lease, offset = re.fullmatch(r"/v1/agent/leases/([\w-]+)/log\?offset=(\d+)", self.path).groups()
        with c.change:
            assert self.authorized(f"secret-of-{lease}")
            answer = c.take_log(lease, int(offset), data)
            c.change.notify_all()
        self.answer(*answer)
