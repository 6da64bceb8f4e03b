"""The farm fixture: everything that a whole-system test starts, ended and accounted for."""
import pytest

from farm import Farm

_report = pytest.StashKey()


@pytest.hookimpl(tryfirst=True, hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Keeps each phase's report, so that the fixture knows how the test went; shows the logs of a failure."""
    outcome = yield
    report = outcome.get_result()
    item.stash.setdefault(_report, {})[report.when] = report
    farm = item.funcargs.get("farm") if hasattr(item, "funcargs") else None
    if report.when == "call" and report.failed and farm:
        report.sections += [(f"log: {name}", text) for name, text in farm.tails()]


@pytest.fixture
def farm(request):
    """A Farm; after the test nothing of it may be left: no process, no mount, no file."""
    made = Farm(request.node.name)
    yield made
    said = made.stop()
    tails = list(made.tails(3000))
    made.remove()
    called = request.node.stash.get(_report, {}).get("call")
    if said and (called is None or called.passed):
        logs = "\n".join(f"--- {name}\n{text}" for name, text in tails)
        pytest.fail("left behind or ended badly:\n" + "\n".join(said) + "\n" + logs, pytrace=False)
