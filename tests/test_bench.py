"""The measuring code: that it runs, counts rightly and compares like with like. No times."""

import json
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import BATCH, N_CRITIC, ROOT, SIZE, UNITS

from configs import emotionet
from ganimation_jax.action_units import ACTION_UNITS
from ganimation_jax.bench import method_step, record, workload
from ganimation_jax.bench.__main__ import main, parse
from ganimation_jax.bench.workload import Sizes
from ganimation_jax.interop.torch_export import state_dicts
from ganimation_jax.methods import ganimation
from ganimation_jax.models import cpu_convolutions, layers
from ganimation_jax.parallel import sharding
from ganimation_jax.steps import updates
from ganimation_jax.types import Batch

PEERS = ROOT / "experiments" / "bench_vs_torch"
TINY = Sizes(SIZE, 4, BATCH, N_CRITIC, residual_blocks=1)
FLAGS = [
    f"--{name.replace('_', '-')}={value}"
    for name, value in TINY._replace(n_critic=1)._asdict().items()
    if name != "dtype"
]


@pytest.mark.slow
def test_everything_is_measured(tmp_path, capsys):
    path = tmp_path / "bench.json"
    few = ["--repeats=1", "--matrix-size=64", "--inference-batches", "1", "--workers", "0"]
    assert main(["all", f"--json={path}", *FLAGS, *few, "--n-critic=2", "--sweep-batch=16"]) == 0
    content = json.loads(path.read_text())
    assert content["complete"]
    assert content["machine"]["devices"] == jax.device_count()
    printed = capsys.readouterr().out
    assert all(f"{table}\n" in printed for table in content["results"])
    rows = [row for rows in content["results"].values() for row in rows]
    numbers = [value for row in rows for value in row.values() if isinstance(value, float)]
    assert len(numbers) > 50
    assert np.isfinite(numbers).all()
    step, grown = content["results"]["step"]
    assert (step["batch"], grown["batch"]) == (BATCH, 16)
    # Work grows with the batch, but for the optimisers'.
    assert grown["gflop_per_image"] == pytest.approx(step["gflop_per_image"], rel=0.05)
    # The plain forms are equal to what training uses.
    differences = [row["relative_difference"] for row in content["results"]["exact"]]
    assert len(differences) > 10
    assert max(differences) < 1e-4


def test_a_batch_that_devices_cannot_share_is_refused(capsys):
    assert main(["step", "--batch=3", "--matrix-size=64", "--repeats=1", "--width=4"]) == 2
    assert "--batch 3 is not divisible by 8 devices" in capsys.readouterr().err


def test_a_run_cut_short_leaves_what_it_measured(tmp_path):
    path = tmp_path / "bench.json"
    record.Record(path, ["bench"]).add("step", {"median_ms": 1.0})
    content = json.loads(path.read_text())
    assert not content["complete"]
    assert content["results"] == {"step": [{"median_ms": 1.0}]}


def test_tables_are_aligned():
    rows = [{"name": "one", "ms": 1234.5}, {"name": "three", "ms": 0.00123456, "more": True}]
    assert record.table(rows).splitlines() == [
        "name         ms  more",
        "one       1,234",
        "three  0.001235  True",
    ]


def taps(side, size, stride, pad):
    """Products along one axis of a convolution, without those with padding."""
    starts = range(-pad, side + pad - size + 1, stride)
    return sum(0 <= start + i < side for start in starts for i in range(size))


def test_flops_of_an_edit_are_those_of_the_published_network():
    sizes = Sizes(batch=1)
    convs = [  # input side, kernel, stride, padding, channels in and out, how many
        (128, 7, 1, 3, 20, 64, 1),
        (128, 4, 2, 1, 64, 128, 1),
        (64, 4, 2, 1, 128, 256, 1),
        (32, 3, 1, 1, 256, 256, 12),
        (64, 4, 2, 1, 128, 256, 1),  # transposed: as the convolutions they are adjoint to
        (128, 4, 2, 1, 64, 128, 1),
        (128, 7, 1, 3, 64, 4, 1),
    ]
    published = sum(
        2 * taps(side, size, stride, pad) ** 2 * i * o * count
        for side, size, stride, pad, i, o, count in convs
    )
    np.testing.assert_allclose(published, 20.5e9, rtol=0.01)
    # The planes of action units are never made; norms and activations add a little.
    planes = 2 * taps(128, 7, 1, 3) ** 2 * UNITS * 64
    np.testing.assert_allclose(workload.step_flops(sizes)["edit"], published - planes, rtol=0.01)


