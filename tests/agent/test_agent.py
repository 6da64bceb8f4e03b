"""sheaf-agent against a coordinator that is a test's own, with a helper that is a test's own."""
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import pytest
from coordinator import Coordinator
from procs import Process, free_port, wait_for

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.environ.get("SHEAF_BUILD") or next(
    (b for b in (f"{ROOT}/build/gcc", f"{ROOT}/build/dev") if os.path.isdir(b)), f"{ROOT}/build/gcc")
AGENT = f"{BUILD}/agent/sheaf-agent"
SANITIZERS = {"libasan", "libubsan"}

pytestmark = [pytest.mark.quick, pytest.mark.timeout(60)]


class Board:
    """An agent in a folder of its own, and the coordinator that it talks to."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="sheaf-test.agent.", dir="/var/tmp")
        self.state, self.secret = f"{self.dir}/state", f"{self.dir}/secret"
        self.write_secret("board-secret\n", 0o600)
        self.coordinator = Coordinator(free_port())
        self.env = {"SHEAF_JOB": f"{HERE}/fake_job.py"}
        self.process, self.starts = None, 0

    def write_secret(self, text, mode):
        with open(self.secret, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(self.secret, mode)

    def command(self, *args):
        return [AGENT, "--coordinator", f"http://127.0.0.1:{self.coordinator.port}/", "--secret-file", self.secret,
                "--state", self.state, "--log-level", "debug", *args]

    def start(self, *args, wait=True):
        self.starts += 1
        joins = len(self.coordinator.joins)
        if wait and not self.coordinator.server:
            self.coordinator.start()
        self.process = Process("sheaf-agent", self.command(*args), f"{self.dir}/agent.{self.starts}.log", env=self.env)
        if wait:
            self.coordinator.wait(lambda: len(self.coordinator.joins) > joins, what=f"a session\n{self.process.output()}")
        return self.coordinator

    def run(self, *args):
        """An agent that is expected to end by itself."""
        return subprocess.run(list(args), capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
                              env={**os.environ, **self.env}, check=False)

    def jobs(self):
        return os.listdir(f"{self.state}/jobs")

    def memory(self, name):
        with open(f"/proc/{self.process.pid}/status", encoding="utf-8") as f:
            return next(int(line.split()[1]) for line in f if line.startswith(f"{name}:"))

    def end(self):
        if self.process:
            if self.process.child.poll() is None:
                self.process.stop()
            print(self.process.output())
        self.coordinator.stop()
        shutil.rmtree(self.dir, ignore_errors=True)


def needed():
    """The libraries that the agent is linked with."""
    done = subprocess.run(["readelf", "-d", AGENT], capture_output=True, text=True, timeout=60, check=True)
    return {line.split("[")[1].split(".so")[0] for line in done.stdout.splitlines() if "(NEEDED)" in line}


@pytest.fixture
def board():
    board = Board()
    yield board
    board.end()


def test_a_lease_its_log_and_its_result(board):
    c = board.start("--slots", "2", "--label", "slow", "--label", "sd-card")
    facts = c.joins[0]["facts"]
    assert facts["slots"] == 2 and facts["labels"] == ["slow", "sd-card"] and facts["emulated"] == []
    c.grant("L1", "echo out; echo err >&2; sleep 0.5; echo end")
    result = c.result("L1")
    assert c.log("L1") == b"out\nerr\nend\n"
    assert (result["outcome"], result["epoch"], result["log_size"]) == ("succeeded", 1, 12)
    wait_for(lambda: not board.jobs(), 5, "the lease's folder removed")
    c.wait(lambda: any(h["state"] == "running" for p in c.polls for h in p["held"]))
    assert c.polls[-1]["free"] == 2
    assert all(p["disk_free"] > 0 and p["memory_free"] > 0 and not p["draining"] for p in c.polls)
    assert not c.wrong


def test_two_slots_are_two_jobs(board):
    c = board.start("--slots", "2")
    for i in range(4):
        c.grant(f"L{i}", f"echo $$ > ../../{i}; while [ ! -e ../../go ]; do sleep 0.05; done")
    wait_for(lambda: len([n for n in os.listdir(board.state) if n.isdigit()]) == 2, 10)
    time.sleep(0.5)
    assert len([n for n in os.listdir(board.state) if n.isdigit()]) == 2
    with open(f"{board.state}/go", "w", encoding="utf-8"):
        pass
    for i in range(4):
        assert c.result(f"L{i}")["outcome"] == "succeeded"


def test_a_failing_recipe_and_no_result(board):
    c = board.start()
    c.grant("L1", "echo broken; exit 3")
    assert c.result("L1")["kind"] == "recipe"
    c.grant("L2", "exit 77")
    result = c.result("L2")
    assert (result["outcome"], result["kind"]) == ("failed", "infra")
    assert "status 5 without a result" in result["reason"]
    assert b"without a result" in c.log("L2")
    c.grant("L3", "kill -9 $PPID; sleep 5")
    assert "signal 9" in c.result("L3")["reason"]


def test_coordinator_away_in_the_middle_of_a_job(board):
    c = board.start()
    c.grant("L1", "echo one; while [ ! -e ../../go ]; do sleep 0.05; done; echo two; echo three")
    c.wait(lambda: c.log("L1") == b"one\n")
    c.stop()
    with open(f"{board.state}/go", "w", encoding="utf-8"):
        pass
    wait_for(lambda: os.path.exists(f"{board.state}/jobs/L1/result.json"), 10)
    time.sleep(0.5)
    del c.logs["L1"][2:]  # what the coordinator had not made durable is gone
    c.start()
    result = c.result("L1")
    assert result["outcome"] == "succeeded" and result["log_size"] == 14
    assert c.log("L1") == b"one\ntwo\nthree\n"
    assert c.joins[-1]["held"] == [{"lease": "L1", "epoch": 1, "state": "finished"}]
    assert c.joins[0]["boot"] == c.joins[-1]["boot"]
    c.grant("L2", "true")
    assert c.result("L2")["outcome"] == "succeeded"


def test_started_before_its_coordinator(board):
    board.start(wait=False)
    time.sleep(1)
    board.coordinator.start()
    board.coordinator.grant("L1", "true")
    assert board.coordinator.result("L1")["outcome"] == "succeeded"


def test_an_unknown_session_is_renewed(board):
    c = board.start()
    c.grant("L1", "while [ ! -e ../../go ]; do sleep 0.05; done")
    c.wait(lambda: any(p["held"] for p in c.polls))
    c.forget()
    c.wait(lambda: len(c.joins) == 2)
    assert c.joins[1]["held"] == [{"lease": "L1", "epoch": 1, "state": "running"}]
    c.wait(lambda: c.polls[-1]["session"] == "S2")
    with open(f"{board.state}/go", "w", encoding="utf-8"):
        pass
    assert c.result("L1")["outcome"] == "succeeded"


def test_cancel(board):
    c = board.start("--kill-after", "1")
    c.grant("L1", "echo begun; sleep 60")
    c.wait(lambda: c.log("L1"))
    c.cancel("L1")
    assert c.result("L1", 5)["outcome"] == "cancelled"
    assert b"sheaf-agent" not in c.log("L1")  # it was the helper that said so
    c.grant("L2", "kill -STOP $PPID; echo begun; sleep 60")  # the helper cannot hear
    c.wait(lambda: c.log("L2"))
    c.cancel("L2")
    result = c.result("L2", 10)
    assert (result["outcome"], result["kind"]) == ("cancelled", None)
    assert b"[sheaf-agent: cancelled]" in c.log("L2")


def test_a_doubled_answer_starts_one_job(board):
    c = board.start("--slots", "3")
    c.repeat = True
    c.grant("L1", "echo x >> ../../ran; sleep 0.5")
    assert c.result("L1")["outcome"] == "succeeded"
    c.grants.append(c.leases["L1"])  # and once more when it is over
    c.grant("L2", "true")
    c.result("L2")
    with open(f"{board.state}/ran", encoding="utf-8") as f:
        assert f.read() == "x\n"
    assert not board.jobs() or board.jobs() == ["L2"]


@pytest.mark.parametrize("wrote", [False, True])
def test_killed_and_restarted(board, wrote):
    c = board.start()
    c.grant("L1", "mkdir work; echo begun; echo $$ > ../../pid; exec sleep 60")
    c.wait(lambda: c.log("L1") == b"begun\n")
    with open(f"{board.state}/pid", encoding="utf-8") as f:
        pid = int(f.read())
    board.process.kill()
    wait_for(lambda: os.path.exists(f"{board.state}/jobs/L1/result.json"), 5, "the helper ended with its agent")
    wait_for(lambda: not os.path.exists(f"/proc/{pid}/exe"), 5, "the job gone with its agent")  # a zombie has none
    if not wrote:  # as if the helper had died at once
        os.unlink(f"{board.state}/jobs/L1/result.json")
    begun = time.monotonic()
    board.start()
    result = c.result("L1")
    assert time.monotonic() - begun < 3
    assert (result["outcome"], result["kind"], result["epoch"]) == ("lost", None, 1)
    assert c.joins[-1]["held"] == [{"lease": "L1", "epoch": 1, "state": "finished"}]
    assert c.log("L1").startswith(b"begun\n") and (wrote or b"[sheaf-agent: the agent was restarted" in c.log("L1"))
    wait_for(lambda: not board.jobs() and not os.listdir(f"{board.state}/trash/jobs"), 5, "all swept")
    assert c.joins[0]["boot"] != c.joins[-1]["boot"]


def test_a_finished_result_survives_the_agent(board):
    c = board.start()
    c.result_status = 503
    c.grant("L1", "echo hello")
    c.wait(lambda: c.results)
    board.process.kill()
    c.results.clear()
    c.result_status = 200
    board.start()
    assert c.result("L1")["outcome"] == "succeeded"
    assert c.log("L1") == b"hello\n"
    wait_for(lambda: not board.jobs(), 5)


def test_stopped_jobs_are_lost_not_cancelled(board):
    c = board.start()
    c.grant("L1", "echo begun; sleep 60")
    c.wait(lambda: c.log("L1"))
    assert board.process.stop() == 0
    result = c.result("L1", 1)
    assert (result["outcome"], result["reason"]) == ("lost", "the agent ended while the job ran")
    assert not board.jobs()


def test_stop_while_the_coordinator_is_away(board):
    c = board.start()
    c.grant("L1", "echo begun; sleep 60")
    c.wait(lambda: c.log("L1"))
    c.stop()
    begun = time.monotonic()
    assert board.process.stop() == 0
    assert time.monotonic() - begun < 10
    board.start()
    assert c.result("L1")["outcome"] == "lost"


def test_draining(board):
    c = board.start("--slots", "2")
    c.grant("L1", "while [ ! -e ../../go ]; do sleep 0.05; done")
    c.wait(lambda: any(p["held"] for p in c.polls))
    os.kill(board.process.pid, signal.SIGUSR1)
    c.wait(lambda: c.polls[-1]["draining"] and c.polls[-1]["free"] == 0)
    c.grant("L2", "true")
    with open(f"{board.state}/go", "w", encoding="utf-8"):
        pass
    assert c.result("L1")["outcome"] == "succeeded"
    assert not [n for n, _ in c.results if n == "L2"]
    os.kill(board.process.pid, signal.SIGUSR2)
    assert c.result("L2")["outcome"] == "succeeded"


def test_a_result_that_is_not_wanted_is_dropped(board):
    c = board.start()
    c.result_status = 409
    c.grant("L1", "true")
    c.result("L1")
    wait_for(lambda: not board.jobs(), 5)
    c.result_status = 400  # malformed: told as a failure, then given up
    c.grant("L2", "true")
    wait_for(lambda: len([n for n, _ in c.results if n == "L2"]) == 2, 5)
    assert [r["outcome"] for n, r in c.results if n == "L2"] == ["succeeded", "failed"]
    wait_for(lambda: not board.jobs(), 5)


def test_answers_that_are_none(board):
    board.coordinator.poll_ms = 200
    c = board.start()
    c.garbage = True
    c.grant("L1", "true")
    c.wait(lambda: len(c.polls) > 3)
    c.garbage = False
    c.grant("L2", "true")
    assert c.result("L2")["outcome"] == "succeeded"
    board.process.check()


@pytest.mark.timeout(120)
def test_fifty_megabytes_of_log_in_flat_memory(board):
    c = board.start()
    c.grant("L0", "echo warm")
    c.result("L0")
    before = board.memory("VmRSS")
    line = b"0123456789abcdef" * 4 + b"\n"
    n = 50 * 1024 * 1024 // len(line)
    c.grant("L1", f"yes {line.decode().strip()} | head -n {n}")
    result = c.result("L1", 60)
    assert result["outcome"] == "succeeded"
    assert result["log_size"] == n * len(line) == len(c.logs["L1"])
    assert hashlib.sha256(c.logs["L1"]).digest() == hashlib.sha256(line * n).digest()
    grown = board.memory("VmHWM") - before
    print(f"{len(c.patches)} pieces; the agent grew by {grown} kB")
    assert grown < 2048 or needed() & SANITIZERS


def test_a_log_has_a_limit(board):
    c = board.start("--log-limit", "1M")
    c.grant("L1", "yes | head -c 5000000; echo done >&2")
    result = c.result("L1")
    assert result["outcome"] == "succeeded" and result["log_size"] <= 1 << 20
    assert c.log("L1").endswith(b"[sheaf-agent: the log has reached 1048576 bytes; the rest is dropped]\n")


def test_emulation_only_as_told(board):
    c = board.start("--emulated", "linux/arm/v7", "--name", "here")
    assert c.joins[0]["facts"]["emulated"] == ["linux/arm/v7"]
    board.process.stop()
    board.start("--emulated", "--slots=2")
    assert c.joins[1]["facts"]["emulated"] == ["linux/arm64", "linux/arm/v7"]


def test_facts_that_cannot_be_had(board):
    board.env["FAKE_FACTS"] = "nonsense"
    c = board.start()
    facts = c.joins[0]["facts"]
    assert facts["platforms"] == [] and facts["kinds"] == [] and facts["machine"] == os.uname().machine
    assert "this board offers nothing" in board.process.output()


def test_secrets_are_private(board):
    board.write_secret("board-secret", 0o644)
    done = board.run(*board.command())
    assert done.returncode == 1 and "chmod 0600" in done.stderr
    board.write_secret("", 0o600)
    assert "empty" in board.run(*board.command()).stderr
    board.write_secret("two words", 0o600)
    assert "one word" in board.run(*board.command()).stderr


def test_one_settings_file(board):
    path = f"{board.dir}/agent.conf"

    def write(text, mode=0o600):
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(path, mode)

    whole = (f"# a board\ncoordinator = http://127.0.0.1:{board.coordinator.port}\nsecret = board-secret\n"
             f"slots = 3\nlabels = slow, wet\nstate = {board.state}\n")
    write(whole, 0o640)
    done = board.run(AGENT, "--config", path)
    assert done.returncode == 1 and f"{path}:3: secret" in done.stderr
    write(whole + "colour = red\n")
    assert f'{path}:7: unknown setting "colour"' in board.run(AGENT, "--config", path).stderr
    write("slots = 3\n")
    assert "no coordinator" in board.run(AGENT, "--config", path).stderr
    write(whole)
    board.command = lambda *args: [AGENT, "--config", path, *args]
    c = board.start("--slots", "4")
    assert c.joins[0]["facts"]["slots"] == 4 and c.joins[0]["facts"]["labels"] == ["slow", "wet"]


@pytest.mark.parametrize("args,says", [
    (["--slots", "0"], "--slots"), (["--slots"], "wants a value"), (["--colour", "red"], "unknown option"),
    (["--coordinator", "127.0.0.1"], "not an address"), (["--emulated", "vax"], "linux/arm/v7"),
    (["--secret", "x"], "--secret-file"), (["--log-limit", "9999999999999T"], "not a number"), (["x"], "unexpected")])
def test_wrong_arguments(board, args, says):
    done = board.run(*board.command(*args))
    assert done.returncode == 1 and says in done.stderr and len(done.stderr.splitlines()) == 1


def test_one_agent_a_state_folder(board):
    board.start()
    done = board.run(*board.command())
    assert done.returncode == 1 and "in use by another" in done.stderr


def test_what_systemd_hears(board):
    path = f"{board.dir}/notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(path)
        s.settimeout(10)
        board.env.update(NOTIFY_SOCKET=path, WATCHDOG_USEC="400000")
        c = board.start()
        c.grant("L1", "echo ${NOTIFY_SOCKET-none}")
        c.result("L1")
        assert c.log("L1") == b"none\n"
        heard = []
        while "WATCHDOG=1" not in heard:
            heard.append(s.recv(4096).decode())
        board.process.stop()
        s.settimeout(0.2)
        try:
            while True:
                heard.append(s.recv(4096).decode())
        except TimeoutError:
            pass
    assert "READY=1" in heard and "WATCHDOG=1" in heard and "STOPPING=1" in heard
    assert any("as board" in h or "connected to" in h for h in heard)


def test_nothing_is_linked_that_is_not_needed():
    assert needed() <= {"libjansson", "libcurl-gnutls", "libcurl", "libuv", "libc", "libpthread", *SANITIZERS}
