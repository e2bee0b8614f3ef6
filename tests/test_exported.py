"""Exported generators: StableHLO where the model cannot be imported, ONNX in its runtime."""

import errno
import os
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import jax
import numpy as np
import pytest
from helpers import ROOT, import_small

from ganimation_jax.action_units import ACTION_UNITS
from ganimation_jax.interop import export
from ganimation_jax.interop.onnx_files import save_onnx
from ganimation_jax.interop.stablehlo import load_exported
from ganimation_jax.interop.torch_import import write_run
from ganimation_jax.methods import ganimation
from ganimation_jax.models import cpu_convolutions, layers
from ganimation_jax.models.critic import Critic
from ganimation_jax.models.generator import Generator
from ganimation_jax.runs.load import load_run
from ganimation_jax.types import Batch


def command(*words):
    return subprocess.run(
        [sys.executable, *map(str, words)], cwd=ROOT, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def small_run(tmp_path_factory):
    """A run at 16x16 whose moving average differs from the generator itself."""
    workdir = tmp_path_factory.mktemp("small") / "run"
    config, state = import_small(critic=False, image_size=16)
    write_run(workdir, config, state.replace(ema=jax.tree.map(lambda x: x * 0.5, state.ema)))
    return workdir


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
    """The library's edits by the plain convolutions that exported programs state.

    The CPU's own (Winograd's) round otherwise: with these weights of noise, colours by either are
    up to 1.4e-5 from a float64 network's, and up to 1.2e-5 apart. By the same ones they are equal.
    """
    with layers.stated_by(cpu_convolutions.direct, cpu_convolutions.transposed):
        return jax.jit(lambda *inputs: run.model.edit(nets, *inputs))(
            given["image"], given["aus"], 0 * given["aus"]
        )


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
    np.testing.assert_allclose(exported(*given.values()).image, want.image, atol=1e-5)
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
    nets = jax.jit(model.init)(jax.random.key(0), Batch(image, have, want))
    nets = jax.tree.map(lambda x: 0.3 * rng.standard_normal(x.shape, np.float32), nets)
    save_onnx(tmp_path / "model.onnx", model, nets)
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(
        tmp_path / "model.onnx", providers=["CPUExecutionProvider"]
    )
    names = ["edited", "attention", "color", "motion"]
    edit = session.run(names, {"image": image, "aus": want, "have": have})
    for got, value in zip(edit, jax.jit(model.edit)(nets, image, want, have), strict=True):
        np.testing.assert_allclose(got, value, atol=1e-3)
    assert np.abs(edit[3]).max() > 1