@pytest.mark.slow
def test_flops_of_the_updates_are_those_of_the_compiled_programs():
    # Large enough that convolutions outweigh what XLA computes twice when it fuses.
    sizes = Sizes(64, 32, batch=2, n_critic=3, residual_blocks=1)
    counted = workload.step_flops(sizes)
    work = workload.build(sizes)
    state = workload.state_shapes(sizes)
    batch = jax.eval_shape(
        lambda: jax.tree.map(lambda x: x[0], workload.Batch(**workload.random_batch(sizes)))
    )
    image = jax.ShapeDtypeStruct(batch.image.shape, jnp.float32)
    batch = batch._replace(image=image)

    def compiled(fn, *args):  # as plain sums of products
        with layers.stated_by(cpu_convolutions.direct, cpu_convolutions.transposed):
            return jax.jit(fn).lower(*args).compile().cost_analysis()["flops"]

    def update(name, loss):
        def run(nets, opt, batch, fakes, key):
            others = {other: params for other, params in nets.items() if other != name}
            given = updates.Given(others, batch, fakes, key, (), ())
            moving, opts = {name: nets[name]}, {name: opt[name]}
            steps = [updates.Update(name, loss)]
            return updates.run_updates(work.optimizers, steps, moving, opts, given)

        return run

    (critic_loss,) = work.objectives.critic
    args = (state.nets, state.opt, batch, image, workload.KEY)
    critic = compiled(update("critic", critic_loss), *args)
    np.testing.assert_allclose(counted["critic_update"], critic, rtol=0.03)
    generator = compiled(update("generator", work.objectives.generator), *args)
    np.testing.assert_allclose(counted["generator_update"], generator, rtol=0.03)
    parts = 3 * (counted["edit"] + counted["critic_update"]) + counted["generator_update"]
    assert counted["step"] == parts


@pytest.fixture
def torch_ganimation(monkeypatch):
    pytest.importorskip("torch", reason="PyTorch is not installed: pip install '.[torch]'")
    monkeypatch.syspath_prepend(str(PEERS))
    import torch_ganimation

    return torch_ganimation


def strong(params):
    """Noise that no term of the losses is faint with."""
    rng = np.random.default_rng(1)

    def draw(path, leaf):
        mean = 1.0 if path[-1].key == "scale" else 0.0
        return rng.normal(mean, 0.1, leaf.shape).astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, params)


@pytest.mark.slow
@pytest.mark.parametrize("hoist", [False, True])
def test_both_statements_of_an_iteration_are_the_same_function(
    torch_ganimation, hoist, initial_state, optimizers, batch
):
    import torch

    shares = np.linspace(0.1, 0.9, BATCH, dtype=np.float32)
    networks = workload.networks(TINY)
    objectives = ganimation.objectives(*networks, draw_shares=lambda key, size: jnp.array(shares))
    nets = {name: strong(params) for name, params in initial_state.nets.items()}
    model = ganimation.model_of(*networks, ACTION_UNITS, SIZE)
    state = updates.fresh_state(model, optimizers, nets)
    step = jax.jit(ganimation.step(objectives, optimizers))
    _, want = step(state, batch, jax.random.key(0))

    options = torch_ganimation.PUBLISHED._replace(hoist=hoist)
    trainer = torch_ganimation.Trainer(SIZE, TINY.width, TINY.residual_blocks, options=options)
    for name, arrays in state_dicts("ganimation", nets).items():
        getattr(trainer, name).load_state_dict(
            {name: torch.tensor(array) for name, array in arrays.items()}
        )
    got = trainer.iteration(
        torch.tensor(np.moveaxis(batch.image, -1, -3)),
        torch.tensor(batch.have),
        torch.tensor(batch.want),
        torch.tensor(shares).expand(N_CRITIC, -1),
    )
    # The sums and what is only watched have no counterpart.
    assert set(want) - set(got) == {
        "critic/loss",
        "generator/loss",
        "critic/gradient_norm",
        "generator/attention_mean",
        "critic/parameter_gradient",
        "generator/parameter_gradient",
        "critic/skipped",
        "generator/skipped",
    }
    for name, value in got.items():
        assert abs(want[name]) > 1e-4, f"{name} is too small to compare"
        np.testing.assert_allclose(value, want[name], rtol=1e-4, err_msg=name)


def people_in_torch(params, patch):
    """The generator's parameters under PyTorch's names, in its layouts and order of channels."""
    import torch

    # Channels of a block of pixels: (row, column, channel) here, (channel, row, column) there.
    def order(count):
        return np.arange(count * patch**2).reshape(patch**2, count).T.ravel()

    found = {}
    for name in ("stem", "down0", "down1", "up0", "up1"):
        found[name.replace("down", "down.").replace("up", "up.")] = (name, f"{name}_%s")
    for block in range(2):
        for i in range(2):
            flax_name = f"residual{block}_conv{i}"
            found[f"residual.{block}.{i}"] = (flax_name, f"residual{block}_%s{i}")
    arrays = {}
    for name, (conv, others) in found.items():
        kernel = params[conv]["kernel"]
        if name == "stem":
            kernel = kernel[:, :, order(3)]
        arrays[f"{name}.conv.weight"] = kernel.transpose(3, 2, 0, 1)
        norm, dense = params[others % "norm"], params[others % "film"]["dense"]
        arrays |= {f"{name}.norm.weight": norm["scale"], f"{name}.norm.bias": norm["bias"]}
        arrays |= {f"{name}.film.weight": dense["kernel"].T, f"{name}.film.bias": dense["bias"]}
    heads = [params[head][..., order(n)] for head, n in zip(HEADS, (3, 1, 2), strict=True)]
    arrays["heads.weight"] = np.concatenate(heads, axis=-1).transpose(3, 2, 0, 1)
    return {name: torch.tensor(np.ascontiguousarray(array)) for name, array in arrays.items()}


