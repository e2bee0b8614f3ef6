import re

import jax.numpy as jnp
import numpy as np
import pytest
from absl import flags
from flax.traverse_util import flatten_dict
from helpers import ROOT
from ml_collections import config_flags

from configs import emotionet
from ganimation_jax.methods import ganimation
from ganimation_jax.steps.optimizers import decay_factor
from ganimation_jax.training.preflight import json_config
from ganimation_jax.types import DataFacts

DIFFERENCES = {
    "paper": {},
    "official": {
        "decay": "by_epoch",
        "data.clip_targets": False,
        "loss.attention_norm": "l1",
        "loss.separate_penalty": True,
        "loss.total_variation": 2.5e-4,  # 1e-5, summed over a batch of 25
    },
    "replicate": {
        "decay": "by_next_epoch",
        "data.clip_targets": False,
        "generator.norm_affine": False,
        "generator.conv_bias": True,
        "loss.attention": 0.0,
        "loss.total_variation": 0.0,
    },
    "recommended": {"lr": 3e-4, "n_critic": 2},
    "wgan": {
        "loss.penalty": 0.0,
        "loss.clip": 0.01,
        "optimizer": "rmsprop",
        "lr": 5e-5,
        "critic_start": 100,
    },
}


def fields(cfg):
    return flatten_dict(json_config(cfg), sep=".")


@pytest.mark.parametrize("preset", DIFFERENCES)
def test_differences_from_the_paper(preset):
    paper, other = fields(emotionet.get_config()), fields(emotionet.get_config(preset))
    assert paper.keys() == other.keys()
    different = {name: value for name, value in other.items() if value != paper[name]}
    expected = DIFFERENCES[preset]
    assert different.keys() == expected.keys()
    assert different == pytest.approx(expected)


@pytest.mark.parametrize("preset", DIFFERENCES)
def test_all_can_be_built(preset, monkeypatch):
    built, step = [], ganimation.step
    monkeypatch.setattr(
        ganimation, "step", lambda *args, **options: built.append(args) or step(*args, **options)
    )
    training = ganimation.training(emotionet.get_config(preset), DataFacts(1000, 0.1))
    ((aims, optimizers),) = built
    assert len(aims.critic) == (2 if preset == "official" else 1)
    assert optimizers is training.optimizers


def test_unknown_preset_names_those_there_are():
    with pytest.raises(ValueError, match="no preset 'offical'.* official, replicate, recommended"):
        emotionet.get_config("offical")


def parse(preset, *args):
    """A config from a real command line."""
    values = flags.FlagValues()
    argv = ["main", f"--config={ROOT / 'configs' / 'emotionet.py'}:{preset}", *args]
    config = config_flags.DEFINE_config_file(
        "config", flag_values=values, lock_config=True, sys_argv=argv
    )
    values(argv)
    return config.value


# ml_collections loads the file in a way that Python 3.12 still has, deprecated.
parses = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")


@parses
@pytest.mark.parametrize("batch_size", [25, 16, 64])
def test_official_weights_move_with_the_batch(batch_size):
    cfg = parse("official", f"--config.batch_size={batch_size}")
    assert cfg.loss.aus == pytest.approx(4000 / batch_size)
    assert cfg.loss.total_variation == pytest.approx(1e-5 * batch_size)
    assert json_config(cfg)["loss"]["aus"] == cfg.loss.aus  # what a checkpoint remembers


@parses
def test_official_weights_can_be_set_all_the_same():
    cfg = parse("official", "--config.loss.aus=100", "--config.batch_size=16")
    assert cfg.loss.aus == 100
    assert cfg.loss.total_variation == pytest.approx(1.6e-4)


@parses
@pytest.mark.parametrize("preset", ["paper", "replicate", "recommended"])
def test_other_presets_do_not_move_with_the_batch(preset):
    cfg = parse(preset, "--config.batch_size=16")
    assert cfg.loss.to_dict() == emotionet.get_config(preset).loss.to_dict()


# Share of the rate in the middle of each of the 30 epochs.
SCHEDULES = {
    "paper": lambda epoch: min(1, (30 - (epoch - 0.5)) / 10),
    "official": lambda epoch: min(1, (31 - epoch) / 10),  # lowered after the 21st
    "replicate": lambda epoch: min(1, (30 - epoch) / 10),
}


@pytest.mark.parametrize("preset", SCHEDULES)
def test_schedule(preset):
    cfg = emotionet.get_config(preset)
    epochs = np.arange(1, 31)
    got = decay_factor(jnp.asarray(epochs - 0.5), cfg.epochs, cfg.decay_epochs, cfg.decay)
    np.testing.assert_allclose(got, [SCHEDULES[preset](e) for e in epochs], atol=1e-6)


def test_landmarks_of_the_published_schedules():
    def rate(preset, epoch):  # within that epoch, 1 is the first
        cfg = emotionet.get_config(preset)
        return cfg.lr * float(decay_factor(epoch - 0.01, cfg.epochs, cfg.decay_epochs, cfg.decay))

    assert rate("official", 21) == pytest.approx(1e-4)
    assert rate("official", 30) == pytest.approx(1e-5)
    assert rate("replicate", 20) == pytest.approx(1e-4)
    assert rate("replicate", 21) == pytest.approx(9e-5)
    assert rate("replicate", 30) == 0


def test_two_critic_updates_to_a_batch_do_not_hasten_the_schedule():
    """The rate that Adam takes depends on images, whatever the number of updates."""
    cfg = emotionet.get_config("official")
    cfg.update(batch_size=1, n_critic=2, epochs=4.0, decay_epochs=2.0, lr=1.0, adam=(0.0, 0.0))
    for critic_losses in (1, 2):
        cfg.loss.separate_penalty = critic_losses == 2
        optimizer = ganimation.build_optimizers(cfg, epoch=2)["critic"].transform
        params = np.zeros(())
        opt_state, steps = optimizer.init(params), []
        for _ in range(4 * 2 * critic_losses):  # four epochs of one step each
            update, opt_state = optimizer.update(np.ones(()), opt_state, params)
            steps.append(-float(update))
        expected = np.repeat([1, 1, 1, 0.5], 2 * critic_losses)
        np.testing.assert_allclose(steps, expected, rtol=1e-5)


def test_the_table_names_every_preset_and_every_difference():
    table = (ROOT / "docs" / "methods.md").read_text()
    for preset, difference in DIFFERENCES.items():
        assert f"`{preset}`" in table
        for name in difference:
            assert re.search(rf"`{name}`|`{name.split('.')[-1]}`", table), name
