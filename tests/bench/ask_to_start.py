#!/usr/bin/python3
"""From asking for a rebuild to the job's start on an idle board: the process that the agent starts, and the first line of
a recipe in its sandbox, by the real helper."""
import os
import sqlite3
import subprocess
import sys

from benchfarm import (BENCH, QUIET, SocketConnection, farm, idle, many_tracks, median, noop_agent, percentile, push_image,
                       rebuild_path, time, wait_for)
from gitserver import GitServer
from shapes import TarMaker

ASKED, RECIPES, AIM = 200, 25, (5, 20)


def say(name, ms, aim):
    print(f"{name}: p50 {percentile(ms, 50):.1f} ms, p99 {percentile(ms, 99):.1f} ms{aim}")


def ask(coordinator, conn, track):
    """Asks once the farm is idle; the time of that, ns."""
    wait_for(lambda: idle(coordinator), 30, "idle", every=0.005, alive=[coordinator.process])
    time.sleep(0.01)
    asked = time.monotonic_ns()
    conn.call("POST", rebuild_path(track), {})
    return asked


def to_process(whole):
    """ms from each request to the start of the process; and of the process alone, started from here."""
    coordinator = many_tracks(whole, 1)
    starts = whole.path("starts")
    noop_agent(whole, coordinator, 1, env={"NOOP_STARTS": starts})
    track, conn, asked = next(iter(coordinator.tracks())), SocketConnection(coordinator.socket), []
    wait_for(lambda: idle(coordinator), 30, "the first build", alive=[coordinator.process])
    for _ in range(ASKED):
        asked.append(ask(coordinator, conn, track))
    wait_for(lambda: idle(coordinator), 30, "idle", every=0.005)
    conn.close()
    with open(starts, encoding="utf-8") as f:
        started = [int(line.split()[1]) for line in f][1:]
    return [(b - a) / 1e6 for a, b in zip(asked, started, strict=True)]


def bare(whole):
    """ms from here to the start of the same process, by fork and exec alone."""
    folder, starts = whole.path("bare"), whole.path("bare.starts")
    os.mkdir(folder)
    with open(f"{folder}/lease.json", "w", encoding="utf-8") as f:
        f.write('{"lease":{"epoch":1},"track":"t"}')
    asked = []
    for _ in range(ASKED):
        asked.append(time.monotonic_ns())
        subprocess.run([f"{BENCH}/noop-job", folder], env={**os.environ, "NOOP_STARTS": starts}, check=True, timeout=10)
    with open(starts, encoding="utf-8") as f:
        return [(int(line.split()[1]) - a) / 1e6 for a, line in zip(asked, f)]


def builder():
    """The layer of a build root of this machine's busybox and a program that tells the time."""
    with open(f"{BENCH}/now", "rb") as f:
        now = f.read()
    with open("/bin/busybox", "rb") as f:
        busybox = f.read()
    t = TarMaker()
    for name in ("bin", "dev", "proc", "sys", "tmp", "etc", "run"):
        t.folder(name)
    t.add("bin/now", now, mode=0o755).add("bin/busybox", busybox, mode=0o755)
    for name in ("sh", "mkdir", "cp"):
        t.link(f"bin/{name}", "busybox")
    return t.bytes()


def to_recipe(whole):
    """ms from each request to the first line of a recipe in its sandbox, and ms of the whole job to its committed result."""
    registry, up = whole.registry(), next(p for p in whole.parts if isinstance(p, GitServer)).repo("recipes")
    push_image(registry, "outside/builder", "1", builder())
    up.commit({"README": "a recipe\n"})
    script = 'now; mkdir "$SHEAF_ROOTFS" && cp /bin/busybox "$SHEAF_ROOTFS"'
    image = {"source": up.url, "ref": "refs/heads/master", "rootfs": script, "builder": f"{registry.host}/outside/builder:1", "tags": ["1"]}
    coordinator = whole.coordinator({"registry": f"{registry.host}/farm", "platforms": ["linux/amd64"], "images": {"image": image}},
                                    name="recipes", args=QUIET)
    whole.agent(coordinator, "board", slots=1, args=QUIET)
    coordinator.settle(up)
    track, conn, first, done = next(iter(coordinator.tracks())), SocketConnection(coordinator.socket), [], []
    for _ in range(RECIPES):
        asked = ask(coordinator, conn, track)
        wait_for(lambda: idle(coordinator), 30, "done", every=0.002)
        done.append((time.monotonic_ns() - asked) / 1e6)
        key = coordinator.track(track)["cells"][0]["job"]
        line = next(x for x in coordinator.job_log(key).split("\n") if x.isdigit())
        first.append((int(line) - asked) / 1e6)
    conn.close()
    return first, done


def commit_alone(whole):
    """ms that one durable transaction takes here."""
    db, ms = sqlite3.connect(whole.path("bare.db"), isolation_level=None), []
    db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE t (text TEXT) STRICT;")
    for _ in range(ASKED):
        begun = time.monotonic_ns()
        db.execute("INSERT INTO t (text) VALUES (?)", ("x" * 4000,))
        ms.append((time.monotonic_ns() - begun) / 1e6)
        time.sleep(0.005)
    db.close()
    return ms


def main():
    with farm("ask") as whole:
        ms, alone = to_process(whole), bare(whole)
        say("rebuild asked for, to the process on an idle board", ms, f" (aim {AIM[0]} and {AIM[1]}); the process alone: "
            f"p50 {median(alone):.1f} ms, and a commit of SQLite alone {median(commit_alone(whole)):.1f} ms")
        first, done = to_recipe(whole)
        say("rebuild asked for, to the recipe's first line in its sandbox", first, "")
        say("rebuild asked for, to the whole job's committed result", done, "")
    return 0 if median(ms) < 6 * AIM[0] else 1


sys.exit(main())
