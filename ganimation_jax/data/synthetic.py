"""Synthetic faces: a parametric renderer driven by the 17 action units, in plain numpy.

Two uses: a source of training pictures that needs no download, and a measuring
instrument, because the picture of the same `Identity` with other action units *is* the
true edit. What each unit moves follows the Facial Action Coding System (Ekman, Friesen
& Hager, 2002); every motion is continuous and monotonic in the unit's intensity.

    someone = Identity(hair_style="long", yaw=0.1)
    before = render(someone, np.zeros(17), 128)
    smile = render(someone, np.eye(17)[ACTION_UNITS.index("AU12")], 128)
"""

import dataclasses
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ganimation_jax.action_units import ACTION_UNITS, OPENFACE_MAXIMUM
from ganimation_jax.data.drawing import (
    Array,
    Canvas,
    Color,
    Patch,
    Pose,
    band,
    blur,
    bump,
    clip01,
    disc,
    line,
    ripples,
    step,
    window_fade,
)


class HairStyle(NamedTuple):
    """A cut: lengths in picture widths, from the eye line downwards."""

    hairline: float  # height of the middle of the hairline
    temple: float  # half-width where the hairline begins to turn down
    sideburn: float  # where the hair beside the face ends
    volume: float  # thickness over the skull
    length: float  # where the hair behind the head ends
    waves: float  # curliness of the outline
    parting: float  # slant of the hairline


HAIR_STYLES = {
    "shaved": HairStyle(-0.29, 0.19, 0.00, 0.005, -0.1, 0.0, 0.0),
    "short": HairStyle(-0.26, 0.20, 0.06, 0.04, -0.1, 0.0, 0.12),
    "receding": HairStyle(-0.325, 0.16, 0.05, 0.02, -0.1, 0.0, 0.0),
    "parted": HairStyle(-0.24, 0.10, 0.08, 0.05, -0.1, 0.0, 0.45),
    "fringe": HairStyle(-0.155, 0.22, 0.16, 0.06, 0.30, 0.0, 0.0),
    "curly": HairStyle(-0.25, 0.20, 0.12, 0.09, 0.24, 1.0, 0.0),
    "bob": HairStyle(-0.26, 0.10, 0.42, 0.07, 0.42, 0.0, 0.30),
    "long": HairStyle(-0.28, 0.05, 0.60, 0.07, 0.80, 0.3, 0.0),
    "tied back": HairStyle(-0.275, 0.18, 0.04, 0.02, -0.1, 0.0, 0.0),
}


class Occluder(NamedTuple):
    """Something in front of the face: an ellipse, in face coordinates."""

    u: float
    v: float
    radius_u: float
    radius_v: float
    color: Color


class Identity(NamedTuple):
    """All that is not expression; the defaults are the average face, frontal.

    Lengths are in picture widths, colours RGB in [0, 1], angles in radians. Fields are
    independent of each other: any one may be replaced alone.
    """

    face_width: float = 0.325  # half-width at the cheekbones
    face_height: float = 0.50  # eye line to chin
    jaw: float = 0.5  # [0, 1], pointed to square
    age: float = 0.25  # [0, 1], depth of the lines that stay at rest
    skin_tone: float = 0.3  # [0, 1], light to dark
    skin_warmth: float = 0.0  # [-1, 1], rosy to olive
    hair_style: str = "short"  # a key of HAIR_STYLES
    hair_color: Color = (0.24, 0.15, 0.10)
    hair_part: float = 1.0  # [-1, 1], the side of the parting
    eye_size: float = 1.0  # relative
    eye_spacing: float = 0.1475  # half the distance between the eyes' centres
    eye_tilt: float = 0.006  # how much higher the outer corners are
    eye_openness: float = 1.0  # relative, at rest
    iris_color: Color = (0.36, 0.24, 0.14)
    gaze_u: float = 0.0  # shift of the irises
    gaze_v: float = 0.0
    brow_thickness: float = 1.0  # relative
    brow_height: float = 0.095  # above the eye line
    brow_arch: float = 0.5  # [0, 1]
    brow_color: Color = (0.22, 0.14, 0.10)
    nose_width: float = 1.0  # relative
    nose_length: float = 0.20  # eye line to nostrils
    mouth_width: float = 0.112  # half-width
    mouth_height: float = 0.325  # below the eye line
    lip_fullness: float = 1.0  # relative
    lip_color: Color = (0.72, 0.36, 0.34)
    beard: float = 0.0  # [0, 1], none, stubble, full
    beard_color: Color = (0.22, 0.14, 0.10)
    glasses: float = 0.0  # [0, 1], none below 0.5, then the frame's thickness
    glasses_color: Color = (0.12, 0.12, 0.14)
    yaw: float = 0.0  # see Pose
    pitch: float = 0.0
    roll: float = 0.0
    shift_u: float = 0.0
    shift_v: float = 0.0
    scale: float = 1.0
    light_direction: float = -0.6  # where it comes from: 0 above, > 0 the picture's right
    light_strength: float = 0.5  # [0, 1], flat to hard
    light_level: float = 1.0  # exposure
    light_warmth: float = 0.0  # [-1, 1], blue to amber
    blur: float = 0.0  # Gaussian sigma, picture widths
    background: Color = (0.62, 0.68, 0.72)
    background_other: Color = (0.42, 0.48, 0.55)
    clothes: Color = (0.25, 0.30, 0.42)
    occluder: Occluder | None = None


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


