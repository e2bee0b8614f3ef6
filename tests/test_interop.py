"""PyTorch files in and out, and exported generators; commands as a user gives them."""

import errno
import os
import pickle
import re
import shlex
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from helpers import GOLDENS, ROOT, assert_trees_close, small_critic, small_generator

from ganimation_jax.action_units import ACTION_UNITS
from ganimation_jax.interop import export, torch_import
from ganimation_jax.interop.onnx_files import save_onnx
from ganimation_jax.interop.stablehlo import load_exported
from ganimation_jax.interop.torch_export import critic_to_state_dict, generator_to_state_dict
from ganimation_jax.interop.torch_files import read_state_dict, write_state_dict
from ganimation_jax.interop.torch_import import (
    critic_from_state_dict,
    fine_tune_command,
    generator_from_state_dict,
    import_run,
    write_run,
)
from ganimation_jax.methods import ganimation
from ganimation_jax.models import layers
from ganimation_jax.models.critic import Critic
from ganimation_jax.models.generator import Generator
from ganimation_jax.runs.load import load_run
from ganimation_jax.types import Batch

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


def save(path, state):
    write_state_dict(path, state)
    return str(path)


@pytest.fixture
def small_run(tmp_path):
    """A run at 16x16 whose moving average differs from the generator itself."""
    state = generator_to_state_dict(small_generator()[1])
    config, state = import_run(state, None, image_size=16)
    state = state.replace(ema=jax.tree.map(lambda x: x * 0.5, state.ema))
    write_run(tmp_path / "run", config, state)
    return tmp_path / "run"


# In


