"""Scenario 7: hostile upstreams. Board and coordinator are as before afterwards, and the failure says why."""
import gzip
import os
import stat
import tarfile

import pytest
import shapes
from gitserver import Exec, Link

pytestmark = [pytest.mark.root, pytest.mark.slow]

PASSWORD = "registry-password-that-nobody-may-see"


class Target:
    """A farm with one ordinary image to prove that it still works, a base to build in, and a canary."""

    def __init__(self, farm):
        self.farm = farm
        self.registry, self.git = farm.registry(user="sheaf", password=PASSWORD), farm.git()
        self.name = f"{self.registry.host}/osf"
        self.base = self.git.repo("base")
        self.base.commit(shapes.base_files("1", platforms=["linux/amd64"]))
        self.canary = farm.path("canary")
        os.mkdir(self.canary)
        os.chmod(self.canary, 0o777)
        with open(farm.path("password"), "w", encoding="utf-8") as f:
            f.write(PASSWORD + "\n")
        os.chmod(farm.path("password"), 0o600)
        self.images = {"base": self.image(self.base)}

    def image(self, up, **more):
        return {"source": up.url, "ref": "refs/heads/master", "tags": ["latest"], **more}

    def rootfs(self, name, script, **more):
        """An upstream whose script makes a root file system, run in the base image."""
        up = self.git.repo(name)
        up.commit({"make": Exec("#!/bin/sh\n" + script)})
        self.images[name] = self.image(up, rootfs='sh ./make "$SHEAF_ROOTFS"', builder=f"{self.name}/base:latest", **more)

    def start(self):
        host = self.registry.host
        self.sheafd = self.farm.coordinator({
            "registry": self.name, "platforms": ["linux/amd64"], "images": self.images,
            "registries": {host: {"username": "sheaf", "password-file": self.farm.path("password")}}})
        self.agent = self.farm.agent(self.sheafd, "board", slots=1)
        self.before = self.listing()
        return self.sheafd

    def listing(self):
        """What an escape would change on the machine."""
        return {p: sorted(os.listdir(p)) for p in ("/", "/etc", "/root", "/usr/bin", self.canary)}

    def check_unharmed(self):
        """Nothing outside has changed; the board takes work, the coordinator answers, and both build."""
        assert self.listing() == self.before
        assert self.agent.online()
        self.base.commit(shapes.base_files("2", platforms=["linux/amd64"]))
        self.sheafd.settle(self.base)
        assert self.sheafd.track("base")["state"] == "published"
        self.sheafd.wait(lambda: os.listdir(os.path.join(self.agent.state, "jobs")) == [], 60, "workspaces to be gone")

    def failure(self, image):
        """Why the image is not built, as one text: the track's reason, its job's and its attempts'."""
        track = self.sheafd.track(image)
        assert track["state"] in ("failed", "blocked"), track
        said = [track["reason"]["text"]]
        for cell in track["cells"]:
            said.append((cell["reason"] or {}).get("text", ""))
            if cell["job"]:
                said += [a["reason"] or "" for a in self.sheafd.job(cell["job"])["attempts"]]
        return "\n".join(said)


@pytest.mark.timeout(600)
def test_crafted_git_trees(farm):
    """`..`, `.git`, a name with a slash, and a link that a folder of the same name would be written through."""
    target = Target(farm)
    git = target.git

    def crafted(name, make):
        up = git.repo(name)
        dockerfile = ("100644", "Dockerfile", up.blob(b"FROM scratch\nCOPY . /\n"))
        up.commit_tree(sorted([dockerfile, *make(up)], key=lambda e: e[1]))
        target.images[name] = target.image(up)

    def payload(up):
        return up.blob(b"escaped\n")

    crafted("dotdot", lambda up: [("40000", "..", up.subtree([("100644", "escaped", payload(up))]))])
    crafted("dotgit", lambda up: [("40000", ".git", up.subtree([("100644", "config", payload(up))]))])
    crafted("slash", lambda up: [("100644", "../../escaped", payload(up))])
    crafted("through", lambda up: [("120000", "door", up.blob(target.canary.encode())),
                                   ("40000", "door", up.subtree([("100644", "escaped", payload(up))]))])
    sheafd = target.start()
    sheafd.wait_idle(300)
    for image, word in (("dotdot", ".."), ("dotgit", ".git"), ("slash", "/"), ("through", "door")):
        assert word in target.failure(image), image
    target.check_unharmed()


