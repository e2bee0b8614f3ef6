"""The transform network and its layers, against PyTorch's definitions written out in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ganimation_jax.models import cpu_convolutions, layers
from ganimation_jax.models.critic import Critic
from ganimation_jax.models.transform import Transform
from ganimation_jax.types import parameter_count

RNG = np.random.default_rng(0)
CYCLEGAN = {"resize": 3, "padding": "reflect", "norm_affine": False, "bias": True}


def arrays(*shapes):
    return [RNG.normal(size=shape).astype(np.float32) for shape in shapes]


def correlate(padded, kernel, stride):
    """PyTorch's convolution of an image that is padded already."""
    size = kernel.shape[0]
    height, width = ((side - size) // stride + 1 for side in padded.shape[1:3])
    out = np.zeros((len(padded), height, width, kernel.shape[-1]))
    for y in range(height):
        for x in range(width):
            window = padded[:, y * stride : y * stride + size, x * stride : x * stride + size]
            out[:, y, x] = np.einsum("bijc,ijco->bo", window, kernel)
    return out


def scatter(x, kernel, output_padding):
    """PyTorch's transposed convolution: stride 2, padding 1; ``kernel`` flipped as we store it."""
    size, (b, height, width, _) = kernel.shape[0], x.shape
    out = np.zeros((b, 2 * height + size, 2 * width + size, kernel.shape[-1]))
    for i in range(height):
        for j in range(width):
            stamp = np.einsum("bc,ijco->bijo", x[:, i, j], kernel[::-1, ::-1])
            out[:, 2 * i : 2 * i + size, 2 * j : 2 * j + size] += stamp
    height, width = ((n - 1) * 2 - 2 + size + output_padding for n in (height, width))
    return out[:, 1 : 1 + height, 1 : 1 + width]


@pytest.mark.parametrize(("size", "stride"), [(3, 1), (3, 2), (4, 2), (7, 1)])
def test_zero_padding_is_pytorchs(size, stride):
    x, kernel = arrays((2, 8, 6, 3), (size, size, 3, 5))
    edge = (size - 1) // 2
    padded = np.pad(x, ((0, 0), (edge, edge), (edge, edge), (0, 0)))
    want = correlate(padded, kernel, stride)
    np.testing.assert_allclose(layers.conv(x, kernel, stride), want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [3, 7])
def test_reflection_padding_is_numpys(size):
    x, kernel = arrays((2, 8, 6, 3), (size, size, 3, 5))
    edge = size // 2
    padded = np.pad(x, ((0, 0), (edge, edge), (edge, edge), (0, 0)), mode="reflect")
    got = layers.conv(x, kernel, padding="reflect")
    np.testing.assert_allclose(got, correlate(padded, kernel, 1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("size", "output_padding"), [(4, 0), (3, 1)])
@pytest.mark.parametrize("stated", [cpu_convolutions.transposed, layers.conv_transpose])
def test_transposed_convolution_is_pytorchs(size, output_padding, stated):
    x, kernel = arrays((2, 5, 4, 3), (size, size, 3, 2))
    want = scatter(x, kernel, output_padding)
    assert want.shape == (2, 10, 8, 2)
    np.testing.assert_allclose(stated(x, kernel), want, rtol=1e-4, atol=1e-4)


def shapes_of(module, *inputs):
    return jax.eval_shape(lambda: module.init(jax.random.key(0), *inputs))["params"]


@pytest.mark.parametrize(
    ("options", "conditions", "count"),
    [
        ({}, 5, 8_430_528),  # StarGAN
        ({}, 8, 8_439_936),
        ({}, 15, 8_461_888),
        (CYCLEGAN, 0, 7_837_699),
        (CYCLEGAN | {"residual_blocks": 9}, 0, 11_378_179),
        (CYCLEGAN | {"norm_affine": True}, 0, 7_845_123),  # Torch 7
    ],
)
def test_published_parameter_counts(options, conditions, count):
    values = (jnp.zeros((1, conditions)),) if conditions else ()
    shapes = shapes_of(Transform(**options), jnp.zeros((1, 128, 128, 3)), *values)
    assert parameter_count(shapes) == count


def test_pytorchs_initial_distributions():
    """U(-1, 1) / sqrt(fan in) everywhere, where fan in counts as PyTorch does."""
    image, values = jnp.zeros((1, 16, 16, 3)), jnp.zeros((1, 5))
    network = Transform(width=32, residual_blocks=1, bias=True)
    params = network.init(jax.random.key(0), image, values)["params"]
    fans = {"stem": 49 * 8, "down1": 16 * 64, "residual0_conv0": 9 * 128, "color": 49 * 32}
    fans |= {"up0": 16 * 64, "up1": 16 * 32}  # output channels
    for name, fan_in in fans.items():
        for part in ("kernel", "bias"):
            drawn, bound = np.ravel(params[name][part]), fan_in**-0.5
            assert np.abs(drawn).max() <= bound, name
            if drawn.size > 1000:
                assert np.abs(drawn).max() > 0.98 * bound, name
                np.testing.assert_allclose(drawn.std(), bound / 3**0.5, rtol=0.05, err_msg=name)
    critic = Critic(5, 16, depth=2, initial="pytorch").init(jax.random.key(0), image)["params"]
    for leaf, fan_in in [
        (critic["down1"]["bias"], 16 * 16),
        (critic["down1"]["kernel"], 16 * 16),
        (critic["aus"], 16 * 32),
        (critic["score"]["kernel"], 9 * 32),
    ]:
        assert 0.8 * fan_in**-0.5 < np.abs(leaf).max() <= fan_in**-0.5


def test_conditions_without_a_border_are_refused():
    network = Transform(width=4, residual_blocks=1, **CYCLEGAN)
    with pytest.raises(ValueError, match="padding='zeros'"):
        network.init(jax.random.key(0), jnp.zeros((1, 16, 16, 3)), jnp.zeros((1, 5)))
