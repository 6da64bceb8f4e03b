#!/usr/bin/python3
"""The status endpoint's JSON beside lighttpd serving the same bytes from a file."""
import os
import sys

from benchfarm import farm, many_tracks, median, run_tool, wait_for
from procs import free_port, listening

TRACKS, CONNECTIONS, MS, ROUNDS, AIM = 60, 8, 700, 5, 0.8
PLATFORMS = ("linux/amd64", "linux/arm64", "linux/arm/v7")


def lighttpd(whole):
    """Serves the folder `www`."""
    port, config = free_port(), whole.path("static.conf")
    with open(config, "w", encoding="utf-8") as f:
        f.write(f'server.document-root = "{whole.path("www")}"\nserver.bind = "127.0.0.1"\nserver.port = {port}\n'
                'mimetype.assign = ("" => "application/json")\nserver.max-keep-alive-requests = 100000000\n')
    process = whole.process("lighttpd", ["/usr/sbin/lighttpd", "-D", "-f", config])
    wait_for(lambda: listening(port), 20, "lighttpd", alive=[process])
    return port


def rate(port, path):
    """Requests a second."""
    n, seconds, _ = map(float, run_tool("http-load", port, path, CONNECTIONS, MS))
    return n / seconds


def main():
    good = True
    with farm("status") as whole:
        coordinator = many_tracks(whole, TRACKS, platforms=PLATFORMS)
        os.mkdir(whole.path("www"))
        static = lighttpd(whole)
        for name in ("status", "images", "tracks"):
            path = f"/v1/{name}"
            body = coordinator.get(path, raw=True)
            with open(whole.path("www", name), "wb") as f:
                f.write(body)
            pairs = [(rate(coordinator.status_port, path), rate(static, f"/{name}")) for _ in range(ROUNDS)]
            ratio = median([a / b for a, b in pairs])
            print(f"GET {path}, {len(body)} bytes: {median([a for a, _ in pairs]):.0f} a second; lighttpd, the same bytes: "
                  f"{median([b for _, b in pairs]):.0f}, ratio {ratio:.2f} (aim {AIM})")
            good = good and ratio > AIM / 4
    return 0 if good else 1


sys.exit(main())
