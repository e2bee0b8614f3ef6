"""Recorded numbers of DIAT, and comparison with them."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import neighbour_goldens
import numpy as np

from ganimation_jax.features.layers import convolve, make_layer, max_pool
from ganimation_jax.models.diat import Critic
from ganimation_jax.types import State

FOLDER = neighbour_goldens.FOLDER
NO_KEY = jax.random.key(0)


class Golden(neighbour_goldens.Golden):
    """One file, in this library's layouts."""

    def image(self, name):
        return jnp.asarray(super().image(name))

    def layer(self, name):
        kernel = self.arrays[f"{name}.weight"].transpose(2, 3, 1, 0)
        return {"kernel": jnp.asarray(kernel), "bias": jnp.asarray(self.arrays[f"{name}.bias"])}

    def count(self, prefix):
        return sum(
            name.startswith(f"{prefix}/blocks.") and name.endswith("bias") for name in self.arrays
        )

    def critic(self, prefix):
        """The critic's parameters; of the last layer c h w -> h w c."""
        found = {f"down{i}": self.layer(f"{prefix}/blocks.{i}") for i in range(self.count(prefix))}
        channels = len(found[f"down{len(found) - 1}"]["bias"])
        side = self["x"].shape[-1] // 2 ** len(found)
        kernel = self[f"{prefix}/last.weight"].reshape(channels, side, side).transpose(1, 2, 0)
        bias = jnp.asarray(self[f"{prefix}/last.bias"])
        return found | {"score": {"kernel": jnp.asarray(kernel.reshape(-1, 1)), "bias": bias}}

    def denoiser(self, prefix):
        return {name: self.layer(f"{prefix}/{name}") for name in ("first", "second")}

    def features(self):
        """The stand-in for a face network: images -> its maps, the first stage first."""
        layers = [
            make_layer(**self.layer(f"init/features/blocks.{i}"))
            for i in range(self.count("init/features"))
        ]

        def maps(params, x):
            found = []
            for i, layer in enumerate(params):
                x = max_pool(x, 2, 2) if i else x
                x = nn.relu(convolve(layer, x, padding=1))
                found.append(x)
            return tuple(found)

        return layers, maps


def critic_of(golden):
    params = golden.critic("init/critic")
    widths = tuple(len(params[f"down{i}"]["bias"]) for i in range(len(params) - 1))
    return Critic(widths), params


def assert_close(got, want, share=1e-3):
    """Relative L2 of a whole array."""
    got, want = np.asarray(got), np.asarray(want)
    error, size = np.linalg.norm(got - want), np.linalg.norm(want)
    assert error <= share * size, f"{error / size:.2g}"


def check_term(golden, name, term, to, gradient="grad"):
    """Value for each image, and the gradient of the batch's mean."""

    def both(x):
        value = term(x)
        return value.mean(), value

    (_, value), grad = jax.jit(jax.value_and_grad(both, has_aux=True))(to)
    np.testing.assert_allclose(value, golden[f"{name}/value"], rtol=1e-4)
    assert_close(grad, golden.image(f"{name}/{gradient}"))


def fresh(nets, optimizers):
    opt = {
        name: one.transform.init({net: nets[net] for net in one.trains})
        for name, one in optimizers.items()
    }
    return State(step=jnp.zeros((), jnp.int32), nets=nets, opt=opt, ema={})


def check_update(before, after, wanted):
    """The change of every array."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(after):
        start, want = (
            functools.reduce(lambda tree, key: tree[key.key], path, tree)
            for tree in (before, wanted)
        )
        if np.abs(np.asarray(want) - start).max() > 0:
            assert_close(leaf - np.asarray(start), want - np.asarray(start))
