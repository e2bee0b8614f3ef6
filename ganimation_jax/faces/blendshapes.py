"""Action units read from MediaPipe's blendshapes.

Each action unit is a linear function of one of the 52 coefficients, or of a few:
``clip((x - b) / (c - b), 0, 1)``, with left and right sides averaged. ``b`` and ``c`` were
measured over faces in the wild. ``QUALITY`` says how far each reading can be trusted.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ganimation_jax.action_units import ACTION_UNITS

# The 52 coefficients in MediaPipe's order.
NAMES = (
    *("_neutral", "browDownLeft", "browDownRight", "browInnerUp"),
    *("browOuterUpLeft", "browOuterUpRight", "cheekPuff", "cheekSquintLeft"),
    *("cheekSquintRight", "eyeBlinkLeft", "eyeBlinkRight", "eyeLookDownLeft"),
    *("eyeLookDownRight", "eyeLookInLeft", "eyeLookInRight", "eyeLookOutLeft"),
    *("eyeLookOutRight", "eyeLookUpLeft", "eyeLookUpRight", "eyeSquintLeft"),
    *("eyeSquintRight", "eyeWideLeft", "eyeWideRight", "jawForward"),
    *("jawLeft", "jawOpen", "jawRight", "mouthClose"),
    *("mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft", "mouthFrownRight"),
    *("mouthFunnel", "mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight"),
    *("mouthPressLeft", "mouthPressRight", "mouthPucker", "mouthRight"),
    *("mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper"),
    *("mouthSmileLeft", "mouthSmileRight", "mouthStretchLeft", "mouthStretchRight"),
    *("mouthUpperUpLeft", "mouthUpperUpRight", "noseSneerLeft", "noseSneerRight"),
)


class Quality(NamedTuple):
    """How far a reading can be trusted as a judge of faces.

    The grade follows from ``auc``: "good" from ``GOOD`` on; "none" up to ``CHANCE``, where a
    reading says nothing and must not judge; "low" between, and where people's coding of the
    unit was not available.
    """

    grade: str  # "good", "low" or "none"
    auc: float  # against human FACS coding, see AUC; NaN where there is none
    r: float  # correlation with OpenFace 2.2 over 13,500 faces in the wild; NaN if not read


class _Line(NamedTuple):
    x: Callable[[Callable[[str], np.ndarray]], np.ndarray]  # from the sides' mean of each name
    b: float  # where the action unit is 0
    c: float  # where it is 1
    r: float


GOOD, CHANCE = 0.75, 0.55
# Area under the ROC curve of MediaPipe's readings against action units that people trained in
# FACS had coded, on about 250 colour photos of CFEE (Du et al. 2014). OpenFace 2.2 on the same
# photos: 01 .87, 02 .87, 04 .94, 05 .91, 06 .70, 07 .73, 09 .96, 10 .74, 12 1.0, 15 .80, 17 .94,
# 20 .70, 25 .90, 26 .91.
AUC = {
    "AU01": 0.91, "AU02": 0.92, "AU04": 0.77, "AU05": 0.96, "AU06": 0.50, "AU07": 0.78,
    "AU09": 0.38, "AU10": 0.62, "AU12": 1.00, "AU15": 0.89, "AU17": 0.89, "AU20": 0.77,
    "AU25": 0.87, "AU26": 0.89,
}  # fmt: skip

_LINES = {
    "AU01": _Line(lambda of: of("browInnerUp"), 0.008, 0.914, r=0.42),
    "AU02": _Line(lambda of: of("browOuterUp"), 0.031, 0.865, r=0.52),
    "AU04": _Line(lambda of: of("browDown"), 0.095, 0.871, r=0.31),
    "AU05": _Line(lambda of: of("eyeWide"), 0.008, 0.135, r=0.40),
    # A stand-in, because cheekSquint never moves: a raised cheek narrows the eye and comes with
    # a smile. It agrees with OpenFace, but tells people's coding of AU06 no better than chance.
    "AU06": _Line(lambda of: np.sqrt(of("eyeSquint") * of("mouthSmile")), 0.015, 0.824, r=0.73),
    "AU07": _Line(lambda of: of("eyeSquint"), 0.367, 0.802, r=0.59),
    "AU10": _Line(lambda of: of("mouthUpperUp"), 0.0, 0.815, r=0.29),
    "AU12": _Line(lambda of: of("mouthSmile"), 0.001, 0.963, r=0.85),
    "AU14": _Line(lambda of: of("mouthDimple"), 0.006, 0.177, r=0.08),
    "AU15": _Line(lambda of: of("mouthFrown"), 0.002, 0.383, r=0.21),
    "AU17": _Line(lambda of: of("mouthShrugLower"), 0.006, 0.749, r=0.22),
    "AU20": _Line(lambda of: of("mouthStretch"), 0.005, 0.680, r=0.09),
    "AU23": _Line(
        lambda of: np.maximum.reduce(
            [of("mouthPress"), of("mouthRollLower"), of("mouthRollUpper")]
        ),
        0.075,
        0.565,
        r=0.16,
    ),
    "AU25": _Line(
        lambda of: (
            np.maximum.reduce([of("mouthLowerDown"), of("mouthUpperUp"), of("jawOpen")])
            - of("mouthClose")
        ),
        0.029,
        0.884,
        r=0.58,
    ),
    "AU26": _Line(lambda of: of("jawOpen"), 0.023, 0.541, r=0.33),
    "AU45": _Line(lambda of: of("eyeBlink"), 0.104, 0.682, r=0.58),
}


def _grade(auc: float) -> str:
    if auc >= GOOD:
        return "good"
    return "none" if auc <= CHANCE else "low"


QUALITY = {
    code: Quality(
        _grade(auc := AUC.get(code, math.nan)),
        auc,
        _LINES[code].r if code in _LINES else math.nan,
    )
    for code in ACTION_UNITS
}
SERVED = tuple(_LINES)  # AU09 is not: MediaPipe's noseSneer never moves

_MEMBERS = {
    name: [i for i, full in enumerate(NAMES) if full in (name, f"{name}Left", f"{name}Right")]
    for name in NAMES + tuple(full.removesuffix("Left") for full in NAMES)
}


def read_aus(blendshapes: np.ndarray) -> np.ndarray:
    """Action units of faces.

    Args:
      blendshapes: ``... 52`` in MediaPipe's order, [0, 1].

    Returns:
      float32 ``... 17`` in the order of ``ACTION_UNITS``, [0, 1]; NaN where not served.

    Raises:
      ValueError: there are not 52 coefficients.
    """
    blendshapes = np.asarray(blendshapes, np.float32)
    if blendshapes.shape[-1:] != (len(NAMES),):
        raise ValueError(f"{len(NAMES)} blendshapes wanted, the shape is {blendshapes.shape}")

    def of(name: str) -> np.ndarray:
        return blendshapes[..., _MEMBERS[name]].mean(axis=-1)

    aus = np.full((*blendshapes.shape[:-1], len(ACTION_UNITS)), np.nan, np.float32)
    for code, line in _LINES.items():
        value = (line.x(of) - line.b) / (line.c - line.b)
        aus[..., ACTION_UNITS.index(code)] = np.clip(value, 0, 1)
    return aus
