"""The benchmark of any method's step: what it measures, from a config."""

import numpy as np
import pytest

from configs import cyclegan, stargan
from ganimation_jax import config_words, methods
from ganimation_jax.bench import method_step
from ganimation_jax.bench.__main__ import main
from ganimation_jax.types import DataFacts


def tiny(config):
    cfg = config.get_config("smoke")
    cfg.image_size = 16
    cfg.generator.update(width=4, residual_blocks=1)
    cfg.critic.update(width=4, depth=2)
    return method_step.with_conditions(cfg)


def batch_of(cfg):
    method = methods.load(cfg.method)
    model = method.model(cfg)
    shown = {one.name: 5 for one in model.conditions}
    return method_step.random_batch(cfg, model, method.training(cfg, DataFacts(10, 0.1, shown)))


def test_batches_are_what_the_methods_ask_for():
    one, two = batch_of(tiny(stargan)), batch_of(tiny(cyclegan))
    assert one["image"].shape == (2, 8, 16, 16, 3)
    assert one["want"].shape == (2, 8, 8)
    assert set(np.unique(one["have"])) == {0, 1}
    assert "other" not in one
    assert two["image"].shape == two["other"].shape == (1, 8, 16, 16, 3)


def test_labels_that_drawn_faces_lack_can_be_measured():
    cfg = method_step.with_conditions(stargan.get_config())
    hair = ("hair=Black_Hair", "hair=Blond_Hair", "hair=Brown_Hair")
    assert cfg.conditions == (*hair, "Male", "Young")
    assert len(method_step.with_conditions(stargan.get_config("emotions")).conditions) == 8


def test_configs_are_loaded_by_name():
    cfg = config_words.load("cyclegan:large")
    assert (cfg.method, cfg.image_size, cfg.generator.residual_blocks) == ("cyclegan", 256, 9)
    with pytest.raises(ValueError, match="no preset 'huge'"):
        config_words.load("cyclegan:huge")
    with pytest.raises(ValueError, match="there is no file nothing"):
        config_words.load("nothing")


def test_a_config_is_for_the_step(capsys):
    assert main(["exact", "--config=stargan:smoke"]) == 2
    assert "bench step" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("config", [stargan, cyclegan], ids=["stargan", "cyclegan"])
def test_the_step_is_measured(config):
    cfg = tiny(config)
    ((table, row),) = method_step.run(cfg, repeats=1)
    assert table == "method_step"
    assert row["method"] == cfg.method
    images = row["batch"] * row["batches"]
    assert row["images_per_s"] == pytest.approx(images / (row["median_ms"] / 1e3))
