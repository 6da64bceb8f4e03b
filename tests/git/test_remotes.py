"""Listing and fetching, over every transport, from servers that nobody here wrote."""
import hashlib
import os
import socket
import subprocess
import time

import pytest
from sshfolder import ssh_folder
from gitserver import SshGit, WebGit
from gitworker import GitWorker, TooLate
from procs import Process, free_port, listening, run, wait_for

REF = "refs/heads/master"


def names(answer):
    return [r["name"] for r in answer["refs"]]


def kept(worker, ref, name="mirror"):
    """What the mirror has for upstream's ref, as git itself reads it."""
    key = hashlib.sha256(ref.encode()).hexdigest()
    return run(["git", "-C", worker.mirror(name), "rev-parse", f"refs/sheaf/{key}"]).stdout.strip()


def test_list_fetch_inspect(served):
    """The whole way over each transport: refs, an annotated tag peeled, a second commit."""
    worker, folder = served
    repo = folder.repo("app")
    first = repo.commit({"Dockerfile": "FROM scratch\n", "a/b": "x"})
    repo.tag("v1", first, annotated=True)
    url = folder.url(repo)
    listed = worker.good("list", url=url)
    assert names(listed) == ["HEAD", REF, "refs/tags/v1"] and listed["head"] == REF and listed["total"] == 3
    tag = next(r for r in listed["refs"] if r["name"] == "refs/tags/v1")
    assert tag["peeled"] == first and tag["oid"] == repo.git("rev-parse", "refs/tags/v1").strip() != first
    got = worker.fetch(url, REF, "refs/tags/v1", "HEAD")
    assert got[REF] == {"name": REF, "oid": first, "commit": first, "time": repo.clock}
    assert got["refs/tags/v1"]["commit"] == first == got["HEAD"]["oid"]
    assert kept(worker, "refs/tags/v1") == tag["oid"]
    seen = worker.inspect(first, dockerfile="Dockerfile")
    assert seen["exists"] and seen["dockerfile"] == "FROM scratch\n" and seen["entries"] == 2
    second = repo.commit({"a/b": "y"})
    assert worker.fetch(url, REF)[REF]["oid"] == second == kept(worker, REF)
    assert worker.good("ancestor", mirror=worker.mirror(), old=first, new=second)["ancestor"] is True
    assert worker.good("ancestor", mirror=worker.mirror(), old=second, new=first)["ancestor"] is False
    assert worker.good("ancestor", mirror=worker.mirror(), old=first, new=first)["ancestor"] is True


def test_force_push_and_deletion(served):
    """An orphan that is force-pushed is followed; a name that becomes a folder is no obstacle; what is gone is said."""
    worker, folder = served
    repo = folder.repo("alpine")
    old = repo.commit({"f": "1"}, branch="v3.20")
    repo.commit({"f": "1"}, branch="a")
    url = folder.url(repo)
    worker.fetch(url, "refs/heads/v3.20", "refs/heads/a")
    new = repo.commit({"f": "2"}, branch="v3.20", orphan=True)
    repo.delete("refs/heads/a")
    below = repo.commit({"f": "3"}, branch="a/b")
    assert worker.fetch(url, "refs/heads/v3.20")["refs/heads/v3.20"]["oid"] == new == kept(worker, "refs/heads/v3.20")
    assert worker.good("ancestor", mirror=worker.mirror(), old=old, new=new)["ancestor"] is False
    answer = worker.good("fetch", url=url, mirror=worker.mirror(), refs=["refs/heads/a", "refs/heads/a/b"])
    assert [f["oid"] for f in answer["fetched"]] == [below] and answer["missing"] == ["refs/heads/a"]
    assert "refs/heads/a" not in names(worker.good("list", url=url))
    repo.delete("refs/heads/a/b")
    back = repo.commit({"f": "4"}, branch="a")
    assert worker.fetch(url, "refs/heads/a")["refs/heads/a"]["oid"] == back
    assert worker.inspect(old)["exists"], "what was fetched once stays readable"


