"""Speed of the input pipeline alone, with threads and with processes."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from ganimation_jax.bench.timing import Times
from ganimation_jax.bench.workload import Sizes
from ganimation_jax.conditions import Sampling
from ganimation_jax.data.dataset import FaceDataset
from ganimation_jax.data.examples import Source
from ganimation_jax.data.pipeline import READ_AHEAD, training_batches
from ganimation_jax.synthetic.faces import SyntheticFaces

FACES = 512  # synthetic, drawn anew each time


def run(
    sizes: Sizes, workers: Sequence[int], data_dir: Path | None, repeats: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Measure synthetic faces and, if given, a prepared dataset.

    Args:
      sizes: of the training step; pictures of another size are resized.
      workers: numbers of reader processes to try; 0 reads with threads.
      data_dir: folder of a prepared dataset.
      repeats: number of timed batches, each of ``n_critic * batch`` images.

    Yields:
      The table's name and a row.
    """
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()  # Grain's processes read absl flags
    sources: dict[str, Source] = {"synthetic": SyntheticFaces(FACES, sizes.image_size)}
    if data_dir:
        sources[str(data_dir)] = FaceDataset(data_dir, "train")
    for name, source in sources.items():
        for count in workers:
            yield "input", {"source": name} | measure_input(source, sizes, count, repeats)


def measure_input(source: Source, sizes: Sizes, workers: int, repeats: int) -> dict[str, Any]:
    """One row: batches drawn as fast as possible, after those that were read ahead."""
    start = time.perf_counter()
    batches = training_batches(
        source,
        image_size=sizes.image_size,
        conditions=tuple(one.name for one in source.conditions),
        batch_size=sizes.batch,
        sampling=Sampling(batches=sizes.n_critic, noise=0.1),
        seed=0,
        workers=workers,
    )
    next(batches)
    first_s = time.perf_counter() - start
    for _ in range(READ_AHEAD * max(1, workers)):
        next(batches)
    seconds, busy = [], time.process_time()
    for _ in range(repeats):
        start = time.perf_counter()
        for _ in range(max(1, workers)):  # processes take turns: count whole rounds
            next(batches)
        seconds.append((time.perf_counter() - start) / max(1, workers))
    busy = time.process_time() - busy
    batches.close()
    times = Times(seconds)
    return {
        "readers": f"{workers} processes" if workers else "threads",
        "image_size": sizes.image_size,
        "images_per_s": sizes.images / times.median,
        # Of all threads, so that it holds on a busy machine, too. Other processes' is not known.
        **({} if workers else {"cpu_ms_per_image": 1e3 * busy / (repeats * sizes.images)}),
        "slowest_images_per_s": sizes.images / max(seconds),
        "first_s": first_s,
    }
