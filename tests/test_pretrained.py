"""Models as files to hand on: written, read, edited with, trained on from."""

import functools
import hashlib
import json
import re
import shutil

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from flax.traverse_util import flatten_dict
from helpers import SIZE, assert_trees_close
from tiny_runs import TINY, arrays_of, run, saved_steps

from configs import emotionet
from ganimation_jax.action_units import ACTION_UNITS
from ganimation_jax.animation.animator import Animator
from ganimation_jax.animation.loading import load_model
from ganimation_jax.interop import export
from ganimation_jax.methods import ganimation
from ganimation_jax.runs import model_files, pretrained, warm_start
from ganimation_jax.runs.load import load_run
from ganimation_jax.steps import updates
from ganimation_jax.types import Batch

LARGEST = 20e6  # bytes of all models that come with the library


def rounded(params):
    return jax.tree.map(lambda x: np.asarray(x).astype(ml_dtypes.bfloat16).astype("f4"), params)


def test_a_file_holds_the_average_and_the_critic_rounded(average_run, packed):
    of_run, of_file = load_run(average_run), load_run(packed)
    average = of_run.ema["generator"]
    for got, want in (
        (of_file.nets["generator"], average),
        (of_file.ema["generator"], average),
        (of_file.nets["critic"], of_run.nets["critic"]),
    ):
        assert {x.dtype for x in jax.tree.leaves(got)} == {np.dtype("float32")}
        assert_trees_close(got, rounded(want), rtol=0)
    assert (set(of_file.nets), set(of_file.ema)) == ({"generator", "critic"}, {"generator"})
    parameters = sum(x.size for x in jax.tree.leaves(of_run.used))
    assert packed.stat().st_size < 2 * parameters + 20_000


def test_a_card_says_what_it_is_and_names_no_folder_of_its_maker(average_run, packed):
    text = packed.with_suffix(".json").read_text()
    card = json.loads(text)
    assert card["weights"]["sha256"] == hashlib.sha256(packed.read_bytes()).hexdigest()
    assert card["licence"] == "research only"
    assert "somebody" not in text
    loaded = load_run(packed.with_suffix(".json"))  # either file names the model
    assert loaded.names == ACTION_UNITS
    assert loaded.about["data"] == "nobody"


def test_scores_are_added_to_a_model_that_keeps_its_bytes(packed, tmp_path):
    before = packed.read_bytes()
    report = {
        "facts": {"step": 0},
        "sections": [{"name": "a", "scores": [{"key": "a/r", "value": 0.5}]}],
    }
    (tmp_path / "report.json").write_text(json.dumps(report))
    flags = ["--format", "safetensors", "--report", str(tmp_path / "report.json")]
    assert export.main(["--workdir", str(packed), "--out", str(packed), *flags]) == 0
    card = json.loads(packed.with_suffix(".json").read_text())
    assert card["evaluation"] == {"facts": {"step": 0}, "scores": {"a/r": 0.5}}
    assert card["licence"] == "research only"
    assert packed.read_bytes() == before


def test_it_edits_as_the_run_does_but_for_rounding(average_run, packed):
    image = np.random.default_rng(0).uniform(-1, 1, (1, SIZE, SIZE, 3)).astype("f4")
    aus = np.full((1, 17), 0.5, "f4")
    of_run, of_file = load_model(average_run), load_model(packed)
    assert (of_file.name, of_file.grey) == ("tiny", True)
    assert of_file.about["licence"] == "research only"
    assert of_file.sha256 != of_run.sha256
    edits = [model.edit(image, aus, 0 * aus) for model in (of_run, of_file)]
    np.testing.assert_allclose(edits[1].image, edits[0].image, atol=2e-2)
    np.testing.assert_allclose(of_file.read_aus(image), of_run.read_aus(image), atol=2e-2)


def damage(packed, how):
    card = packed.with_suffix(".json")
    if how == "weights":
        content = bytearray(packed.read_bytes())
        content[-1] ^= 1
        packed.write_bytes(content)
    elif how == "no weights":
        packed.unlink()
    elif how == "no card":
        card.unlink()
    elif how == "no json":
        card.write_text("{")
    elif how == "another json":
        card.write_text("{}")
    elif how == "a list":
        card.write_text('["config"]')
    elif how == "other weights":
        repack(packed, b"not safetensors at all")
    elif how == "no generator":
        arrays = safetensors.numpy.load_file(packed)
        critic = {name: array for name, array in arrays.items() if name.startswith("critic/")}
        repack(packed, safetensors.numpy.save(critic))


def repack(packed, content):
    """Other weights of which the card speaks the truth."""
    packed.write_bytes(content)
    card = packed.with_suffix(".json")
    said = json.loads(card.read_text())
    said["weights"]["sha256"] = hashlib.sha256(content).hexdigest()
    card.write_text(json.dumps(said))


