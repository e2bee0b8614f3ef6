import jax
import numpy as np
import pytest

from configs import celeba, cyclegan, diat, emotionet, icgan, lfw_openface, stargan, synthetic
from ganimation_jax import methods
from ganimation_jax.conditions import EMOTIONS
from ganimation_jax.data.pipeline import build_source, resolve_conditions
from ganimation_jax.interop.stablehlo import load_exported, save_exported
from ganimation_jax.reports.samples import wanted
from ganimation_jax.steps import updates
from ganimation_jax.training.preflight import check, check_continues, json_config
from ganimation_jax.types import Batch, Condition, DataFacts

CONFIGS = {
    "emotionet": emotionet.get_config(),
    "emotionet:official": emotionet.get_config("official"),
    "emotionet:replicate": emotionet.get_config("replicate"),
    "emotionet:people": emotionet.get_config("people"),
    "emotionet:sharpen": emotionet.get_config("sharpen"),
    "celeba": celeba.get_config(),
    "lfw_openface:cpu": lfw_openface.get_config("cpu"),
    "synthetic": synthetic.get_config(),
    "synthetic:published": synthetic.get_config("published"),
}
NEIGHBOURS = {
    f"{module.__name__.removeprefix('configs.')}:{preset}": module.get_config(preset)
    for module, presets in {
        stargan: tuple(stargan.PRESETS),
        cyclegan: tuple(cyclegan.PRESETS),
        icgan: ("published", "smoke"),
        diat: tuple(diat.PRESETS),
    }.items()
    for preset in presets
}
# Presets whose step is another's of these need only be checked. Each method's own tests train its
# smoke presets.
SAME_STEP = ("stargan:published", "stargan:emotions", "cyclegan:large", "cyclegan:paper")
CONFIGS |= {
    name: cfg for name, cfg in NEIGHBOURS.items() if name not in SAME_STEP and "smoke" not in name
}


class Labelled:
    """A dataset with the labels that the configs name."""

    conditions = (
        *(Condition(name, "binary") for name in (*icgan.ATTRIBUTES, "Young")),
        *(Condition(name, "one_of", "emotion") for name in EMOTIONS),
    )


@pytest.mark.parametrize("image_size", [64, 256])
def test_other_sizes_have_a_critic(image_size):
    cfg = emotionet.get_config()
    cfg.image_size = image_size
    check(cfg, devices=1)
    model = methods.load(cfg.method).model(cfg)
    image = np.zeros((1, image_size, image_size, 3), np.float32)
    nets = jax.eval_shape(
        model.init, jax.random.key(0), Batch(image, image[:, 0, :17, 0], image[:, 0, :17, 0])
    )
    assert model.read is not None
    assert jax.eval_shape(model.read, nets, image).shape == (1, 17)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.usefixtures("plain_convolutions")
def test_every_config_makes_a_train_step(name):
    cfg = resolve_conditions(CONFIGS[name], Labelled())
    # One update of each kind and one residual block: their number does not change any shape.
    cfg.n_critic = 1
    for network in ("generator", "transform"):
        if network in cfg:
            cfg[network].residual_blocks = 1
    check(cfg, devices=1)
    method = methods.load(cfg.method)
    names = [condition.name for condition in Labelled.conditions]
    facts = DataFacts(40_000, 0.1, dict.fromkeys(names, 5_000))
    model, training = method.model(cfg), method.training(cfg, facts)
    if "action_units" in cfg:
        assert model.names == tuple(cfg.action_units)
    init = updates.make_init(model, training.optimizers, training.init_memory)
    state = jax.eval_shape(init, jax.random.key(0))
    leading = (training.sampling.batches, cfg.batch_size)
    assert leading[0] == cfg.n_critic
    aus = jax.ShapeDtypeStruct((*leading, len(model.names)), np.float32)
    image = jax.ShapeDtypeStruct((*leading, cfg.image_size, cfg.image_size, 3), np.uint8)
    batches = Batch(image, aus, aus)
    if training.sampling.paired:
        batches = batches._replace(other=image, paired=jax.ShapeDtypeStruct(leading, bool))
    elif training.sampling.domains:
        batches = batches._replace(other=image)
    if training.sampling.wrong:
        batches = batches._replace(wrong=aus)
    frozen = frozen_of(training)
    for phase in training.phases:
        after, metrics = jax.eval_shape(phase.step, state, batches, jax.random.key(0), frozen)
        assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == jax.tree.map(
            lambda x: (x.shape, x.dtype), state
        )
        assert {x.dtype for x in jax.tree.leaves(after.nets)} == {np.dtype("float32")}
        assert all(x.shape == () and x.dtype == np.float32 for x in metrics.values())
    assert sum(phase.share for phase in training.phases) == pytest.approx(1)


@pytest.mark.parametrize("name", NEIGHBOURS)
def test_every_preset_of_the_neighbours_can_be_trained(name):
    check(resolve_conditions(NEIGHBOURS[name], Labelled()), devices=1)


def frozen_of(training):
    """Shapes of what is not trained."""
    try:
        return jax.eval_shape(training.load_frozen)
    except ImportError as error:
        pytest.skip(str(error))