HEADS = ("color", "attention", "motion")


@pytest.mark.slow
def test_both_statements_of_the_recipe_people_are_the_same_function(torch_ganimation, batch):
    import torch
    import torch_people

    cfg = emotionet.get_config("people")
    cfg.image_size, cfg.batch_size = SIZE, BATCH
    cfg.generator.update(width=4, residual_blocks=2)
    cfg.critic.update(width=4, depth=2)
    mesh = sharding.make_mesh(devices=jax.devices()[:1])
    model, training = method_step.build(cfg, mesh)
    state = updates.make_init(model, training.optimizers)(jax.random.key(0))
    nets = {name: strong(jax.device_get(params)) for name, params in state.nets.items()}
    state = updates.fresh_state(model, training.optimizers, nets)
    other = np.roll(batch.image[:1], 1, axis=1)
    one = Batch(batch.image[:1], batch.have[:1], batch.want[:1], other, np.ones((1, BATCH), bool))
    (phase,) = training.phases
    new, want = jax.jit(phase.step)(state, one, jax.random.key(0))

    trainer = torch_people.Trainer(cfg)
    trainer.generator.load_state_dict(people_in_torch(nets["generator"], cfg.generator.patch))
    critic = nets["critic"]
    kernels = {"conv1.weight": critic["score"]["kernel"], "conv2.weight": critic["aus"]}
    kernels |= {f"main.{2 * i}.weight": critic[f"down{i}"]["kernel"] for i in range(2)}
    arrays = {name: kernel.transpose(3, 2, 0, 1) for name, kernel in kernels.items()}
    arrays |= {f"main.{2 * i}.bias": critic[f"down{i}"]["bias"] for i in range(2)}
    trainer.critic.load_state_dict({name: torch.tensor(x) for name, x in arrays.items()})
    pictures = (torch.tensor(np.moveaxis(x[0], -1, -3)) for x in (one.image, other))
    image, truth = pictures
    got = trainer.iteration(image, torch.tensor(one.have[0]), torch.tensor(one.want[0]), truth)
    for name, value in got.items():
        np.testing.assert_allclose(value, want[name], rtol=1e-4, err_msg=name)
    # Both clip the gradient and take Adam's first step. Where a gradient is only rounding, that
    # may be of either sign.
    moved = people_in_torch(jax.device_get(new.nets["generator"]), cfg.generator.patch)
    apart = [
        float((value - moved[name]).abs().gt(1e-5).float().mean())
        for name, value in trainer.generator.state_dict().items()
    ]
    assert max(apart) < 0.02


@pytest.mark.slow
@pytest.mark.parametrize(
    "recipe", [[], ["--recipe=people", "--parts=step"]], ids=["paper", "people"]
)
def test_peers_take_turns(torch_ganimation, tmp_path, recipe):
    path = tmp_path / "compare.json"
    few = ["--peers=torch,jax", "--repeats=2", f"--json={path}"]
    run = subprocess.run(
        [sys.executable, str(PEERS / "run.py"), *FLAGS, *few, *recipe],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    content = json.loads(path.read_text())
    assert content["problems"] == {}
    rows = content["results"]["compare"]
    assert [(row["part"], row["peer"]) for row in rows] == [
        (part, peer) for part in ("step", "edit")[: 1 if recipe else 2] for peer in ("torch", "jax")
    ]
    for row in rows:
        assert row["samples"] == 2
        assert row["min_ms"] <= row["median_ms"] <= row["max_ms"]
        assert row["peak_mib"] > 0


def test_the_script_for_a_gpu_calls_what_there_is():
    text = (PEERS / "run_gpu.sh").read_text()
    default = re.search(r"^parts=\$\{\*:-(.*)\}$", text, re.MULTILINE)[1].split()
    called = re.findall(r"^ *bench (\w+) (\d+) ((?:.*\\\n)*.*)$", text, re.MULTILINE)
    for _, _, words in called:
        arguments = parse(words.replace("\\\n", "").split())
        assert arguments.repeats > 0
    limits = {name: int(seconds) for name, seconds, _ in called}
    limits["compare"] = int(re.search(r"^part compare (\d+)", text, re.MULTILINE)[1])
    assert set(default) <= {"train", *limits}
    assert sum(limits[name] for name in default if name != "train") <= 8 * 60
