"""clang-format and clang-tidy have nothing to say."""
import concurrent.futures
import hashlib
import json
import os
import shutil
import subprocess

import pytest
import tree

TIDY = shutil.which("clang-tidy")
FORMAT = shutil.which("clang-format")
DATABASES = [os.path.join(tree.ROOT, "build", name) for name in ("gcc", "clang", "dev")]
DONE = os.path.join(tree.ROOT, "build", "tidy")  # one empty file for each source text that passed


@pytest.mark.quick
@pytest.mark.skipif(not FORMAT, reason="clang-format is not installed")
def test_clang_format():
    sources = tree.files(".c", ".h")
    run = subprocess.run([FORMAT, "--dry-run", "--Werror", *sources], cwd=tree.ROOT, capture_output=True, text=True,
                         timeout=100)
    wrong = sorted({line.split(":")[0] for line in run.stderr.splitlines() if "clang-format-violations" in line})
    assert run.returncode == 0, f"clang-format -i {' '.join(wrong)}\n{run.stderr[-2000:]}"


def stamp(path, headers):
    """The mark that says: this very text, with these headers and checks, has passed."""
    text = "\0".join([path, tree.read(path), headers, tree.read(".clang-tidy")])
    return os.path.join(DONE, hashlib.sha256(text.encode()).hexdigest())


def tidy(path, mark, database):
    """What clang-tidy says of one file; nothing when it is clean."""
    run = subprocess.run([TIDY, "--quiet", "-p", database, "--extra-arg=-Wno-unknown-warning-option", path], cwd=tree.ROOT, capture_output=True, text=True,
                         timeout=300)
    if run.returncode == 0:
        open(mark, "w", encoding="utf-8").close()
        return ""
    return run.stdout + (run.stderr if not run.stdout else "")


@pytest.mark.timeout(900)
@pytest.mark.skipif(not TIDY, reason="clang-tidy is not installed")
def test_clang_tidy():
    database = next((d for d in DATABASES if os.path.exists(f"{d}/compile_commands.json")), None)
    if not database:
        pytest.skip("nothing is configured (scripts/test does that)")
    with open(f"{database}/compile_commands.json", encoding="utf-8") as f:
        compiled = {os.path.relpath(os.path.join(e["directory"], e["file"]), tree.ROOT) for e in json.load(f)}
    os.makedirs(DONE, exist_ok=True)
    headers = "\0".join(tree.read(h) for h in tree.files(".h"))
    wanted = [(p, stamp(p, headers)) for p in tree.product(".c") if p in compiled]
    wanted = [(p, mark) for p, mark in wanted if not os.path.exists(mark)]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        said = list(pool.map(lambda w: tidy(*w, database), wanted))
    wrong = [text for text in said if text]
    assert not wrong, "\n".join(wrong)[-20000:]
