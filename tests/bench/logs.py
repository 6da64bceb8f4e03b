#!/usr/bin/python3
"""A job's log from its pipe, through the agent's spool and the coordinator, to the coordinator's disk."""
import glob
import os
import subprocess
import sys

from benchfarm import farm, idle, many_tracks, median, memory, noop_agent, rebuild_all, time, wait_for

MIB, SIZE, ROUNDS, AIM = 1 << 20, 256 << 20, 3, 150


def bare(folder):
    """Seconds for the same bytes in the same pieces through a pipe into a file that is then synced."""
    begun = time.monotonic()
    subprocess.run(["/bin/sh", "-c", f"dd if=/dev/zero bs=4096 count={SIZE // 4096} status=none | cat > {folder}/bare; "
                                     f"sync -d {folder}/bare; rm {folder}/bare"], check=True, timeout=120)
    return time.monotonic() - begun


def main():
    with farm("logs") as whole:
        coordinator = many_tracks(whole, 1, **{"log-limit": "4GiB"})
        starts = whole.path("starts")
        agent = noop_agent(whole, coordinator, 1, env={"NOOP_STARTS": starts, "NOOP_LOG": str(SIZE)}, args=["--log-limit", "4G"])
        wait_for(lambda: idle(coordinator), 120, "the first", alive=[coordinator.process])
        peak, pairs = [memory(agent.pid)[0], memory(coordinator.process.pid)[0]], []
        for _ in range(ROUNDS):
            rebuild_all(coordinator)
            wait_for(lambda: idle(coordinator), 120, "logged", every=0.02, alive=[coordinator.process])
            ended = time.monotonic()
            with open(starts, encoding="utf-8") as f:
                begun = int(f.read().split()[-1]) / 1e9
            pairs.append((ended - begun, bare(whole.dir)))
            for path in glob.glob(f"{coordinator.state}/logs/*"):
                assert os.path.getsize(path) == SIZE, path
                os.unlink(path)
        after = [memory(agent.pid)[0], memory(coordinator.process.pid)[0]]
        rate = SIZE / MIB / median([a for a, _ in pairs])
        print(f"logs, agent to the coordinator's disk, 4 KiB pieces, result committed: {rate:.0f} MB/s (aim {AIM}); dd | cat > file, synced: "
              f"{SIZE / MIB / median([b for _, b in pairs]):.0f} MB/s, ratio {median([b / a for a, b in pairs]):.2f}; "
              f"agent {peak[0]:.1f} then {after[0]:.1f} MB, coordinator {peak[1]:.1f} then {after[1]:.1f} MB")
        return 0 if rate > AIM / 4 else 1


sys.exit(main())
