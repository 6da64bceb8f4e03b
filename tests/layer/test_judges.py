"""Layers and images, judged by programs that others wrote: GNU tar, bsdtar, Python, skopeo, buildah."""
import hashlib
import json
import os
import shutil
import stat
import subprocess
import tarfile
import time

import debian
import oci
import pytest

pytestmark = pytest.mark.root

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("SHEAF_BUILD") or os.path.join(ROOT, "build", "dev")
TOOL = os.path.join(BUILD, "tests", "layer", "layer-tool")
OWNERS, SETID, XATTRS, DEVICES = 1, 2, 4, 8
EVERYTHING = f"--flags={OWNERS | SETID | XATTRS | DEVICES}"
EPOCH = 1700000000


def tool(*args, fails=False):
    """Runs layer-tool; its answer."""
    done = subprocess.run([TOOL, *map(str, args)], capture_output=True, text=True, timeout=100)
    assert done.returncode == (1 if fails else 0), done.stdout + done.stderr
    return json.loads(done.stdout)


def run(*command, **more):
    """A judge that must be content."""
    done = subprocess.run([os.fspath(c) for c in command], capture_output=True, text=True, timeout=100, errors="replace", **more)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def attributes(path):
    """Extended attributes that a layer keeps."""
    names = [n for n in os.listxattr(path, follow_symlinks=False) if n.startswith("user.") or n == "security.capability"]
    return {n: os.getxattr(path, n, follow_symlinks=False) for n in names}


def tree_of(folder, shift=0):
    """{path: what matters} of a folder; names are bytes."""
    found, first = {}, {}
    for where, folders, files in os.walk(os.fsencode(folder)):
        for name in sorted(folders + files):
            path = os.path.join(where, name)
            st = os.lstat(path)
            what = {"mode": oct(st.st_mode), "owner": (st.st_uid - shift, st.st_gid - shift), "xattrs": attributes(path)}
            if stat.S_ISLNK(st.st_mode):
                what["link"] = os.readlink(path)
            elif stat.S_ISREG(st.st_mode):
                with open(path, "rb") as f:
                    what["content"] = hashlib.file_digest(f, "sha256").hexdigest()
            elif not stat.S_ISDIR(st.st_mode):
                what["device"] = st.st_rdev
            if not stat.S_ISDIR(st.st_mode):
                first.setdefault(st.st_ino, set()).add(os.path.relpath(path, os.fsencode(folder)))
            found[os.path.relpath(path, os.fsencode(folder))] = what
    for names in first.values():
        for name in names:
            found[name]["names"] = sorted(names)
    return found