def render(identity: Identity, aus: Array, image_size: int) -> Array:
    """Draws a face.

    Args:
      identity: everything but the expression.
      aus: [17] in [0, 1], in the order of ACTION_UNITS.
      image_size: height and width in pixels, at least 16.

    Returns:
      uint8 [h, w, 3].

    Raises:
      ValueError: action units or size out of range; the message names the value.
    """
    check_image_size(image_size)
    m = _muscles(aus)
    canvas = Canvas(image_size, _pose(identity))
    lids, mouth = _lids(identity, m), _lips(identity, m)
    skin = _skin_color(identity)

    _background(canvas, identity)
    _back_hair(canvas, identity)
    _neck_and_ears(canvas, identity, skin)
    _relief_of_skull(canvas, identity)
    _relief_of_brow(canvas, identity, m)
    _relief_of_eyes(canvas, identity, m, lids)
    _relief_of_nose(canvas, identity, m)
    _relief_of_cheeks(canvas, identity, m, mouth)
    _relief_of_mouth_and_chin(canvas, m, mouth)
    face = _skin(canvas, identity, m, skin)
    _beard(canvas, identity, mouth, skin, face)
    _nostrils(canvas, identity, m, skin)
    _mouth(canvas, identity, m, mouth)
    _eyes(canvas, identity, lids, skin)
    _brows(canvas, identity, m, skin)
    _front_hair(canvas, identity)
    _glasses(canvas, identity)
    _occluder(canvas, identity)
    return _develop(canvas, identity)


def check_image_size(image_size: int) -> None:
    """Raises ValueError for a picture too small to hold a face."""
    if image_size < 16:
        raise ValueError(f"image_size is {image_size}: choose at least 16 pixels")


def _pose(identity: Identity) -> Pose:
    return Pose(
        yaw=identity.yaw,
        pitch=identity.pitch,
        roll=identity.roll,
        shift_u=identity.shift_u,
        shift_v=identity.shift_v,
        scale=identity.scale,
    )


def _muscles(aus: Array) -> Muscles:
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


# --- Behind the face ---------------------------------------------------------------------


def _background(canvas: Canvas, identity: Identity) -> None:
    """A wall with a soft gradient; it does not move with the head."""
    mix = 0.75 * canvas.rows + 0.25 * canvas.columns
    first, second = _color(identity.background), _color(identity.background_other)
    np.multiply(mix, second - first, out=canvas.rgb)
    canvas.rgb += first


def _back_hair(canvas: Canvas, identity: Identity) -> None:
    style = HAIR_STYLES[identity.hair_style]
    if style.length < 0:
        return
    u, v = canvas.u, canvas.v
    half = identity.face_width + style.volume + 0.03
    half_at = half - 2.0 * np.square(np.minimum(v, 0))  # towards the crown it stays behind
    if style.length > 0.5:
        half_at += 0.05 * v
    if style.waves:
        half_at = half_at + 0.012 * style.waves * np.sin(v * 38)
    cover = band(np.abs(u), -1.0, half_at, 2 * canvas.pixel)
    rounding = 0.0 if style.length > 0.5 else 0.14 * np.square(np.square(u / half))
    cover *= band(v, -0.2, style.length - rounding, 0.04)
    canvas.paint(canvas.whole, cover, _scaled(identity.hair_color, 0.62))


