"""The farm on which short forms of the model's histories run: base <- mid <- top, extra; and alone."""
import contextlib
import hashlib
import json
import os
import sqlite3

import oci
from farm import UNSETTLED
from gitserver import ENV
from procs import Failed, run, wait_for
from registry_proxy import RegistryProxy

PLATFORM = "linux/amd64"
ROOT = "refs/heads/root"
# image: (source, what its Dockerfile begins with, ref, tags)
IMAGES = {
    "base": ("base", "scratch", "refs/tags/v*", ["$version", "latest"]),
    "mid": ("rest", "base", "refs/heads/master", ["latest"]),
    "top": ("rest", "mid", "refs/heads/master", ["latest"]),
    "alone": ("alone", "scratch", "refs/heads/v*", ["$version", "latest"]),
    "extra": ("alone", "base", "refs/heads/master", ["latest"]),
}


class Source:
    """An upstream whose commits are numbered: a file in each image's folder, and in the image, has the number."""

    def __init__(self, world, git, name):
        self.world, self.up, self.away = world, git.repo(name), False
        self.images = [i for i, (source, *_) in IMAGES.items() if source == name]

    def head(self, ref):
        return self.up.head(ref)

    def files(self):
        number = self.world.next_number()
        files = {"README": f"{number}\n"}
        for image in self.images:
            base = IMAGES[image][1]
            base = base if base == "scratch" else f"{self.world.name}/{base}"
            files[f"{image}/Dockerfile"] = f"FROM {base}\nCOPY number /{image}\n"
            files[f"{image}/number"] = f"{number}\n"
        return files

    def put(self, ref, parent, files):
        """A commit on top of `parent`, None for none, to which the ref then moves."""
        if parent:
            self.up.git("update-ref", "refs/heads/tmp", parent)
        commit = self.up.commit(files, branch="tmp")
        self.up.git("update-ref", ref, commit)
        self.up.delete("refs/heads/tmp")

    def number(self, image, ref):
        """What the image is to have at a ref; None where there is no such ref."""
        return self.up.git("show", f"{ref}:{image}/number", check=False).strip() or None

    def commits(self, ref):
        return self.up.git("rev-list", ref).split() if self.head(ref) else []

    def is_emptied(self):
        """Whether no ref is left that an image follows: taken for a broken upstream, whose tracks stay as they are."""
        return not any(self.up.git("for-each-ref", IMAGES[i][2]).strip() for i in self.images if i in self.world.present)

    def move(self, away):
        if away != self.away:
            path = self.up.path + ".away" if away else self.up.path.removesuffix(".away")
            os.rename(self.up.path, path)
            self.up.path, self.away = path, away


