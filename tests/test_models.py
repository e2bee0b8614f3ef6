import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from ganimation_jax.models import cpu_convolutions, layers
from ganimation_jax.models.critic import Critic, depth_for
from ganimation_jax.models.generator import CONDITIONS, Generator, blend
from ganimation_jax.models.warp import warp
from ganimation_jax.types import parameter_count

RNG = np.random.default_rng(0)


def arrays(*shapes):
    return [RNG.normal(size=shape).astype(np.float32) for shape in shapes]


def shapes_of(module, *inputs):
    return jax.eval_shape(lambda: module.init(jax.random.key(0), *inputs))["params"]


def test_published_parameter_counts():
    image, aus = jnp.zeros((1, 128, 128, 3)), jnp.zeros((1, 17))
    assert parameter_count(shapes_of(Generator(), image, aus)) == 8_471_296
    assert parameter_count(shapes_of(Critic(17), image)) == 44_860_352


@pytest.mark.parametrize("size", [16, 128, 256])
def test_output_shapes_follow_the_image_size(size):
    image, aus = jnp.zeros((2, size, size, 3)), jnp.zeros((2, 5))
    generator, critic = Generator(width=8), Critic(5, width=8)
    run = jax.eval_shape(
        lambda: (
            jax.jit(generator.init_with_output)(jax.random.key(0), image, aus)[0],
            jax.jit(critic.init_with_output)(jax.random.key(0), image)[0],
        )
    )
    edit, (score, read) = run
    patches = 4 if size == 256 else 2
    assert edit.attention.shape == (2, size, size, 1)
    assert edit.color.shape == (2, size, size, 3)
    assert edit.image.shape == image.shape
    assert edit.motion is None
    assert score.shape == (2, patches, patches)
    assert read.shape == (2, 5)


@pytest.mark.parametrize("size", [8, 100, 120, 200])
def test_impossible_sizes_are_refused_with_the_reason(size):
    with pytest.raises(ValueError, match=f"image_size {size} does not halve evenly"):
        depth_for(size)


def test_initial_kernels_are_normal_with_std_002():
    generator = Generator(width=16, residual_blocks=2)
    params = jax.jit(generator.init)(
        jax.random.key(0), jnp.zeros((1, 16, 16, 3)), jnp.zeros((1, 17))
    )
    kernel = params["params"]["residual0_conv0"]["kernel"]
    assert abs(kernel.mean()) < 5e-4
    assert abs(kernel.std() - 0.02) < 5e-4
    np.testing.assert_array_equal(params["params"]["stem_norm"]["scale"], 1)
    np.testing.assert_array_equal(params["params"]["stem_norm"]["bias"], 0)


def test_film_scales_and_shifts_each_channel():
    x, values, kernel, bias = arrays((2, 4, 4, 3), (2, 5), (5, 6), (6,))
    got = jax.jit(layers.Film().apply)(
        {"params": {"dense": {"kernel": kernel, "bias": bias}}}, x, values
    )
    scale, shift = np.split(values @ kernel + bias, 2, axis=-1)
    want = x * (1 + scale[:, None, None, :]) + shift[:, None, None, :]
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_every_action_unit_reaches_the_edit_however_it_enters(condition):
    generator = Generator(width=4, residual_blocks=1, condition=condition)
    image, aus, have = arrays((1, 16, 16, 3), (1, 5), (1, 5))
    params = jax.jit(generator.init)(jax.random.key(0), image, aus, have)

    def colour(aus):
        return jnp.sum(jax.jit(generator.apply)(params, image, aus, have).color * image)

    assert (np.abs(jax.jit(jax.grad(colour))(aus)) > 1e-9).all()
    stem = params["params"]["stem"]["kernel"]
    assert stem.shape[2] == (8 if condition == "concat" else 3)
    assert ("up1_film" in params["params"]) == (condition != "concat")


def second_derivatives(fn, x, kernel):
    """Value, gradients, and gradients of a gradient norm: what the penalty needs."""

    def gradient_norm(x, kernel):
        return jnp.sum(jnp.square(jax.grad(lambda x: jnp.sin(fn(x, kernel)).sum())(x)))

    value = fn(x, kernel)
    first = jax.grad(lambda x, k: jnp.sin(fn(x, k)).sum(), argnums=(0, 1))(x, kernel)
    second = jax.grad(gradient_norm, argnums=(0, 1))(x, kernel)
    return value, first, second