def _neck_and_ears(canvas: Canvas, identity: Identity, skin: Color) -> None:
    patch = canvas.patch(-0.6, 0.25, 0.6, 0.75)
    side = np.abs(patch.u)
    neck = band(side, -1.0, 0.62 * identity.face_width, 0.02) * (patch.v > 0.28)
    shadow = 0.50 + 0.3 * step(patch.v, identity.face_height, identity.face_height + 0.16)
    shaded = (min(1.0, skin[0] * 1.08), skin[1] * 0.95, skin[2] * 0.90)
    canvas.paint(patch, neck, _color(shaded) * shadow)
    collar = 0.585 - 0.10 * (side - 0.2) * step(side, 0.16, 0.3)
    canvas.paint(patch, band(patch.v, collar, 2.0, 2 * canvas.pixel), identity.clothes)
    if HAIR_STYLES[identity.hair_style].sideburn > 0.2:
        return  # the hair hides the ears
    patch = canvas.patch(-0.42, -0.08, 0.42, 0.2)
    side = np.abs(patch.u) - (identity.face_width + 0.005)
    ear = disc(side - 0.12 * (0.05 - patch.v), patch.v - 0.05, 0.035, 0.095, canvas.pixel)
    inner = bump(side - 0.008, patch.v - 0.04, 0.02, 0.06)
    canvas.paint(patch, ear, _color(skin) * (0.86 - 0.35 * inner))


# --- Light and shadow on the skin ----------------------------------------------------------


def _relief_of_skull(canvas: Canvas, identity: Identity) -> None:
    """Lambert's cosine on an ellipsoid, cheaply: a ramp towards the light, a darker rim."""
    u = canvas.u * (1 / identity.face_width)
    v = (canvas.v - 0.05) * (1 / 0.47)
    strength = identity.light_strength
    right = strength * 0.20 * math.sin(identity.light_direction)
    canvas.relief += u * right - v * (strength * 0.12 * math.cos(identity.light_direction))
    rim = np.square(u)
    rim *= rim
    rim += 0.6 * np.square(v) ** 2
    canvas.relief -= (0.08 + 0.08 * strength) * np.minimum(rim, 1.6)


def _relief_of_brow(canvas: Canvas, identity: Identity, m: Muscles) -> None:
    """Forehead wrinkles of the frontalis (AU01, AU02), frown lines of the corrugator (AU04)."""
    inner, outer = 0.10 * m.au01, 0.10 * m.au02
    rest = 0.05 * max(0.0, identity.age - 0.4)
    if inner + outer + rest > 0:
        patch = canvas.patch(-0.27, -0.27, 0.27, -0.09)
        side = np.abs(patch.u)
        centre = window_fade(side, 0, 0.17)
        lateral = window_fade(side, 0.17, 0.12)
        # Raised medially, the lines arch in the middle; laterally, over the brows' ends.
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


def _relief_of_nose(canvas: Canvas, identity: Identity, m: Muscles) -> None:
    """Bridge, tip, wings and their shadow; wrinkles and lifted wings of AU09."""
    lift = 0.018 * m.au09 + 0.004 * m.au10
    base = identity.nose_length - lift
    wing = _wing(identity, m)
    patch = canvas.patch(-0.13, -0.09, 0.13, 0.29)
    u = _protruding(canvas, patch, base)
    v, side = patch.v, np.abs(u)
    sun = math.sin(identity.light_direction) * identity.light_strength
    along = step(v, -0.10, 0.03) * step(v, base + 0.02, base - 0.03)
    width = 0.024 + 0.12 * np.maximum(v, 0)
    ridge = window_fade(side / width, 0, 1.0)
    flank = u * window_fade(side / width, 0, 2.1) * (1 / 0.05)
    relief = along * (0.10 * ridge + 0.30 * sun * flank)
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


def _relief_of_cheeks(canvas: Canvas, identity: Identity, m: Muscles, mouth: "Lips") -> None:
    """Cheek apples, which AU06 and AU12 raise, and the nasolabial fold of AU09, 10 and 12."""
    raised = 0.026 * m.au06 + 0.018 * m.au12
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


def _relief_of_mouth_and_chin(canvas: Canvas, m: Muscles, mouth: "Lips") -> None:
    """Corners (AU12, 14, 15, 20), the groove under the lower lip, the chin's boss (AU17)."""
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
    chin = mouth.chin_v
    groove_v = mouth.lower_bottom + 0.020
    groove = bump(patch.u, v - groove_v, 0.085, 0.026)
    relief -= (0.13 + 0.14 * m.au17) * groove
    boss_v = chin - 0.075 - 0.022 * m.au17
    boss = bump(patch.u, v - boss_v, 0.095, 0.062)
    relief += (0.07 + 0.07 * m.au17) * boss
    if m.au17 > 0:  # the mentalis pits the chin like an orange
        pits = ripples(patch.u * (1 / 0.042)) * ripples((v - boss_v) * (1 / 0.036))
        relief -= 0.30 * m.au17 * (pits - 0.14) * boss
        arch = v - groove_v - 3.5 * np.square(patch.u)
        relief -= 0.24 * m.au17 * line(arch, 0.011, canvas.pixel) * window_fade(side, 0, 0.10)
    canvas.shade(patch, relief)


