import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import SIZE, UNITS

from configs import emotionet
from ganimation_jax.methods import ganimation
from ganimation_jax.models.critic import Critic
from ganimation_jax.models.generator import Generator
from ganimation_jax.steps import losses
from ganimation_jax.steps.updates import Given
from ganimation_jax.types import Batch

pytestmark = pytest.mark.usefixtures("plain_convolutions")

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(-1, 1, (3, SIZE, SIZE, 3)).astype(np.float32)


def test_penalty_of_a_linear_critic_is_closed_form():
    weights = RNG.normal(size=IMAGES.shape[1:]).astype(np.float32)
    penalty, norm = losses.gradient_penalty(
        lambda w, x: (x * w).sum((1, 2, 3)), jnp.asarray(weights), jnp.asarray(IMAGES)
    )
    expected = np.linalg.norm(weights)
    np.testing.assert_allclose(norm, np.full(3, expected), rtol=1e-6)
    np.testing.assert_allclose(penalty, np.full(3, (expected - 1) ** 2), rtol=1e-5)


def test_penalty_gradient_of_a_linear_critic_is_closed_form():
    weights = RNG.normal(size=IMAGES.shape[1:]).astype(np.float32)

    def mean_penalty(w):
        return losses.gradient_penalty(lambda w, x: (x * w).sum((1, 2, 3)), w, jnp.asarray(IMAGES))[
            0
        ].mean()

    norm = np.linalg.norm(weights)
    expected = 2 * (norm - 1) / norm * weights
    np.testing.assert_allclose(jax.jit(jax.grad(mean_penalty))(weights), expected, rtol=1e-5)


def test_penalty_gradient_equals_reverse_over_reverse():
    critic = Critic(UNITS, width=4)
    params = jax.jit(critic.init)(jax.random.key(0), IMAGES)["params"]
    params = jax.tree.map(lambda x: x * 20, params)  # input gradients of order 1, not 0.01

    def score(params, x):
        return critic.apply({"params": params}, x)[0].mean((1, 2))

    def plain(params):
        grads = jax.grad(lambda x: score(params, x).sum())(jnp.asarray(IMAGES))
        return jnp.square(jnp.sqrt(jnp.square(grads).sum((1, 2, 3))) - 1).mean()

    def ours(params):
        return losses.gradient_penalty(score, params, jnp.asarray(IMAGES))[0].mean()

    value, grads = jax.jit(jax.value_and_grad(ours))(params)
    expected_value, expected = jax.jit(jax.value_and_grad(plain))(params)
    np.testing.assert_allclose(value, expected_value, rtol=1e-5)
    for got, want in zip(jax.tree.leaves(grads), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-5 * max(1e-3, np.abs(want).max()))


def test_penalty_of_a_constant_critic_has_finite_gradient():
    def score(w, x):
        return 0 * (x * w).sum((1, 2, 3))

    def mean_penalty(w):
        return losses.gradient_penalty(score, w, jnp.asarray(IMAGES))[0].mean()

    value, grad = jax.jit(jax.value_and_grad(mean_penalty))(jnp.ones(IMAGES.shape[1:]))
    np.testing.assert_allclose(value, 1, rtol=1e-5)
    assert np.isfinite(grad).all()


def test_interpolate_gives_the_share_to_the_real_image():
    real, edited = np.ones_like(IMAGES), np.zeros_like(IMAGES)
    mixed = losses.interpolate(real, edited, jnp.array([0.0, 0.25, 1.0]))
    np.testing.assert_allclose(mixed.mean((1, 2, 3)), [0, 0.25, 1])


def test_au_error_is_the_mean_squared_error_of_each_example():
    read, wanted = RNG.random((2, 3, UNITS))
    expected = [
        sum((read[b, i] - wanted[b, i]) ** 2 for i in range(UNITS)) / UNITS for b in (0, 1, 2)
    ]
    np.testing.assert_allclose(losses.au_error(read, wanted), expected, rtol=1e-6)


def test_cycle_error_is_the_mean_absolute_error_of_each_example():
    expected = [np.abs(image - 0.5).mean() for image in IMAGES]
    got = losses.cycle_error(jnp.full_like(IMAGES, 0.5), IMAGES)
    np.testing.assert_allclose(got, expected, rtol=1e-5)


@pytest.mark.parametrize(("norm", "power"), [("l1", 1), ("l2", 2)])
def test_attention_losses_from_loops(norm, power):
    attention = RNG.random((2, 5, 4, 1)).astype(np.float32)
    magnitude, variation = np.zeros(2), np.zeros(2)
    for b in range(2):
        for i in range(5):
            for j in range(4):
                here = attention[b, i, j, 0]
                magnitude[b] += here**power / 20
                if i < 4:
                    variation[b] += abs(attention[b, i + 1, j, 0] - here) ** power
                if j < 3:
                    variation[b] += abs(attention[b, i, j + 1, 0] - here) ** power
    np.testing.assert_allclose(losses.attention_magnitude(attention, norm), magnitude, rtol=1e-5)
    np.testing.assert_allclose(losses.total_variation(attention, norm), variation, rtol=1e-5)


