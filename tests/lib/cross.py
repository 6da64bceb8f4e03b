#!/usr/bin/python3
"""Cross-builds the agent's side for the other architectures, in sysroots of Debian's own packages.

usage: tests/lib/cross.py [arm64 armhf]     builds build/cross-ARCH, and says where

A sysroot is an extracted mmdebstrap tree: no multiarch on the host, nothing configured. The programs run
under qemu-user in that same tree."""
import os
import shutil
import sys

import debian
from procs import run

PACKAGES = ["libc6-dev", "linux-libc-dev", "libuv1-dev", "libcurl4-gnutls-dev", "libjansson-dev", "libgnutls28-dev",
            "libarchive-dev", "zlib1g-dev", "libzstd-dev", "libcmocka-dev", "uthash-dev",
            # to run in as well: a shell, and what a board has
            "libc-bin", "dash", "coreutils", "busybox-static", "ca-certificates"]
TARGETS = {  # Debian architecture -> GNU triplet, meson's cpu family and cpu, Sheaf's platform
    "arm64": ("aarch64-linux-gnu", "aarch64", "armv8-a", "linux/arm64"),
    "armhf": ("arm-linux-gnueabihf", "arm", "armv7-a", "linux/arm/v7"),
}


def sysroot(architecture):
    """The folder with that architecture's libraries and headers."""
    return debian.unpacked(architecture, PACKAGES)


def cross_file(architecture, folder):
    """Writes meson's cross file; returns its path."""
    triplet, family, cpu, _ = TARGETS[architecture]
    root = sysroot(architecture)
    path = os.path.join(folder, f"{architecture}.ini")
    os.makedirs(folder, exist_ok=True)
    text = f"""[binaries]
c = '{triplet}-gcc'
ar = '{triplet}-ar'
strip = '{triplet}-strip'
pkgconfig = 'pkg-config'
exe_wrapper = ['{debian.ROOT}/tests/lib/in-tree', '{root}']

[properties]
sys_root = '{root}'
pkg_config_libdir = '{root}/usr/lib/{triplet}/pkgconfig:{root}/usr/share/pkgconfig'
needs_exe_wrapper = true

[built-in options]
c_args = ['--sysroot={root}']
c_link_args = ['--sysroot={root}']

[host_machine]
system = 'linux'
cpu_family = '{family}'
cpu = '{cpu}'
endian = 'little'
"""
    if not os.path.exists(path) or open(path, encoding="utf-8").read() != text:
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
    return path


def build(architecture):
    """Builds the agent's side; returns the build folder. Only what has changed is compiled again."""
    where = os.path.join(debian.ROOT, "build", f"cross-{architecture}")
    cross = cross_file(architecture, os.path.join(debian.CACHE, "cross"))
    with debian.Lock(os.path.join(debian.CACHE, f"cross-{architecture}")):
        if not os.path.exists(f"{where}/build.ninja"):
            shutil.rmtree(where, ignore_errors=True)
            run(["meson", "setup", where, debian.ROOT, f"--cross-file={cross}", "-Dcoordinator=false"], timeout=300)
        run(["ninja", "-C", where], timeout=900)
    return where


if __name__ == "__main__":
    for name in sys.argv[1:] or TARGETS:
        print(build(name))
