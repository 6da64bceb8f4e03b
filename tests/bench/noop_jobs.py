#!/usr/bin/python3
"""No-op jobs: a real agent and a real process for each, its result durable on both sides."""
import os
import signal
import subprocess
import sys

from benchfarm import BENCH, farm, idle, many_tracks, median, noop_agent, rebuild_all, time, wait_for

JOBS, SLOTS, ROUNDS, AIM = 400, 16, 3, 250


def bare(folder):
    """Processes a second that this machine starts of a program that writes a file and syncs it, `SLOTS` side by side."""
    job = f"{folder}/bare"
    os.makedirs(job, exist_ok=True)
    with open(f"{job}/lease.json", "w", encoding="utf-8") as f:
        f.write('{"lease":{"epoch":1},"track":""}')
    begun, n, running = time.monotonic(), 0, []
    while n < JOBS or running:
        while len(running) < SLOTS and n < JOBS:
            running.append(subprocess.Popen([f"{BENCH}/noop-job", job], stderr=subprocess.DEVNULL))
            n += 1
        running.pop(0).wait()
    return JOBS / (time.monotonic() - begun)


def run_round(coordinator, agent):
    """Jobs a second, from the moment that the board may go on to the last result's commit."""
    os.kill(agent.pid, signal.SIGSTOP)
    rebuild_all(coordinator)
    begun = time.monotonic()
    os.kill(agent.pid, signal.SIGCONT)
    wait_for(lambda: idle(coordinator), 60, "all done", every=0.01, alive=[coordinator.process])
    return JOBS / (time.monotonic() - begun)


def main():
    with farm("noop") as whole:
        coordinator = many_tracks(whole, JOBS)
        agent = noop_agent(whole, coordinator, SLOTS)
        coordinator.wait(lambda: idle(coordinator), 60, "the first round")
        pairs = [(run_round(coordinator, agent), bare(whole.dir)) for _ in range(ROUNDS)]
        rate, processes = median([a for a, _ in pairs]), median([b for _, b in pairs])
        print(f"no-op jobs: {rate:.0f} a second (aim {AIM}); the processes alone: {processes:.0f} a second, ratio "
              f"{median([a / b for a, b in pairs]):.2f}")
        return 0 if rate > AIM / 4 else 1


sys.exit(main())