@pytest.fixture
def tree(tmp_path):
    """A small root file system with one of everything that is awkward."""
    root = tmp_path / "tree"
    for folder in ("usr/bin", "etc", "dev", "tmp", "a-b", "a"):
        (root / folder).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    shutil.copy("/bin/true", root / "usr/bin/tool")
    os.chown(root / "usr/bin/tool", 7, 8)
    (root / "usr/bin/tool").chmod(0o6755)
    shutil.copy("/bin/true", root / "usr/bin/ping")
    # cap_net_raw+ep, revision 2
    os.setxattr(root / "usr/bin/ping", "security.capability", bytes.fromhex("0100000200200000000000000000000000000000"))
    os.link(root / "usr/bin/ping", root / "usr/bin/another-ping")
    os.setxattr(root / "etc", "user.folder", b"too")
    (root / "etc/empty").write_bytes(b"")
    os.setxattr(root / "etc/empty", "user.b", b"\0binary\xff")
    os.setxattr(root / "etc/empty", "user.a", b"")
    (root / "etc/link").symlink_to("../usr/bin/tool")
    os.lchown(root / "etc/link", 5, 6)
    os.link(root / "etc/link", root / "etc/link-too", follow_symlinks=False)
    os.mknod(root / "dev/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(root / "dev/loop0", stat.S_IFBLK | 0o660, os.makedev(7, 0))
    os.mkfifo(root / "dev/fifo")
    with open(root / "sparse", "wb") as f:
        f.seek(3 << 20)
        f.write(b"end")
    (root / "a/x").write_text("x")
    with open(os.fsencode(root) + b"/\xff\xfenot-utf8", "wb") as f:
        f.write(b"1")
    (root / "größe").write_text("2")
    (root / ("long" * 50)).write_text("3")
    deep = root / "/".join(["0123456789" * 8] * 4)[1:]
    deep.mkdir(parents=True)
    (deep / "file").write_text("4")
    os.chown(deep / "file", 3000000000, 3000000000)
    return root


def gnu_tar(tree, tar, *more):
    run("tar", "-C", tree, "--xattrs", "--xattrs-include=*", "--numeric-owner", "-cf", tar, *more, ".")


def test_every_archiver_gives_one_layer(tmp_path, tree):
    """GNU tar, plain and with holes, bsdtar, Python, any compression, and the folder itself: the same bytes."""
    made = {}
    gnu_tar(tree, tmp_path / "gnu.tar", "--format=posix")
    gnu_tar(tree, tmp_path / "sparse.tar.gz", "--format=posix", "--sparse", "-z")
    run("bsdtar", "-C", tree, "--format=pax", "--xattrs", "--no-acls", "--no-fflags", "-cJf", tmp_path / "bsd.tar.xz", ".")
    for name in ("gnu.tar", "sparse.tar.gz", "bsd.tar.xz"):
        made[name] = tool("tar", tmp_path / name, tmp_path / "out", "--devices", "--epoch=1000000000")
    first = made["gnu.tar"]
    assert first["entries"] > 25
    for name, layer in made.items():
        assert layer["content"] == first["content"], name
        assert layer["digest"] == first["digest"], name
    said = tool("folder", tree, tmp_path / "out", "--devices", fails=True)
    assert "owned by 3000000000, who is not of the sandbox" in said["error"]


def small_owners(tree):
    """Makes every owner one that a user namespace has."""
    for path in tree.rglob("file"):
        if os.lstat(path).st_uid > 65535:
            os.chown(path, 9, 9)


def test_folder_equals_tar(tmp_path, tree):
    small_owners(tree)
    # The folder's layer has no entry for the root itself.
    names = sorted(os.listdir(os.fsencode(tree)))
    run("tar", "-C", tree, "--xattrs", "--xattrs-include=*", "--format=posix", "-cf", tmp_path / "t.tar", "--", *names)
    tar = tool("tar", tmp_path / "t.tar", tmp_path / "out", "--devices")
    folder = tool("folder", tree, tmp_path / "out2", "--devices")
    assert folder["digest"] == tar["digest"]


@pytest.mark.parametrize("judge", ["tar", "bsdtar", "python", "own"])
@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_judges_unpack_what_was_packed(tmp_path, tree, judge, compression):
    gnu_tar(tree, tmp_path / "in.tar", "--format=posix")
    layer, back = tmp_path / "layer", tmp_path / "back"
    tool("tar", tmp_path / "in.tar", layer, "--devices", *(["--zstd"] if compression == "zstd" else []))
    run("gzip" if compression == "gzip" else "zstd", "-t", "-c", layer)
    back.mkdir()
    if judge == "tar":
        run("tar", "-C", back, "--xattrs", "--xattrs-include=*", "--numeric-owner", "--warning=no-unknown-keyword", f"--{compression}", "-xpf", layer)
    elif judge == "bsdtar":
        run("bsdtar", "-C", back, "--xattrs", "--numeric-owner", "-xpf", layer)
    elif judge == "own":
        tool("extract", layer, back, EVERYTHING)
    else:
        with open(layer, "rb") as f:
            data = oci.uncompressed(f.read())
        with open(tmp_path / "in.tar", "rb") as f:
            wanted = oci.tar_tree(f.read())
        found = oci.tar_tree(data)
        assert found.keys() == wanted.keys()
        assert [n for n in found if found[n]["type"] == "link"]
        return
    assert tree_of(back) == tree_of(tree)


def test_shifted_there_and_back(tmp_path, tree):
    """What a sandbox's root sees as its own lies on the board's disk with other owners."""
    small_owners(tree)
    gnu_tar(tree, tmp_path / "in.tar", "--format=posix", "--exclude=./dev/*")
    layer = tool("tar", tmp_path / "in.tar", tmp_path / "layer")
    back = tmp_path / "back"
    back.mkdir()
    tool("extract", tmp_path / "layer", back, EVERYTHING, "--shift=100000")
    assert os.lstat(back / "usr/bin/tool").st_uid == 100007
    assert stat.S_IMODE(os.lstat(back / "usr/bin/tool").st_mode) == 0o6755
    capability = os.getxattr(back / "usr/bin/ping", "security.capability")
    assert len(capability) == 24 and capability[-4:] == (100000).to_bytes(4, "little")
    again = tool("folder", back, tmp_path / "again", "--shift=100000")
    assert again["entries"] == layer["entries"] - 1  # the root
    third = tmp_path / "third"
    third.mkdir()
    tool("extract", tmp_path / "again", third, EVERYTHING)
    shutil.rmtree(tree / "dev")
    (tree / "dev").mkdir()
    assert tree_of(third) == tree_of(tree)


def test_bombs(tmp_path):
    with open(tmp_path / "bomb", "wb") as f:
        f.truncate(10 << 30)
    run("tar", "-C", tmp_path, "--sparse", "-czf", tmp_path / "bomb.tar.gz", "bomb")
    said = tool("tar", tmp_path / "bomb.tar.gz", tmp_path / "out", fails=True)
    assert "entry bomb (10737418240 bytes)" in said["error"]
    (tmp_path / "back").mkdir()
    said = tool("extract", tmp_path / "bomb.tar.gz", tmp_path / "back", fails=True)
    assert "entry bomb" in said["error"]
    # One that is all there, compressed well.
    with tarfile.open(tmp_path / "zeros.tar.gz", "w:gz", compresslevel=1) as tar:
        member = tarfile.TarInfo("zeros")
        member.size = 200 << 20
        with open("/dev/zero", "rb") as zero:
            tar.addfile(member, zero)
    said = tool("tar", tmp_path / "zeros.tar.gz", tmp_path / "out", "--max-bytes=100000000", fails=True)
    assert "limit" in said["error"]
    assert sorted(os.listdir(tmp_path)) == ["back", "bomb", "bomb.tar.gz", "zeros.tar.gz"]


# ------------------------------------------------------------------------------------------- images

class Buildah:
    """buildah with a store of its own; everything of it is gone afterwards."""

    def __init__(self, folder):
        self.folder = folder
        self.base = ["buildah", "--root", f"{folder}/store", "--runroot", f"{folder}/run", "--storage-driver", "vfs"]

    def __call__(self, *args):
        return run(*self.base, *args, env={**os.environ, "TMPDIR": str(self.folder)}).strip()

    def close(self):
        for remove in (["rm", "--all"], ["rmi", "--all", "--force"]):
            subprocess.run([*self.base, *remove], capture_output=True, timeout=60, check=False)
        for kind in ("vfs", "vfs-containers"):
            subprocess.run(["umount", f"{self.folder}/store/{kind}"], capture_output=True, timeout=20, check=False)


@pytest.fixture
def buildah(tmp_path):
    folder = tmp_path / "buildah"
    folder.mkdir()
    made = Buildah(folder)
    yield made
    made.close()


def blob(layout, digest):
    with open(os.path.join(layout, "blobs/sha256", digest.split(":")[1]), "rb") as f:
        return f.read()


@pytest.mark.parametrize("docker", [False, True])
def test_an_image_as_clients_see_it(tmp_path, tree, buildah, docker):
    shutil.rmtree(tree / "dev")  # buildah leaves device nodes out in some places
    os.removexattr(tree / "etc/empty", "user.a")  # to Go's tar a record without a value is none
    gnu_tar(tree, tmp_path / "in.tar", "--format=posix")
    layout = tmp_path / "image"
    made = tool("rootfs", tmp_path / "in.tar", layout, "--platform=linux/amd64", *(["--docker"] if docker else []))
    inspected = json.loads(run("skopeo", "inspect", f"oci:{layout}:out"))
    assert inspected["Architecture"] == "amd64" and inspected["Created"] == "2023-11-14T22:13:20Z"
    if docker:
        types = {layer["mediaType"] for layer in json.loads(blob(layout, made["manifest"]))["layers"]}
        assert types == {"application/vnd.docker.image.rootfs.diff.tar.gzip"}
    else:
        types = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.config.v1+json")
        for digest, media_type in zip((made["manifest"], made["config"]), types):
            assert oci.schema_errors(json.loads(blob(layout, digest)), media_type) == []
    run("skopeo", "copy", "--preserve-digests", f"oci:{layout}:out", f"dir:{tmp_path}/copy")
    buildah("pull", f"oci:{layout}:out")
    image = buildah("images", "-q")
    container = buildah("from", "--pull=never", image)
    root = buildah("mount", container)
    found, wanted = tree_of(root), tree_of(tree)
    for links in (b"etc/link", b"etc/link-too"):  # a hard-linked link may come out as two
        found[links].pop("names"), wanted[links].pop("names")
    assert found == wanted
    run("skopeo", "copy", f"oci:{layout}:out", f"docker-archive:{tmp_path}/archive.tar:x:y")


DOCKERFILE = """FROM {base}
COPY file /file
RUN mkdir /made && echo same > /made/by-run && rm /gone && ln /made/by-run /made/hard
ENV A=b
CMD ["/bin/sh"]
"""


def build(buildah, tmp_path, name):
    """The Dockerfile's image in a layout, as buildah alone makes it."""
    buildah("bud", "--isolation=chroot", "--pull-never", "--layers=false", "-t", name, str(tmp_path / "context"))
    buildah("push", "--disable-compression", name, f"oci:{tmp_path}/{name}:out")
    return tmp_path / name


def test_a_dockerfile_s_image_written_again(tmp_path, buildah):
    """Two builds at two times are one image; the base's layer stays byte for byte."""
    busybox = debian.member("amd64", "busybox-static", "/bin/busybox")
    root, context = tmp_path / "root", tmp_path / "context"
    (root / "bin").mkdir(parents=True)
    context.mkdir()
    (root / "bin/busybox").write_bytes(busybox)
    (root / "bin/busybox").chmod(0o755)
    for name in ("sh", "mkdir", "rm", "ln"):
        (root / "bin" / name).symlink_to("busybox")
    (root / "gone").write_text("1")
    gnu_tar(root, tmp_path / "root.tar")
    base = tool("rootfs", tmp_path / "root.tar", tmp_path / "base", "--platform=linux/amd64")
    buildah("pull", f"oci:{tmp_path}/base:out")
    (context / "Dockerfile").write_text(DOCKERFILE.format(base=buildah("images", "-q")))
    results = []
    for name in ("one", "two"):
        (context / "file").write_text("the same")
        os.utime(context / "file", (EPOCH + 5, time.time()))
        layout = build(buildah, tmp_path, name)
        results.append(tool("rewrite", layout, f"{layout}-again", tmp_path / "base", "--platform=linux/amd64"))
        time.sleep(1.1)
    assert results[0]["manifest"] == results[1]["manifest"]
    assert results[0]["layers"][0] == base["layers"][0]
    config = json.loads(blob(tmp_path / "one-again", results[0]["config"]))
    assert config["config"]["Cmd"] == ["/bin/sh"] and "A=b" in config["config"]["Env"]
    assert "buildah" not in json.dumps(config)
    assert oci.schema_errors(config, "application/vnd.oci.image.config.v1+json") == []
    # What a client makes of it is what buildah's own image holds.
    buildah("pull", f"oci:{tmp_path}/one-again:out")
    mounted = tree_of(buildah("mount", buildah("from", "--pull=never", "one")))
    back = tmp_path / "back"
    back.mkdir()
    tool("unpack", tmp_path / "one-again", back, EVERYTHING)
    assert tree_of(back) == mounted
    assert b"gone" not in mounted and mounted[b"made/hard"]["names"] == [b"made/by-run", b"made/hard"]
