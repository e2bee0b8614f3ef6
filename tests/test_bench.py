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

from ganimation_jax.action_units import ACTION_UNITS
from ganimation_jax.bench import record, workload
from ganimation_jax.bench.__main__ import main, parse
from ganimation_jax.bench.workload import Sizes
from ganimation_jax.interop.torch_export import state_dicts
from ganimation_jax.methods import ganimation
from ganimation_jax.models import cpu_convolutions, layers
from ganimation_jax.steps import updates

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


@pytest.mark.slow
def test_peers_take_turns(torch_ganimation, tmp_path):
    path = tmp_path / "compare.json"
    few = ["--peers=torch,jax", "--repeats=2", f"--json={path}"]
    run = subprocess.run(
        [sys.executable, str(PEERS / "run.py"), *FLAGS, *few], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    content = json.loads(path.read_text())
    assert content["problems"] == {}
    rows = content["results"]["compare"]
    assert [(row["part"], row["peer"]) for row in rows] == [
        (part, peer) for part in ("step", "edit") for peer in ("torch", "jax")
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