def test_a_model_shared_without_its_critic_edits_and_reads_nothing(packed):
    whole = load_run(packed)
    arrays = safetensors.numpy.load_file(packed)
    kept = {name: x for name, x in arrays.items() if name.startswith("generator/")}
    repack(packed, safetensors.numpy.save(kept))
    run = load_run(packed)
    assert run.model.read is None
    assert set(run.used) == {"generator"}
    assert_trees_close(run.used["generator"], whole.used["generator"], rtol=0)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("weights", "tiny.safetensors is damaged or another version"),
        ("no weights", "tiny.safetensors does not exist"),
        ("no card", "tiny.json is missing"),
        ("no json", "tiny.json is no JSON"),
        ("another json", "it lacks config, step, weights"),
        ("a list", "holds no JSON object"),
        ("other weights", "tiny.safetensors is damaged: "),
        ("no generator", "tiny.safetensors lacks the weights of generator"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(packed, how, says):
    damage(packed, how)
    with pytest.raises((ValueError, FileNotFoundError), match=says):
        load_run(packed)


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("config.image_size", 2**20, "config.image_size is 1048576, not a number from 4 to 2048"),
        ("config.image_size", "64", "config.image_size is '64', not a number"),
        ("config.image_size", 2 * SIZE, "its weights are not those of its config: critic/"),
        ("config.action_units", "AU12", "config.action_units is 'AU12', not a list of names"),
        ("config.action_units", ["AU12"], "its weights are not those of its config"),
        ("config.generator", 7, "its config makes no model"),
        ("config.generator", {}, "its weights are not those of its config"),
        ("config.generator.width", 2**40, "config.generator.width is .*: no network is so large"),
        ("config.generator.residual_blocks", 10**9, "no network is so large"),
        ("config.generator.residual_blocks", 2, "its weights are not those of its config: gen"),
        ("config.generator.width", -4, "its config makes no model|its weights are not"),
        ("config.generator.width", "4", "its config makes no model"),
        ("config.generator.width", float("nan"), "config.generator.width is nan"),
        ("config.method", 3, "method 3 is not one of"),
        ("config.method", None, "method None is not one of"),
        ("config", [], r"config is \[\], not of type dict"),
        ("step", "many", "step is 'many', not of type int"),
        ("step", -1, "step is -1"),
        ("weights", 5, "weights is 5, not of type dict"),
        ("weights.sha256", "../../elsewhere", "it lacks a SHA-256"),
    ],
)
def test_cards_that_make_no_sense_are_one_sentence(packed, field, value, says):
    path = packed.with_suffix(".json")
    card = json.loads(path.read_text())
    *parents, name = field.split(".")
    functools.reduce(dict.__getitem__, parents, card)[name] = value
    path.write_text(json.dumps(card))
    with pytest.raises(ValueError, match=says) as refused:
        load_run(path)
    assert str(packed.with_suffix("")) in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_refused(packed, average_run, tmp_path, value):
    run = load_run(packed)
    nets = jax.tree.map(np.array, run.nets)
    leaf = jax.tree.leaves(nets["generator"])[0]
    leaf.flat[0] = value
    with pytest.raises(ValueError, match="broken.safetensors: 1 weights of generator/.* finite"):
        model_files.write(tmp_path / "broken.safetensors", nets, {})
    content = safetensors.numpy.save(
        {f"{n}/{k}": v for n, p in nets.items() for k, v in flatten_dict(p, sep="/").items()}
    )
    packed.write_bytes(content)
    path = packed.with_suffix(".json")
    card = json.loads(path.read_text())
    card["weights"]["sha256"] = hashlib.sha256(content).hexdigest()
    path.write_text(json.dumps(card))
    with pytest.raises(ValueError, match="tiny.safetensors: 1 weights of generator/.* not finite"):
        load_run(packed)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--out", "x.npz", "--format", "safetensors"], "written as NAME.safetensors"),
        (["--out", "x.onnx", "--about", "a.json"], "are for --format safetensors"),
        (
            ["--out", "x.safetensors", "--format", "safetensors", "--report", "a.json"],
            "is not a report of",
        ),
    ],
)
def test_an_export_that_makes_no_sense_is_refused(average_run, tmp_path, flags, says, capsys):
    (tmp_path / "a.json").write_text("{}")
    placed = [str(tmp_path / flag) if "." in flag else flag for flag in flags]
    assert export.main(["--workdir", str(average_run), *placed]) == 2
    assert says in capsys.readouterr().err


# Those that come with the library


