"""Which change of a generated face's style changes which action unit.

Fitted by ``ganimation prepare fit-directions`` from faces drawn with random changes of their
expression rows. A file of fitted directions ships with the package.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ganimation_jax.action_units import positions

SHIPPED = Path(__file__).with_name("directions.npz")
FLOOR = 0.05  # of the mean variance, added to the variance of every direction of style
IDENTITY = 27.0  # what a change of identity costs, beside a change of style
LEEWAY = 0.05  # by which other action units may move, as a share of the mean sensitivity


class Directions(NamedTuple):
    """Linear maps between changes of style and changes of action units."""

    action_units: tuple[str, ...]
    effect: np.ndarray  # float32 512 n: action units, 0-5, gained by a step of style
    steps: np.ndarray  # float32 512 n: the step that adds 1 to a unit and nothing to the others
    about: dict[str, Any]  # of the fit: people, pictures, annotator, r of each action unit

    def step(self, change: np.ndarray, length: float) -> np.ndarray:
        """The change of style in the direction of a change of action units.

        Args:
          change: ``n``, in proportion to what is wanted.
          length: Euclidean length of the result. The farther, the stronger the expression;
            beyond about 14 faces fall apart.

        Returns:
          float32 512.
        """
        step = self.steps @ np.asarray(change, np.float64)
        return (step * (length / np.linalg.norm(step))).astype(np.float32)

    def save(self, path: Path) -> None:
        """Write as ``.npz``, in half precision: 35 KB for 17 action units."""
        about = json.dumps({"action_units": self.action_units, **self.about})
        effect, steps = self.effect.astype(np.float16), self.steps.astype(np.float16)
        with path.open("wb") as file:
            np.savez_compressed(file, effect=effect, steps=steps, about=about)

    @classmethod
    def load(cls, path: Path = SHIPPED) -> "Directions":
        """Read what ``save`` wrote.

        Raises:
          FileNotFoundError: there is no such file.
          ValueError: it is something else.
        """
        if not path.is_file():
            raise FileNotFoundError(
                f"no directions of style at {path}: fit them with `ganimation prepare"
                " fit-directions --out FILE`, and give --directions FILE"
            )
        try:
            with np.load(path) as file:
                about = json.loads(str(file["about"]))
                effect, steps = (file[name].astype(np.float32) for name in ("effect", "steps"))
            codes = tuple(about.pop("action_units"))
            positions(codes)
        except (OSError, ValueError, KeyError) as error:
            raise ValueError(f"{path} holds no directions of style: {error}") from error
        if not effect.shape == steps.shape == (len(effect), len(codes)):
            raise ValueError(f"{path} holds no directions of style: shapes do not agree")
        return cls(codes, effect, steps, about)


def solve(covariance: np.ndarray, effect: np.ndarray, identity: np.ndarray) -> np.ndarray:
    """The steps that change action units while all else stays.

    The step ``s`` for a change ``t`` minimises ``s' M s`` subject to ``effect' s = t``, where
    ``M = covariance + FLOOR mean variance + IDENTITY identity identity'``. Directions in which
    people differ much cost much, because they change hair, light and background, and so do
    directions that change the person or turn the head. (The inverse covariance in place of
    the covariance was tried: people then change beyond recognition at a length of 9.) The
    constraint is softened by ``LEEWAY``.

    Args:
      covariance: ``512 512``, of random changes of style.
      effect: ``512 n``.
      identity: ``512 d``, what a step does to the face's descriptor and the head's pose.

    Returns:
      ``512 n``, a step for each action unit.
    """
    count = len(covariance)
    floor = FLOOR * np.trace(covariance) / count * np.eye(count)
    toward = np.linalg.solve(covariance + floor + IDENTITY * identity @ identity.T, effect)
    sensitivity = effect.T @ toward
    soft = LEEWAY * np.trace(sensitivity) / len(sensitivity) * np.eye(len(sensitivity))
    return toward @ np.linalg.inv(sensitivity + soft)
