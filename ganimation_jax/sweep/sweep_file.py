"""Files of ``wandb sweep``: what they vary, and the command line of each run."""

import itertools
import math
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

Parameters = dict[str, Any]
METHODS = ("grid", "random", "bayes")


class Halving(NamedTuple):
    """When to give up on a run; ``early_terminate`` of the file."""

    min_iter: int  # records of the metric before the first rung
    eta: int  # one run in so many continues; rungs are a factor of eta apart


class Sweep(NamedTuple):
    """A sweep file, checked."""

    method: str
    metric: str
    sign: int  # 1 if more is better, -1 if less is
    parameters: dict[str, dict[str, Any]]
    halving: Halving | None
    command: tuple[str, ...]


def read_sweep(path: Path) -> Sweep:
    """Read a file.

    Raises:
      ValueError: it lacks something, or uses a feature that is not supported.
      OSError: it cannot be read.
    """
    raw = yaml.safe_load(path.read_text())
    missing = {"method", "metric", "parameters", "command"} - set(raw)
    if missing:
        raise ValueError(f"{path} has no {', '.join(sorted(missing))}")
    if raw["method"] not in METHODS:
        raise ValueError(f"{path}: method {raw['method']!r} is not one of {', '.join(METHODS)}")
    goals = {"maximize": 1, "minimize": -1}
    if raw["metric"].get("goal") not in goals:
        raise ValueError(f"{path}: metric.goal must be maximize or minimize")
    early, halving = dict(raw.get("early_terminate", {})), None
    if early:
        if early.pop("type") != "hyperband" or "min_iter" not in early:
            raise ValueError(f"{path}: early_terminate must be of type hyperband, with min_iter")
        halving = Halving(early.pop("min_iter"), early.pop("eta", 3))
        if early:
            raise ValueError(f"{path}: early_terminate: {', '.join(early)} is not known here")
    command = tuple(
        raw["program"] if part == "${program}" else str(part) for part in raw["command"]
    )
    sweep = Sweep(
        raw["method"],
        raw["metric"]["name"],
        goals[raw["metric"]["goal"]],
        raw["parameters"],
        halving,
        command,
    )
    parameters_of(sweep, 0, seed=0)  # raises for what cannot be drawn
    return sweep


def grid_size(sweep: Sweep) -> int:
    """Number of points of a grid."""
    return math.prod(len(_choices(name, spec)) for name, spec in sweep.parameters.items())


def parameters_of(sweep: Sweep, number: int, seed: int) -> Parameters:
    """Parameters of one run.

    Args:
      sweep: the file.
      number: of the run, from 0.
      seed: of random draws.

    Raises:
      ValueError: a parameter cannot be drawn; IndexError: the grid has no such point.
    """
    names = list(sweep.parameters)
    if sweep.method == "grid":
        points = itertools.product(*(_choices(name, sweep.parameters[name]) for name in names))
        return dict(zip(names, next(itertools.islice(points, number, None)), strict=True))
    rng = np.random.default_rng([seed, number])
    return {name: _draw(name, sweep.parameters[name], rng) for name in names}


def _choices(name: str, spec: Mapping[str, Any]) -> list[Any]:
    if set(spec) == {"value"}:
        return [spec["value"]]
    if set(spec) == {"values"}:
        return spec["values"]
    raise ValueError(f"parameter {name}: a grid needs value or values, not {dict(spec)}")


def _draw(name: str, spec: Mapping[str, Any], rng: np.random.Generator) -> Any:
    if set(spec) in ({"value"}, {"values"}):
        choices = _choices(name, spec)
        return choices[rng.integers(len(choices))]
    if set(spec) - {"distribution"} == {"min", "max"}:
        low, high = spec["min"], spec["max"]
        if isinstance(low, str) or isinstance(high, str):
            raise ValueError(f"parameter {name}: YAML reads 1e-4 as text; write 1.0e-4")
        integers = isinstance(low, int) and isinstance(high, int)
        match spec.get("distribution", "int_uniform" if integers else "uniform"):
            case "int_uniform":
                return int(rng.integers(low, high + 1))
            case "uniform":
                return float(f"{rng.uniform(low, high):.4g}")
            case "log_uniform_values":
                return float(f"{np.exp(rng.uniform(np.log(low), np.log(high))):.4g}")
    raise ValueError(
        f"parameter {name}: {dict(spec)} is not known here; give value, values, or min and max "
        "with distribution uniform, int_uniform or log_uniform_values"
    )


def command_of(sweep: Sweep, parameters: Parameters, workdir: Path) -> list[str]:
    """The command line of one run: W&B's, but for the interpreter and where it writes.

    Raises:
      ValueError: the file names an environment variable that is not set.
    """
    parts: list[str] = []
    for part in sweep.command:
        if part == "${args}":
            parts += [f"--{name}={value}" for name, value in parameters.items()]
        elif part == "${interpreter}":
            parts.append(sys.executable)
        elif part != "${env}" and not part.startswith("--workdir="):
            parts.append(re.sub(r"\$\{envvar:(\w+)\}", _environment, part))
    return [*parts, f"--workdir={workdir}"]


def _environment(match: re.Match[str]) -> str:
    if match[1] not in os.environ:
        raise ValueError(f"the sweep needs the environment variable {match[1]}")
    return os.environ[match[1]]
