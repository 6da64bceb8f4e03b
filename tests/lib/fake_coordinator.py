"""A coordinator that only talks: the API of docs/api.md over a small farm made up here."""
import json
import os
import re
import socketserver
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
P = ["linux/amd64", "linux/arm64", "linux/arm/v7"]
BOARD = {"linux/amd64": "amd64-1", "linux/arm64": "pi-4", "linux/arm/v7": "pi-3"}


def digest(seed):
    return "sha256:" + (f"{abs(hash(seed)) % 16**12:012x}" * 6)[:64]


def now():
    return int(time.time() * 1000)


def reason(code, text):
    return {"code": code, "text": text}


class Data:
    """The made-up farm; tests may change it between requests."""

    def __init__(self):
        t = self.began = now()
        self.images = [
            self._image("alpine", "dockerfile", "https://git.example/docker-alpine.git", [
                self._track("alpine", "refs/heads/v3.19", ["3.19"], "published", published=t - 86400000 * 3),
                self._track("alpine", "refs/heads/v3.20", ["3.20", "latest"], "building", reason("running", "linux/arm/v7 on pi-3"),
                            states={"linux/amd64": "succeeded", "linux/arm64": "succeeded", "linux/arm/v7": "running"},
                            published=t - 7200000)]),
            self._image("minideb", "rootfs", "https://git.example/minideb.git", [
                self._track("minideb", "refs/heads/master", ["bookworm"], "published", variant="bookworm", published=t - 540000),
                self._track("minideb", "refs/heads/master", ["trixie"], "failed",
                            reason("job-failed", "linux/arm64: mkimage: debootstrap: exit status 1: E: Couldn't find these debs: usrmerge"),
                            variant="trixie", states={"linux/amd64": "succeeded", "linux/arm64": "failed", "linux/arm/v7": "wanted"})]),
            self._image("nginx-coap-proxy", "dockerfile", "ssh://git@git.example/containers.git", [
                self._track("nginx-coap-proxy", "refs/tags/v1.4.0", ["1.4.0", "1.4", "latest"], "waiting",
                            reason("base-building", "alpine:3.20 is being built"), version="1.4.0",
                            states=dict.fromkeys(P, "waiting"), published=t - 86400000 * 40)]),
        ]
        self.posts, self.turn = [], 1
        self.log = b"".join(b"step %d: installing packages\n" % i for i in range(1, 40))
        self.job_state = "running"

    def _image(self, name, kind, source, tracks):
        return {"name": name, "repository": f"registry.example/osf/{name}", "kind": kind, "source": source, "platforms": P,
                "optional": [], "awaits": None, "warnings": [], "tracks": tracks}

    def _track(self, image, ref, tags, state, why_state=None, variant=None, version=None, states=None, published=None):
        track = f"{image}@{ref.split('/')[-1]}" + (f":{variant}" if variant else "")
        return {"id": track, "image": image, "ref": ref, "variant": variant, "version": version, "commit": "8f3c" * 10,
                "sighting": None, "state": state, "reason": why_state, "awake": None, "why": reason("input-changed", "its files changed"), "tags": tags,
                "owned": tags if published else [],
                "held": False, "hold": None, "build": 17, "publication": published and {
                    "id": 9, "generation": 12, "digest": digest(track), "published_at": published},
                "cells": [self._cell(track, p, (states or {}).get(p, "succeeded"), why_state) for p in P]}

    def _cell(self, track, platform, state, why):
        busy = state in ("running", "succeeded", "failed")
        said = {"wanted": reason("boards-busy", "pi-3 is busy, pi-3b is hot (81 °C)"), "running": reason("running", f"on {BOARD[platform]}"),
                "succeeded": None}.get(state, why)
        return {"platform": platform, "required": True, "state": state, "reason": said,
                "job": digest(track + platform) if busy else None, "digest": digest(track + platform) if state == "succeeded" else None,
                "board": BOARD[platform] if busy else None, "emulated": platform == "linux/arm/v7" and busy,
                "since_at": now() - 200000, "duration_ms": 61000 if state == "succeeded" else None,
                "retry_at": now() + 1800000 if state == "failed" else None, "stale": False}

    def tracks(self):
        return sorted((t for i in self.images for t in i["tracks"]), key=lambda t: t["id"])

    def brief(self):
        return [{"key": c["job"], "track": t["id"], "platform": c["platform"], "state": "running", "board": c["board"],
                 "emulated": c["emulated"], "started_at": c["since_at"]}
                for t in self.tracks() for c in t["cells"] if c["state"] == "running"]

    def status(self):
        return {"version": "0.1.0", "started_at": self.began - 3600000 * 30, "now_at": now(), "frozen": False, "freeze": None, "stalled": None,
                "tracks": {"published": 2, "building": 1, "failed": 1, "waiting": 1},
                "jobs": {"wanted": 1, "leased": 0, "running": len(self.brief())}, "boards": {"total": 4, "online": 3},
                "sources": {"total": 3, "failing": 1}, "running": self.brief(),
                "attention": [{"kind": "track", "id": t["id"], "reason": t["reason"]} for t in self.tracks() if t["state"] == "failed"]
                + [{"kind": "board", "id": "pi-3b", "reason": reason("offline", "not seen for 26 h")}]}

    def build_job(self, cell):
        return {"platform": cell["platform"], "required": True, "job": cell["job"] or digest("x" + cell["platform"]),
                "state": {"waiting": "wanted"}.get(cell["state"], cell["state"]), "reason": cell["reason"], "board": cell["board"],
                "emulated": cell["emulated"], "started_at": cell["since_at"], "duration_ms": cell["duration_ms"]}

    def build(self, number, track, state, end=None):
        return {"id": number, "track": track["id"], "image": track["image"], "state": state, "class": "source",
                "why": reason("input-changed", "its files changed"), "end": end, "commit": track["commit"],
                "created_at": now() - 300000 * (20 - number), "finished_at": None if state == "running" else now() - 280000 * (20 - number),
                "publication": track["publication"], "jobs": [self.build_job(c) for c in track["cells"]]}

    def builds(self):
        t = self.tracks()
        return [self.build(17, t[1], "running"), self.build(16, t[3], "failed", reason("job-failed", "linux/arm64 failed twice")),
                self.build(15, t[2], "published", reason("published", "registry.example/osf/minideb:bookworm")),
                self.build(14, t[0], "unchanged", reason("unchanged", "the same content as before"))]

    def job(self, key):
        for t in self.tracks():
            for c in t["cells"]:
                if c["job"] == key:
                    return {**self.build_job(c), "key": key, "image": t["image"], "track": t["id"],
                            "repository": f"registry.example/osf/{t['image']}", "state": self.job_state if c["state"] == "running" else c["state"],
                            "kind": "recipe" if c["state"] == "failed" else None, "commit": t["commit"], "epoch": 1, "wanted_at": now() - 260000,
                            "finished_at": None, "manifest": {"digest": c["digest"], "media_type": "application/vnd.oci.image.manifest.v1+json",
                                                              "size": 1234} if c["digest"] else None,
                            "config_digest": None, "content_digest": None,
                            "inputs": [{"name": "context", "value": digest("c")}, {"name": "platform", "value": c["platform"]}],
                            "attempts": [{"id": 31, "lease": "L31", "epoch": 1, "board": c["board"], "emulated": c["emulated"],
                                          "state": "running", "kind": None, "reason": None, "granted_at": now() - 210000,
                                          "started_at": now() - 200000, "finished_at": None, "timings": {"pull": 1200}, "log_size": len(self.log)}],
                            "log_size": len(self.log), "layers": [], "packages": [], "build_root": None}
        return None

    def boards(self):
        def board(name, state, platforms, emulated, heat, why=None):
            running = [b for b in self.brief() if b["board"] == name]
            return {"name": name, "state": state, "reason": why, "platforms": platforms, "emulated": emulated, "labels": [], "slots": 2,
                    "running": running, "facts": {"machine": "aarch64"}, "load": 0.5, "temperature": heat, "disk_free": 21 * 2**30,
                    "memory_free": 2**30, "joined_at": self.began, "seen_at": now() - (3000 if state == "online" else 26 * 3600000), "blames": 0}
        return [board("amd64-1", "online", P[:1], [], None), board("pi-3", "online", [], P[2:], 61.2),
                board("pi-3b", "offline", P[2:], [], 81.0, reason("offline", "not seen for 26 h")), board("pi-4", "online", P[1:2], [], 55.0)]

    def sources(self):
        def source(url, state, images, error=None, awaits=()):
            return {"url": url, "state": state, "error": error, "images": images, "refs": 4, "poll_ms": 300000, "polled_at": now() - 45000,
                    "next_at": now() + 255000, "failures": 3 if error else 0, "look": 7, "awaits": awaits}
        text = "look 7 did not find refs/heads/old: it counts as gone if the next look does not find it either"
        return [source("https://git.example/docker-alpine.git", "ok", ["alpine"]), source("https://git.example/minideb.git", "ok", ["minideb"], awaits=[
                    {"ref": "refs/heads/old", "image": None, "commit": None, "look": 7, "text": text}]),
                source("ssh://git@git.example/containers.git", "failing", ["nginx-coap-proxy"], "git.example: connection refused")]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def address_string(self):
        return "somebody"

    def log_message(self, format, *args):
        pass

    def answer(self, status, body, kind="application/json", **headers):
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def missing(self, what):
        self.answer(404, {"error": f"no {what}", "field": None})

    def one(self, what, found):
        self.answer(200, found) if found else self.missing(what)

    def do_GET(self):
        d, url = self.server.data, urllib.parse.urlsplit(self.path)
        parts, query = [urllib.parse.unquote(p) for p in url.path.split("/")[1:]], urllib.parse.parse_qs(url.query)
        lists = {"status": d.status, "images": lambda: {"images": d.images}, "tracks": lambda: {"tracks": d.tracks()},
                 "boards": lambda: {"boards": d.boards()}, "sources": lambda: {"sources": d.sources()}}
        if url.path == "/":
            with open(f"{ROOT}/daemon/page/status.html", "rb") as f:
                self.answer(200, f.read(), "text/html; charset=utf-8")
        elif len(parts) == 2 and parts[1] in lists:
            self.answer(200, lists[parts[1]]())
        elif url.path == "/v1/actions":
            self.answer(200, {"actions": [{"id": 5, "done_at": now(), "by": "ann (uid 0)", "command": "hold", "job": None,
                                           "track": query.get("track", ["alpine@v3.20"])[0], "reason": "an audit", "text": "it is held"}],
                              "next": None})
        elif parts[1] == "builds" and len(parts) == 2:
            found = [b for b in d.builds() if b["track"] == query.get("track", [b["track"]])[0]]
            n = int(query.get("limit", ["50"])[0])
            self.answer(200, {"builds": found[:n], "next": found[n - 1]["id"] if len(found) > n else None})
        elif parts[1] == "builds":
            found = next((b for b in d.builds() if str(b["id"]) == parts[2]), None)
            self.one(f"build {parts[2]}", found and {**found, "jobs": [{**j, **(d.job(j["job"]) or {})} for j in found["jobs"]]})
        elif parts[1] == "tracks":
            found = next((t for t in d.tracks() if t["id"] == parts[2]), None)
            self.one(f"track {parts[2]}", found and {**found, "bases": [{"reference": "docker.io/library/debian:bookworm",
                     "digest": digest("b"), "track": None}], "dependents": [], "builds": d.builds()[:1], "publications": []})
        elif parts[1] == "jobs" and len(parts) == 3:
            self.one(f"job {parts[2]}", d.job(parts[2]))
        elif parts[1] == "jobs" and d.job(parts[2]):
            d.job_state = "failed" if query.get("follow") else d.job_state
            self.answer(200, d.log[int(query.get("offset", ["0"])[0]):], "text/plain", Sheaf_Attempt="31")
        elif url.path == "/v1/events":
            self.events(d)
        else:
            self.missing("such path")

    def events(self, d):
        if os.environ.get("NO_EVENTS"):  # a headless browser waits for open streams before it takes its picture
            self.answer(204, b"")
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b'event: change\ndata: {"turn":1,"what":["boards","builds","images","jobs","sources"]}\n\n')
        seen = d.turn
        while not self.server.ending:
            time.sleep(0.1)
            if d.turn != seen:
                seen = d.turn
                self.wfile.write(b'event: change\ndata: {"turn":%d,"what":["images","jobs"]}\n\n' % seen)

    def do_POST(self):
        d, path = self.server.data, urllib.parse.unquote(self.path)
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        d.posts.append((path, body, self.headers.get("Authorization")))
        if re.fullmatch("/v1/tracks/.*/rebuild", path):
            track = path.split("/")[3]
            self.answer(202, {"command": "rebuild", "track": track, "job": None, "changed": True, "text": f"{track} is built again",
                              "tracks": [track], "action": 6, "build": 18, "waits": None})
        elif re.fullmatch("/v1/(builds|jobs)/.*/cancel", path):
            kind, what = path.split("/")[2:4]
            if what == "15":
                self.answer(409, {"error": "build 15 has ended", "field": None})
            else:
                self.answer(200, {kind[:-1]: what})
        elif re.fullmatch("/v1/(tracks/.*/(hold|release|pin|rollback|promote|retry|retire|wake)|jobs/.*/retry|freeze|thaw)", path):
            parts = path.split("/")
            self.answer(200, {"command": parts[-1], "track": parts[3] if parts[2] == "tracks" else None,
                              "job": parts[3] if parts[2] == "jobs" else None, "changed": True, "text": f"{parts[-1]}: done",
                              "tracks": [], "action": 5})
        elif path == "/v1/sources/poll":
            known = {s["url"] for s in d.sources()} | {i["name"] for i in d.images}
            self.answer(202, {"source": body["source"]}) if body["source"] in known else self.missing(f"source {body['source']}")
        elif path == "/v1/repositories/adopt":
            self.answer(200, body)
        elif path == "/v1/boards":
            self.answer(201, {"name": body["name"], "secret": "s3cret"})
        elif path == "/v1/config/check":
            with open(body["path"], encoding="utf-8") as f:
                bad = "imagez" in f.read()
            self.answer(200, {"ok": not bad, "errors": [f"{body['path']}:1:1: imagez: unknown key; did you mean images?"] if bad else []})
        elif path == "/v1/what-if":
            self.answer(200, what_if(body))
        else:
            self.missing("such path")