def test_the_default_is_the_paper():
    cfg = emotionet.get_config()
    assert (cfg.batch_size, cfg.n_critic, cfg.epochs, cfg.decay_epochs) == (25, 5, 30, 10)
    assert (cfg.lr, cfg.adam, cfg.image_size) == (1e-4, (0.5, 0.999), 128)
    assert cfg.loss.aus == 4000 / 25
    weights = cfg.loss
    assert (weights.penalty, weights.cycle, weights.attention) == (10, 10, 0.1)
    assert weights.total_variation == 1e-4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 25}, "batch_size 25 is not divisible by 8 devices; use 24 or 32"),
        ({"batch_size": 4}, "batch_size 4 is not divisible by 8 devices; use 8"),
        ({"image_size": 100}, "image_size 100 does not halve"),
        ({"critic.depth": 9}, "image_size 128 does not halve 9 times"),
        ({"method": "gan"}, "method 'gan' is not one of ganimation"),
        ({"dtype": "float16"}, "dtype 'float16' is neither"),
        ({"n_critic": 0}, "n_critic is 0; it must be above 0"),
        ({"generator.condition": "add"}, "generator.condition .add. is not one of concat, film"),
        ({"generator.upsample": "nearest"}, "generator.upsample 'nearest' is not one"),
        ({"generator.patch": 0}, "generator.patch is 0"),
        ({"generator.patch": 3}, "image_size 128 .* not a multiple of 12"),
        ({"generator.motion": -1.0}, "generator.motion is -1.0 pixels"),
        ({"pairs_first": 0.5}, "pairs_first is 0.5, which needs loss.paired and data.paired"),
        ({"pairs_first": 1.5}, "pairs_first is 1.5; it is a share"),
        (
            {"pairs_first": 0.5, "loss.paired": 1.0, "data.paired": 1.0},
            "pairs_first is 0.5 and n_critic 5; it must be 1",
        ),
        ({"decay": "step"}, "decay 'step' is not one of smooth"),
        ({"every.log": 0}, "every.log is 0"),
    ],
)
def test_what_cannot_run_is_refused_before_compiling(changes, message):
    cfg = emotionet.get_config()
    cfg.batch_size = 32
    cfg.update_from_flattened_dict(changes)
    with pytest.raises(ValueError, match=message):
        check(cfg, devices=8)


def test_missing_data_says_what_to_do(tmp_path):
    cfg = emotionet.get_config()
    with pytest.raises(ValueError, match=r"--config.data.dir=DIR"):
        build_source(cfg, "train")
    cfg.data.dir = str(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"ganimation prepare photos"):
        build_source(cfg, "train")
    cfg.data.source = "web"
    with pytest.raises(ValueError, match="data.source 'web'"):
        build_source(cfg, "train")
    cfg = synthetic.get_config()
    cfg.data.size = 0
    with pytest.raises(ValueError, match="data.size 0"):
        build_source(cfg, "train")


@pytest.mark.parametrize(
    "module", [cyclegan, diat, emotionet, icgan, lfw_openface, stargan, synthetic]
)
def test_unknown_presets_are_refused_with_the_known_ones(module):
    with pytest.raises(ValueError, match="no preset 'best'.*: "):
        module.get_config("best")


def test_a_run_continues_with_its_own_config_only(tmp_path):
    config = json_config(emotionet.get_config())
    other = emotionet.get_config()
    other.batch_size, other.loss.cycle, other.every.log, other.mesh.fsdp = 50, 5.0, 1, 2
    note = {"step": 7, "config": config}
    with pytest.raises(ValueError, match=r"batch_size: 25 -> 50; loss.cycle: 10.0 -> 5.0\)"):
        check_continues(note, json_config(other), tmp_path)
    other.batch_size, other.loss.cycle = 25, 10.0
    check_continues(note, json_config(other), tmp_path)  # logging and devices may change


def test_imported_weights_need_only_the_same_model(tmp_path):
    config = json_config(emotionet.get_config())
    other = emotionet.get_config()
    other.batch_size = 50
    check_continues({"step": 0, "config": config}, json_config(other), tmp_path)
    other.generator.width = 32
    with pytest.raises(ValueError, match="generator.width: 64 -> 32"):
        check_continues({"step": 0, "config": config}, json_config(other), tmp_path)


def test_sample_targets_use_the_units_there_are():
    have = np.full((1, 2), 0.5, np.float32)
    targets = wanted((Condition("AU12"), Condition("AU04")), have)
    np.testing.assert_allclose(targets["happy"], [[0.8, 0]])
    np.testing.assert_allclose(targets["angry"], [[0, 0.8]])
    assert "surprised" not in targets
    np.testing.assert_allclose(wanted((Condition("AU45"),), have[:, :1])["all"], [[0.8]])


@pytest.mark.parametrize("name", [name for name in NEIGHBOURS if "smoke" in name])
def test_every_method_is_exported_for_any_number_of_faces(name, tmp_path, plain_convolutions):
    cfg = NEIGHBOURS[name]
    model = methods.load(cfg.method).model(resolve_conditions(cfg, Labelled()))
    side = model.image_size
    image = np.zeros((1, side, side, 3), np.float32)
    vector = np.zeros((1, len(model.conditions)), np.float32)
    batch = Batch(image, vector, vector, image)
    shapes = jax.eval_shape(model.init, jax.random.key(0), batch)
    nets = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)
    save_exported(tmp_path / "model.ganimation", model, nets, {})
    assert load_exported(tmp_path / "model.ganimation")
    if model.read is not None:  # commands keep both programs for the next start
        (count,) = jax.export.symbolic_shape("b")
        images = jax.ShapeDtypeStruct((count, side, side, 3), np.float32)
        assert jax.export.export(jax.jit(model.read))(nets, images).serialize()
