#!/usr/bin/python3
"""A poll of 100 upstreams that have nothing new: our CPU seconds, beside git ls-remote's."""
import os
import resource
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, f"{ROOT}/tests/lib")
os.environ.setdefault("SHEAF_BUILD", f"{ROOT}/build/dev")

from gitserver import ENV, GitServer  # noqa: E402

UPSTREAMS, ROUNDS, AIM = 100, 20, 0.1


def children():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def ours(folder, urls):
    """CPU seconds of one round: of many rounds, less those of one, so that starting up does not count."""
    def run(rounds):
        state = tempfile.mkdtemp(dir=folder)
        out = subprocess.run([f"{os.environ['SHEAF_BUILD']}/tests/bench/git-poll", state, str(rounds)], input="\n".join(urls) + "\n",
                             capture_output=True, text=True, timeout=250, check=True).stdout.split()
        assert out[:2] == [str(len(urls) * rounds), str(len(urls))], out
        return float(out[2]), float(out[3])
    one, many = run(1), run(ROUNDS + 1)
    return (many[0] - one[0]) / ROUNDS, (many[1] - one[1]) / ROUNDS, one[0]


def theirs(urls):
    """CPU seconds of git ls-remote for each."""
    before = children()
    for url in urls:
        subprocess.run(["git", "ls-remote", "--quiet", url], stdout=subprocess.DEVNULL, env={**os.environ, **ENV}, timeout=60, check=True)
    return children() - before


def main():
    folder = tempfile.mkdtemp(prefix="sheaf-test.bench.", dir="/var/tmp")
    server = GitServer(f"{folder}/served", f"{folder}/log")
    failed = False
    try:
        first = server.repo("r0")
        first.commit({"Dockerfile": "FROM scratch\n"})
        for i in range(10):
            first.tag(f"v1.{i}", annotated=True)
        for i in range(1, UPSTREAMS):
            shutil.copytree(first.path, f"{server.folder}/r{i}.git")
        for name, form in (("git://", "git://127.0.0.1:%d/r{}.git" % server.port), ("file://", f"file://{server.folder}/r{{}}.git")):
            urls = [form.format(i) for i in range(UPSTREAMS)]
            cpu, seconds, start = ours(folder, urls)
            peer = theirs(urls)
            print(f"poll of {UPSTREAMS} upstreams, {name:7}: {cpu:.3f} s CPU in {seconds:.2f} s (first, with start-up: {start:.3f}); "
                  f"git ls-remote {peer:.2f} s: {peer / max(cpu, 0.001):.0f} times as much")
            failed |= name == "git://" and cpu > 3 * AIM
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    print(f"aim: {AIM} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
