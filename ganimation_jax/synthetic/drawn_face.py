"""Draws a face: `render(identity, aus, image_size)`, in plain numpy.

What each action unit moves follows the Facial Action Coding System (Ekman, Friesen &
Hager, 2002); every motion is continuous and monotonic in the unit's intensity. `upper_face`
and `lower_face` draw what the units move; this module draws the rest of the picture: wall,
neck, skull, skin, hair and what stands in front.

    someone = Identity(hair_style="long", yaw=0.1)
    before = render(someone, np.zeros(17), 128)
    smile = render(someone, np.eye(17)[ACTION_UNITS.index("AU12")], 128)
"""

import math

import numpy as np

from ganimation_jax.synthetic.drawing import (
    Array,
    Canvas,
    Color,
    band,
    blur,
    bump,
    clip01,
    disc,
    line,
    planes,
    scaled,
    step,
    window_fade,
)
from ganimation_jax.synthetic.drawn_person import HairStyle, Identity, hair_style, skin_color
from ganimation_jax.synthetic.expression import Muscles, muscles
from ganimation_jax.synthetic.lower_face import (
    Lips,
    lip_shape,
    paint_beard,
    paint_cheeks,
    paint_mouth,
    paint_nostrils,
    shade_cheeks,
    shade_mouth_and_chin,
    shade_nose,
)
from ganimation_jax.synthetic.upper_face import (
    lid_shape,
    paint_brows,
    paint_eyes,
    shade_eyes,
    shade_forehead,
)


def render(identity: Identity, aus: Array, image_size: int) -> Array:
    """Draws a face.

    Args:
      identity: everything but the expression.
      aus: [17] in [0, 1], in the order of ACTION_UNITS.
      image_size: height and width in pixels, at least 16.

    Returns:
      uint8 [h, w, 3].

    Raises:
      ValueError: action units or size out of range, or an unknown hair style; the message
        names the value.
    """
    check_image_size(image_size)
    m = muscles(aus)
    style, skin = hair_style(identity), skin_color(identity)
    lids, mouth = lid_shape(identity, m), lip_shape(identity, m)
    canvas = Canvas(image_size, identity.pose)

    _paint_background(canvas, identity)
    _paint_back_hair(canvas, identity, style)
    _paint_neck_and_ears(canvas, identity, style, skin)
    _shade_skull(canvas, identity)
    shade_forehead(canvas, identity, m)
    shade_eyes(canvas, identity, m, lids)
    shade_nose(canvas, identity, m)
    shade_cheeks(canvas, identity, m, mouth)
    shade_mouth_and_chin(canvas, m, mouth)
    face = _paint_skin(canvas, identity, m, mouth, skin)
    paint_cheeks(canvas, m, skin)
    paint_beard(canvas, identity, mouth, skin, face)
    paint_nostrils(canvas, identity, m, skin)
    paint_mouth(canvas, identity, mouth)
    paint_eyes(canvas, identity, lids, skin)
    paint_brows(canvas, identity, m, skin)
    _paint_front_hair(canvas, identity, style)
    _paint_glasses(canvas, identity)
    _paint_occluder(canvas, identity)
    return _develop(canvas, identity)


def check_image_size(image_size: int) -> None:
    """Raises ValueError for a picture too small to hold a face."""
    if image_size < 16:
        raise ValueError(f"image_size is {image_size}: choose at least 16 pixels")


def _paint_background(canvas: Canvas, identity: Identity) -> None:
    """A wall with a soft gradient; it does not move with the head."""
    mix = 0.75 * canvas.rows + 0.25 * canvas.columns
    first, second = planes(identity.background), planes(identity.background_other)
    np.multiply(mix, second - first, out=canvas.rgb)
    canvas.rgb += first


def _paint_back_hair(canvas: Canvas, identity: Identity, style: HairStyle) -> None:
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
    canvas.paint(canvas.whole, cover, scaled(identity.hair_color, 0.62))


