"""Predict how the published model's training scales. Nothing here is a measurement of speed.

    python -m experiments.scaling.predict                       # tables from results.json
    python -m experiments.scaling.predict --json new.json --compilers cpu,gpu

Compiles the training step for 8, 64 and 256 devices, reads from the compiled programs what the
devices exchange, and puts that into the formula of ``machines.py``. Programs that the JSON file
holds already are not compiled again.
"""

import argparse
import collections
import functools
import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from experiments.scaling import machines, programs
from experiments.scaling.machines import MACHINES, Machine, Step
from experiments.scaling.programs import COMPILERS, Program
from ganimation_jax.bench import workload
from ganimation_jax.bench.hlo import Collective
from ganimation_jax.bench.record import versions
from ganimation_jax.bench.workload import Sizes

RESULTS = Path(__file__).with_name("results.json")
FRACTIONS = (0.2, 0.4, 0.6)
PER_DEVICE = (8, 32)  # images of an update
PREFERENCE = {"H100": ("gpu", "cpu"), "TPU": ("tpu", "gpu", "cpu")}
Row = dict[str, Any]


def main(argv: list[str] | None = None) -> None:
    """Compile what is missing; print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, default=RESULTS)
    parser.add_argument("--compilers", default="cpu,gpu", help="of " + ",".join(COMPILERS))
    parser.add_argument("--devices", type=int, nargs="+", default=[8, 64, 256])
    parser.add_argument("--fsdp", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--fractions", type=float, nargs="+", default=list(FRACTIONS))
    parser.add_argument("--timeout", type=float, default=3600, help="seconds for a compilation")
    args = parser.parse_args(argv)
    compiled = json.loads(args.json.read_text())["programs"] if args.json.exists() else []
    for program in plan(args.compilers.split(","), args.devices, args.fsdp):
        if not any(program._asdict().items() <= known.items() for known in compiled):
            compiled.append(programs.compile_apart(program, args.timeout))
            print(f"compiled in {compiled[-1]['compile_s']:.0f} s: {program}", flush=True)
            write(args.json, compiled, [])  # compiling is long: keep what there is
    rows = list(predictions(compiled, args.fractions))
    write(args.json, compiled, rows)
    print("\nWhat the devices exchange in a step (read from the compiled programs)\n")
    print(table(map(exchanged, compiled)))
    print("\nPREDICTION, not measured: computation, efficiency, training images a second\n")
    print(table(shown(rows)))


def plan(
    compilers: Iterable[str], devices: Iterable[int], fsdp: Iterable[int]
) -> Iterator[Program]:
    """What to compile. The CPU's compiler only shows that the number of devices changes nothing."""
    for compiler, split, count in itertools.product(compilers, fsdp, devices):
        if compiler != "cpu" or split == 1:
            yield Program(compiler, count, split)


def write(path: Path, compiled: list[Row], rows: list[Row]) -> None:
    """Results so far."""
    results = {
        "what": "PREDICTION: no step was run, no time measured",
        "versions": versions(),
        "programs": compiled,
        "predictions": rows,
    }
    path.write_text(json.dumps(results, indent=1) + "\n")


def predictions(compiled: list[Row], fractions: Iterable[float]) -> Iterator[Row]:
    """Every machine with the program of the compiler that is closest to its own."""
    for machine in MACHINES:
        fitting = [p for p in compiled if p["devices"] == machine.devices]
        order = next(order for name, order in PREFERENCE.items() if name in machine.name)
        available = [name for name in order if any(p["compiler"] == name for p in fitting)]
        for program in fitting:
            if program["compiler"] != available[0]:
                continue
            batches = PER_DEVICE if program["fsdp"] == 1 else (program["per_device"],)
            for per_device in batches:
                for fraction in fractions:
                    yield prediction(machine, program, per_device, fraction)


