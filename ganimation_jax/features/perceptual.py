"""Distances between faces as a pretrained network sees them, for losses.

The networks are frozen: their parameters are loaded once, given to a training step as an argument
(``Training.load_frozen``) and saved nowhere. All functions can be differentiated with respect to
the images.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp

from ganimation_jax.faces.crops import CANONICAL_EYES, Eyes
from ganimation_jax.features import face_resnet, lpips, vgg16
from ganimation_jax.files.assets import locate
from ganimation_jax.types import Array, Images, Params, PerExample

MapsFn = Callable[[Params, Array], tuple[Array, ...]]
DistanceFn = Callable[[Params, Array, Array], Array]


class Network(NamedTuple):
    """A pretrained network whose feature maps losses compare."""

    load: Callable[[], Params]  # raises FileNotFoundError, ValueError: see ``files.assets.locate``
    maps: MapsFn  # images b h w 3 in [-1, 1] -> b h' w' c for each stage, largest map first
    stages: int
    late: tuple[int, ...]  # the two stages, from 1, that say who a face is rather than its pixels


class Distance(NamedTuple):
    """A distance between images, 0 for equal ones."""

    load: Callable[[], Params]
    between: DistanceFn  # b h w 3 twice, in [-1, 1] -> b


def _vgg16(eyes: Eyes) -> Network:
    del eyes
    return Network(lambda: vgg16.read(locate(vgg16.ASSET)), vgg16.maps, 4, (3, 4))


def _face_resnet(eyes: Eyes) -> Network:
    def maps(params: Any, images: Images) -> tuple[Array, ...]:
        return face_resnet.maps(params, face_resnet.to_chip(images, eyes))

    return Network(lambda: face_resnet.read(locate(face_resnet.ASSET)), maps, 5, (4, 5))


NETWORKS: dict[str, Callable[[Eyes], Network]] = {"vgg16": _vgg16, "face_resnet": _face_resnet}
DISTANCES = ("lpips", *NETWORKS)


def network(name: str, eyes: Eyes = CANONICAL_EYES) -> Network:
    """A network by name.

    Args:
      name: "vgg16" (stages end in relu1_2, relu2_2, relu3_3, relu4_3) or "face_resnet" (one stage
        for each of its five sizes of map).
      eyes: positions of the eyes in the images, as fractions of the sides; the face network
        needs them.

    Raises:
      ValueError: there is no such network.
    """
    if name not in NETWORKS:
        raise ValueError(f"feature network {name!r} is not one of {', '.join(NETWORKS)}")
    return NETWORKS[name](eyes)


def distance(name: str, eyes: Eyes = CANONICAL_EYES) -> Distance:
    """A distance by name.

    Args:
      name: "lpips" (AlexNet, images of 31 pixels or more), or a network: then it is the
        ``content_error`` of each stage, averaged over the stages.
      eyes: as for ``network``.

    Raises:
      ValueError: there is no such distance.
    """
    if name not in DISTANCES:
        raise ValueError(f"perceptual distance {name!r} is not one of {', '.join(DISTANCES)}")
    if name == "lpips":
        return Distance(lambda: lpips.read(locate(lpips.ASSET)), lpips.distance)
    seen = network(name, eyes)
    weights = (1 / seen.stages,) * seen.stages

    def between(params: Params, a: Images, b: Images) -> PerExample:
        return content_error(seen.maps(params, a), seen.maps(params, b), weights)

    return Distance(seen.load, between)


def content_error(
    a: tuple[Array, ...], b: tuple[Array, ...], weights: tuple[float, ...]
) -> PerExample:
    """Weighted sum over maps of half the mean squared difference, in float32.

    This is the content loss of Gatys et al. (2016), divided by the size of the map: the squared
    Frobenius norm of the difference over 2 h w c.

    Args:
      a, b: maps ``b h w c`` of the two images, in the same order.
      weights: of the maps.
    """
    errors = [
        weight * jnp.square(x.astype(jnp.float32) - y).mean(axis=(1, 2, 3)) / 2
        for x, y, weight in zip(a, b, weights, strict=True)
    ]
    return sum(errors[1:], errors[0])


def pick(maps: MapsFn, stages: tuple[int, ...]) -> MapsFn:
    """``maps`` at these stages only, where 0 is the image itself and 1 the first stage."""

    def picked(params: Params, images: Images) -> tuple[Array, ...]:
        found = (images, *maps(params, images))
        return tuple(found[stage] for stage in stages)

    return picked
