"""A method that no room knows: it trains, resumes, evaluates and animates without a change.

Two generators, two critics, an image pool, two phases, one binary condition.
"""

import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tiny_runs import assert_same_arrays, tiny_config

from ganimation_jax import methods
from ganimation_jax.animation.animator import Animator
from ganimation_jax.conditions import Domain, parse
from ganimation_jax.data.pipeline import build_source, shown
from ganimation_jax.evaluation.command import evaluate
from ganimation_jax.interop.stablehlo import load_exported, save_exported
from ganimation_jax.runs.load import load_run
from ganimation_jax.steps.optimizers import guarded
from ganimation_jax.steps.updates import Aux, Update, alternating, supervised
from ganimation_jax.training.loop import train
from ganimation_jax.types import (
    Condition,
    Edit,
    Model,
    Monitor,
    Optimizer,
    Phase,
    Sampling,
    Training,
)

pytestmark = pytest.mark.usefixtures("plain_convolutions")

GENERATORS, CRITICS = ("there", "back"), ("critic_there", "critic_back")


def painted(nets, image, smiling):
    """One generator smiles, the other stops it: each adds a colour."""
    shift = jnp.where(smiling > 0.5, nets["there"]["shift"], nets["back"]["shift"])
    return jnp.tanh(image + shift[:, None, None])


def model(cfg):
    def init(key, batch):
        keys = jax.random.split(key, 4)
        names = GENERATORS + CRITICS
        drawn = zip(names, keys, strict=True)
        return {name: {"shift": 0.1 * jax.random.normal(k, (3,))} for name, k in drawn}

    return Model(
        conditions=parse(cfg.get("conditions", ())) or (Condition("AU12", "binary"),),
        image_size=cfg.image_size,
        init=init,
        edit=lambda nets, image, want, have: Edit(painted(nets, image, want)),
        read=None,
        edits_with=GENERATORS,
        averaged=("there",),
    )


def copies(moving, given):
    """Phase one: both generators learn to leave the face as it is."""
    made = painted(moving, given.batch.image, given.batch.want)
    loss = jnp.abs(made - given.batch.image).mean()
    return loss, Aux({"generators/copy": loss})


def realism(nets, image):
    return sum(jnp.tanh((image * nets[name]["shift"]).mean((1, 2, 3))) for name in CRITICS)


def critic_loss(moving, given):
    loss = (realism(moving, given.fakes) - realism(moving, given.batch.image)).mean()
    return loss, Aux({"critics/gap": loss})


def generator_loss(moving, given):
    loss = -realism(given.nets, painted(moving, given.batch.image, given.batch.want)).mean()
    return loss, Aux({})


def swap(pool, fakes, key):
    return fakes[: len(pool)], fakes.at[: len(pool)].set(pool)


def training(cfg, facts):
    adam = guarded(optax.adam(1e-2))
    optimizers = {"generators": Optimizer(GENERATORS, adam), "critics": Optimizer(CRITICS, adam)}
    adversarial = alternating(
        optimizers,
        fakes=lambda nets, batch, key: painted(nets, batch.image, batch.want),
        critic=[Update("critics", critic_loss)],
        generator=[Update("generators", generator_loss)],
        order="at_once",
        recall=swap,
    )
    copying = supervised(optimizers, [Update("generators", copies)])
    side = cfg.image_size
    return Training(
        phases=(Phase("copy", 1, copying), Phase("adversarial", 3, adversarial)),
        sampling=Sampling(batches=1, domains=cfg.get("domains")),
        optimizers=optimizers,
        init_memory=lambda nets: jnp.zeros((4, side, side, 3)),
        monitors=(Monitor("gap", ("critics/gap",), float, 9.0, True, "It is wide", "Narrow it"),),
        console=("critics/gap",),
    )


@pytest.fixture(scope="module", autouse=True)
def toy():
    module = types.ModuleType("ganimation_jax.methods.toy")
    module.model, module.training, module.check = model, training, lambda cfg: None
    module.MODEL_FIELDS = ("image_size",)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(methods, "METHODS", (*methods.METHODS, "toy"))
        patch.setitem(sys.modules, module.__name__, module)
        yield


def config(**changes):
    return tiny_config(method="toy", action_units=("AU12",), epochs=0.5, **changes)


@pytest.fixture(scope="module")
def whole(toy, tmp_path_factory):
    """A run from start to end."""
    workdir = tmp_path_factory.mktemp("whole")
    assert train(config(), workdir)
    return workdir


def test_trains_saves_and_resumes_bit_for_bit(whole, tmp_path, monkeypatch):
    broken, saves = tmp_path / "broken", []

    def stop_late(self):
        saves.append(0)
        return len(saves) == 7  # in the second phase

    with monkeypatch.context() as patch:
        patch.setattr("ganimation_jax.parallel.processes.Preemption.asked", stop_late)
        assert not train(config(), broken)
    assert train(config(), broken)
    assert_same_arrays(whole, broken, 16)
    run = load_run(whole)
    assert set(run.nets) == {*GENERATORS, *CRITICS}
    assert set(run.ema) == {"there"}
    text = (whole / "metrics.jsonl").read_text()
    assert "generators/copy" in text.splitlines()[0]
    assert "critics/gap" in text.splitlines()[-2]  # the last record is the evaluation


@pytest.mark.filterwarnings("ignore:Frechet distance from 8 samples")
def test_is_evaluated_without_a_reader_or_a_mask(whole):
    lines = evaluate(config(), whole)
    assert "report:" in lines[-1]
    page = (whole / "report" / "index.html").read_text()
    assert "attention/mean" not in page


def test_animates_and_is_exported(whole, tmp_path):
    run = load_run(whole)
    face = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    with Animator.load(whole) as animator:
        edited = animator.edit(face, np.ones(1, np.float32), aligned=True)
    image = face[None].astype(np.float32) / 127.5 - 1
    want = np.tanh(image + np.asarray(run.used["there"]["shift"]))
    np.testing.assert_allclose(edited, (want[0] + 1) * 127.5, atol=1)
    save_exported(tmp_path / "toy.ganimation", run.model, run.used, {})
    exported = load_exported(tmp_path / "toy.ganimation")
    np.testing.assert_allclose(exported(image, np.ones((1, 1))).image, want, atol=1e-5)
    assert exported(image, np.ones((1, 1))).attention is None


def test_trains_on_a_label_and_two_domains(tmp_path, caplog):
    """The epoch is of the larger domain; what is asked for is found in the dataset and saved."""
    words = {"conditions": ("emotion",), "data__labels": True, "data__expressions": 8}
    with pytest.raises(ValueError, match="'smile' is not in the dataset, which has AU01 "):
        train(config(**words | {"conditions": ("smile",)}), tmp_path / "none")
    assert not (tmp_path / "none").exists()
    words["conditions"] = ("Eyeglasses",)
    cfg = config(**words)
    cfg.domains = (Domain("happy"), Domain("Eyeglasses", shown=False))
    faces = build_source(cfg, "train")
    bare = len(faces) - shown(faces)["Eyeglasses"]
    assert bare > len(faces) / 2 > shown(faces)["happy"]
    with caplog.at_level("INFO", "ganimation_jax"):
        assert train(cfg, tmp_path / "run")
    assert f"{-(-bare // 2 // cfg.batch_size)} steps" in caplog.text
    run = load_run(tmp_path / "run")
    assert run.model.conditions == (Condition("Eyeglasses", "binary"),)
    assert run.config["conditions"] == ["Eyeglasses"]
