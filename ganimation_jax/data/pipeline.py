"""From a source of faces to batches (Grain).

The order of the stages makes the stream depend on the seed alone, not on the number of
workers or processes, so that the number of batches drawn is the whole state of the data:
``training_batches(..., start=n)`` continues bit-exactly after ``n`` batches.
"""

import grain
import numpy as np
from ml_collections import ConfigDict

from ganimation_jax.action_units import OPENFACE_MAXIMUM, positions
from ganimation_jax.data.dataset import FaceDataset
from ganimation_jax.data.examples import (
    Decode,
    DrawOther,
    Fetch,
    Locate,
    Mirror,
    Retarget,
    Source,
)
from ganimation_jax.data.pairs import Pairs
from ganimation_jax.synthetic.faces import SyntheticFaces

READ_AHEAD = 4  # batches held ready for the device
HELD_OUT_SEED = 2**31  # synthetic test faces come from a stream that no training seed uses


def training_batches(
    source: Source,
    *,
    image_size: int,
    action_units: tuple[str, ...],
    batch_size: int,
    n_critic: int,
    seed: int,
    target_noise: float = 0.1,
    clip_targets: bool = True,
    flip: bool = True,
    workers: int = 0,
    start: int = 0,
    steps: int = 1,
    resident: bool = False,
    others: bool = False,
    paired: float = 0.0,
    process: int = 0,
    processes: int = 1,
) -> grain.DatasetIterator:
    """Endless batches, shuffled anew every epoch.

    Args:
      source: of faces.
      image_size: images of another size are resized.
      action_units: those to train on, in this order.
      batch_size: over all processes; each yields its ``batch_size / processes``, and joined
        in order of ``process`` the parts are the batch that a single process would yield.
      n_critic: batches in each yielded element.
      seed: of everything random.
      target_noise, clip_targets, flip: see ``Retarget``.
      workers: processes that decode; 0 decodes in threads.
      start: steps to pass over, at no cost.
      steps: training steps in each yielded element, a leading axis of their own.
      resident: images are on the devices already: only say which, in the same order.
      others: also yield the face that shows what is wanted. The stream is then another one.
      paired: share of the examples in which that face is the same person's; above 0 it
        implies ``others``.
      process, processes: this process among all.

    Yields:
      ``image`` uint8 ``steps n_critic b h w 3``; ``have`` and ``want`` float32
      ``steps n_critic b n``. With ``others``, the image ``other`` and ``paired`` bool
      ``steps n_critic b``. If ``resident``, in place of images their numbers, ``face`` and
      ``other`` int32 ``steps n_critic b``, and ``flip`` bool.

    Raises:
      ValueError: an action unit is not annotated; or pairs are asked for, and the source
        has none.
    """
    columns = positions(action_units, source.action_units)
    table = source.aus_table()[:, columns] / np.float32(OPENFACE_MAXIMUM)
    if others or paired:
        draw = DrawOther(
            table, pairs_of(source, table, paired), paired, target_noise, clip_targets, flip
        )
        faces = grain.MapDataset.source(range(len(source))).seed(seed).shuffle().repeat()
        dataset = faces.random_map(draw)
        if not resident:
            dataset = dataset.map(Fetch(source, image_size))
    else:
        # The published stream: its draws depend on the order of these stages.
        faces = grain.MapDataset.source(range(len(source)) if resident else source)
        dataset = (
            faces.seed(seed)
            .shuffle()
            .repeat()
            .map(Locate(table) if resident else Decode(image_size, columns))
            .random_map(Retarget(table, target_noise, clip_targets, flip))
        )
        if not resident:
            dataset = dataset.map(Mirror())
    dataset = (
        dataset
        # Whole batches only: there is no end, and counting a rest overflows.
        .batch(batch_size // processes, drop_remainder=True)[process::processes]
        .batch(n_critic, drop_remainder=True)[start:]
        .batch(steps, drop_remainder=True)
        .to_iter_dataset(grain.ReadOptions(num_threads=2, prefetch_buffer_size=READ_AHEAD))
    )
    if workers:
        dataset = dataset.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers))
    return iter(dataset)


def pairs_of(source: Source, table: np.ndarray, share: float) -> Pairs | None:
    """The pairs in a source; None if none are asked for.

    Raises:
      ValueError: some are asked for, and there are none.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"data.paired is {share}: it is a share, from 0 to 1")
    if not share:
        return None
    groups = source.pair_groups()
    pairs = None if groups is None else Pairs(groups, table)
    if pairs is None or not pairs.share:
        raise ValueError(
            f"data.paired is {share}, but {source} has no pairs: draw people with `ganimation"
            " prepare people`, or set data.paired=0"
        )
    return pairs


def evaluation_batches(
    source: Source,
    *,
    image_size: int,
    action_units: tuple[str, ...],
    batch_size: int,
    examples: int,
    seed: int,
    paired: bool = False,
) -> grain.DatasetIterator:
    """The first ``examples`` faces in a fixed order, each with the target of a random face.

    With ``paired``, the target of another face of the same person, where there is one; and
    that face as ``other``.

    Yields:
      As ``training_batches``, without the leading axes, noise and flips; the last batch
      may be short.
    """
    columns = positions(action_units, source.action_units)
    table = source.aus_table()[:, columns] / np.float32(OPENFACE_MAXIMUM)
    first = min(examples, len(source))
    if paired:
        draw = DrawOther(table, pairs_of(source, table, 1.0), 1.0, 0.0, clip=False, flip=False)
        numbers = grain.MapDataset.source(range(len(source))).seed(seed)[:first]
        dataset = numbers.random_map(draw).map(Fetch(source, image_size))
    else:
        dataset = (
            grain.MapDataset.source(source)
            .seed(seed)[:first]
            .map(Decode(image_size, columns))
            .random_map(Retarget(table, noise=0.0, clip=False, flip=False))
            .map(Mirror())
        )
    dataset = dataset.batch(batch_size, drop_remainder=False)
    # By default 500 batches are read ahead.
    ahead = grain.ReadOptions(num_threads=2, prefetch_buffer_size=READ_AHEAD)
    return iter(dataset.to_iter_dataset(ahead))


def held_out_batches(cfg: ConfigDict, faces: Source) -> grain.DatasetIterator:
    """The held-out faces that ``cfg`` asks to evaluate on: see ``evaluation_batches``."""
    return evaluation_batches(
        faces,
        image_size=cfg.image_size,
        action_units=cfg.action_units,
        batch_size=cfg.evaluate.batch_size,
        examples=cfg.evaluate.examples,
        seed=cfg.seed,
    )


def build_source(cfg: ConfigDict, split: str) -> Source:
    """The faces that ``cfg`` names; ``split`` is "train" or "test".

    Raises:
      FileNotFoundError, ValueError: no such data; the message says what to do.
    """
    data = cfg.data
    if data.source == "faces":
        if not data.dir:
            raise ValueError(
                "data.dir is empty: give the directory that `ganimation prepare` "
                "wrote, --config.data.dir=DIR"
            )
        return FaceDataset(data.dir, split)
    if data.source == "synthetic":
        if data.size < 1:
            raise ValueError(f"data.size {data.size}: synthetic faces need a number, such as 4096")
        if split == "train":
            return SyntheticFaces(data.size, cfg.image_size, cfg.seed, data.expressions)
        held_out = cfg.seed + HELD_OUT_SEED
        return SyntheticFaces(cfg.evaluate.examples, cfg.image_size, held_out, data.expressions)
    raise ValueError(f"data.source {data.source!r} is neither faces nor synthetic")
