"""A recipe that does its worst: the board is afterwards as it was before."""
import os

import pytest

pytestmark = pytest.mark.timeout(600)

WORST = r"""
echo "--- look"
env; cat /proc/self/mountinfo > /dev/null
find / -xdev -name 'lease.json' 2>/dev/null; find /sheaf
for p in /proc/[0-9]*; do cat $p/environ $p/cmdline 2>/dev/null; done
cat /proc/1/maps /proc/1/mem 2>/dev/null
ls /proc/1/root/ /proc/1/cwd/ 2>&1
echo "--- break out"
mknod /tmp/disk b 8 0 && echo BAD$((6*7)) mknod
mount -o remount,rw / && mount -o bind / /mnt && echo fine
mount -t proc proc /proc; umount /proc; umount -l /sys
mkdir -p /tmp/m/a /tmp/m/b /tmp/m/c; mount -t tmpfs tmpfs /tmp/m/a; mount -o bind /sheaf/out /tmp/m/b; mount -o bind / /tmp/m/c
mount -t sysfs sysfs /tmp/m/c && echo BAD$((6*7)) sysfs
echo x > /etc/sheaf-was-here; echo 1 > /proc/sys/kernel/panic 2>/dev/null && echo BAD$((6*7)) sysctl
echo "--- leave things behind"
mkdir -p $SHEAF_ROOTFS; d=$SHEAF_ROOTFS
i=0; while [ $i -lt 600 ]; do mkdir -p "$d/deep" && cd "$d/deep" && d=.; i=$((i+1)); done
cd /; mkdir -p $SHEAF_ROOTFS/locked/in; chmod 0 $SHEAF_ROOTFS/locked
mkdir -p /sheaf/context/odd; chmod 0 /sheaf/context/odd
touch "/tmp/-rf" "/tmp/new
line"
(sleep 1000 &) ; sleep 1000 &
echo "--- fork for ever"
f() { f | f & f; }
f
sleep 1000
"""


def test_worst(bench, builder):
    etc = set(os.listdir("/etc"))
    mounts = open("/proc/self/mountinfo", encoding="utf-8").read()
    got = bench.run({}, script=WORST, timeout_ms=15000, **builder)
    assert got.outcome == "failed" and got.kind in ("timeout", "recipe"), got.result
    assert got.reason
    assert "BAD42" not in got.log, got.log[-4000:]
    for secret in ("hunter2", "coordinator", next(iter(bench.gateway.leases.values()))["secret"]):
        assert secret not in got.log, secret
    assert set(os.listdir("/etc")) == etc
    assert open("/proc/self/mountinfo", encoding="utf-8").read() == mounts
    # bench's fixture checks that no process, mount or workspace is left


def test_root_of_the_image_cannot_be_reached_by_links(bench, builder):
    """An image whose /proc, /dev, /etc and /tmp are links to elsewhere is tested in itself, not there."""
    script = """set -e
mkdir -p $SHEAF_ROOTFS/bin; cp /bin/busybox $SHEAF_ROOTFS/bin/sh; cd $SHEAF_ROOTFS
ln -s /../../../../../../tmp dev; ln -s ../../../../../../../../etc etc; ln -s / proc; ln -s sys2 sys; ln -s /root tmp"""
    before = set(os.listdir("/etc"))
    bench.run({}, script=script, test="echo fine > /written", **builder).ok()
    assert set(os.listdir("/etc")) == before
    assert not {"null", "pts", "written"} & (set(os.listdir("/tmp")) | set(os.listdir("/root")) | set(os.listdir("/")))
