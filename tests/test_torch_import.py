"""Published PyTorch weights in and out; commands as a user gives them."""

import re
import shlex
import subprocess
import sys

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from helpers import (
    GOLDENS,
    ROOT,
    assert_trees_close,
    import_small,
    small_critic,
    small_generator,
)
from ml_collections import ConfigDict

from ganimation_jax import methods
from ganimation_jax.action_units import ACTION_UNITS
from ganimation_jax.interop import export, torch_import, torch_tables
from ganimation_jax.interop.torch_export import state_dicts
from ganimation_jax.interop.torch_files import read_state_dict, write_state_dict
from ganimation_jax.interop.torch_import import fine_tune_command, import_published, write_run
from ganimation_jax.methods import ganimation
from ganimation_jax.runs.load import load_run
from ganimation_jax.steps.updates import fresh_state

FILES = {
    "official": ("net_epoch_*_id_G.pth", "net_epoch_*_id_D.pth"),
    "replicate": ("*_net_gen.pth", "*_net_dis.pth"),
}
SYNTHETIC = (
    "--config.data.source=synthetic", "--config.data.size=16", "--config.batch_size=8",
    "--config.n_critic=1", "--config.epochs=1.0", "--config.evaluate.examples=8",
    "--config.evaluate.batch_size=8", "--config.evaluate.controlled_faces=2",
    "--config.wandb.mode=disabled",
)  # fmt: skip


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="PyTorch is not installed: pip install '.[torch]'")


needs_torch = pytest.mark.usefixtures("torch")


@pytest.fixture(params=FILES)
def layout(request, torch):
    if not any(GOLDENS.glob(FILES[request.param][0])):
        pytest.skip(f"no golden .pth files in {GOLDENS}: set GANIMATION_GOLDENS")
    return request.param


@pytest.fixture
def files(layout):
    return [max(GOLDENS.glob(pattern)) for pattern in FILES[layout]]


def command(*words):
    return subprocess.run(
        [sys.executable, *map(str, words)], cwd=ROOT, capture_output=True, text=True
    )


def states_of(**options):
    """State dicts of a small generator and critic."""
    nets = {"generator": small_generator(**options)[1], "critic": small_critic()[1]}
    return state_dicts("ganimation", nets)


def imported(files):
    """Networks of a generator's and a critic's file, without a run."""
    states = map(read_state_dict, files)
    return import_published("ganimation", dict(zip(("generator", "critic"), states, strict=True)))


def save(path, state):
    write_state_dict(path, state)
    return str(path)


@pytest.fixture
def small_run(tmp_path):
    """A run at 16x16 whose moving average differs from the generator itself."""
    config, state = import_small(critic=False, image_size=16)
    state = state.replace(ema=jax.tree.map(lambda x: x * 0.5, state.ema))
    write_run(tmp_path / "run", config, state)
    return tmp_path / "run"


# In


@pytest.mark.slow
def test_a_real_command_makes_a_run_that_trains_and_evaluates(files, layout, tmp_path):
    run = tmp_path / "run"
    made = command(
        "-m", "ganimation_jax.interop.torch_import",
        "--generator", files[0], "--critic", files[1], "--out", run,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    assert made.stderr == ""
    words = shlex.split(next(line for line in made.stdout.splitlines() if "--config" in line))
    assert words[:3] == ["python", "-m", "ganimation_jax.main"]
    assert words[-1] == "--config.data.dir=DIR"
    done = command(*words[1:-1], *SYNTHETIC, "--mode=eval")
    assert done.returncode == 0, done.stderr
    assert (run / "report" / "report.json").exists()
    if layout == "replicate":
        return  # one training is enough: compilation is dear

    done = command(*words[1:-1], *SYNTHETIC)
    assert done.returncode == 0, done.stderr
    assert "resuming after step 0" in done.stderr

    # The imported weights are where training began.
    trained = load_run(run)
    assert trained.step == 2
    assert trained.config["lr"] == 1e-4
    start = imported(files)[1].nets["generator"]
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), trained.nets["generator"], start)
    assert 0 < max(jax.tree.leaves(moved)) < 1e-3


def test_weights_of_an_imported_run(files, layout, tmp_path):
    run = tmp_path / "run"
    args = ["--generator", str(files[0]), "--critic", str(files[1]), "--out", str(run)]
    assert torch_import.main(args) == 0
    loaded = load_run(run)
    assert loaded.step == 0
    assert loaded.names == ACTION_UNITS
    assert loaded.config["generator"]["norm_affine"] == (layout == "official")
    config, state = imported(files)
    generator, _ = ganimation.networks(ConfigDict({"dtype": "float32"} | config))
    params = state.nets["generator"]
    for got, want in [
        (loaded.nets["generator"], params),
        (loaded.ema["generator"], params),
        (loaded.nets["critic"], state.nets["critic"]),
    ]:
        assert_trees_close(got, want, rtol=0)
    rng = np.random.default_rng(0)
    size = loaded.image_size
    image = rng.uniform(-1, 1, (2, size, size, 3)).astype(np.float32)
    aus = rng.random((2, 17), np.float32)
    edit = loaded.model.edit(loaded.used, image, aus, 0 * aus)
    same = generator.apply({"params": params}, image, aus)
    np.testing.assert_array_equal(edit.attention, same.attention)
    np.testing.assert_array_equal(edit.color, same.color)


