"""Upstreams and a worker for each test."""
import os

import pytest
from gitserver import GitServer, SshGit, Upstream, WebGit
from gitworker import GitWorker
from sshfolder import ssh_folder


class Folder:
    """Upstreams that are read by path."""

    def __init__(self, folder):
        self.folder = str(folder)
        os.makedirs(self.folder, exist_ok=True)

    def repo(self, name):
        return Upstream(os.path.join(self.folder, name + ".git"), self)

    def url(self, upstream):
        return "file://" + upstream.path


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path / "upstream")


@pytest.fixture
def worker(tmp_path):
    it = GitWorker(tmp_path / "state")
    yield it
    it.close()


@pytest.fixture(params=["path", "file", "git", "http", "ssh"])
def served(request, tmp_path):
    """(url of an upstream by each transport, a worker that may reach it, a way to make upstreams)."""
    server, options = None, []
    folder = Folder(tmp_path / "upstream")
    log = tmp_path / "server.log"
    if request.param == "path":
        folder.url = lambda upstream: upstream.path
    elif request.param == "git":
        folder = server = GitServer(str(tmp_path / "served"), log)
    elif request.param == "http":
        server = WebGit(folder.folder, str(tmp_path), log)
        folder.url = server.url
    elif request.param == "ssh":
        server = SshGit(folder.folder, str(tmp_path / "sshd"), log)
        folder.url = server.url
        options = ["--ssh", ssh_folder(tmp_path / "keys", server)]
    it = GitWorker(tmp_path / "state", *options)
    yield it, folder
    it.close()
    if server:
        server.stop()
