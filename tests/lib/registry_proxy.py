"""A proxy before a registry: it counts requests, keeps what was PUT under tags, and makes the n-th go wrong."""
import http.client
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        pass  # a connection that we ended ourselves


class RegistryProxy:
    """`host` stands for the registry; a request that is caught waits until `release`, and is never answered, or, with
    `status`, at once with that. It may then be delivered all the same, with `late`."""

    def __init__(self, registry):
        self.registry, self.lock = registry, threading.Lock()
        self.begin, self.left, self.forward = None, 0, False
        self.caught, self.go = threading.Event(), threading.Event()
        self.what, self.seen, self.late, self.status = None, 0, False, None
        self.delivered = threading.Event()
        self.tag_puts = []  # (repository, tag, body), as the registry took them
        proxy = self

        class Handler(RequestHandler):
            owner = proxy

        self.server = Server(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def stop(self):
        self.release()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def catch(self, n, begin=r".", forward=False):
        """The n-th request from the first on whose "METHOD path" matches `begin`. With `forward` the registry gets
        it, and only its answer is lost."""
        with self.lock:
            self.begin, self.left, self.forward, self.what, self.seen = re.compile(begin), n, forward, None, 0
            self.caught.clear()
            self.go.clear()

    def release(self):
        with self.lock:
            self.begin, self.left = None, 0
        self.go.set()

    def is_the_one(self, what):
        """Counts a request; whether it is the one to catch."""
        with self.lock:
            if not re.search(r"/manifests/|^GET .*/blobs/", what):
                return False  # a board's push
            if self.begin and self.begin.search(what):
                self.begin, self.seen = None, 1
            elif self.left and not self.begin:
                self.seen += 1
            else:
                return False
            if self.seen != self.left:
                return False
            self.what = what
            return True


class RequestHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner = None

    def log_message(self, *args):
        pass

    def body(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        data = b""
        while size := int(self.rfile.readline(), 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def ask(self, body):
        """The registry's own answer: status, headers, body."""
        connection = http.client.HTTPConnection(self.owner.registry.host, timeout=60)
        sent = {k: v for k, v in self.headers.items() if k.lower() not in ("transfer-encoding", "connection", "content-length")}
        if body or self.command in ("PUT", "POST", "PATCH"):
            sent["Content-Length"] = str(len(body))
        connection.request(self.command, self.path, body or None, sent)
        answer = connection.getresponse()
        got = answer.status, answer.getheaders(), answer.read()
        connection.close()
        return got

    def note(self, body, status):
        match = re.fullmatch(r"/v2/(.+)/manifests/([^:?]+)", self.path)
        if self.command == "PUT" and match and status == 201:
            with self.owner.lock:
                self.owner.tag_puts.append((match.group(1), match.group(2), body))

    def handle_one(self):
        body, caught = self.body(), self.owner.is_the_one(f"{self.command} {self.path}")
        if not caught or self.owner.forward:
            status, headers, content = self.ask(body)
            self.note(body, status)
        if caught:
            self.owner.caught.set()
            if self.owner.status:
                self.send_response(self.owner.status)
                self.send_header("Content-Length", "0")
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.flush()
            self.owner.go.wait(300)
            if self.owner.late:
                self.note(body, self.ask(body)[0])
                self.owner.delivered.set()
            self.close_connection = True
            return
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in ("connection", "transfer-encoding", "date", "server", "content-length"):
                self.send_header(name, value)
        length = dict((k.lower(), v) for k, v in headers).get("content-length")
        self.send_header("Content-Length", length if self.command == "HEAD" and length else str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = lambda self: self.handle_one()
