"""How the sources are written: headers explained, files short, nothing of this machine in the tree."""
import re
import subprocess

import pytest
import tree

pytestmark = pytest.mark.quick

LONGEST = 800  # lines
# A prototype at the start of a line, up to its semicolon; macros, types and inline functions are not.
PROTOTYPE = re.compile(r"^(?!typedef|static|#|struct \w+ \{|enum|union|extern \"C\"|\s|/|\})"
                       r"[\w][\w\s\*]*?\b(\w+)\([^;{}]*\)[^;{}]*;", re.M)


def test_every_prototype_has_a_comment():
    bare = []
    for path in tree.product(".h"):
        text = tree.read(path)
        for match in PROTOTYPE.finditer(text):
            before = text[:match.start()].rstrip()
            if not before.endswith("*/") and not before.split("\n")[-1].lstrip().startswith("//"):
                bare.append(f"{path}: {match.group(1)}")
    assert not bare, "no comment (units, ownership, errors) before:\n" + "\n".join(bare)


def test_headers_are_included_once():
    wrong = [h for h in tree.files(".h") if "#pragma once" not in tree.read(h)]
    assert not wrong, f"without #pragma once: {wrong}"


def test_no_file_is_too_long():
    long = [f"{path}: {tree.read(path).count(chr(10))} lines" for path in tree.files(".c", ".h", ".py")
            if tree.read(path).count("\n") > LONGEST]
    assert not long, f"over {LONGEST} lines:\n" + "\n".join(long)


def test_every_c_file_is_built():
    """A source that no meson.build names is compiled by nobody."""
    builds = "".join(tree.read(b) for b in tree.files("meson.build"))
    lost = [path for path in tree.files(".c") if not re.search(rf"['/]{re.escape(path.rpartition('/')[2])}'", builds)]
    assert not lost, f"in no meson.build: {lost}"


def test_no_mirror_of_this_machine_is_named():
    """Package mirrors come from the machine's own apt configuration, never from the tree."""
    out = subprocess.run(["apt-get", "indextargets", "--format", "$(REPO_URI)"], capture_output=True, text=True,
                         timeout=60).stdout
    hosts = {re.sub(r"^\w+://([^/]+).*", r"\1", line) for line in out.split()} - {"deb.debian.org",
                                                                                "security.debian.org"}
    named = [f"{path}: {host}" for path in tree.files("") for host in hosts
             if "." in host and host in tree.read(path)]
    assert not named, "\n".join(named)