@needs_torch
def test_without_a_critic_the_run_says_that_its_critic_is_new(tmp_path, capsys):
    path = save(tmp_path / "G.pth", states_of()["generator"])
    args = ["--generator", path, "--out", str(tmp_path / "run"), "--image-size", "32"]
    assert torch_import.main(args) == 0
    assert "NEW, UNTRAINED critic" in capsys.readouterr().err
    run = load_run(tmp_path / "run")
    assert run.image_size == 32
    assert run.config["critic"] == {"width": 4, "depth": 0}
    assert np.std(run.nets["critic"]["down1"]["kernel"]) == pytest.approx(0.02, rel=0.2)


@needs_torch
def test_other_action_units_must_be_named(tmp_path, capsys):
    path = save(tmp_path / "G.pth", states_of(units=2)["generator"])
    args = ["--generator", path, "--out", str(tmp_path / "run"), "--image-size", "16"]
    assert torch_import.main(args) == 2
    assert "do not say which 2 action units the networks have" in capsys.readouterr().err
    assert torch_import.main([*args, "--action-units", "AU12"]) == 2
    assert torch_import.main([*args, "--action-units", "AU12,AU12"]) == 2
    assert torch_import.main([*args, "--action-units", "AU12,AU04"]) == 0
    run = load_run(tmp_path / "run")
    assert run.names == ("AU12", "AU04")
    out = capsys.readouterr().out
    assert "--config.action_units=('AU12', 'AU04')" in shlex.split(out.splitlines()[-1])


def test_the_command_for_a_published_model_has_no_overrides(tmp_path):
    config, _ = import_small(critic=False, image_size=16)
    config["generator"] |= {"width": 64, "residual_blocks": 6}
    config |= {"image_size": 128, "critic": {"width": 64, "depth": 0}}
    assert shlex.split(fine_tune_command(config, tmp_path))[3:] == [
        "--config=configs/emotionet.py", f"--workdir={tmp_path}", "--config.data.dir=DIR",
    ]  # fmt: skip


def test_names_of_data_parallel_and_of_old_pytorch(caplog):
    old = {f"module.{name}": array for name, array in states_of()["generator"].items()}
    old |= {"module.main.1.running_mean": np.zeros(4), "module.main.1.running_var": np.ones(4)}
    _, state = import_published("ganimation", {"generator": old}, image_size=16)
    assert_trees_close(state.nets["generator"], small_generator()[1], rtol=0)
    assert "2 running statistics ignored" in caplog.text


