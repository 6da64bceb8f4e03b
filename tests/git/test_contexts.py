"""What a build sees of a commit: the context id, the Dockerfile, and the tar; and what it is never shown."""
import hashlib
import io
import os
import resource
import tarfile

import pytest
from gitserver import Exec, Link
from gitworker import GitWorker
from procs import run

REF = "refs/heads/master"
ID = "sha256:"


@pytest.fixture
def repo(folder):
    return folder.repo("app")


@pytest.fixture
def take(worker, folder, repo):
    """Commits files and fetches them; returns the commit."""
    def taken(files, **how):
        commit = repo.commit(files, **how)
        worker.fetch(folder.url(repo), REF)
        return commit
    return taken


def entries(path):
    """{name: (type, mode, content or target)} of a tar, its order checked."""
    with tarfile.open(path) as tar:
        members = tar.getmembers()
        found = {}
        for m in members:
            assert (m.uid, m.gid, m.uname, m.gname) == (0, 0, "", "") and m.name not in found
            body = tar.extractfile(m).read() if m.isreg() else m.linkname
            found[m.name] = ({b"0": "file", b"2": "link", b"5": "folder"}[m.type], m.mode, body)
    return found


def test_id_follows_the_files_alone(worker, repo, take):
    """Not the commit, not its message, not what is outside; but any name, mode or byte."""
    a = take({"app/f": "1", "app/d/g": "2", "other": "x"})
    known = worker.inspect(a, "app")["context_id"]
    listed = repo.git("ls-tree", "-r", f"{a}:app").splitlines()
    by_hand = hashlib.sha256(b"sheaf context 1\n")
    for line in sorted(listed, key=lambda l: l.split("\t")[1].encode()):
        mode, _, oid, path = line.replace("\t", " ").split(" ")
        by_hand.update(f"{mode} {oid} {path}\0".encode())
    assert known == ID + by_hand.hexdigest()
    b = take({"other": "y"}, message="something else")
    assert a != b and worker.inspect(b, "app")["context_id"] == known
    assert worker.inspect(b, "./app//")["context_id"] == known
    ids = {known}
    for files in ({"app/f": "2"}, {"app/f": Exec("2")}, {"app/f": Link("d/g")}, {"app/f": None, "app/h": "1"}, {"app/e": ""}):
        ids.add(worker.inspect(take(files), "app")["context_id"])
    assert len(ids) == 6
    seen = worker.inspect(a, "app")
    assert (seen["size"], seen["entries"], seen["time"], seen["dockerfile"]) == (2, 2, repo.clock - 6 * 60, None)


def test_a_folder_that_is_not_there(worker, take):
    commit = take({"app/f": "1", "link": Link("app")})
    assert worker.inspect(commit, "none")["exists"] is False
    assert worker.inspect(commit, "app/f/x")["exists"] is False
    assert "symbolic link" in worker.bad("inspect", "invalid", mirror=worker.mirror(), commit=commit, context="link")
    assert "file" in worker.bad("inspect", "invalid", mirror=worker.mirror(), commit=commit, context="app/f")
    worker.bad("inspect", "invalid", mirror=worker.mirror(), commit=commit, context="app/../..")
    worker.bad("archive", "missing", mirror=worker.mirror(), commit=commit, context="none", output=worker.state + "/x.tar")


def test_dockerignore(worker, take):
    files = {"Dockerfile": "FROM scratch\n", "keep/a.c": "a", "keep/a.o": "o", "drop/b": "b", "drop/but": "c", ".dockerignore":
             "# a comment\n**/*.o\n/drop  \n!drop/but\nDockerfile\n.dockerignore\n"}
    commit = take(files)
    seen = worker.inspect(commit, dockerfile="Dockerfile")
    assert seen["entries"] == 2 and seen["dockerfile"] == "FROM scratch\n"
    exact = entries(worker.archive(commit))
    assert set(exact) == {"drop", "drop/but", "keep", "keep/a.c"}
    # what a builder reads beside the files stays where it finds it
    assert set(entries(worker.archive(commit, dockerfile="Dockerfile"))) == set(exact) | {"Dockerfile", ".dockerignore"}
    # what is ignored is not an input
    again = take({"drop/b": "changed", "Dockerfile": "FROM scratch\nCMD x\n"})
    assert worker.inspect(again, dockerfile="Dockerfile")["context_id"] == seen["context_id"]
    assert worker.inspect(again, dockerfile="Dockerfile")["dockerfile_blob"] != seen["dockerfile_blob"]


