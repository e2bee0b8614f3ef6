"""Several real processes on this machine, and what happens to them."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
from helpers import ROOT
from tiny_runs import TINY, assert_same_arrays, devices, run, saved_steps, start

from ganimation_jax.files import lock
from ganimation_jax.parallel import processes

AGAIN, USELESS = processes.AGAIN, processes.USELESS


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@contextlib.contextmanager
def job(workdir, processes, *flags, peer_timeout=60):
    """So many processes, four devices in all; none outlives the test."""
    address = f"--coordinator=127.0.0.1:{free_port()}"
    members = [
        start(
            workdir,
            *TINY,
            *flags,
            address,
            f"--processes={processes}",
            f"--process={i}",
            f"--peer_timeout={peer_timeout}",
            **devices(4 // processes),
        )
        for i in range(processes)
    ]
    try:
        yield members
    finally:
        for member in members:
            member.kill()
            member.communicate()


def ends(members, timeout=300):
    """Exit codes and outputs."""
    outputs = [member.communicate(timeout=timeout)[0] for member in members]
    return [member.returncode for member in members], outputs


def wait_for_step(workdir, step, members, at_most=300):
    until = time.monotonic() + at_most
    while not (saved_steps(workdir) and saved_steps(workdir)[-1] >= step):
        assert time.monotonic() < until
        assert all(member.poll() is None for member in members), ends(members)
        time.sleep(0.01)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """One process with four devices, undisturbed."""
    workdir = tmp_path_factory.mktemp("alone")
    output = run(workdir, *TINY, **devices(4))
    assert "training ganimation on 4 cpu device(s);" in output
    return workdir


def assert_same_training(one, other):
    """Equal but for the order of sums over devices, which Adam makes more of step by step."""
    assert_same_arrays(one, other, 3, of_largest=1e-3)
    records = [
        [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
        for workdir in (one, other)
    ]
    losses = [[r["critic/loss"] for r in record if "critic/loss" in r] for record in records]
    assert len(losses[0]) == 16
    np.testing.assert_allclose(*losses, rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("processes", "flags"),
    [
        (2, ()),
        (4, ("--config.mesh.fsdp=2", "--config.every.sample=128", "--config.every.evaluate=128")),
    ],
)
def test_many_processes_train_as_one_does(alone, tmp_path, processes, flags):
    with job(tmp_path, processes, *flags) as members:
        codes, outputs = ends(members)
    assert codes == [0] * processes, outputs
    assert f"training ganimation on 4 cpu device(s) of {processes} processes" in outputs[0]
    assert all("training ganimation on" not in output for output in outputs[1:])
    assert_same_training(tmp_path, alone)
    if flags:
        assert len(list((tmp_path / "samples").glob("*.png"))) == 2


@pytest.mark.slow
def test_a_process_that_is_late_for_the_first_step_is_waited_for(tmp_path):
    with job(tmp_path, 2, "--config.epochs=0.125") as members:  # two steps
        while "training ganimation on" not in members[0].stdout.readline():
            assert members[0].poll() is None
        members[1].send_signal(signal.SIGSTOP)  # as if it compiled for long
        time.sleep(40)  # gloo waits for 30
        members[1].send_signal(signal.SIGCONT)
        codes, outputs = ends(members)
    assert codes == [0, 0], outputs


@pytest.mark.slow
def test_a_preempted_job_saves_and_continues_with_other_processes(alone, tmp_path):
    with job(tmp_path, 2) as members:
        wait_for_step(tmp_path, 2, members)
        members[1].send_signal(signal.SIGTERM)  # one of them hears of it
        codes, outputs = ends(members)
    assert codes == [AGAIN] * 2, outputs
    saved = saved_steps(tmp_path)[-1]
    assert f"asked to stop after step {saved}:" in outputs[0]
    assert saved < 16
    output = run(tmp_path, *TINY, **devices(4))
    assert f"resuming after step {saved} on 4 cpu device(s);" in output
    assert_same_training(tmp_path, alone)


@pytest.mark.slow
def test_where_one_dies_the_others_stop_soon_and_say_so(tmp_path):
    with job(tmp_path, 2, peer_timeout=20) as members:
        wait_for_step(tmp_path, 2, members)
        members[0].kill()
        output, _ = members[1].communicate(timeout=90)  # twice 20 s; the machine may be busy
    assert members[1].returncode not in (0, USELESS)
    assert "lost another" in output or "another task died" in output
    assert saved_steps(tmp_path)[0] == 1


@pytest.mark.slow
def test_an_error_in_all_processes_is_one_line_each(tmp_path):
    with job(tmp_path, 2, "--config.batch_size=6") as members:
        codes, outputs = ends(members)
    assert codes == [USELESS] * 2
    for i, output in enumerate(outputs):
        assert "batch_size 6 is not divisible by 4 devices" in output
        assert f"(process {i} of 2)" in output
        assert "Traceback" not in output


@pytest.mark.slow
def test_a_workdir_that_is_in_use_is_refused_to_all_processes(tmp_path):
    with lock.hold(tmp_path), job(tmp_path, 2, peer_timeout=20) as members:
        codes, outputs = ends(members)
    assert codes[0] == USELESS
    assert f"another run is at work in {tmp_path}" in outputs[0]
    assert "Traceback" not in outputs[0]
    assert codes[1] != 0
    assert not saved_steps(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"coordinator": "a:1"}, "together"),
        ({"mode": "off", "coordinator": "a:1", "processes": 2, "process": 0}, "together"),
        ({"coordinator": "a:1", "processes": 2, "process": 2}, "--process=2 is not one of 0 to 1"),
    ],
)
def test_impossible_starts_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        processes.start(**options)


def test_without_a_cluster_it_goes_on_alone_unless_one_is_demanded():
    # In a process of its own: JAX joins before it has touched a device, or not at all.
    code = textwrap.dedent(
        """
        from ganimation_jax.parallel import processes
        try:
            processes.start("on")
        except ValueError as error:
            assert "no cluster is found" in str(error), error
        else:
            raise AssertionError("joined nothing")
        processes.start()
        assert processes.is_first()
        assert processes.agree(7) == 7
        """
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.slow
def test_a_run_asked_to_stop_saves_and_says_run_me_again(tmp_path):
    with start(tmp_path, *TINY, "--config.every.checkpoint=10000", **devices(4)) as process:
        while (
            not (tmp_path / "metrics.jsonl").exists()
            or not (tmp_path / "metrics.jsonl").read_text()
        ):
            assert process.poll() is None, process.communicate()
            time.sleep(0.005)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == AGAIN, output
    (saved,) = saved_steps(tmp_path)
    assert 1 <= saved < 16
    assert f"asked to stop after step {saved}:" in output


# A process with everything imported makes a child for each line: as a fresh one, but at once.
ATTEMPTS = textwrap.dedent(
    """
    import os, sys
    sys.path.insert(0, "tests")
    from pathlib import Path
    from absl import flags
    from tiny_runs import tiny_config
    from ganimation_jax.training import loop
    flags.FLAGS.mark_as_parsed()
    cfg = tiny_config(epochs=float(sys.argv[2]), keep__latest=1000)
    for _ in sys.stdin:
        child = os.fork()
        if not child:
            os._exit(0 if loop.train(cfg, Path(sys.argv[1])) else 75)
        print(child, flush=True)
        print(os.waitpid(child, 0)[1], flush=True)
    """
)
KILLS = int(os.environ.get("KILLS", "3"))
EPOCHS = 2 + KILLS // 5  # of 16 steps; a kill lets some four of them pass


@contextlib.contextmanager
def attempts(workdir):
    with subprocess.Popen(
        [sys.executable, "-c", ATTEMPTS, str(workdir), str(EPOCHS)],
        cwd=ROOT,
        env=os.environ | devices(1) | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:

        def attempt(when=None):
            """Start; kill at a moment; the wait status."""
            process.stdin.write("\n")
            process.stdin.flush()
            child = int(process.stdout.readline())
            if when:
                when()
                os.kill(child, signal.SIGKILL)
            return int(process.stdout.readline())

        yield attempt
        process.stdin.close()


@pytest.mark.slow
def test_many_kills_at_any_moment_change_nothing(tmp_path):
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    with attempts(unbroken) as attempt:
        assert attempt() == 0
    rng = np.random.default_rng(0)
    reached = [0]

    def moment():
        # Some while starting, some while saving, most somewhere in between.
        aim = reached[-1] + rng.integers(0, 4)
        until = time.monotonic() + 60
        while aim > reached[-1] and not [s for s in saved_steps(broken) if s >= aim]:
            assert time.monotonic() < until
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.3))

    with attempts(broken) as attempt:
        for _ in range(KILLS):
            assert attempt(moment) == signal.SIGKILL
            reached.append(max([*saved_steps(broken), 0]))
            assert reached[-1] >= reached[-2]  # no save is lost
        assert reached[-1] < 16 * EPOCHS
        assert len(set(reached)) > KILLS // 5 + 1  # not all while starting
        assert attempt() == 0
    assert not (broken / "damaged").exists()
    assert_same_arrays(broken, unbroken, 16 * EPOCHS)
    assert (broken / "metrics.jsonl").read_text() == (unbroken / "metrics.jsonl").read_text()
