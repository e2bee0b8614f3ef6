"""Numbers of the published PyTorch code, recorded as arrays, against this library's.

The arrays come from the folder named by GANIMATION_GOLDENS; its README says how they were made.
All sizes are read from them.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from helpers import GOLDENS
from ml_collections import ConfigDict
from neighbour_goldens import params_of

from configs import emotionet
from ganimation_jax.interop.torch_import import import_published
from ganimation_jax.methods import ganimation
from ganimation_jax.methods.ganimation import LossWeights
from ganimation_jax.methods.ganimation_torch import critic_names, generator_names, names
from ganimation_jax.models.critic import Critic
from ganimation_jax.models.generator import Generator
from ganimation_jax.steps import losses, updates
from ganimation_jax.steps.updates import Given, Update
from ganimation_jax.types import Batch, State, parameter_count

NETWORKS = sorted(
    path.stem
    for kind in ("official", "replicate")
    for path in GOLDENS.glob(f"{kind}_networks_*.npz")
)
pytestmark = pytest.mark.skipif(
    not NETWORKS, reason=f"no golden arrays in {GOLDENS}: set GANIMATION_GOLDENS"
)


# Against the same network in float64, PyTorch's colours are off by 8.5e-6 and ours by 3.6e-6.
COLOR_ERROR = 1.2e-5


class Golden:
    """One file, by name, in this library's layout of images."""

    def __init__(self, name):
        self.arrays = np.load(GOLDENS / f"{name}.npz")

    def __contains__(self, name):
        return name in self.arrays

    def __getitem__(self, name):
        return self.arrays[name]

    def image(self, name):  # ... c h w -> ... h w c
        return np.moveaxis(self.arrays[name], -3, -1)

    def under(self, prefix):
        names = [name for name in self.arrays.files if name.startswith(prefix)]
        return {name.removeprefix(prefix): self.arrays[name] for name in names}

    def networks(self, prefix=""):
        """((generator, its parameters), (critic, its parameters))."""
        states = {net: self.under(f"{prefix}{net}/") for net in ("generator", "critic")}
        config, state = import_published("ganimation", states)
        pair = ganimation.networks(ConfigDict({"dtype": "float32"} | config))
        return tuple(zip(pair, (state.nets[net] for net in states), strict=True))


@pytest.fixture(scope="module", params=NETWORKS)
def networks(request):
    golden = Golden(request.param)
    return golden, *golden.networks()


def greatest_error(got, want):
    return np.abs(np.asarray(got) - np.reshape(want, got.shape)).max()


def relative_l2(got, want):
    """Of a whole array; 0 for two arrays of zeros."""
    error, size = np.linalg.norm(got - want), np.linalg.norm(want)
    return error / size if size else error


def test_generator(networks):
    golden, (generator, params), _ = networks
    edit = jax.jit(generator.apply)({"params": params}, golden.image("image"), golden["aus"])
    assert greatest_error(edit.attention, golden.image("attention")) < 1e-5
    assert greatest_error(edit.color, golden.image("color")) < COLOR_ERROR


def test_critic(networks):
    golden, _, (critic, params) = networks
    score, aus = jax.jit(critic.apply)({"params": params}, golden.image("image"))
    assert greatest_error(score, golden["patch"]) < 1e-5
    assert greatest_error(aus, golden["predicted_aus"]) < 1e-5


def test_sizes_are_read_from_the_arrays(networks):
    golden, (generator, _), (critic, params) = networks
    depth = sum(name.startswith("down") for name in params)
    for network, prefix, name, value in [
        (generator, "generator", "width", generator.width),
        (generator, "generator", "blocks", generator.residual_blocks),
        (critic, "critic", "width", critic.width),
        (critic, "critic", "depth", depth),
    ]:
        if f"{prefix}_{name}" in golden:
            assert value == golden[f"{prefix}_{name}"], (type(network).__name__, name)
    assert critic.action_units == golden["aus"].shape[-1]


