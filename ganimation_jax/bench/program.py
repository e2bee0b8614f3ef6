"""What the training step does on an accelerator that is not here: read from its compiled program.

A prediction by the roofline: a kernel takes as long as its products at the device's peak, or its
bytes at the memory's bandwidth, whichever is longer. Nothing is measured.
"""

import collections
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from ganimation_jax import backend
from ganimation_jax.bench import kernels, method_step, targets, workload
from ganimation_jax.bench.kernels import Kernel
from ganimation_jax.bench.workload import Sizes
from ganimation_jax.parallel import sharding

Row = dict[str, Any]
# Shares of the peaks of products and of memory that kernels reach. The second is a guess by
# what cuDNN's convolutions and XLA's fusions usually reach; the first is the bound.
SHARES = {"bound": (1.0, 1.0), "guess": (0.5, 0.8)}
LAUNCH = 2e-6  # seconds between kernels
LARGE = 2**20  # bytes of an array whose transposition is reported


def run(
    what: Sizes | ConfigDict, names: Iterable[str], text: Path | None = None
) -> Iterator[tuple[str, Row]]:
    """Compile the step for one GPU, and predict its speed on each device.

    A TPU's program cannot be read in this way. Its row puts the GPU's kernels on the TPU's peaks.

    Args:
      what: sizes of the published step, or the config of any other.
      names: of ``targets.ACCELERATORS``.
      text: a file to write the compiled program to, or to read it from if it exists.

    Yields:
      The tables' names and rows: the parts of the step, what stands out, the prediction.

    Raises:
      ModuleNotFoundError: XLA's compiler for GPUs is not installed.
    """
    if text and text.is_file():
        program = text.read_text(encoding="utf-8")
    else:
        program = compile_for_gpu(what)
        if text:
            text.write_text(program, encoding="utf-8")
    found = kernels.read(program)
    for name in names:
        yield from (("parts", {"device": name} | row) for row in parts(found, name))
    yield from (("stands_out", row) for row in stands_out(found))
    for name in names:
        yield "prediction", {"device": name} | described(what) | prediction(found, what, name)


def compile_for_gpu(what: Sizes | ConfigDict) -> str:
    """The text of the step compiled for one H100.

    Raises:
      ModuleNotFoundError: XLA's compiler for GPUs is not installed.
      ValueError: the config cannot be trained.
    """
    mesh = sharding.make_mesh(devices=targets.devices("gpu", 1))
    with backend.traced_for("gpu"):
        lowered: jax.stages.Lowered = (
            workload.lower_step(what, mesh)
            if isinstance(what, Sizes)
            else method_step.lower(method_step.with_conditions(what), mesh)
        )
    text = targets.compiled(lowered).as_text()
    assert text is not None  # some backends of jax have none
    return text


def described(what: Sizes | ConfigDict) -> Row:
    """The fields of a row that say what was compiled."""
    if isinstance(what, Sizes):
        return what._asdict()
    fields = ("method", "image_size", "batch_size", "n_critic", "dtype")
    return {name: what[name] for name in fields if name in what}


def parts(found: Iterable[Kernel], name: str) -> Iterator[Row]:
    """FLOPs, bytes and the bound of the time, by kind of kernel."""
    device = targets.ACCELERATORS[name]
    by_kind: dict[str, list[Kernel]] = collections.defaultdict(list)
    for one in found:
        by_kind[one.kind].append(one)
    for kind in sorted(by_kind):
        ours = by_kind[kind]
        yield {
            "kind": kind,
            "kernels": sum(one.times for one in ours),
            "gflop": sum(one.times * one.flops for one in ours) / 1e9,
            "gflop_padding": sum(one.times * one.wasted for one in ours) / 1e9,
            "gbyte": sum(one.times * one.bytes for one in ours) / 1e9,
            "bound_ms": 1e3 * sum(one.seconds(device) for one in ours),
        }


def stands_out(found: Iterable[Kernel]) -> Iterator[Row]:
    """Kernels that waste time: float32 among bfloat16, narrow channels, dilation, transposition."""
    found = list(found)
    mixed = any(one.kind == "convolution" and one.dtype == "bf16" for one in found)
    for one in found:
        why = ""
        if mixed and one.kind == "convolution" and one.dtype == "f32":
            why = "float32"
        elif "rhs_dilate" in one.detail:
            why = "dilated kernel"
        elif one.wasted > one.flops:
            why = "narrow channels"
        elif one.kind == "transpose" and one.bytes > 2 * LARGE:
            why = "transposition"
        if why:
            yield {
                "why": why,
                "times": one.times,
                "gflop": (one.flops + one.wasted) / 1e9,
                "mbyte": one.bytes / 1e6,
                "what": one.detail or one.name,
                "where": "/".join(one.where.split("/")[-3:]),
            }


def prediction(found: Iterable[Kernel], what: Sizes | ConfigDict, name: str) -> Row:
    """Milliseconds of a step and images/s."""
    device, found = targets.ACCELERATORS[name], list(found)
    images = what.images if isinstance(what, Sizes) else what.batch_size * what.get("n_critic", 1)
    row: Row = {}
    launches = LAUNCH * sum(one.times for one in found)
    for share, (products, memory) in SHARES.items():
        seconds = sum(one.seconds(device, products, memory) for one in found) + launches
        row |= {f"{share}_ms": 1e3 * seconds, f"{share}_images_per_s": images / seconds}
    return row