def _paint_neck_and_ears(canvas: Canvas, identity: Identity, style: HairStyle, skin: Color) -> None:
    patch = canvas.patch(-0.6, 0.25, 0.6, 0.75)
    side = np.abs(patch.u)
    neck = band(side, -1.0, 0.62 * identity.face_width, 0.02) * (patch.v > 0.28)
    shadow = 0.50 + 0.3 * step(patch.v, identity.face_height, identity.face_height + 0.16)
    shaded = (min(1.0, skin[0] * 1.08), skin[1] * 0.95, skin[2] * 0.90)
    canvas.paint(patch, neck, planes(shaded) * shadow)
    collar = 0.585 - 0.10 * (side - 0.2) * step(side, 0.16, 0.3)
    canvas.paint(patch, band(patch.v, collar, 2.0, 2 * canvas.pixel), identity.clothes)
    if style.sideburn > 0.2:
        return  # the hair hides the ears
    patch = canvas.patch(-0.42, -0.08, 0.42, 0.2)
    side = np.abs(patch.u) - (identity.face_width + 0.005)
    ear = disc(side - 0.12 * (0.05 - patch.v), patch.v - 0.05, 0.035, 0.095, canvas.pixel)
    inner = bump(side - 0.008, patch.v - 0.04, 0.02, 0.06)
    canvas.paint(patch, ear, planes(skin) * (0.86 - 0.35 * inner))


def _shade_skull(canvas: Canvas, identity: Identity) -> None:
    """Lambert's cosine on an ellipsoid, cheaply: a ramp towards the light, a darker rim."""
    u = canvas.u * (1 / identity.face_width)
    v = (canvas.v - 0.05) * (1 / 0.47)
    strength = identity.light_strength
    down = strength * 0.12 * math.cos(identity.light_direction)
    canvas.relief += u * (0.20 * identity.sidelight) - v * down
    rim = np.square(u)
    rim *= rim
    rim += 0.6 * np.square(v) ** 2
    canvas.relief -= (0.08 + 0.08 * strength) * np.minimum(rim, 1.6)


def _paint_skin(canvas: Canvas, identity: Identity, m: Muscles, mouth: Lips, skin: Color) -> Array:
    """The face's outline, filled with skin under the relief's light; AU26 lowers the chin.

    Returns its coverage, [h, w].
    """
    u, v = canvas.u, canvas.v - 0.06
    chin = mouth.chin_v - 0.06
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
    tones *= planes(skin)
    canvas.paint(canvas.whole, cover, tones)
    return cover


def _paint_front_hair(canvas: Canvas, identity: Identity, style: HairStyle) -> None:
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
    cover *= style.density
    # Strands, and a band of shine across them.
    strands = np.sin(u * 55 + 18 * v) * np.sin(u * 31 - 9 * v)
    shine = window_fade(v + 0.5 * np.square(u), -0.27, 0.10)
    tint = 0.92 + 0.10 * strands + 0.22 * shine + 0.5 * identity.sidelight * u
    canvas.paint(canvas.whole, cover, tint * planes(identity.hair_color))


def _paint_glasses(canvas: Canvas, identity: Identity) -> None:
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


def _paint_occluder(canvas: Canvas, identity: Identity) -> None:
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
    canvas.paint(patch, cover, light * planes(thing.color))


def _develop(canvas: Canvas, identity: Identity) -> Array:
    """Exposure, colour of the light, blur; planes of floats to a picture of bytes."""
    warm = identity.light_warmth
    gain = (1 + 0.07 * warm, 1.0, 1 - 0.10 * warm)
    rgb = canvas.rgb
    rgb *= planes(gain) * (255 * identity.light_level)
    rgb = blur(rgb, identity.blur * canvas.size)
    rgb += 0.5
    np.clip(rgb, 0, 255, out=rgb)
    return np.ascontiguousarray(rgb.astype(np.uint8).transpose(1, 2, 0))