def test_dockerignore_of_one_dockerfile(worker, take):
    """As BuildKit: a.Dockerfile.dockerignore goes before .dockerignore."""
    commit = take({"a.Dockerfile": "FROM a\n", "a.Dockerfile.dockerignore": "x\n", ".dockerignore": "y\n", "x": "", "y": ""})
    of_a, general = worker.inspect(commit, dockerfile="a.Dockerfile"), worker.inspect(commit)
    assert of_a["context_id"] != general["context_id"]
    assert {"y"} == set(entries(worker.archive(commit, dockerfile="a.Dockerfile"))) & {"x", "y"}
    assert {"x"} == set(entries(worker.archive(commit))) & {"x", "y"}


def test_what_a_change_touches(worker, take):
    """Files and folders of the source, there or not: would a change of them change the context?"""
    commit = take({"app/Dockerfile": "FROM scratch\n", "app/keep/a": "a", "app/docs/b": "b", "app/notes/c.md": "c", "other/f": "f",
                   "app/.dockerignore": "docs\n**/*.md\nDockerfile\n.dockerignore\n"})

    def touched(*paths, context="app"):
        return worker.good("inspect", mirror=worker.mirror(), commit=commit, context=context, dockerfile="Dockerfile", paths=list(paths))["touched"]
    for path in ("app", "", "app/keep", "app/keep/a", "app/new", "app/keep/new", "app/Dockerfile", "app/.dockerignore"):
        assert touched(path) and touched("other", path), path
    for path in ("other", "other/f", "ap", "app2", "app/docs", "app/docs/b", "app/docs/new", "app/notes", "app/notes/c.md", "app/new.md"):
        assert not touched(path), path
    assert not touched() and touched("app/docs/b", context="")
    assert worker.inspect(commit, "app")["touched"] is False
    worker.bad("inspect", "invalid", mirror=worker.mirror(), commit=commit, context="app", paths=[1])


def test_dockerignore_that_is_wrong(worker, take):
    commit = take({".dockerignore": "ok\n[\n", "f": ""})
    assert ".dockerignore:2" in worker.bad("inspect", "invalid", mirror=worker.mirror(), commit=commit, context="")


def test_dockerfiles(worker, take):
    """Elsewhere, behind symbolic links, missing, too long, not text, leading out."""
    commit = take({"app/docker/Dockerfile": "FROM a\n", "app/Dockerfile": Link("docker/./Dockerfile"), "app/dir": Link("docker"),
                   "app/out": Link("../Dockerfile"), "app/abs": Link("/etc/passwd"), "app/loop": Link("loop"),
                   "app/up": Link("docker/../../Dockerfile"), "app/back": Link("docker/../Dockerfile"), "Dockerfile": "FROM outside\n",
                   "app/binary": b"FROM a\0b", "app/latin": b"# \xff\n", "app/long": b"#" * (1 << 20), "app/longer": b"#" * ((1 << 20) + 1),
                   "app/.dockerignore": "*"})
    def text(path):
        return worker.inspect(commit, "app", path)["dockerfile"]
    def refused(path, code="invalid"):
        return worker.bad("inspect", code, mirror=worker.mirror(), commit=commit, context="app", dockerfile=path)
    for path in ("docker/Dockerfile", "Dockerfile", "dir/Dockerfile", "back", "./docker//Dockerfile"):
        assert text(path) == "FROM a\n", path
    for path in ("none", "docker", "docker/Dockerfile/x", "dir"):
        assert text(path) is None, path
    for path in ("out", "abs", "loop", "up", "../Dockerfile"):
        refused(path)
    assert "NUL" in refused("binary") and "UTF-8" in refused("latin")
    assert len(text("long")) == 1 << 20
    assert "1048577" in refused("longer", "limit")


