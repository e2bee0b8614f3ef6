"""Accelerators that programs can be compiled for without having one."""

from typing import Any, NamedTuple

import jax
from jax.experimental import topologies
from jax.experimental.compilation_cache import compilation_cache

NODE = 8  # GPUs
# NVIDIA H100 SXM, for the GPU compiler (its GpuTargetConfigProto): nothing asks the card.
H100 = """
gpu_device_info {
  cuda_compute_capability { major: 9 minor: 0 }
  threads_per_warp: 32
  threads_per_block_limit: 1024
  threads_per_core_limit: 2048
  core_count: 132
  fpus_per_core: 128
  clock_rate_ghz: 1.98
  shared_memory_per_block: 49152
  shared_memory_per_block_optin: 232448
  shared_memory_per_core: 233472
  registers_per_block_limit: 65536
  registers_per_core_limit: 65536
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  l2_cache_size: 52428800
  memory_bandwidth: 3352320000000
  device_memory_size: 84978434048
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 8 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""
# The same card with more and faster memory.
H200 = (
    H100.replace("3352320000000", "4800000000000")
    .replace("84978434048", "151397597184")
    .replace("H100 80GB HBM3", "H200")
)
TPU_V5E = {1: "v5e:1x1", 4: "v5e:2x2", 8: "v5e:2x4", 64: "v5e:8x8", 256: "v5e:16x16"}
INSTALL = {
    "gpu": "pip install --no-deps jax-cuda12-plugin=={0} jax-cuda12-pjrt=={0}",
    "tpu": "pip install --no-deps libtpu",
}


class Accelerator(NamedTuple):
    """A device by its published figures, dense, in one direction."""

    compiler: str  # "gpu" or "tpu"
    config: str  # XLA's description of a GPU
    bfloat16: float  # FLOP/s of matrix products
    float32: float  # of float32 products as JAX makes them by default: TF32 on GPUs
    memory: float  # bytes/s


# NVIDIA's and Google's product pages.
ACCELERATORS = {
    "h100": Accelerator("gpu", H100, 989e12, 494e12, 3.35e12),
    "h200": Accelerator("gpu", H200, 989e12, 494e12, 4.8e12),
    "v5e": Accelerator("tpu", "", 197e12, 197e12 / 3, 819e9),
}


def devices(compiler: str, count: int, config: str = H100) -> list[jax.Device]:
    """Devices to compile for; they can run nothing.

    Args:
      compiler: "gpu" or "tpu".
      count: number of devices.
      config: of a GPU.

    Raises:
      ModuleNotFoundError: XLA's compiler for them is not installed.
      KeyError: there is no v5e with so many chips.
    """
    try:
        if compiler == "tpu":
            return list(
                topologies.get_topology_desc(platform="tpu", topology_name=TPU_V5E[count]).devices
            )
        nodes, each = max(1, count // NODE), min(NODE, count)
        found = topologies.get_topology_desc(
            platform="cuda",
            topology_name="gpu",
            target_config=config,
            topology=f"1x{nodes}x{each}",  # slices, nodes, GPUs of a node
        )
    except (RuntimeError, NotImplementedError) as error:  # jax: no such platform
        remedy = INSTALL[compiler].format(jax.__version__)
        raise ModuleNotFoundError(f"no compiler for {compiler} here ({error}): {remedy}") from error
    return list(found.devices)


def compiled(lowered: jax.stages.Lowered) -> jax.stages.Compiled:
    """Compile for devices that are not there, without JAX's persistent cache.

    The cache would keep the program, but it cannot be read without its device.
    """
    config: Any = jax.config  # has the setting, which its type does not say
    before = config.jax_enable_compilation_cache
    config.update("jax_enable_compilation_cache", False)
    compilation_cache.reset_cache()  # JAX asks only once whether there is a cache
    try:
        return lowered.compile()
    finally:
        config.update("jax_enable_compilation_cache", before)
        compilation_cache.reset_cache()
