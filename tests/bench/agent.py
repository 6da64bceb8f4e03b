#!/usr/bin/python3
"""The agent's figures: memory while idle, log bytes from a job's pipe to disk and to a coordinator."""
import os
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [f"{ROOT}/tests/lib", f"{ROOT}/tests/agent"]
os.environ.setdefault("SHEAF_BUILD", f"{ROOT}/build/dev")

from coordinator import Coordinator  # noqa: E402
from procs import Process, free_port, wait_for  # noqa: E402

MIB = 1 << 20
SIZE = 512 * MIB
AIM_RESIDENT, AIM_DIRTY, AIM_LOG = 11.0, 2.5, 150


class Swallower(Coordinator):
    """Takes logs without keeping them, or refuses them all."""

    def __init__(self, port):
        super().__init__(port)
        self.wanted, self.received = True, {}

    def take_log(self, name, offset, data):
        if not self.wanted:
            return 404, {"error": "no such lease"}
        have = self.received.get(name, 0)
        if offset != have:
            return 409, {"received": have}
        self.received[name] = have + len(data)
        return 200, {"received": have + len(data), "durable": 0}


class Bench:
    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="sheaf-test.bench.", dir="/var/tmp")
        self.coordinator = Swallower(free_port())
        self.coordinator.start()
        secret = f"{self.dir}/secret"
        with open(secret, "w", encoding="utf-8", opener=lambda p, f: os.open(p, f, 0o600)) as f:
            f.write("board-secret")
        agent = f"{os.environ['SHEAF_BUILD']}/agent/sheaf-agent"
        self.agent = Process("sheaf-agent", [
            agent, "--coordinator", f"http://127.0.0.1:{self.coordinator.port}", "--secret-file", secret,
            "--state", f"{self.dir}/state", "--helper", f"{ROOT}/tests/agent/fake_job.py", "--log-limit", "4G"],
            f"{self.dir}/log")
        self.coordinator.wait(lambda: self.coordinator.polls)

    def end(self):
        self.agent.stop()
        self.coordinator.stop()
        shutil.rmtree(self.dir, ignore_errors=True)

    def memory(self):
        """Resident and private dirty, MB."""
        with open(f"/proc/{self.agent.pid}/smaps_rollup", encoding="utf-8") as f:
            kb = {line.split(":")[0]: int(line.split()[1]) for line in f if line.rstrip().endswith("kB")}
        return kb["Rss"] / 1024, kb["Private_Dirty"] / 1024

    def log_job(self, name):
        """Seconds from a job's first byte of log to its last in the spool, and to its acknowledged result."""
        begin, end = f"{self.dir}/{name}.begin", f"{self.dir}/{name}.end"
        self.coordinator.grant(name, f"date +%s.%N > {begin}; dd if=/dev/zero bs=4096 count={SIZE // 4096} status=none; "
                                     f"date +%s.%N > {end}")
        self.coordinator.result(name, 120)
        told = time.time()
        start = float(open(begin, encoding="utf-8").read())
        return float(open(end, encoding="utf-8").read()) - start, told - start


def bare(folder):
    """The same bytes in the same pieces through a pipe into a file, by dd and cat."""
    begun = time.monotonic()
    subprocess.run(["/bin/sh", "-c", f"dd if=/dev/zero bs=4096 count={SIZE // 4096} status=none | cat > {folder}/bare"],
                   check=True, timeout=120)
    seconds = time.monotonic() - begun
    os.unlink(f"{folder}/bare")
    return seconds


def main():
    bench = Bench()
    try:
        wait_for(lambda: len(bench.coordinator.polls) > 0, 10)
        time.sleep(1)
        resident, dirty = bench.memory()
        print(f"agent idle: {resident:.1f} MB resident, {dirty:.1f} MB private dirty "
              f"(aim {AIM_RESIDENT:.0f} and {AIM_DIRTY})")
        bench.coordinator.wanted = False
        direct = bare(bench.dir)
        to_disk, _ = bench.log_job("disk")
        print(f"log to disk, 4 KiB pieces: {SIZE / MIB / to_disk:.0f} MB/s (aim {AIM_LOG}); dd | cat > file: "
              f"{SIZE / MIB / direct:.0f} MB/s, ratio {to_disk / direct:.2f}")
        bench.coordinator.wanted = True
        _, sent = bench.log_job("sent")
        assert bench.coordinator.received["sent"] == SIZE
        print(f"log to disk and to a coordinator written in Python: {SIZE / MIB / sent:.0f} MB/s")
        after, after_dirty = bench.memory()
        print(f"agent after {2 * SIZE // MIB} MB of log: {after:.1f} MB resident, {after_dirty:.1f} MB private dirty")
        ok = resident < 2 * AIM_RESIDENT and dirty < 2 * AIM_DIRTY and SIZE / MIB / to_disk > AIM_LOG / 4
        return 0 if ok else 1
    finally:
        bench.end()


sys.exit(main())