def test_archive(worker, take, repo):
    """Sorted, with its folders, modes of git, one time, no owner; the same bytes again; git archive has the same files."""
    long = "/".join(["d" * 60] * 4) + "/" + "n" * 120
    files = {"z": "last", "a.b": "1", "a/c": "2", "a/b/deep": Exec("#!/bin/sh\n"), "a-": "3", "ü/ö": "ümlaut", long: "long", "sp ace": "4",
             "link": Link("a/b/deep"), "dangling": Link("nowhere"), "absolute": Link("/etc/passwd"), "up/down": Link("../z"), "empty": "",
             "big": os.urandom(300000), "longlink": Link("x/" * 100 + "y")}
    commit = take(files)
    path = worker.archive(commit)
    got = entries(path)
    for name, value in files.items():
        kind, mode, body = got[name]
        if isinstance(value, Link):
            assert (kind, mode, body) == ("link", 0o777, str(value))
        else:
            assert kind == "file" and mode == (0o755 if isinstance(value, Exec) else 0o644)
            assert body == (value if isinstance(value, bytes) else str(value).encode())
    folders = {n for n, e in got.items() if e[0] == "folder"}
    assert set(got) - folders == set(files) and all(got[f][1] == 0o755 for f in folders)
    assert folders == {os.path.dirname(n)[:i] for n in files for i, c in enumerate(os.path.dirname(n) + "/") if c == "/" and i}
    names = [n for n in got if n not in folders]
    assert names == sorted(names, key=str.encode)
    theirs = io.BytesIO(repo.git("archive", "--format=tar", commit, text=False))
    with tarfile.open(fileobj=theirs) as tar:
        assert {m.name for m in tar.getmembers()} == set(got)
    first = open(path, "rb").read()
    assert open(worker.archive(commit, output="again.tar"), "rb").read() == first
    assert open(worker.archive(take({"other/x": "1"}, replace=False), output="third.tar"), "rb").read() != first
    with tarfile.open(path) as tar:
        assert {m.mtime for m in tar} == {0}
    with tarfile.open(worker.archive(commit, epoch=1700000000)) as tar:
        assert {m.mtime for m in tar} == {1700000000}
    assert not [f for f in os.listdir(worker.state) if ".tmp" in f]
    run(["tar", "-C", str(worker.state), "--one-top-level=out", "-xf", path])
    assert os.path.exists(os.path.join(worker.state, "out", long))


def test_archive_is_below_the_context(worker, take):
    commit = take({"x86_64/Dockerfile": "FROM scratch\n", "arm/Dockerfile": "FROM arm\n"})
    assert set(entries(worker.archive(commit, "x86_64"))) == {"Dockerfile"}


def test_names_that_are_not_utf8(worker, folder, repo):
    blob = repo.blob(b"x")
    raw = b"100644 caf\xe9\0" + bytes.fromhex(blob)
    tree = repo.git("hash-object", "-t", "tree", "-w", "--stdin", input=raw, text=False).decode().strip()
    commit = repo.git("-c", "user.name=x", "-c", "user.email=x@x.invalid", "commit-tree", "-m", "x", tree).strip()
    repo.git("update-ref", REF, commit)
    worker.fetch(folder.url(repo), REF)
    assert worker.inspect(commit)["entries"] == 1
    with tarfile.open(worker.archive(commit), encoding="utf-8", errors="surrogateescape") as tar:
        assert [os.fsencode(m.name) for m in tar.getmembers()] == [b"caf\xe9"]


def test_submodule(worker, folder, repo):
    """A bare gitlink: an empty folder, said in a note; its commit is no input."""
    repo.commit({"f": "1", ".gitmodules": '[submodule "sub"]\n path = lib/sub\n url = ../other\n'})
    def point_to(oid):
        repo.git("read-tree", REF)
        repo.git("update-index", "--add", "--cacheinfo", f"160000,{oid},lib/sub")
        tree = repo.git("write-tree").strip()
        commit = repo.git("-c", "user.name=x", "-c", "user.email=x@x.invalid", "commit-tree", "-p", repo.head(), "-m", "x", tree).strip()
        repo.git("update-ref", REF, commit)
        worker.fetch(folder.url(repo), REF)
        return commit
    first = point_to("1" * 40)
    seen = worker.inspect(first)
    assert "lib/sub" in seen["note"] and "1 submodule" in seen["note"] and seen["entries"] == 3
    assert entries(worker.archive(first))["lib/sub"] == ("folder", 0o755, "")
    assert worker.inspect(point_to("2" * 40))["context_id"] == seen["context_id"]


def hostile(repo):
    """{name of a case: (the entries of the tree, what the refusal must name)}."""
    blob, link = repo.blob(b"x"), repo.blob(b"/tmp")
    inner = repo.subtree([("100644", "passwd", blob)])
    f, d = "100644", "40000"
    return {
        "dotdot file": ([(f, "..", blob)], ".."),
        "dotdot folder": ([(d, "..", inner)], ".."),
        "dot": ([(d, ".", inner)], "."),
        "git folder": ([(d, ".git", inner)], ".git"),
        "git folder by another case": ([(d, ".GiT", inner)], ".GiT"),
        "absolute": ([(f, "/etc/passwd", blob)], "/etc/passwd"),
        "slash": ([(f, "a/../../b", blob)], "a/../../b"),
        "deep": ([(d, "a", repo.subtree([(d, "b", repo.subtree([(f, "..", blob)]))]))], "a/b/.."),
        "through a link": ([("120000", "etc", link), (d, "etc", inner)], "etc"),
        "twice": ([(f, "a", blob), (f, "a", repo.blob(b"y"))], "a"),
        "escaping link": ([("120000", "l", repo.blob(b"../../etc/passwd"))], "'l'"),
        "escaping link below": ([(d, "d", repo.subtree([("120000", "l", repo.blob(b"x/../../../y"))]))], "d/l"),
        "empty link": ([("120000", "l", repo.blob(b""))], "'l'"),
        "link with a NUL": ([("120000", "l", repo.blob(b"a\0b"))], "'l'"),
        "long name": ([(f, "n" * 300, blob)], "n" * 300),
        "control characters": ([(d, "x\x1b[31m\n", repo.subtree([(f, "..", blob)]))], "x\\x1b[31m\\x0a/.."),
        "a tree that is said to be a file": ([(f, "t", inner)], "t"),
        "a file that is said to be a folder": ([(d, "b", blob)], "b"),
    }