@pytest.mark.slow
def test_a_real_command_makes_a_run_that_trains_and_evaluates(files, layout, tmp_path):
    run = tmp_path / "run"
    imported = command(
        "-m", "ganimation_jax.interop.torch_import",
        "--generator", files[0], "--critic", files[1], "--out", run,
    )  # fmt: skip
    assert imported.returncode == 0, imported.stderr
    assert f"{layout} generator" in imported.stdout
    assert imported.stderr == ""
    words = shlex.split(next(line for line in imported.stdout.splitlines() if "--config" in line))
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
    _, start = generator_from_state_dict(read_state_dict(files[0]))
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
    generator, params = generator_from_state_dict(read_state_dict(files[0]))
    _, critic_params = critic_from_state_dict(read_state_dict(files[1]))
    for got, want in [
        (loaded.nets["generator"], params),
        (loaded.ema["generator"], params),
        (loaded.nets["critic"], critic_params),
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
    path = save(tmp_path / "G.pth", generator_to_state_dict(small_generator()[1]))
    args = ["--generator", path, "--out", str(tmp_path / "run"), "--image-size", "32"]
    assert torch_import.main(args) == 0
    assert "NEW, UNTRAINED critic" in capsys.readouterr().err
    run = load_run(tmp_path / "run")
    assert run.image_size == 32
    assert run.config["critic"] == {"width": 4, "depth": 0}
    assert np.std(run.nets["critic"]["down1"]["kernel"]) == pytest.approx(0.02, rel=0.2)


@needs_torch
def test_other_action_units_must_be_named(tmp_path, capsys):
    path = save(tmp_path / "G.pth", generator_to_state_dict(small_generator(units=2)[1]))
    args = ["--generator", path, "--out", str(tmp_path / "run"), "--image-size", "16"]
    assert torch_import.main(args) == 2
    assert "has 2 action units, not OpenFace's 17" in capsys.readouterr().err
    assert torch_import.main([*args, "--action-units", "AU12"]) == 2
    assert torch_import.main([*args, "--action-units", "AU12,AU12"]) == 2
    assert torch_import.main([*args, "--action-units", "AU12,AU04"]) == 0
    run = load_run(tmp_path / "run")
    assert run.names == ("AU12", "AU04")
    out = capsys.readouterr().out
    assert "--config.action_units=('AU12', 'AU04')" in shlex.split(out.splitlines()[-1])


def test_the_command_for_a_published_model_has_no_overrides(tmp_path):
    state = generator_to_state_dict(small_generator()[1])
    config, _ = import_run(state, None, image_size=16)
    config["generator"] |= {"width": 64, "residual_blocks": 6}
    config |= {"image_size": 128, "critic": {"width": 64, "depth": 0}}
    assert shlex.split(fine_tune_command(config, tmp_path))[3:] == [
        "--config=configs/emotionet.py", f"--workdir={tmp_path}", "--config.data.dir=DIR",
    ]  # fmt: skip


def test_names_of_data_parallel_and_of_old_pytorch(caplog):
    _, params = small_generator()
    state = generator_to_state_dict(params)
    old = {f"module.{name}": array for name, array in state.items()}
    old |= {"module.main.1.running_mean": np.zeros(4), "module.main.1.running_var": np.ones(4)}
    assert_trees_close(generator_from_state_dict(old)[1], params, rtol=0)
    assert "2 running statistics ignored" in caplog.text


# What is refused


def refused(capsys, *args):
    assert torch_import.main([str(arg) for arg in args]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    return error


@needs_torch
def test_unmatched_names_and_shapes_are_listed(tmp_path, capsys):
    good = generator_to_state_dict(small_generator()[1])
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
    generator = save(tmp_path / "G.pth", generator_to_state_dict(small_generator()[1]))
    critic = save(tmp_path / "D.pth", critic_to_state_dict(small_critic(units=3)[1]))
    args = ("--generator", generator, "--critic", critic, "--out", tmp_path / "run")
    assert "17 action units, the critic 3" in refused(capsys, *args)
    assert "for 32x32 images, not 64" in refused(capsys, *args, "--image-size", 64)
    swapped = ("--generator", critic, "--critic", generator, "--out", tmp_path / "run")
    assert "not a generator of a published layout" in refused(capsys, *swapped)
    alone = ("--generator", generator, "--out", tmp_path / "run", "--image-size", 100)
    assert "image_size 100" in refused(capsys, *alone)


@needs_torch
def test_a_run_with_checkpoints_is_left_alone(small_run, capsys):
    path = save(small_run.parent / "G.pth", generator_to_state_dict(small_generator()[1]))
    error = refused(capsys, "--generator", path, "--out", small_run, "--image-size", 16)
    assert "holds checkpoints already" in error


class Malicious:
    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return os.mkdir, (self.target,)


@pytest.mark.parametrize("form", ["zip", "pickle", "inside"])
def test_a_pickle_that_would_run_code_is_refused(torch, tmp_path, capsys, form):
    path, proof = tmp_path / "G.pth", tmp_path / "ran"
    if form == "pickle":
        path.write_bytes(pickle.dumps(Malicious(proof)))
    elif form == "zip":
        torch.save(Malicious(proof), path)
    else:
        torch.save({"main.0.weight": torch.zeros(3), "extra": Malicious(proof)}, path)
    error = refused(capsys, "--generator", path, "--out", tmp_path / "run")
    assert "refused" in error
    assert not proof.exists()


@needs_torch
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a zip", b"hello", None])
def test_files_that_are_no_checkpoints(tmp_path, capsys, content):
    path = tmp_path / "G.pth"
    if content is not None:
        path.write_bytes(content)
    assert str(path) in refused(capsys, "--generator", path, "--out", tmp_path / "run")


@pytest.mark.parametrize("value", [[1, 2], {}, {"epoch": 3, "state_dict": {}}])
def test_pytorch_files_that_are_no_state_dicts(torch, tmp_path, capsys, value):
    torch.save(value, tmp_path / "G.pth")
    error = refused(capsys, "--generator", tmp_path / "G.pth", "--out", tmp_path / "run")
    assert "state dict" in error


def random_state(torch, dtype=None):
    generator = torch.Generator().manual_seed(0)
    shapes = {"a.weight": (3, 4, 2, 2), "a.bias": (3,), "b.weight": (2, 3), "b.none": (0, 2)}
    return {
        name: torch.randn(shape, generator=generator).to(dtype or torch.float32)
        for name, shape in shapes.items()
    }


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("kind", ["float32", "float64", "float16", "bfloat16", "int64"])
def test_state_dicts_are_read_as_torch_reads_them(torch, tmp_path, zipped, kind):
    state = random_state(torch, getattr(torch, kind))
    state["tied"] = state["a.weight"]
    state["view"] = state["b.weight"].t()[1:]
    state["scalar"] = torch.tensor(3)
    state["parameter"] = torch.nn.Parameter(torch.ones(2))
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    state |= network.state_dict()
    path = tmp_path / "G.pth"
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    found = read_state_dict(path)
    want = torch.load(path, weights_only=True)
    assert found.keys() == want.keys()
    for name, array in found.items():
        np.testing.assert_array_equal(array, want[name].detach().float().numpy())
        assert array.dtype == np.float32
    torch.save(network.state_dict(), path, _use_new_zipfile_serialization=zipped)
    assert found["0.weight"].tobytes() == read_state_dict(path)["0.weight"].tobytes()


def odd_state(torch, name):
    state = random_state(torch)
    if name == "nan":
        state["b.weight"][1, 1] = torch.nan
    elif name == "infinite":
        state["b.weight"][0, 2] = -torch.inf
    elif name == "flipped":
        state["b.weight"][0, 0] = 3e38
    elif name == "int key":
        state[5] = torch.ones(2)
    elif name == "sparse":
        state["s"] = torch.ones(3, 3).to_sparse()
    elif name == "stride":
        state["huge"] = torch.zeros(1).expand(2**31)
    elif name == "overlap":
        state["huge"] = torch.zeros(4096).as_strided((2048, 2048), (1, 1))
    elif name == "complex":
        state["c"] = torch.ones(3, dtype=torch.complex64)
    return state


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nan", "the tensor b.weight has weights that are not finite"),
        ("infinite", "the tensor b.weight has weights that are not finite"),
        ("flipped", "the tensor b.weight has weights that are not finite"),
        ("int key", "a tensor is named '5': names must be text"),
        ("sparse", "sparse tensors"),
        ("stride", "the tensor huge has shape (2147483648,), but only 1 numbers"),
        ("overlap", "the tensor huge has shape (2048, 2048), but only 4,096 numbers"),
        ("complex", "ComplexFloatStorage"),
    ],
)
def test_tensors_that_are_no_weights_are_named(torch, tmp_path, capsys, name, message, zipped):
    path = tmp_path / "G.pth"
    torch.save(odd_state(torch, name), path, _use_new_zipfile_serialization=zipped)
    error = refused(capsys, "--generator", path, "--out", tmp_path / "run")
    assert message in error
    assert str(path) in error
    assert len(error.strip().splitlines()) == 1