def test_empty_then_filled_then_away_then_back(served):
    worker, folder = served
    repo = folder.repo("app")
    url = folder.url(repo)
    empty = worker.good("list", url=url)
    assert empty["refs"] == [] and empty["total"] == 0 and empty["head"] is None
    commit = repo.commit({"f": "1"})
    assert len(worker.good("list", url=url)["refs"]) == 2
    os.rename(repo.path, repo.path + ".away")
    for op, more in (("list", {}), ("fetch", {"mirror": worker.mirror(), "refs": [REF]})):
        answer = worker.ask(op, url=url, **more)
        assert not answer["ok"] and answer["retryable"] and answer["code"] in ("missing", "network"), answer
    os.rename(repo.path + ".away", repo.path)
    assert worker.fetch(url, REF)[REF]["oid"] == commit


def test_a_head_and_no_branch(served):
    """A HEAD that is a commit is a ref like others."""
    worker, folder = served
    repo = folder.repo("app")
    commit = repo.commit({"f": "1"})
    repo.git("update-ref", "--no-deref", "HEAD", commit)
    repo.delete(REF)
    listed = worker.good("list", url=folder.url(repo))
    assert names(listed) == ["HEAD"] and listed["head"] is None and listed["refs"][0]["peeled"] == commit
    assert worker.fetch(folder.url(repo), "HEAD")["HEAD"]["commit"] == commit


def test_a_thousand_refs(served):
    worker, folder = served
    repo = folder.repo("app")
    commit = repo.commit({"f": "1"})
    repo.git("update-ref", "--stdin", input="".join(f"create refs/tags/v{i} {commit}\n" for i in range(1000)))
    url = folder.url(repo)
    listed = worker.good("list", url=url)
    assert listed["total"] == 1002 and len(listed["refs"]) == 1002
    assert names(listed) == sorted(names(listed))
    some = worker.good("list", url=url, patterns=["refs/tags/v99*", "HEAD"])
    assert names(some) == ["HEAD", "refs/tags/v99"] + [f"refs/tags/v99{i}" for i in range(10)]
    assert some["total"] == 1002
    assert len(worker.fetch(url, *[f"refs/tags/v{i}" for i in range(1000)])) == 1000


def test_more_refs_than_are_taken(worker, folder):
    """A pattern that matches too many is refused; a narrower one is not."""
    repo = folder.repo("app")
    commit = repo.commit({"f": "1"})
    with open(f"{repo.path}/packed-refs", "w", encoding="ascii") as f:
        f.write("# pack-refs with: peeled fully-peeled sorted \n")
        f.writelines(sorted(f"{commit} refs/tags/v{i}\n" for i in range(50001)))
    assert "50000 refs" in worker.bad("list", "limit", url=folder.url(repo), patterns=["refs/tags/*"])
    listed = worker.good("list", url=folder.url(repo), patterns=["refs/tags/v5000*"])
    assert len(listed["refs"]) == 2 and listed["total"] == 50003


def test_only_what_is_asked_for_is_brought(worker, folder):
    """By path too, where libgit2's own transport would copy everything at every change."""
    repo = folder.repo("app")
    repo.commit({"f": os.urandom(200000)}, branch="big")
    small = repo.commit({"f": "1"}, branch="small", orphan=True)
    worker.fetch(folder.url(repo), "refs/heads/small")
    assert mirror_bytes(worker) < 50000
    worker.fetch(folder.url(repo), "refs/heads/small", "refs/heads/big")
    size = mirror_bytes(worker)
    assert size > 200000
    repo.commit({"f": "2"}, branch="small")
    got = worker.fetch(folder.url(repo), "refs/heads/small", "refs/heads/big")
    assert got["refs/heads/small"]["oid"] != small and mirror_bytes(worker) < size + 50000


def mirror_bytes(worker, name="mirror"):
    pack = os.path.join(worker.mirror(name), "objects", "pack")
    return sum(os.path.getsize(os.path.join(pack, f)) for f in os.listdir(pack))


