"""A sweep without an account: ``ganimation sweep FILE.yaml --workdir DIR``.

Reads the files of ``wandb sweep`` and runs their command line, one run after the other: all points
of a grid, or ``--runs N`` random ones. ``early_terminate`` means asynchronous successive halving
(Li et al., MLSys 2020): at each rung, after min_iter, min_iter * eta, ... records of the metric, a
run continues only if its best value so far is among the best 1 / eta of all runs that reached the
rung. Bayesian search needs W&B's server; its parameters are drawn at random here, with a warning.

Each run has a folder in DIR: ``000``, ``001``, ... The result is ``DIR/sweep.csv``, best first.
Rerun the same command to resume: finished runs are kept, others continue. Parameters depend only on
the file, ``--seed`` and the run's number.
"""

import argparse
import csv
import json
import logging
import math
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ganimation_jax.files import json_lines, lock
from ganimation_jax.files.atomic import write_atomically
from ganimation_jax.sweep.sweep_file import (
    Parameters,
    Sweep,
    command_of,
    grid_size,
    parameters_of,
    read_sweep,
)

log = logging.getLogger(__name__)

AGAIN = 75  # exit code of a run that was asked to stop, and saved
POLL = 1.0  # seconds between looks at a run
GRACE = 120.0  # seconds that a run has to save and end, once asked
STATUSES = ("finished", "stopped", "failed", "unfinished")


class Trial(NamedTuple):
    """What became of a run."""

    number: int
    parameters: Parameters
    status: str  # finished, stopped (by halving), failed, unfinished
    values: list[float]  # of the metric, as they came
    images: int
    alerts: list[str]  # of its health, those that have not ended