def test_every_flipped_bit_of_a_weight_is_noticed(torch, tmp_path):
    torch.save(random_state(torch), tmp_path / "G.pth")
    content = (tmp_path / "G.pth").read_bytes()
    weights = random_state(torch)["b.weight"].numpy().tobytes()
    start = content.index(weights)
    for place in range(start, start + len(weights), 5):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        (tmp_path / "G.pth").write_bytes(damaged)
        with pytest.raises(ValueError, match=r"the tensor b\.weight .*CRC"):
            read_state_dict(tmp_path / "G.pth")


def test_bombs_are_refused_before_memory_is_taken(torch, tmp_path):
    torch.save({"a": torch.zeros(4)}, tmp_path / "G.pth")
    with zipfile.ZipFile(tmp_path / "G.pth") as source:
        members = {name: source.read(name) for name in source.namelist()}
    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as bomb:
        for name, content in members.items():
            bomb.writestr(name, content if "data/0" not in name else bytes(50_000_000))
    with pytest.raises(ValueError, match="compressed"):
        read_state_dict(tmp_path / "bomb.pth")
    # A storage that says it has more numbers than the file has bytes.
    torch.save({"a": torch.zeros(77)}, tmp_path / "G.pth", _use_new_zipfile_serialization=False)
    content = (tmp_path / "G.pth").read_bytes()
    place = content.rindex((77).to_bytes(8, "little"))
    claimed = content[:place] + (2**40).to_bytes(8, "little") + content[place + 8 :]
    (tmp_path / "G.pth").write_bytes(claimed)
    with pytest.raises(ValueError, match="cut off"):
        read_state_dict(tmp_path / "G.pth")


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
        assert_trees_close(generator_from_state_dict(read_state_dict(path))[1], want, rtol=0)


@pytest.mark.parametrize("affine", [True, False])
def test_round_trip_of_arrays_is_bitwise(affine):
    for (network, params), write, read in [
        (
            small_generator(norm_affine=affine, conv_bias=not affine, residual_blocks=3),
            generator_to_state_dict,
            generator_from_state_dict,
        ),
        (small_critic(), critic_to_state_dict, critic_from_state_dict),
    ]:
        same, back = read(write(params))
        assert same == network
        got, want = flatten_dict(back, sep="/"), flatten_dict(params, sep="/")
        assert got.keys() == want.keys()
        assert all(got[name].tobytes() == want[name].tobytes() for name in want)


