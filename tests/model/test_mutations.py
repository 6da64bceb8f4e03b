"""Mutations: each deliberate breakage of the model (mutations/list.txt) is caught by the invariant
that the list names."""
import concurrent.futures
import json
import os
import re
import shlex
import subprocess

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.environ.get("SHEAF_BUILD", os.path.join(ROOT, "build", "gcc"))
TARGET = "tests/model/model-histories"
HISTORIES = 20000  # at most, of each; none needs more than some thousands

pytestmark = pytest.mark.timeout(900)


class Mutation:
    """One entry of the list."""

    def __init__(self, text):
        lines = text.rstrip("\n").split("\n")
        self.name, self.invariants, self.file = lines[0], lines[1].split(" or "), lines[2]
        self.old = "\n".join(line[1:] for line in lines[3:] if line.startswith("-"))
        self.new = "\n".join(line[1:] for line in lines[3:] if line.startswith("+"))

    def __str__(self):
        return self.name.replace(" ", "-")


def mutations():
    with open(os.path.join(HERE, "mutations", "list.txt"), encoding="utf-8") as f:
        return [Mutation(part.strip("\n")) for part in re.split(r"(?m)^== ", f.read())[1:]]


def run(command, cwd, seconds=600):
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=seconds)
    return done.returncode, done.stdout + done.stderr


def compile_command(source):
    """How ninja compiles a file of the model: (folder, arguments without source and object)."""
    with open(os.path.join(BUILD, "compile_commands.json"), encoding="utf-8") as f:
        entry = next(e for e in json.load(f) if os.path.realpath(os.path.join(e["directory"], e["file"])) == source)
    words = shlex.split(entry["command"])
    skip = {"-o", "-MF", "-MQ"}
    kept = [w for i, w in enumerate(words) if w not in skip and (i == 0 or words[i - 1] not in skip)]
    return entry["directory"], [w for w in kept if w not in ("-MD", "-c", entry["file"])]


def link_command():
    """How ninja links the generator."""
    status, out = run(["ninja", "-C", BUILD, "-t", "commands", TARGET], ROOT)
    assert status == 0, out
    return shlex.split(out.rstrip().split("\n")[-1])


def build(mutation, folder):
    """The generator with a broken model. Returns its path; None where the list is out of date."""
    source = os.path.join(ROOT, "daemon", "model", mutation.file)
    with open(source, encoding="utf-8") as f:
        text = f.read()
    if text.count(mutation.old) != 1:
        return None
    broken, obj, program = (os.path.join(folder, n) for n in (mutation.file, "broken.o", "histories"))
    with open(broken, "w", encoding="utf-8") as f:
        f.write(text.replace(mutation.old, mutation.new))
    where, words = compile_command(source)
    status, out = run([*words, "-w", "-Wno-error", "-c", broken, "-o", obj], where)
    assert status == 0, out
    link = link_command()
    at = link.index("-o")
    link[at + 1] = program
    status, out = run([*link[:at + 2], obj, *link[at + 2:]], BUILD)  # before the library, whose file it replaces
    assert status == 0, out
    return program


def catch(mutation, folder):
    """What the invariants say of it: (name of the one that fails, what was said)."""
    os.makedirs(folder, exist_ok=True)
    program = build(mutation, str(folder))
    if not program:
        return "no place", f"{mutation.file} does not have once:\n{mutation.old}"
    _, out = run([program, "--histories", str(HISTORIES), "--jobs", "1", "--brief"], folder)
    os.unlink(program)
    found = re.search(r"^FAILED (\S+)", out, re.M)
    return (found.group(1) if found else "nothing"), out[-300:]


def test_each_is_caught_by_its_invariant(tmp_path):
    """All of them, side by side."""
    status, out = run(["ninja", "-C", BUILD, TARGET], ROOT, 600)
    assert status == 0, out
    listed = mutations()
    assert len(listed) >= 20
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        caught = list(pool.map(lambda m: catch(m, tmp_path / str(m)), listed))
    wrong = [f"{m.name}: wanted {m.invariants}, got {name}: {said}" for m, (name, said) in zip(listed, caught)
             if name not in m.invariants]
    assert not wrong, "\n\n".join(wrong)
