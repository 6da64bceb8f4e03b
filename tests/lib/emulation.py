"""qemu-user for foreign platforms: binfmt_misc, mounted and registered only for as long as it is used."""
import os
import subprocess

MOUNT = "/proc/sys/fs/binfmt_misc"
INTERPRETERS = {"linux/arm64": "qemu-aarch64", "linux/arm/v7": "qemu-arm"}


class Emulation:
    """Makes the kernel run foreign programs. `stop` undoes exactly what `start` did."""

    def __init__(self):
        self.mounted, self.registered = False, []

    def start(self, platforms=tuple(INTERPRETERS)):
        """Mounts binfmt_misc and registers qemu for these platforms, unless that is done already."""
        if not os.path.exists(f"{MOUNT}/register"):
            subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", MOUNT], check=True, timeout=30)
            self.mounted = True
        for platform in platforms:
            name = INTERPRETERS[platform]
            if not os.path.exists(f"{MOUNT}/{name}"):
                subprocess.run(["update-binfmts", "--enable", name], check=True, timeout=30)
                self.registered.append(name)

    def stop(self):
        """Puts things back. Processes that run already keep running."""
        for name in self.registered:
            subprocess.run(["update-binfmts", "--disable", name], check=False, timeout=30)
        if self.mounted:
            subprocess.run(["umount", MOUNT], check=False, timeout=30)
        self.mounted, self.registered = False, []
