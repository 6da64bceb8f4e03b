"""The registry client, driven by registry-tool, against a registry that misbehaves and against Debian's."""
import json
import os
import subprocess

import pytest

from fake_registry import FakeRegistry
from farm import BUILD
from registry import Registry

TOOL = os.path.join(BUILD, "tests", "registry", "registry-tool")


class Client:
    """One registry-tool: a client that keeps its tokens and connections from command to command."""

    def __init__(self, host, user=None, password=None, **settings):
        command = [TOOL, host] + ([user, password] if user else [])
        env = {**os.environ, **{k.upper(): str(v) for k, v in settings.items()}}
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)

    def __call__(self, *command):
        """Does one command and returns its result."""
        self.child.stdin.write(json.dumps(command) + "\n")
        self.child.stdin.flush()
        return json.loads(self.child.stdout.readline())

    def ok(self, *command):
        """The same, for what must succeed."""
        result = self(*command)
        assert result["error"] is None, result["text"]
        return result

    def fails(self, error, *command):
        """The same, for what must fail with this errno."""
        result = self(*command)
        assert result["error"] == error, result
        return result

    def close(self):
        self.child.stdin.close()
        assert self.child.wait(20) == 0
        self.child.stdout.close()


@pytest.fixture
def client():
    """Makes clients; ends them after the test, each of which must exit 0."""
    made = []

    def make(host, *args, **settings):
        made.append(Client(host, *args, **settings))
        return made[-1]

    yield make
    for c in made:
        c.close()


@pytest.fixture
def fake():
    registry = FakeRegistry()
    yield registry
    registry.close()


@pytest.fixture
def debian_registry(tmp_path):
    """Makes docker-registries; ends them after the test."""
    made = []

    def make(**how):
        made.append(Registry(str(tmp_path / f"registry{len(made)}"), str(tmp_path / f"registry{len(made)}.log"), **how))
        return made[-1]

    yield make
    for registry in made:
        registry.stop()
