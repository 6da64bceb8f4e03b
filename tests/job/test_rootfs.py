"""The rootfs recipe from lease to registry: what comes out, how it fails, how it ends."""
import io
import json
import os
import signal
import subprocess
import tarfile
import time

import pytest

from bench import BUILD, EPOCH, JOB
from procs import sandboxed

pytestmark = pytest.mark.timeout(600)

FOLDER = r"""
set -e
mkdir -p "$SHEAF_ROOTFS/etc" "$SHEAF_ROOTFS/bin"
cp /bin/busybox "$SHEAF_ROOTFS/bin/busybox"
ln -s busybox "$SHEAF_ROOTFS/bin/sh"
cat release.txt > "$SHEAF_ROOTFS/etc/release"
echo "$SHEAF_VARIANT $SHEAF_DEBIAN_ARCH $SHEAF_PLATFORM $SOURCE_DATE_EPOCH $COLOUR" > "$SHEAF_ROOTFS/etc/vars"
chown 33:44 "$SHEAF_ROOTFS/etc/vars"
chmod 4755 "$SHEAF_ROOTFS/etc/release"
"""


def test_folder_becomes_an_image(bench, builder):
    job = dict(builder, script=FOLDER, variant="bookworm", args={"COLOUR": "blue"}, cmd=["/bin/sh"], env={"A": "b"},
               labels={"l": "m"}, workdir="/etc", user="33", test=None)
    job["test"] = "/bin/busybox grep -q 'bookworm amd64 linux/amd64 1700000000 blue' vars && [ $(/bin/busybox id -u) = 33 ] && [ $A = b ]"
    first = bench.run({"release.txt": "1.0\n"}, **job).ok()
    assert first.status == 0 and first.kind is None and first.reused_previous is False
    manifest, config, layer = bench.manifest(first), bench.config(first), bench.layer(first)
    assert "annotations" not in manifest and len(manifest["layers"]) == 1
    assert config["architecture"] == "amd64" and config["created"] == "2023-11-14T22:13:20Z"
    assert config["config"] == {"Cmd": ["/bin/sh"], "Env": ["A=b"], "Labels": {"l": "m"}, "WorkingDir": "/etc", "User": "33"}
    assert (layer["etc/vars"].uid, layer["etc/vars"].gid) == (33, 44)
    assert layer["etc/release"].mode == 0o4755 and layer["bin/sh"].linkname == "busybox"
    assert max(m.mtime for m in layer.values()) <= EPOCH
    assert first.timings["recipe"] > 0 and first.timings["test"] > 0 and first.timings["push"] > 0
    # Another board, another day: the same bytes.
    time.sleep(1.1)
    second = bench.run({"release.txt": "1.0\n"}, boards="other", **job).ok()
    assert second.manifest == first.manifest and second.content_digest == first.content_digest


def test_tar_becomes_an_image(bench, builder):
    script = 'mkdir -p /tmp/r/a && echo hi > /tmp/r/a/b && cp /bin/busybox /tmp/r/ && tar cf "$SHEAF_ROOTFS" -C /tmp/r .'
    layer = bench.layer(bench.run({}, script=script, **builder).ok())
    assert sorted(layer) == [".", "a", "a/b", "busybox"]


def test_equal_content_keeps_the_previous_image(bench, builder):
    first = bench.run({"release.txt": "1"}, script=FOLDER, **builder).ok()
    previous = {"manifest": first.manifest["digest"], "content": first.content_digest}
    second = bench.run({"release.txt": "1", "more": ""}, script=FOLDER, previous=previous, epoch=EPOCH, **builder).ok()
    assert second.reused_previous and second.manifest == first.manifest and second.layers == first.layers


