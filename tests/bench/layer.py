#!/usr/bin/python3
"""A layer of a 100 MB tar, beside the same compressor by itself on as many cores; and one of 100,000 entries.

As root the runs have real-time priority: what else this machine does is left out of the figures. Each reads a
tar from the page cache and writes a file. Ours also sorts, hashes thrice (tar, layer, content), looks for ELF
files of other platforms and reads the package databases; the peers are piped to sha256sum, without which nobody
can push. The smallest of several runs counts."""
import io
import os
import random
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOOL = os.path.join(os.environ.get("SHEAF_BUILD", f"{ROOT}/build/dev"), "tests/layer/layer-tool")
SIZE, ENTRIES, ROUNDS = 100 << 20, 100_000, 3
AIM_RATIO, WORST_RATIO = 1.05, 1.3
AIM_MEMORY = 64  # MB resident
PRIORITY = {"scheduler": (os.SCHED_FIFO, os.sched_param(1))} if os.geteuid() == 0 else {}
CORES = len(os.sched_getaffinity(0))


def real_tar(path):
    """100 MB of what images are made of: this machine's own programs and libraries."""
    left = SIZE
    with tarfile.open(path, "w") as tar:
        for folder in ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/bin", "/usr/share/doc", "/usr/lib", "/usr/share"):
            for where, folders, files in os.walk(folder):
                folders.sort()
                for name in sorted(files):
                    file = os.path.join(where, name)
                    if left > 0 and not os.path.islink(file) and os.path.isfile(file) and os.path.getsize(file) < 8 << 20:
                        tar.add(file, file.lstrip("/"))
                        left -= os.path.getsize(file) + 512


def wide_tar(path):
    """Many small files, in no order."""
    order = list(range(ENTRIES))
    random.Random(1).shuffle(order)
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for i in order:
            member = tarfile.TarInfo(f"usr/share/{i % 97}/{i}")
            member.size = 100
            tar.addfile(member, io.BytesIO(b"%099d\n" % i))


def measure(command):
    """(seconds, CPU seconds, resident MB) of a shell command and all that it starts."""
    begun = time.monotonic()
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", command], os.environ, **PRIORITY)
    _, status, usage = os.wait4(pid, 0)
    if status:
        sys.exit(f"{command}: status {status}")
    return time.monotonic() - begun, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000


def best(commands):
    """The best of some interleaved rounds, for each command."""
    runs = {name: [] for name in commands}
    for _ in range(ROUNDS):
        for name, command in commands.items():
            runs[name].append(measure(command))
    return {name: tuple(map(min, zip(*found))) for name, found in runs.items()}


def compare(kind, ours, peer, single, folder):
    found = best({"ours": ours, "peer": peer, "single": single})
    size = os.path.getsize(f"{folder}/layer"), os.path.getsize(f"{folder}/peer")
    ratio, cpu = found["ours"][0] / found["peer"][0], found["ours"][1] / found["peer"][1]
    print(f"layer {kind}: 100 MB in {found['ours'][0]:.2f} s on {CORES} cores; {peer.split(' <')[0]} and sha256sum "
          f"{found['peer'][0]:.2f} s: {ratio:.2f} times (aim {AIM_RATIO}); CPU {cpu:.2f} times; one core alone "
          f"{found['single'][0]:.2f} s; size {size[0] / size[1]:.3f} times; {found['ours'][2]:.0f} MB resident (aim {AIM_MEMORY})")
    return ratio < WORST_RATIO and found["ours"][2] < AIM_MEMORY


def main():
    folder = tempfile.mkdtemp(prefix="bench-layer.", dir="/var/tmp")
    try:
        tar, out = f"{folder}/tar", f"{folder}/layer"
        real_tar(tar)
        good = True
        if shutil.which("pigz"):
            good &= compare("gzip", f"{TOOL} tar {tar} {out} > /dev/null",
                            f"pigz -6 -p{CORES} < {tar} | tee {folder}/peer | sha256sum > /dev/null",
                            f"gzip -6 < {tar} > /dev/null", folder)
        if shutil.which("zstd"):
            good &= compare("zstd", f"{TOOL} tar {tar} {out} --zstd > /dev/null",
                            f"zstd -q -3 -T{CORES} < {tar} | tee {folder}/peer | sha256sum > /dev/null",
                            f"zstd -q -3 -T1 < {tar} > /dev/null", folder)
        wide_tar(tar)
        seconds, cpu, resident = measure(f"{TOOL} tar {tar} {out} > /dev/null")
        print(f"layer of {ENTRIES} entries in no order: {seconds:.2f} s, CPU {cpu:.2f} s, {resident:.0f} MB resident")
        bare = measure(f"tar -xOf {tar} | sha256sum > /dev/null")
        print(f"  GNU tar reads them once in {bare[0]:.2f} s")
        subprocess.run(["gzip", "-t", "-c", out], check=True, stdin=subprocess.DEVNULL)
        return 0 if good else 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
