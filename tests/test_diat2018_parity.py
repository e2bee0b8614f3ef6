"""DIAT 2018 against recorded numbers."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from diat_goldens import FOLDER, NO_KEY, Golden, check_term, check_update, critic_of, fresh

from ganimation_jax.features.perceptual import content_error
from ganimation_jax.methods import diat2018_losses as y2018
from ganimation_jax.methods import diat_losses as y2016
from ganimation_jax.models.diat import edited_share
from ganimation_jax.steps.optimizers import early_adam
from ganimation_jax.steps.updates import Given, Update, supervised
from ganimation_jax.types import Batch, Optimizer

pytestmark = [
    pytest.mark.usefixtures("plain_convolutions"),
    pytest.mark.skipif(
        not (FOLDER / "diat2016_independent.npz").exists(),
        reason=f"no golden arrays in {FOLDER}: set GANIMATION_GOLDENS",
    ),
]


@pytest.fixture(scope="module")
def golden18():
    return Golden("diat2018_independent")


# 2018


def combined(golden):
    """The terms as functions of the transformed image and the soft mask."""
    x = golden.image("x")
    critic, params = critic_of(golden)
    looks = y2016.critic_looks(critic, y2016.LEVELS)
    given = Given({"critic": params}, Batch(x, x, x), (), NO_KEY, (), ())

    def adversarial(transformed, soft):
        made, _ = y2018.combine(x, transformed, soft)
        return -y2016.apply(critic, params, made)[0]

    def perceptual_adaptive(transformed, soft):
        made, _ = y2018.combine(x, transformed, soft)
        return content_error(looks(given, made), looks(given, x), (1.0, 1.0))

    def ratio(transformed, soft):
        _, share = y2018.combine(x, transformed, soft)
        return y2018.ratio_error(share, float(golden["expected_ratio"]))

    return adversarial, perceptual_adaptive, ratio


def test_mask_and_result(golden18):
    share = edited_share(golden18.image("soft_mask"))
    np.testing.assert_allclose(share, golden18.image("mask"), atol=1e-6)
    made, _ = y2018.combine(
        golden18.image("x"), golden18.image("transformed"), golden18.image("soft_mask")
    )
    np.testing.assert_allclose(made, golden18.image("result"), atol=1e-6)


def test_masked_terms(golden18):
    transformed, soft = golden18.image("transformed"), golden18.image("soft_mask")
    for term in combined(golden18):
        name = term.__name__
        to_mask = functools.partial(term, transformed)
        check_term(golden18, name, to_mask, soft, "grad_soft_mask")
        if f"{name}/grad_transformed" in golden18.arrays:
            check_term(
                golden18, name, lambda t, f=term: f(t, soft), transformed, "grad_transformed"
            )


def test_one_step_of_the_masked_critic(golden18):
    critic, params = critic_of(golden18)
    unused = nn.Dense(1)
    networks = y2018.Networks(unused, unused, critic, unused)
    shares = jnp.asarray(golden18["alpha"].ravel())
    aims = y2018.objectives(
        networks, y2018.Weights(), lambda params, image: (), draw_shares=lambda key, size: shares
    )
    optimizers = {"critic": Optimizer(("critic",), early_adam(lambda count: 1e-4, 0.5, 0.999))}
    step = jax.jit(supervised(optimizers, [Update("critic", critic_on_recorded(aims, golden18))]))
    x, guide = golden18.image("x"), golden18.image("guide")
    condition = jnp.ones((1, len(x), 1))
    batches = Batch(x[None], condition, condition, guide[None])
    state, metrics = step(fresh({"critic": params}, optimizers), batches, NO_KEY)
    found = metrics["critic/real"] + metrics["critic/edited"], metrics["critic/penalty"] / 10
    # The difference is small beside the scores themselves, of which float32 has seven digits.
    np.testing.assert_allclose(found, golden18["critic_losses"], rtol=1e-4, atol=1e-7)
    check_update(params, state.nets["critic"], golden18.critic("step1/critic"))
    given = Given({}, Batch(x, x, x, guide), golden18.image("result"), NO_KEY, (), ())
    grads = jax.jit(jax.grad(lambda net: aims.critic({"critic": net}, given)[0]))(params)
    check_update(jax.tree.map(jnp.zeros_like, grads), grads, golden18.critic("grad1/critic"))


def critic_on_recorded(aims, golden):
    """The critic's loss, with the recorded result in place of a network's."""

    def loss(moving, given):
        return aims.critic(moving, given._replace(fakes=golden.image("result")))

    return loss
