"""The boards' side on the other architectures: cross-built, and run under qemu-user in trees of their own.

What must be the same everywhere is in the C tests themselves (layers' digests, the protocol's bytes, the
registry client against a server): here they run as 64-bit and as 32-bit ARM programs."""
import os
import subprocess

import cross
import pytest

pytestmark = [pytest.mark.root, pytest.mark.slow]

# Cannot run under qemu-user: it makes no user or PID namespace (nothing wrong with the program).
NOT_EMULATED = ("sandbox",)


@pytest.mark.timeout(1500)
@pytest.mark.parametrize("architecture", sorted(cross.TARGETS))
def test_unit_tests(farm, architecture):
    farm.emulate()
    folder = cross.build(architecture)
    listing = subprocess.run(["meson", "test", "-C", folder, "--list"], capture_output=True, text=True, timeout=60, check=True)
    names = [line.split(" / ")[-1].strip() for line in listing.stdout.splitlines() if line.strip()]
    names = [n for n in names if not n.startswith(NOT_EMULATED) and not n.startswith("ninja")]
    assert "wire" in names
    done = subprocess.run(["meson", "test", "-C", folder, "--no-rebuild", "--print-errorlogs", "--timeout-multiplier", "8",
                           *names], capture_output=True, text=True, timeout=1400, env={**os.environ, **farm.env})
    assert done.returncode == 0, done.stdout[-8000:]