def gives_up(sweep: Sweep, own: Sequence[float], others: Sequence[Sequence[float]]) -> bool:
    """Whether a run is to stop at the rung that it stands on, if it stands on one.

    Args:
      sweep: its halving and goal.
      own: values of the metric so far.
      others: those of the other runs, stopped ones too.
    """
    if sweep.halving is None:
        return False
    rung = sweep.halving.min_iter
    while rung < len(own):
        rung *= sweep.halving.eta
    if rung != len(own):
        return False
    reached = [values[:rung] for values in (*others, own) if len(values) >= rung]
    scores = sorted((max(sweep.sign * x for x in values) for values in reached), reverse=True)
    places = max(1, len(scores) // sweep.halving.eta)
    return max(sweep.sign * x for x in own) < scores[places - 1]


def look(folder: Path, metric: str) -> tuple[list[float], int]:
    """Values of the metric that a run has written so far, and the images it has seen."""
    records = json_lines.lines(folder / "metrics.jsonl", json_lines.numbers_only)
    whole = [line.record for line in records if line.record is not None]
    values = [record[metric] for record in whole if record.get(metric) is not None]
    return values, whole[-1]["images"] if whole else 0


def open_alerts(folder: Path) -> list[str]:
    """Names of the alerts of a run that have begun and not ended."""
    reported: dict[str, bool] = {}
    for line in json_lines.lines(folder / "alerts.jsonl", _is_named):
        if line.record is not None:
            reported[line.record["name"]] = line.record["began"]
    return [name for name, began in reported.items() if began]


def _is_named(record: dict[str, Any]) -> bool:
    return isinstance(record.get("name"), str) and isinstance(record.get("began"), bool)


def read_note(path: Path) -> dict[str, Any] | None:
    """What ``trial.json`` says of a run; None if there is none. A damaged one is moved aside."""
    if not path.exists():
        return None
    try:
        note = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        note = None
    whole = isinstance(note, dict) and isinstance(note.get("parameters"), dict)
    if whole and note.get("status") in STATUSES:
        return note
    aside = path.with_name(f"{path.name}.damaged")
    path.replace(aside)
    log.warning("%s is damaged: moved to %s; the run is started again", path, aside)
    return None


def known_trials(sweep: Sweep, workdir: Path) -> Iterator[Trial]:
    """What earlier commands have done in ``workdir``."""
    for path in sorted(workdir.glob("[0-9]*/trial.json")):
        if (note := read_note(path)) is not None:
            number, found = int(path.parent.name), look(path.parent, sweep.metric)
            alerts = open_alerts(path.parent)
            yield Trial(number, note["parameters"], note["status"], *found, alerts)


def run_trial(sweep: Sweep, number: int, parameters: Parameters, workdir: Path) -> Trial:
    """Run one command line to its end, or until it is to give up.

    Raises:
      ValueError: the folder holds a run with other parameters.
    """
    folder = workdir / f"{number:03d}"
    folder.mkdir(parents=True, exist_ok=True)
    note = folder / "trial.json"
    known = read_note(note)
    if known is not None and known["parameters"] != parameters:
        raise ValueError(f"{folder} holds a run with other parameters; choose another --workdir")

    def keep(status: str) -> None:
        text = json.dumps({"parameters": parameters, "status": status}, indent=1)
        write_atomically(note, f"{text}\n")

    keep("unfinished")
    command = command_of(sweep, parameters, folder)
    others = [t.values for t in known_trials(sweep, workdir) if t.number != number]
    looked, _ = look(folder, sweep.metric)
    status = ""
    with (folder / "log.txt").open("a") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            while process.poll() is None:
                time.sleep(POLL)
                values, images = look(folder, sweep.metric)
                for count in range(len(looked) + 1, len(values) + 1):
                    value = values[count - 1]
                    log.info("  %s images  %s %.4g", f"{images:,}", sweep.metric, value)
                    if gives_up(sweep, values[:count], others):
                        status = "stopped"
                looked = values
                if status:
                    break
        finally:
            _end(process)
    if not status:
        status = {0: "finished", AGAIN: "unfinished"}.get(process.returncode, "failed")
    keep(status)
    return Trial(number, parameters, status, *look(folder, sweep.metric), open_alerts(folder))


def _end(process: subprocess.Popen[Any]) -> None:
    """Ask the run to save and end; after a while, end it."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def ranked(sweep: Sweep, trials: Sequence[Trial]) -> list[Trial]:
    """Best last value first; runs without any come last."""
    return sorted(trials, key=lambda t: -sweep.sign * t.values[-1] if t.values else math.inf)


def write_table(sweep: Sweep, trials: Sequence[Trial], path: Path) -> str:
    """Write the result as CSV, best first; returns it as text for people."""
    names = [name for name, spec in sweep.parameters.items() if set(spec) != {"value"}]
    rows = [["run", "status", "images", sweep.metric, *names, "alerts"]]
    for trial in ranked(sweep, trials):
        value = f"{trial.values[-1]:.5g}" if trial.values else ""
        drawn = [str(trial.parameters[name]) for name in names]
        run = [f"{trial.number:03d}", trial.status, str(trial.images), value]
        rows.append([*run, *drawn, " ".join(trial.alerts)])
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    short = [[cell.removeprefix("config.") for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*short, strict=True)]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in short
    )


def run_sweep(sweep: Sweep, workdir: Path, runs: int, seed: int = 0) -> list[Trial]:
    """Run what has not been run yet.

    Args:
      sweep: what to run.
      workdir: where; made if absent.
      runs: how many in all.
      seed: of random draws.

    Returns:
      all runs, best first; ``sweep.csv`` holds them too.
    """
    trials = {trial.number: trial for trial in known_trials(sweep, workdir)}
    for number in range(runs):
        parameters = parameters_of(sweep, number, seed)
        done = trials.get(number)
        if done and done.status in ("finished", "stopped") and done.parameters == parameters:
            continue
        shown = " ".join(f"{name.removeprefix('config.')}={x}" for name, x in parameters.items())
        log.info("run %d of %d: %s", number + 1, runs, shown)
        trials[number] = run_trial(sweep, number, parameters, workdir)
        text = write_table(sweep, list(trials.values()), workdir / "sweep.csv")
        log.info("run %d of %d %s", number + 1, runs, trials[number].status)
        if trials[number].status == "failed":
            log.error("  see %s", workdir / f"{number:03d}" / "log.txt")
    text = write_table(sweep, list(trials.values()), workdir / "sweep.csv")
    log.info("best first:\n%s", text)
    return ranked(sweep, list(trials.values()))


def main(argv: Sequence[str] | None = None) -> int:
    """Run a sweep from the command line; the exit code."""
    parser = argparse.ArgumentParser(prog="ganimation sweep", description=__doc__)
    parser.add_argument("file", type=Path, help="a sweep of W&B")
    parser.add_argument("--workdir", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--runs", type=int, help="how many in all; a grid runs all its points")
    parser.add_argument("--seed", type=int, default=0, help="of random parameters")
    parser.add_argument("--dry-run", action="store_true", help="only print the command lines")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s  %(message)s", datefmt="%H:%M:%S")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(AGAIN))  # so that the run is ended too
    try:
        sweep = read_sweep(args.file)
        if sweep.method == "bayes":
            log.warning("BAYESIAN SEARCH NEEDS W&B'S SERVER: parameters are drawn at random")
        runs = min(args.runs or math.inf, grid_size(sweep)) if sweep.method == "grid" else args.runs
        if not runs:
            raise ValueError(f"method {sweep.method} needs --runs=N")
        if args.dry_run:
            for number in range(int(runs)):
                parameters = parameters_of(sweep, number, args.seed)
                print(" ".join(command_of(sweep, parameters, args.workdir / f"{number:03d}")))
            return 0
        args.workdir.mkdir(parents=True, exist_ok=True)
        with lock.hold(args.workdir):
            trials = run_sweep(sweep, args.workdir, int(runs), args.seed)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    statuses = {trial.status for trial in trials}
    return 1 if "failed" in statuses else AGAIN if "unfinished" in statuses else 0


if __name__ == "__main__":
    sys.exit(main())