def test_failures_say_why(bench, builder):
    cases = [
        ("echo mirror is away >&2; exit 3", {}, "recipe", ["exit status 3", "mirror is away"]),
        ("true", {}, "rejected", ["nothing at $SHEAF_ROOTFS"]),
        ("ln -s /etc $SHEAF_ROOTFS", {}, "rejected", ["neither a folder nor a tar"]),
        ("sleep 100", {"timeout_ms": 1500}, "timeout", ["still running"]),
        ("kill -9 $$", {}, "recipe", ["signal 9"]),
        ("mkdir $SHEAF_ROOTFS; cp /bin/busybox $SHEAF_ROOTFS/x", {"test": "true"}, "recipe", ["/bin/sh"]),
        ("mkdir -p $SHEAF_ROOTFS/bin; cp /bin/busybox $SHEAF_ROOTFS/bin/sh", {"test": "echo broken; exit 7"}, "recipe",
         ["test", "status 7", "broken"]),
        ("mkdir $SHEAF_ROOTFS; cp alien $SHEAF_ROOTFS/alien", {}, "rejected", ["alien", "aarch64"]),
        ("dd if=/dev/zero of=$SHEAF_ROOTFS bs=1 count=1 seek=10G", {}, "rejected", []),
    ]
    alien = bytearray(open("/bin/busybox", "rb").read(4096))
    alien[18:20] = b"\xb7\x00"
    for script, more, kind, words in cases:
        got = bench.run({"alien": bytes(alien)}, script=script, **{**builder, **more})
        assert (got.outcome, got.kind) == ("failed", kind), (script, got.result, got.log[-2000:])
        for word in words:
            assert word in got.reason, (script, got.reason)
        assert got.manifest is None


def test_cancel(bench, builder):
    folder, process = bench.start({}, script="echo begun; sleep 1000 & sleep 1000", **builder)
    while "begun" not in open(os.path.join(folder, "log"), encoding="utf-8").read():
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    got = bench.finish(folder, process, timeout=60)  # long before anything in it ends by itself
    assert got.status == 0 and got.outcome == "cancelled"


def test_death_of_the_helper_ends_everything(bench, builder):
    folder, process = bench.start({}, script="echo begun; sleep 1000 & sleep 1000", **builder)
    while "begun" not in open(os.path.join(folder, "log"), encoding="utf-8").read():
        time.sleep(0.05)
    process.kill()
    process.wait()
    until = time.monotonic() + 60
    while sandboxed(folder) and time.monotonic() < until:
        time.sleep(0.05)
    subprocess.run([JOB, "--sweep", bench.dir], check=True)
    assert os.listdir(bench.path("jobs")) == []


def test_context_that_is_hostile(bench, builder):
    for name in ("../evil", "/etc/evil", "a/../../evil"):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            tar.addfile(tarfile.TarInfo(name))
        got = bench.run(out.getvalue(), script="true", **builder)
        assert (got.outcome, got.kind) == ("failed", "rejected") and "evil" in got.reason
    got = bench.run({"link": ("link", "/etc"), "link/x": "y"}, script="true", **builder)
    assert got.kind == "rejected", got.log


def test_endless_log_is_cut(bench, builder):
    got = bench.run({}, script="while :; do echo 0123456789012345678901234567890123456789012345678901234567890123456789; done",
                    timeout_ms=15000, **builder)
    assert got.kind == "timeout" and len(got.log) < 70 << 20


def test_full_disk_is_the_boards_failure(bench, builder):
    place = bench.path("jobs")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400m,mode=755", "tmpfs", place], check=True)
    try:
        got = bench.run({}, script="dd if=/dev/zero of=$SHEAF_ROOTFS bs=1M; sleep 100", **builder)
        assert got.kind == "infra" and "disk" in got.reason
    finally:
        subprocess.run(["umount", place], check=True)


def test_board_without_user_namespaces_says_so_and_works():
    """The sandbox's own tests where no user namespace can be made: fewer walls, the same behaviour."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    script = f"""mount -t proc proc /proc && echo 0 > /proc/sys/user/max_user_namespaces
{JOB} --facts && {BUILD}/tests/unit/test-sandbox"""
    done = subprocess.run(["unshare", "-Ur", "-m", "-p", "-f", "sh", "-c", script], capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    facts = json.loads(done.stdout.split("\n")[0])
    assert "userns" not in facts["sandbox"] and {"mount", "pid"} <= set(facts["sandbox"])


def test_a_base_is_fetched_once_and_kept(bench, builder):
    """The cache's folder is made by whoever needs it first; afterwards the board asks nobody for the base."""
    cache = {"cache": bench.path("a-new-board", "cache")}
    os.mkdir(bench.path("a-new-board"))
    job = dict(builder, script=FOLDER, variant="bookworm")
    requests = []
    for _ in range(2):
        del bench.gateway.requests[:]
        bench.run({"release.txt": "1.0\n"}, options=cache, **job).ok()
        base = builder["bases"][0]
        requests.append([p for m, p in bench.gateway.requests if base["repository"] in p and m == "GET"])
    assert requests[0] and not requests[1], requests
