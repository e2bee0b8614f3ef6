"""A linear readout of action units from MediaPipe's measurements, fitted to OpenFace's labels.

The features of a face are the 52 blendshapes, the positions of the mesh points in the
canonical crop (which removes rotation, scale and shift), and the head's yaw and pitch with
their squares and product. With the pose terms, the ridge regression can correct for the effect
of head rotation on the other features.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ganimation_jax.action_units import OPENFACE_MAXIMUM, positions
from ganimation_jax.faces.alignment import apply, transform_of
from ganimation_jax.faces.landmarker import DetectedFace
from ganimation_jax.files.npz import read_npz
from ganimation_jax.prepare.problems import UsageError

FEATURES = 52 + 2 * 478 + 5  # blendshapes, points, pose
LARGEST = 1 << 24  # bytes of a readout file; one with 17 action units has 140,000
RIDGES = (1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 1e-1, 1.0)  # penalties to try, per example


class Fit(NamedTuple):
    """``predicted = features @ weights + bias``."""

    weights: np.ndarray  # f a
    bias: np.ndarray  # a


class Agreement(NamedTuple):
    """Agreement of predictions with labels, one number per action unit."""

    r: np.ndarray  # Pearson's correlation
    ccc: np.ndarray  # Lin's concordance: correlation, reduced by a difference in mean or spread
    mae: np.ndarray  # 0-5


class Readout(NamedTuple):
    """A readout, as written by ``fit-readout`` and used by ``photos --readout``."""

    action_units: tuple[str, ...]
    fit: Fit
    about: dict[str, Any]  # cross-validated agreement, number of faces

    def read(self, face: DetectedFace) -> dict[str, float]:
        """Predict action unit -> intensity in [0, 5]."""
        aus = predict(self.fit, features(face)[None])[0]
        return dict(zip(self.action_units, aus.tolist(), strict=True))

    def save(self, path: Path) -> None:
        """Write as ``.npz``."""
        about = json.dumps({"action_units": self.action_units, **self.about})
        with path.open("wb") as file:
            np.savez(file, weights=self.fit.weights, bias=self.fit.bias, about=about)

    @classmethod
    def load(cls, path: Path) -> "Readout":
        """Load a file written by ``save``.

        Raises:
          UsageError: the file is not a readout.
        """
        try:
            arrays = read_npz(path, LARGEST)
            about = json.loads(str(arrays["about"]))
            fit = Fit(arrays["weights"], arrays["bias"])
            codes = tuple(about.pop("action_units"))
            positions(codes)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise UsageError(f"{path} is no readout of fit-readout: {error}") from error
        if fit.weights.shape != (FEATURES, len(codes)) or fit.bias.shape != (len(codes),):
            raise UsageError(f"{path} is no readout of fit-readout: shapes do not agree")
        if not (np.isfinite(fit.weights).all() and np.isfinite(fit.bias).all()):
            raise UsageError(f"{path} has weights that are not finite: fit it again")
        if not _is_about(about, codes):
            raise UsageError(f"{path} is no readout of fit-readout: it lacks its agreement")
        return cls(codes, fit, about)


def _is_about(about: dict[str, Any], codes: Sequence[str]) -> bool:
    tables = (about.get("r"), about.get("ccc"))
    return isinstance(about.get("faces"), int) and all(
        isinstance(table, dict) and all(isinstance(table.get(code), int | float) for code in codes)
        for table in tables
    )


def features(face: DetectedFace) -> np.ndarray:
    """Features of a face, float64 ``f``; see the module docstring."""
    points = apply(transform_of(face, 1), face.points)
    yaw, pitch = np.radians((face.pose.yaw, face.pose.pitch))
    turn = (yaw, pitch, yaw * yaw, pitch * pitch, yaw * pitch)
    return np.concatenate([face.blendshapes, points.ravel(), turn])


def ridge(x: np.ndarray, y: np.ndarray, penalties: Sequence[float]) -> list[Fit]:
    """Ridge regression of ``y`` (``n a``) on standardised ``x`` (``n f``), one fit per penalty.

    Minimises ``mean(|y - x w - b|^2) + penalty * |w|^2`` for each action unit.
    """
    mean, scale = x.mean(axis=0), x.std(axis=0)
    scale = np.where(scale > 0, scale, np.inf)  # a constant feature predicts nothing
    z = (x - mean) / scale
    values, vectors = np.linalg.eigh(z.T @ z / len(z))
    moments = vectors.T @ (z.T @ (y - y.mean(axis=0)) / len(z))
    fits = []
    for penalty in penalties:
        weights = (vectors @ (moments / (values + penalty)[:, None])) / scale[:, None]
        fits.append(Fit(weights, y.mean(axis=0) - mean @ weights))
    return fits


def predict(fit: Fit, x: np.ndarray) -> np.ndarray:
    """Predict intensities ``n a`` in [0, 5] from features ``n f``."""
    return np.clip(x @ fit.weights + fit.bias, 0, OPENFACE_MAXIMUM)


def agreement(predicted: np.ndarray, truth: np.ndarray) -> Agreement:
    """Agreement of two ``n a`` arrays; r and CCC are 0 if either one is constant."""
    a, b = predicted - predicted.mean(axis=0), truth - truth.mean(axis=0)
    covariance = (a * b).mean(axis=0)
    spread = a.std(axis=0) * b.std(axis=0)
    distance = np.square(predicted.mean(axis=0) - truth.mean(axis=0))
    total = a.var(axis=0) + b.var(axis=0) + distance
    with np.errstate(invalid="ignore", divide="ignore"):
        r, ccc = covariance / spread, 2 * covariance / total
    return Agreement(np.nan_to_num(r), np.nan_to_num(ccc), np.abs(predicted - truth).mean(axis=0))


def cross_validate(
    x: np.ndarray, y: np.ndarray, people: Sequence[str], folds: int
) -> tuple[Fit, float, Agreement]:
    """Fit on all people with the penalty that has the lowest error on held-out people.

    Returns:
      The fit, its penalty, and the agreement of the ``folds`` fits, each on its held-out
      people. (The single penalty is chosen among ``RIDGES`` on the same faces.)

    Raises:
      UsageError: there are fewer people than folds.
    """
    names, person = np.unique(people, return_inverse=True)
    if len(names) < folds:
        raise UsageError(f"{len(names)} people cannot be divided into {folds} folds")
    fold = np.random.default_rng(0).permutation(len(names))[person] % folds
    predicted = np.empty((len(RIDGES), *y.shape))
    for held_out in range(folds):
        seen = fold != held_out
        for number, fit in enumerate(ridge(x[seen], y[seen], RIDGES)):
            predicted[number, ~seen] = predict(fit, x[~seen])
    best = int(np.argmin(np.square(predicted - y).mean(axis=(1, 2))))
    return ridge(x, y, RIDGES[best : best + 1])[0], RIDGES[best], agreement(predicted[best], y)
