"""What every Python test gets: a time limit of its own, and tests/lib on the path."""
import os
import signal
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))

LIMIT = 120  # seconds, for a test without a mark of its own


class TookTooLong(Exception):
    """A test was still running at its limit."""


def _limit(item):
    mark = item.get_closest_marker("timeout")
    return mark.args[0] if mark else LIMIT


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    """Ends a test that hangs with an exception at the line where it stands, so that its teardown runs."""
    seconds = _limit(item)

    def late(signum, frame):
        raise TookTooLong(f"still running after {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def pytest_runtest_setup(item):
    if item.get_closest_marker("root") and os.geteuid() != 0:
        pytest.skip("needs root")
