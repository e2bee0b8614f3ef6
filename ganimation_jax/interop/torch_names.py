"""Names and layouts of the arrays in the published PyTorch implementations.

There are two layouts: ``official`` (albertpumarola/GANimation) and ``replicate``
(donydchen/ganimation_replicate). Both number the layers of one ``nn.Sequential`` in the same way.
"""

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float32, Num

Layout = Literal["official", "replicate"]


class Names(NamedTuple):
    """Prefixes of names, which distinguish the layouts."""

    trunk: str
    residual: str
    color: str
    attention: str
    score: str
    aus: str


LAYOUTS: dict[Layout, Names] = {
    # 'attetion' is spelled as in the published code.
    "official": Names("main", "main", "img_reg.0", "attetion_reg.0", "conv1", "conv2"),
    "replicate": Names("model", "conv_block", "color_top.0", "au_top.0", "dis_top", "aus_top"),
}


def generator_names(layout: Layout, residual_blocks: int) -> dict[str, str]:
    """Our parameter path -> its name in PyTorch, for a generator."""
    names = LAYOUTS[layout]
    convs = {"stem": ("stem_norm", 0), "down0": ("down0_norm", 3), "down1": ("down1_norm", 6)}
    convs |= {"up0": ("up0_norm", 9 + residual_blocks), "up1": ("up1_norm", 12 + residual_blocks)}
    places = {
        conv: (norm, f"{names.trunk}.{index}", f"{names.trunk}.{index + 1}")
        for conv, (norm, index) in convs.items()
    }
    for block in range(residual_blocks):
        prefix = f"{names.trunk}.{9 + block}.{names.residual}"
        for i in (0, 1):
            norm = f"residual{block}_norm{i}"
            places[f"residual{block}_conv{i}"] = (
                norm,
                f"{prefix}.{3 * i}",
                f"{prefix}.{3 * i + 1}",
            )

    table = {"color": f"{names.color}.weight", "attention": f"{names.attention}.weight"}
    for conv, (norm, conv_name, norm_name) in places.items():
        table[f"{conv}/kernel"] = f"{conv_name}.weight"
        if layout == "official":  # affine norms, convolutions without bias
            table[f"{norm}/scale"] = f"{norm_name}.weight"
            table[f"{norm}/bias"] = f"{norm_name}.bias"
        else:
            table[f"{conv}/bias"] = f"{conv_name}.bias"
    return table


def critic_names(layout: Layout, depth: int) -> dict[str, str]:
    """Our parameter path -> its name in PyTorch, for a critic."""
    names = LAYOUTS[layout]
    table = {"score/kernel": f"{names.score}.weight", "aus": f"{names.aus}.weight"}
    for i in range(depth):
        table[f"down{i}/kernel"] = f"{names.trunk}.{2 * i}.weight"
        table[f"down{i}/bias"] = f"{names.trunk}.{2 * i}.bias"
    return table


def from_torch(path: str, array: Num[np.ndarray, "..."]) -> Float32[np.ndarray, "..."]:
    """A PyTorch array in our layout; a copy.

    Args:
      path: our name of the parameter; those of transposed convolutions begin with "up".
      array: kernels ``out in kh kw``, or ``in out kh kw`` and flipped if transposed.

    Returns:
      Kernels ``kh kw in out``; other arrays keep their shape.
    """
    if array.ndim == 4 and path.startswith("up"):  # in out kh kw, applied flipped
        array = array.transpose(2, 3, 0, 1)[::-1, ::-1]
    elif array.ndim == 4:  # out in kh kw
        array = array.transpose(2, 3, 1, 0)
    return np.array(array, np.float32, order="C")


def to_torch(path: str, array: Num[np.ndarray, "..."]) -> Float32[np.ndarray, "..."]:
    """The inverse of ``from_torch``."""
    if array.ndim == 4 and path.startswith("up"):
        array = array[::-1, ::-1].transpose(2, 3, 0, 1)
    elif array.ndim == 4:
        array = array.transpose(3, 2, 0, 1)
    return np.array(array, np.float32, order="C")
