"""Debian: build roots made with mmdebstrap from the machine's own mirrors, natively and under qemu-user."""
import json
import os
import subprocess

import pytest

import debian
from bench import JOB, KEPT, MANIFEST, make_tar
from emulation import Emulation

# As minideb's: debootstrap into a folder, tidied, packed at the place that is asked for. The mirror is the
# build root's own.
MKIMAGE = r"""#!/bin/bash
set -euo pipefail
target=$1 suite=$2 arch=$3
exec > >(tee -ia "$target.log") 2>&1
mirror=$(awk '$1 == "deb" { for (i = 2; i <= NF; i++) if ($i ~ /^http/) { print $i; exit } }' /etc/apt/sources.list)
root=$(mktemp -d)
debootstrap --variant minbase --foreign --arch "$arch" "$suite" "$root" "$mirror"
chroot "$root" bash debootstrap/debootstrap --second-stage
rm -rf "$root"/var/cache/apt/*.bin "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/var/log/* \
    "$root"/var/cache/ldconfig/aux-cache "$root"/etc/machine-id "$root"/debootstrap
chroot "$root" dpkg -l > "$target.manifest"
chroot "$root" getent passwd | cut -d: -f1 | xargs -n 1 chroot "$root" chage -d 17885
cp "$root/etc/shadow" "$root/etc/shadow-"
echo host > "$root/etc/hostname"; : > "$root/etc/resolv.conf"
tar cf "$target" -C "$root" .
rm -r "$root"
"""


def job(suite):
    return dict(script='./mkimage "$SHEAF_ROOTFS" "$SHEAF_VARIANT" "$SHEAF_DEBIAN_ARCH"', variant=suite, cmd=["/bin/bash"],
                test="apt-get --version && [ $(dpkg --print-architecture) = $WANT ]", timeout_ms=1800000)


def machines(bench, result):
    """What `file` would say of /bin/bash."""
    return result.packages and {p["architecture"] for p in result.packages}


@pytest.mark.timeout(1500)
def test_native_build_root_and_debootstrap(bench):
    context = {"mkimage": (0o755, MKIMAGE)}
    work = dict(job(debian.suite()), env={"WANT": "amd64"})
    got = bench.run(context, **work).ok()
    names = {p["name"] for p in got.packages}
    assert {"apt", "bash", "dpkg"} <= names and machines(bench, got) == {"amd64", "all"}
    tools = {p["name"] for p in got.build_root}
    assert {"debootstrap", "mmdebstrap", "git", "xz-utils", "ca-certificates"} <= tools
    assert os.path.isdir(f"{KEPT}/buildroots/{debian.suite()}-amd64/root")
    again = bench.run(context, boards="other", **work).ok()
    assert again.manifest == got.manifest and "making the build root" not in again.log


@pytest.fixture
def emulated():
    emulation = Emulation()
    emulation.start(("linux/arm64", "linux/arm/v7"))
    yield
    emulation.stop()


@pytest.mark.timeout(1500)
def test_foreign_build_root(bench, emulated):
    """The whole way under qemu-user: build root, recipe, ELF check and test of a foreign platform. One is enough: to
    install its packages takes minutes."""
    platform, arch = "linux/arm/v7", "armhf"
    script = """set -e; mkdir -p $SHEAF_ROOTFS/bin $SHEAF_ROOTFS/lib; dpkg --print-architecture > $SHEAF_ROOTFS/arch
cp /usr/bin/dpkg-architecture /tmp; for f in /bin/dash /bin/grep /bin/cat; do cp $f $SHEAF_ROOTFS/bin/; done
for f in $(ldd /bin/dash /bin/grep | grep -o '/lib[^ ]*' | sort -u); do mkdir -p $SHEAF_ROOTFS$(dirname $f); cp -L $f $SHEAF_ROOTFS$f; done
ln -s dash $SHEAF_ROOTFS/bin/sh; test $SHEAF_DEBIAN_ARCH = $(dpkg --print-architecture)"""
    refused = bench.run({}, script=script, platform=platform)
    assert refused.kind == "infra" and "emulate" in refused.reason
    got = bench.run({}, script=script, platform=platform, options={"emulated": True}, test=f"grep -q {arch} /arch").ok()
    config = bench.config(got)
    assert (config["architecture"], config["variant"]) == ("arm", "v7")
    wrong = bench.run({"alien": (0o755, open("/bin/busybox", "rb").read())}, platform=platform, options={"emulated": True},
                      script="mkdir $SHEAF_ROOTFS; cp alien $SHEAF_ROOTFS/")
    assert wrong.kind == "rejected" and "alien" in wrong.reason


@pytest.mark.timeout(600)
@pytest.mark.parametrize("platform,arch", [("linux/arm64", "arm64"), ("linux/arm/v7", "armhf")])
def test_foreign_dockerfile(bench, emulated, platform, arch):
    from bench import busybox_files
    tar = debian.tree(arch, ["busybox-static"])
    busybox = subprocess.run(["tar", "xOf", tar, "./bin/busybox"], capture_output=True, check=True).stdout
    files = busybox_files()
    files["bin/busybox"] = (0o755, busybox)
    base = bench.put_image("library/base", [make_tar(files)], architecture=platform.split("/")[1],
                           variant={"arm64": "v8", "armhf": "v7"}[arch], config={"Env": ["PATH=/bin"]})
    text = f"ARG TARGETARCH\nFROM {base['reference']}\nARG TARGETARCH\nRUN uname -m > /machine; echo $TARGETARCH > /target\n"
    got = bench.run({"Dockerfile": text}, kind="dockerfile", dockerfile="Dockerfile", bases=[base], platform=platform,
                    options={"emulated": True}, test=f"cat /machine /target; grep -q {platform.split('/')[1]} /target").ok()
    assert bench.config(got)["architecture"] == platform.split("/")[1]
    scratch = bench.run({"Dockerfile": "FROM scratch\nADD r.tar /\n", "r.tar": make_tar(files)}, kind="dockerfile",
                        dockerfile="Dockerfile", platform=platform, options={"emulated": True}, test="true").ok()
    assert bench.config(scratch)["architecture"] == platform.split("/")[1]


@pytest.mark.timeout(60)
def test_facts(emulated):
    plain = json.loads(subprocess.run([JOB, "--facts"], capture_output=True, check=True).stdout)
    # Most amd64 kernels run 32-bit programs, too.
    native = {"linux/amd64", "linux/386"}
    assert "linux/amd64" in plain["platforms"] and set(plain["platforms"]) <= native and plain["emulated"] == []
    assert {"rootfs", "dockerfile"} <= set(plain["kinds"]) and plain["builders"]["buildah"]
    told = json.loads(subprocess.run([JOB, "--facts", "--emulated"], capture_output=True, check=True).stdout)
    assert {"linux/arm64", "linux/arm/v7"} <= set(told["emulated"]) and set(told["platforms"]) <= native
    subprocess.run([JOB, "--binfmt-release"], check=True)