def test_tags_of_all_kinds(worker, folder):
    """A tag of a tag is peeled whole; a tag of a file or a tree is refused, and names itself: the others are fetched."""
    repo = folder.repo("app")
    commit = repo.commit({"f": "1"})
    blob, tree = repo.blob(b"x"), repo.git("rev-parse", f"{commit}^{{tree}}").strip()
    repo.tag("one", commit, annotated=True)
    repo.tag("two", "one", annotated=True)
    repo.git("update-ref", "refs/tags/file", blob)
    repo.git("-c", "user.name=x", "-c", "user.email=x@x.invalid", "tag", "-a", "-m", "x", "tree", tree)
    url = folder.url(repo)
    answer = worker.good("fetch", url=url, mirror=worker.mirror(), refs=[f"refs/tags/{t}" for t in ("file", "two", "tree", "one")])
    got = {f["name"]: f for f in answer["fetched"]}
    assert set(got) == {"refs/tags/one", "refs/tags/two"}
    assert {(r["name"], r["oid"]) for r in answer["refused"]} == {("refs/tags/file", blob), ("refs/tags/tree", tree)}
    assert all(r["name"] in r["error"] for r in answer["refused"])
    assert got["refs/tags/two"]["commit"] == got["refs/tags/one"]["commit"] == commit
    two = next(r for r in worker.good("list", url=url)["refs"] if r["name"] == "refs/tags/two")
    assert two["peeled"] == commit


@pytest.mark.root
def test_upstream_of_another_owner(worker, folder):
    repo = folder.repo("app")
    repo.commit({"f": "1"})
    for path, dirs, files in os.walk(repo.path):
        for name in [path, *(os.path.join(path, f) for f in files)]:
            os.chown(name, 65534, 65534)
    assert worker.fetch(folder.url(repo), REF)


def test_sources_that_are_none(worker):
    for url in ("relative/path", "ext::sh -c id", "ftp://127.0.0.1/x", "file://host/x", "../x", ""):
        worker.bad("list", "invalid", url=url)
    port = free_port()
    for url in (f"git://127.0.0.1:{port}/x", f"http://127.0.0.1:{port}/x", f"ssh://git@127.0.0.1:{port}/x",
                f"https://127.0.0.1:{port}/x", f"git@127.0.0.1.invalid:x.git"):
        assert worker.ask("list", url=url)["retryable"]
        worker.bad("list", "network", url=url)
    text = worker.bad("list", "network", url=f"http://me:s3cret@127.0.0.1:{port}/x")
    assert "s3cret" not in text and "me:***@127.0.0.1" in text