def prediction(machine: Machine, program: Row, per_device: int, fraction: float) -> Row:
    """One row."""
    step = step_of(program, per_device)
    times = machines.predict(machine, step, fraction)
    ideal = machine.devices * step.images / times.compute
    return {
        "machine": machine.name,
        "devices": machine.devices,
        "compiler": program["compiler"],
        "fsdp": program["fsdp"],
        "per_device": per_device,
        "fraction_of_peak": fraction,
        "compute_ms": 1e3 * times.compute,
        "communication_ms": 1e3 * times.communication,
        "efficiency_no_overlap": times.no_overlap,
        "efficiency_full_overlap": times.full_overlap,
        "images_per_s_no_overlap": ideal * times.no_overlap,
        "images_per_s_full_overlap": ideal * times.full_overlap,
    }


def step_of(program: Row, per_device: int) -> Step:
    """A compiled program as one device does it, on ``per_device`` images of an update."""
    sizes = Program(**{name: program[name] for name in Program._fields}).sizes
    update = machines.update_bytes(
        program["generator_parameters"],
        program["critic_parameters"],
        program["n_critic"],
        program["fsdp"],
    )
    return Step(
        flops=per_device * step_flops(sizes._replace(batch=0)),
        update=update,
        images=program["n_critic"] * per_device,
        exchanges=tuple(exchanges(program)),
    )


@functools.lru_cache
def step_flops(sizes: Sizes) -> float:
    """Of the networks' passes in a step with one image in an update."""
    one, two = (workload.step_flops(sizes._replace(batch=n))["step"] for n in (1, 2))
    return two - one  # without the optimisers', which do not grow


def exchanges(program: Row) -> Iterator[tuple[Collective, int]]:
    """Of a program read from JSON."""
    for entry in program["collectives"]:
        yield Collective(entry["kind"], entry["bytes"], tuple(entry["group"])), entry["times"]


def exchanged(program: Row) -> Row:
    """For people: how many of each kind, and bytes of each in a step."""
    counts: collections.Counter[str] = collections.Counter()
    sizes: collections.Counter[str] = collections.Counter()
    for exchange, times in exchanges(program):
        counts[exchange.kind] += times
        sizes[exchange.kind] += times * exchange.bytes
    updated = program["n_critic"] * program["critic_parameters"] + program["generator_parameters"]
    return {
        "compiler": program["compiler"],
        "devices": program["devices"],
        "fsdp": program["fsdp"],
        "images of a device": program["per_device"],
        "exchanges": ", ".join(
            f"{counts[kind]} {kind} {sizes[kind] / 1e6:,.1f} MB" for kind in sorted(counts)
        ),
        "bytes an updated parameter": f"{sum(sizes.values()) / updated:.3f}",
        "compiled in": f"{program['compile_s']:.0f} s",
    }


def shown(rows: Iterable[Row]) -> Iterator[Row]:
    """For people: a line for a machine and batch, with a column for each share of peak."""
    lines: dict[tuple[Any, ...], Row] = {}
    for row in rows:
        line = lines.setdefault(
            (row["machine"], row["fsdp"], row["per_device"]),
            {
                "machine": row["machine"],
                "fsdp": row["fsdp"],
                "images of a device": row["per_device"],
                "communication": f"{row['communication_ms']:.1f} ms",
            },
        )
        low, high = (100 * row[f"efficiency_{bound}_overlap"] for bound in ("no", "full"))
        slow, fast = (row[f"images_per_s_{bound}_overlap"] / 1e3 for bound in ("no", "full"))
        line[f"at {row['fraction_of_peak']:.0%} of peak"] = (
            f"{row['compute_ms']:.0f} ms: {low:.0f}-{high:.0f}%, {slow:,.0f}-{fast:,.0f}k/s"
        )
    yield from lines.values()


def table(rows: Iterable[Row]) -> str:
    """Markdown."""
    rows = list(rows)
    lines = [
        list(rows[0]),
        ["---"] * len(rows[0]),
        *([str(v) for v in row.values()] for row in rows),
    ]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


if __name__ == "__main__":
    main()