def test_a_layout_nobody_published_is_refused():
    _, params = small_generator(norm_affine=True, conv_bias=True)
    with pytest.raises(ValueError, match="norm_affine=True and conv_bias=True"):
        generator_to_state_dict(params)


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


# Exported generators

APART = textwrap.dedent(
    """
    import sys

    class Forbid:
        def find_spec(self, name, path=None, target=None):
            if name.startswith(("ganimation_jax.models", "ganimation_jax.methods")):
                raise ImportError(f"{name} is forbidden here")

    sys.meta_path.insert(0, Forbid())
    import numpy as np
    from ganimation_jax.interop.stablehlo import load_exported

    exported = load_exported(sys.argv[1])
    given = np.load(sys.argv[2])
    edits = {}
    for n in (1, 3):
        edit = exported(given["image"][:n], given["aus"][:n])
        edits |= {f"{name}{n}": getattr(edit, name) for name in ("image", "attention", "color")}
    np.savez(sys.argv[3], **edits)
    """
)


def inputs_for(side=16, units=17):
    rng = np.random.default_rng(1)
    image = rng.uniform(-1, 1, (3, side, side, 3)).astype(np.float32)
    return {"image": image, "aus": rng.random((3, units), np.float32)}


def edits_of(run, nets, given):
    return jax.jit(run.model.edit)(nets, given["image"], given["aus"], 0 * given["aus"])


def test_the_artifact_equals_the_model_where_the_model_cannot_be_imported(small_run, tmp_path):
    artifact = tmp_path / "folder" / "model.ganimation"
    assert export.main(["--model", str(small_run), "--out", str(artifact)]) == 0
    run = load_run(small_run)
    given = inputs_for()
    np.savez(tmp_path / "given.npz", **given)
    done = command("-c", APART, artifact, tmp_path / "given.npz", tmp_path / "edits.npz")
    assert done.returncode == 0, done.stderr
    edits = np.load(tmp_path / "edits.npz")
    want = edits_of(run, run.used, given)
    assert want.motion is None
    for n in (1, 3):
        for name in ("image", "attention", "color"):
            value = getattr(want, name)
            np.testing.assert_allclose(edits[f"{name}{n}"], value[:n], atol=1e-5, err_msg=name)


def test_the_artifact_says_what_it_is_and_checks_what_it_is_given(small_run, tmp_path):
    artifact = tmp_path / "model.ganimation"
    assert export.main(["--model", str(small_run), "--out", str(artifact), "--raw"]) == 0
    exported = load_exported(artifact)
    assert exported.action_units == ACTION_UNITS
    assert exported.image_size == 16
    assert exported.manifest["platforms"] == ["cpu", "cuda", "tpu"]
    assert (exported.manifest["step"], exported.manifest["raw"]) == (0, True)
    given = inputs_for()
    run = load_run(small_run)
    want = edits_of(run, run.nets, given)
    np.testing.assert_allclose(exported(*given.values()).image, want.image, atol=2e-5)
    for image, aus in [
        (given["image"][:, :8], given["aus"]),
        (given["image"], given["aus"][:, :5]),
        (given["image"], given["aus"][:2]),
    ]:
        with pytest.raises(ValueError, match=r"they must be \(b, 16, 16, 3\) and \(b, 17\)"):
            exported(image, aus)


def test_the_artifact_does_not_depend_on_the_machine_that_writes_it(
    small_run, tmp_path, monkeypatch
):
    """Written on a CPU it would otherwise take the CPU's convolutions to GPU and TPU."""
    programs = []
    for on_cpu in (True, False):
        monkeypatch.setattr(layers, "on_cpu", lambda on_cpu=on_cpu: on_cpu)
        artifact = tmp_path / f"{on_cpu}.ganimation"
        assert export.main(["--model", str(small_run), "--out", str(artifact)]) == 0
        with zipfile.ZipFile(artifact) as file:
            programs.append(jax.export.deserialize(bytearray(file.read("edit.stablehlo"))))
    texts = [program.mlir_module() for program in programs]
    assert texts[0] == texts[1]