def test_gradient_penalty(networks):
    golden, (_, generator_params), (critic, params) = networks
    if "penalty" not in golden:
        pytest.skip("no penalty was recorded with these networks")

    def penalty(params):
        def score(params, x):
            return critic.apply({"params": params}, x)[0].sum((1, 2))

        value, norm = losses.gradient_penalty(score, params, golden.image("image"))
        return value.mean(), norm

    (value, norm), grads = jax.jit(jax.value_and_grad(penalty, has_aux=True))(params)
    np.testing.assert_allclose(norm, golden["grad_norm"], rtol=1e-4)
    np.testing.assert_allclose(value, golden["penalty"], rtol=1e-4)
    table = names({"generator": generator_params, "critic": params})["critic"]
    expected = flatten_dict(params_of(golden.under("penalty_grad/"), table), sep="/")
    for name, grad in flatten_dict(grads, sep="/").items():
        assert relative_l2(grad, expected[name]) < 1e-4, name


@pytest.mark.parametrize("network", ["generator", "critic"])
def test_published_shapes(network):
    golden = Golden("official_shapes")
    cfg = emotionet.get_config("official")
    units = len(cfg.action_units)
    image = jnp.zeros((1, cfg.image_size, cfg.image_size, 3))
    if network == "generator":
        model, inputs = Generator(**cfg.generator), (image, jnp.zeros((1, units)))
        table = generator_names("official", cfg.generator.residual_blocks)
    else:
        model, inputs = Critic(units, **cfg.critic), (image,)
    shapes = jax.eval_shape(model.init, jax.random.key(0), *inputs)["params"]
    if network == "critic":
        table = critic_names("official", sum(name.startswith("down") for name in shapes))
    assert parameter_count(shapes) == golden[f"{network}_params"]

    def torch_shape(path, shape):
        if len(shape) == 1:
            return shape
        height, width, inputs, outputs = shape
        transposed = path.startswith("up")
        return (*((inputs, outputs) if transposed else (outputs, inputs)), height, width)

    got = {
        f"{table[path]} {torch_shape(path, leaf.shape)}"
        for path, leaf in flatten_dict(shapes, sep="/").items()
    }
    assert got == set(golden[f"{network}_names"].tolist())


# The official training sequence: recorded batches and mixing shares, preset `official`.

TERMS = {  # ours: the published code's, added up
    "critic/real": ["d_real"],
    "critic/edited": ["d_fake"],
    "critic/aus": ["d_cond"],
    "critic/penalty": ["d_gp"],
    "generator/adversarial": ["g_masked_fake"],
    "generator/aus": ["g_masked_cond"],
    "generator/cycle": ["g_cyc"],
    "generator/attention": ["g_mask_1", "g_mask_2"],
    "generator/total_variation": ["g_mask_1_smooth", "g_mask_2_smooth"],
}


class Sequence:
    """The recorded iterations, and what they made of the networks."""

    def __init__(self, name):
        self.golden = Golden(name)
        (self.generator, generator), (self.critic, critic) = self.golden.networks("init/")
        self.init = {"generator": generator, "critic": critic}
        self.alpha = self.golden["alpha"].reshape(len(self.golden["alpha"]), -1)
        self.cfg = emotionet.get_config("official")
        self.cfg.batch_size = int(self.golden["batch"])
        self.cfg.n_critic = int(self.golden["n_critic"])
        self.cfg.generator.update(
            width=self.generator.width, residual_blocks=self.generator.residual_blocks
        )
        self.cfg.critic.update(width=self.critic.width, depth=self.critic.depth)

    def objectives(self, draw_shares):
        """Those of the preset, but for where the mixing shares come from."""
        loss = self.cfg.loss.to_dict()
        assert loss.pop("clip") == 0
        loss.pop("clip_when")
        weights = LossWeights(*(loss.pop(name) for name in LossWeights._fields))
        pair = self.generator, self.critic
        aims = ganimation.objectives(*pair, weights, **loss, draw_shares=draw_shares)
        assert len(aims.critic) == 2
        return aims

    def optimizers(self):
        epoch = 1_000_000  # the recorded iterations are the first of one: at the full rate
        return ganimation.build_optimizers(self.cfg, epoch)

    def state(self, optimizers) -> State:
        units = tuple(self.cfg.action_units)
        model = ganimation.model_of(self.generator, self.critic, units, self.cfg.image_size)
        return updates.fresh_state(model, optimizers, self.init)

    def batch(self, i):
        golden = self.golden
        return Batch(golden.image("images")[i], golden["aus"][i], golden["target_aus"][i])

    def trains_generator(self, i):
        return (i + 1) % self.cfg.n_critic == 0

    def check_losses(self, metrics, iterations):
        """``metrics`` are means over ``iterations``; a generator's are of the last."""
        recorded = dict(
            zip(self.golden["loss_names"].tolist(), self.golden["losses"].T, strict=True)
        )
        checked = [term for term in TERMS if term in metrics]
        for term in checked:
            rows = iterations if term.startswith("critic/") else iterations[-1:]
            want = sum(recorded[name][rows].mean() for name in TERMS[term])
            np.testing.assert_allclose(metrics[term], want, rtol=1e-4, err_msg=term)
        return checked

    def check_updates(self, nets, i):
        """Change of every array since the start, against that of iteration ``i``."""
        limits = {"critic": 1e-3, "generator": 2e-2}
        if not self.trains_generator(i):
            del limits["generator"]  # recorded only where it was trained
        for net, limit in limits.items():
            start = flatten_dict(self.init[net], sep="/")
            recorded = params_of(self.golden.under(f"step{i}/{net}/"), names(self.init)[net])
            want = flatten_dict(recorded, sep="/")
            for name, array in flatten_dict(nets[net], sep="/").items():
                change, expected_change = np.array(array) - start[name], want[name] - start[name]
                if (net, name) == ("generator", "stem/kernel"):
                    # A constant plane through a centre tap adds a constant, which the norm
                    # takes away: its gradient is rounding noise, of which Adam makes full steps.
                    centre = array.shape[0] // 2
                    change[centre, centre, 3:] = expected_change[centre, centre, 3:] = 0
                assert relative_l2(change, expected_change) < limit, (net, name, i)


