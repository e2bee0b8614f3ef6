"""The stages of one example on its way into a batch: drawn, read, decoded, mirrored.

All draws are made on the numbers of faces and the table of their conditions. Pictures are
read last, by ``Fetch``, or not at all where they are on the devices already.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import grain
import numpy as np
import simplejpeg
from PIL import Image

from ganimation_jax.action_units import OPENFACE_MAXIMUM
from ganimation_jax.conditions import Condition
from ganimation_jax.data.pairs import Pairs

Element = dict[str, Any]
PERMUTATIONS = 1  # a stream of random numbers that nothing else uses


@runtime_checkable
class Source(Protocol):
    """Random-access faces: ``FaceDataset`` and ``SyntheticFaces``."""

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """The n conditions that are annotated: action units, then labels."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Element:
        """A record with ``jpeg`` (bytes) or ``image`` (uint8 h w 3)."""
        ...

    def aus_table(self) -> np.ndarray:
        """The action units of all faces, float32 in [0, 5], without reading images."""
        ...

    def label_table(self) -> np.ndarray:
        """The labels of all faces, float32, 0 or 1, without reading images."""
        ...

    def pair_groups(self) -> np.ndarray | None:
        """Int32 ``len``: faces of one group are aligned and show one person.

        ``pairs.ALONE`` for a face in no group; None if there are no groups at all.
        """
        ...


def full_table(source: Source) -> np.ndarray:
    """All conditions of all faces, float32 ``len n`` in [0, 1], in the source's order."""
    aus, labels = source.aus_table() / np.float32(OPENFACE_MAXIMUM), source.label_table()
    return np.concatenate([aus, labels], axis=1, dtype=np.float32) if labels.size else aus


def decode(record: Element, size: int) -> np.ndarray:
    """The picture of a record, uint8 ``size size 3``."""
    image = record.get("image")
    if image is None:
        image = simplejpeg.decode_jpeg(record["jpeg"])
    if image.shape[0] != size:
        image = np.asarray(Image.fromarray(image).resize((size,) * 2, Image.Resampling.LANCZOS))
    return image


class Alternating:
    """Batches of several endless streams in turn, at random access.

    Args:
      streams: of equal rights.
      batch_size: so many elements of one stream follow each other.
    """

    def __init__(self, streams: Sequence[grain.MapDataset], batch_size: int):
        self._streams, self._batch_size = streams, batch_size

    def __len__(self) -> int:
        return len(self._streams[0])

    def __getitem__(self, index: int) -> Any:
        batch, place = divmod(index, self._batch_size)
        turn, stream = divmod(batch, len(self._streams))
        return self._streams[stream][turn * self._batch_size + place]