@pytest.mark.parametrize("name", pretrained.NAMES)
def test_what_comes_with_the_library_is_whole(name):
    model = load_run(name)
    card = model.about
    assert {"licence", "data", "evaluation"} <= card.keys()
    assert card["evaluation"]["facts"]["step"] == model.step > 0
    assert card["evaluation"]["facts"]["run"].startswith(name)
    assert not model.config["data"]["dir"]
    image, aus = jnp.zeros((1, *(model.image_size,) * 2, 3)), jnp.zeros((1, 17))
    wanted = jax.eval_shape(model.model.init, jax.random.key(0), Batch(image, aus, aus))
    assert {k: v.shape for k, v in flatten_dict(model.nets).items()} == {
        k: v.shape for k, v in flatten_dict(wanted).items()
    }


def test_the_default_can_be_trained_on_by_its_config():
    cfg = emotionet.get_config("people")
    init = updates.make_init(ganimation.model(cfg), ganimation.build_optimizers(cfg))
    shapes = jax.eval_shape(init, jax.random.key(0))
    warm_start.check_fits(
        load_run(pretrained.DEFAULT), shapes, cfg.action_units, pretrained.DEFAULT
    )


def test_networks_that_are_only_trained_begin_at_random(caplog):
    cfg = emotionet.get_config("sharpen")
    init = updates.make_init(ganimation.model(cfg), ganimation.build_optimizers(cfg))
    state = jax.jit(init)(jax.random.key(0))
    loaded = load_run(pretrained.DEFAULT)
    with caplog.at_level("INFO"):
        warm_start.check_fits(loaded, state, cfg.action_units, pretrained.DEFAULT)
    assert "has no pair_critic: it begins at random" in caplog.text
    begun = warm_start.with_weights(state, loaded)
    assert begun.nets["pair_critic"] is state.nets["pair_critic"]
    assert begun.nets["generator"] is loaded.nets["generator"]
    headless = loaded._replace(nets={"generator": loaded.nets["generator"]})
    with pytest.raises(ValueError, match="another critic"):
        warm_start.check_fits(headless, state, cfg.action_units, "there")


def test_they_are_small_and_one_is_the_default():
    sizes = [path.stat().st_size for path in pretrained.FOLDER.iterdir() if path.is_file()]
    assert sum(sizes) < LARGEST
    assert pretrained.DEFAULT in pretrained.NAMES


def test_a_name_is_a_model_unless_there_is_such_a_folder(tmp_path, monkeypatch, average_run):
    monkeypatch.chdir(tmp_path)
    with Animator.load(pretrained.DEFAULT) as animator:
        assert animator.model.name == pretrained.DEFAULT
    shutil.copytree(average_run, tmp_path / pretrained.DEFAULT)
    assert load_run(pretrained.DEFAULT).image_size == SIZE


# Training on from one


@pytest.mark.slow
def test_a_run_begins_with_the_weights_it_is_told(packed, tmp_path):
    # So small a rate that what is saved is what was begun with.
    still = ("--config.lr=1e-12", "--config.epochs=0.0625", "--config.every.checkpoint=1")
    init = f"--config.init_from={packed}"
    output = run(tmp_path / "run", *TINY, *still, init)
    assert "training ganimation on" in output
    begun = load_run(packed)
    packed.unlink()  # it is not needed again
    assert "resuming after step 1" in run(tmp_path / "run", *TINY, *still, init)
    saved = arrays_of(tmp_path / "run", 1)
    for path, want in flatten_dict(begun.used).items():
        where = "['nets']" + "".join(f"['{part}']" for part in path)
        np.testing.assert_allclose(saved[where], want, atol=1e-9, rtol=0)


@pytest.mark.slow
def test_weights_that_do_not_fit_are_refused_before_anything_runs(packed, tmp_path):
    flags = (*TINY, f"--config.init_from={packed}")
    for wrong, says in (
        (("--config.generator.width=8",), "another generator: .*generator.width=4"),
        (("--config.image_size=32",), "another critic: .*image_size=16"),
        (("--config.action_units=('AU12','AU06')",), "set action_units to those"),
        (("--config.init_from=nowhere",), "no checkpoint in nowhere"),
    ):
        output = run(tmp_path / "run", *flags, *wrong, expect=2)
        assert output.startswith("error: ")
        assert len(output.splitlines()) == 1
        assert re.search(says, output), output
    assert not saved_steps(tmp_path / "run")


def test_differences_are_named_shortly(average_run, initial_state):
    loaded = load_run(average_run)
    grown = jax.tree.map(lambda x: np.zeros((*x.shape, 2)), loaded.nets)
    with pytest.raises(ValueError, match="and [0-9]+ more"):
        warm_start.check_fits(loaded._replace(nets=grown), initial_state, ACTION_UNITS, "there")
