"""From a source of faces to batches (Grain).

The order of the stages makes the stream depend on the seed alone, not on the number of
workers or processes, so that the number of batches drawn is the whole state of the data:
``training_batches(..., start=n)`` continues bit-exactly after ``n`` batches.
"""

import grain
import numpy as np
from ml_collections import ConfigDict

from ganimation_jax.conditions import Domain, Sampling, describe, places, resolve
from ganimation_jax.data.dataset import FaceDataset
from ganimation_jax.data.derived import JoinedFaces, WithEmotions
from ganimation_jax.data.examples import (
    Alternating,
    DrawFrom,
    DrawOther,
    DrawWrong,
    Fetch,
    Locate,
    Permute,
    Randomness,
    Retarget,
    Source,
    Vary,
    full_table,
)
from ganimation_jax.data.pairs import Pairs, has_pairs
from ganimation_jax.synthetic.faces import SyntheticFaces

READ_AHEAD = 4  # batches held ready for the device
HELD_OUT_SEED = 2**31  # synthetic test faces come from a stream that no training seed uses


def training_batches(
    source: Source,
    *,
    image_size: int,
    conditions: tuple[str, ...],
    batch_size: int,
    sampling: Sampling,
    seed: int,
    workers: int = 0,
    start: int = 0,
    steps: int = 1,
    resident: bool = False,
    process: int = 0,
    processes: int = 1,
) -> grain.DatasetIterator:
    """Endless batches, shuffled anew every epoch.

    Args:
      source: of faces.
      image_size: images of another size are resized.
      conditions: names of those to train on, in this order.
      batch_size: over all processes; each yields its ``batch_size / processes``, and joined
        in order of ``process`` the parts are the batch that a single process would yield.
      sampling: what to draw; ``sampling.batches`` of these make a training step.
      seed: of everything random.
      workers: processes that decode; 0 decodes in threads.
      start: steps to pass over, at no cost.
      steps: training steps in each yielded element, a leading axis of their own.
      resident: images are on the devices already: only say which, in the same order.
      process, processes: this process among all.

    Yields:
      ``image`` uint8 ``steps batches b h w 3``; ``have`` and ``want`` float32
      ``steps batches b n``. With ``sampling.paired`` the image ``other`` and ``paired`` bool
      ``steps batches b``, with ``domains`` the image ``other``, with ``wrong`` these conditions.
      If ``resident``, in place of images their numbers, ``face`` and ``other`` int32
      ``steps batches b``, and ``flip`` bool.

    Raises:
      ValueError: a condition is not annotated; the fields of ``sampling`` exclude each other;
        or the source has no pairs, or no faces of a domain, where they are asked for.
    """
    table = table_of(source, conditions)
    dataset = _examples(source, table, batch_size, sampling, seed)
    if not resident:
        dataset = dataset.map(Fetch(source, image_size))
    dataset = (
        dataset
        # Whole batches only: there is no end, and counting a rest overflows.
        .batch(batch_size // processes, drop_remainder=True)[process::processes]
        .batch(sampling.batches, drop_remainder=True)[start:]
        .batch(steps, drop_remainder=True)
        .to_iter_dataset(grain.ReadOptions(num_threads=2, prefetch_buffer_size=READ_AHEAD))
    )
    if workers:
        dataset = dataset.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers))
    return iter(dataset)


def _examples(
    source: Source, table: np.ndarray, batch_size: int, sampling: Sampling, seed: int
) -> grain.MapDataset:
    """The endless stream of examples, with the numbers of faces in place of images."""
    vary = Randomness(sampling.noise, sampling.clip, sampling.flip)
    modes = {"paired": sampling.paired, "permute": sampling.permute, "domains": sampling.domains}
    if len(chosen := [name for name, value in modes.items() if value]) > 1:
        raise ValueError(f"sampling by {' and '.join(chosen)} at once: choose one")
    if sampling.domains:
        first, second = (members(source, domain) for domain in sampling.domains)
        dataset = _shuffled(first, seed).random_map(DrawFrom(table, second, vary))
    elif sampling.permute:
        faces = _all_faces(source, batch_size, seed)
        permuted = faces.map_with_index(Permute(faces, table, batch_size, seed))
        dataset = permuted.random_map(Vary(vary))
    elif sampling.paired:
        draw = DrawOther(table, pairs_of(source, table, sampling.paired), sampling.paired, vary)
        dataset = _all_faces(source, batch_size, seed).random_map(draw)
    else:
        # The published stream: its draws depend on the order of these stages.
        located = _all_faces(source, batch_size, seed).map(Locate(table))
        dataset = located.random_map(Retarget(table, vary))
    return dataset.random_map(DrawWrong(table)) if sampling.wrong else dataset


