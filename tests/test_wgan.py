"""WGAN: networks and updates against recorded numbers, clipping, and the critic's head start."""

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from gan_goldens import (
    check_change,
    conv,
    dense,
    dense_of_map,
    dense_to_map,
    first_transposed,
    images,
    load,
    read,
    transposed,
    tree,
    under,
)

from ganimation_jax.models import residual_gan
from ganimation_jax.models.dcgan import Critic, DenseCritic, DenseGenerator, Generator
from ganimation_jax.steps import losses, updates
from ganimation_jax.steps.clipping import clip_weights
from ganimation_jax.steps.optimizers import early_adam, rmsprop
from ganimation_jax.steps.updates import Aux, Given, Update
from ganimation_jax.types import Optimizer

pytestmark = pytest.mark.usefixtures("plain_convolutions")

KEY = jax.random.key(0)


def layer_of(name):
    """A name as ``main.pyramid:8-16:conv`` -> the stage and its kind."""
    return name.removeprefix("main.").split(":")


def dcgan_table(arrays, kind):
    """Names of WGAN's DCGAN networks, whose order is that of the layers, in ours."""
    table, stages = {}, []
    names = [name.rpartition(".")[0] for name in arrays if name.endswith("weight")]
    convert = {"convt": transposed, "conv": conv}
    for layer in names:
        stage, *_, what = layer_of(layer)
        if what == "batchnorm":
            table[layer] = ((f"{stages[-1]}_norm",),)
            continue
        count = sum(one.startswith(("up", "down")) for one in stages)
        ours = {"initial": "first", "pyramid": f"{'up' if kind == 'generator' else 'down'}{count}"}
        ours["final"] = "image" if kind == "generator" else "score"
        extra = stage.startswith("extra")
        stages.append(f"extra{stage.rpartition('-')[2]}" if extra else ours[stage])
        path, convert_weight = (stages[-1], "kernel"), convert[what]
        if stages[-1] == "first" and kind == "generator":
            path, convert_weight = ("first",), first_transposed
        elif stages[-1] == "score":
            path = ("score",)
        table[layer] = (path, convert_weight)
    return table


def dcgan(arrays, kind, side):
    """A network as large as its arrays, and their table."""
    weights = [array for name, array in arrays.items() if name.endswith("weight")]
    options = {
        "norm": any("batchnorm" in name for name in arrays),
        "extra": sum("extra" in name and array.ndim == 4 for name, array in arrays.items()),
    }
    table = dcgan_table(arrays, kind)
    if kind == "generator":
        return Generator(side, weights[-1].shape[0], **options), table
    return Critic(weights[0].shape[0], **options), table


@pytest.mark.parametrize("variant", ["nobn", "extra"])
@pytest.mark.parametrize("kind", ["generator", "critic"])
def test_dcgan_variants(kind, variant):
    golden = load("wgan_networks")
    arrays = under(golden, f"dcgan_{kind}_{variant}/")
    want = arrays.pop("output")
    image, noise = images(golden["image"]), golden["noise"].reshape(len(golden["noise"]), -1)
    network, table = dcgan(arrays, kind, image.shape[1])
    inputs = noise if kind == "generator" else image
    got, _ = network.apply(tree(read(arrays, table)), inputs, train=True, mutable=["statistics"])
    want = images(want) if kind == "generator" else want
    np.testing.assert_allclose(got if kind == "generator" else got.mean(), want, atol=1e-5)


@pytest.mark.parametrize("kind", ["generator", "critic"])
def test_dense_variants(kind):
    golden = load("wgan_networks")
    arrays = under(golden, f"mlp_{kind}/")
    want, image = arrays.pop("output"), images(golden["image"])
    table = {
        f"main.{2 * i}": ((f"dense{i}", "kernel"), dense, (f"dense{i}", "bias")) for i in range(3)
    }
    if kind == "critic":
        table["main.0"] = (("dense0", "kernel"), dense_of_map(3), ("dense0", "bias"))
        table["main.6"] = (("last", "kernel"), dense, ("last", "bias"))
        network = DenseCritic(len(arrays["main.0.bias"]))
        got = network.apply(tree(read(arrays, table)), image).mean()
    else:
        table["main.6"] = (("last", "kernel"), dense_to_map(3), ("last", "bias"), dense_to_map(3))
        network = DenseGenerator(image.shape[1], len(arrays["main.0.bias"]))
        noise = golden["noise"].reshape(len(golden["noise"]), -1)
        got, want = network.apply(tree(read(arrays, table)), noise), images(want)
    np.testing.assert_allclose(got, want, atol=1e-5)


