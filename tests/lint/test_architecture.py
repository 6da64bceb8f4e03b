"""ARCHITECTURE.md: whatever it names exists, and no reason code is without a word."""
import os
import re

import pytest
import tree

pytestmark = pytest.mark.quick

DOCUMENT = "ARCHITECTURE.md"
CODE = re.compile(r"`([^`\n]+)`")
IN_FILE = re.compile(r"^([\w/]+\.(?:c|h|py|sql)): (\w+)$")
FILE = re.compile(r"^([\w/]+\.(?:c|h|py|sql|md))$")
NAME = re.compile(r"^([a-z]\w*_\w+)$")
FOLDER = re.compile(r"^((?:tests|daemon|common|agent|ctl|schema|docs|scripts|systemd)(?:/\w+)+)/?$")


def spans():
    return CODE.findall(re.sub(r"```.*?```", "", tree.read(DOCUMENT), flags=re.S))


def named(path):
    """The files that a name of the document may mean: `model/plan.c` and `plan.c` are daemon/model/plan.c."""
    return [f for f in tree.files(".c", ".h", ".py", ".sql", ".md") if f == path or f.endswith("/" + path)]


def defines(path, name):
    """Whether a C or Python file defines the function (or, for a header, has the word)."""
    if path.endswith(".py"):
        return re.search(rf"^def {name}\(", tree.read(path), re.M)
    if path.endswith(".h"):
        return re.search(rf"\b{name}\b", tree.read(path))
    return re.search(rf"^(?!\s)[^;\n]*\b{name}\([^;{{]*\)\s*{{", tree.read(path), re.M)


def reason_codes():
    return re.findall(r'\[REASON_\w+\] = "([a-z-]+)"', tree.read("daemon/model/reason.c"))


def rows():
    """The rows of the table of rules, as lists of cells."""
    text = tree.read(DOCUMENT).split("### The rules\n", 1)[1].split("\n### ", 1)[0]
    lines = [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.split("\n") if line.startswith("| ")]
    return [[cell.strip() for cell in line] for line in lines[1:] if not line[1].strip().startswith("**")]


def test_functions_are_where_it_says():
    wrong = []
    for path, name in filter(None, (IN_FILE.match(s) and IN_FILE.match(s).groups() for s in spans())):
        files = named(path)
        if not files:
            wrong.append(f"{path}: no such file")
        elif not any(defines(f, name) for f in files):
            wrong.append(f"{path}: no {name}")
    assert not wrong, "; ".join(wrong)


def test_files_and_folders_exist():
    names = [m.group(1) for m in map(FILE.match, spans()) if m]
    folders = [m.group(1) for m in map(FOLDER.match, spans()) if m]
    wrong = [n for n in names if not named(n)]
    wrong += [f for f in folders if not os.path.exists(os.path.join(tree.ROOT, f))]
    assert not wrong, f"no such file or folder: {wrong}"


def test_other_names_exist():
    """Names of functions, tests and tables that stand without their file."""
    code = "\n".join(tree.read(f) for f in tree.files(".c", ".h", ".py", ".sql"))
    words = set(re.findall(r"\w+", code))
    wrong = [m.group(1) for m in map(NAME.match, spans()) if m and m.group(1) not in words]
    assert not wrong, f"nothing is called {wrong}"


def test_reason_codes():
    codes = set(reason_codes())
    text = tree.read(DOCUMENT) + tree.read("docs/api.md")
    unsaid = [c for c in codes - {"none"} if f"`{c}`" not in text]
    assert len(codes) > 40 and not unsaid, f"said nowhere: {sorted(unsaid)}"
    unknown = [c for row in rows() for c in CODE.findall(row[3]) if c not in codes]
    assert not unknown, f"the table of rules has codes that there are not: {unknown}"


def test_every_rule_has_its_function_and_its_test():
    numbers = [row[0] for row in rows()]
    assert len(numbers) > 50 and len(set(numbers)) == len(numbers)
    for number, rule, where, _reason, shown in rows():
        assert rule and all(IN_FILE.match(s) for s in CODE.findall(where)) and CODE.findall(where), number
        shows = CODE.findall(shown)
        assert shows and all(IN_FILE.match(s) or s.startswith(("inv", "rule")) or FOLDER.match(s) for s in shows), number
