"""A registry with something in it, and the gateway before it."""
import pytest

from gateway_world import World


@pytest.fixture
def world(tmp_path):
    w = World(str(tmp_path))
    yield w
    w.stop()
