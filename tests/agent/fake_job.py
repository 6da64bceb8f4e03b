#!/usr/bin/python3
"""Stands in for sheaf-job: the job's script is a shell script, run in the job's folder.

Status 77 of the script: ends without a result. The environment's FAKE_FACTS replaces the facts."""
import ctypes
import glob
import json
import os
import shutil
import signal
import subprocess
import sys

D = "sha256:" + "1" * 64
FACTS = {"platforms": ["linux/amd64"], "emulated": [], "slots": 1, "cpus": 2, "memory": 1 << 30, "machine": "x86_64",
         "kernel": "6.1.0", "page_size": 4096, "kinds": ["rootfs", "dockerfile"], "builders": {}, "sandbox": ["userns"],
         "labels": []}


def result(lease, outcome, kind=None, reason=None):
    good = outcome == "succeeded"
    return {"version": 1, "epoch": lease["epoch"], "outcome": outcome, "kind": kind, "reason": reason,
            "manifest": {"digest": D, "size": 1, "media_type": "m"} if good else None,
            "config_digest": D if good else None, "content_digest": D if good else None, "layers": [],
            "timings": dict.fromkeys(["context", "pull", "recipe", "layer", "test", "push"], 0), "packages": [],
            "build_root": None, "reused_previous": False}


def write_result(folder, value):
    with open(f"{folder}/result.json.new", "w", encoding="utf-8") as f:
        json.dump(value, f)
    os.rename(f"{folder}/result.json.new", f"{folder}/result.json")


def do(folder):
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
    with open(f"{folder}/lease.json", encoding="utf-8") as f:
        lease = json.load(f)["lease"]
    child = subprocess.Popen(["/bin/sh", "-c", lease["job"]["script"]], cwd=folder, start_new_session=True)

    def end(signum, frame):
        os.killpg(child.pid, signal.SIGKILL)  # not by Popen, whose lock is held by the wait below
        write_result(folder, result(lease, "cancelled"))
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    status = child.wait()
    if status == 77:
        return 5
    ok = status == 0
    write_result(folder, result(lease, "succeeded" if ok else "failed", None if ok else "recipe",
                                None if ok else f"exit status {status}"))
    return 0


def main():
    if sys.argv[1] == "--facts":
        emulated = ["linux/arm64", "linux/arm/v7"] if "--emulated" in sys.argv else []
        print(os.environ.get("FAKE_FACTS") or json.dumps({**FACTS, "emulated": emulated}))
        return 0
    if sys.argv[1] == "--sweep":
        for work in glob.glob(f"{sys.argv[2]}/jobs/*/work"):
            shutil.rmtree(work)
        return 0
    return do(sys.argv[1])


sys.exit(main())
