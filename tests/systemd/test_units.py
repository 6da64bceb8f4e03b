"""The units and their companions, as systemd itself reads them."""
import json
import os
import re
import shutil
import subprocess

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("SHEAF_BUILD") or next(
    (b for b in (f"{ROOT}/build/gcc", f"{ROOT}/build/dev") if os.path.isdir(b)), f"{ROOT}/build/gcc")
UNITS = ["sheafd.service", "sheaf-agent.service"]

pytestmark = [pytest.mark.quick, pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd here")]


def unit(name):
    """The text of a unit as it is installed."""
    with open(f"{BUILD}/systemd/{name}", encoding="utf-8") as f:
        return f.read()


@pytest.mark.parametrize("name", UNITS)
def test_systemd_understands_it(name, tmp_path):
    # the programs are where the unit says only once they are installed
    text = re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", unit(name), flags=re.M)
    (tmp_path / name).write_text(text, encoding="utf-8")
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(tmp_path / name)], capture_output=True,
                          text=True, timeout=100, check=False)
    ours = [line for line in (done.stdout + done.stderr).splitlines() if name in line or str(tmp_path) in line]
    assert done.returncode == 0 and not ours, done.stdout + done.stderr


@pytest.mark.parametrize("name", UNITS)
def test_a_spoiled_unit_is_noticed(name, tmp_path):
    text = unit(name).replace("Type=notify", "Type=notify\nWatchdogSecs=60")
    (tmp_path / name).write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", text, flags=re.M), encoding="utf-8")
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(tmp_path / name)], capture_output=True,
                          text=True, timeout=100, check=False)
    assert "WatchdogSecs" in done.stderr


@pytest.mark.parametrize("name,program", [("sheafd.service", "sheafd"), ("sheaf-agent.service", "sheaf-agent")])
def test_it_starts_what_is_installed(name, program):
    command = re.search(r"^ExecStart=(\S+)", unit(name), re.M)[1]
    with open(f"{BUILD}/meson-info/intro-installed.json", encoding="utf-8") as f:
        installed = [to for to in json.load(f).values() if os.path.basename(to) == program]
    assert installed == [command]


@pytest.mark.parametrize("name", UNITS)
def test_its_man_pages_are_installed(name):
    pages = re.findall(r"man:([\w.-]+)\((\d)\)", unit(name))
    with open(f"{BUILD}/meson-info/intro-installed.json", encoding="utf-8") as f:
        installed = {os.path.basename(to) for to in json.load(f).values()}
    assert pages and {f"{page}.{section}" for page, section in pages} <= installed


def test_the_agents_options_exist():
    agent = f"{BUILD}/agent/sheaf-agent"
    known = subprocess.run([agent, "--help"], capture_output=True, text=True, timeout=100, check=True).stdout
    words = re.search(r"^ExecStart=\S+ (.*)", unit("sheaf-agent.service"), re.M)[1].split()
    for option in [w for w in words if w.startswith("--")]:
        assert option in known


def test_the_example_is_taken(tmp_path):
    """Every line of the example, those in comments included, is a setting."""
    with open(f"{ROOT}/systemd/agent.conf", encoding="utf-8") as f:
        text = re.sub(r"^#(\w+ = )", r"\1", f.read(), flags=re.M)
    path = tmp_path / "agent.conf"
    path.write_text(text + f"state = {tmp_path}/no/such/folder\n", encoding="utf-8")
    path.chmod(0o600)
    done = subprocess.run([f"{BUILD}/agent/sheaf-agent", "--config", str(path), "--helper", "/bin/false"],
                          capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 1 and "cannot make" in done.stderr, done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="makes files of another owner")
def test_user_and_folders(tmp_path):
    root = tmp_path / "root"
    for folder in ("etc", "usr/lib/sysusers.d"):
        (root / folder).mkdir(parents=True)
    shutil.copy(f"{ROOT}/systemd/sysusers.conf", root / "usr/lib/sysusers.d/sheaf.conf")
    subprocess.run(["systemd-sysusers", f"--root={root}"], timeout=100, check=True)
    assert "sheaf:x:" in (root / "etc/passwd").read_text(encoding="utf-8")
    (root / "etc/sheaf").mkdir(mode=0o700)
    (root / "etc/sheaf/agent.conf").touch(0o644)
    subprocess.run(["systemd-tmpfiles", "--create", f"--root={root}", f"{ROOT}/systemd/tmpfiles.conf"], timeout=100,
                   check=True)
    assert (root / "etc/sheaf/agent.conf").stat().st_mode & 0o777 == 0o600
    assert (root / "etc/sheaf").stat().st_mode & 0o777 == 0o755
