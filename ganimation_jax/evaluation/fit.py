"""Fits the action units of a synthetic face by matching its rendering to a picture."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ganimation_jax.synthetic.drawn_face import render
from ganimation_jax.synthetic.drawn_person import Identity

STEP = 0.05  # of the numeric derivatives, to either side; 8-bit pixels are too coarse for much less
DONE = 0.01  # the fit has converged below this step size; its error is then half as large
ITERATIONS = 12
DAMPING = (1e-4, 1e4)  # of the normal equations: initial value, and where the fit gives up


class _Point(NamedTuple):
    aus: np.ndarray  # 17
    residual: np.ndarray  # of all pixels, [-2, 2]
    cost: float


def fit_aus(
    image: Float[np.ndarray, "h h 3"], identity: Identity, start: Float[np.ndarray, "17"]
) -> Float[np.ndarray, "17"]:
    """Find the action units whose rendering is nearest to a picture.

    Solves least squares over pixels with a Levenberg-Marquardt method projected onto the box
    [0, 1] (Kanzow, Yamashita and Fukushima 2004). Units that are invisible in the picture, such
    as a raised lid when the eyes are shut, stay near ``start``.

    Args:
      image: in [-1, 1].
      identity: the person in the picture.
      start: initial values in [0, 1]. The face's own action units favour no edit.

    Returns:
      values in [0, 1].
    """

    def at(aus: np.ndarray) -> _Point:
        residual = (_draw(identity, aus, len(image)) - image).ravel()
        return _Point(aus, residual, float(np.square(residual).sum()))

    here, damping = at(np.clip(start, 0, 1).astype(np.float64)), DAMPING[0]
    for _ in range(ITERATIONS):
        slope = _derivatives(identity, here.aus, len(image))
        # Not `@`, because starting BLAS threads takes longer than such small products.
        gradient = np.einsum("up,p->u", slope, here.residual)
        curvature = np.einsum("up,vp->uv", slope, slope)
        while damping < DAMPING[1]:
            there = at(_step(here.aus, gradient, curvature, damping))
            if there.cost < here.cost:
                break
            damping *= 10
        else:
            return here.aus
        moved = np.abs(there.aus - here.aus).max()
        here, damping = there, max(damping / 10, DAMPING[0])
        if moved < DONE:
            break
    return here.aus


def _step(
    aus: np.ndarray, gradient: np.ndarray, curvature: np.ndarray, damping: float
) -> np.ndarray:
    """Take a damped Gauss-Newton step in the free units; the others are at a bound."""
    free = ~((aus <= 0) & (gradient > 0) | (aus >= 1) & (gradient < 0))
    system = curvature[np.ix_(free, free)]
    # Marquardt's scaling, with a floor for units that are invisible in the picture.
    system = system + damping * np.diag(np.diag(system) + 1e-3 * np.trace(curvature) / len(aus))
    moved = aus.copy()
    moved[free] -= np.linalg.solve(system, gradient[free])
    return np.clip(moved, 0, 1)


def _derivatives(identity: Identity, aus: np.ndarray, size: int) -> np.ndarray:
    """Derivatives of all pixels by central differences within the bounds: 17 pixels."""
    rows = []
    for unit, value in enumerate(aus):
        ends = max(value - STEP, 0), min(value + STEP, 1)
        below, above = (_draw(identity, _with(aus, unit, end), size) for end in ends)
        rows.append((above - below).ravel() / (ends[1] - ends[0]))
    return np.stack(rows)


def _with(aus: np.ndarray, unit: int, value: float) -> np.ndarray:
    moved = aus.copy()
    moved[unit] = value
    return moved


def _draw(identity: Identity, aus: np.ndarray, size: int) -> np.ndarray:
    return render(identity, aus, size) / 127.5 - 1
