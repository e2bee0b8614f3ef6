"""The training step: time, images per second, share of the peak, memory, growth with size."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from ganimation_jax.bench import timing, workload
from ganimation_jax.bench.workload import Sizes
from ganimation_jax.parallel import sharding

Row = dict[str, Any]


def run(
    base: Sizes, sweeps: Mapping[str, Sequence[int]], repeats: int, peaks: Mapping[str, float]
) -> Iterator[tuple[str, Row]]:
    """Measure the step at ``base``, and with one field changed along each sweep.

    Args:
      base: sizes of the step.
      sweeps: values for a field of ``Sizes``.
      repeats: number of timed steps.
      peaks: FLOP/s of one device, by dtype.

    Yields:
      The table's name and a row.
    """
    rows: dict[Sizes, Row] = {}
    swept = [with_field(base, field, value) for field in sweeps for value in sweeps[field]]
    for sizes in [base, *swept]:
        if sizes not in rows:
            rows[sizes] = measure_step(sizes, repeats, peaks)
            yield "step", rows[sizes]
    for field, values in sweeps.items():
        points = sorted({getattr(base, field), *values})
        if len(points) > 1:
            steps = [rows[with_field(base, field, value)] for value in points]
            yield "growth", growth(field, points, [row["median_ms"] for row in steps])


def with_field(sizes: Sizes, field: str, value: int) -> Sizes:
    """``sizes`` with one field changed."""
    return Sizes(**sizes._asdict() | {field: value})


def measure_step(sizes: Sizes, repeats: int, peaks: Mapping[str, float]) -> Row:
    """One row: the step as training compiles it, on all devices, with its batch on them."""
    mesh = sharding.make_mesh()
    lowered = workload.lower_step(sizes, mesh)
    start = time.perf_counter()
    compiled = lowered.compile()
    compile_s = time.perf_counter() - start
    times = timing.measure({"step": workload.stepper(sizes, mesh, compiled)}, repeats)["step"]
    flops = workload.step_flops(sizes)["step"] / times.median
    memory_name, memory = timing.peak_memory_mib()
    return (
        sizes._asdict()
        | times.row()
        | {
            "images_per_s": sizes.images / times.median,
            "gflop_per_image": flops * times.median / sizes.images / 1e9,
            "tflop_per_s": flops / 1e12,
            "share_of_peak": flops / (peaks[sizes.dtype] * mesh.size),
            "program_mib": program_mib(compiled),
            memory_name: memory,
            "compile_s": compile_s,
        }
    )


def program_mib(compiled: jax.stages.Compiled) -> float:
    """The program's peak memory on each device, in MiB, by XLA's plan of its buffers."""
    plan: Any = compiled.memory_analysis()
    sizes = plan.argument_size_in_bytes + plan.output_size_in_bytes + plan.temp_size_in_bytes
    return (sizes - plan.alias_size_in_bytes) / 2**20


def growth(field: str, points: Sequence[int], times: Sequence[float]) -> Row:
    """The power of ``field`` with which the time grows: the slope in logarithms."""
    power = np.polyfit(np.log(points), np.log(times), 1)[0]
    if not math.isfinite(power):
        raise ValueError(f"cannot fit growth with {field} through {points}: {times}")
    values = " ".join(map(str, points))
    return {"field": field, "values": values, "time_grows_with_power": float(power)}
