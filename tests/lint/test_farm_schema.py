"""schema/farm.schema.json against the examples that the parser of farm.yaml is held to (tests/config)."""
import json
import os
import re

import pytest
import tree

yaml = pytest.importorskip("yaml")
jsonschema = pytest.importorskip("jsonschema")

pytestmark = pytest.mark.quick


def cases(name):
    """(header, YAML) of each case."""
    parts = re.split(r"(?m)^=== ", tree.read(f"tests/config/{name}"))
    return [(head, body) for head, _, body in (part.partition("\n") for part in parts[1:])]


@pytest.fixture(scope="module", name="schema")
def read_schema():
    with open(os.path.join(tree.ROOT, "schema/farm.schema.json"), encoding="utf-8") as f:
        return jsonschema.Draft202012Validator(json.load(f))


def complaints(schema, text):
    """What the schema says against the text; YAML that does not parse is one complaint."""
    try:
        return [e.message for e in schema.iter_errors(yaml.safe_load(text))]
    except yaml.YAMLError as e:
        return [str(e)]


def test_accepted(schema):
    wrong = [f"{head}: {said}" for head, text in cases("accepted.txt") for said in complaints(schema, text)]
    assert not wrong, "\n".join(wrong)


def test_refused(schema):
    """Where a case is marked with '*' the schema refuses it too; no editor complains about the others."""
    wrong = []
    for head, text in cases("refused.txt"):
        said = complaints(schema, text)
        if bool(said) != head.startswith("*"):
            wrong.append(f"{head}: {said}")
    assert not wrong, "\n".join(wrong)


def test_same_keys(schema):
    """Every key that the parser knows is in the schema, with a description, and the other way round."""
    source = "".join(tree.read(f"daemon/{name}") for name in ("config_keys.c", "config_image.c"))
    parser = set(re.findall(r'(?:_KEY\(|\{)"([a-z-]+)", (?:config|read)_', source))
    found = set()

    def walk(value):
        for key, below in value.get("properties", {}).items():
            found.add(key)
            assert below.get("description"), f"{key}: no description"
        for below in value.get("properties", {}).values():
            walk(below)
        for below in value.get("$defs", {}).values():
            walk(below)

    walk(schema.schema)
    assert found == parser