def strided(fn, stride):
    return lambda x, kernel: fn(x, kernel, stride)


DIRECT, WINOGRAD = cpu_convolutions.direct, cpu_convolutions.winograd


@pytest.mark.parametrize(
    ("fast", "direct", "size"),
    [
        (strided(cpu_convolutions.patches, 2), strided(DIRECT, 2), 4),
        (strided(WINOGRAD, 1), strided(DIRECT, 1), 3),
        (strided(WINOGRAD, 2), strided(DIRECT, 2), 4),
        (strided(WINOGRAD, 2), strided(DIRECT, 2), 3),
        (strided(cpu_convolutions.patches, 2), strided(DIRECT, 2), 3),
        (strided(cpu_convolutions.patches, 1), strided(DIRECT, 1), 4),
        (cpu_convolutions.transposed_subpixel, cpu_convolutions.transposed, 4),
        (cpu_convolutions.transposed_winograd, cpu_convolutions.transposed, 4),
        (cpu_convolutions.transposed_subpixel, cpu_convolutions.transposed, 3),
        (cpu_convolutions.transposed_winograd, cpu_convolutions.transposed, 3),
        (strided(cpu_convolutions.with_fourth_channel, 1), strided(DIRECT, 1), 7),
        (strided(cpu_convolutions.with_fourth_channel, 2), strided(DIRECT, 2), 4),
        (strided(cpu_convolutions.products, 1), strided(DIRECT, 1), 7),
        (strided(cpu_convolutions.to_few_features, 1), strided(DIRECT, 1), 7),
    ],
    ids=[
        *("patches", "winograd", "winograd-strided", "winograd-strided-3x3"),
        *("patches-3x3", "patches-4x4-dense", "subpixel", "subpixel-winograd"),
        *("subpixel-3x3", "subpixel-winograd-3x3"),
        *("fourth-channel", "fourth-channel-strided", "products", "to-few-features"),
    ],
)
def test_statements_are_equal_to_second_derivatives(fast, direct, size):
    for map_shape in ((6, 8), (2, 10)):  # in the second, all of a column is at an edge
        x, kernel = arrays((2, *map_shape, 3), (size, size, 3, 5))
        compiled = jax.jit(second_derivatives, static_argnums=0)
        got, want = compiled(fast, x, kernel), compiled(direct, x, kernel)
        for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * np.abs(b).max())


@pytest.mark.parametrize(("size", "stride"), [(3, 1), (4, 2)])
def test_winograd_of_odd_maps_against_float64(size, stride):
    # 5 outputs a side: the last tile is half outside the map.
    x, kernel = arrays((1, 5 * stride, 5 * stride, 2), (size, size, 2, 3))
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))).astype(np.float64)
    want = np.empty((1, 5, 5, 3))
    for i in range(5):
        for j in range(5):
            window = padded[0, stride * i : stride * i + size, stride * j : stride * j + size]
            want[0, i, j] = np.einsum("yxi,yxio->o", window, kernel)
    np.testing.assert_allclose(WINOGRAD(x, kernel, stride), want, rtol=1e-4, atol=1e-5)


def test_transposed_convolution_is_the_adjoint_of_the_strided_one():
    x, y, kernel = arrays((1, 8, 8, 3), (1, 4, 4, 5), (4, 4, 3, 5))
    down = cpu_convolutions.direct(x, kernel, 2)
    # Its adjoint: channels swapped, taps reversed.
    up = cpu_convolutions.transposed(y, kernel.transpose(0, 1, 3, 2)[::-1, ::-1])
    np.testing.assert_allclose((down * y).sum(), (x * up).sum(), rtol=1e-4)


@pytest.mark.parametrize(("height", "width"), [(7, 7), (8, 16), (32, 9)])
def test_constant_planes_are_never_made_but_convolved(height, width):
    values, kernel = arrays((2, 4), (7, 7, 4, 5))
    planes = np.broadcast_to(values[:, None, None], (2, height, width, 4))
    want = cpu_convolutions.direct(planes, kernel, 1)
    got = cpu_convolutions.constant_planes(values, kernel, height, width)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