@pytest.fixture(scope="module", params=sorted(p.stem for p in GOLDENS.glob("*_training_*.npz")))
def sequence(request):
    return Sequence(request.param)


def test_official_training_update_by_update(sequence):
    aims = sequence.objectives(draw_shares=lambda key, size: key)  # keys are opaque to the step
    optimizers = sequence.optimizers()
    state = sequence.state(optimizers)
    nets, opt = state.nets, state.opt

    def update(name, losses):
        @jax.jit
        def run(nets, opt, batch, shares):
            others = {other: params for other, params in nets.items() if other != name}
            given = Given(others, batch, aims.fakes(nets, batch, jax.random.key(0)), shares, (), ())
            steps = [Update(name, loss) for loss in losses]
            moving, opts = {name: nets[name]}, {name: opt[name]}
            moving, opts, _, metrics = updates.run_updates(optimizers, steps, moving, opts, given)
            return nets | moving, opt | opts, metrics

        return run

    update_critic = update("critic", aims.critic)
    update_generator = update("generator", [aims.generator])
    for i, shares in enumerate(sequence.alpha):
        batch = sequence.batch(i)
        nets, opt, metrics = update_critic(nets, opt, batch, shares)
        if sequence.trains_generator(i):
            nets, opt, more = update_generator(nets, opt, batch, shares)
            metrics = metrics | more
        checked = sequence.check_losses(metrics, [i])
        everything = sequence.trains_generator(i)
        assert checked == [term for term in TERMS if everything or term.startswith("critic/")]
        sequence.check_updates(nets, i)


@pytest.mark.slow
def test_official_training_by_the_compiled_step(sequence):
    run_key, n_critic = jax.random.key(0), sequence.cfg.n_critic
    steps = len(sequence.alpha) // n_critic
    # Each penalty's key, as the step derives it: the recorded shares are looked up by it.
    keys = []
    for step in range(steps):
        critic_key, _ = jax.random.split(jax.random.fold_in(run_key, step))
        keys.append(jax.random.key_data(jax.random.split(critic_key, n_critic)))
    keys = jnp.concatenate(keys)

    def draw_shares(key, size):
        same = (keys == jax.random.key_data(key)).all(axis=1)
        shares = jnp.asarray(sequence.alpha)[jnp.argmax(same)]
        return jnp.where(same.any(), shares, jnp.nan)  # an unknown key spoils everything

    optimizers = sequence.optimizers()
    state = sequence.state(optimizers)
    step_fn = ganimation.step(sequence.objectives(draw_shares), optimizers, unroll=True)
    train_step = jax.jit(step_fn)
    for step in range(steps):
        iterations = list(range(step * n_critic, (step + 1) * n_critic))
        batch = jax.tree.map(lambda *x: np.stack(x), *map(sequence.batch, iterations))
        state, metrics = train_step(state, batch, run_key)
        assert sequence.check_losses(metrics, iterations) == list(TERMS)
        sequence.check_updates(state.nets, iterations[-1])
    assert state.step == steps