def test_the_norms_gradient_reaches_parameters_and_images():
    """A penalty made of the norm itself, as a one-sided one is, against plain reverse mode."""
    params = {"a": jnp.asarray(np.random.default_rng(3).normal(size=IMAGES.shape[1:]))}

    def score(params, x):
        return jnp.tanh((x * params["a"]).sum((1, 2, 3))) + jnp.square(x).sum((1, 2, 3))

    def plain(params, x):
        grads = jax.grad(lambda x: score(params, x).sum())(x)
        norm = jnp.sqrt(jnp.square(grads).sum((1, 2, 3)) + 1e-12)
        return jnp.square(jnp.maximum(norm - 0.5, 0)).sum()

    def ours(params, x):
        _, norm = losses.gradient_penalty(score, params, x)
        return jnp.square(jnp.maximum(norm - 0.5, 0)).sum()

    images = jnp.asarray(IMAGES)
    got = jax.grad(ours, argnums=(0, 1))(params, images)
    want = jax.grad(plain, argnums=(0, 1))(params, images)
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert np.abs(other).max() > 0
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5 * np.abs(other).max())


def test_true_edit_error_from_loops():
    edited, truth = RNG.normal(size=(2, 2, 8, 4, 3)).astype(np.float32)
    want = np.zeros(2)
    for side in (1, 2, 4):
        blocks = [
            (edited - truth)[:, y : y + side, x : x + side].mean(axis=(1, 2))
            for y in range(0, 8, side)
            for x in range(0, 4, side)
        ]
        want += np.abs(blocks).mean(axis=(0, 2)) / 3
    np.testing.assert_allclose(losses.true_edit_error(edited, truth), want, rtol=1e-5)


def test_emphasis_weighs_the_blocks_that_the_true_edit_changes():
    source = np.zeros((1, 8, 8, 3), np.float32)
    truth = source.copy()
    truth[:, :4, :4] = 0.06  # half of what counts as wholly changed
    edited = truth + 0.1
    plain = losses.true_edit_error(edited, truth)
    np.testing.assert_allclose(plain, 0.1, rtol=1e-5)
    # One block of four weighs 1 + 0.5 * 4, the others 1.
    weighed = losses.true_edit_error(edited, truth, source, 4.0)
    np.testing.assert_allclose(weighed, 0.1 * (3 + 3) / 4, rtol=1e-5)
    np.testing.assert_allclose(losses.true_edit_error(edited, truth, source), plain)


def test_a_lip_a_pixel_off_costs_less_than_none():
    face, truth, moved = np.zeros((3, 1, 16, 16, 3), np.float32)
    truth[:, 8], moved[:, 9] = 1, 1
    assert losses.true_edit_error(moved, truth) < 1.2 * losses.true_edit_error(face, truth)
    assert losses.cycle_error(moved, truth) == 2 * losses.cycle_error(face, truth)


def test_motion_variation_is_zero_for_a_shift_and_the_slope_of_a_ramp():
    motion = np.ones((2, 5, 4, 2), np.float32)
    motion[1, ..., 0] = 0.5 * np.arange(5)[:, None]
    np.testing.assert_allclose(losses.motion_variation(motion), [0, 0.25], rtol=1e-6)


def test_mean_where_counts_the_chosen_only_and_is_zero_without_any():
    values = np.array([1.0, 2.0, np.nan, 4.0])
    assert losses.mean_where(values, np.array([True, False, False, True])) == 2.5
    assert losses.mean_where(values, np.zeros(4, bool)) == 0


PAIRED = Batch(
    image=jnp.asarray(RNG.uniform(-1, 1, (2, 16, 16, 3)), jnp.float32),
    have=jnp.asarray(RNG.random((2, UNITS)), jnp.float32),
    want=jnp.asarray(RNG.random((2, UNITS)), jnp.float32),
    other=jnp.asarray(RNG.uniform(-1, 1, (2, 16, 16, 3)), jnp.float32),
    paired=jnp.array([True, False]),
)
GENERATOR = Generator(width=4, residual_blocks=1, condition="difference", motion=3.0, patch=2)


@functools.cache
def generator_params():
    init = jax.jit(GENERATOR.init)
    return init(jax.random.key(0), PAIRED.image, PAIRED.want, PAIRED.have)["params"]