def test_instance_norm_from_numpy():
    (x,) = arrays((2, 6, 5, 3))
    got = jax.jit(layers.InstanceNorm(affine=False).apply)({}, x)
    want = (x - x.mean((1, 2), keepdims=True)) / np.sqrt(x.var((1, 2), keepdims=True) + 1e-5)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_blend_keeps_the_source_where_attention_is_one():
    image, color = arrays((1, 4, 4, 3), (1, 4, 4, 3))
    attention = np.zeros((1, 4, 4, 1), np.float32)
    attention[:, :2] = 1
    edited = blend(image, attention, color).image
    np.testing.assert_array_equal(edited[:, :2], image[:, :2])
    np.testing.assert_array_equal(edited[:, 2:], color[:, 2:])


def test_bfloat16_keeps_parameters_and_outputs_float32_and_stays_near():
    image, aus = jnp.asarray(arrays((2, 16, 16, 3))[0]), jnp.asarray(RNG.random((2, 17)))
    exact, fast = (Generator(width=8, residual_blocks=1, dtype=d) for d in ("float32", "bfloat16"))
    params = jax.jit(exact.init)(jax.random.key(0), image, aus)
    assert {
        x.dtype for x in jax.tree.leaves(jax.jit(fast.init)(jax.random.key(0), image, aus))
    } == {jnp.dtype("float32")}
    edits = (
        jax.tree.leaves(jax.jit(network.apply)(params, image, aus)) for network in (exact, fast)
    )
    for a, b in zip(*edits, strict=True):
        assert b.dtype == jnp.float32
        assert 0 < np.abs(a - b).max() < 0.05


SHIPPED = {"condition": "difference", "motion": 3.0, "upsample": "resize", "patch": 2}


def test_a_field_reads_the_image_where_it_points():
    (image,) = arrays((1, 5, 6, 2))
    field = np.zeros((1, 5, 6, 2), np.float32)
    field[0, 1, 2] = (1, 2)  # down 1, right 2
    field[0, 2, 2] = (0, -0.25)
    field[0, 3, 3] = (-0.5, 0.5)
    field[0, 4, 5] = (9, 9)  # beyond the corner
    field[0, 0, 0] = (-7.5, -0.5)
    want = image.copy()
    want[0, 1, 2] = image[0, 2, 4]
    want[0, 2, 2] = 0.75 * image[0, 2, 2] + 0.25 * image[0, 2, 1]
    want[0, 3, 3] = image[0, 2:4, 3:5].mean((0, 1))
    want[0, 4, 5] = image[0, 4, 5]
    want[0, 0, 0] = image[0, 0, 0]
    np.testing.assert_allclose(warp(image, field), want, rtol=1e-5, atol=1e-6)


def test_a_field_of_zeros_returns_the_image_bit_for_bit():
    (image,) = arrays((2, 5, 6, 3))
    np.testing.assert_array_equal(jax.jit(warp)(image, np.zeros((2, 5, 6, 2), np.float32)), image)


def test_gradients_of_warp_against_differences():
    # Away from whole pixels, where interpolation has kinks.
    image = arrays((1, 4, 5, 2))[0]
    field = RNG.integers(-2, 3, (1, 4, 5, 2)) + RNG.uniform(0.2, 0.8, (1, 4, 5, 2))
    check_grads(warp, (image, field.astype(np.float32)), order=1, eps=0.01)


@pytest.mark.parametrize("map_shape", [(4, 4), (3, 7)])
def test_resizing_convolution_is_enlargement_then_convolution(map_shape):
    x, kernel = arrays((2, *map_shape, 3), (3, 3, 3, 5))
    got = jax.jit(layers.ResizeConv(5).apply)({"params": {"kernel": kernel}}, x)
    want = DIRECT(x.repeat(2, axis=1).repeat(2, axis=2), kernel, 1)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_blocks_become_channels_and_back():
    (x,) = arrays((2, 4, 6, 3))
    blocks = layers.blocks_to_channels(x, 2)
    np.testing.assert_array_equal(blocks[1, 1, 2], x[1, 2:4, 4:6].ravel())
    np.testing.assert_array_equal(layers.channels_to_blocks(blocks, 2), x)