def _skin(canvas: Canvas, identity: Identity, m: Muscles, skin: Color) -> Array:
    """The face's outline, filled with skin under the relief's light; AU26 lowers the chin.

    Returns its coverage, [h, w].
    """
    u, v = canvas.u, canvas.v - 0.06
    chin = _chin(identity, m) - 0.06
    lower = np.maximum(v, 0) * (1 / chin)
    upper = np.minimum(v, 0) * (1 / 0.47)
    taper = 0.25 - 0.12 * identity.jaw - 0.03 * m.au26
    across = np.square(u / (identity.face_width * (1 - taper * np.square(np.minimum(lower, 1.2)))))
    down = np.square(lower) + np.square(upper)
    squareness = 0.16 + 0.30 * identity.jaw
    r = np.sqrt(np.maximum(across + down - squareness * across * down, 0))
    cover = clip01((1 - r) * (0.38 / canvas.pixel) + 0.5)
    light = np.maximum(1 + canvas.relief, 0.15)
    # Skin scatters red furthest, so shadows redden and lights pale.
    tones = np.stack((0.25 + 0.75 * light, light, light * (0.9 + 0.1 * light)))
    tones *= _color(skin)
    canvas.paint(canvas.whole, cover, tones)
    patch = canvas.patch(-0.30, 0.02, 0.30, 0.30)
    raised = 0.026 * m.au06 + 0.018 * m.au12
    blush = bump(np.abs(patch.u) - 0.20, patch.v - 0.165 + raised, 0.11, 0.10)
    flush = 0.16 + 0.10 * m.au12 + 0.06 * m.au06
    canvas.paint(patch, flush * blush, (skin[0] * 0.98, skin[1] * 0.68, skin[2] * 0.62))
    return cover


def _chin(identity: Identity, m: Muscles) -> float:
    return identity.face_height + 0.060 * m.au26 - 0.014 * m.au17


# --- Eyes and brows -------------------------------------------------------------------------


class Lids(NamedTuple):
    """Shape of the eye's opening; heights are measured from the line between its corners."""

    half: float  # half-width
    above: float  # upper lid, upwards
    below: float  # lower lid, downwards
    fold: float  # the crease over the upper lid, upwards


def _lids(identity: Identity, m: Muscles) -> Lids:
    """AU05 lifts the upper lid, AU07 narrows, AU06 pushes the lower lid up, AU45 closes."""
    half = 0.068 * identity.eye_size
    height = 0.031 * identity.eye_size * identity.eye_openness
    above = height * (1 + 0.55 * m.au05 - 0.28 * m.au07 - 0.05 * m.au06)
    below = 0.72 * height * (1 + 0.12 * m.au05) * (1 - 0.62 * m.au07) * (1 - 0.42 * m.au06)
    fold = height * 1.62 - 0.004 * m.au07 + 0.012 * m.au05
    above += (-below - above) * m.au45  # the upper lid comes down onto the lower
    return Lids(half, above, below, fold)


def _eye_frame(identity: Identity, patch: Patch, half: float) -> tuple[Array, Array, Array]:
    """Position along the eye ([-1, 1], inner to outer), height over its axis, and 1 - t^2."""
    t = (np.abs(patch.u) - identity.eye_spacing) * (1 / half)
    v = patch.v + identity.eye_tilt * t
    arch = np.maximum(1 - np.square(t), 0)
    return t, v, arch


def _relief_of_eyes(canvas: Canvas, identity: Identity, m: Muscles, lids: Lids) -> None:
    """Sockets, the lid's crease, the pouch under the eye, and crow's feet (AU06)."""
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


def _eyes(canvas: Canvas, identity: Identity, lids: Lids, skin: Color) -> None:
    """Sclera, iris, pupil and highlight, seen through the lids' opening; then the lashes."""
    reach = identity.eye_spacing + lids.half + 0.02
    patch = canvas.patch(-reach, -0.085, reach, 0.06)
    pixel = canvas.pixel
    t, v, arch = _eye_frame(identity, patch, lids.half)
    soft = pixel * (1 + 0.6 * np.square(np.minimum(np.abs(t), 1)))  # wider where lids slope
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
    colors = ball * _color((1.0, 0.985, 0.97))
    r = np.sqrt(np.square(eye_u) + np.square(eye_v))
    iris = clip01((radius - r) * (1 / pixel) + 0.5)
    glow = 0.45 + 0.75 * clip01(1.1 - r * (1 / radius)) + 6.0 * eye_v  # lit from the far side
    colors += iris * (glow * _color(identity.iris_color) - colors)
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
    dark = _scaled(identity.brow_color, 0.35)
    canvas.paint(patch, 0.92 * lash, dark)
    canvas.paint(patch, 0.35 * line(v - lower, 0.006, pixel) * (np.abs(t) < 1), dark)


