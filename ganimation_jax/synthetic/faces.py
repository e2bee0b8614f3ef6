"""A random-access source of synthetic faces.

They have two uses. They are training pictures that need no download. And they measure edits,
because the picture of the same `Identity` with other action units *is* the true edit.
`drawn_person` and `expression` choose what is drawn; `drawn_face.render` draws it.
"""

import dataclasses
import operator

import numpy as np

from ganimation_jax.action_units import ACTION_UNITS, OPENFACE_MAXIMUM
from ganimation_jax.conditions import EMOTIONS, Condition
from ganimation_jax.synthetic.drawing import Array
from ganimation_jax.synthetic.drawn_face import check_image_size, render
from ganimation_jax.synthetic.drawn_person import Identity, sample_identity
from ganimation_jax.synthetic.expression import sample_aus, sample_emotion
from ganimation_jax.synthetic.labels import LABELS, labels_of


@dataclasses.dataclass(frozen=True)
class SyntheticFaces:
    """A random-access source of `size` faces; each is a pure function of (seed, index).

    Args:
      size: number of faces.
      image_size: side of the pictures in pixels.
      seed: of everything random.
      expressions: pictures of each person, one after the other. They differ in the
        expression alone, so that any two are a pair: each is the true edit of the other.
      labels: whether faces show one of eight emotions, and have labels: their emotion, glasses,
        beard, and colour of the hair. Eight pictures of a person show the eight emotions.
    """

    size: int
    image_size: int
    seed: int = 0
    expressions: int = 1
    labels: bool = False

    def __post_init__(self):
        check_image_size(self.image_size)
        if self.size < 1:
            raise ValueError(f"size is {self.size}: ask for at least one face")
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}: choose one >= 0")
        if self.expressions < 1:
            raise ValueError(f"expressions is {self.expressions}: a person needs at least one")

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """All 17 action units, and the labels if there are any."""
        units = tuple(Condition(unit) for unit in ACTION_UNITS)
        return units + LABELS if self.labels else units

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> dict[str, Array]:
        """`image` uint8 [h, w, 3] and `aus` float32 [17] on OpenFace's scale, 0-5."""
        aus = self._aus(index)
        image = render(self.identity(index), aus, self.image_size)
        return {"image": image, "aus": aus * np.float32(OPENFACE_MAXIMUM)}

    def identity(self, index: int) -> Identity:
        """Who is in picture `index`."""
        self._check(index)
        return sample_identity(self._rng(index // self.expressions, 0))

    def aus_table(self) -> Array:
        """All action units, float32 [size, 17] on OpenFace's scale, without drawing."""
        table = np.stack([self._aus(index) for index in range(self.size)])
        return table * np.float32(OPENFACE_MAXIMUM)

    def label_table(self) -> Array:
        """All labels, float32 [size, n], 0 or 1, without drawing; n is 0 without labels."""
        if not self.labels:
            return np.zeros((self.size, 0), np.float32)
        people = -(-self.size // self.expressions)
        who = [self.identity(person * self.expressions) for person in range(people)]
        rows = [labels_of(who[i // self.expressions], self.emotion(i)) for i in range(self.size)]
        return np.stack(rows)

    def emotion(self, index: int) -> str:
        """The emotion that picture `index` shows, where faces have labels."""
        person, number = divmod(index, self.expressions)
        first = self._rng(person, 2).integers(len(EMOTIONS))
        return EMOTIONS[(int(first) + number) % len(EMOTIONS)]

    def pair_groups(self) -> Array | None:
        """The person in each picture, int32 [size]; None where each has but one picture."""
        if self.expressions == 1:
            return None
        return np.arange(self.size, dtype=np.int32) // self.expressions

    def _aus(self, index: int) -> Array:
        self._check(index)
        rng = self._rng(index, 1)
        return sample_emotion(rng, self.emotion(index)) if self.labels else sample_aus(rng)

    def _check(self, index: int) -> None:
        if not 0 <= operator.index(index) < self.size:
            raise IndexError(f"index {index} is outside [0, {self.size})")

    def _rng(self, index: int, stream: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, operator.index(index), stream])
