"""Action units of synthetic faces, and their random sampling."""

from typing import NamedTuple

import numpy as np

from ganimation_jax.action_units import ACTION_UNITS, EXPRESSIONS, OPENFACE_MAXIMUM
from ganimation_jax.synthetic.drawing import Array


class Muscles(NamedTuple):
    """Intensities in [0, 1], in the order of ACTION_UNITS."""

    au01: float
    au02: float
    au04: float
    au05: float
    au06: float
    au07: float
    au09: float
    au10: float
    au12: float
    au14: float
    au15: float
    au17: float
    au20: float
    au23: float
    au25: float
    au26: float
    au45: float


def muscles(aus: Array) -> Muscles:
    """Name one face's intensities.

    Raises:
      ValueError: ``aus`` is not 17 numbers in [0, 1].
    """
    aus = np.asarray(aus, np.float32)
    if aus.shape != (len(ACTION_UNITS),):
        raise ValueError(f"aus has shape {aus.shape}: give one face's {len(ACTION_UNITS)} values")
    if not ((aus >= 0) & (aus <= 1)).all():  # also catches NaN
        bad = int(np.argmin((aus >= 0) & (aus <= 1)))
        raise ValueError(
            f"{ACTION_UNITS[bad]} is {aus[bad]}: intensities lie in [0, 1]; "
            f"divide OpenFace's by {OPENFACE_MAXIMUM:g}"
        )
    return Muscles(*aus.tolist())


# Intensities are a rectified power of a latent normal, min(5, scale * max(0, z - threshold)^power),
# fitted to the fraction of zeros, mean and standard deviation of each unit on 5,956 faces in the
# wild (LFW) annotated by OpenFace. Each line shows the published mean and standard deviation.
_MARGINALS = np.array(
    [  # threshold, scale, power
        (-0.06, 1.61, 1.09),  # AU01: mean 0.70, std 1.02
        (0.03, 1.06, 1.06),  # AU02: .41, .63
        (-0.11, 1.12, 1.13),  # AU04: .52, .75
        (0.11, 1.16, 1.10),  # AU05: .40, .66
        (-0.61, 1.08, 1.07),  # AU06: .86, .89
        (-0.56, 1.38, 0.97),  # AU07: 1.01, 1.02
        (-0.53, 0.82, 1.03),  # AU09: .59, .63
        (-0.85, 1.06, 0.96),  # AU10: 1.00, .85
        (-0.56, 1.25, 1.05),  # AU12: .94, .99
        (-0.59, 1.07, 0.93),  # AU14: .80, .78
        (-0.93, 0.56, 1.11),  # AU15: .60, .53
        (-0.07, 0.90, 1.06),  # AU17: .39, .56
        (-0.65, 0.87, 1.04),  # AU20: .71, .71
        (0.57, 0.58, 1.20),  # AU23: .10, .24
        (-0.77, 1.19, 1.01),  # AU25: 1.07, .98
        (-0.78, 0.88, 1.05),  # AU26: .81, .75
        (-0.13, 0.86, 1.12),  # AU45: .41, .58
    ]
)
# Correlations of the latent normals in percent, lower triangle, AU02 to AU45. They are solved so
# that the intensities have the correlations measured on the same 5,956 faces.
# fmt: off
_LATENT_CORRELATIONS = (
    63,
    4, -18,
    37, 44, -5,
    -22, -37, 11, -31,
    -15, -36, 26, -33, 67,
    -22, -27, 38, -22, 45, 48,
    -9, -23, 18, -19, 66, 42, 43,
    -19, -17, -24, -25, 76, 36, 6, 50,
    -15, -15, -5, -23, 60, 25, 13, 48, 65,
    14, -4, 19, 5, -15, 3, 14, 8, -44, -24,
    3, 7, 14, 3, -15, -6, -2, 7, -25, 3, 34,
    7, 0, 14, -6, 18, 14, 17, 11, 0, 18, 27, 13,
    -14, -3, -3, 2, -4, -8, -7, -10, -6, 20, -1, 41, 18,
    7, -5, 5, 0, 42, 33, 17, 36, 42, 20, -14, -33, 9, -47,
    8, -1, 12, 3, -5, 9, 6, 2, -17, -13, 12, -4, 1, -23, 31,
    4, 4, 20, -26, 14, 22, 14, 11, -2, -1, 18, 3, 21, -17, 7, 8,
)
# fmt: on


def _mixing() -> Array:
    """Cholesky factor [17, 17] of the latent correlations."""
    correlation = np.eye(len(ACTION_UNITS))
    correlation[np.tril_indices(len(ACTION_UNITS), -1)] = np.array(_LATENT_CORRELATIONS) / 100
    return np.linalg.cholesky(correlation)  # reads the lower triangle only


_MIXING = _mixing()


def sample_aus(rng: np.random.Generator) -> Array:
    """Sample an expression: float32 [17] in [0, 1], with units correlated as in real faces.

    Uses a Gaussian copula: correlated normals, each mapped to its unit's distribution.
    """
    threshold, scale, power = _MARGINALS.T
    latent = _MIXING @ rng.standard_normal(len(ACTION_UNITS))
    intensity = scale * np.maximum(latent - threshold, 0) ** power
    return np.minimum(intensity / OPENFACE_MAXIMUM, 1).astype(np.float32)


STRENGTH = (0.5, 0.9)  # intensities of the units of an emotion
BACKGROUND = 0.2  # what is left of a random expression in the other units


def sample_emotion(rng: np.random.Generator, emotion: str) -> Array:
    """Sample an expression of an emotion: float32 [17] in [0, 1].

    The units of the emotion's prototype (`EXPRESSIONS`; none for "neutral") are clearly active.
    A random expression, much weakened, varies the others.
    """
    aus = BACKGROUND * sample_aus(rng)
    places = [ACTION_UNITS.index(unit) for unit in EXPRESSIONS.get(emotion, ())]
    aus[places] = rng.uniform(*STRENGTH, len(places))
    return aus.astype(np.float32)