def test_only_pairs_teach_by_their_true_edit():
    params = generator_params()
    weights = ganimation.LossWeights(paired=10.0, motion=2.0)
    aims = ganimation.objectives(GENERATOR, Critic(UNITS, width=4), weights)
    given = Given({}, PAIRED, (), jax.random.key(1), (), ())
    loss, aux = jax.jit(aims.pairs)({"generator": params}, given)
    edit = jax.jit(GENERATOR.apply)({"params": params}, PAIRED.image, PAIRED.want, PAIRED.have)
    paired = 10 * losses.true_edit_error(edit.image[:1], PAIRED.other[:1])[0]
    motion = 2 * losses.motion_variation(edit.motion).mean()
    np.testing.assert_allclose(aux.metrics["generator/paired"], paired, rtol=1e-5)
    np.testing.assert_allclose(loss, paired + motion, rtol=1e-5)
    alone = given._replace(batch=PAIRED._replace(other=None, paired=None))
    with pytest.raises(ValueError, match="loss.paired needs pairs"):
        aims.pairs({"generator": params}, alone)


def test_without_a_cycle_the_way_back_is_not_computed():
    critic = Critic(UNITS, width=4)
    nets = {
        "generator": generator_params(),
        "critic": jax.jit(critic.init)(jax.random.key(1), PAIRED.image)["params"],
    }
    weights = ganimation.LossWeights(
        cycle=0.0, attention=0.0, total_variation=0.0, adversarial=0.5, aus=3.0
    )
    aims = ganimation.objectives(GENERATOR, critic, weights)
    given = Given(nets, PAIRED, (), jax.random.key(2), (), ())
    loss, aux = jax.jit(aims.generator)(nets, given)
    assert "generator/cycle" not in aux.metrics
    edit = jax.jit(GENERATOR.apply)(
        {"params": nets["generator"]}, PAIRED.image, PAIRED.want, PAIRED.have
    )
    score, read = jax.jit(critic.apply)({"params": nets["critic"]}, edit.image)
    want = -0.5 * score.mean() + 3 * jnp.square(read - PAIRED.want).mean()
    np.testing.assert_allclose(loss, want, rtol=1e-4)


def squares(frozen, a, b):
    """A distance whose one frozen parameter is a factor."""
    return frozen * jnp.square(a - b).mean((1, 2, 3))


def test_distances_of_features_join_those_of_pixels():
    critic = Critic(UNITS, width=4)
    nets = {
        "generator": generator_params(),
        "critic": jax.jit(critic.init)(jax.random.key(1), PAIRED.image)["params"],
    }
    frozen = jnp.float32(3)
    given = Given(nets, PAIRED, (), jax.random.key(2), frozen, ())
    edit = jax.jit(ganimation.edit, static_argnums=0)
    there = edit(GENERATOR, nets, PAIRED.image, PAIRED.want, PAIRED.have)
    back = edit(GENERATOR, nets, there.image, PAIRED.have, PAIRED.want)
    cycle = 5 * squares(frozen, back.image, PAIRED.image).mean()
    paired = 7 * squares(frozen, there.image, PAIRED.other)[0]  # the other is no pair
    for pixels in (0.0, 10.0):
        weights = ganimation.LossWeights(cycle=pixels, paired=pixels)
        alone, with_features = (
            ganimation.objectives(GENERATOR, critic, weights, perceptual=terms)
            for terms in (ganimation.ONLY_PIXELS, ganimation.Perceptual(squares, 5.0, 7.0))
        )
        loss, aux = jax.jit(with_features.generator)(nets, given)
        np.testing.assert_allclose(aux.metrics["generator/perceptual_cycle"], cycle, rtol=1e-5)
        np.testing.assert_allclose(aux.metrics["generator/perceptual_paired"], paired, rtol=1e-5)
        assert ("generator/cycle" in aux.metrics) == bool(pixels)
        if pixels:  # the attention of the way back is in both
            plain, _ = jax.jit(alone.generator)(nets, given)
            np.testing.assert_allclose(loss, plain + cycle + paired, rtol=1e-5)


def test_the_config_of_perceptual_terms():
    cfg = emotionet.get_config()
    load_frozen, terms = ganimation.features(cfg)
    assert (load_frozen(), terms) == ((), ganimation.ONLY_PIXELS)
    cfg.perceptual.update(network="vgg16", cycle=0.5)
    assert ganimation.features(cfg)[1].cycle == 0.5
    cfg.perceptual.network = "vgg"
    with pytest.raises(ValueError, match="'vgg' is not one of lpips, vgg16, face_resnet"):
        ganimation.check(cfg)
    cfg.perceptual.update(network="vgg16", cycle=-1.0)
    with pytest.raises(ValueError, match="perceptual.cycle is -1.0; it must not be negative"):
        ganimation.check(cfg)