def test_silent_server_outlasts_any_patience(tmp_path):
    """Nothing but killing ends a request to a server that accepts and says nothing; the next worker is fine."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(8)
        port = silent.getsockname()[1]
        for scheme in ("git", "http", "ssh"):
            worker = GitWorker(tmp_path / "state")
            with pytest.raises(TooLate):
                worker.ask("list", seconds=1, url=f"{scheme}://127.0.0.1:{port}/x")
            assert worker.kill() == -9


def test_killed_fetch_leaves_nothing_in_the_way(tmp_path, folder):
    """Lock files and half packs of a killed fetch are swept by the next; a mirror that cannot be opened is made anew."""
    repo = folder.repo("app")
    repo.commit({"f": "1"})
    worker = GitWorker(tmp_path / "state")
    worker.fetch(folder.url(repo), REF)
    mirror, key = worker.mirror(), hashlib.sha256(REF.encode()).hexdigest()
    for name in (f"refs/sheaf/{key}.lock", "HEAD.lock", "packed-refs.lock", "objects/pack/pack_git2_abcdef"):
        open(os.path.join(mirror, name), "w", encoding="ascii").close()
    commit = repo.commit({"f": "2"})
    assert worker.fetch(folder.url(repo), REF)[REF]["oid"] == commit
    assert not [f for _, _, files in os.walk(mirror) for f in files if f.endswith(".lock") or f.startswith("pack_git2")]
    os.unlink(os.path.join(mirror, "HEAD"))
    assert worker.fetch(folder.url(repo), REF)[REF]["oid"] == commit
    assert worker.inspect(commit)["exists"]
    worker.close()


def test_a_mirror_that_cannot_be_read(worker, folder):
    """A fetch finds nothing new for it; one that empties it first brings everything again."""
    repo = folder.repo("app")
    commit = repo.commit({"f": "1"})
    worker.fetch(folder.url(repo), REF)
    pack = os.path.join(worker.mirror(), "objects", "pack")
    for name in os.listdir(pack):
        os.unlink(os.path.join(pack, name))
    worker.bad("inspect", "missing", mirror=worker.mirror(), commit=commit, context="")
    assert worker.fetch(folder.url(repo), REF, anew=True)[REF]["commit"] == commit
    assert worker.inspect(commit)["exists"]
    run(["git", "-C", worker.mirror(), "fsck"])


def test_killed_in_the_middle(tmp_path, folder):
    """Killed at any moment of a fetch, the next one succeeds."""
    repo = folder.repo("app")
    for i in range(20):
        repo.commit({f"f{i}": os.urandom(100000)})
    for wait in (0.0, 0.01, 0.03, 0.06, 0.1, 0.2):
        commit = repo.commit({"g": os.urandom(300000)})
        victim = GitWorker(tmp_path / "state")
        victim.send(op="fetch", url=folder.url(repo), mirror=victim.mirror(), refs=[REF])
        time.sleep(wait)
        victim.kill()
        worker = GitWorker(tmp_path / "state")
        assert worker.fetch(folder.url(repo), REF)[REF]["oid"] == commit
        worker.close()
    run(["git", "-C", worker.mirror(), "fsck", "--connectivity-only"])


def test_mirror_is_made_anew(tmp_path, folder):
    """Past its limit a mirror keeps what its refs reach and drops the rest; not twice a day."""
    repo = folder.repo("app")
    keep = repo.commit({"f": os.urandom(1000)}, branch="keep")
    repo.tag("note", keep, annotated=True)
    worker = GitWorker(tmp_path / "state", "--mirror-limit", 350000)
    url = folder.url(repo)
    worker.fetch(url, "refs/heads/keep", "refs/tags/note")
    olds = []
    for _ in range(4):
        olds.append(repo.commit({"f": os.urandom(100000)}, branch="moves", orphan=True))
        worker.fetch(url, "refs/heads/moves")
    assert mirror_bytes(worker) > 400000
    new = repo.commit({"f": os.urandom(100000)}, branch="moves", orphan=True)
    assert worker.fetch(url, "refs/heads/moves")["refs/heads/moves"]["oid"] == new
    assert mirror_bytes(worker) < 300000 and worker.inspect(new)["exists"] and worker.inspect(keep)["exists"]
    worker.bad("inspect", "missing", mirror=worker.mirror(), commit=olds[0], context="")
    assert kept(worker, "refs/tags/note")
    assert sorted(os.listdir(os.path.join(worker.state, "mirrors"))) == ["mirror", "mirror.fetch", "mirror.lock"]
    for _ in range(4):
        repo.commit({"f": os.urandom(100000)}, branch="moves", orphan=True)
        worker.fetch(url, "refs/heads/moves")
    assert mirror_bytes(worker) > 400000
    run(["git", "-C", worker.mirror(), "fsck"])
    worker.close()


def test_fetch_is_bounded(tmp_path, folder):
    repo = folder.repo("app")
    repo.commit({"f": os.urandom(500000)})
    worker = GitWorker(tmp_path / "state", "--fetch-limit", 100000)
    answer = worker.ask("fetch", url=folder.url(repo), mirror=worker.mirror(), refs=[REF])
    assert answer["code"] == "limit" and not answer["retryable"], answer
    worker.close()


@pytest.fixture
def sshd(tmp_path, folder):
    server = SshGit(folder.folder, str(tmp_path / "sshd"), tmp_path / "sshd.log")
    yield server
    server.stop()


def test_ssh_refusals(tmp_path, folder, sshd):
    """No key, another's key, an unknown host, a host that is not who it was: each is `auth`, and not retried soon."""
    repo = folder.repo("app")
    commit = repo.commit({"f": "1"})
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")])
    other = str(tmp_path / "other")
    wrong_host = f"[127.0.0.1]:{sshd.port} " + " ".join(open(other + ".pub", encoding="ascii").read().split()[:2]) + "\n"
    url = sshd.url(repo)
    tries = {"none": None, "key": {"key": other}, "unknown": {"known": ""}, "changed": {"known": wrong_host}}
    for name, how in tries.items():
        options = ["--ssh", ssh_folder(tmp_path / name, sshd, **how)] if how else []
        worker = GitWorker(tmp_path / "state", *options)
        answer = worker.ask("list", url=url)
        assert not answer["ok"] and answer["code"] == "auth" and not answer["retryable"], (name, answer)
        worker.close()
    # the key of one source, with the folder's known_hosts
    worker = GitWorker(tmp_path / "state", "--ssh", ssh_folder(tmp_path / "empty", sshd, key=other))
    assert worker.fetch(url, REF, auth={"ssh_key": sshd.key})[REF]["oid"] == commit
    worker.close()


