"""Where arrays live: the device mesh, the rule for parameters, placing batches.

Two mesh axes split the batch: ``data`` alone, and ``fsdp``, which also splits the larger
arrays of the state. Everything runs under ``jit``; XLA inserts the communication.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax import Array
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

BATCH_AXES = ("data", "fsdp")
LARGE = 2**16  # elements; smaller arrays cost more to gather than to hold


def make_mesh(fsdp: int = 1, devices: list[jax.Device] | None = None) -> Mesh:
    """A mesh over all devices, ``fsdp`` of them to each copy of the state.

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
    """The same array on every device."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh, leading: int = 1) -> NamedSharding:
    """Arrays such as ``n_critic b ...``, split over the devices after ``leading`` axes."""
    return NamedSharding(mesh, PartitionSpec(*[None] * leading, BATCH_AXES))


def state_sharding(mesh: Mesh, state: Any) -> Any:
    """Large arrays split over ``fsdp`` along their last divisible axis, others replicated.

    Args:
      state: a pytree of arrays or shapes; parameters, their moments and their average have
        equal shapes and so land alike.
    """
    size = mesh.shape["fsdp"]

    def place(leaf: Any) -> NamedSharding:
        axes = [i for i, length in enumerate(leaf.shape) if length % size == 0]
        if size == 1 or not axes or np.prod(leaf.shape) < LARGE:
            return replicated(mesh)
        # The last axis of a kernel counts output channels: the usual one to split.
        return NamedSharding(mesh, PartitionSpec(*[None] * axes[-1], "fsdp"))

    return jax.tree.map(place, state)


def place_state(state: Any, shardings: Any) -> Any:
    """``state``, which every process holds whole and alike, as arrays over all devices."""

    def place(leaf: Any, sharding: NamedSharding) -> Array:
        whole = np.asarray(leaf)
        return jax.make_array_from_callback(whole.shape, sharding, lambda part: whole[part])

    return jax.tree.map(place, state, shardings)


def make_local(mesh: Mesh) -> Callable[[Any], Any]:
    """A function that copies a tree, however it is split, whole to this process's first device.

    What is then computed from it needs no other process, but all must make the copy.
    """
    gather = jax.jit(lambda tree: tree, out_shardings=replicated(mesh))
    return lambda tree: jax.tree.map(lambda leaf: leaf.addressable_data(0), gather(tree))


def with_sharding(shapes: Any, shardings: Any) -> Any:
    """What to restore: ``ShapeDtypeStruct`` leaves that carry their sharding."""
    return jax.tree.map(
        lambda x, place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), shapes, shardings
    )


def place_batch(mesh: Mesh, batch: dict[str, np.ndarray], leading: int = 1) -> dict[str, Array]:
    """This process's part of a batch, as arrays over all devices of all processes."""
    placement = batch_sharding(mesh, leading)
    return {
        name: jax.make_array_from_process_local_data(placement, leaf)
        for name, leaf in batch.items()
    }
