import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import SIZE, UNITS, assert_trees_close

from configs import emotionet
from ganimation_jax.action_units import ACTION_UNITS
from ganimation_jax.methods import ganimation
from ganimation_jax.models.critic import Critic
from ganimation_jax.models.generator import Generator
from ganimation_jax.steps import augment, losses
from ganimation_jax.steps.augment import TRANSFORMS, build, diff_augment
from ganimation_jax.steps.updates import Given

KEY = jax.random.key(3)
EVERYTHING = ("color", "translation", "cutout")


def images(count=6, size=16, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (count, size, size, 3)).astype(np.float32)


def test_brightness_saturation_and_contrast_by_hand():
    image = images(1)[0]
    np.testing.assert_allclose(augment.brightness(image, 0.25), image + 0.25, atol=1e-7)
    grey = image.sum(axis=-1, keepdims=True) / 3
    np.testing.assert_allclose(augment.saturation(image, 0), np.tile(grey, 3), atol=1e-6)
    np.testing.assert_allclose(augment.saturation(image, 2), 2 * image - grey, atol=1e-6)
    mean = image.astype(np.float64).mean()
    np.testing.assert_allclose(augment.contrast(image, 0), np.full_like(image, mean), atol=1e-6)
    np.testing.assert_allclose(augment.contrast(image, 1.5), 1.5 * image - mean / 2, atol=1e-6)


def test_nothing_is_changed_at_no_strength():
    image = images(1)[0]
    np.testing.assert_array_equal(augment.brightness(image, 0), image)
    np.testing.assert_allclose(augment.saturation(image, 1), image, atol=1e-6)
    np.testing.assert_allclose(augment.contrast(image, 1), image, atol=1e-6)
    np.testing.assert_array_equal(augment.translate(image, 0, 0), image)
    np.testing.assert_array_equal(augment.cut_out(image, 0, 0, 0), image)
    never = diff_augment(EVERYTHING, probability=0)
    np.testing.assert_array_equal(never(KEY, image[None]), image[None])


@pytest.mark.parametrize(("down", "right"), [(2, 3), (-2, 3), (0, -5), (16, 0)])
def test_translation_fills_with_grey(down, right):
    image = images(1)[0]
    expected = np.zeros_like(image)
    for y in range(16):
        for x in range(16):
            if 0 <= y - down < 16 and 0 <= x - right < 16:
                expected[y, x] = image[y - down, x - right]
    np.testing.assert_array_equal(augment.translate(image, down, right), expected)


def test_cutout_may_reach_over_the_edge():
    image = np.ones((8, 8, 3), np.float32)
    got = np.asarray(augment.cut_out(image, -2, 5, 4))[..., 0]
    expected = np.ones((8, 8))
    expected[:2, 5:] = 0
    np.testing.assert_array_equal(got, expected)


def test_draws_have_the_published_ranges():
    keys = jax.random.split(KEY, 400)
    flat = np.full((16, 16, 3), 0.3, np.float32)
    flat_drawn = jax.vmap(lambda key: TRANSFORMS["color"](key, flat))(keys)
    shift = flat_drawn[:, 0, 0, 0] - 0.3  # a constant image shows brightness alone
    assert -0.5 <= shift.min() < -0.48
    assert 0.48 < shift.max() <= 0.5
    dot = np.zeros((16, 16, 3), np.float32)
    dot[8, 8] = 1
    moved = jax.vmap(lambda key: TRANSFORMS["translation"](key, dot))(keys)
    places = np.argwhere(np.asarray(moved)[..., 0] == 1)
    assert len(places) == 400
    assert {*places[:, 1]} == {*places[:, 2]} == {6, 7, 8, 9, 10}  # an eighth of 16 pixels
    holes = jax.vmap(lambda key: TRANSFORMS["cutout"](key, np.ones_like(flat)))(keys)
    hidden = 256 - np.asarray(holes)[..., 0].sum(axis=(1, 2))
    assert hidden.max() == 64  # half a side, wholly inside
    assert hidden.min() == 16  # its middle in a corner


def test_one_key_is_one_draw_for_a_face_and_its_edit():
    change = diff_augment(EVERYTHING)
    real, edited = images(seed=0), images(seed=1)
    share = np.random.default_rng(2).random(len(real), np.float32)
    # Every change is affine, so the penalty's points between the two are themselves augmented.
    between = losses.interpolate(change(KEY, real), change(KEY, edited), share)
    want = change(KEY, losses.interpolate(real, edited, share))
    np.testing.assert_allclose(between, want, atol=2e-6)
    same = np.tile(real[:1], (6, 1, 1, 1))
    drawn = np.asarray(change(KEY, same))
    assert np.abs(drawn - drawn[:1]).max(axis=(1, 2, 3))[1:].min() > 0.01  # another for each place