def _brows(canvas: Canvas, identity: Identity, m: Muscles, skin: Color) -> None:
    """AU01 lifts the inner ends, AU02 the outer, AU04 draws them down and together."""
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
    color = np.minimum(_color(identity.brow_color), 0.6 * _color(skin))
    canvas.paint(patch, 0.88 * cover * ends, color)


# --- Nose and mouth --------------------------------------------------------------------------


def _wing(identity: Identity, m: Muscles) -> float:
    """Half-width of the nose at its wings, which AU09 flares."""
    return 0.068 * identity.nose_width + 0.008 * m.au09 + 0.004 * m.au12


def _protruding(canvas: Canvas, patch: Patch, base: float) -> Array:
    """u as seen by the nose, which stands out from the face and so turns further."""
    out = step(patch.v, -0.02, base - 0.03) * step(patch.v, base + 0.06, base)
    return patch.u - (0.075 * math.sin(canvas.pose.yaw)) * out


def _nostrils(canvas: Canvas, identity: Identity, m: Muscles, skin: Color) -> None:
    base = identity.nose_length - 0.018 * m.au09 - 0.004 * m.au10
    wing = _wing(identity, m)
    patch = canvas.patch(-0.11, base - 0.04, 0.11, base + 0.04)
    side = np.abs(_protruding(canvas, patch, base)) - 0.52 * wing
    v = patch.v - base - 0.004 + 0.25 * side
    radius = 0.012 + 0.02 * max(0.0, -canvas.pose.pitch)  # seen from below they open
    hole = disc(side, v, 0.30 * wing, radius + 0.003 * m.au09, 1.5 * canvas.pixel)
    canvas.paint(patch, 0.72 * hole, (skin[0] * 0.30, skin[1] * 0.16, skin[2] * 0.14))


class Lips(NamedTuple):
    """Shape of the mouth; v in face coordinates, thicknesses downwards."""

    width: float  # half-width between the corners
    corner_v: float
    seam_v: float  # where closed lips meet, in the middle
    raise_upper: float  # how far the upper lip is lifted off the seam
    drop_lower: float  # how far the lower lip is drawn down from it
    upper: float  # thickness of the upper lip
    lower: float
    lower_bottom: float  # lower edge of the lower lip
    chin_v: float


def _lips(identity: Identity, m: Muscles) -> Lips:
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
    bottom = seam + drop_lower + lower
    return Lips(
        width, corner, seam, raise_upper, drop_lower, upper, lower, bottom, _chin(identity, m)
    )


def _mouth(canvas: Canvas, identity: Identity, m: Muscles, mouth: Lips) -> None:
    """Dark cavity, teeth and tongue between the lips, then the lips over them."""
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
    # Upper teeth belong to the skull: a lip that rises or a jaw that drops bares them.
    edge = identity.mouth_height + 0.016 - 0.010 * t2
    teeth = band(v, -1.0, edge, pixel + 0.003)
    gaps = 1 - 0.10 * ripples(patch.u * (1 / 0.028) + 0.5)
    depth = 1 - 0.55 * t2 - 0.25 * window_fade(v - top, 0, 0.012)
    inside = np.empty((3, *v.shape), np.float32)
    inside[:] = _color((0.22, 0.06, 0.06))
    tongue = bump(patch.u, v - mouth.seam_v - mouth.drop_lower - 0.010, 0.085, 0.050)
    inside += 0.9 * tongue * (_color((0.70, 0.30, 0.30)) - inside)
    inside += teeth * (gaps * depth * _color((0.95, 0.93, 0.88)) - inside)
    parted = min(1.0, (mouth.raise_upper + mouth.drop_lower) / 0.012)
    canvas.paint(patch, parted * open_, inside)

    cupid = 1 - 0.24 * window_fade(t, 0, 0.20)
    upper_top = top - mouth.upper * arch * cupid * (1.18 - 0.25 * t)
    lower_bottom = bottom + mouth.lower * arch * (1.22 - 0.22 * arch)
    lip = _color(identity.lip_color)
    sun = 1 + identity.light_strength * math.sin(identity.light_direction) * patch.u
    upper_light = sun * (0.80 + 1.6 * (v - upper_top))
    canvas.paint(patch, 0.90 * band(v, upper_top, top, soft + 0.003), lip * upper_light)
    gloss = bump(patch.u, v - mouth.lower_bottom + 0.6 * mouth.lower, 0.6 * width, 0.016)
    lower_light = sun * (1.04 + 0.30 * gloss - 0.12 * t2)
    canvas.paint(patch, 0.88 * band(v, bottom, lower_bottom, soft + 0.003), lip * lower_light)
    # Where the lips meet: one dark line that opens into the two edges of the cavity.
    dark = _scaled(identity.lip_color, 0.32)
    reach = step(t, 1.0, 0.72)
    apart = 1 - 0.5 * parted
    canvas.paint(patch, 0.75 * apart * line(v - top, 0.007, pixel) * reach, dark)
    canvas.paint(patch, 0.35 * apart * line(v - bottom, 0.006, pixel) * reach, dark)


