"""Upstream repositories shaped like those that Sheaf is for."""
import gzip
import io
import tarfile

import debian
from gitserver import Exec

DEBIAN = {"linux/amd64": "amd64", "linux/arm64": "arm64", "linux/arm/v7": "armhf"}
ALPINE = {"linux/amd64": "x86_64", "linux/arm64": "aarch64", "linux/arm/v7": "armv7"}
ALL = tuple(DEBIAN)

# Like bitnami/minideb's: debootstrap, then everything goes that differs from run to run. The repository is
# the one that the build root's own apt uses.
MKIMAGE = r"""#!/bin/bash
# usage: mkimage TARGET DIST ARCH
set -eu
target=$1 dist=$2 arch=$3
uri=$(apt-get indextargets --no-release-info "Created-By: Packages" --format '$(RELEASE) $(REPO_URI)' | awk -v d="$dist" '$1 == d {print $2; exit}')
[ -n "$uri" ] || { echo "mkimage: apt here knows no $dist" >&2; exit 1; }
root=$(mktemp -d)
echo "building $dist for $arch"
DEBOOTSTRAP_OPTIONS
rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/log/* "$root"/tmp/* "$root"/run/*
rm -f "$root"/var/cache/ldconfig/aux-cache "$root"/etc/hostname "$root"/etc/resolv.conf "$root"/etc/machine-id
rm -rf "$root"/usr/share/doc/* "$root"/usr/share/man/* "$root"/usr/share/locale/* "$root"/var/cache/debconf/*-old
rm -f "$root"/var/lib/dpkg/*-old "$root"/etc/apt/sources.list
tar -C "$root" --numeric-owner -cf "$target" .
rm -rf "$root"
"""
DEBOOTSTRAP = 'debootstrap --variant=minbase --arch="$arch" "$dist" "$root" "$uri"'


def minideb_files(extra=""):
    """A repository like bitnami/minideb: a script that makes a root file system."""
    return {"mkimage": Exec(MKIMAGE.replace("DEBOOTSTRAP_OPTIONS", DEBOOTSTRAP) + extra), "README.md": "# a small Debian\n"}


def minideb_image(upstream, **more):
    """Its entry in farm.yaml."""
    return {"source": upstream.url, "ref": "refs/heads/master", "variants": ["bookworm"],
            "rootfs": './mkimage "$SHEAF_ROOTFS" "$SHEAF_VARIANT" "$SHEAF_DEBIAN_ARCH"', "cmd": ["/bin/bash"],
            "tags": ["$variant"], **more}


class TarMaker:
    """A tar, entry by entry, in memory."""

    def __init__(self, compress=True):
        self.compress, self.buffer = compress, io.BytesIO()
        self.tar = tarfile.open(fileobj=self.buffer, mode="w", format=tarfile.PAX_FORMAT)

    def add(self, name, data=None, mode=0o644, kind=tarfile.REGTYPE, owner=(0, 0), link="", xattrs=None, device=(0, 0)):
        info = tarfile.TarInfo(name)
        info.type, info.mode, info.linkname = kind, mode, link
        info.uid, info.gid = owner
        info.devmajor, info.devminor = device
        info.mtime = 1690000000
        info.size = len(data) if data is not None else 0
        info.pax_headers = {f"SCHILY.xattr.{k}": v for k, v in (xattrs or {}).items()}
        self.tar.addfile(info, io.BytesIO(data) if data is not None else None)
        return self

    def folder(self, name, mode=0o755, **more):
        return self.add(name, mode=mode, kind=tarfile.DIRTYPE, **more)

    def link(self, name, target):
        return self.add(name, mode=0o777, kind=tarfile.SYMTYPE, link=target)

    def hard(self, name, target, mode=0o644):
        """`mode` is the target's, as tar writes it: who unpacks a link sets it again."""
        return self.add(name, mode=mode, kind=tarfile.LNKTYPE, link=target)

    def bytes(self):
        self.tar.close()
        data = self.buffer.getvalue()
        return gzip.compress(data, 6, mtime=0) if self.compress else data


APPLETS = ("sh", "ls", "cat", "echo", "cp", "mkdir", "test", "grep", "sleep", "uname", "rm", "sed", "date", "true", "env", "id")


def minirootfs(platform, release="3.20.0", extra=None):
    """A tarball like Alpine's minirootfs, with Debian's static busybox of that platform."""
    t = TarMaker()
    for name in ("bin", "etc", "lib", "root", "usr", "usr/bin", "var", "var/lib", "dev", "proc", "sys", "run"):
        t.folder(name, mode=0o700 if name == "root" else 0o755)
    t.folder("tmp", mode=0o1777)
    t.folder("var/mail", mode=0o755, owner=(8, 12))
    t.add("bin/busybox", debian.member(DEBIAN[platform], "busybox-static", "/bin/busybox"), mode=0o755)
    for name in APPLETS:
        t.link(f"bin/{name}", "/bin/busybox")
    t.add("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nmail:x:8:12:mail:/var/mail:/bin/false\n")
    t.add("etc/group", b"root:x:0:root\nmail:x:12:\n")
    t.add("etc/shadow", b"root:*::0:::::\n", mode=0o640, owner=(0, 42))
    t.add("etc/alpine-release", f"{release}\n".encode())
    t.add("bin/bbsuid", b"#!/bin/sh\n", mode=0o4711)
    t.hard("usr/bin/bbsuid", "bin/bbsuid", mode=0o4711)
    t.link("usr/bin/relative", "../../etc/passwd")
    t.add("etc/attributes", b"x\n", xattrs={"user.sheaf": "a stalk"})
    for name, text in (extra or {}).items():
        t.add(name, text.encode())
    return t.bytes()


def alpine_files(release="3.20.0", platforms=ALL, extra=None):
    """A branch like alpinelinux/docker-alpine's: a folder for each architecture."""
    files = {}
    for platform in platforms:
        folder, tar = ALPINE[platform], f"alpine-minirootfs-{release}-{ALPINE[platform]}.tar.gz"
        files[f"{folder}/{tar}"] = minirootfs(platform, release, extra)
        files[f"{folder}/Dockerfile"] = f'FROM scratch\nADD {tar} /\nCMD ["/bin/sh"]\n'
    return files


def alpine_image(upstream, **more):
    """Its entry in farm.yaml."""
    return {"source": upstream.url, "ref": "refs/heads/v*", "context": "$alpine_arch", "tags": ["$version", "latest"], **more}


def base_files(release="1", extra=None, platforms=ALL):
    """A base image of busybox alone: one context, the tarball chosen by TARGETARCH."""
    suffix = {"linux/amd64": "amd64", "linux/arm64": "arm64", "linux/arm/v7": "arm"}
    files = {f"root-{suffix[p]}.tar.gz": minirootfs(p, release, extra) for p in platforms}
    files["Dockerfile"] = 'FROM scratch\nARG TARGETARCH\nADD root-$TARGETARCH.tar.gz /\nCMD ["/bin/sh"]\n'
    return files