@pytest.mark.timeout(300)
def test_links_out_of_the_context(farm):
    """An honest git tree whose links point outside: they are links in the image, and are never followed."""
    target = Target(farm)
    up = target.git.repo("links")
    up.commit({"Dockerfile": "FROM scratch\nCOPY etc/passwd /here/\nCOPY out /out\n", "etc": Link("/etc"),
               "out": Link(f"{target.canary}/x")})
    target.images["links"] = target.image(up)
    sheafd = target.start()
    sheafd.wait_idle(200)
    with open("/etc/passwd", encoding="utf-8") as f:
        secret = f.read()
    for job in sheafd.jobs("links"):
        assert secret not in sheafd.job_log(job["key"])
    assert target.registry.tags("osf/links") == [] or \
        target.registry.digest("osf/links", "latest") is not None and secret.encode() not in layers(target.registry, "osf/links")
    target.check_unharmed()


def layers(registry, repository):
    manifest, _ = registry.image(repository, "latest", "linux/amd64")
    return b"".join(gzip.decompress(registry.blob(repository, layer["digest"])) for layer in manifest["layers"])


def hostile_tar(target, what):
    """A tar with one thing that must not be."""
    t = shapes.TarMaker(compress=True)
    t.add("fine", b"fine\n")
    if what == "absolute":
        t.add(f"{target.canary}/absolute", b"escaped\n")
    elif what == "dotdot":
        t.add("../../../../../../../.." + target.canary + "/dotdot", b"escaped\n")
    elif what == "link":
        t.link("door", target.canary)
        t.add("door/link", b"escaped\n")
    elif what == "hard":
        t.hard("passwd", "/etc/passwd")
    elif what == "device":
        t.add("disk", kind=tarfile.BLKTYPE, device=(8, 0), mode=0o666)
    return t.bytes()


KINDS = ("absolute", "dotdot", "link", "hard", "device")


@pytest.mark.timeout(900)
def test_hostile_tars(farm):
    """As a root file system, and ADDed by a Dockerfile."""
    target = Target(farm)
    for kind in KINDS:
        data = hostile_tar(target, kind)
        up = target.git.repo(f"rootfs-{kind}")
        up.commit({"root.tar.gz": data, "make": Exec('#!/bin/sh\nbusybox gzip -dc root.tar.gz >"$1"\n')})
        target.images[f"rootfs-{kind}"] = target.image(up, rootfs='sh ./make "$SHEAF_ROOTFS"',
                                                       builder=f"{target.name}/base:latest")
        up = target.git.repo(f"add-{kind}")
        up.commit({"root.tar.gz": data, "Dockerfile": "FROM scratch\nADD root.tar.gz /\n"})
        target.images[f"add-{kind}"] = target.image(up)
    sheafd = target.start()
    sheafd.wait_idle(600)
    assert os.listdir(target.canary) == []
    for kind in ("absolute", "dotdot", "link", "hard"):
        # Kept inside (an absolute name is one below the root) or refused, with the name of what was wrong.
        track = sheafd.track(f"rootfs-{kind}")
        if track["state"] != "published":
            text = target.failure(f"rootfs-{kind}")
            assert any(word in text for word in (kind, "..", "passwd", "door", "absolute")), text
    assert sheafd.track("rootfs-dotdot")["state"] == "failed"
    for kind in KINDS:
        track = sheafd.track(f"add-{kind}")
        assert track["state"] in ("published", "failed"), track
        assert track["state"] == "published" or target.failure(f"add-{kind}").strip()
    target.check_unharmed()


@pytest.mark.timeout(900)
def test_ten_gibibytes_of_nothing(farm):
    """A sparse file of 10 GiB, in a tar and in a folder: the board's disk is not filled with it."""
    target = Target(farm)
    target.rootfs("sparse", 'busybox mkdir -p "$1" && busybox truncate -s 10G "$1/big"\n')
    sheafd = target.start()
    free = os.statvfs(farm.dir).f_bavail * os.statvfs(farm.dir).f_frsize
    sheafd.wait_idle(700)
    track = sheafd.track("sparse")
    if track["state"] != "published":
        assert "big" in target.failure("sparse") or "large" in target.failure("sparse"), target.failure("sparse")
    after = os.statvfs(farm.dir).f_bavail * os.statvfs(farm.dir).f_frsize
    assert free - after < 2 << 30
    target.check_unharmed()


