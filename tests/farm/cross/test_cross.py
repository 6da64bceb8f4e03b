"""The boards' side on the other architectures: cross-built, and run under qemu-user in trees of their own.

What must be the same everywhere is in the C tests themselves (layers' digests, the protocol's bytes, the
registry client against a server): here they run as 64-bit and as 32-bit ARM programs."""
import hashlib
import json
import os
import subprocess

import cross
import pytest
from farm import BUILD
from procs import run

pytestmark = [pytest.mark.root, pytest.mark.slow]

# Cannot run under qemu-user, with nothing wrong in the program: it makes no user or PID namespace, and a
# 32-bit program's readdir (fts) cannot take the 64-bit offsets of the host's directories.
NOT_EMULATED = {"arm64": ("sandbox",), "armhf": ("sandbox", "image_checks")}


@pytest.mark.timeout(1500)
@pytest.mark.parametrize("architecture", sorted(cross.TARGETS))
def test_unit_tests(farm, architecture):
    farm.emulate()
    folder = cross.build(architecture)
    listing = subprocess.run(["meson", "test", "-C", folder, "--list"], capture_output=True, text=True, timeout=60, check=True)
    names = [line.split(" / ")[-1].strip() for line in listing.stdout.splitlines() if line.strip()]
    names = [n for n in names if not n.startswith(NOT_EMULATED[architecture]) and not n.startswith("ninja")]
    assert "wire" in names
    done = subprocess.run(["meson", "test", "-C", folder, "--no-rebuild", "--print-errorlogs", "--timeout-multiplier", "8",
                           *names], capture_output=True, text=True, timeout=1400, env={**os.environ, **farm.env})
    assert done.returncode == 0, done.stdout[-8000:]


def tool(architecture, *names):
    """The command that runs a cross-built program in a tree of its own."""
    program = f"{cross.build(architecture)}/tests/{'/'.join(names)}"
    return [f"{cross.debian.ROOT}/tests/lib/in-tree", cross.sysroot(architecture), program]


def awkward_folder(path):
    """A folder with everything in it whose order, owner or encoding could depend on the machine."""
    for i, name in enumerate(["b", "a.d/x", "a/x", "é", "z" * 150, "usr/bin/tool", "usr/lib/" + "deep/" * 30 + "end"]):
        where = os.path.join(path, name)
        os.makedirs(os.path.dirname(where), exist_ok=True)
        with open(where, "wb") as f:
            f.write(bytes([i]) * (i * 700_000))
        os.chown(where, i * 1000, 10_000 * i)
        os.utime(where, (2_000_000_000, 1_500_000_000 + i))
    os.chmod(os.path.join(path, "b"), 0o4755)
    os.link(os.path.join(path, "b"), os.path.join(path, "a", "hard"))
    os.symlink("../b", os.path.join(path, "a", "soft"))
    os.setxattr(os.path.join(path, "b"), "user.sheaf", b"\x00\xff")
    os.mkfifo(os.path.join(path, "pipe"))


@pytest.mark.timeout(900)
def test_layers_byte_for_byte(farm):
    """The same folder and the same tar give the same layer on every architecture."""
    farm.emulate()
    folder, tar = farm.path("folder"), farm.path("folder.tar")
    awkward_folder(folder)
    subprocess.run(["tar", "-C", folder, "--numeric-owner", "--xattrs", "-cf", tar, "."], check=True, timeout=60)
    made = {}
    for architecture in ("native", *cross.TARGETS):
        command = [f"{BUILD}/tests/layer/layer-tool"] if architecture == "native" else tool(architecture, "layer", "layer-tool")
        for what, source in (("folder", folder), ("tar", tar)):
            for more in ([], ["--zstd"], ["--threads", "1"], ["--threads", "3"]):
                out = farm.path(f"{architecture}-{what}-{''.join(more)}")
                told = run([*command, what, source, out, "--epoch", "1700000000", *more], timeout=200, env={**os.environ, **farm.env})
                with open(out, "rb") as f:
                    digest = hashlib.sha256(f.read()).hexdigest()
                made.setdefault((what, "--zstd" in more), {})[f"{architecture} {more}"] = (digest, json.loads(told.stdout).get("content"))
    for (what, zstd), results in made.items():
        assert len(set(results.values())) == 1, (what, zstd, results)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("architecture", sorted(cross.TARGETS))
def test_pushing_and_pulling(farm, architecture):
    """The registry client of that architecture pushes to Debian's registry, and pulls back what it pushed."""
    farm.emulate()
    registry = farm.registry(user="joe", password="secret")
    layer = farm.path("layer")
    with open(layer, "wb") as f:
        f.write(os.urandom(3_000_000))
    with open(layer, "rb") as f:
        digest = "sha256:" + hashlib.file_digest(f, "sha256").hexdigest()
    config = farm.path("config")
    with open(config, "w", encoding="utf-8") as f:
        json.dump({"os": "linux", "architecture": "arm", "rootfs": {"type": "layers", "diff_ids": []}}, f)
    with open(config, "rb") as f:
        config_digest = "sha256:" + hashlib.file_digest(f, "sha256").hexdigest()
    media = "application/vnd.oci.image.manifest.v1+json"
    manifest = json.dumps({"schemaVersion": 2, "mediaType": media, "layers": [
        {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest, "size": 3_000_000}],
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config_digest,
                   "size": os.path.getsize(config)}})
    commands = [["blob-put", "osf/x", digest, layer, None, 0], ["blob-put", "osf/x", config_digest, config, None, 500],
                ["put", "osf/x", "1.0", media, manifest, False], ["tags", "osf/x"], ["blob-get", "osf/x", digest, 3_000_000, farm.path("back")]]
    done = run([*tool(architecture, "registry", "registry-tool"), registry.host, "joe", "secret"], timeout=200,
               input="".join(json.dumps(c) + "\n" for c in commands), env={**os.environ, **farm.env})
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [a["error"] for a in answers] == [None] * len(commands), answers
    assert registry.tags("osf/x") == ["1.0"] and registry.raw("osf/x", "1.0")[0] == manifest.encode()
    with open(farm.path("back"), "rb") as f:
        assert "sha256:" + hashlib.file_digest(f, "sha256").hexdigest() == digest


@pytest.mark.timeout(900)
@pytest.mark.parametrize("architecture", sorted(cross.TARGETS))
def test_the_agent_joins(farm, architecture):
    """The agent of that architecture, in its own tree: it finds that it is emulated, says so, and polls."""
    farm.emulate()
    registry = farm.registry()
    sheafd = farm.coordinator({"registry": f"{registry.host}/osf", "platforms": ["linux/amd64"], "images": {}})
    folder = cross.build(architecture)
    secret, state = farm.path("board.secret"), farm.path("board")
    sheafd.ctl("boards", "add", "board", "--secret-file", secret)
    command = [f"{cross.debian.ROOT}/tests/lib/in-tree", cross.sysroot(architecture), f"{folder}/agent/sheaf-agent",
               "--coordinator", sheafd.agents_url, "--secret-file", secret, "--name", "board", "--state", state]
    agent = farm.process("agent", command)
    board = sheafd.wait(lambda: next((b for b in sheafd.get("/v1/boards")["boards"] if b["state"] == "online"), None), 60, "online")
    agent.check()
    # What the kernel runs without help is this machine's own; qemu-user is not the agent's CPU, whatever uname says.
    assert {p.split("/")[1] for p in board["platforms"]} <= {"amd64", "386"}, board
    agent.stop()
