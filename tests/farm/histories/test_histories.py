"""The short forms of the model's random histories, once on a real farm. SHEAF_HISTORY_SEED=N runs another one."""
import os

import pytest
from farm import BUILD
from history_world import ROOT, World, short_history

PROGRAM = f"{BUILD}/tests/model/model-histories"
pytestmark = [pytest.mark.root, pytest.mark.slow,
              pytest.mark.skipif(not os.path.exists(PROGRAM), reason="model-histories is not built")]

STEPS = 18
# Together they have every kind of step, as the last test sees to.
SEEDS = [7, 231, 696, 1204, 1473]
ANOTHER = os.environ.get("SHEAF_HISTORY_SEED")
COMMANDS = {"rebuild", "cancel", "audit", "hold", "release", "freeze", "thaw", "pin", "rollback", "promote", "retry",
            "retire", "wake"}


class Steps:
    """What each kind of step does; the numbers make sense in whatever state the farm is."""

    def __init__(self, world):
        self.w = world

    def do(self, step):
        name = step["do"].replace("-", "_")
        (self.command if step["do"] in COMMANDS else getattr(self, name))(step)

    # ---- upstream ----

    def push(self, step):
        s = self.w.sources[step["source"]]
        parent = s.head(step["ref"]) or s.head(ROOT)
        files = s.files()
        s.put(step["ref"], parent, files if step["changed"] else {"README": files["README"]})

    def force(self, step):
        s = self.w.sources[step["source"]]
        commits = s.commits(step["ref"])
        s.put(step["ref"], commits[1] if len(commits) > 1 and step["number"] % 4 else None, s.files())

    def old(self, step):
        """One of the commits behind a ref."""
        commits = self.w.sources[step["source"]].commits(step["ref"])
        return commits[step["number"] % len(commits)] if commits else None

    def revert(self, step):
        s, old = self.w.sources[step["source"]], self.old(step)
        if old:
            s.put(step["ref"], s.head(step["ref"]), {f"{i}/number": s.number(i, old) + "\n" for i in s.images})

    def rewind(self, step):
        if self.old(step):
            self.w.sources[step["source"]].up.git("update-ref", step["ref"], self.old(step))

    def delete(self, step):
        if self.w.sources[step["source"]].head(step["ref"]):
            self.w.sources[step["source"]].up.delete(step["ref"])

    def source_away(self, step):
        s = self.w.sources[step["source"]]
        s.move(not s.away)

    def poll(self, step):
        self.w.poll(self.w.sources[step["source"]])
        if step.get("rest"):
            self.w.try_idle(2 if self.w.anything_away() else 20)

    # ---- registry, boards, coordinator ----

    def registry_away(self, _):
        self.w.set_registry(not self.w.registry_away)

    def collect(self, _):
        if not self.w.registry_away:
            self.w.registry.collect()

    def board_power(self, step):
        board = self.w.boards[step["board"]]
        (board.kill if self.w.is_up(board) else board.start)()

    def board_restart(self, step):
        self.w.boards[step["board"]].stop()
        self.board_start(step)

    def board_start(self, step):
        board = self.w.boards[step["board"]]
        if not self.w.is_up(board):
            board.start()

    def crash(self, _):
        self.w.sheafd.kill()
        self.w.sheafd.start()

    def reload(self, step):
        """An image is taken out, or added."""
        w, image = self.w, step["image"]
        if image in w.present:
            w.present.remove(image)
        else:
            w.present.append(image)
        w.sheafd.configure(w.config())
        w.sheafd.reload()
        w.sheafd.wait(lambda: {i["name"] for i in w.sheafd.get("/v1/images")["images"]} == set(w.present), 30, "reload")

    # ---- commands ----

    def command(self, step):
        w, name = self.w, step["do"]
        tracks = sorted(w.sheafd.tracks())
        track, args = tracks[step["track"] % len(tracks)], []
        if name in ("freeze", "thaw", "audit"):
            for t in tracks:
                w.touch(t)
        else:
            w.touch(track)
            args = [track]
        if name == "pin":
            publications = w.sheafd.track(track)["publications"]
            if not publications:
                return
            args.append(str(publications[step["number"] % len(publications)]["id"]))
        if name == "cancel":
            args = [str(w.sheafd.track(track)["build"])]
        if name == "rebuild":
            args += (["--with-dependents"] if step["dependents"] else []) + ([] if step["cache"] else ["--no-cache"])
        done = w.sheafd.ctl(name, *args, check=False)
        print("   ", name, *args, (done.stdout + done.stderr).strip(), flush=True)
        assert done.returncode in (0, 1, 3), done  # 1: not as things are


@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [int(ANOTHER)] if ANOTHER else SEEDS)
def test_a_short_history(farm, seed):
    w = World(farm)
    steps = Steps(w)
    for step in short_history(PROGRAM, seed, STEPS):
        print(step, flush=True)
        steps.do(step)
        w.check_tags()
        w.check_held()
    # What people have decided is still so.
    w.rest()
    w.check_tags()
    w.check_held()
    w.check_states()
    w.check_below()
    w.check_newest(but=w.touched)
    w.check_restart(kill=True)
    # And then it is taken back.
    w.release()
    w.rest()
    w.check_tags()
    w.check_states()
    w.check_below()
    w.check_newest()
    w.check_restart(kill=False)


def test_every_kind_of_step():
    """Where a new kind has changed what the seeds mean: find other ones."""
    kinds = {step["do"].replace("-", "_") for seed in SEEDS for step in short_history(PROGRAM, seed, STEPS)}
    assert kinds == COMMANDS | {k for k in vars(Steps) if k not in ("do", "command", "old") and not k.startswith("_")}
