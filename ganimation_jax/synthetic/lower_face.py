"""Lower face: nose, cheeks, mouth, chin and beard, and the action units that move them.

As in `upper_face`, `shade_*` functions add to the skin's relief and `paint_*` functions put
colour over it.
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
    disc,
    line,
    planes,
    ripples,
    scaled,
    step,
    window_fade,
)
from ganimation_jax.synthetic.drawn_person import Identity
from ganimation_jax.synthetic.expression import Muscles


def _nose_shape(identity: Identity, m: Muscles) -> tuple[float, float]:
    """Return the end of the nose (lifted by AU09 and AU10) and its half-width (AU09 flares it)."""
    base = identity.nose_length - 0.018 * m.au09 - 0.004 * m.au10
    wing = 0.068 * identity.nose_width + 0.008 * m.au09 + 0.004 * m.au12
    return base, wing


def _protruding(canvas: Canvas, patch: Patch, base: float) -> Array:
    """Return u for the nose, which protrudes and so moves further when the head turns."""
    out = step(patch.v, -0.02, base - 0.03) * step(patch.v, base + 0.06, base)
    return patch.u - (0.075 * math.sin(canvas.pose.yaw)) * out


def shade_nose(canvas: Canvas, identity: Identity, m: Muscles) -> None:
    """Shade the bridge, tip, wings and their shadow, with the wrinkles and lifted wings of AU09."""
    base, wing = _nose_shape(identity, m)
    patch = canvas.patch(-0.13, -0.09, 0.13, 0.29)
    u = _protruding(canvas, patch, base)
    v, side = patch.v, np.abs(u)
    along = step(v, -0.10, 0.03) * step(v, base + 0.02, base - 0.03)
    width = 0.024 + 0.12 * np.maximum(v, 0)
    ridge = window_fade(side / width, 0, 1.0)
    flank = u * window_fade(side / width, 0, 2.1) * (1 / 0.05)
    relief = along * (0.10 * ridge + 0.30 * identity.sidelight * flank)
    relief -= 0.05 * window_fade(side / width, 1.5, 0.8) * along
    relief += 0.13 * bump(u, v - base + 0.035, 0.035, 0.032)
    relief += 0.07 * bump(side - 0.045, v - base + 0.018, 0.024, 0.026)
    # Wings: a crease behind each, deeper when the nose is wrinkled.
    behind = side - wing - 0.004 + 4.0 * np.square(v - base + 0.018)
    crease = line(behind, 0.010, canvas.pixel) * window_fade(v, base - 0.012, 0.036)
    relief -= (0.22 + 0.20 * m.au09) * crease
    relief -= 0.20 * bump(u, v - base - 0.022, wing * 0.95, 0.030)
    if m.au09 > 0:
        slanted = v - 0.55 * side
        folds = ripples((slanted - 0.004) * (1 / 0.030)) - 0.3
        where = bump(u, v - 0.030, 0.085, 0.075)
        relief -= (0.42 * m.au09) * folds * where
    # Philtrum: the groove above the upper lip.
    groove = window_fade(patch.u, 0, 0.012) - 0.6 * window_fade(np.abs(patch.u), 0.018, 0.010)
    relief -= 0.05 * groove * window_fade(v, 0.5 * (base + identity.mouth_height - 0.03), 0.04)
    canvas.shade(patch, relief)


def paint_nostrils(canvas: Canvas, identity: Identity, m: Muscles, skin: Color) -> None:
    """Paint nostrils. AU09 lifts and widens them; more of them is visible if the head looks up."""
    base, wing = _nose_shape(identity, m)
    patch = canvas.patch(-0.11, base - 0.04, 0.11, base + 0.04)
    side = np.abs(_protruding(canvas, patch, base)) - 0.52 * wing
    v = patch.v - base - 0.004 + 0.25 * side
    radius = 0.012 + 0.02 * max(0.0, -canvas.pose.pitch)  # larger when seen from below
    hole = disc(side, v, 0.30 * wing, radius + 0.003 * m.au09, 1.5 * canvas.pixel)
    canvas.paint(patch, 0.72 * hole, (skin[0] * 0.30, skin[1] * 0.16, skin[2] * 0.14))


class Lips(NamedTuple):
    """Shape of the mouth; v is in face coordinates, thickness is downwards."""

    width: float  # half-width between the corners
    corner_v: float
    seam_v: float  # v at which closed lips meet in the middle
    raise_upper: float  # distance of the raised upper lip from the seam
    drop_lower: float  # distance of the lowered lower lip from the seam
    upper: float  # thickness of the upper lip
    lower: float
    lower_bottom: float  # lower edge of the lower lip
    chin_v: float  # the face's outline below the mouth


def lip_shape(identity: Identity, m: Muscles) -> Lips:
    """Lips: AU12 and 15 move the corners, 12 and 20 widen, 23 tightens, 10, 25 and 26 part them."""
    width = identity.mouth_width * (1 - 0.16 * m.au23 - 0.06 * m.au26 - 0.04 * m.au17)
    width += 0.031 * m.au12 + 0.036 * m.au20 + 0.010 * m.au14
    seam = identity.mouth_height + 0.006 * m.au12 - 0.017 * m.au17 - 0.004 * m.au10
    corner = identity.mouth_height - 0.005 - 0.054 * m.au12 + 0.042 * m.au15 - 0.004 * m.au14
    corner += 0.010 * m.au26 + 0.006 * m.au20 + 0.004 * m.au17
    thin = (1 - 0.62 * m.au23) * (1 - 0.22 * m.au20) * (1 - 0.15 * m.au12)
    upper = 0.027 * identity.lip_fullness * thin * (1 - 0.15 * m.au10)
    lower = 0.036 * identity.lip_fullness * thin * (1 - 0.12 * m.au17)
    closed = 1 - 0.45 * m.au23
    raise_upper = (0.010 * m.au25 + 0.006 * m.au26) * closed + 0.030 * m.au10
    drop_lower = (0.030 * m.au25 + 0.056 * m.au26) * closed
    return Lips(
        width=width,
        corner_v=corner,
        seam_v=seam,
        raise_upper=raise_upper,
        drop_lower=drop_lower,
        upper=upper,
        lower=lower,
        lower_bottom=seam + drop_lower + lower,
        chin_v=identity.face_height + 0.060 * m.au26 - 0.014 * m.au17,
    )


def _cheek_rise(m: Muscles) -> float:
    return 0.026 * m.au06 + 0.018 * m.au12


def shade_cheeks(canvas: Canvas, identity: Identity, m: Muscles, mouth: Lips) -> None:
    """Shade the cheeks, raised by AU06 and AU12, and the nasolabial fold of AU09, 10 and 12."""
    raised = _cheek_rise(m)
    full = 0.05 + 0.09 * m.au06 + 0.05 * m.au12
    patch = canvas.patch(-0.31, 0.02, 0.31, 0.42)
    side, v = np.abs(patch.u), patch.v
    apple = bump(side - 0.195, v - 0.155 + raised, 0.105, 0.085)
    below = bump(side - 0.215, v - 0.275 + raised, 0.10, 0.09)
    hollow = 0.025 + 0.03 * m.au06 + 0.03 * m.au12 + 0.035 * m.au26
    relief = full * apple - hollow * below
    # The fold runs from the wing of the nose past the corner of the mouth.
    top = identity.nose_length - 0.025 - 0.018 * m.au09 - 0.008 * m.au10
    bottom = mouth.corner_v + 0.015
    t = (v - top) * (1 / (bottom - top))
    bow = 0.030 * m.au12 + 0.020 * m.au10
    fold_u = 0.074 + (mouth.width + 0.032 - 0.074) * t + bow * t * (1 - t) * 4
    distance = side - fold_u
    upper, lower = window_fade(t, 0.28, 0.5), window_fade(t, 0.50, 0.55)
    depth = (0.26 * m.au10 + 0.18 * m.au09) * upper
    depth += (0.025 + 0.12 * identity.age**2 + 0.18 * m.au12) * lower
    fold = line(distance, 0.013, canvas.pixel)
    fold -= 0.45 * window_fade(distance, 0.030, 0.028)  # the cheek bulges over the fold
    relief -= depth * fold
    canvas.shade(patch, relief)


def paint_cheeks(canvas: Canvas, m: Muscles, skin: Color) -> None:
    """Paint a blush, which AU06 and AU12 raise and deepen."""
    patch = canvas.patch(-0.30, 0.02, 0.30, 0.30)
    blush = bump(np.abs(patch.u) - 0.20, patch.v - 0.165 + _cheek_rise(m), 0.11, 0.10)
    flush = 0.16 + 0.10 * m.au12 + 0.06 * m.au06
    canvas.paint(patch, flush * blush, (skin[0] * 0.98, skin[1] * 0.68, skin[2] * 0.62))


def shade_mouth_and_chin(canvas: Canvas, m: Muscles, mouth: Lips) -> None:
    """Shade the corners (AU12, 14, 15, 20), the groove under the lower lip and the chin (AU17)."""
    patch = canvas.patch(-0.26, 0.22, 0.26, 0.62)
    side, v = np.abs(patch.u), patch.v
    out = side - mouth.width
    corner_v = mouth.corner_v
    relief = -(0.12 + 0.10 * m.au12) * bump(out - 0.006, v - corner_v, 0.024, 0.026)
    if m.au14 > 0:  # a pit beside each corner with a bulge around it
        pit = line(out - 0.028 + 6 * np.square(v - corner_v), 0.013, canvas.pixel)
        pit *= window_fade(v, corner_v, 0.055)
        ridge = bump(out - 0.058, v - corner_v, 0.034, 0.065)
        relief += m.au14 * (0.13 * ridge - 0.55 * pit)
    if m.au15 > 0:  # a line running down and out from each corner
        sag = line(out - 0.004 - 0.45 * (v - corner_v), 0.013, canvas.pixel)
        sag *= window_fade(v, corner_v + 0.035, 0.045)
        relief -= 0.36 * m.au15 * sag
    if m.au20 > 0:  # the skin beside the mouth is pulled flat and sideways
        pull = line(out - 0.034 + 3 * np.square(v - corner_v), 0.012, canvas.pixel)
        pull *= window_fade(v, corner_v + 0.01, 0.075)
        relief -= 0.17 * m.au20 * pull
    if m.au23 > 0:  # skin bulges around tightened lips
        ring = bump(patch.u, v - mouth.seam_v, mouth.width, 0.075)
        relief += 0.10 * m.au23 * ring
    groove_v = mouth.lower_bottom + 0.020
    groove = bump(patch.u, v - groove_v, 0.085, 0.026)
    relief -= (0.13 + 0.14 * m.au17) * groove
    boss_v = mouth.chin_v - 0.075 - 0.022 * m.au17
    boss = bump(patch.u, v - boss_v, 0.095, 0.062)
    relief += (0.07 + 0.07 * m.au17) * boss
    if m.au17 > 0:  # the mentalis dimples the chin like orange peel
        pits = ripples(patch.u * (1 / 0.042)) * ripples((v - boss_v) * (1 / 0.036))
        relief -= 0.30 * m.au17 * (pits - 0.14) * boss
        arch = v - groove_v - 3.5 * np.square(patch.u)
        relief -= 0.24 * m.au17 * line(arch, 0.011, canvas.pixel) * window_fade(side, 0, 0.10)
    canvas.shade(patch, relief)


def paint_mouth(canvas: Canvas, identity: Identity, mouth: Lips) -> None:
    """Paint the dark cavity, teeth and tongue, then the lips over them."""
    width, pixel = mouth.width, canvas.pixel
    top_v, bottom_v = mouth.seam_v - 0.12, mouth.lower_bottom + 0.04
    patch = canvas.patch(-width - 0.02, top_v, width + 0.02, bottom_v)
    t = np.minimum(np.abs(patch.u) * (1 / width), 1)
    t2 = np.square(t)
    arch = 1 - t2 * t  # fuller towards the corners than a parabola
    v = patch.v
    seam = mouth.seam_v + (mouth.corner_v - mouth.seam_v) * t2 * (0.4 + 0.6 * t)
    top = seam - mouth.raise_upper * arch  # lower edge of the upper lip
    bottom = seam + mouth.drop_lower * arch * (1.35 - 0.35 * arch)
    soft = pixel * (1 + 0.5 * t2)

    open_ = band(v, top - 0.004 * arch, bottom + 0.004 * arch, soft)
    # Upper teeth do not move: a raised lip or a dropped jaw uncovers them.
    edge = identity.mouth_height + 0.016 - 0.010 * t2
    teeth = band(v, -1.0, edge, pixel + 0.003)
    gaps = 1 - 0.10 * ripples(patch.u * (1 / 0.028) + 0.5)
    depth = 1 - 0.55 * t2 - 0.25 * window_fade(v - top, 0, 0.012)
    inside = np.empty((3, *v.shape), np.float32)
    inside[:] = planes((0.22, 0.06, 0.06))
    tongue = bump(patch.u, v - mouth.seam_v - mouth.drop_lower - 0.010, 0.085, 0.050)
    inside += 0.9 * tongue * (planes((0.70, 0.30, 0.30)) - inside)
    inside += teeth * (gaps * depth * planes((0.95, 0.93, 0.88)) - inside)
    parted = min(1.0, (mouth.raise_upper + mouth.drop_lower) / 0.012)
    canvas.paint(patch, parted * open_, inside)

    cupid = 1 - 0.24 * window_fade(t, 0, 0.20)
    upper_top = top - mouth.upper * arch * cupid * (1.18 - 0.25 * t)
    lower_bottom = bottom + mouth.lower * arch * (1.22 - 0.22 * arch)
    lip = planes(identity.lip_color)
    sun = 1 + identity.sidelight * patch.u
    upper_light = sun * (0.80 + 1.6 * (v - upper_top))
    canvas.paint(patch, 0.90 * band(v, upper_top, top, soft + 0.003), lip * upper_light)
    gloss = bump(patch.u, v - mouth.lower_bottom + 0.6 * mouth.lower, 0.6 * width, 0.016)
    lower_light = sun * (1.04 + 0.30 * gloss - 0.12 * t2)
    canvas.paint(patch, 0.88 * band(v, bottom, lower_bottom, soft + 0.003), lip * lower_light)
    # Where the lips meet: one dark line that opens into the two edges of the cavity.
    dark = scaled(identity.lip_color, 0.32)
    reach = step(t, 1.0, 0.72)
    apart = 1 - 0.5 * parted
    canvas.paint(patch, 0.75 * apart * line(v - top, 0.007, pixel) * reach, dark)
    canvas.paint(patch, 0.35 * apart * line(v - bottom, 0.006, pixel) * reach, dark)


def paint_beard(canvas: Canvas, identity: Identity, mouth: Lips, skin: Color, face: Array) -> None:
    """Paint a beard, from stubble to full, with a moustache. It moves with jaw and upper lip."""
    if identity.beard <= 0:
        return
    patch = canvas.patch(-0.36, 0.05, 0.36, 0.64)
    v, side = patch.v, np.abs(patch.u)
    line_v = mouth.corner_v + 0.035 - 6.4 * np.square(np.maximum(side - 0.10, 0))
    line_v -= 0.02 * step(side, 0.13, 0.17)
    jaw = clip01((v - line_v) * 9 + 0.4)
    tache_v = identity.mouth_height - 0.042 - 0.5 * mouth.raise_upper
    fall = mouth.corner_v - identity.mouth_height + 0.03
    tache_v = tache_v + fall * np.square(side / mouth.width)
    tache = line(v - tache_v, 0.034, canvas.pixel) * step(side, mouth.width + 0.045, mouth.width)
    beside = line(side - mouth.width - 0.025, 0.035, canvas.pixel) * window_fade(v, 0.36, 0.08)
    hair = np.maximum(np.maximum(jaw, 1.2 * tache), beside)
    bare = bump(patch.u, v - mouth.lower_bottom - 0.004, 0.10, 0.030)
    hair *= 1 - 0.8 * bare
    cover = np.minimum(hair, 1) * face[patch.window] * (0.12 + 0.70 * identity.beard)
    color = np.minimum(planes(identity.beard_color), 0.7 * planes(skin))  # as for the brows
    canvas.paint(patch, cover, color)