# --- In front ----------------------------------------------------------------------------------


def _beard(canvas: Canvas, identity: Identity, mouth: Lips, skin: Color, face: Array) -> None:
    """Stubble to full beard, with the moustache; it rides on the jaw and the upper lip."""
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
    color = np.minimum(_color(identity.beard_color), 0.7 * _color(skin))  # as for the brows
    canvas.paint(patch, cover, color)


def _front_hair(canvas: Canvas, identity: Identity) -> None:
    style = HAIR_STYLES[identity.hair_style]
    u, v = canvas.u, canvas.v
    side = np.abs(u)
    # Cut hair thins towards the ears; long hair keeps its width.
    thin = 0.0 if style.length > 0 else style.volume + 0.004
    radius = identity.face_width + style.volume + 0.012 - thin * step(v, -0.22, 0.04)
    crown = np.hypot(u / radius, (v + 0.02) * (1 / (0.40 + style.volume)))
    # Below the widest point hair hangs down instead of following the skull.
    hanging = step(v, -0.12, 0.02)
    outer = crown + hanging * (side / radius - crown)
    if style.waves:
        outer = outer + 0.03 * style.waves * np.sin(np.arctan2(v + 0.05, u) * 26)
    cover = clip01((1 - outer) * (0.36 / canvas.pixel) + 0.5)
    ramp = np.maximum(side - style.temple, 0) * (1 / (identity.face_width - style.temple))
    turn = np.square(np.minimum(ramp, 1.1))
    hairline = style.hairline + (style.sideburn - style.hairline) * turn * np.minimum(ramp, 1.1)
    hairline += style.parting * identity.hair_part * 0.35 * u * (1 - np.minimum(turn, 1))
    cover *= band(v, -3.0, hairline, 2.0 * canvas.pixel + 0.014)
    if identity.hair_style == "shaved":
        cover *= 0.55
    # Strands, and a band of shine across them.
    strands = np.sin(u * 55 + 18 * v) * np.sin(u * 31 - 9 * v)
    shine = window_fade(v + 0.5 * np.square(u), -0.27, 0.10)
    lift = 0.25 * identity.light_strength * math.sin(identity.light_direction)
    tint = 0.92 + 0.10 * strands + 0.22 * shine + lift * u * 2
    canvas.paint(canvas.whole, cover, tint * _color(identity.hair_color))


def _glasses(canvas: Canvas, identity: Identity) -> None:
    if identity.glasses < 0.5:
        return
    patch = canvas.patch(-0.36, -0.10, 0.36, 0.13)
    side = np.abs(patch.u)
    thick = 0.004 + 0.012 * (identity.glasses - 0.5)
    u, v = side - 0.15, patch.v - 0.012
    # A rounded rectangle: a circle in the fourth power.
    r = np.sqrt(np.hypot(np.square(u * (1 / 0.105)), np.square(v * (1 / 0.075))))
    rim = line((r - 1) * 0.085, 1.6 * thick, canvas.pixel)
    bridge = line(patch.v + 0.012 - 2 * np.square(side), 1.6 * thick, canvas.pixel)
    bridge *= band(side, -1.0, 0.047, 2 * canvas.pixel)
    arm = line(patch.v + 0.015, 1.6 * thick, canvas.pixel)
    arm *= band(side, 0.25, identity.face_width + 0.01, 2 * canvas.pixel)
    canvas.paint(patch, 0.05 * (r < 1), (0.95, 0.97, 1.0))
    frame = np.maximum(np.maximum(rim, bridge), arm)
    canvas.paint(patch, np.minimum(1.3 * frame, 1), identity.glasses_color)


