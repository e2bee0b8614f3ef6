"""Keep all faces of a small enough data set on the devices, so that no images are transferred.

200,000 faces of 128x128 are 9.8 GB as uint8. They are split over all devices. XLA turns the
look-up of a batch into a local look-up on each device and a sum over the batch.
"""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh

from ganimation_jax.data.examples import Source, decode
from ganimation_jax.parallel import sharding
from ganimation_jax.types import Batch, Metrics, Params, ResidentBatch, State, StepFn

log = logging.getLogger(__name__)

READ_THREADS = 8
CHUNK = 256  # number of faces that a thread reads at a time


def load(mesh: Mesh, source: Source, image_size: int) -> Array:
    """Read and decode every face once.

    Returns:
      uint8 ``n h w 3`` split over the mesh along ``n``, padded with black images to a multiple
      of the number of devices. With several processes, each reads the faces of its own devices.
    """
    count = -(-len(source) // mesh.size) * mesh.size
    log.info(
        "reading %s faces onto the devices: %.2f GB on each of %d",
        f"{len(source):,}",
        count * image_size**2 * 3 / mesh.size / 1e9,
        mesh.size,
    )

    def read_part(place: Any) -> np.ndarray:
        first, end, _ = place[0].indices(count)
        part = np.zeros((end - first, image_size, image_size, 3), np.uint8)

        def read(start: int) -> None:
            for i in range(start, min(start + CHUNK, end, len(source))):
                part[i - first] = decode(source[i], image_size)

        with ThreadPoolExecutor(READ_THREADS) as pool:
            list(pool.map(read, range(first, end, CHUNK)))  # re-raises a thread's error
        return part

    shape = (count, image_size, image_size, 3)
    return jax.make_array_from_callback(shape, sharding.batch_sharding(mesh, 0), read_part)


def look_up(faces: Array, batch: ResidentBatch) -> Batch:
    """Replace the indices in ``batch`` by images, equal to the batch the loader would give."""

    def images(places: Array) -> Array:
        found = faces[places]
        return jnp.where(batch.flip[..., None, None, None], found[..., ::-1, :], found)

    other = None if batch.other is None else images(batch.other)
    return Batch(images(batch.face), batch.have, batch.want, other, batch.paired, batch.wrong)


def make_resident_step(step: StepFn) -> Callable[..., Any]:
    """Make ``step`` take resident batches; ``faces`` (see ``load``) is its last argument."""

    def resident_step(
        state: State, batches: ResidentBatch, run_key: Array, frozen: Params, faces: Array
    ) -> tuple[State, Metrics]:
        return step(state, look_up(faces, batches), run_key, frozen)

    return resident_step
