"""Upper face: forehead, brows and eyes, and the action units that move them.

The Facial Action Coding System also divides the face into upper and lower. `shade_*` functions
add to the skin's relief, `paint_*` functions put colour over the skin.
"""

import math
from typing import NamedTuple

import numpy as np

from ganimation_jax.synthetic.drawing import (
    Array,
    Canvas,
    Color,
    Patch,
    band,
    bump,
    clip01,
    line,
    planes,
    ripples,
    scaled,
    window_fade,
)
from ganimation_jax.synthetic.drawn_person import Identity
from ganimation_jax.synthetic.expression import Muscles


def shade_forehead(canvas: Canvas, identity: Identity, m: Muscles) -> None:
    """Shade wrinkles of the frontalis (AU01, AU02) and frown lines of the corrugator (AU04)."""
    inner, outer = 0.10 * m.au01, 0.10 * m.au02
    rest = 0.05 * max(0.0, identity.age - 0.4)
    if inner + outer + rest > 0:
        patch = canvas.patch(-0.27, -0.27, 0.27, -0.09)
        side = np.abs(patch.u)
        centre = window_fade(side, 0, 0.17)
        lateral = window_fade(side, 0.17, 0.12)
        # The lines arch in the middle when raised medially, over the brows' ends laterally.
        rise = 0.012 * (m.au01 * centre + m.au02 * lateral)
        depth = inner * centre + outer * lateral + rest * centre
        lines = ripples((patch.v + rise - 0.012) * (1 / 0.046))
        canvas.shade(patch, (0.32 - lines) * 1.5 * depth * window_fade(patch.v, -0.18, 0.085))
    frown = m.au04 + 0.10 * identity.age**2 + 0.25 * m.au09
    patch = canvas.patch(-0.08, -0.15, 0.08, 0.02)
    side, fade = np.abs(patch.u), window_fade(patch.v, -0.055, 0.07)
    furrow = line(side - 0.021 - 0.06 * (patch.v + 0.055), 0.011, canvas.pixel)
    swelling = window_fade(side, 0, 0.022) * 0.15
    canvas.shade(patch, (swelling - furrow) * fade * (0.34 * frown))


def paint_brows(canvas: Canvas, identity: Identity, m: Muscles, skin: Color) -> None:
    """Paint brows. AU01 lifts the inner ends, AU02 the outer; AU04 pulls them down and together."""
    inner = 0.052 - 0.020 * m.au04 - 0.004 * m.au09
    outer = 0.245 - 0.006 * m.au04
    patch = canvas.patch(-0.27, -0.21, 0.27, 0.0)
    t = (np.abs(patch.u) - inner) * (1 / (outer - inner))
    t_in = np.minimum(np.maximum(t, 0), 1)
    medial = np.square(1 - t_in)
    lateral = 0.15 + t_in * t_in * (2.1 - 1.25 * t_in)
    height = identity.brow_height + (0.020 + 0.050 * identity.brow_arch) * t_in * (1 - 0.8 * t_in)
    height += (0.048 * m.au01 - 0.022 * m.au04 - 0.012 * m.au09) * medial
    height += 0.044 * m.au02 * lateral - 0.022 * m.au04 - 0.006 * m.au09 - 0.020 * t_in**3
    thick = 0.0145 * identity.brow_thickness * (1.0 - 0.75 * t_in**2)
    thick *= np.minimum(1, 0.6 + 3 * t_in)
    cover = band(patch.v, -height - thick, -height + thick, 1.6 * canvas.pixel + 0.006)
    ends = band(t, 0.0, 1.0, 0.09 + 4 * canvas.pixel)
    # Hairs shade the skin between them: even a fair brow is darker than dark skin.
    color = np.minimum(planes(identity.brow_color), 0.6 * planes(skin))
    canvas.paint(patch, 0.88 * cover * ends, color)


class Lids(NamedTuple):
    """Shape of the eye opening. Heights are relative to the line between its corners."""

    half: float  # half-width
    above: float  # upper lid, upwards
    below: float  # lower lid, downwards
    fold: float  # the crease over the upper lid, upwards


def lid_shape(identity: Identity, m: Muscles) -> Lids:
    """Lid shape: AU05 lifts the upper lid, AU06 the lower; AU07 narrows the eye, AU45 closes it."""
    half = 0.068 * identity.eye_size
    height = 0.031 * identity.eye_size * identity.eye_openness
    above = height * (1 + 0.55 * m.au05 - 0.28 * m.au07 - 0.05 * m.au06)
    below = 0.72 * height * (1 + 0.12 * m.au05) * (1 - 0.62 * m.au07) * (1 - 0.42 * m.au06)
    fold = height * 1.62 - 0.004 * m.au07 + 0.012 * m.au05
    above += (-below - above) * m.au45  # the upper lid comes down onto the lower
    return Lids(half, above, below, fold)


