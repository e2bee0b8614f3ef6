"""The training step compiled for many devices that are not there, and nothing run.

XLA's compilers need no accelerator to compile for one. For GPUs the parts of ``jax[cuda]``, for
TPUs ``libtpu`` must be installed (``bench.targets``). The CPU's compiler always works,
and leaves out some passes of the others that join exchanges.
"""

import json
import os
import subprocess
import sys
import time
from typing import Any, NamedTuple

import jax
import numpy as np

from ganimation_jax import backend
from ganimation_jax.bench import hlo, targets, workload
from ganimation_jax.bench.workload import Sizes
from ganimation_jax.methods import ganimation
from ganimation_jax.parallel import sharding
from ganimation_jax.steps import gathering
from ganimation_jax.types import Batch, parameter_count

COMPILERS = ("cpu", "gpu", "tpu")


class Program(NamedTuple):
    """What to compile."""

    compiler: str  # one of COMPILERS
    devices: int
    fsdp: int = 1
    width: int = 64
    per_device: int = 8  # images of an update
    n_critic: int = 5
    dtype: str = "bfloat16"
    image_size: int = 128
    residual_blocks: int = 6

    @property
    def sizes(self) -> Sizes:
        """Of the step, over all devices."""
        return Sizes(
            image_size=self.image_size,
            width=self.width,
            batch=self.per_device * self.devices,
            n_critic=self.n_critic,
            dtype=self.dtype,
            residual_blocks=self.residual_blocks,
        )


def compile_apart(program: Program, timeout: float | None = None) -> dict[str, Any]:
    """Collectives of ``program``, compiled in a process of its own.

    The number of CPU devices is fixed when jax starts, and compilers keep memory.

    Raises:
      RuntimeError: the compiler is not installed, or failed.
      subprocess.TimeoutExpired: it took longer than ``timeout`` seconds.
    """
    flags = f"--xla_force_host_platform_device_count={program.devices}"
    env = os.environ | {
        "JAX_PLATFORMS": "cpu",  # to trace on; compilers for others are asked by name
        # Nothing runs: LLVM's optimisation would be for nothing.
        "XLA_FLAGS": f"{flags} --xla_backend_optimization_level=0",
        "TPU_SKIP_MDS_QUERY": "1",
    }
    child = subprocess.run(
        [sys.executable, "-m", __spec__.name, json.dumps(program._asdict())],
        env=env,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    if child.returncode:
        raise RuntimeError(f"compiling {program} failed:\n{child.stderr[-2000:]}")
    return json.loads(child.stdout.splitlines()[-1])


def describe(program: Program) -> dict[str, Any]:
    """Compile ``program`` here, and count its collectives."""
    start = time.perf_counter()
    lowered = lower(program)
    compiled = lowered.compile() if program.compiler == "cpu" else targets.compiled(lowered)
    seconds = time.perf_counter() - start
    found = hlo.collectives(compiled.as_text(), program.devices)
    state = workload.state_shapes(program.sizes)
    return program._asdict() | {
        "generator_parameters": parameter_count(state.nets["generator"]),
        "critic_parameters": parameter_count(state.nets["critic"]),
        "compile_s": round(seconds, 1),
        "collectives": [c._asdict() | {"times": n} for c, n in sorted(found.items())],
    }


def lower(program: Program) -> jax.stages.Lowered:
    """The step as accelerators get it: critic updates in a loop, XLA's own convolutions."""
    sizes, work = program.sizes, workload.build(program.sizes)
    mesh = sharding.make_mesh(program.fsdp, devices(program))
    shapes = workload.state_shapes(sizes)
    placement, replicated = sharding.state_sharding(mesh, shapes), sharding.replicated(mesh)
    step = jax.jit(
        gathering.make_whole_step(
            ganimation.step(work.objectives, work.optimizers), sharding.gather(mesh)
        ),
        donate_argnums=0,
        in_shardings=(placement, sharding.batch_sharding(mesh), replicated),
        out_shardings=(placement, replicated),
    )
    # The CPU's compiler stands for an accelerator's.
    with backend.traced_for("gpu" if program.compiler == "gpu" else "tpu"):
        return step.lower(shapes, batch_shapes(sizes), workload.KEY)


def batch_shapes(sizes: Sizes) -> Batch:
    """Of ``n_critic`` batches."""
    leading, side = (sizes.n_critic, sizes.batch), sizes.image_size
    aus = jax.ShapeDtypeStruct((*leading, workload.UNITS), np.float32)
    return Batch(jax.ShapeDtypeStruct((*leading, side, side, 3), np.uint8), aus, aus)


def devices(program: Program) -> list[jax.Device]:
    """To compile for. None of them can run anything, but the CPU's."""
    if program.compiler == "cpu":
        return jax.devices("cpu")[: program.devices]
    return targets.devices(program.compiler, program.devices)


if __name__ == "__main__":
    print(json.dumps(describe(Program(**json.loads(sys.argv[1])))))