# The recorded training: clipping before each critic loss, RMSProp


def test_clipped_training_update_by_update():
    golden = load("wgan_training")
    start = {name: under(golden, f"init/{name}/") for name in ("generator", "critic")}
    side = golden["images"].shape[-1]
    networks, tables = {}, {}
    for name, arrays in start.items():
        networks[name], tables[name] = dcgan(arrays, name, side)
    begun = {name: read(start[name], tables[name]) for name in start}
    nets = {}
    for name, flat in begun.items():
        both = tree(flat)
        nets |= {name: both["params"], f"{name}_statistics": both["statistics"]}

    def normed(nets, name, inputs):
        held = {"params": nets[name], "statistics": nets[f"{name}_statistics"]}
        out, changed = networks[name].apply(held, inputs, train=True, mutable=["statistics"])
        return out, nets | {f"{name}_statistics": changed["statistics"]}

    def statistics(nets):
        return {name: nets[name] for name in nets if name.endswith("_statistics")}

    def critic_loss(moving, given):
        real, nets = normed(given.nets | moving, "critic", given.batch)
        made, nets = normed(nets, "generator", given.fakes)
        fake, nets = normed(nets, "critic", made)
        # Published signs: real low, fake high.
        terms = {"errD_real": real.mean(), "errD_fake": fake.mean()}
        return real.mean() - fake.mean(), Aux(terms, nets=statistics(nets))

    def generator_loss(moving, given):
        made, nets = normed(given.nets | moving, "generator", given.fakes)
        score, nets = normed(nets, "critic", made)
        return score.mean(), Aux({"errG": score.mean()}, nets=statistics(nets))

    rms = rmsprop(lambda count: 5e-5)
    optimizers = {
        "generator": Optimizer(("generator",), rms),
        "critic": clip_weights(Optimizer(("critic",), rms), 0.01, "before"),
    }
    opts = {name: one.transform.init({name: nets[name]}) for name, one in optimizers.items()}

    def update(name, loss):
        @jax.jit
        def run(nets, opts, batch, noise):
            moving = {one: nets[one] for one in nets if one not in ("critic", "generator")}
            moving |= {name: nets[name]}
            others = {one: nets[one] for one in nets.keys() - moving.keys()}
            given = Given(others, batch, noise, KEY, (), ())
            moved, opt, _, metrics = updates.run_updates(
                optimizers, [Update(name, loss)], moving, {name: opts[name]}, given
            )
            return nets | moved, opts | opt, metrics

        return run

    run = {
        "critic": update("critic", critic_loss),
        "generator": update("generator", generator_loss),
    }
    done = {"critic": 0, "generator": 0}
    names = golden["loss_names"].tolist()
    for name, row in zip(golden["order"].tolist(), golden["losses"], strict=True):
        batch = images(golden["images"][done["critic"] % len(golden["images"])])
        done[name] += 1
        prefix = f"{name}{done[name]}/"
        noise = golden[f"{prefix}noise"]
        nets, opts, metrics = run[name](nets, opts, batch, noise.reshape(len(noise), -1))
        for term, value in zip(names, row, strict=True):
            if np.isfinite(value):
                np.testing.assert_allclose(metrics[term], value, rtol=1e-4, err_msg=term)
        arrays = {k: v for k, v in under(golden, prefix).items() if k != "noise"}
        want = read(arrays, tables[name])
        got = flatten_dict({"params": nets[name], "statistics": nets[f"{name}_statistics"]})
        check_change(got, begun[name], want, dead=())
        params = {path: x for path, x in got.items() if path[0] == "params"}
        check_change(params, begun[name], {path: want[path] for path in params}, dead=())
        if name == "critic":  # a pass of the generator moves its statistics too
            after = read(under(golden, f"{prefix}generator_after/"), tables["generator"])
            got = flatten_dict({"statistics": nets["generator_statistics"]})
            check_change(got, begun["generator"], after, dead=())
    assert done["generator"] > 1


