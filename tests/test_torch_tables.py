"""PyTorch weights of StarGAN and CycleGAN, in and out: names and arrays of the published code."""

import json
import shlex

import numpy as np
import pytest
from absl.flags import FlagValues
from ml_collections import config_flags
from neighbour_goldens import FOLDER, Golden

from ganimation_jax import config_words
from ganimation_jax.conditions import EMOTIONS
from ganimation_jax.interop.torch_export import state_dicts, write_torch
from ganimation_jax.interop.torch_files import read_state_dict, write_state_dict
from ganimation_jax.interop.torch_import import fine_tune_command, import_published, main
from ganimation_jax.methods import stargan_torch
from ganimation_jax.runs.load import load_run
from ganimation_jax.training.preflight import check_continues, json_config

pytestmark = pytest.mark.skipif(
    not (FOLDER / "stargan_celeba.npz").exists(),
    reason=f"no golden arrays in {FOLDER}: set GANIMATION_GOLDENS",
)
METHODS = {
    "stargan": ("stargan_celeba", {"generator": "G", "critic": "D"}),
    "cyclegan": (
        "cyclegan_training",
        {"generator_ab": "G_A", "generator_ba": "G_B", "critic_b": "D_A", "critic_a": "D_B"},
    ),
}
CONDITIONS = {"stargan": None, "cyclegan": ("emotion=neutral", "emotion=happy")}


def published(method):
    name, files = METHODS[method]
    golden = Golden(name)
    return {net: golden.state_dict(f"init/{file}") for net, file in files.items()}


@pytest.mark.parametrize("method", METHODS)
def test_weights_return_bit_for_bit(method):
    states = published(method)
    _, state = import_published(
        method, states, 32 if method == "cyclegan" else None, CONDITIONS[method]
    )
    back = state_dicts(method, state.nets)
    assert set(back) == set(states)
    for net, arrays in states.items():
        assert set(back[net]) == set(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(back[net][name], array, err_msg=f"{net} {name}")


def test_sizes_and_labels_follow_from_the_arrays():
    golden = Golden("stargan_celeba")
    config, _ = import_published("stargan", published("stargan"))
    options = golden.config()
    assert config["image_size"] == golden["images"].shape[-1]
    assert config["generator"]["width"] == options["g_conv_dim"]
    assert config["generator"]["residual_blocks"] == options["g_repeat_num"]
    assert config["critic"] == {"width": options["d_conv_dim"], "depth": options["d_repeat_num"]}
    assert "Blond_Hair" in config["conditions"]
    assert {name.removeprefix("emotion=") for name in stargan_torch.LABELS[8]} == set(EMOTIONS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"critic_x": {}}, "has no network critic_x; it has generator, critic"),
        ({"generator": None}, "cannot be imported without its generator"),
    ],
)
def test_other_networks_are_refused(change, message):
    states = {k: v for k, v in (published("stargan") | change).items() if v is not None}
    with pytest.raises(ValueError, match=message):
        import_published("stargan", states)


@pytest.mark.parametrize("fault", ["missing", "left over", "conv1.weight .score/kernel is"])
def test_other_arrays_are_refused_by_name(fault):
    states = published("stargan")
    if fault == "missing":
        del states["generator"]["main.4.weight"]
    elif fault == "left over":
        states["critic"]["main.99.bias"] = np.zeros(3, np.float32)
    else:
        states["critic"]["conv1.weight"] = np.zeros((1, 3, 3, 3), np.float32)
    with pytest.raises(ValueError, match=fault):
        import_published("stargan", states)


def test_conditions_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="2 conditions are named, but the networks have 5"):
        import_published("stargan", published("stargan"), None, ("a", "b"))
    with pytest.raises(ValueError, match="do not say which 2 conditions"):
        import_published("cyclegan", published("cyclegan"), 32)


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="PyTorch is not installed: pip install '.[torch]'")


@pytest.mark.slow
@pytest.mark.usefixtures("torch")
def test_files_by_the_commands(tmp_path, capsys):
    states = published("cyclegan")
    files = {net: tmp_path / f"{net}.pth" for net in states}
    for net, file in files.items():
        write_state_dict(file, states[net])
    nets = [f"--net={net}={file}" for net, file in files.items() if net != "generator_ab"]
    out = tmp_path / "run"
    flags = ["--method=cyclegan", f"--generator={files['generator_ab']}", f"--out={out}", *nets]
    assert main([*flags, "--image-size=32"]) == 2
    assert "--conditions" in capsys.readouterr().err
    assert main([*flags, "--image-size=32", "--conditions=emotion=neutral,emotion=happy"]) == 0
    run = load_run(out)
    others = {"critic_a": tmp_path / "D_B.pth"}
    write_torch(run, run.nets, tmp_path / "G_A.pth", others)
    for net, file in (("generator_ab", tmp_path / "G_A.pth"), ("critic_a", others["critic_a"])):
        for name, array in read_state_dict(file).items():
            np.testing.assert_array_equal(array, states[net][name])


@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")  # of ml_collections
@pytest.mark.parametrize("method", METHODS)
def test_the_command_that_trains_on_describes_the_imported_run(method, tmp_path):
    """The config that the printed words make has the networks of the run at step 0."""
    config, _ = import_published(
        method, published(method), 32 if method == "cyclegan" else None, CONDITIONS[method]
    )
    words = shlex.split(fine_tune_command(config, tmp_path))
    flags = [word for word in words[3:] if word.startswith("--config")]
    values, argv = FlagValues(), ["main", *config_words.prepare(flags)]
    config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=argv)
    values(argv)
    cfg = values.config
    with cfg.ignore_type():
        cfg.conditions = tuple(cfg.conditions.split(","))
    check_continues(
        {"step": 0, "config": json.loads(json.dumps(config))}, json_config(cfg), tmp_path
    )
    assert cfg.data.dir == "DIR"
