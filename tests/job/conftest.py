"""A bench per test; after it nothing may be left."""
import os

import pytest

from bench import Bench, busybox_files, make_tar

_report = pytest.StashKey()


@pytest.hookimpl(tryfirst=True, hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    item.stash.setdefault(_report, {})[report.when] = report


@pytest.fixture
def bench(request):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    made = Bench(request.node.name)
    yield made
    said = made.stop()
    called = request.node.stash.get(_report, {}).get("call")
    if said and (called is None or called.passed):
        pytest.fail("left behind:\n" + "\n".join(said), pytrace=False)


@pytest.fixture
def builder(bench):
    """A builder image of busybox alone: (bases, builder) for a lease."""
    base = bench.put_image("tools/busybox", [make_tar(busybox_files())], config={"Env": ["PATH=/bin"]})
    return {"bases": [base], "builder": base["reference"]}
