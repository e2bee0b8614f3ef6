"""Locks between real processes, with and without support by the file system."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import textwrap

import pytest
from helpers import ROOT

from ganimation_jax.files import lock

# Holds a folder until it is killed, or its stdin is closed; flock fails if asked to.
HOLDER = textwrap.dedent(
    """
    import errno, fcntl, sys
    from pathlib import Path
    from ganimation_jax.files import lock
    lock.BEAT, lock.DEAD = 0.2, 1.5
    def refuse(*args):
        raise OSError(errno.ENOLCK, "No locks available")
    if sys.argv[3] == "nfs":
        fcntl.flock = refuse
    try:
        with lock.hold(Path(sys.argv[1]), sys.argv[2]):
            print("held", flush=True)
            sys.stdin.read()
    except BlockingIOError as error:
        print(error, flush=True)
    """
)


@pytest.fixture(params=["local", "nfs"])
def kind(request):
    return request.param


@pytest.fixture
def holder(tmp_path, kind):
    """Starts programs that want ``tmp_path``; the first line that each prints is waited for."""
    processes = []

    def start(part="", wait=True):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(tmp_path), part, kind],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return (process, process.stdout.readline().strip()) if wait else process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_the_second_is_refused_and_told_who_the_first_is(holder, tmp_path):
    first, said = holder()
    assert said == "held"
    _, said = holder()
    assert said.startswith(f"another run is at work in {tmp_path} (process {first.pid} on ")
    first.communicate()  # ends it in peace
    assert holder()[1] == "held"


def test_a_killed_holder_locks_nobody_out(holder):
    first, _ = holder()
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert holder()[1] == "held"


def test_a_stopped_holder_is_alive_where_the_system_knows(holder, kind):
    first, _ = holder()
    first.send_signal(signal.SIGSTOP)
    said = holder()[1]
    first.send_signal(signal.SIGCONT)
    assert said.startswith("another run") == (kind == "local")


def test_parts_exclude_the_whole_and_themselves_only(holder):
    one, said = holder("1-of-2")
    assert said == "held"
    assert holder("1-of-2")[1].startswith("another run")
    assert holder()[1].startswith("another run")
    two, said = holder("2-of-2")
    assert said == "held"
    for process in (one, two):
        process.communicate()
    _, said = holder()
    assert said == "held"
    assert holder("2-of-2")[1].startswith("another run")


def test_of_those_who_come_at_once_exactly_one_is_let_in(holder):
    several = [holder(wait=False) for _ in range(4)]
    said = [process.stdout.readline() for process in several]
    assert sorted(x.startswith("held") for x in said) == [False, False, False, True], said


def test_nothing_is_left_of_a_claim(tmp_path, monkeypatch, caplog):
    def refuse(*args):
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with lock.hold(tmp_path):
        claim = next(tmp_path.glob(".lock--*"))
        assert f"process {os.getpid()} on" in claim.read_text()
    assert "does not support locks (Operation not supported)" in caplog.text
    assert not list(tmp_path.glob(".lock--*"))


def test_claims_that_say_nothing_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "BEAT", 0.1)
    monkeypatch.setattr(lock, "DEAD", 0.3)
    monkeypatch.setattr(fcntl, "flock", lambda *args: (_ for _ in ()).throw(OSError(37, "none")))
    (tmp_path / ".lock--0").write_bytes(b"")
    (tmp_path / ".lock--1").write_bytes(b"\xff\x00")
    with lock.hold(tmp_path):
        assert len(list(tmp_path.glob(".lock--*"))) == 1


def test_another_failure_is_not_taken_for_a_missing_lock(tmp_path):
    with pytest.raises(FileNotFoundError), lock.hold(tmp_path / "nowhere"):
        pass
