"""Documents: links that lead somewhere. Schemas: valid, and in order."""
import json
import os
import re
import sqlite3

import pytest
import tree

pytestmark = pytest.mark.quick

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def heading_anchor(line):
    """The anchor that a Markdown heading gets."""
    text = re.sub(r"[^\w\- ]", "", line.lstrip("#").strip().lower().replace("`", ""))
    return text.replace(" ", "-")


def anchors(path):
    return {heading_anchor(line) for line in tree.read(path).split("\n") if line.startswith("#")}


@pytest.mark.parametrize("path", tree.files(".md"))
def test_links_lead_somewhere(path):
    broken = []
    text = re.sub(r"```.*?```", "", tree.read(path), flags=re.S)
    for target in LINK.findall(text):
        if re.match(r"\w+:", target):
            continue
        name, _, anchor = target.partition("#")
        where = os.path.normpath(os.path.join(os.path.dirname(path), name)) if name else path
        if not os.path.exists(os.path.join(tree.ROOT, where)):
            broken.append(f"{target}: no such file")
        elif anchor and where.endswith(".md") and anchor not in anchors(where):
            broken.append(f"{target}: no such heading")
    assert not broken, f"{path}: " + "; ".join(broken)


@pytest.mark.parametrize("path", tree.files(".json"))
def test_json_is_valid(path):
    """Every JSON file parses; every schema is one."""
    value = json.loads(tree.read(path))
    if isinstance(value, dict) and "$schema" in value:
        jsonschema = pytest.importorskip("jsonschema")
        jsonschema.validators.validator_for(value).check_schema(value)


def test_migrations_apply_in_order():
    """The migrations are numbered without a gap, and make STRICT tables with sound foreign keys."""
    migrations = [f for f in tree.files(".sql") if re.match(r"schema/\d{4}-", f)]
    if not migrations:
        pytest.skip("no migration yet")
    numbers = [int(os.path.basename(m)[:4]) for m in migrations]
    assert numbers == list(range(1, len(numbers) + 1))
    db = sqlite3.connect(":memory:")
    for migration in migrations:
        db.executescript(tree.read(migration))
    tables = db.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'").fetchall()
    assert tables
    loose = [name for name, sql in tables if not re.search(r"\)\s*(WITHOUT ROWID\s*,\s*)?STRICT", sql, re.I)]
    assert not loose, f"not STRICT: {loose}"
    assert db.execute("PRAGMA foreign_key_check").fetchall() == []
