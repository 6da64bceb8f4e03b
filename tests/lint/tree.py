"""The source tree as the lint tests see it: tracked and new files, never build output."""
import functools
import os
import re
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)


@functools.lru_cache(None)
def files(*ends):
    """Paths from the root that end so, sorted."""
    listing = subprocess.run(["git", "-C", ROOT, "ls-files", "-co", "--exclude-standard"], check=True,
                             capture_output=True, text=True, timeout=60).stdout.split("\n")
    return sorted(f for f in listing if f.endswith(ends) and os.path.exists(os.path.join(ROOT, f)))


@functools.lru_cache(None)
def read(path):
    """A file's text."""
    with open(os.path.join(ROOT, path), encoding="utf-8", errors="replace") as f:
        return f.read()


def includes(path):
    """What a C file includes: (quoted?, name) in order."""
    return [(kind == '"', name) for kind, name in INCLUDE.findall(read(path))]


def product(*ends):
    """C files of the product: not the tests."""
    return [f for f in files(*ends) if not f.startswith("tests/")]
