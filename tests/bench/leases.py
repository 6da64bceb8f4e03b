#!/usr/bin/python3
"""Leases and results alone: the agents' protocol and a durable store, without a process for a job."""
import sqlite3
import sys

from benchfarm import add_boards, commits, farm, idle, many_tracks, median, rebuild_all, run_tool, time

TRACKS, BOARDS, SLOTS, ROUNDS, AIM = 2000, 64, 4, 3, 5000


def bare(folder):
    """Transactions a second of SQLite alone, one row of an attempt's size in each."""
    db = sqlite3.connect(f"{folder}/bare.db", isolation_level=None)
    db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, text TEXT) STRICT;")
    begun, n = time.monotonic(), 0
    while time.monotonic() - begun < 0.7:
        db.execute("INSERT INTO t (text) VALUES (?)", ("x" * 300,))
        n += 1
    seconds = time.monotonic() - begun
    db.close()
    return n / seconds


def main():
    with farm("leases") as whole:
        coordinator = many_tracks(whole, TRACKS)
        secrets = "\n".join(add_boards(coordinator, BOARDS)) + "\n"
        rates, singles, turns = [], [], []
        for i in range(ROUNDS):
            if i:
                rebuild_all(coordinator)
            singles.append(bare(whole.dir))
            before = commits(coordinator)
            done, seconds = map(float, run_tool("board-load", coordinator.agents_port, SLOTS, TRACKS, given=secrets))
            coordinator.wait(lambda: idle(coordinator), 30, "all results taken")
            rates.append(done / seconds)
            turns.append(2 * done / (commits(coordinator) - before))
        rate, single = median(rates), median(singles)
        print(f"leases and results: {rate:.0f} a second (aim {AIM}), {median(turns):.1f} of them a commit; each at two commits of its own, "
              f"SQLite alone: {single / 2:.0f} a second, ratio {rate / single * 2:.1f}")
        return 0 if rate > AIM / 4 else 1


sys.exit(main())