def _occluder(canvas: Canvas, identity: Identity) -> None:
    thing = identity.occluder
    if thing is None:
        return
    patch = canvas.patch(
        thing.u - thing.radius_u,
        thing.v - thing.radius_v,
        thing.u + thing.radius_u,
        thing.v + thing.radius_v,
    )
    u, v = patch.u - thing.u, patch.v - thing.v
    cover = disc(u, v, thing.radius_u, thing.radius_v, canvas.pixel)
    light = 1.05 - 0.35 * (np.square(u / thing.radius_u) + np.square(v / thing.radius_v))
    canvas.paint(patch, cover, light * _color(thing.color))


def _develop(canvas: Canvas, identity: Identity) -> Array:
    """Exposure, colour of the light, blur; planes of floats to a picture of bytes."""
    warm = identity.light_warmth
    gain = (1 + 0.07 * warm, 1.0, 1 - 0.10 * warm)
    rgb = canvas.rgb
    rgb *= _color(gain) * (255 * identity.light_level)
    rgb = blur(rgb, identity.blur * canvas.size)
    rgb += 0.5
    np.clip(rgb, 0, 255, out=rgb)
    return np.ascontiguousarray(rgb.astype(np.uint8).transpose(1, 2, 0))


def _color(color: Color) -> Array:
    return np.array(color, np.float32)[:, None, None]


def _scaled(color: Color, factor: float) -> Color:
    return (color[0] * factor, color[1] * factor, color[2] * factor)


def _muted(color: Color) -> Color:
    """Half way to grey: walls and clothes are seldom pure colours."""
    grey = 0.5 * sum(color) / 3
    return (grey + 0.5 * color[0], grey + 0.5 * color[1], grey + 0.5 * color[2])


SKIN_TONES = np.array(
    [
        (0.97, 0.84, 0.76),
        (0.92, 0.75, 0.63),
        (0.83, 0.63, 0.49),
        (0.68, 0.48, 0.35),
        (0.50, 0.34, 0.25),
        (0.34, 0.22, 0.16),
    ]
)


def _skin_color(identity: Identity) -> Color:
    place = identity.skin_tone * (len(SKIN_TONES) - 1)
    first = min(int(place), len(SKIN_TONES) - 2)
    lighter, darker = SKIN_TONES[first], SKIN_TONES[first + 1]
    red, green, blue = lighter + (place - first) * (darker - lighter)
    warm = 0.025 * identity.skin_warmth
    return float(red), float(green + 0.6 * warm), float(blue - warm)


# --- Sampling -----------------------------------------------------------------------------------

HAIR_COLORS = (
    (0.07, 0.06, 0.06),
    (0.14, 0.09, 0.07),
    (0.26, 0.16, 0.10),
    (0.42, 0.26, 0.14),
    (0.72, 0.55, 0.33),
    (0.56, 0.25, 0.12),
    (0.58, 0.57, 0.56),
)
IRIS_COLORS = (
    (0.24, 0.14, 0.08),
    (0.40, 0.26, 0.13),
    (0.45, 0.42, 0.22),
    (0.30, 0.45, 0.34),
    (0.33, 0.50, 0.66),
    (0.48, 0.54, 0.58),
)
LIP_COLORS = (
    (0.78, 0.45, 0.42),
    (0.72, 0.38, 0.37),
    (0.62, 0.33, 0.31),
    (0.74, 0.26, 0.28),
    (0.50, 0.27, 0.26),
)


