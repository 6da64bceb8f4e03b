#!/usr/bin/python3
"""A publication, from the decision to the verified tags, beside bare PUTs of the same manifests to the same registry."""
import http.client
import json
import sqlite3
import subprocess
import sys

from benchfarm import QUIET, Failed, SocketConnection, farm, median, push_image, rebuild_path, time, wait_for
from boards import Board
from shapes import TarMaker

PLATFORMS = ("linux/amd64", "linux/arm64", "linux/arm/v7")
KIND, INDEX = "application/vnd.oci.image.", "application/vnd.oci.image.index.v1+json"
ROUNDS, SKOPEO_ROUNDS, AIM = 15, 5, 1.3


class Bare:
    """A client that only PUTs, on one kept connection."""

    def __init__(self, registry):
        self.conn = http.client.HTTPConnection(registry.host, timeout=60)

    def put(self, repository, reference, kind, body):
        self.conn.request("PUT", f"/v2/{repository}/manifests/{reference}", body, {"Content-Type": kind})
        answer = self.conn.getresponse()
        text = answer.read()
        if answer.status != 201:
            raise Failed(f"PUT {reference}: {answer.status} {text}")

    def publish(self, repository, puts):
        """Milliseconds that these PUTs take."""
        begun = time.monotonic()
        for put in puts:
            self.put(repository, *put)
        return (time.monotonic() - begun) * 1000


def layer(text):
    return TarMaker().add("file", text.encode()).bytes()


def children(registry, n, *repositories):
    """Pushes one image a platform to each repository: {platform: (digest, bytes)}."""
    return {p: [push_image(registry, r, None, layer(f"{n} {p}"), p) for r in repositories][0] for p in PLATFORMS}


def times_of(coordinator, publication):
    """Milliseconds from a publication's making to its end, as the store has them, and its tags."""
    with sqlite3.connect(f"file:{coordinator.state}/sheaf.db?mode=ro", uri=True) as db:
        made, ended, bytes_, digest = db.execute("SELECT created_at, finished_at, bytes, digest FROM publication WHERE id = ?",
                                                 (publication,)).fetchone()
        tags = db.execute('SELECT tag, digest, "index" FROM publication_tag WHERE publication = ? ORDER BY ordinal',
                          (publication,)).fetchall()
    return ended - made, bytes_, digest, tags


def puts_of(built, text, digest, tags):
    """What a bare client has to PUT for the same outcome: (reference, media type, body)."""
    by_digest = {d: body for d, body in built.values()}
    puts = [(digest, INDEX, text)]
    for tag, child, index in tags:
        puts.append((tag, INDEX, text) if index else (tag, KIND + "manifest.v1+json", by_digest[child]))
    return puts


def skopeo(registry, tags):
    """Milliseconds that skopeo takes to copy the index to a tag of another repository that has all its blobs, for each index tag."""
    n = sum(1 for _, _, index in tags if index)
    begun = time.monotonic()
    for i in range(n):
        subprocess.run(["skopeo", "copy", "-q", "--all", "--src-tls-verify=false", "--dest-tls-verify=false",
                        f"docker://{registry.host}/farm/image:latest", f"docker://{registry.host}/bare/image:skopeo{i}"], check=True, timeout=60)
    return (time.monotonic() - begun) * 1000


def main():
    with farm("publish") as whole:
        registry, up = whole.registry(), whole.git().repo("up")
        up.commit({"Dockerfile": "FROM scratch\nCOPY Dockerfile /\n"})
        up.tag("v1.0.0")
        coordinator = whole.coordinator({
            "registry": f"{registry.host}/farm", "platforms": list(PLATFORMS),
            "images": {"image": {"source": up.url, "ref": "refs/tags/v*", "tags": ["$version", "latest"]}}}, args=QUIET)
        board, conn, bare = Board(coordinator, "bench", PLATFORMS), SocketConnection(coordinator.socket), Bare(registry)
        coordinator.poll(up)
        ours, theirs, peers, last = [], [], [], 0
        for n in range(ROUNDS + 1):
            built = children(registry, n, "farm/image", "bare/image")
            if n:
                conn.call("POST", rebuild_path("image@v1.0.0"), {})
            board.build({p: {"digest": d, "size": len(body), "config": json.loads(body)["config"]["digest"]} for p, (d, body) in built.items()})
            shown = wait_for(lambda: (coordinator.get("/v1/tracks/image%40v1.0.0")["publication"] or {"id": 0})["id"] > last and
                             coordinator.get("/v1/tracks/image%40v1.0.0"), 30, "published", every=0.01, alive=[coordinator.process])
            last = shown["publication"]["id"]
            ms, text, digest, tags = times_of(coordinator, last)
            alone = bare.publish("bare/image", puts_of(built, text, digest, tags))
            if n:  # the first makes connections and folders
                ours.append(ms)
                theirs.append(alone)
            if n and n <= SKOPEO_ROUNDS:
                peers.append(skopeo(registry, tags))
        ratio = median([a / b for a, b in zip(ours, theirs)])
        print(f"index published, {len(tags)} tags, verified: {median(ours):.0f} ms; bare PUTs of the same {len(tags) + 1} manifests: "
              f"{median(theirs):.0f} ms, ratio {ratio:.2f} (aim {AIM}); skopeo, the index tags alone: {median(peers):.0f} ms, "
              f"{median(peers) / median(theirs):.1f} times")
        return 0 if ratio < 3 * AIM else 1


sys.exit(main())