def what_if(question):
    """Two builds: an optional platform of one has no board, and all of the other."""
    def build(track, wave, text, *jobs):
        return {"track": track, "image": track.split("@")[0], "wave": wave, "class": "source", "why": reason("input-changed", text),
                "state": "published" if jobs[0]["board"] else "waiting", "made_ms": 0,
                "jobs": [{"platform": "linux/arm64", "required": True, "job": "sha256:00", "done_before": False, "stale_ms": None, **job} for job in jobs]}

    def no_board(platform):
        return {"platform": platform, "board": None, "begins_ms": None, "ends_ms": None, "reason": reason("no-board", f"no board offers {platform}")}
    return {
        "question": {"event": question["event"], "source": question.get("source"), "refs": ["refs/heads/master"],
                     "commit": question.get("commit"), "paths": question.get("paths", []), "reference": question.get("reference"), "board": question.get("board")},
        "under_way": 1, "rest_ms": 5000, "jobs": 1, "work_ms": 200000, "duration_ms": 200000, "too_much": False,
        "builds": [build("alpine@v3.19", 1, "its files changed", {"board": "pi-1", "begins_ms": 0, "ends_ms": 200000, "reason": None},
                         {**no_board("linux/riscv64"), "required": False, "stale_ms": 82800000}),
                   build("tool@master", 2, "base alpine:3.19 has new content", no_board("linux/arm64"))],
        "tags": [{"repository": "r/alpine", "tag": "3.19", "track": "alpine@v3.19", "was": "alpine@v3.19", "moves": True}],
        "tracks": [{"track": "tool@master", "before": {"state": "published", "reason": None},
                    "after": {"state": "building", "reason": reason("no-board", "no board offers linux/arm64")}, "conflict": None}],
        "unserved": [], "interrupted": [], "delayed": [], "remaining": [], "images": {"added": [], "removed": [], "changed": []}, "notes": ["nothing is known of it"]}


class Tcp(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
    ending = False


class Unix(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    ending = False

    def get_request(self):
        request, _ = super().get_request()
        return request, ("unix", 0)


class FakeCoordinator:
    """Both listeners, each in a thread of its own."""

    def __init__(self, socket_path=None, port=0):
        self.data = Data()
        self.servers = [Tcp(("127.0.0.1", port), Handler)]
        if socket_path:
            self.servers.append(Unix(socket_path, Handler))
        for server in self.servers:
            server.data = self.data
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.servers[0].server_address[1]}"

    def stop(self):
        for server in self.servers:
            server.ending = True
            server.shutdown()
            server.server_close()


if __name__ == "__main__":  # to look at the page by hand
    import sys
    fake = FakeCoordinator(port=int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    print(fake.url, flush=True)
    time.sleep(float(sys.argv[2]) if len(sys.argv) > 2 else 1e9)
