"""The API's documents name what the sources have: every route, every state."""
import json
import os
import re

import pytest

pytestmark = pytest.mark.quick
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def text(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def names(what):
    """The words of an array of names in the model."""
    body = re.search(rf"{what}\[\]\s*=\s*\{{(.*?)NULL", text("daemon/model/rows_tables.c"), re.S).group(1)
    return re.findall(r'"([^"]+)"', body)


@pytest.mark.parametrize("what,definition,member", [
    ("job_state_names", "job", "state"), ("attempt_state_names", "attempt", "state"), ("build_state_names", "build", "state"),
    ("board_state_names", "board", "state"), ("track_state_names", "track", "state"), ("build_class_names", "build", "class")])
def test_the_schema_has_every_state(what, definition, member):
    document = json.loads(text("schema/api.schema.json"))
    assert sorted(document["$defs"][definition]["properties"][member]["enum"]) == sorted(names(what))


def test_every_route_is_documented():
    routes = re.findall(r'\{"(GET|POST)",\s*"(/v1/[^"]+)"', text("daemon/api_status.c"))
    assert len(routes) > 15
    document = text("docs/api.md")
    for method, path in routes:
        assert re.search(rf"^\|.*`({method} )?{re.escape(path)}[`?]", document, re.M), f"{method} {path}"


def test_every_command_is_documented():
    commands = re.findall(r'^    \{"(\w+)", cmd_\w+,', text("ctl/main.c"), re.M)
    document = text("docs/sheafctl.md")
    assert len(commands) > 10
    for command in commands:
        assert re.search(rf"^\|.*`{command}[ `]", document, re.M), command