def test_http_refusals(tmp_path, worker, folder):
    """404 may come back; 401 without a password, with a wrong one and with the right one."""
    server = WebGit(folder.folder, str(tmp_path), tmp_path / "web.log")
    url = f"http://127.0.0.1:{server.port}/git/none.git"
    answer = worker.ask("list", url=url)
    assert answer["code"] == "missing" and answer["retryable"], answer
    server.stop()


def test_http_password(tmp_path, worker, folder):
    repo = folder.repo("app")
    commit = repo.commit({"f": "1"})
    server = ProtectedGit(folder.folder, tmp_path)
    url = f"http://127.0.0.1:{server.port}/git/app.git"
    (tmp_path / "right").write_text("open sesame\n")
    (tmp_path / "wrong").write_text("close sesame\n")
    auth = {"username": "ali", "password_file": str(tmp_path / "right")}
    assert worker.fetch(url, REF, auth=auth)[REF]["oid"] == commit
    for wrong in (None, {**auth, "password_file": str(tmp_path / "wrong")}, {**auth, "password_file": "/none"}):
        answer = worker.ask("list", url=url, auth=wrong)
        assert answer["code"] == "auth" and not answer["retryable"] and "sesame" not in answer["error"], answer
    server.stop()


class ProtectedGit(WebGit):
    """git http-backend behind a password."""

    def __init__(self, folder, work):
        (work / "users").write_text("ali:open sesame\n")
        super().__init__(folder, str(work), work / "web.log")
        self.stop()
        config = work / "lighttpd.conf"
        text = config.read_text().replace('("mod_alias",', '("mod_alias", "mod_auth", "mod_authn_file",')
        config.write_text(text + f'''auth.backend = "plain"
auth.backend.plain.userfile = "{work}/users"
auth.require = ("/git" => ("method" => "basic", "realm" => "git", "require" => "valid-user"))
''')
        self.process = Process("lighttpd", ["/usr/sbin/lighttpd", "-D", "-f", str(config)], work / "web.log")
        wait_for(lambda: listening(self.port), 20, "lighttpd", alive=[self.process])


