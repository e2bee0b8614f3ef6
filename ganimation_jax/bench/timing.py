"""Timing on asynchronous devices, and the peak speed of a device."""

import math
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

STEADY = 0.1  # seconds: the least duration of a sample of a short function


class Times(NamedTuple):
    """Seconds per call, one entry per repeat."""

    seconds: list[float]

    @property
    def median(self) -> float:
        """The median of the samples."""
        return statistics.median(self.seconds)

    def row(self) -> dict[str, float]:
        """Median and range, as fields of a table."""
        fastest, slowest = min(self.seconds), max(self.seconds)
        return {
            "median_ms": 1e3 * self.median,
            "min_ms": 1e3 * fastest,
            "max_ms": 1e3 * slowest,
        }


def measure(
    variants: Mapping[str, Callable[[], Any]], repeats: int, steady: float = 0.0
) -> dict[str, Times]:
    """Time functions in alternating turns, so that a slow phase of the machine affects all.

    Args:
      variants: functions that return arrays; each is called once before timing.
      repeats: number of samples per function.
      steady: seconds. A sample repeats a shorter call to last about this long and waits for the
        device at its end, which measures throughput. 0 waits after each call: latency.
    """
    calls = {}
    for name, run in variants.items():
        jax.block_until_ready(run())
        calls[name] = max(1, math.ceil(steady / _time(run, 1))) if steady else 1
    samples: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(repeats):
        for name, run in variants.items():
            samples[name].append(_time(run, calls[name]))
    return {name: Times(seconds) for name, seconds in samples.items()}


def _time(run: Callable[[], Any], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        result = run()
    jax.block_until_ready(result)
    return (time.perf_counter() - start) / calls


def peak_flops(dtype: str, repeats: int, size: int = 0) -> float:
    """FLOP/s of one device in a square matrix product, as an upper bound for the networks.

    Args:
      dtype: of operands and result. float32 has JAX's default precision: TF32 where a GPU has
        it, in products and convolutions alike.
      repeats: number of samples; the fastest counts.
      size: rows of the matrices; 0 means 8192, or 2048 on a CPU.
    """
    size = size or (2048 if jax.default_backend() == "cpu" else 8192)
    # Random numbers, because a GPU multiplies zeros with less power and therefore faster.
    left, right = jax.random.normal(jax.random.key(0), (2, size, size), dtype)
    product = jax.jit(jnp.matmul)
    times = measure({"product": lambda: product(left, right)}, repeats, STEADY)["product"]
    return 2 * size**3 / min(times.seconds)


def peak_memory_mib() -> tuple[str, float]:
    """Name and value of the peak memory so far: on the first device, or of this process."""
    stats = jax.local_devices()[0].memory_stats()
    if stats and "peak_bytes_in_use" in stats:
        return "device_peak_mib", stats["peak_bytes_in_use"] / 2**20
    unit = 1 if sys.platform == "darwin" else 2**10  # ru_maxrss counts KiB on Linux
    return "peak_rss_mib", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