@pytest.mark.parametrize("period", [1, 2, 4])
def test_a_filtered_map_shows_no_grid(period):
    tile = np.random.default_rng(0).normal(size=(period, period, 3))
    tiled = jnp.asarray(np.tile(tile, (1, 8, 8, 1)), jnp.float32)
    inside = (slice(None), slice(period, -period), slice(period, -period))
    got = layers.without_grid(tiled, period)
    want = np.broadcast_to(tile.mean(axis=(0, 1)), got[inside].shape)
    np.testing.assert_allclose(got[inside], want if period > 1 else tiled[inside], atol=1e-6)
    # Centred, and a straight line stays one.
    line = jnp.broadcast_to(jnp.arange(16.0)[:, None, None], (1, 16, 16, 2))
    np.testing.assert_allclose(layers.without_grid(line, period)[inside], line[inside], rtol=1e-6)


def test_asking_for_what_a_face_has_returns_it_whatever_the_parameters():
    generator = Generator(width=4, residual_blocks=1, **SHIPPED)
    image, have = arrays((2, 16, 16, 3), (2, 5))
    params = random_like(generator, image, have, have)
    same = jax.jit(generator.apply)(params, image, have, have)
    np.testing.assert_array_equal(same.image, image)
    np.testing.assert_array_equal(same.attention, 1)
    np.testing.assert_array_equal(same.motion, 0)
    # One face of the batch is left alone while the other is edited.
    want = have + np.array([[0.0], [0.5]], np.float32)
    edit = jax.jit(generator.apply)(params, image, want, have)
    np.testing.assert_array_equal(edit.image[0], image[0])
    assert np.abs(edit.image[1] - image[1]).max() > 0.1


def test_an_edit_fades_in_with_the_difference():
    generator = Generator(width=4, residual_blocks=1, **SHIPPED)
    image, have = arrays((1, 16, 16, 3), (1, 5))
    params = random_like(generator, image, have, have)
    steps = [
        jax.jit(generator.apply)(params, image, have + step, have).motion for step in (1e-6, 1e-5)
    ]
    assert np.abs(steps[1]).max() < 2e-3
    np.testing.assert_allclose(10 * steps[0], steps[1], rtol=0.05, atol=1e-6)


def test_the_edit_is_the_moved_image_blended_with_colour():
    generator = Generator(width=4, residual_blocks=1, **SHIPPED)
    image, have, want = arrays((2, 16, 24, 3), (2, 5), (2, 5))
    edit = jax.jit(generator.apply)(random_like(generator, image, want, have), image, want, have)
    assert edit.motion.shape == (2, 16, 24, 2)
    assert 0.5 < np.abs(edit.motion).max() <= 3
    moved = warp(image, edit.motion)
    np.testing.assert_allclose(
        edit.image, edit.attention * moved + (1 - edit.attention) * edit.color, atol=1e-6
    )


def test_the_difference_needs_what_the_face_has():
    image, aus = jnp.zeros((1, 16, 16, 3)), jnp.zeros((1, 5))
    with pytest.raises(ValueError, match="needs the action units a face has"):
        Generator(width=4, condition="difference").init(jax.random.key(0), image, aus)


def random_like(module, *inputs):
    leaves, tree = jax.tree.flatten(shapes_of(module, *inputs))
    return {"params": jax.tree.unflatten(tree, arrays(*(leaf.shape for leaf in leaves)))}


def test_a_gain_is_a_factor_of_the_difference():
    image, have, want = (
        np.random.default_rng(0).uniform(0, 1, shape).astype(np.float32)
        for shape in ((1, 16, 16, 3), (1, 4), (1, 4))
    )
    options = {"width": 4, "residual_blocks": 1, "condition": "difference", "motion": 2.0}
    params = jax.jit(Generator(**options).init)(jax.random.key(0), image, want, have)
    params = jax.tree.map(lambda x: x + 0.1, params)
    once = jax.jit(Generator(**options).apply)(params, image, have + 2 * (want - have), have)
    twice = jax.jit(Generator(**options, gain=2.0).apply)(params, image, want, have)
    np.testing.assert_allclose(twice.color, once.color, atol=1e-5)
    own = jax.jit(Generator(**options, gain=2.0).apply)(params, image, have, have)
    np.testing.assert_array_equal(own.image, image)


def test_edges_are_repeated_as_numpy_does():
    x = jax.random.normal(jax.random.key(0), (2, 3, 4, 5))
    for axis in (1, 2):
        widths = [(2, 2) if i == axis else (0, 0) for i in range(4)]
        np.testing.assert_array_equal(
            layers.repeat_edges(x, 2, axis), np.pad(x, widths, mode="edge")
        )
