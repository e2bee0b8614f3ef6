"""IcGAN against numbers of its published networks; all sizes are read from the arrays."""

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from gan_goldens import (
    check_change,
    conv,
    dense,
    dense_of_map,
    first_transposed,
    images,
    load,
    read,
    transposed,
    tree,
    under,
)

from configs import icgan as config
from ganimation_jax.methods import icgan, icgan_losses
from ganimation_jax.methods.icgan_losses import Networks, statistics_of
from ganimation_jax.models.dcgan import Critic, Encoder, Generator
from ganimation_jax.steps import updates
from ganimation_jax.steps.updates import Given, Update
from ganimation_jax.types import Batch, Condition

pytestmark = pytest.mark.usefixtures("plain_convolutions")

KEY = jax.random.key(0)

# Recorded numbers


def generator_table(layers):
    table = {"main.0": (("first",), first_transposed, ("first_bias",))}
    for i in range(1, layers):
        name = "image" if i == layers - 1 else f"up{i - 1}"
        table[f"main.{3 * i}"] = ((name, "kernel"), transposed, (name, "bias"))
    for i in range(layers - 1):
        table[f"main.{3 * i + 1}"] = (("first_norm" if i == 0 else f"up{i - 1}_norm",),)
    return table


def critic_table(layers):  # besides the first
    table = {"first": (("first", "kernel"), conv, ("first", "bias"))}
    for i in range(layers - 1):
        table[f"main.{3 * i}"] = ((f"down{i}", "kernel"), conv, (f"down{i}", "bias"))
        table[f"main.{3 * i + 1}"] = ((f"down{i}_norm",),)
    table[f"main.{3 * (layers - 1)}"] = (("score",), conv, ("score_bias",))
    return table


def encoder_table(channels):
    table = {}
    for i in range(4):
        table[f"main.{3 * i}"] = ((f"down{i}", "kernel"), conv, (f"down{i}", "bias"))
        table[f"main.{3 * i + 1}"] = ((f"down{i}_norm",),)
    table["main.13"] = (("hidden", "kernel"), dense_of_map(channels), ("hidden", "bias"))
    table["main.14"] = (("hidden_norm",),)
    table["main.16"] = (("codes", "kernel"), dense, ("codes", "bias"))
    return table


class Recorded:
    """The golden file: its networks, what they begin with, and what became of them."""

    def __init__(self):
        self.arrays = golden = load("icgan_independent")
        start = {name: under(golden, f"init/{name}/") for name in Networks._fields}
        weights = {name: [k for k in start[name] if k.endswith("weight")] for name in start}
        convs = {name: [k for k in weights[name] if start[name][k].ndim == 4] for name in start}
        first, last = (start["encoder_z"][f"main.{i}.weight"] for i in (0, 9))
        side = golden["images"].shape[-1]
        noise, conditions = golden["z"].shape[-1], golden["y_real"].shape[-1]
        self.networks = Networks(
            Generator(side, start["generator"][convs["generator"][-1]].shape[0], bias=True),
            Critic(start["critic"]["first.weight"].shape[0], bias=True),
            *(
                Encoder(count, start[name]["main.13.weight"].shape[0], len(first))
                for name, count in (("encoder_z", noise), ("encoder_y", conditions))
            ),
        )
        self.tables = {
            "generator": generator_table(len(convs["generator"])),
            "critic": critic_table(len(convs["critic"]) - 1),
            "encoder_z": encoder_table(len(last)),
            "encoder_y": encoder_table(len(last)),
        }
        self.start = {name: read(start[name], self.tables[name]) for name in start}
        self.conditions = tuple(Condition(f"c{i}", "binary") for i in range(conditions))
        self.steps = len(golden["images"])

    def nets(self):
        nets = {}
        for name, flat in self.start.items():
            both = tree(flat)
            nets |= {name: both["params"], statistics_of(name): both["statistics"]}
        return nets

    def batch(self, i):
        golden = self.arrays
        real, fake, wrong = ((golden[f"y_{kind}"][i] + 1) / 2 for kind in ("real", "fake", "wrong"))
        return Batch(images(golden["images"][i]), real, fake, wrong=wrong)

    def after(self, step, name):
        return read(under(self.arrays, f"step{step}/{name}/"), self.tables[name])

    def after_generator(self, step):
        arrays = under(self.arrays, f"step{step}/critic_after/")
        return read(arrays, self.tables["critic"])

    def dead(self, name):
        """Biases before a norm, and the means behind them: their true gradient is zero."""
        normed = {path[1] for path in self.start[name] if path[1].endswith("_norm")}
        layers = {norm.removesuffix("_norm") for norm in normed}
        found = {("params", layer, "bias") for layer in layers if layer != "first"}
        if name == "generator":
            found.add(("params", "first_bias"))
        return found


def flat(nets, name):
    both = {"params": nets[name], "statistics": nets[statistics_of(name)]}
    return {path: np.asarray(array) for path, array in flatten_dict(both).items()}


@pytest.fixture(scope="module")
def recorded():
    return Recorded()