class World:
    def __init__(self, farm):
        self.farm, self.counter, self.registry_away = farm, 0, False
        self.registry = farm.registry()
        self.proxy = farm.add(RegistryProxy(self.registry))
        self.name = f"{self.proxy.host}/osf"
        git = farm.git()
        self.sources = {n: Source(self, git, n) for n in ("base", "rest", "alone")}
        for source, ref in (("base", "refs/tags/v1.0.0"), ("base", "refs/tags/v1.0.1"), ("rest", "refs/heads/master"),
                            ("alone", "refs/heads/master"), ("alone", "refs/heads/v3.19")):
            s = self.sources[source]
            s.put(ref, s.head(ROOT), s.files())
            s.up.git("update-ref", ROOT, ref)
        self.present = ["base", "mid", "top", "alone"]
        self.sheafd = farm.coordinator(self.config())
        self.boards = [farm.agent(self.sheafd, name) for name in ("one", "two")]
        self.held, self.touched = {}, set()
        self.sheafd.wait_idle(100)

    def next_number(self):
        self.counter += 1
        return self.counter

    def config(self):
        images = {}
        for image in self.present:
            source, _, ref, tags = IMAGES[image]
            images[image] = {"source": self.sources[source].up.url, "ref": ref, "context": image, "tags": tags}
        return {"registry": self.name, "platforms": [PLATFORM], "poll": "1h", "images": images}

    # ---- what is where ----

    def is_up(self, board):
        return board.process.child.poll() is None

    def anything_away(self):
        return self.registry_away or any(s.away for s in self.sources.values()) or not all(map(self.is_up, self.boards))

    def set_registry(self, away):
        if away != self.registry_away:
            (self.registry.stop if away else self.registry.start)()
            self.registry_away = away

    def content(self, image, tag, of=None):
        """The number that an image has; with `of`, that of the image below it."""
        return (oci.file_content(self.registry, f"osf/{image}", tag, PLATFORM, of or image) or b"").decode().strip()

    def poll(self, *sources):
        """Looks at those that an image of farm.yaml has."""
        watched = {s["url"] for s in self.sheafd.get("/v1/sources")["sources"]}
        self.sheafd.poll(*(s.up for s in sources if s.up.url in watched))

    # ---- coming to rest ----

    def try_idle(self, seconds):
        try:
            wait_for(self.sheafd.idle, seconds, every=0.2)
        except Failed:
            pass

    def rest(self):
        """Nothing is away any more, and the farm has looked at everything as often as it takes."""
        self.set_registry(away=False)
        for board in self.boards:
            if not self.is_up(board):
                board.start()
        for source in self.sources.values():
            source.move(away=False)
        for _ in range(3):
            self.poll(*self.sources.values())
        for id, track in self.sheafd.tracks().items():
            if track["state"] in UNSETTLED:
                self.sheafd.ctl("retry", id, check=False)
        self.sheafd.wait_idle(120)
        emptied = {s.up.url for s in self.sources.values() if s.is_emptied()}
        wrong = [s for s in self.sheafd.get("/v1/sources")["sources"] if (s["state"] == "ok") == (s["url"] in emptied)]
        assert not wrong, wrong

    def release(self):
        """Whatever a person has decided is taken back."""
        self.sheafd.ctl("thaw")
        for id, track in self.sheafd.tracks().items():
            self.touch(id)
            undo = {"held": "release", "retired": "wake", "cancelled": "retry"}.get(track["state"])
            for undo in dict.fromkeys(["release"] * track["held"] + [undo] * bool(undo)):
                print(f"{undo} {id}:", self.sheafd.ctl(undo, id, check=False).stdout.strip(), flush=True)

    def touch(self, track):
        """A person decides something of this track; its tags, and those that others have of it, may move."""
        image = track.partition("@")[0]
        self.touched.add(image)
        self.held = {t: tags for t, tags in self.held.items() if not t.startswith(image + "@")}

    # ---- what must hold ----

    def check_tags(self):
        """Invariant 2: what a tag names is whole."""
        if self.registry_away:
            return
        for image in IMAGES:
            repository = f"osf/{image}"
            for tag in self.registry.public_tags(repository):
                found = self.registry.raw(repository, tag)
                assert found, f"{image}:{tag} names nothing"
                document = json.loads(found[0])
                if "manifests" in document:
                    children = self.registry.children(repository, tag)
                    assert list(children) == [PLATFORM], (image, tag, children)
                    found = self.registry.raw(repository, children[PLATFORM]["digest"])
                    assert found, f"{image}:{tag}: its child is not there"
                    document = json.loads(found[0])
                for blob in [document["config"], *document["layers"]]:
                    self.registry.blob(repository, blob["digest"])

    def check_held(self):
        """Invariant 10: the tags of what is held stay where they are."""
        tracks = self.sheafd.tracks()
        if self.registry_away:
            return
        tags = {id: {t: self.registry.digest(f"osf/{track['image']}", t) for t in track["owned"]}
                for id, track in tracks.items() if track["state"] == "held"}
        for id, before in self.held.items():
            now = {t: self.registry.digest(f"osf/{id.partition('@')[0]}", t) for t in before}
            assert now == before, f"{id} is held, and its tags have moved"
        self.held = {**{id: t for id, t in self.held.items() if id in tracks}, **tags}

    def check_states(self):
        """Invariant 11: every track has come to rest, and says where and why."""
        for id, track in self.sheafd.tracks().items():
            assert track["state"] not in UNSETTLED, (id, track)
            reason = track["reason"]
            assert track["state"] == "published" or (reason and reason["code"] and reason["text"]), (id, track)

    def check_below(self):
        """What stands on another image stands on what that one's tag names."""
        for image in self.present:
            below = IMAGES[image][1]
            track = self.sheafd.track(image) if below != "scratch" else None
            if track and track["state"] == "published" and "latest" in track["owned"]:
                assert self.content(image, "latest", below) == self.content(below, "latest"), f"{image} on {below}"

    def check_newest(self, but=()):
        """Each track is what upstream's newest state gives; but those of images that people have decided about."""
        for id, track in self.sheafd.tracks().items():
            image = track["image"]
            source, ref = self.sources[IMAGES[image][0]], track["ref"]
            if image in but or source.is_emptied():
                continue
            if not source.head(ref):
                assert track["state"] in ("deleted", "dormant", "retired"), (id, track)
                continue
            assert track["state"] in ("published", "dormant"), (id, track)
            if track["state"] == "dormant":
                continue
            assert track["commit"] == source.head(ref), (id, source.head(ref), track)
            for tag in track["owned"]:
                assert self.registry.digest(f"osf/{image}", tag) == track["publication"]["digest"], (id, tag)
                has, gives = self.content(image, tag), source.number(image, ref)
                assert has == gives, f"{id}: {tag} has commit {has}, upstream gives {gives}"
        self.check_owners()

    def check_owners(self):
        """Each tag has one owner; every ref's own tag is its track's."""
        owners = {}
        for id, track in self.sheafd.tracks().items():
            for tag in track["owned"]:
                assert owners.setdefault((track["image"], tag), id) == id, f"{tag} of {id} is another's as well"
            if track["state"] == "published":
                assert track["owned"], f"{id} is published and has no tag: {track}"

    def decided(self):
        """What a farm at rest has decided."""
        builds = [(b["id"], b["state"]) for b in self.sheafd.builds()]
        return builds, {id: t["publication"] for id, t in self.sheafd.tracks().items()}, len(self.puts(kept=False))

    def puts(self, kept):
        """What was PUT under tags: retention tags, or those of people."""
        return [p for p in list(self.proxy.tag_puts) if p[1].startswith("_sheaf") == kept]

    def check_restart(self, kill):
        """Invariant 3: starting again decides nothing. What no track waits for, as what is built of a held one, may be kept
        only then; nothing is kept again."""
        before, kept = self.decided(), self.puts(kept=True)
        if kill:
            self.sheafd.kill()
        else:
            self.sheafd.stop()
            self.check_generations()
        self.sheafd.start()
        self.poll(*self.sources.values())
        self.sheafd.wait_idle(60)
        changed = [(was, now) for was, now in zip(before, self.decided()) if was != now]
        assert not changed, f"a start has decided something: {changed}"
        last = {(repository, tag): body for repository, tag, body in kept}
        again = [p[:2] for p in self.puts(kept=True)[len(kept):] if last.get(p[:2]) == p[2]]
        assert not again, f"a start has PUT again what is there: {again}"

    def check_generations(self):
        """Invariant 1, of a stopped coordinator's store: the PUTs of a tag have generations that do not fall. A digest
        may have been published more than once."""
        with contextlib.closing(sqlite3.connect(os.path.join(self.sheafd.state, "sheaf.db"))) as db:
            rows = db.execute("SELECT repository, digest, generation FROM publication UNION ALL "
                              "SELECT repository, digest, generation FROM past_publication").fetchall()
        known, last = {}, {}
        for repository, digest, generation in rows:
            known.setdefault((repository.rpartition("/")[2], digest), []).append(generation)
        for repository, tag, body in list(self.proxy.tag_puts):
            image = repository.rpartition("/")[2]
            generations = known.get((image, "sha256:" + hashlib.sha256(body).hexdigest()))
            if tag.startswith("_sheaf") or not generations:
                continue
            at = last.get((image, tag), 0)
            assert max(generations) >= at, f"{image}:{tag} falls from generation {at} to {generations}"
            last[image, tag] = min(g for g in generations if g >= at)


def short_history(program, seed, steps):
    """The steps of a seed, as the model's generator gives them."""
    said = run([program, "--seed", str(seed), "--short", str(steps)], env={**os.environ, **ENV}).stdout
    return [json.loads(line) for line in said.splitlines()]
