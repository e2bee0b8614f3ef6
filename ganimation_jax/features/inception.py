"""Inception-v3 pool3, the network behind the published FID and KID figures.

This is TensorFlow's network of 2015-12-05 as converted by pytorch-fid (Apache-2.0). It differs
from torchvision's in two ways: average pools do not count padding, and the pool of the last
block takes the maximum.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import nn
from jaxtyping import Float

from ganimation_jax.features.layers import Layer, average_pool, convolve, make_layer, max_pool, need
from ganimation_jax.files.assets import Asset, locate
from ganimation_jax.types import Array, Images, RawImages, to_float

ASSET = Asset(
    name="inception",
    file="pt_inception-2015-12-05-6726825d.pth",
    sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
    get="Download it from pytorch-fid's release 'fid_weights'",
    url="https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
    "pt_inception-2015-12-05-6726825d.pth",
)
SIDE = 299  # pixels; images are resized to this side

Units = Mapping[str, Layer]  # keyed by PyTorch's names, such as "Mixed_5b.branch1x1"


def load(
    read_state_dict: Callable[[Path], Mapping[str, np.ndarray]], path: Path | str | None = None
) -> Callable[[Array], Array]:
    """Load a compiled ``features``: images ``b h w 3``, uint8 or [-1, 1] -> ``b 2048``.

    Args:
      read_state_dict: reads a PyTorch file (``interop.torch_files.read_state_dict``).
      path: path of the weights; by default ``weights.locate`` finds them.

    Raises:
      FileNotFoundError, ValueError: see ``weights.locate``.
    """
    units = fold(read_state_dict(locate(ASSET, path)))
    return partial(jax.jit(lambda units, images: pool3(units, resize(images))), units)


def fold(state: Mapping[str, np.ndarray]) -> dict[str, Layer]:
    """Fold each batch norm (with its fixed statistics) into the convolution before it."""
    units = {}
    for name in state:
        if name.endswith(".conv.weight"):
            unit = name.removesuffix(".conv.weight")
            norm = {part: state[f"{unit}.bn.{part}"] for part in ("weight", "bias")}
            mean, variance = state[f"{unit}.bn.running_mean"], state[f"{unit}.bn.running_var"]
            scale = norm["weight"] / np.sqrt(variance + 1e-3)
            kernel = state[name].transpose(2, 3, 1, 0) * scale
            units[unit] = make_layer(kernel, norm["bias"] - mean * scale)
    return units


def resize(images: RawImages) -> Float[Array, "b 299 299 3"]:
    """Resize bilinearly without antialiasing, as pytorch-fid does."""
    need(images, 1, "Inception-v3")
    shape = (images.shape[0], SIDE, SIDE, 3)
    return jax.image.resize(to_float(images), shape, "bilinear", antialias=False)


def pool3(units: Units, x: Images) -> Float[Array, "b 2048"]:
    """Average the last feature maps over pixels; sides at least 75."""
    need(x, 75, "Inception-v3")
    x = _unit(units, "Conv2d_1a_3x3", x, 2, 0)
    x = _unit(units, "Conv2d_2a_3x3", x, 1, 0)
    x = max_pool(_unit(units, "Conv2d_2b_3x3", x), 3, 2)
    x = _unit(units, "Conv2d_3b_1x1", x)
    x = max_pool(_unit(units, "Conv2d_4a_3x3", x, 1, 0), 3, 2)
    for block in ("Mixed_5b", "Mixed_5c", "Mixed_5d"):
        x = _mix(units, block, x, "1x1", "5x5_1 5x5_2", "3x3dbl_1 3x3dbl_2 3x3dbl_3")
    x = _shrink(units, "Mixed_6a", x, "3x3", "3x3dbl_1 3x3dbl_2 3x3dbl_3")
    deep = "7x7dbl_1 7x7dbl_2 7x7dbl_3 7x7dbl_4 7x7dbl_5"
    for block in ("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"):
        x = _mix(units, block, x, "1x1", "7x7_1 7x7_2 7x7_3", deep)
    x = _shrink(units, "Mixed_7a", x, "3x3_1 3x3_2", "7x7x3_1 7x7x3_2 7x7x3_3 7x7x3_4")
    forks = ("1x1", "3x3_1 3x3_2a|3x3_2b", "3x3dbl_1 3x3dbl_2 3x3dbl_3a|3x3dbl_3b")
    x = _mix(units, "Mixed_7b", x, *forks)
    x = _mix(units, "Mixed_7c", x, *forks, pool=max_pool)
    return x.mean(axis=(1, 2))


def _mix(
    units: Units,
    block: str,
    x: Array,
    *branches: str,
    pool: Callable[[Array, int, int, int], Array] = average_pool,
) -> Array:
    """Concatenate parallel branches, of which the last begins with a pool; keeps the size."""
    outputs = [_branch(units, block, x, steps) for steps in branches]
    outputs.append(_branch(units, block, pool(x, 3, 1, 1), "_pool"))
    return jnp.concatenate(outputs, axis=-1)


def _shrink(units: Units, block: str, x: Array, *branches: str) -> Array:
    """Concatenate a pool and parallel branches that halve the size in their last step."""
    outputs = [_branch(units, block, x, steps, halve=True) for steps in branches]
    return jnp.concatenate([*outputs, max_pool(x, 3, 2)], axis=-1)


def _branch(units: Units, block: str, x: Array, steps: str, halve: bool = False) -> Array:
    """Apply units in sequence; ``a|b`` means two units in parallel."""
    *inner, last = steps.split()
    for step in inner:
        x = _unit(units, f"{block}.branch{step}", x)
    options = (2, 0) if halve else (1, "SAME")
    ends = [_unit(units, f"{block}.branch{step}", x, *options) for step in last.split("|")]
    return jnp.concatenate(ends, axis=-1)


def _unit(units: Units, name: str, x: Array, stride: int = 1, padding: int | str = "SAME") -> Array:
    return nn.relu(convolve(units[name], x, stride, padding))