def test_hostile_trees(worker, folder, repo, tmp_path):
    """Each is refused by inspect and by archive alike, the entry named; nothing is written; the worker goes on."""
    cases = hostile(repo)
    commits = {}
    for i, (case, (tree, _)) in enumerate(cases.items()):
        commits[case] = repo.commit_tree(tree, branch=f"h{i}")
    fine = repo.commit({"f": "1"})
    for i, (case, (_, named)) in enumerate(cases.items()):
        branch = f"refs/heads/h{i}"
        answer = worker.ask("fetch", url=folder.url(repo), mirror=worker.mirror(), refs=[branch])
        if not answer["ok"]:
            assert case.startswith("a "), answer  # a tree that lies about types may not even pack
            continue
        for op, more in (("inspect", {}), ("archive", {"output": worker.state + "/hostile.tar"})):
            answer = worker.ask(op, mirror=worker.mirror(), commit=commits[case], context="", **more)
            assert not answer["ok"] and answer["code"] == "invalid" and not answer["retryable"], (case, answer)
            assert named in answer["error"], (case, answer)
    assert not [n for n in os.listdir(worker.state) if "hostile" in n]
    worker.fetch(folder.url(repo), REF)
    assert worker.inspect(fine)["exists"]


def test_what_is_missing_from_the_tree(worker, folder, repo):
    """A tree that names a blob which upstream does not have."""
    commit = repo.commit_tree([("100644", "f", "12" * 20)])
    answer = worker.ask("fetch", url=folder.url(repo), mirror=worker.mirror(), refs=[REF])
    if answer["ok"]:
        worker.bad("inspect", "missing", mirror=worker.mirror(), commit=commit, context="")
    assert worker.ask("list", url=folder.url(repo))["ok"]


def test_bounds(folder, repo, tmp_path):
    """A file, a context, a number of entries and a depth beyond what is taken, each named."""
    bomb = repo.subtree([("100644", "f", repo.blob(b"x"))])
    for _ in range(7):
        bomb = repo.subtree([("40000", f"d{i}", bomb) for i in range(10)])
    deep = repo.subtree([("100644", "f", repo.blob(b"x"))])
    for _ in range(150):
        deep = repo.subtree([("40000", "d", deep)])
    trees = {
        "big": ([("100644", "big", repo.blob(b"x" * 200001))], "200001"),
        "sum": ([("100644", f"f{i}", repo.blob(b"%d" % i * 150000)) for i in range(5)], "500000"),
        "bomb": ([("40000", "bomb", bomb)], "500000 entries"),
        "deep": ([("40000", "deep", deep)], "100 folders"),
    }
    worker = GitWorker(tmp_path / "state", "--blob-limit", 200000, "--context-limit", 500000)
    for name, (tree, said) in trees.items():
        commit = repo.commit_tree(tree, branch=name)
        worker.fetch(folder.url(repo), f"refs/heads/{name}")
        for op, more in (("inspect", {}), ("archive", {"output": worker.state + "/x.tar"})):
            assert said in worker.bad(op, "limit", mirror=worker.mirror(), commit=commit, context="", **more)
    worker.close()


def test_archive_that_cannot_be_written(folder, repo, tmp_path):
    """It fails as something that may pass, and leaves nothing of itself."""
    worker = GitWorker(tmp_path / "state", before=["sh", "-c", 'trap "" XFSZ; exec "$0" "$@"'])
    commit = repo.commit({"big": os.urandom(500000)})
    worker.fetch(folder.url(repo), REF)
    resource.prlimit(worker.child.pid, resource.RLIMIT_FSIZE, (100000, 100000))
    answer = worker.ask("archive", mirror=worker.mirror(), commit=commit, context="", output=worker.state + "/x.tar")
    assert not answer["ok"] and answer["retryable"] and answer["code"] == "io", answer
    assert not [f for f in os.listdir(worker.state) if f.startswith("x.tar")]
    worker.close()