def _eye_frame(identity: Identity, patch: Patch, half: float) -> tuple[Array, Array, Array]:
    """Return the position t along the eye ([-1, 1], inner to outer), the height, and 1 - t^2."""
    t = (np.abs(patch.u) - identity.eye_spacing) * (1 / half)
    v = patch.v + identity.eye_tilt * t
    arch = np.maximum(1 - np.square(t), 0)
    return t, v, arch


def shade_eyes(canvas: Canvas, identity: Identity, m: Muscles, lids: Lids) -> None:
    """Shade the sockets, the lid's crease, the pouch under the eye and crow's feet (AU06)."""
    patch = canvas.patch(-0.30, -0.09, 0.30, 0.11)
    t, v, arch = _eye_frame(identity, patch, lids.half)
    side = np.abs(patch.u)
    relief = -0.17 * bump(side - identity.eye_spacing + 0.02, patch.v + 0.025, 0.12, 0.065)
    # The closed lid bulges over the eyeball.
    relief += 0.12 * m.au45 * bump(t, v + 0.012, 1.0, 0.034)
    reach = window_fade(t, 0, 1.25)
    crease = line(v + lids.fold * (0.25 + 0.75 * arch), 0.008, canvas.pixel)
    relief -= (0.24 + 0.10 * m.au07) * crease * reach
    pouch = 0.10 + 0.10 * identity.age + 0.42 * m.au06 + 0.26 * m.au07
    under = v - lids.below * arch - 0.020 + 0.006 * (m.au06 + m.au07)
    fold = line(under, 0.011, canvas.pixel) - 0.5 * window_fade(under, -0.013, 0.012)
    relief -= 0.8 * pouch * fold * reach
    crow = m.au06 + 0.15 * max(0.0, identity.age - 0.5)
    if crow > 0:  # lines fanning out from the outer corner
        out = side - identity.eye_spacing - lids.half
        angle = (patch.v + 0.5 * identity.eye_tilt) / np.maximum(out + 0.055, 0.02)
        fan = ripples(angle * (1 / 0.40) + 0.5) - 0.3
        relief -= 0.40 * crow * fan * bump(out - 0.040, patch.v - 0.004, 0.042, 0.055)
    canvas.shade(patch, relief)


def paint_eyes(canvas: Canvas, identity: Identity, lids: Lids, skin: Color) -> None:
    """Paint sclera, iris, pupil and highlight inside the eye opening, then the lashes."""
    reach = identity.eye_spacing + lids.half + 0.02
    patch = canvas.patch(-reach, -0.085, reach, 0.06)
    pixel = canvas.pixel
    t, v, arch = _eye_frame(identity, patch, lids.half)
    soft = pixel * (1 + 0.6 * np.square(np.minimum(np.abs(t), 1)))  # wider where the lids slope
    upper = arch * (-lids.above)
    lower = arch * lids.below
    opening = band(v, upper, lower, soft)
    opening *= np.abs(t) < 1
    sign = np.sign(patch.u)
    eye_u = np.abs(patch.u) - identity.eye_spacing - identity.gaze_u * sign
    eye_v = patch.v + 0.003 - identity.gaze_v
    radius = 0.030 * identity.eye_size
    # The ball is darker towards its corners and under the upper lid.
    ball = 0.90 - 0.22 * np.square(t) - 0.30 * window_fade(v - upper, 0, 0.016)
    colors = ball * planes((1.0, 0.985, 0.97))
    r = np.sqrt(np.square(eye_u) + np.square(eye_v))
    iris = clip01((radius - r) * (1 / pixel) + 0.5)
    glow = 0.45 + 0.75 * clip01(1.1 - r * (1 / radius)) + 6.0 * eye_v  # lit from the far side
    colors += iris * (glow * planes(identity.iris_color) - colors)
    pupil = clip01((0.42 * radius - r) * (1 / pixel) + 0.5)
    colors *= 1 - 0.93 * pupil
    glint_u = patch.u - sign * identity.eye_spacing - 0.012 * math.sin(identity.light_direction)
    glint = line(np.hypot(glint_u, eye_v + 0.012), 0.011, pixel)
    colors += 0.95 * glint * (1 - colors)
    canvas.paint(patch, opening, colors)
    corner = line(t + 1.0, 0.12, pixel / lids.half) * line(v, 0.008, pixel)
    canvas.paint(patch, 0.6 * corner, (skin[0] * 0.8, skin[1] * 0.5, skin[2] * 0.45))
    # Lashes thicken outwards, overshoot the outer corner and stay when the eye closes.
    thick = (0.005 + 0.0035 * (t + 1)) * np.minimum(1, 4 * arch + 0.15)
    lash = band(v, upper - thick, upper + 0.003, soft)
    lash *= band(t, -1.0, 1.09, 0.12)
    dark = scaled(identity.brow_color, 0.35)
    canvas.paint(patch, 0.92 * lash, dark)
    canvas.paint(patch, 0.35 * line(v - lower, 0.006, pixel) * (np.abs(t) < 1), dark)
