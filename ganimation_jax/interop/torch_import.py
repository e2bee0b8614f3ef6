"""Weights of the published PyTorch implementations, as networks of this library."""

import re
from collections.abc import Mapping

import numpy as np
from flax.traverse_util import unflatten_dict

from ganimation_jax.interop.torch_names import (
    LAYOUTS,
    Layout,
    critic_names,
    from_torch,
    generator_names,
)
from ganimation_jax.models.critic import Critic
from ganimation_jax.models.generator import Generator
from ganimation_jax.types import Params

StateDict = Mapping[str, np.ndarray]


def generator_from_state_dict(state: StateDict) -> tuple[Generator, Params]:
    """A generator and its parameters from a PyTorch state dict.

    Layout, width, number of residual blocks and of action units come from names and shapes.

    Args:
      state: names to arrays, as ``torch.load`` gives them (as numpy); names may carry the
        ``module.`` of ``DataParallel``.

    Raises:
      ValueError: neither published layout; the names missing and left over are listed.
    """
    state = _plain_names(state)
    layout = _layout(state, lambda names: f"{names.color}.weight", "generator")
    names = LAYOUTS[layout]
    pattern = re.compile(rf"{names.trunk}\.(\d+)\.{names.residual}\.0\.weight")
    blocks = sum(bool(pattern.fullmatch(name)) for name in state)
    params = _take(state, generator_names(layout, blocks))
    width = params["stem"]["kernel"].shape[-1]
    official = layout == "official"
    return Generator(width, blocks, norm_affine=official, conv_bias=not official), params


def critic_from_state_dict(state: StateDict) -> tuple[Critic, Params]:
    """A critic and its parameters from a PyTorch state dict; as ``generator_from_state_dict``."""
    state = _plain_names(state)
    layout = _layout(state, lambda names: f"{names.score}.weight", "critic")
    pattern = re.compile(rf"{LAYOUTS[layout].trunk}\.\d+\.weight")
    depth = sum(bool(pattern.fullmatch(name)) for name in state)
    params = _take(state, critic_names(layout, depth))
    width = params["down0"]["kernel"].shape[-1]
    return Critic(params["aus"].shape[-1], width, depth), params


def _plain_names(state: StateDict) -> dict[str, np.ndarray]:
    return {name.removeprefix("module."): np.asarray(array) for name, array in state.items()}


def _layout(state: StateDict, landmark, network: str) -> Layout:
    for layout, names in LAYOUTS.items():
        if landmark(names) in state:
            return layout
    expected = " or ".join(landmark(names) for names in LAYOUTS.values())
    raise ValueError(
        f"not a {network} of a published layout: no {expected} among {sorted(state)[:8]} ..."
    )


def _take(state: StateDict, names: dict[str, str]) -> Params:
    missing = sorted(set(names.values()) - set(state))
    left_over = sorted(set(state) - set(names.values()))
    if missing or left_over:
        raise ValueError(f"state dict does not match: missing {missing}, left over {left_over}")
    flat = {path: from_torch(path, state[name]) for path, name in names.items()}
    return unflatten_dict(flat, sep="/")
