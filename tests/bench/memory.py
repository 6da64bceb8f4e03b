#!/usr/bin/python3
"""The coordinator's memory: idle, and with many boards on open long polls."""
import subprocess
import sys

from benchfarm import BENCH, add_boards, farm, many_tracks, memory, time

BOARDS, SLOTS, AIM, BOARDS_AIM = 2000, 1, 200, 10000


def main():
    with farm("memory") as whole:
        coordinator = many_tracks(whole, 20, platforms=["linux/386"])
        pid = coordinator.process.pid
        time.sleep(1)
        resident, dirty = memory(pid)
        print(f"coordinator idle, 20 tracks: {resident:.1f} MB resident, {dirty:.1f} MB private dirty")
        secrets = "\n".join(add_boards(coordinator, BOARDS)) + "\n\n"
        before, _ = memory(pid)
        with subprocess.Popen([f"{BENCH}/board-load", str(coordinator.agents_port), str(SLOTS), "0"], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True) as load:
            try:
                load.stdin.write(secrets)
                load.stdin.flush()
                assert load.stdout.readline().strip() == "holding"
                time.sleep(1)
                after, _ = memory(pid)
            finally:
                load.stdin.close()
                load.wait(20)
        each = (after - before) * 1024 / BOARDS
        whole_farm = resident + (before - resident) / BOARDS * BOARDS_AIM + each * BOARDS_AIM / 1024
        print(f"coordinator, {BOARDS} boards on long polls without TLS: {after:.0f} MB resident, {each:.1f} kB a poll; "
              f"{BOARDS_AIM} would be {whole_farm:.0f} MB (aim, with TLS: {AIM})")
        return 0 if whole_farm < 2 * AIM else 1


sys.exit(main())
