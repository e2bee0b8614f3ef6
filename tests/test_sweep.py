"""Sweeps: command lines that the real config takes, and a local runner on a tiny program."""

import csv
import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from absl import flags
from helpers import ROOT
from ml_collections import config_flags
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

from ganimation_jax.files import lock
from ganimation_jax.sweep import run as runner
from ganimation_jax.sweep.run import gives_up, look, main, run_sweep
from ganimation_jax.sweep.sweep_file import command_of, grid_size, parameters_of, read_sweep
from ganimation_jax.training.preflight import json_config

FILES = sorted([*ROOT.glob("experiments/sweeps/*.yaml"), *ROOT.glob("experiments/0*/sweep.yaml")])
# ml_collections loads the file in a way that Python 3.12 still has, deprecated.
parses = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")

# Writes five values of `score`, at first falling to `level`, then steady; counts its starts.
PROGRAM = """
import argparse, json, pathlib, sys, time
parser = argparse.ArgumentParser()
for name in ("--level", "--end", "--workdir"):
    parser.add_argument(name)
args = parser.parse_args()
workdir = pathlib.Path(args.workdir)
with (workdir / "starts").open("a") as file:
    file.write("x")
path = workdir / "metrics.jsonl"
done = path.read_text().count("score") if path.exists() else 0
for i in range(done, 5):
    with path.open("a") as file:
        file.write(json.dumps({"images": 10 * i + 10, "loss": 1.0}) + "\\n")
        file.write(json.dumps({"images": 10 * i + 10, "score": float(args.level) + 4 - i}) + "\\n")
    with (workdir / "alerts.jsonl").open("a") as file:
        if args.level == "2.0":
            for name, began in (("glad", True), ("sad", True), ("glad", False), ("tired", True)):
                file.write(json.dumps({"name": name, "began": began}) + "\\n")
    if args.end == "slow":
        time.sleep(0.3)
    if args.end == "break" and i == 2:
        sys.exit(3)
    if args.end == "again" and i == 2:
        sys.exit(75)
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(runner, "POLL", 0.05)


def sweep_file(folder, parameters, **more):
    program = folder / "program.py"
    program.write_text(PROGRAM)
    content = {
        "program": str(program),
        "method": "grid",
        "metric": {"name": "score", "goal": "minimize"},
        "parameters": parameters,
        "command": ["${env}", "${interpreter}", "${program}", "--workdir=elsewhere", "${args}"],
    }
    path = folder / "sweep.yaml"
    path.write_text(json.dumps(content | more))  # JSON is YAML
    return path


def parse(command):
    """The config that ``python -m ganimation_jax.main`` would see."""
    assert command[1:3] == ["-m", "ganimation_jax.main"]
    argv = ["main", *(part for part in command[3:] if part.startswith("--config"))]
    argv = [part.replace("--config=configs", f"--config={ROOT}/configs") for part in argv]
    values = flags.FlagValues()
    config = config_flags.DEFINE_config_file(
        "config", flag_values=values, lock_config=True, sys_argv=argv
    )
    values(argv)
    return config.value


@parses
@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_sweep_of_the_repository_is_taken_by_the_config(path, monkeypatch, tmp_path):
    monkeypatch.setenv("FACES", "faces")
    sweep = read_sweep(path)
    for number in range(grid_size(sweep) if sweep.method == "grid" else 8):
        parameters = parameters_of(sweep, number, seed=1)
        # What W&B's agent would put in place of ${args} and ${envvar:...}.
        args = create_sweep_command_args({"args": {n: {"value": v} for n, v in parameters.items()}})
        parts = create_sweep_command(list(sweep.command))
        theirs = [x for part in parts for x in (args["args"] if part == "${args}" else [part])]
        theirs = [sys.executable if part == "${interpreter}" else part for part in theirs[1:]]
        ours = command_of(sweep, parameters, tmp_path)
        assert ours[-1] == f"--workdir={tmp_path}"
        # A folder of its own for each run, which the agent names in the environment.
        workdir = next(part for part in theirs if part.startswith("--workdir="))
        assert workdir.endswith("/$WANDB_RUN_ID")
        assert ours[:-1] == [part for part in theirs if not part.startswith("--workdir=")]
        config = json_config(parse(ours))
        for name, value in parameters.items():
            found = config
            for key in name.removeprefix("config.").split("."):
                found = found[key]
            assert found == value


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_metrics_of_sweeps_are_those_of_held_out_faces(path):
    known = ("edit_response/r", "truth/psnr", "truth/psnr_changed")
    assert read_sweep(path).metric in known


def test_a_grid_has_all_points_and_random_runs_their_ranges(tmp_path):
    grid = read_sweep(
        sweep_file(tmp_path, {"a": {"values": [1, 2]}, "b": {"values": ["x", "y", "z"]}})
    )
    points = [tuple(parameters_of(grid, i, seed=0).values()) for i in range(grid_size(grid))]
    assert points == [(1, "x"), (1, "y"), (1, "z"), (2, "x"), (2, "y"), (2, "z")]
    spec = {
        "a": {"min": 0.5, "max": 2.0},
        "b": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1.0},
        "c": {"min": 1, "max": 3},
        "d": {"values": ["x", "y"]},
        "e": {"value": 7},
    }
    random = read_sweep(sweep_file(tmp_path, spec, method="random"))
    drawn = [parameters_of(random, i, seed=3) for i in range(400)]
    assert drawn[5] == parameters_of(random, 5, seed=3) != parameters_of(random, 5, seed=4)
    assert 0.5 <= min(p["a"] for p in drawn) < 0.6
    assert 1.9 < max(p["a"] for p in drawn) <= 2
    logs = np.log10([p["b"] for p in drawn])
    np.testing.assert_allclose(
        np.quantile(logs, [0, 0.25, 0.5, 0.75, 1]), [-4, -3, -2, -1, 0], atol=0.3
    )
    assert {p["c"] for p in drawn} == {1, 2, 3}
    assert {p["d"] for p in drawn} == {"x", "y"}
    assert {p["e"] for p in drawn} == {7}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "hill"}, "method 'hill' is not one of grid, random, bayes"),
        ({"metric": {"name": "score"}}, "metric.goal must be"),
        ({"parameters": {"a": {"min": 0, "max": 1}}}, "a: a grid needs value or values"),
        ({"method": "random", "parameters": {"a": {"mu": 0}}}, "a: {'mu': 0} is not known here"),
        ({"method": "random", "parameters": {"a": {"min": "1e-4", "max": 1}}}, "write 1.0e-4"),
        ({"early_terminate": {"type": "hyperband", "max_iter": 9}}, "with min_iter"),
        ({"early_terminate": {"type": "hyperband", "min_iter": 1, "s": 2}}, "s is not known here"),
    ],
)
def test_what_is_not_known_is_refused(tmp_path, change, message):
    path = sweep_file(tmp_path, **({"parameters": {"a": {"value": 1}}} | change))
    with pytest.raises(ValueError, match=message):
        read_sweep(path)


def test_halving_by_hand(tmp_path):
    early = {"type": "hyperband", "min_iter": 2, "eta": 2}
    sweep = read_sweep(sweep_file(tmp_path, {"a": {"value": 1}}, early_terminate=early))
    others = [[5, 4], [9, 3, 3, 3], [8, 7, 6, 5]]  # less is better
    assert not gives_up(sweep, [9.0], others)  # no rung yet
    assert not gives_up(sweep, [9.0, 3.5], others)  # second of four, two go on
    assert gives_up(sweep, [9.0, 4.5], others)  # third of four
    assert not gives_up(sweep, [4.5, 3.5, 99.0], others)  # between rungs
    assert gives_up(sweep, [9.0, 3.5, 9.0, 4.0], others)  # 3 is better
    assert not gives_up(sweep, [9.0, 2.0, 9.0, 9.0], others)  # its best so far counts
    assert not gives_up(sweep, [9.0, 9.0], [])  # nobody to lose against
    assert not gives_up(sweep._replace(halving=None), [9.0, 4.5], others)


@pytest.mark.slow
def test_a_local_sweep_ranks_its_runs_and_goes_on(tmp_path, caplog):
    path = sweep_file(tmp_path, {"level": {"values": [3.0, 1.0, 2.0]}})
    with caplog.at_level("INFO", "ganimation_jax"):
        assert main([str(path), f"--workdir={tmp_path / 'runs'}"]) == 0
    rows = list(csv.reader((tmp_path / "runs" / "sweep.csv").read_text().splitlines()))
    assert rows == [
        ["run", "status", "images", "score", "level", "alerts"],
        ["001", "finished", "50", "1", "1.0", ""],
        ["002", "finished", "50", "2", "2.0", "sad tired"],
        ["000", "finished", "50", "3", "3.0", ""],
    ]
    assert "run 3 of 3: level=2.0" in caplog.text
    assert main([str(path), f"--workdir={tmp_path / 'runs'}"]) == 0
    starts = [(tmp_path / "runs" / f"00{i}" / "starts").read_text() for i in range(3)]
    assert starts == ["x", "x", "x"]  # finished runs are left alone
    other = sweep_file(tmp_path, {"level": {"values": [4.0]}})
    assert main([str(other), f"--workdir={tmp_path / 'runs'}"]) == 2


def test_bad_runs_are_stopped_early(tmp_path):
    early = {"type": "hyperband", "min_iter": 2, "eta": 3}
    parameters = {"level": {"values": [1.0, 9.0]}, "end": {"value": "slow"}}
    sweep = read_sweep(sweep_file(tmp_path, parameters, early_terminate=early))
    good, bad = run_sweep(sweep, tmp_path / "runs", runs=2)
    assert (good.number, good.status, len(good.values)) == (0, "finished", 5)
    assert (bad.number, bad.status) == (1, "stopped")
    assert 2 <= len(bad.values) < 5
    assert [t.status for t in run_sweep(sweep, tmp_path / "runs", runs=2)] == [
        "finished",
        "stopped",
    ]


def test_failed_and_interrupted_runs_are_tried_again(tmp_path):
    parameters = {"level": {"value": 1.0}, "end": {"values": ["break", "again"]}}
    path = sweep_file(tmp_path, parameters)
    workdir = tmp_path / "runs"
    assert main([str(path), f"--workdir={workdir}"]) == 1
    statuses = [json.loads((workdir / f"00{i}" / "trial.json").read_text()) for i in range(2)]
    assert [x["status"] for x in statuses] == ["failed", "unfinished"]
    assert main([str(path), f"--workdir={workdir}"]) == 0  # both go on behind where they ended
    assert [look(workdir / f"00{i}", "score")[0] for i in range(2)] == [
        [5.0, 4.0, 3.0, 2.0, 1.0]
    ] * 2
    assert (workdir / "000" / "starts").read_text() == "xx"


@pytest.mark.slow
def test_a_sweep_that_is_ended_ends_its_run(tmp_path):
    path = sweep_file(tmp_path, {"level": {"value": 1.0}, "end": {"value": "slow"}})
    workdir = tmp_path / "runs"
    command = [sys.executable, "-m", "ganimation_jax.sweep.run", str(path), f"--workdir={workdir}"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) as process:
        while not look(workdir / "000", "score")[0]:
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 75
    seen = look(workdir / "000", "score")[0]
    assert len(seen) < 5
    time.sleep(0.5)
    assert look(workdir / "000", "score")[0] == seen  # nothing is left running
    assert main([str(path), f"--workdir={workdir}"]) == 0
    assert len(look(workdir / "000", "score")[0]) == 5


def test_random_and_bayes_need_a_number_of_runs(tmp_path, capsys, caplog):
    path = sweep_file(tmp_path, {"level": {"min": 0.0, "max": 1.0}}, method="bayes")
    assert main([str(path), f"--workdir={tmp_path / 'runs'}"]) == 2
    assert "bayes needs --runs=N" in capsys.readouterr().err
    assert main([str(path), f"--workdir={tmp_path / 'runs'}", "--runs=2", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert "--level=0." in lines[0]
    assert lines[1].endswith(f"--workdir={tmp_path / 'runs' / '001'}")
    assert "BAYESIAN SEARCH NEEDS W&B'S SERVER" in caplog.text
    assert not (tmp_path / "runs").exists()


def test_a_variable_that_is_not_set_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("FACES", raising=False)
    sweep = read_sweep(ROOT / "experiments" / "sweeps" / "loss_weights.yaml")
    with pytest.raises(ValueError, match="environment variable FACES"):
        command_of(sweep, {}, tmp_path)


def test_damaged_files_cost_a_sweep_one_run_and_never_silently(tmp_path, caplog):
    path = sweep_file(tmp_path, {"level": {"values": [3.0, 1.0]}})
    workdir = tmp_path / "runs"
    assert main([str(path), f"--workdir={workdir}"]) == 0
    (workdir / "000" / "trial.json").write_text("{")
    for name in ("metrics.jsonl", "alerts.jsonl"):
        with (workdir / "001" / name).open("ab") as file:
            file.write(b"\xff\n5\n")
    assert main([str(path), f"--workdir={workdir}"]) == 0
    assert "trial.json is damaged: moved to" in caplog.text
    starts = [(workdir / f"00{i}" / "starts").read_text() for i in range(2)]
    assert starts == ["xx", "x"]


def test_two_sweeps_in_one_folder_exclude_each_other(tmp_path, capsys):
    path = sweep_file(tmp_path, {"level": {"value": 1.0}})
    with lock.hold(tmp_path):
        assert main([str(path), f"--workdir={tmp_path}"]) == 2
    assert "another run is at work in" in capsys.readouterr().err
