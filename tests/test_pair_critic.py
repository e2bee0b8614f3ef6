"""The critic that sees an edit beside its source, and training against it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import UNITS

from configs import emotionet
from ganimation_jax.methods import ganimation
from ganimation_jax.methods.ganimation_losses import edit, objectives
from ganimation_jax.models.critic import Critic
from ganimation_jax.models.generator import Generator
from ganimation_jax.models.pair_critic import PairCritic
from ganimation_jax.steps import losses
from ganimation_jax.steps.updates import Given, make_init
from ganimation_jax.types import Batch, DataFacts

pytestmark = pytest.mark.usefixtures("plain_convolutions")

RNG = np.random.default_rng(0)
GENERATOR = Generator(width=4, residual_blocks=1, condition="difference", patch=2)
CRITIC = PairCritic(width=4, depth=2)


def batch_of(count, side=16):
    images = RNG.uniform(-1, 1, (2, count, side, side, 3))
    units = RNG.random((2, count, UNITS))
    arrays = (jnp.asarray(array, jnp.float32) for array in (images, units))
    (image, other), (have, want) = arrays
    return Batch(image, have, want, other, jnp.ones(count, bool))


PAIRS = batch_of(2)
PARAMS = jax.jit(CRITIC.init)(jax.random.key(0), PAIRS.image, PAIRS.other, PAIRS.want)["params"]


def test_the_relativistic_loss_is_the_logistic_of_the_difference():
    better, worse = RNG.normal(size=(2, 5)).astype(np.float32)
    expected = -np.log(1 / (1 + np.exp(-(better.astype(np.float64) - worse))))
    np.testing.assert_allclose(losses.relativistic(better, worse), expected, rtol=1e-5)


def test_the_zero_centred_penalty_of_a_linear_critic_is_closed_form():
    weights = RNG.normal(size=(8, 8, 3)).astype(np.float32)
    images = RNG.uniform(-1, 1, (3, 8, 8, 3)).astype(np.float32)

    def penalty(weights):
        score = lambda w, x: (x * w).sum((1, 2, 3))  # noqa: E731
        return losses.zero_centred_penalty(score, weights, images)[0].mean()

    np.testing.assert_allclose(penalty(weights), np.square(weights).sum() / 2, rtol=1e-5)
    # Of half the square of a norm, the gradient is the vector itself.
    np.testing.assert_allclose(jax.grad(penalty)(weights), weights, rtol=1e-5)


def test_the_pair_critic_sees_both_pictures_and_the_request_but_not_the_surroundings():
    def scores(**changes):
        seen = PAIRS._replace(**changes)
        return np.asarray(
            jax.jit(CRITIC.apply)({"params": PARAMS}, seen.image, seen.other, seen.want)
        )

    plain = scores()
    assert plain.shape == (2, 3, 3)
    for field in ("image", "other", "want"):
        assert np.abs(scores(**{field: getattr(PAIRS, field) + 0.3}) - plain).max() > 1e-3
    # Of 16 rows, 3 to 14 are seen; of 16 columns, 2 to 13.
    around = PAIRS.other.at[:, :3].set(1).at[:, 15:].set(1).at[:, :, :2].set(1).at[:, :, 14:].set(1)
    np.testing.assert_array_equal(scores(other=around), plain)
    assert np.abs(scores(other=PAIRS.other.at[:, 3].set(1)) - plain).max() > 1e-3


def test_its_signal_keeps_its_size_through_the_layers():
    batch = batch_of(8, 128)
    critic = PairCritic()
    params = jax.jit(critic.init)(jax.random.key(1), batch.image, batch.other, batch.want)["params"]
    scores = jax.jit(critic.apply)({"params": params}, batch.image, batch.other, batch.want)
    assert scores.shape == (8, 6, 6)
    assert 0.1 < np.std(np.asarray(scores)) < 10


def test_both_sides_compare_an_edit_with_the_true_one():
    generator = jax.jit(GENERATOR.init)(jax.random.key(2), PAIRS.image, PAIRS.want, PAIRS.have)[
        "params"
    ]
    weights = ganimation.LossWeights(paired=10.0)
    critic = Critic(UNITS, width=4)
    pairs = objectives(GENERATOR, critic, weights).pairs
    weights = weights._replace(pair_critic=0.5, pair_penalty=2.0)
    against = objectives(GENERATOR, critic, weights, pair_critic=CRITIC)
    nets = {"generator": generator, "pair_critic": PARAMS}
    edited = jax.jit(edit, static_argnums=0)(
        GENERATOR, nets, PAIRS.image, PAIRS.want, PAIRS.have
    ).image
    given = Given(nets, PAIRS, edited, jax.random.key(3), (), ())

    def score(images):
        difference = PAIRS.want - PAIRS.have
        patches = jax.jit(CRITIC.apply)({"params": PARAMS}, PAIRS.image, images, difference)
        return np.asarray(patches, np.float64).mean(axis=(1, 2))

    made, true = score(edited), score(PAIRS.other)
    loss, aux = jax.jit(against.pairs)({"generator": generator}, given)
    adversarial = 0.5 * np.log1p(np.exp(true - made)).mean()
    np.testing.assert_allclose(
        loss, jax.jit(pairs)({"generator": generator}, given)[0] + adversarial, rtol=1e-5
    )
    np.testing.assert_allclose(aux.metrics["generator/pair_critic"], adversarial, rtol=1e-5)

    loss, aux = jax.jit(against.judging)({"pair_critic": PARAMS}, given)
    expected = np.log1p(np.exp(made - true)).mean()
    np.testing.assert_allclose(aux.metrics["pair_critic/relativistic"], expected, rtol=1e-5)
    # The penalty from the plain gradient, of true and of made edits.
    squares = 0
    for images in (PAIRS.other, edited):

        def total(images):
            patches = CRITIC.apply({"params": PARAMS}, PAIRS.image, images, PAIRS.want - PAIRS.have)
            return patches.mean(axis=(1, 2)).sum()

        squares += np.square(jax.jit(jax.grad(total))(images)).sum(axis=(1, 2, 3)).mean()
    np.testing.assert_allclose(aux.metrics["pair_critic/penalty"], 2 * squares / 2, rtol=1e-4)
    np.testing.assert_allclose(loss, expected + 2 * squares / 2, rtol=1e-4)


def people(**changes):
    cfg = emotionet.get_config("people")
    cfg.image_size, cfg.dtype = 16, "float32"
    cfg.action_units = cfg.action_units[:UNITS]
    cfg.generator.update(width=4, residual_blocks=1)
    cfg.critic.width = 4
    trained = {"pair_critic.width": 4, "pair_critic.depth": 2, "loss.pair_critic": 0.5}
    cfg.update_from_flattened_dict(trained | changes)
    return cfg


def test_a_step_trains_all_three_networks():
    cfg = people()
    ganimation.check(cfg)
    model = ganimation.model(cfg)
    training = ganimation.training(cfg, DataFacts(examples=8, variance=0.1))
    assert set(training.optimizers) == {"generator", "critic", "pair_critic"}
    state = jax.jit(make_init(model, training.optimizers))(jax.random.key(0))
    batches = jax.tree.map(lambda x: x[None], PAIRS)
    (phase,) = training.phases
    new, metrics = jax.jit(phase.step)(state, batches, jax.random.key(1))
    for network in ("generator", "critic", "pair_critic"):
        moved = jax.tree.map(
            lambda a, b: np.abs(a - b).max(), state.nets[network], new.nets[network]
        )
        assert max(jax.tree.leaves(moved)) > 0, network
    assert metrics["pair_critic/skipped"] == 0
    assert np.isfinite(metrics["generator/pair_critic"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss.pair_critic": 0.0}, "pair_critic.width is 4 and loss.pair_critic 0.0: .* both"),
        ({"pair_critic.width": 0}, "pair_critic.width is 0 and loss.pair_critic 0.5: .* both"),
        ({"data.paired": 0.5}, "data.paired 0.5: .* every example must be a pair"),
        (
            {"pair_critic.depth": 3},
            "pair_critic.depth is 3: image_size 16 must be a multiple of 32",
        ),
    ],
)
def test_what_it_cannot_be_trained_on_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        ganimation.check(people(**changes))
