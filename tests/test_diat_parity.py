"""DIAT's losses and updates against independently computed numbers.

The arrays come from the folder named by GANIMATION_GOLDENS, or shared/goldens; the README in its
``neighbours`` says how they were made. They are losses on images, so they need none of our networks
but the critic and the denoiser. All sizes are read from them.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from diat_goldens import (
    FOLDER,
    NO_KEY,
    Golden,
    assert_close,
    check_term,
    check_update,
    critic_of,
    fresh,
)

from ganimation_jax.features.perceptual import content_error, pick
from ganimation_jax.methods import diat_losses as y2016
from ganimation_jax.models.diat import Denoiser
from ganimation_jax.models.layers import Conv
from ganimation_jax.steps.optimizers import early_adam
from ganimation_jax.steps.updates import Given, Update, alternating, supervised
from ganimation_jax.types import Batch, Optimizer

pytestmark = [
    pytest.mark.usefixtures("plain_convolutions"),
    pytest.mark.skipif(
        not (FOLDER / "diat2016_independent.npz").exists(),
        reason=f"no golden arrays in {FOLDER}: set GANIMATION_GOLDENS",
    ),
]


@pytest.fixture(scope="module")
def golden():
    return Golden("diat2016_independent")


class Toy(nn.Module):
    """The transform network of the recorded step."""

    size: int

    @nn.compact
    def __call__(self, image):
        return jnp.tanh(Conv(3, self.size, bias=True, name="0")(image))


class Parts2016:
    """Everything that the recorded steps were made with."""

    def __init__(self, golden):
        self.critic, self.params = critic_of(golden)
        self.denoiser_params = golden.denoiser("init/denoiser")
        self.denoiser = Denoiser(len(self.denoiser_params["first"]["bias"]))
        self.features, maps = golden.features()
        self.levels = tuple(golden["identity_levels"].tolist())
        self.level_weights = tuple(golden["identity_weights"].tolist())
        self.identity = pick(maps, self.levels)
        self.toy_params = {"0": golden.layer("init/transform/0")}
        self.weights = y2016.Weights(
            float(golden["lambda_identity"]), float(golden["gamma_smooth"]), self.level_weights
        )
        self.enhancement = y2016.Enhancement(
            mask=golden.image("mask"),
            maps=pick(maps, (0, 1, 2)),
            weights=tuple(golden["enhance_weights"].tolist()),
        )
        networks = y2016.Networks(
            Toy(len(self.toy_params["0"]["kernel"])), self.critic, self.denoiser
        )
        self.aims = {
            form: y2016.objectives(
                networks, self.weights, y2016.face_looks(self.identity), saturating=form
            )
            for form in (True, False)
        }


@pytest.fixture(scope="module")
def parts(golden):
    return Parts2016(golden)


def test_transform_terms(golden, parts):
    x, made = golden.image("x"), golden.image("transformed")
    frozen = {"identity": parts.features}
    given = Given({"critic": parts.params}, Batch(x, x, x), (), NO_KEY, frozen, ())

    def logits(image):
        return y2016.apply(parts.critic, parts.params, image)[0]

    def identity(looks):
        def term(image):
            return content_error(looks(given, image), looks(given, x), parts.level_weights)

        return term

    def smooth(image):
        return y2016.squared_distance(
            y2016.apply(parts.denoiser, parts.denoiser_params, image), image
        )

    by_face = identity(y2016.face_looks(parts.identity))
    check_term(golden, "identity", by_face, made)
    adaptive = identity(y2016.critic_looks(parts.critic, parts.levels))
    check_term(golden, "identity_adaptive", adaptive, made)
    check_term(golden, "smooth", smooth, made)
    for form in ("saturating", "nonsaturating"):
        check_term(
            golden,
            f"attribute_{form}",
            lambda image, form=form: y2016.attribute_error(logits(image), form == "saturating"),
            made,
        )

    def total(image):
        return (
            y2016.attribute_error(logits(image), saturating=True)
            + parts.weights.identity * by_face(image)
            + parts.weights.smooth * smooth(image)
        )

    check_term(golden, "transform_total", total, made)


def test_enhancement_terms(golden, parts):
    x, made, enhanced = (golden.image(name) for name in ("x", "transformed", "enhanced"))

    def one(name):
        def term(image):  # the functions average over the batch: one image at a time
            def alone(image, made, x, mask):
                how = parts.enhancement._replace(mask=mask)
                rows = [a[None] for a in (image, made, x)]
                return y2016.enhancement_error(how, parts.features, *rows)[f"enhancement/{name}"]

            return jax.vmap(alone)(image, made, x, parts.enhancement.mask)

        return term

    check_term(golden, "enhance_pixel", one("pixels"), enhanced)
    check_term(golden, "enhance_perceptual", one("features"), enhanced)
    check_term(golden, "enhance_global", lambda e: y2016.squared_distance(e, x), enhanced)


def test_one_step_of_critic_and_transform(golden, parts):
    aims = parts.aims[True]
    x, guide = golden.image("x"), golden.image("guide")
    recorded = golden.image("transformed")
    optimizers = {
        name: Optimizer((name,), early_adam(lambda count: 2e-4, 0.5, 0.999))
        for name in ("transform", "critic")
    }
    nets = {
        "transform": parts.toy_params,
        "critic": parts.params,
        "denoiser": parts.denoiser_params,
    }
    step = alternating(
        optimizers,
        fakes=lambda nets, batch, key: recorded,
        critic=[Update("critic", aims.critic)],
        generator=[Update("transform", aims.transform)],
    )
    condition = jnp.ones((1, len(x), 1))
    batches = Batch(x[None], 1 - condition, condition, guide[None])
    frozen = {"identity": parts.features}
    state, metrics = jax.jit(step)(fresh(nets, optimizers), batches, NO_KEY, frozen)
    for name, want in zip(("real", "edited"), golden["critic_losses"], strict=True):
        np.testing.assert_allclose(metrics[f"critic/{name}"], want, rtol=1e-4)
    weights = {"attribute": 1, "identity": parts.weights.identity, "smooth": parts.weights.smooth}
    for (name, weight), want in zip(weights.items(), golden["transform_losses"], strict=True):
        np.testing.assert_allclose(metrics[f"transform/{name}"], weight * want, rtol=1e-4)
    check_update(parts.params, state.nets["critic"], golden.critic("step1/critic"))
    wanted = {"0": golden.layer("step1/transform/0")}
    check_update(parts.toy_params, state.nets["transform"], wanted)
    # The same gradients by themselves, which Adam's first step hides behind their signs.
    given = Given(nets, Batch(x, x, x, guide), recorded, NO_KEY, frozen, ())
    grads = jax.jit(jax.grad(lambda net: aims.critic({"critic": net}, given)[0]))(parts.params)
    check_update(jax.tree.map(jnp.zeros_like, grads), grads, golden.critic("grad1/critic"))
    given = given._replace(nets=state.nets)
    grads = jax.jit(jax.grad(lambda net: aims.transform({"transform": net}, given)[0]))(
        parts.toy_params
    )
    for name, want in golden.layer("grad1/transform/0").items():
        assert_close(grads["0"][name], want)


def test_two_steps_of_the_denoiser(golden, parts):
    """On recorded reconstructions: the reconstruction network is one that returns them."""

    class Recorded(nn.Module):
        @nn.compact
        def __call__(self, image):
            return golden.image("rebuilt")

    networks = y2016.Networks(Recorded(), parts.critic, parts.denoiser)
    looks = y2016.face_looks(parts.identity)
    aims = y2016.objectives(networks, parts.weights, looks)
    optimizers = {"denoiser": Optimizer(("denoiser",), early_adam(lambda count: 1e-3, 0.9, 0.999))}
    nets = {"denoiser": parts.denoiser_params, "reconstruction": {}}
    step = jax.jit(supervised(optimizers, [Update("denoiser", aims.denoiser)]))
    x = golden.image("x")
    batches = Batch(x[None], jnp.zeros((1, len(x), 1)), jnp.zeros((1, len(x), 1)))
    state = fresh(nets, optimizers)
    for i, losses in enumerate(golden["denoiser_losses"]):
        before = state.nets["denoiser"]
        state, metrics = step(state, batches, NO_KEY)
        for name, want in zip(("rebuilt", "clean"), losses, strict=True):
            np.testing.assert_allclose(metrics[f"denoiser/{name}"], want, rtol=1e-4)
        wanted = golden.denoiser(f"step{i + 1}/denoiser")
        check_update(before, state.nets["denoiser"], wanted)
