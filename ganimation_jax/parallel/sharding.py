"""Sharding: the device mesh, the rule for parameters, and the placement of batches.

Two mesh axes split the batch, ``data`` and ``fsdp``. ``fsdp`` also splits the larger arrays of
the state. Everything runs under ``jit``, and XLA inserts the communication.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax import Array
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

BATCH_AXES = ("data", "fsdp")
LARGE = 2**16  # elements; smaller arrays are replicated, because gathering costs more


def make_mesh(fsdp: int = 1, devices: list[jax.Device] | None = None) -> Mesh:
    """Make a mesh over all devices, where ``fsdp`` devices share one copy of the state.

    Raises:
      ValueError: the number of devices is not a multiple of ``fsdp``.
    """
    devices = jax.devices() if devices is None else devices
    if fsdp < 1 or len(devices) % fsdp:
        raise ValueError(
            f"mesh.fsdp {fsdp} does not divide {len(devices)} devices; use a divisor of it"
        )
    auto = (AxisType.Auto,) * 2
    return jax.make_mesh((len(devices) // fsdp, fsdp), BATCH_AXES, axis_types=auto, devices=devices)


def replicated(mesh: Mesh) -> NamedSharding:
    """Sharding that puts the whole array on every device."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh, leading: int = 1) -> NamedSharding:
    """Sharding of arrays such as ``n_critic b ...``: the axis after ``leading`` axes is split."""
    return NamedSharding(mesh, PartitionSpec(*[None] * leading, BATCH_AXES))


def state_sharding(mesh: Mesh, state: Any) -> Any:
    """Split large arrays over ``fsdp`` along their last divisible axis; replicate the others.

    Args:
      mesh: the device mesh.
      state: a pytree of arrays or shapes. Parameters, their moments and their average have
        equal shapes and are therefore split in the same way.
    """
    size = mesh.shape["fsdp"]

    def place(leaf: Any) -> NamedSharding:
        axes = [i for i, length in enumerate(leaf.shape) if length % size == 0]
        if size == 1 or not axes or np.prod(leaf.shape) < LARGE:
            return replicated(mesh)
        # The last axis of a kernel is that of the output channels, the usual one to split.
        return NamedSharding(mesh, PartitionSpec(*[None] * axes[-1], "fsdp"))

    return jax.tree.map(place, state)


def gather(mesh: Mesh) -> Callable[[Any], Any]:
    """Make a function for use under ``jit`` that puts every array of a tree on every device.

    It returns its argument where the mesh does not split the state.
    """
    if mesh.shape["fsdp"] == 1:
        return lambda tree: tree
    return lambda tree: jax.lax.with_sharding_constraint(tree, replicated(mesh))


def place_state(state: Any, shardings: Any) -> Any:
    """Place ``state``, of which every process has an identical full copy, on all devices."""

    def place(leaf: Any, sharding: NamedSharding) -> Array:
        whole = np.asarray(leaf)
        return jax.make_array_from_callback(whole.shape, sharding, lambda part: whole[part])

    return jax.tree.map(place, state, shardings)


def make_local(mesh: Mesh) -> Callable[[Any], Any]:
    """Make a function that gathers a sharded tree on this process's first device.

    All processes must call it. Computations on its result then need no other process.
    """
    gather = jax.jit(lambda tree: tree, out_shardings=replicated(mesh))
    return lambda tree: jax.tree.map(lambda leaf: leaf.addressable_data(0), gather(tree))


def with_sharding(shapes: Any, shardings: Any) -> Any:
    """``ShapeDtypeStruct`` leaves with shardings, the target for restoring a checkpoint."""
    return jax.tree.map(
        lambda x, place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), shapes, shardings
    )


def place_batch(mesh: Mesh, batch: dict[str, np.ndarray], leading: int = 1) -> dict[str, Array]:
    """Combine each process's part of a batch into arrays over the devices of all processes."""
    placement = batch_sharding(mesh, leading)
    return {
        name: jax.make_array_from_process_local_data(placement, leaf)
        for name, leaf in batch.items()
    }
