"""Debian packages for the tests, through the machine's own apt configuration and nothing else."""
import fcntl
import hashlib
import os
import shutil
import subprocess

from procs import run

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CACHE = os.path.join(ROOT, "build", "cache")
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


class Lock:
    """One maker of a cached thing at a time."""

    def __init__(self, path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        self.file = open(path + ".lock", "w", encoding="utf-8")

    def __enter__(self):
        fcntl.flock(self.file, fcntl.LOCK_EX)

    def __exit__(self, *_):
        self.file.close()


def sources(main_only=False):
    """The machine's Debian repositories as one-line entries: what mmdebstrap reads from its standard input.

    `main_only` leaves out updates and security: what a mirror has of those for foreign architectures is not
    always whole, and a test needs no more than the release itself."""
    form = "$(ORIGIN)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)"
    out = run(["apt-get", "indextargets", "Created-By: Packages", "--format", form]).stdout
    lines = {}
    for line in out.split():
        origin, uri, release, component = line.split("|")
        if origin == "Debian" and not (main_only and "-" in release):
            lines[f"deb [signed-by={KEYRING}] {uri} {release} {component}"] = None
    if not lines:
        raise RuntimeError("apt knows no Debian repository; has apt-get update been run?")
    return "\n".join(lines) + "\n"


def suite():
    """The code name of the machine's own release, as the first of its repositories gives it."""
    return sources(main_only=True).split(" ")[3]


def tree(architecture, packages, variant="extract"):
    """The path of a tar that holds these packages of that architecture, unpacked by mmdebstrap. Cached."""
    what = f"{architecture} {variant} {' '.join(sorted(packages))}\n{sources(main_only=True)}"
    path = os.path.join(CACHE, "trees", f"{architecture}-{hashlib.sha256(what.encode()).hexdigest()[:16]}.tar")
    with Lock(path):
        for attempt in range(3):  # a mirror's hiccup is not a failure of ours
            if os.path.exists(path):
                break
            made = run(["mmdebstrap", "--quiet", "--mode=root", f"--variant={variant}", f"--architectures={architecture}",
                        f"--include={','.join(packages)}", suite(), path + ".new.tar", "-"], input=sources(main_only=True),
                       timeout=600, check=attempt == 2)
            if made.returncode == 0:
                os.rename(path + ".new.tar", path)
    return path


def unpacked(architecture, packages, variant="extract"):
    """The same as a folder, kept beside the tar."""
    tar = tree(architecture, packages, variant)
    folder = tar[:-len(".tar")]
    with Lock(folder):
        if not os.path.isdir(folder):
            shutil.rmtree(folder + ".new", ignore_errors=True)
            os.makedirs(folder + ".new")
            subprocess.run(["tar", "-C", folder + ".new", "--numeric-owner", "-xpf", tar], check=True, timeout=300)
            os.rename(folder + ".new", folder)
    return folder


def member(architecture, package, path):
    """The bytes of one file of one package."""
    with open(os.path.join(unpacked(architecture, [package]), path.lstrip("/")), "rb") as f:
        return f.read()


def package_file(package, pattern):
    """The files of an architecture-independent package that end so, as {name: path}. Cached, not installed."""
    folder = os.path.join(CACHE, "packages", package)
    with Lock(folder):
        if not os.path.isdir(folder):
            shutil.rmtree(folder + ".new", ignore_errors=True)
            os.makedirs(folder + ".new")
            run(["apt-get", "download", package], cwd=folder + ".new", timeout=300)
            deb = [f for f in os.listdir(folder + ".new") if f.endswith(".deb")][0]
            run(["dpkg-deb", "-x", deb, "."], cwd=folder + ".new")
            os.rename(folder + ".new", folder)
    found = {}
    for where, _, names in os.walk(folder):
        found.update({n: os.path.join(where, n) for n in names if n.endswith(pattern)})
    return found