@pytest.mark.parametrize("name", ["model.ganimation", "model.onnx"])
def test_an_export_that_fails_leaves_the_old_file(small_run, tmp_path, monkeypatch, capsys, name):
    if name.endswith("onnx"):
        pytest.importorskip("jax2onnx", reason="no ONNX converter: pip install '.[onnx]'")
    artifact = tmp_path / "out" / name
    artifact.parent.mkdir()
    artifact.write_bytes(b"the last one")

    def full(self, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    assert export.main(["--model", str(small_run), "--out", str(artifact)]) == 2
    assert "No space left on device" in capsys.readouterr().err
    assert [path.name for path in artifact.parent.iterdir()] == [name]
    assert artifact.read_bytes() == b"the last one"


def test_files_that_are_no_artifacts(small_run, tmp_path):
    artifact = tmp_path / "model.ganimation"
    with pytest.raises(FileNotFoundError):
        load_exported(artifact)
    artifact.write_bytes(b"hello")
    with pytest.raises(ValueError, match="not an exported generator"):
        load_exported(artifact)
    assert export.main(["--model", str(small_run), "--out", str(artifact)]) == 0
    content = bytearray(artifact.read_bytes())
    content[len(content) // 2] ^= 1
    artifact.write_bytes(content)
    with pytest.raises(ValueError, match="not an exported generator"):
        load_exported(artifact)
    np.savez(artifact.with_suffix(".npz"), a=np.zeros(1))  # some other zip
    with pytest.raises(ValueError, match="not an exported generator"):
        load_exported(artifact.with_suffix(".npz"))


def assert_onnx_equals_the_model(path, workdir):
    onnxruntime = pytest.importorskip("onnxruntime")
    run = load_run(workdir)
    given = inputs_for()
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert session.get_modelmeta().custom_metadata_map["action_units"] == ",".join(ACTION_UNITS)
    want = edits_of(run, run.used, given)
    for n in (1, 3):
        batch = {name: array[:n] for name, array in given.items()}
        edit = session.run(["edited", "attention", "color"], batch)
        for got, value in zip(edit, (want.image, want.attention, want.color), strict=True):
            np.testing.assert_allclose(got, value[:n], atol=1e-4)


def test_onnx_equals_the_model(small_run, tmp_path):
    pytest.importorskip("jax2onnx", reason="no ONNX converter: pip install '.[onnx]'")
    path = tmp_path / "model.onnx"
    done = command(
        "-m",
        "ganimation_jax.interop.export",
        "--workdir",
        small_run,
        "--out",
        path,
        "--format",
        "onnx",
    )
    assert done.returncode == 0, done.stderr
    assert_onnx_equals_the_model(path, small_run)


def test_onnx_is_the_same_where_an_accelerator_is(small_run, tmp_path, monkeypatch):
    pytest.importorskip("jax2onnx", reason="no ONNX converter: pip install '.[onnx]'")
    path = tmp_path / "model.onnx"
    with monkeypatch.context() as patch:
        patch.setattr(layers, "on_cpu", lambda: False)
        flags = ["--model", str(small_run), "--out", str(path), "--format", "onnx"]
        assert export.main(flags) == 0
    assert_onnx_equals_the_model(path, small_run)


@pytest.mark.slow
def test_onnx_of_motion_and_difference_equals_the_model(tmp_path):
    pytest.importorskip("jax2onnx", reason="no ONNX converter: pip install '.[onnx]'")
    options = {"condition": "difference", "motion": 3.0, "upsample": "resize", "patch": 2}
    generator = Generator(width=4, residual_blocks=1, **options)
    model = ganimation.model_of(generator, Critic(17, 4, 3), ACTION_UNITS, 16)
    rng = np.random.default_rng(0)
    image = rng.uniform(-1, 1, (2, 16, 16, 3)).astype(np.float32)
    want, have = rng.random((2, 2, 17), np.float32)
    nets = model.init(jax.random.key(0), Batch(image, have, want))
    nets = jax.tree.map(lambda x: 0.3 * rng.standard_normal(x.shape, np.float32), nets)
    save_onnx(tmp_path / "model.onnx", model, nets)
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(
        tmp_path / "model.onnx", providers=["CPUExecutionProvider"]
    )
    names = ["edited", "attention", "color", "motion"]
    edit = session.run(names, {"image": image, "aus": want, "have": have})
    for got, value in zip(edit, model.edit(nets, image, want, have), strict=True):
        np.testing.assert_allclose(got, value, atol=1e-3)
    assert np.abs(edit[3]).max() > 1