# WGAN-GP's residual networks


def residual_table(arrays, width):
    table = {}
    for name in {name.rpartition(".")[0] for name in arrays}:
        path = (name.replace("blocks.", "block").replace(".", "/"),)
        path = tuple(path[0].split("/"))
        shape = arrays[f"{name}.weight"].shape
        if "norm" in path[-1]:
            table[name] = (path,)
        elif len(shape) == 4:
            table[name] = ((*path, "kernel"), conv, (*path, "bias"))
        elif path == ("input",):
            spread = dense_to_map(8 * width)
            table[name] = ((*path, "kernel"), spread, (*path, "bias"), spread)
        else:
            table[name] = ((*path, "kernel"), dense_of_map(8 * width), (*path, "bias"))
    return table


def dead_of_residual(name, paths):
    """Constants that a later batch norm, or a difference of scores, takes away."""
    ends = {"generator": ("shortcut", "conv2"), "critic": ()}[name]
    dead = {path for path in paths if path[-1] == "bias" and path[-2] in ends}
    last = {path for path in paths if path[-1] == "bias" and path[1:-1] in CONSTANT}
    return dead | (last if name == "critic" else set())


CONSTANT = {("output",), ("block3", "shortcut"), ("block3", "conv2")}


@pytest.mark.slow
def test_residual_training_update_by_update():
    golden = load("wgan_gp_independent")
    start = {name: under(golden, f"init/{name}/") for name in ("generator", "critic")}
    width = len(start["critic"]["input.bias"])
    networks = {
        "generator": residual_gan.Generator(width),
        "critic": residual_gan.Critic(width),
    }
    tables = {name: residual_table(start[name], width) for name in start}
    begun = {name: read(start[name], tables[name]) for name in start}
    nets = {name: tree(flat)["params"] for name, flat in begun.items()}
    adam = early_adam(lambda count: 1e-4, 0.0, 0.9)
    optimizers = {name: Optimizer((name,), adam) for name in nets}
    opts = {name: adam.init({name: nets[name]}) for name in nets}

    def score(params, image):
        return networks["critic"].apply({"params": params}, image)

    def make(nets, noise):
        return networks["generator"].apply({"params": nets["generator"]}, noise)

    def critic_loss(moving, given):
        real, share = given.batch
        fake = make(given.nets, given.fakes)
        apart = score(moving["critic"], fake).mean() - score(moving["critic"], real).mean()
        mixed = losses.interpolate(fake, real, share)
        penalty, _ = losses.gradient_penalty(score, moving["critic"], mixed)
        terms = {"wasserstein": apart, "penalty": penalty.mean()}
        return apart + 10 * penalty.mean(), Aux(terms)

    def generator_loss(moving, given):
        loss = -score(given.nets["critic"], make(moving, given.fakes)).mean()
        return loss, Aux({"generator": loss})

    def update(name, loss):
        @jax.jit
        def run(nets, opts, batch, noise):
            others = {one: nets[one] for one in nets.keys() - {name}}
            given = Given(others, batch, noise, KEY, (), ())
            moved, opt, _, metrics = updates.run_updates(
                optimizers, [Update(name, loss)], {name: nets[name]}, {name: opts[name]}, given
            )
            return nets | moved, opts | opt, metrics

        return run

    run = {
        "critic": update("critic", critic_loss),
        "generator": update("generator", generator_loss),
    }
    names = golden["loss_names"].tolist()
    order = golden["order"].tolist()
    assert set(order) == {"critic", "generator"}
    for i, name in enumerate(order):
        batch = images(golden["images"][i]), golden["alpha"][i].reshape(-1)
        nets, opts, metrics = run[name](nets, opts, batch, golden["noise"][i])
        for term, value in zip(names, golden["losses"][i], strict=True):
            if np.isfinite(value):
                np.testing.assert_allclose(metrics[term], value, rtol=1e-4, err_msg=term)
        want = read(under(golden, f"update{i + 1}/"), tables[name])
        got = flatten_dict({"params": nets[name]})
        check_change(got, begun[name], want, dead_of_residual(name, want))
