"""Measure speed and memory of this library on this machine.

Prints tables; ``--json FILE`` also writes them, with machine, versions and command.
"""

import argparse
import functools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ganimation_jax import config_words
from ganimation_jax.bench import (
    compilation,
    exact,
    inference,
    method_step,
    program,
    step,
    targets,
    timing,
)
from ganimation_jax.bench.record import Record, line, machine
from ganimation_jax.bench.workload import Sizes
from ganimation_jax.version import PROGRAM

# Compilation comes first, because its child processes need the GPU memory that this one will take.
PARTS = ("compile", "step", "inference", "exact", "input")
Rows = Iterator[tuple[str, dict[str, Any]]]


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The parsed flags."""
    parser = argparse.ArgumentParser(
        prog="ganimation bench",
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add, sizes = parser.add_argument, Sizes()
    add(
        "what", nargs="?", default="all", choices=[*PARTS, "program", "all"], help="what to measure"
    )
    add(
        "--config",
        metavar="CONFIG[:PRESET]",
        help="step, program: take method, sizes and batch of this config",
    )
    add(
        "--device",
        nargs="+",
        default=["h100"],
        choices=list(targets.ACCELERATORS),
        help="program: predict the speed on these devices from the program that XLA compiles for a "
        "GPU; none is needed",
    )
    add("--hlo", type=Path, metavar="FILE", help="program: keep the compiled program here")
    add("--json", type=Path, metavar="FILE", help="also write the results to this file")
    add("--image-size", type=int, default=sizes.image_size, help="pixels a side")
    add("--width", type=int, default=sizes.width, help="width of both networks")
    add(
        "--residual-blocks",
        type=int,
        default=sizes.residual_blocks,
        help="residual blocks of the generator",
    )
    add("--batch", type=int, default=sizes.batch, help="images per update, over all devices")
    add("--n-critic", type=int, default=sizes.n_critic, help="critic updates per step")
    add("--dtype", choices=["float32", "bfloat16"], default=sizes.dtype, help="of convolutions")
    add("--repeats", type=int, default=5, help="number of timed samples")
    several = functools.partial(add, type=int, nargs="*", metavar="N")
    several("--sweep-batch", default=[], help="step: further batches")
    several("--sweep-image-size", default=[], help="step: further image sizes")
    several("--sweep-n-critic", default=[], help="step: further numbers of critic updates")
    several("--inference-batches", default=[1, 4, 16, 64], help="inference: batch sizes")
    several("--workers", default=[0, 1, 2], help="input: reader processes; 0 reads with threads")
    add("--data-dir", type=Path, help="input: a prepared dataset, besides synthetic faces")
    add(
        "--matrix-size",
        type=int,
        default=0,
        help="size of the matrix product that measures the peak; 0 depends on the device",
    )
    args = parser.parse_args(argv)
    if args.repeats < 1:
        parser.error("--repeats must be at least 1")
    return args


def measurements(args: argparse.Namespace, sizes: Sizes) -> Rows:
    """Yield the requested rows as they are measured."""
    if args.config and args.what not in ("step", "program"):
        raise ValueError("--config is for 'ganimation bench step' and 'ganimation bench program'")
    if args.what == "program":
        what = config_words.load(args.config) if args.config else sizes
        yield from program.run(what, args.device, args.hlo)
        return
    if args.config:
        yield from method_step.run(config_words.load(args.config), args.repeats)
        return
    parts = PARTS if args.what == "all" else (args.what,)
    if "compile" in parts:
        yield from compilation.run(sizes)
    peaks = {}
    if {"step", "inference"} & set(parts):
        for dtype in ("float32", "bfloat16"):
            peaks[dtype] = timing.peak_flops(dtype, args.repeats, args.matrix_size)
            yield "peak", {"dtype": dtype, "tflop_per_s": peaks[dtype] / 1e12}
    if "step" in parts:
        fields = ("batch", "image_size", "n_critic")
        sweeps = {field: getattr(args, f"sweep_{field}") for field in fields}
        yield from step.run(sizes, sweeps, args.repeats, peaks)
    if "inference" in parts:
        yield from inference.run(sizes, args.inference_batches, args.repeats, peaks)
    if "exact" in parts:
        yield from exact.run(sizes, args.repeats)
    if "input" in parts:
        from ganimation_jax.bench import loader  # imports Grain, which the other parts do not need

        yield from loader.run(sizes, args.workers, args.data_dir, args.repeats)


def main(argv: list[str] | None = None) -> int:
    """Measure, print and write.

    Returns:
      The exit code: 0, or 2 after one line on stderr if the input is refused.
    """
    args = parse(argv)
    sizes = Sizes(**{field: getattr(args, field) for field in Sizes._fields})
    words = sys.argv[1:] if argv is None else argv
    record = Record(args.json, [PROGRAM, "bench", *words])
    try:
        for table, row in measurements(args, sizes):
            record.add(table, row)
            print(f"{table}: {line(row)}", file=sys.stderr)
    except (ValueError, FileNotFoundError, ModuleNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    record.write(complete=True, machine=machine())
    print(record.text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