def _all_faces(source: Source, batch_size: int, seed: int) -> grain.MapDataset:
    """The numbers of all faces, endlessly; of two joined sources, whole batches alternate."""
    if not isinstance(source, JoinedFaces):
        return _shuffled(range(len(source)), seed)
    parts = [_shuffled(np.flatnonzero(source.part == part), seed) for part in (0, 1)]
    return grain.MapDataset.source(Alternating(parts, batch_size)).seed(seed)


def _shuffled(numbers: range | np.ndarray, seed: int) -> grain.MapDataset:
    return grain.MapDataset.source(numbers).seed(seed).shuffle().repeat()


def table_of(source: Source, conditions: tuple[str, ...]) -> np.ndarray:
    """Some conditions of all faces, float32 ``len n`` in [0, 1].

    Raises:
      ValueError: one is not annotated.
    """
    return full_table(source)[:, places(conditions, source.conditions)]


def members(source: Source, domain: Domain) -> np.ndarray:
    """The numbers of the faces of a domain.

    Raises:
      ValueError: the source does not have the condition, or no such face.
    """
    numbers = np.flatnonzero(domain.members(full_table(source), source.conditions))
    if not len(numbers):
        shows = "shows" if domain.shown else "lacks"
        raise ValueError(
            f"no face of {source} {shows} {domain.condition}; it has {describe(source.conditions)}"
        )
    return numbers


def shown(source: Source) -> dict[str, int]:
    """The number of faces that show each condition of a source."""
    table, conditions = full_table(source), source.conditions
    return {one.name: int(Domain(one.name).members(table, conditions).sum()) for one in conditions}


def pairs_of(source: Source, table: np.ndarray, share: float) -> Pairs:
    """The pairs in a source.

    Raises:
      ValueError: there are none, or ``share`` is not a share.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"data.paired is {share}: it is a share, from 0 to 1")
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
    conditions: tuple[str, ...],
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
    table = table_of(source, conditions)
    vary = Randomness(noise=0.0, clip=False, flip=False)
    numbers = grain.MapDataset.source(range(len(source))).seed(seed)[: min(examples, len(source))]
    if paired:
        dataset = numbers.random_map(DrawOther(table, pairs_of(source, table, 1.0), 1.0, vary))
    else:
        dataset = numbers.map(Locate(table)).random_map(Retarget(table, vary))
    dataset = dataset.map(Fetch(source, image_size)).batch(batch_size, drop_remainder=False)
    # By default 500 batches are read ahead.
    ahead = grain.ReadOptions(num_threads=2, prefetch_buffer_size=READ_AHEAD)
    return iter(dataset.to_iter_dataset(ahead))


def held_out_batches(
    cfg: ConfigDict, faces: Source, conditions: tuple[str, ...]
) -> grain.DatasetIterator:
    """The held-out faces that ``cfg`` asks to evaluate on: see ``evaluation_batches``.

    Targets are those of the same person's other pictures, where the faces form pairs. Of drawn
    faces the true edit can be drawn for any target: theirs are those of random faces.
    """
    drawn = isinstance(faces, SyntheticFaces)
    return evaluation_batches(
        faces,
        image_size=cfg.image_size,
        conditions=conditions,
        batch_size=cfg.evaluate.batch_size,
        examples=cfg.evaluate.examples,
        seed=cfg.seed,
        paired=not drawn and has_pairs(faces.pair_groups()),
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
        # Configs of runs from before there were labels have no such fields.
        return _prepared(data.dir, data.get("second", ""), split, data.get("labels", False))
    if data.source == "synthetic":
        if data.size < 1:
            raise ValueError(f"data.size {data.size}: synthetic faces need a number, such as 4096")
        options = (data.expressions, data.get("labels", False))
        if split == "train":
            return SyntheticFaces(data.size, cfg.image_size, cfg.seed, *options)
        held_out = cfg.seed + HELD_OUT_SEED
        return SyntheticFaces(cfg.evaluate.examples, cfg.image_size, held_out, *options)
    raise ValueError(f"data.source {data.source!r} is neither faces nor synthetic")


def _prepared(directory: str, second: str, split: str, labels: bool) -> Source:
    faces: Source = FaceDataset(directory, split)
    if second:
        faces = JoinedFaces(faces, FaceDataset(second, split))
    return WithEmotions(faces) if labels else faces


def resolve_conditions(cfg: ConfigDict, faces: Source) -> ConfigDict:
    """The config with ``conditions`` spelled out as ``conditions.parse`` reads them.

    A config without that field is returned as it is.

    Raises:
      ValueError: ``faces`` do not have them; the message lists those that they have.
    """
    if "conditions" not in cfg:
        return cfg
    resolved = cfg.copy_and_resolve_references()
    try:
        found = resolve(cfg.conditions, faces.conditions)
    except ValueError as error:
        unlabelled = cfg.data.source == "synthetic" and not cfg.data.get("labels", False)
        hint = "; set data.labels=True to draw faces with emotions and attributes" * unlabelled
        raise ValueError(f"conditions: {error}{hint}") from error
    with resolved.ignore_type():
        resolved.conditions = tuple(str(one) for one in found)
    return resolved