def refused(capsys, *args):
    assert torch_import.main([str(arg) for arg in args]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    return error


@needs_torch
def test_unmatched_names_and_shapes_are_listed(tmp_path, capsys):
    good = states_of()["generator"]
    renamed = good | {"main.99.bias": good["main.4.bias"]}
    del renamed["main.4.bias"]
    path = save(tmp_path / "G.pth", renamed)
    error = refused(capsys, "--generator", path, "--out", tmp_path / "run")
    assert "missing ['main.4.bias']" in error
    assert "left over ['main.99.bias']" in error

    path = save(tmp_path / "G.pth", good | {"main.3.weight": np.zeros((8, 4, 3, 3), np.float32)})
    error = refused(capsys, "--generator", path, "--out", tmp_path / "run")
    assert "main.3.weight (down0/kernel is (3, 3, 4, 8), not (4, 4, 4, 8))" in error

    path = save(tmp_path / "G.pth", good | {"main.0.weight": np.zeros(3, np.float32)})
    assert "main.0.weight has shape (3,)" in refused(
        capsys, "--generator", path, "--out", tmp_path / "run"
    )
    assert not (tmp_path / "run").exists()


@needs_torch
def test_networks_that_do_not_fit_together(tmp_path, capsys):
    states = states_of()
    generator = save(tmp_path / "G.pth", states["generator"])
    critic = save(tmp_path / "D.pth", states["critic"])
    other = save(tmp_path / "other.pth", states_of(norm_affine=False, conv_bias=True)["critic"])
    out = ("--out", tmp_path / "run")
    pair = ("--generator", generator, "--critic", critic, *out)
    assert "for 32x32 images, not 64" in refused(capsys, *pair, "--image-size", 64)
    few = save(tmp_path / "few.pth", states_of(units=3)["generator"])
    error = refused(capsys, "--generator", few, "--critic", critic, *out)
    assert "the generator has 3 action units, the critic 17" in error
    error = refused(capsys, "--generator", generator, "--critic", other, *out)
    assert "the generator is of the official layout, the critic of the replicate" in error
    error = refused(capsys, "--generator", critic, "--critic", generator, *out)
    assert "not a generator of a published layout" in error
    error = refused(capsys, "--generator", generator, *out, "--image-size", 100)
    assert "image_size 100" in error


@needs_torch
def test_a_run_with_checkpoints_is_left_alone(small_run, capsys):
    path = save(small_run.parent / "G.pth", states_of()["generator"])
    error = refused(capsys, "--generator", path, "--out", small_run, "--image-size", 16)
    assert "holds checkpoints already" in error


# Out


def test_round_trip_of_real_files_is_bitwise(torch, files, tmp_path):
    run, back = tmp_path / "run", [tmp_path / "back" / "G.pth", tmp_path / "back" / "D.pth"]
    args = ["--generator", str(files[0]), "--critic", str(files[1]), "--out", str(run)]
    assert torch_import.main(args) == 0
    assert export.main(["--model", str(run), "--out", str(back[0]), "--critic", str(back[1])]) == 0
    for original, written in zip(files, back, strict=True):
        want = torch.load(original, weights_only=True)
        got = torch.load(written, weights_only=True)
        assert got.keys() == want.keys()
        assert all(torch.equal(got[name], want[name]) for name in want)


@needs_torch
def test_the_moving_average_unless_raw(small_run, tmp_path):
    run = load_run(small_run)
    for option, want in [((), run.ema["generator"]), (("--raw",), run.nets["generator"])]:
        path = tmp_path / "G.pth"
        assert export.main(["--model", str(small_run), "--out", str(path), *option]) == 0
        _, back = import_published("ganimation", {"generator": read_state_dict(path)})
        assert_trees_close(back.nets["generator"], want, rtol=0)


@pytest.mark.parametrize("affine", [True, False])
def test_round_trip_of_arrays_is_bitwise(affine):
    options = {"norm_affine": affine, "conv_bias": not affine}
    _, params = small_generator(**options, residual_blocks=3)
    critic, critic_params = small_critic()
    nets = {"generator": params, "critic": critic_params}
    config, state = import_published("ganimation", state_dicts("ganimation", nets))
    assert config["generator"] == {"width": 4, "residual_blocks": 3} | options
    assert config["critic"] == {"width": critic.width, "depth": critic.depth}
    got, want = flatten_dict(state.nets, sep="/"), flatten_dict(nets, sep="/")
    assert got.keys() == want.keys()
    assert all(got[name].tobytes() == want[name].tobytes() for name in want)


def test_a_layout_nobody_published_is_refused():
    _, params = small_generator(norm_affine=True, conv_bias=True)
    with pytest.raises(ValueError, match="norm_affine=True and conv_bias=True"):
        state_dicts("ganimation", {"generator": params})


@needs_torch
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch": 2}, "published code has no such networks: the generator has 26 action units"),
        ({"upsample": "resize"}, r"up0/kernel is \(3, 3, 16, 8\), not \(4, 4, 16, 8\)"),
        ({"motion": 2.0}, "because of: motion"),
        ({"condition": "film"}, "because of: down0_film/"),
    ],
)
def test_networks_that_the_published_code_could_not_hold_are_refused(
    tmp_path, capsys, options, message
):
    config, _ = import_small(critic=False, image_size=16)
    config["generator"] |= options
    model = torch_tables.model_of(config)
    nets = jax.tree.map(
        lambda x: np.zeros(x.shape, np.float32), dict(torch_tables.shapes_of(model))
    )
    by_name = methods.load("ganimation").build_optimizers(ConfigDict({"adam": (0.5, 0.999)}))
    write_run(tmp_path / "run", config, fresh_state(model, by_name, nets))
    path = tmp_path / "G.pth"
    assert export.main(["--model", str(tmp_path / "run"), "--out", str(path)]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error)
    assert error.count("\n") == 1
    assert not path.exists()


def test_no_run_to_export(tmp_path, capsys):
    assert export.main(["--model", str(tmp_path), "--out", str(tmp_path / "G.pth")]) == 2
    assert re.match("error: no checkpoint in .*\n$", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--out", "model.npz"], "model.npz: the ending names no format; use one of .ganimation"),
        (["--out", "model.onnx", "--critic", "D.pth"], "--critic and --net are for --format torch"),
        (["--out", "G.pth", "--about", "a.json"], "--about and --report are for"),
    ],
)
def test_impossible_exports_are_refused_before_the_model_is_read(options, message, capsys):
    assert export.main(["--model", "nowhere", *options]) == 2
    assert message in capsys.readouterr().err