@pytest.fixture(scope="module")
def trained(recorded):
    """The networks after each recorded step, and the losses; compiled once for each update."""
    aims = icgan_losses.objectives(recorded.networks, flip=False)
    optimizers = icgan.build_optimizers(config.get_config())

    def update(name):
        @jax.jit
        def run(nets, opts, batch, fakes):
            loss = Update(name, getattr(aims, name))
            free = updates.untrained(nets, optimizers) | {name}
            moving = {one: nets[one] for one in free}
            others = {one: nets[one] for one in nets.keys() - free}
            given = Given(others, batch, fakes, KEY, (), ())
            moved, opt, _, metrics = updates.run_updates(
                optimizers, [loss], moving, {name: opts[name]}, given
            )
            return nets | moved, opts | opt, metrics

        return run

    nets = recorded.nets()
    opts = {name: one.transform.init({name: nets[name]}) for name, one in optimizers.items()}
    critic, generator = update("critic"), update("generator")
    history = []
    for i in range(recorded.steps):
        batch, noise = recorded.batch(i), recorded.arrays["z"][i]
        nets, opts, metrics = critic(nets, opts, batch, noise)
        between = nets
        nets, opts, more = generator(nets, opts, batch, noise)
        history.append((between, nets, metrics | more))
    return aims, optimizers, history


def test_parameters_and_statistics_after_every_step(recorded, trained):
    for i, (between, nets, _) in enumerate(trained[2]):
        for name, after in (("critic", between), ("generator", nets)):
            want, got = recorded.after(i + 1, name), flat(after, name)
            check_change(
                {path: got[path] for path in got if path[0] == "params"},
                recorded.start[name],
                {path: want[path] for path in want if path[0] == "params"},
                recorded.dead(name),
            )
            for path in want:
                dead_mean = path[-1] == "mean" and i > 0  # behind biases that have drifted
                if path[0] == "statistics" and not dead_mean:
                    np.testing.assert_allclose(got[path], want[path], rtol=1e-4, atol=1e-6)
        # The critic's statistics move once more in the generator's update, after its own.
        got = flat(nets, "critic")
        for path, array in recorded.after_generator(i + 1).items():
            if path[-1] == "variance":
                np.testing.assert_allclose(got[path], array, rtol=1e-4, atol=1e-6)


def test_losses_of_the_adversaries(recorded, trained):
    rows = recorded.arrays["losses"]
    for row, (_, _, metrics) in zip(rows, trained[2], strict=True):
        logged = dict(zip(recorded.arrays["loss_names"].tolist(), row, strict=True))
        for ours, theirs in [
            ("critic/real", "d_real"),
            ("critic/wrong", "d_wrong"),
            ("critic/sample", "d_fake"),
            ("generator/loss", "g"),
        ]:
            np.testing.assert_allclose(metrics[ours], logged[theirs], rtol=1e-4, err_msg=ours)
        # The published code prints half of what it descends.
        np.testing.assert_allclose(metrics["critic/loss"], 2 * logged["d_logged"], rtol=1e-4)


@pytest.fixture(scope="module")
def encoded(recorded):
    """The networks after the recorded updates of both encoders, and their losses."""
    optimizers = icgan.build_optimizers(config.get_config())
    nets = recorded.nets()
    for name in ("generator", "critic"):
        both = tree(recorded.after(recorded.steps, name))
        nets |= {name: both["params"], statistics_of(name): both["statistics"]}
    losses, history = {}, {}
    for name, targets in (("encoder_z", "z"), ("encoder_y", "y_real")):
        encoder = getattr(recorded.networks, name)

        def loss(moving, given, name=name, encoder=encoder):
            image, target = given.batch
            return icgan_losses.regression(encoder, name, moving, given, image, target)

        @jax.jit
        def run(moving, opt, batch, name=name, loss=loss):
            given = Given({}, batch, (), KEY, (), ())
            moving, opt, _, metrics = updates.run_updates(
                optimizers, [Update(name, loss)], moving, opt, given
            )
            return moving, opt, metrics

        moving = {one: nets[one] for one in (name, statistics_of(name))}
        opt = {name: optimizers[name].transform.init({name: nets[name]})}
        losses[name], history[name] = [], []
        for i in range(len(recorded.arrays[f"{name}_losses"])):
            batch = images(recorded.arrays["images"][i]), recorded.arrays[targets][i]
            moving, opt, metrics = run(moving, opt, batch)
            losses[name].append(metrics[f"{name}/loss"])
            history[name].append(moving)
        nets |= moving
    return nets, losses, history


@pytest.mark.parametrize("name", ["encoder_z", "encoder_y"])
def test_encoders(recorded, encoded, name):
    _, losses, history = encoded
    np.testing.assert_allclose(losses[name], recorded.arrays[f"{name}_losses"], rtol=1e-4)
    for i, nets in enumerate(history[name]):
        want, got = recorded.after(i + 1, name), flat(nets, name)
        check_change(
            {path: got[path] for path in got if path[0] == "params"},
            recorded.start[name],
            {path: want[path] for path in want if path[0] == "params"},
            recorded.dead(name),
        )


def test_an_edit_keeps_the_noise_and_changes_the_conditions(recorded, encoded):
    nets, golden = encoded[0], recorded.arrays
    model = icgan.model_of(recorded.networks, recorded.conditions, golden["images"].shape[-1])
    image = images(golden["images"][-1])
    noise, _ = icgan_losses.normed(
        recorded.networks.encoder_z, nets, "encoder_z", image, train=False
    )
    np.testing.assert_allclose(noise, golden["edit/encoder_z"], atol=1e-3)
    read_y, _ = icgan_losses.normed(
        recorded.networks.encoder_y, nets, "encoder_y", image, train=False
    )
    np.testing.assert_allclose(read_y, golden["edit/encoder_y"], atol=1e-3)
    have = jax.jit(model.read)(nets, image)
    np.testing.assert_array_equal(2 * have - 1, golden["edit/y"])
    for conditions, picture in (("y", "reconstructed"), ("y_changed", "edited")):
        want = (golden[f"edit/{conditions}"] + 1) / 2
        edited = jax.jit(model.edit)(nets, image, want, have).image
        np.testing.assert_allclose(edited, images(golden[f"edit/{picture}"]), atol=1e-3)
