"""The man pages have every option, command, key and exit status of the programs, and no other option."""
import json
import re
import shutil
import subprocess

import pytest
import tree

pytestmark = pytest.mark.quick

PAGES = {
    "docs/sheafd.8": ("daemon/main.c", r'\{"([a-z-]+)", (?:no|required|optional)_argument'),
    "docs/sheaf-agent.8": ("agent/settings.c", r'^    \{"([a-z-]+)", set_\w+, \w+,(?! NULL)'),
    "docs/sheafctl.1": ("ctl/main.c", r'\{"([a-z-]+)", (?:no|required|optional)_argument'),
}
# Another name of an option that the page has.
ALIASES = {"secret-file": "file"}


def options(page):
    """The long options that a page has an entry for."""
    return {name for line in re.findall(r"^\.It (.*)", tree.read(page), re.M) for name in re.findall(r"Fl -([a-z-]+)", line)}


@pytest.mark.parametrize("page", PAGES)
def test_options(page):
    source, pattern = PAGES[page]
    known = set(re.findall(pattern, tree.read(source), re.M))
    assert len(known) > 6
    if page.endswith("agent.8"):
        known |= {"config"}
    said = options(page)
    missing = {o for o in known - said - {"help", "version"} if ALIASES.get(o) not in said}
    assert not missing, f"{page} lacks --{', --'.join(sorted(missing))}"
    assert not said - known, f"{page} has options that there are not: {said - known}"


def test_commands_and_exit_statuses():
    text, code = tree.read("docs/sheafctl.1"), tree.read("ctl/main.c")
    commands = re.findall(r'^    \{"([a-z-]+)", cmd_', code, re.M)
    assert len(commands) > 20 and re.findall(r"^\.It Cm ([a-z-]+)", text, re.M) == commands
    said = tree.read("docs/sheafctl.md")
    assert not [c for c in commands if not re.search(rf"`{c}[ `]", said)]
    statuses = re.findall(r'^    "  (\d)  ', code, re.M)
    assert statuses and re.findall(r"^\.It (\d)$", text, re.M) == statuses
    assert re.findall(r"^\| (\d) \|", said, re.M) == statuses


def test_keys_of_farm_yaml():
    schema = json.loads(tree.read("schema/farm.schema.json"))
    keys = list(schema["properties"]) + list(schema["properties"]["listen"]["properties"])
    for part in ("image", "board", "registry", "source-options"):
        keys += schema["$defs"][part]["properties"]
    assert sorted(re.findall(r"^\.It Ic ([a-z-]+)$", tree.read("docs/farm.yaml.5"), re.M)) == sorted(keys)
    names = re.findall(r'\[VAR_\w+\] = "(\w+)"', tree.read("daemon/model/template.c"))
    assert names and not [n for n in names if f"${n}" not in tree.read("docs/farm.yaml.5")]


@pytest.mark.parametrize("page", tree.files(".1", ".5", ".8"))
def test_it_is_good_mdoc(page):
    if not shutil.which("groff"):
        pytest.skip("no groff here")
    done = subprocess.run(["groff", "-mandoc", "-Tascii", "-ww", page], cwd=tree.ROOT, capture_output=True, text=True,
                          timeout=60, check=False)
    assert done.returncode == 0 and not done.stderr, done.stderr
