"""farm.yaml's errors, as a person sees them. (The HTTP API, sheafctl and the page have tests/api.)"""
import os

import pytest
from farm import SHEAFD
from procs import run

pytestmark = [pytest.mark.root, pytest.mark.slow]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("text, where, says", [
    ("registry: r.example.org/x\nimages:\n  a:\n    sorce: x\n", "4:5", "source"),
    ("registry: r.example.org/x\nplatforms: [linux/armhf]\nimages: {}\n", "2:13", "linux/arm"),
    ("registry: r.example.org/x\nimages:\n  a: {source: /x, tags: [1]}\n  a: {source: /y}\n", "4:3", "a"),
    ("registry: [\n", "", ""),
])
def test_check_config(farm, text, where, says):
    if not os.path.exists(SHEAFD):
        pytest.skip("sheafd is not built")
    path = farm.path("farm.yaml")
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    answer = run([SHEAFD, "--check-config", path], check=False)
    said = (answer.stdout + answer.stderr).strip()
    assert answer.returncode == 1 and len(said.split("\n")) == 1
    assert said.startswith(f"{path}:{where}") and says in said
