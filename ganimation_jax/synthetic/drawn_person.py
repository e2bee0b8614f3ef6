"""Who is in a drawn picture: everything but the expression, and how it is chosen at random."""

import math
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from ganimation_jax.synthetic.drawing import Color, Pose, scaled

_T = TypeVar("_T")


class HairStyle(NamedTuple):
    """A cut: lengths in picture widths, from the eye line downwards."""

    hairline: float  # height of the middle of the hairline
    temple: float  # half-width where the hairline begins to turn down
    sideburn: float  # where the hair beside the face ends
    volume: float  # thickness over the skull
    length: float  # where the hair behind the head ends; < 0 for none
    waves: float  # curliness of the outline
    parting: float  # slant of the hairline
    density: float = 1.0  # how well it covers the skull


HAIR_STYLES = {
    "shaved": HairStyle(-0.29, 0.19, 0.00, 0.005, -0.1, 0.0, 0.0, density=0.55),
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
    yaw: float = 0.0  # the head's, see Pose
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

    @property
    def pose(self) -> Pose:
        """Where the head is."""
        return Pose(self.yaw, self.pitch, self.roll, self.shift_u, self.shift_v, self.scale)

    @property
    def sidelight(self) -> float:
        """The light's strength from the picture's right; < 0 from the left."""
        return self.light_strength * math.sin(self.light_direction)


def hair_style(identity: Identity) -> HairStyle:
    """The identity's cut; ValueError, with the choices, if there is none of that name."""
    if identity.hair_style not in HAIR_STYLES:
        known = ", ".join(HAIR_STYLES)
        raise ValueError(f"hair_style is {identity.hair_style!r}: choose one of {known}")
    return HAIR_STYLES[identity.hair_style]


_SKIN_TONES = np.array(
    [
        (0.97, 0.84, 0.76),
        (0.92, 0.75, 0.63),
        (0.83, 0.63, 0.49),
        (0.68, 0.48, 0.35),
        (0.50, 0.34, 0.25),
        (0.34, 0.22, 0.16),
    ]
)


def skin_color(identity: Identity) -> Color:
    """The skin in full light, from its tone and warmth."""
    place = identity.skin_tone * (len(_SKIN_TONES) - 1)
    first = min(int(place), len(_SKIN_TONES) - 2)
    lighter, darker = _SKIN_TONES[first], _SKIN_TONES[first + 1]
    red, green, blue = lighter + (place - first) * (darker - lighter)
    warm = 0.025 * identity.skin_warmth
    return float(red), float(green + 0.6 * warm), float(blue - warm)


HAIR_COLORS: dict[str, tuple[Color, ...]] = {
    "Black_Hair": ((0.07, 0.06, 0.06),),
    "Brown_Hair": ((0.14, 0.09, 0.07), (0.26, 0.16, 0.10), (0.42, 0.26, 0.14)),
    "Blond_Hair": ((0.72, 0.55, 0.33),),
    "Red_Hair": ((0.56, 0.25, 0.12),),
    "Gray_Hair": ((0.58, 0.57, 0.56),),
}
HAIR_SHADES = (0.8, 1.2)  # how much lighter or darker than these colours hair may be
_HAIR_COLORS = tuple(color for colors in HAIR_COLORS.values() for color in colors)
_IRIS_COLORS = (
    (0.24, 0.14, 0.08),
    (0.40, 0.26, 0.13),
    (0.45, 0.42, 0.22),
    (0.30, 0.45, 0.34),
    (0.33, 0.50, 0.66),
    (0.48, 0.54, 0.58),
)
_LIP_COLORS = (
    (0.78, 0.45, 0.42),
    (0.72, 0.38, 0.37),
    (0.62, 0.33, 0.31),
    (0.74, 0.26, 0.28),
    (0.50, 0.27, 0.26),
)


class _Draws:
    """Random numbers on demand, made in two calls: numpy's cost is the number of calls."""

    def __init__(self, rng: np.random.Generator):
        self._uniforms = iter(rng.random(96).tolist())
        self._normals = iter(rng.standard_normal(48).tolist())

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * next(self._uniforms)

    def normal(self, std: float) -> float:
        """Around 0, truncated at two standard deviations."""
        return min(max(next(self._normals), -2.0), 2.0) * std

    def choice(self, options: Sequence[_T]) -> _T:
        return options[int(next(self._uniforms) * len(options))]

    def shade_of(self, options: Sequence[Color]) -> Color:
        """One of the colours, a little lighter or darker."""
        red, green, blue = self.choice(options)
        light = self.uniform(*HAIR_SHADES)
        return (min(red * light, 1.0), min(green * light, 1.0), min(blue * light, 1.0))

    def any_color(self) -> Color:
        return (self.uniform(0.1, 0.9), self.uniform(0.1, 0.9), self.uniform(0.1, 0.9))

    def muted_color(self) -> Color:
        """Half way to grey: walls and clothes are seldom pure colours."""
        color = self.any_color()
        grey = 0.5 * sum(color) / 3
        return (grey + 0.5 * color[0], grey + 0.5 * color[1], grey + 0.5 * color[2])


def sample_identity(rng: np.random.Generator) -> Identity:
    """Draws every field independently, except that lips are darker on darker skin."""
    draw = _Draws(rng)
    tone = draw.uniform(0, 1)
    lip = draw.shade_of(_LIP_COLORS)
    depth = 1 - 0.38 * tone
    return Identity(
        face_width=0.325 + draw.normal(0.010),
        face_height=0.50 + draw.normal(0.012),
        jaw=draw.uniform(0, 1),
        age=draw.uniform(0, 1) ** 2,
        skin_tone=tone,
        skin_warmth=draw.uniform(-1, 1),
        hair_style=draw.choice(tuple(HAIR_STYLES)),
        hair_color=draw.shade_of(_HAIR_COLORS),
        hair_part=1.0 if draw.uniform(0, 1) < 0.5 else -1.0,
        eye_size=1 + draw.normal(0.06),
        eye_spacing=0.1475 + draw.normal(0.003),
        eye_tilt=0.004 + draw.normal(0.004),
        eye_openness=1 + draw.normal(0.08),
        iris_color=draw.shade_of(_IRIS_COLORS),
        gaze_u=draw.normal(0.006),
        gaze_v=draw.normal(0.003),
        brow_thickness=1 + draw.normal(0.22),
        brow_height=0.095 + draw.normal(0.006),
        brow_arch=draw.uniform(0, 1),
        brow_color=scaled(draw.shade_of(_HAIR_COLORS[:4]), 0.9),
        nose_width=1 + draw.normal(0.09),
        nose_length=0.20 + draw.normal(0.008),
        mouth_width=0.112 + draw.normal(0.006),
        mouth_height=0.325 + draw.normal(0.007),
        lip_fullness=1 + draw.normal(0.18),
        lip_color=scaled(lip, depth),
        beard=max(0.0, draw.uniform(-3.0, 1.0)),
        beard_color=draw.shade_of(_HAIR_COLORS),
        glasses=max(0.0, draw.uniform(-1.8, 1.0)),
        glasses_color=scaled(draw.any_color(), 0.4),
        yaw=draw.normal(0.13),
        pitch=draw.normal(0.07),
        roll=draw.normal(0.03),
        shift_u=draw.normal(0.006),
        shift_v=draw.normal(0.006),
        scale=1 + draw.normal(0.015),
        light_direction=draw.uniform(-1.5, 1.5),
        light_strength=draw.uniform(0.1, 1),
        light_level=1 + draw.normal(0.06),
        light_warmth=draw.uniform(-1, 1),
        blur=0.010 * draw.uniform(0, 1) ** 3,
        background=draw.muted_color(),
        background_other=draw.muted_color(),
        clothes=draw.muted_color(),
        occluder=_sample_occluder(draw),
    )


def _sample_occluder(draw: _Draws) -> Occluder | None:
    """In one picture of 25, something covers a cheek, the forehead's side or the chin."""
    if draw.uniform(0, 1) > 0.04:
        return None
    angle = draw.uniform(0, 2 * math.pi)
    return Occluder(
        u=0.36 * math.cos(angle),
        v=0.10 + 0.40 * math.sin(angle),
        radius_u=draw.uniform(0.08, 0.18),
        radius_v=draw.uniform(0.08, 0.18),
        color=draw.muted_color(),
    )