def test_images_do_not_depend_on_each_other():
    change = jax.jit(diff_augment(EVERYTHING))
    one, other = images(seed=0), images(seed=1)
    other[2] = one[2]
    np.testing.assert_array_equal(change(KEY, one)[2], change(KEY, other)[2])


def test_probability_is_that_of_each_change():
    change = diff_augment(("translation",), probability=0.3)
    base = images(1)
    drawn = np.asarray(change(KEY, np.tile(base, (1000, 1, 1, 1))))
    changed = (drawn != base).any(axis=(1, 2, 3)).mean()
    assert changed == pytest.approx(0.3 * 24 / 25, abs=0.05)  # one draw in 25 is no shift


@pytest.mark.parametrize("name", TRANSFORMS)
def test_gradients_flow_through(name):
    change = diff_augment((name,))
    image, direction = images(2), images(2, seed=5)

    @jax.jit
    def total(x):
        return (change(KEY, x) * direction).sum()

    grads = jax.grad(total)(image)
    # The change is affine: a finite difference of any size is exact.
    step = images(2, seed=6)
    np.testing.assert_allclose(
        (grads * step).sum(), total(image + step) - total(image), rtol=1e-3, atol=1e-3
    )
    assert (np.abs(grads) > 0).mean() > 0.3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"policy": "colour"}, "colour not among color, translation, cutout"),
        ({"probability": 1.5}, r"probability 1.5 is not in \[0, 1\]"),
    ],
)
def test_what_is_not_known_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        build({"policy": "", "probability": 1.0} | options)


def test_configs_turn_it_on_and_off():
    cfg = emotionet.get_config()
    assert build(cfg.augment) is None
    cfg.augment.policy = "color, translation"
    change = build(cfg.augment)
    want = diff_augment(("color", "translation"))(KEY, images())
    np.testing.assert_array_equal(change(KEY, images()), want)
    del cfg.augment  # a run from before
    assert ganimation.model(cfg).names == ACTION_UNITS


def one_batch(batch):
    one = jax.tree.map(lambda x: x[0], batch)
    return one._replace(image=np.float32(one.image) / np.float32(127.5) - 1)


@pytest.mark.slow
def test_critic_and_generator_see_the_same_changes(initial_state, batch):
    """A brightness that is known: losses with it are losses of brighter images."""
    nets = Generator(width=4, residual_blocks=1), Critic(UNITS, width=4)
    one = one_batch(batch)
    generator = {"generator": initial_state.nets["generator"]}
    # So narrow a critic is blind at its published init: see Critic.init_std.
    critic = {"critic": jax.tree.map(lambda x: 5 * x, initial_state.nets["critic"])}
    shares = lambda key, size: jnp.full(size, 0.25)  # noqa: E731
    brighter = ganimation.objectives(*nets, augment=lambda key, x: x + 0.5, draw_shares=shares)
    plain = ganimation.objectives(*nets, draw_shares=shares)
    model = ganimation.model_of(*nets, ACTION_UNITS, SIZE)

    @jax.jit  # all at once: compilation is what costs
    def compare(generator, critic, one, edited):
        def critics(aims, one, edited):
            return aims.critic[0](critic, Given(generator, one, edited, KEY, (), ()))[1].metrics

        def generators(aims):
            return aims.generator(generator, Given(critic, one, edited, KEY, (), ()))[1].metrics

        error = jnp.square(model.read(critic, edited + 0.5) - one.want).mean()
        got = critics(brighter, one, edited)
        want = critics(plain, one._replace(image=one.image + 0.5), edited + 0.5)
        return got, want, generators(brighter), generators(plain), 160 * error

    edited = jax.jit(plain.fakes)(generator, one, KEY)
    got, want, edits, plain_edits, error = compare(generator, critic, one, edited)
    assert_trees_close(got, want, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(edits["generator/aus"], error, rtol=1e-4)
    assert abs(edits["generator/aus"] - plain_edits["generator/aus"]) > 0.01
    for name in ("cycle", "attention", "total_variation", "attention_mean"):
        np.testing.assert_allclose(edits[f"generator/{name}"], plain_edits[f"generator/{name}"])
