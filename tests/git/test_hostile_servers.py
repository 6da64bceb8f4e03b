"""Servers that never end, or send more than they seem to."""
import hashlib
import os
import socket
import struct
import threading
import zlib

import pytest
from gitworker import GitWorker

COMMIT = "1" * 40


def pkt(data):
    return b"%04x" % (len(data) + 4) + data


class Server:
    """A git server that runs one function for each connection."""

    def __init__(self, talk):
        self.talk, self.socket = talk, socket.create_server(("127.0.0.1", 0))
        self.url = f"git://127.0.0.1:{self.socket.getsockname()[1]}/x"
        self.thread = threading.Thread(target=self.serve)

    def serve(self):
        while True:
            try:
                peer, _ = self.socket.accept()
            except OSError:
                return
            with peer:
                try:
                    self.talk(peer)
                except OSError:
                    pass

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join()


def endless_refs(peer):
    peer.recv(4096)
    peer.sendall(pkt(f"{COMMIT} HEAD\0ofs-delta\n".encode()))
    name = "r" * 60000
    for i in range(30000):
        peer.sendall(pkt(f"{COMMIT} refs/heads/{i}{name}\n".encode()))


@pytest.mark.timeout(120)
def test_refs_without_end(tmp_path):
    """A worker has a bound of memory, fails at it, gives it back, and is of use afterwards."""
    worker = GitWorker(tmp_path / "state", "--blob-limit", 50000000)
    with Server(endless_refs) as server:
        try:
            answer = worker.ask("list", url=server.url)
            assert answer["code"] == "limit" and not answer["retryable"], answer
            assert peak(worker) < 500000, "kilobytes"
            worker.bad("list", "missing", url="file:///none")
            assert worker.memory() < 100000, "kilobytes"
        finally:
            worker.kill()


def varint(kind, size):
    """The head of an object in a pack."""
    out, byte = b"", kind << 4 | size & 15
    size >>= 4
    while size:
        out += bytes([byte | 128])
        byte, size = size & 127, size >> 7
    return out + bytes([byte])


def size_of(n):
    """A size in a delta."""
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def bomb(size):
    """A pack of one object of `size` zeros, and another that is a delta of it: a thousandth of that in bytes."""
    squeeze = zlib.compressobj(9)
    body = b"".join(squeeze.compress(bytes(1 << 20)) for _ in range(size >> 20)) + squeeze.flush()
    oid = hashlib.sha1(f"blob {size}\0".encode())
    for _ in range(size >> 20):
        oid.update(bytes(1 << 20))
    delta = size_of(size) + size_of(1) + b"\x90\x01"  # its first byte
    objects = varint(3, size) + body + varint(7, len(delta)) + oid.digest() + zlib.compress(delta)
    pack = b"PACK" + struct.pack(">II", 2, 2) + objects
    return pack + hashlib.sha1(pack).digest()


def peak(worker):
    """Kilobytes that it had at most."""
    with open(f"/proc/{worker.child.pid}/status", encoding="ascii") as f:
        return int(next(line for line in f if line.startswith("VmHWM")).split()[1])


@pytest.mark.timeout(200)
def test_a_pack_that_expands(tmp_path):
    """Less than a megabyte that wants more memory than a worker may have: refused, and the worker is of use afterwards."""
    pack = bomb(450 << 20)
    assert len(pack) < 1 << 20

    def send(peer):
        peer.recv(4096)
        peer.sendall(pkt(f"{COMMIT} refs/heads/master\0ofs-delta\n".encode()) + b"0000")
        asked = b""
        while b"done" not in asked:
            asked += peer.recv(65536)
        peer.sendall(pkt(b"NAK\n") + pack)
    worker = GitWorker(tmp_path / "state", "--blob-limit", 50000000)
    with Server(send) as server:
        try:
            answer = worker.ask("fetch", seconds=100, url=server.url, mirror=worker.mirror(), refs=["refs/heads/master"])
            assert answer["code"] == "limit" and not answer["retryable"], answer
            assert peak(worker) < 500000
            worker.bad("fetch", "missing", url="file:///none", mirror=worker.mirror(), refs=[])
            assert not os.listdir(worker.mirror() + "/objects/pack"), "nothing of it is kept"
        finally:
            worker.kill()