@pytest.mark.timeout(300)
def test_a_dockerfile_of_one_line_of_5_mb(farm):
    target = Target(farm)
    up = target.git.repo("long")
    up.commit({"Dockerfile": "FROM scratch\nLABEL x=" + "y" * 5_000_000 + "\n"})
    target.images["long"] = target.image(up)
    sheafd = target.start()
    sheafd.wait_idle(200)
    text = target.failure("long")
    assert "Dockerfile" in text and len(text) < 4000
    with open(f"/proc/{sheafd.process.pid}/status", encoding="utf-8") as f:
        peak = next(int(line.split()[1]) for line in f if line.startswith("VmHWM"))
    assert peak < 200 * 1024
    target.check_unharmed()


@pytest.mark.timeout(900)
def test_a_hostile_recipe(farm):
    """It forks for ever, leaves mounts and daemons behind, posts to the coordinator, and looks for credentials."""
    target = Target(farm)
    target.rootfs("forks", "f() { f | f & }\nf\nwhile :; do f; done\n", timeout="15s")
    target.rootfs("mounts", 'for i in 1 2 3; do busybox mkdir -p /m$i; busybox mount -t tmpfs none /m$i; done\n'
                            '(busybox setsid sleep 1000 &) \n(busybox setsid sh -c "while :; do sleep 1; done" &)\n'
                            'busybox mount -o remount,rw / ; busybox mount --bind / /m1\n'
                            'busybox umount -l /proc; busybox mknod /disk b 8 0; echo x >/proc/sysrq-trigger\n'
                            'echo x >/proc/sys/kernel/hostname; busybox hostname hacked\nexit 7\n')
    target.rootfs("posts", 'for where in $PLACES; do for path in /v1/boards /v1/sources/poll /v1/tracks/base/rebuild; do\n'
                           '  echo "== $where$path"; busybox wget -q -O - --post-data "{\\"name\\":\\"evil\\"}" '
                           'http://$where$path && echo ACCEPTED; done; done\nexit 8\n')
    target.rootfs("looks", 'env; cat /proc/*/environ /proc/*/cmdline; busybox find / -xdev -name "*secret*" -o -xdev -name '
                           '"*password*" -o -xdev -name "lease.json"; cat /root/.docker/config.json /run/*/auth.json; '
                           f'cat {farm.dir}/password {farm.dir}/*/password {farm.dir}/*.secret; busybox ls {farm.dir}\nexit 9\n')
    # The ports are known only when the coordinator is there; the recipe gets them as a build argument.
    hostname = os.uname().nodename
    sheafd = farm.coordinator({"registry": target.name, "platforms": ["linux/amd64"], "images": {}}, start=False)
    target.images["posts"]["args"] = {"PLACES": f"127.0.0.1:{sheafd.status_port} 127.0.0.1:{sheafd.agents_port}"}
    sheafd.configure({"registry": target.name, "platforms": ["linux/amd64"], "images": target.images,
                      "registries": {target.registry.host: {"username": "sheaf", "password-file": farm.path("password")}}})
    sheafd.start()
    target.sheafd, target.agent = sheafd, farm.agent(sheafd, "board", slots=1)
    target.before = target.listing()
    sheafd.wait_idle(800)

    def job(image):
        return sheafd.job(sheafd.track(image)["cells"][0]["job"])

    assert job("forks")["kind"] in ("timeout", "recipe") and target.failure("forks")
    assert "7" in target.failure("mounts")
    assert os.uname().nodename == hostname
    log = sheafd.job_log(job("posts")["key"])
    assert "== 127.0.0.1" in log and "ACCEPTED" not in log
    assert [b["name"] for b in sheafd.get("/v1/boards")["boards"]] == ["board"]
    log = sheafd.job_log(job("looks")["key"])
    with open(target.agent.secret, encoding="utf-8") as f:
        secret = f.read().strip()
    assert PASSWORD not in log and secret not in log and "lease.json" not in log
    target.check_unharmed()
    for mode in (os.stat(target.agent.secret).st_mode, os.stat(farm.path("password")).st_mode):
        assert stat.S_IMODE(mode) == 0o600