def sample_identity(rng: np.random.Generator) -> Identity:
    """Draws every field independently, except that lips are darker on darker skin."""

    def uniform(low: float, high: float) -> float:
        return low + (high - low) * next(draws)

    def normal(std: float) -> float:  # truncated at two standard deviations
        return min(max(next(normals), -2.0), 2.0) * std

    def choice(options: Sequence[Any]) -> Any:
        return options[int(next(draws) * len(options))]

    def color(options: Sequence[Color]) -> Color:
        red, green, blue = choice(options)
        light = uniform(0.8, 1.2)
        return (min(red * light, 1.0), min(green * light, 1.0), min(blue * light, 1.0))

    def any_color() -> Color:
        return (uniform(0.1, 0.9), uniform(0.1, 0.9), uniform(0.1, 0.9))

    draws, normals = iter(rng.random(96).tolist()), iter(rng.standard_normal(48).tolist())
    tone = uniform(0, 1)
    lip = color(LIP_COLORS)
    depth = 1 - 0.38 * tone
    return Identity(
        face_width=0.325 + normal(0.010),
        face_height=0.50 + normal(0.012),
        jaw=uniform(0, 1),
        age=uniform(0, 1) ** 2,
        skin_tone=tone,
        skin_warmth=uniform(-1, 1),
        hair_style=choice(tuple(HAIR_STYLES)),
        hair_color=color(HAIR_COLORS),
        hair_part=1.0 if uniform(0, 1) < 0.5 else -1.0,
        eye_size=1 + normal(0.06),
        eye_spacing=0.1475 + normal(0.003),
        eye_tilt=0.004 + normal(0.004),
        eye_openness=1 + normal(0.08),
        iris_color=color(IRIS_COLORS),
        gaze_u=normal(0.006),
        gaze_v=normal(0.003),
        brow_thickness=1 + normal(0.22),
        brow_height=0.095 + normal(0.006),
        brow_arch=uniform(0, 1),
        brow_color=_scaled(color(HAIR_COLORS[:4]), 0.9),
        nose_width=1 + normal(0.09),
        nose_length=0.20 + normal(0.008),
        mouth_width=0.112 + normal(0.006),
        mouth_height=0.325 + normal(0.007),
        lip_fullness=1 + normal(0.18),
        lip_color=_scaled(lip, depth),
        beard=max(0.0, uniform(-3.0, 1.0)),
        beard_color=color(HAIR_COLORS),
        glasses=max(0.0, uniform(-1.8, 1.0)),
        glasses_color=_scaled(any_color(), 0.4),
        yaw=normal(0.13),
        pitch=normal(0.07),
        roll=normal(0.03),
        shift_u=normal(0.006),
        shift_v=normal(0.006),
        scale=1 + normal(0.015),
        light_direction=uniform(-1.5, 1.5),
        light_strength=uniform(0.1, 1),
        light_level=1 + normal(0.06),
        light_warmth=uniform(-1, 1),
        blur=0.010 * uniform(0, 1) ** 3,
        background=_muted(any_color()),
        background_other=_muted(any_color()),
        clothes=_muted(any_color()),
        occluder=_sample_occluder(uniform, any_color),
    )


def _sample_occluder(
    uniform: Callable[[float, float], float], any_color: Callable[[], Color]
) -> Occluder | None:
    """In one picture of 25, something covers a cheek, the forehead's side or the chin."""
    if uniform(0, 1) > 0.04:
        return None
    angle = uniform(0, 2 * math.pi)
    return Occluder(
        u=0.36 * math.cos(angle),
        v=0.10 + 0.40 * math.sin(angle),
        radius_u=uniform(0.08, 0.18),
        radius_v=uniform(0.08, 0.18),
        color=_muted(any_color()),
    )


# Intensities are a rectified power of a latent normal, min(5, scale * max(0, z - threshold)^power),
# fitted to the share of zeros, mean and standard deviation of each unit on 5,956 faces in the wild
# (LFW) that OpenFace annotated. The published mean and std stand beside each line.
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
# Correlations of the latent normals in percent, lower triangle, AU02 to AU45: solved so that the
# intensities' own correlations are those measured on the same 5,956 faces.
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
    """Draws an expression: float32 [17] in [0, 1], the units co-active as in real faces.

    A Gaussian copula: correlated normals, each mapped to its unit's distribution.
    """
    threshold, scale, power = _MARGINALS.T
    latent = _MIXING @ rng.standard_normal(len(ACTION_UNITS))
    intensity = scale * np.maximum(latent - threshold, 0) ** power
    return np.minimum(intensity / OPENFACE_MAXIMUM, 1).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class SyntheticFaces:
    """A random-access source of `size` faces; each is a pure function of (seed, index)."""

    size: int
    image_size: int
    seed: int = 0
    action_units: ClassVar[tuple[str, ...]] = ACTION_UNITS

    def __post_init__(self):
        check_image_size(self.image_size)
        if self.size < 1:
            raise ValueError(f"size is {self.size}: ask for at least one face")
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}: choose one >= 0")

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> dict[str, Array]:
        """`image` uint8 [h, w, 3] and `aus` float32 [17] on OpenFace's scale, 0-5."""
        aus = self._aus(index)
        image = render(self.identity(index), aus, self.image_size)
        return {"image": image, "aus": aus * np.float32(OPENFACE_MAXIMUM)}

    def identity(self, index: int) -> Identity:
        """Who is in picture `index`."""
        return sample_identity(self._rng(index, 0))

    def aus_table(self) -> Array:
        """All action units, float32 [size, 17] on OpenFace's scale, without drawing."""
        table = np.stack([self._aus(index) for index in range(self.size)])
        return table * np.float32(OPENFACE_MAXIMUM)

    def _aus(self, index: int) -> Array:
        return sample_aus(self._rng(index, 1))

    def _rng(self, index: int, stream: int) -> np.random.Generator:
        index = operator.index(index)
        if not 0 <= index < self.size:
            raise IndexError(f"index {index} is outside [0, {self.size})")
        return np.random.default_rng([self.seed, index, stream])