class Randomness(NamedTuple):
    """What is random about an example besides its faces."""

    noise: float  # targets move by U(-noise, noise)
    clip: bool  # keep targets in [0, 1]; the published code does not
    flip: bool  # mirror half of the images (conditions do not tell left from right)

    def target(self, conditions: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Conditions of a face as a target, float32 ``n``."""
        target = conditions + rng.uniform(-self.noise, self.noise, conditions.shape)
        return (target.clip(0, 1) if self.clip else target).astype(np.float32)

    def mirrored(self, rng: np.random.Generator) -> np.bool_:
        """Whether to mirror an image."""
        return np.bool_(self.flip and rng.random() < 0.5)


class Locate(grain.transforms.Map):
    """A number -> itself as ``face``, and that face's ``have``, float32 ``n`` in [0, 1].

    Args:
      table: float32 ``len n`` in [0, 1], the faces' conditions.
    """

    def __init__(self, table: np.ndarray):
        self._table = table

    def map(self, index: int) -> Element:
        """Read one row of the table."""
        return {"face": np.int32(index), "have": self._table[index]}


class Retarget(grain.transforms.RandomMap):
    """Add ``want``, those of a random face plus noise, and ``flip``, true for half.

    Args:
      table: float32 ``len n`` in [0, 1], the faces' conditions.
      vary: noise and flip.
    """

    def __init__(self, table: np.ndarray, vary: Randomness):
        self._table, self._vary = table, vary

    def random_map(self, element: Element, rng: np.random.Generator) -> Element:
        """Draw target and flip for one example."""
        target = self._vary.target(self._table[rng.integers(len(self._table))], rng)
        return element | {"want": target, "flip": self._vary.mirrored(rng)}


class Permute(grain.transforms.MapWithIndex):
    """A number -> itself as ``face``, its ``have``, and as ``want`` those of its batch, permuted.

    The batch is the global one, over all processes. Each example computes its own target from
    the seed, its place in the stream and the shuffled order of faces. The stream therefore
    depends neither on the number of processes nor on where it starts.

    Args:
      faces: the endless shuffled numbers, at random access.
      table: float32 ``len n`` in [0, 1], the faces' conditions.
      batch_size: over all processes.
      seed: of the permutations.
    """

    def __init__(self, faces: grain.MapDataset, table: np.ndarray, batch_size: int, seed: int):
        self._faces, self._table = faces, table
        self._batch_size, self._seed = batch_size, seed

    def map_with_index(self, index: int, element: int) -> Element:
        """Find the target of one example."""
        batch, place = divmod(index, self._batch_size)
        rng = np.random.default_rng([self._seed, PERMUTATIONS, batch])
        other = batch * self._batch_size + rng.permutation(self._batch_size)[place]
        return {
            "face": np.int32(element),
            "have": self._table[element],
            "want": self._table[self._faces[int(other)]],
        }


class Vary(grain.transforms.RandomMap):
    """Add noise to ``want``, and ``flip``.

    Args:
      vary: noise and flip.
    """

    def __init__(self, vary: Randomness):
        self._vary = vary

    def random_map(self, element: Element, rng: np.random.Generator) -> Element:
        """Vary one example."""
        want = self._vary.target(element["want"], rng)
        return element | {"want": want, "flip": self._vary.mirrored(rng)}


class DrawOther(grain.transforms.RandomMap):
    """A number -> itself as ``face``, and another face as ``other``, whose conditions are ``want``.

    In a share of the examples, ``paired``, the other face is the same person's, drawn by
    ``Pairs``, and ``want`` is exactly what it shows. In the rest it is a random face, and
    ``want`` is off by the noise.

    Args:
      table: float32 ``len n`` in [0, 1], the faces' conditions.
      pairs: where partners come from.
      share: of the examples that are to be paired, [0, 1].
      vary: noise and flip.
    """

    def __init__(self, table: np.ndarray, pairs: Pairs, share: float, vary: Randomness):
        self._table, self._pairs, self._share, self._vary = table, pairs, share, vary

    def random_map(self, index: int, rng: np.random.Generator) -> Element:
        """Draw the other face and the flip for one example."""
        other = self._pairs.partner(index, rng) if rng.random() < self._share else None
        paired = other is not None
        if other is None:
            other = int(rng.integers(len(self._table)))
        want = self._table[other]
        return {
            "face": np.int32(index),
            "other": np.int32(other),
            "paired": np.bool_(paired),
            "have": self._table[index],
            "want": want if paired else self._vary.target(want, rng),
            "flip": self._vary.mirrored(rng),
        }


class DrawFrom(grain.transforms.RandomMap):
    """A number -> itself as ``face``, and as ``other`` a random one of the ``members``.

    Args:
      table: float32 ``len n`` in [0, 1], the conditions of all faces.
      members: int, the numbers to draw from.
      vary: noise and flip; both images of an example are mirrored, or neither.
    """

    def __init__(self, table: np.ndarray, members: np.ndarray, vary: Randomness):
        self._table, self._members, self._vary = table, members, vary

    def random_map(self, index: int, rng: np.random.Generator) -> Element:
        """Draw the other face and the flip for one example."""
        other = self._members[rng.integers(len(self._members))]
        return {
            "face": np.int32(index),
            "other": np.int32(other),
            "have": self._table[index],
            "want": self._vary.target(self._table[other], rng),
            "flip": self._vary.mirrored(rng),
        }


class DrawWrong(grain.transforms.RandomMap):
    """Add ``wrong``: the conditions of a random face that differ from ``have`` somewhere.

    Args:
      table: float32 ``len n``, the faces' conditions.

    Raises:
      ValueError: all faces have the same conditions.
    """

    def __init__(self, table: np.ndarray):
        if (table == table[0]).all():
            raise ValueError("all faces have the same conditions: no wrong ones can be drawn")
        self._table = table

    def random_map(self, element: Element, rng: np.random.Generator) -> Element:
        """Draw faces until one differs."""
        while True:
            wrong = self._table[rng.integers(len(self._table))]
            if (wrong != element["have"]).any():
                return element | {"wrong": wrong}


class Fetch(grain.transforms.Map):
    """In place of the numbers of faces their images, all mirrored or none.

    Args:
      source: of the faces.
      size: of the images; those of another size are resized.
    """

    def __init__(self, source: Source, size: int):
        self._source, self._size = source, size

    def map(self, element: Element) -> Element:
        """Read and decode the images."""
        turn = -1 if element.pop("flip") else 1
        images = {
            name: decode(self._source[int(element.pop(number))], self._size)[:, ::turn]
            for number, name in (("face", "image"), ("other", "other"))
            if number in element
        }
        return element | images