def test_https_with_a_ca_of_ones_own(tmp_path, folder):
    """A certificate is judged by the CA that was given, and without it refused."""
    if not os.path.exists("/usr/lib/lighttpd/mod_openssl.so"):
        pytest.skip("lighttpd-mod-openssl is not installed")
    repo = folder.repo("app")
    commit = repo.commit({"f": "1"})
    pem, cert = tmp_path / "server.pem", tmp_path / "cert.pem"
    run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
         "subjectAltName=DNS:localhost", "-keyout", str(tmp_path / "key.pem"), "-out", str(cert)])
    pem.write_text((tmp_path / "key.pem").read_text() + cert.read_text())
    server = WebGit(folder.folder, str(tmp_path), tmp_path / "web.log")
    server.stop()
    config = tmp_path / "lighttpd.conf"
    config.write_text(config.read_text().replace('("mod_alias",', '("mod_alias", "mod_openssl",')
                      + f'ssl.engine = "enable"\nssl.pemfile = "{pem}"\n')
    web = Process("lighttpd", ["/usr/sbin/lighttpd", "-D", "-f", str(config)], tmp_path / "web.log")
    wait_for(lambda: listening(server.port), 20, "lighttpd", alive=[web])
    url = f"https://localhost:{server.port}/git/app.git"
    trusting, strict = GitWorker(tmp_path / "a", "--ca", cert), GitWorker(tmp_path / "b")
    assert trusting.fetch(url, REF)[REF]["oid"] == commit
    answer = strict.ask("list", url=url)
    assert answer["code"] == "auth" and not answer["retryable"], answer
    trusting.close()
    strict.close()
    web.stop()


def test_requests_that_make_no_sense(worker, folder):
    """Each gets an answer, and the worker goes on."""
    repo = folder.repo("app")
    commit = repo.commit({"f": "1"})
    worker.fetch(folder.url(repo), REF)
    worker.bad("nothing", "invalid")
    worker.bad("list", "invalid")
    worker.bad("list", "invalid", url="/x", more=1)
    worker.bad("list", "invalid", url=5)
    worker.bad("fetch", "invalid", url="/x", mirror="/etc/x", refs=[])
    worker.bad("fetch", "invalid", url="/x", mirror=worker.state + "/../x", refs=[])
    worker.bad("archive", "invalid", mirror=worker.mirror(), commit=commit, context="", output="/tmp/x.tar")
    worker.bad("inspect", "missing", mirror=worker.mirror("none"), commit=commit, context="")
    worker.bad("inspect", "missing", mirror=worker.mirror(), commit="0" * 40, context="")
    for wrong in ("", "HEAD", "0" * 39, "g" * 40, commit + "0"):
        worker.bad("inspect", "invalid", mirror=worker.mirror(), commit=wrong, context="")
        worker.bad("ancestor", "invalid", mirror=worker.mirror(), old=commit, new=wrong)
    worker.child.stdin.write(b'not json\n{"id": 7}\n[]\n')
    worker.child.stdin.flush()
    for _ in range(3):
        assert b'"code":"invalid"' in worker.line()
    assert worker.inspect(commit)["exists"]
    assert worker.close() == 0


def test_memory_stays_flat(worker, folder):
    """A poll leaves nothing behind, nor does an inspection."""
    repo = folder.repo("app")
    commit = repo.commit({f"d{i}/f": str(i) for i in range(50)})
    url = folder.url(repo)
    worker.fetch(url, REF)
    for warm in (50, 1500):
        before = worker.memory()
        for _ in range(warm):
            worker.good("list", url=url)
            worker.inspect(commit)
    assert worker.memory() - before < 600, "kilobytes"


def test_confined(worker, folder, tmp_path):
    """It has no capabilities, cannot gain any, and dies with its parent."""
    worker.bad("nothing", "invalid")  # it is up
    with open(f"/proc/{worker.child.pid}/status", encoding="ascii") as f:
        status = dict(line.split(":\t", 1) for line in f if ":\t" in line)
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0 and status["NoNewPrivs"].strip() == "1"
    parent = subprocess.Popen(["/usr/bin/python3", "-c", f'''
import subprocess, time
print(subprocess.Popen([{str(worker.child.args[0])!r}, "--state", {str(tmp_path)!r}], stdin=subprocess.PIPE).pid, flush=True)
time.sleep(60)'''], stdout=subprocess.PIPE, text=True)
    pid = int(parent.stdout.readline())
    time.sleep(0.3)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    until = time.monotonic() + 5
    while os.path.exists(f"/proc/{pid}/exe") and time.monotonic() < until:
        time.sleep(0.05)
    assert not os.path.exists(f"/proc/{pid}/exe")
