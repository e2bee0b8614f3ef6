"""DIAT as a method of the library: networks, masks, phases, edits, configs, short runs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import diat as configs
from ganimation_jax import methods
from ganimation_jax.conditions import Domain
from ganimation_jax.evaluation.command import evaluate
from ganimation_jax.faces.crops import CANONICAL_EYES
from ganimation_jax.features import perceptual
from ganimation_jax.files import assets
from ganimation_jax.methods import diat, diat2018, diat_masks, diat_parts
from ganimation_jax.models.diat import Mask, UNet, blurred, edited_share, widths
from ganimation_jax.runs.load import load_run
from ganimation_jax.steps import updates
from ganimation_jax.training.loop import train
from ganimation_jax.types import Batch, DataFacts, parameter_count

pytestmark = pytest.mark.usefixtures("plain_convolutions")

RNG = np.random.default_rng(0)
FACTS = DataFacts(64, 0.1, {"happy": 8, "neutral": 8, "Smiling": 30})


def config(preset, **changes):
    """A preset as a run sees it, its conditions resolved."""
    cfg = configs.get_config(preset)
    cfg.conditions = tuple("emotion=happy" if one == "happy" else one for one in cfg.conditions)
    cfg.update_from_flattened_dict(
        {name.replace("__", "."): value for name, value in changes.items()}
    )
    return cfg


def modules(cfg):
    return methods.load(cfg.method)


def weights_missing():
    try:
        assets.locate(perceptual.vgg16.ASSET._replace(url=""))
    except FileNotFoundError as error:
        return str(error)
    return ""


needs_vgg16 = pytest.mark.skipif(bool(weights_missing()), reason=weights_missing() or "-")


# Networks and masks


def shapes_of(preset):
    cfg = config(preset)
    image = jnp.zeros((1, cfg.image_size, cfg.image_size, 3))
    condition = jnp.zeros((1, 1))
    init = modules(cfg).model(cfg).init
    return jax.eval_shape(init, jax.random.key(0), Batch(image, condition, condition))


def test_the_transform_network_has_the_size_of_johnsons():
    nets = shapes_of("2016")
    for name in ("transform", "reconstruction", "enhancement"):
        assert parameter_count(nets[name]) == 1_679_235
    assert nets["critic"]["score"]["kernel"].shape == (4 * 4 * 512, 1)
    assert set(shapes_of("adaptive")) == {"transform", "critic", "enhancement"}


def test_the_unet_has_ten_convolutions_and_the_mask_network_five():
    nets = shapes_of("2018")
    kernels = [name for name in nets["transform"] if "kernel" in nets["transform"][name]]
    assert len(kernels) == 10
    assert sum("kernel" in layer for layer in nets["mask"].values()) == 5
    mask = jax.eval_shape(Mask().init_with_output, jax.random.key(0), jnp.zeros((1, 128, 128, 3)))
    assert mask[0].shape == (1, 32, 32, 1)
    assert widths(32, 6) == (32, 64, 128, 256, 256, 256)


def test_the_unet_reaches_from_every_pixel_to_every_pixel():
    """Its smallest map sees all of the image, and skips keep what is in place."""
    net = UNet((4, 8, 8))
    image = RNG.uniform(-1, 1, (1, 16, 16, 3)).astype(np.float32)
    made, params = jax.jit(net.init_with_output)(jax.random.key(0), image)
    assert made.shape == image.shape
    changed = image.copy()
    changed[0, 0, 0] += 1
    difference = np.abs(jax.jit(net.apply)(params, changed) - made).sum(-1)[0]
    assert (difference > 0).all()


def test_blur_of_a_point_and_of_a_constant():
    point = np.zeros((1, 9, 9, 1), np.float32)
    point[0, 4, 4] = 1
    at = np.exp(-(np.arange(-2, 3) ** 2) / 2)
    kernel = np.outer(at, at) / at.sum() ** 2
    np.testing.assert_allclose(blurred(point, 5, 1.0)[0, 2:7, 2:7, 0], kernel, rtol=1e-5)
    np.testing.assert_allclose(blurred(np.ones((1, 6, 7, 2), np.float32), 5, 1.0), 1, rtol=1e-6)


def test_the_mask_passes_gradients_straight_through():
    soft = jnp.asarray(RNG.uniform(0, 0.5, (1, 4, 4, 1)), jnp.float32)
    soft = soft.at[:, :, 2:].add(0.5)  # the right half is chosen
    share, grad = jax.jit(jax.value_and_grad(lambda x: edited_share(x)[:, :, :10].sum()))(soft)
    # Rows of ten pixels: two chosen, and the blur moves as much over the edge as it takes away.
    np.testing.assert_allclose(share, 16 * 2, rtol=1e-5)
    columns = grad[0, :, :, 0].sum(axis=0) / 16  # pixels of a row that each square stands for
    np.testing.assert_allclose(columns.sum(), 10, rtol=1e-5)
    assert columns[0] == pytest.approx(4, abs=1e-5)
    assert columns[3] == 0
    assert columns[2] == pytest.approx(2, abs=1e-5)


@pytest.mark.parametrize("region", diat_masks.REGIONS)
def test_masks_follow_the_eyes(region):
    canonical = diat_masks.mask(region, CANONICAL_EYES, 128)[..., 0]
    np.testing.assert_array_equal(canonical, canonical[:, ::-1])  # symmetric
    # The same faces in the corner of a crop of twice the side.
    eyes = tuple((x / 2, y / 2) for x, y in CANONICAL_EYES)
    wide = diat_masks.mask(region, eyes, 256)[..., 0]
    np.testing.assert_array_equal(wide[:128, :128], canonical)
    assert not wide[128:].any()
    assert not wide[:, 128:].any()


def test_masks_hold_their_part_of_the_face():
    points = {"mouth": (0.5, 0.72), "eyes": CANONICAL_EYES[0], "face": (0.5, 0.55)}
    for region, (x, y) in points.items():
        mask = diat_masks.mask(region, CANONICAL_EYES, 64)[..., 0]
        assert mask[int(y * 64), int(x * 64)] == 1
        assert mask[0].sum() == mask[:, 0].sum() == 0
    mouth, eyes, face = (diat_masks.mask(name, CANONICAL_EYES, 64) for name in points)
    assert not (mouth * eyes).any()
    assert (face >= np.maximum(mouth, eyes)).all()
    assert 0.04 < mouth.mean() < eyes.mean() < 0.2 < face.mean() < 0.6
    with pytest.raises(ValueError, match="'nose' is not one of mouth, eyes, face"):
        diat_masks.mask("nose", CANONICAL_EYES, 64)


# Edits


def edits(preset, **changes):
    cfg = config(preset, **changes)
    model = modules(cfg).model(cfg)
    image = RNG.uniform(-1, 1, (2, 32, 32, 3)).astype(np.float32)
    want = np.array([[0.0], [1.0]], np.float32)
    nets = jax.jit(model.init)(jax.random.key(0), Batch(image, want, want))
    return cfg, nets, image, jax.jit(model.edit)(nets, image, want, want)


def test_an_edit_that_is_not_asked_for_returns_the_face():
    cfg, nets, image, edit = edits("smoke")
    np.testing.assert_array_equal(edit.image[0], image[0])
    # Before its phase the enhancement adds nothing.
    made = jax.jit(diat.networks(cfg).transform.apply)({"params": nets["transform"]}, image)
    np.testing.assert_allclose(edit.image[1], made[1], atol=1e-6)
    assert edit.attention is None
    _, _, image, removed = edits("smoke", remove=True)
    np.testing.assert_array_equal(removed.image[1], image[1])
    assert np.abs(removed.image[0] - image[0]).max() > 0.1


def test_the_attention_of_2018_is_what_the_mask_leaves():
    cfg, nets, image, edit = edits("smoke2018")
    np.testing.assert_array_equal(edit.image[0], image[0])
    assert (edit.attention[0] == 1).all()
    soft = jax.jit(diat2018.networks(cfg).mask.apply)({"params": nets["mask"]}, image)
    kept = edit.attention[1]
    np.testing.assert_allclose(kept, 1 - edited_share(soft)[1], atol=1e-6)
    np.testing.assert_allclose(
        edit.image[1], kept * image[1] + (1 - kept) * edit.color[1], atol=1e-6
    )


# Training


@needs_vgg16
@pytest.mark.parametrize(
    ("preset", "changes", "phases"),
    [
        ("smoke", {}, ["reconstruction", "denoiser", "transform", "enhancement"]),
        (
            "smoke",
            {"identity__network": "critic", "loss__smooth": 0.0, "enhancement__form": "global"},
            ["transform", "enhancement"],
        ),
        ("smoke2018", {}, ["reconstruction", "denoiser", "transform"]),
        ("smoke2018", {"loss__smooth": 0.0, "loss__identity": 0.0}, ["transform"]),
    ],
)
def test_each_phase_trains_its_own_networks(preset, changes, phases):
    """Traced, not run: what an optimiser does not move is returned as it came."""
    cfg = config(preset, **changes)
    method = modules(cfg)
    method.check(cfg)
    training, model = method.training(cfg, FACTS), method.model(cfg)
    assert [phase.name for phase in training.phases] == phases
    state = jax.eval_shape(updates.make_init(model, training.optimizers), jax.random.key(0))
    shape = (cfg.n_critic, 4, cfg.image_size, cfg.image_size, 3)
    image = jax.ShapeDtypeStruct(shape, np.uint8)
    condition = jax.ShapeDtypeStruct((*shape[:2], 1), np.float32)
    batch = Batch(image, condition, condition, image)
    key, frozen = jax.random.key(1), training.load_frozen()
    for phase in training.phases:
        trace = jax.make_jaxpr(phase.step, return_shape=True)
        closed, (after, metrics) = trace(state, batch, key, frozen)
        assert jax.tree.map(lambda x: x.shape, after) == jax.tree.map(lambda x: x.shape, state)
        assert f"{phase.name}/loss" in metrics
        jaxpr = closed.jaxpr
        places = {name: [] for name in state.nets}
        for i, (path, _) in enumerate(jax.tree_util.tree_leaves_with_path(state)):
            if path[0].name == "nets":
                places[path[1].key].append(i)
        moved = {
            name
            for name, indices in places.items()
            if any(jaxpr.outvars[i] is not jaxpr.invars[i] for i in indices)
        }
        with_it = {"transform": {"critic"} | ({"mask"} & set(state.nets))}
        assert moved == {phase.name} | with_it.get(phase.name, set())


def test_guide_images_have_the_attribute_and_inputs_lack_it():
    cfg = config("2016")
    assert diat_parts.domains(cfg) == (Domain("Smiling", False), Domain("Smiling", True))
    cfg.remove = True
    assert diat_parts.domains(cfg) == (Domain("Smiling", True), Domain("Smiling", False))
    cfg = config("smoke")
    assert diat_parts.domains(cfg) == (Domain("neutral", True), Domain("happy", True))
    assert diat_parts.sample(cfg, FACTS).domains == diat_parts.domains(cfg)
    cfg.inputs = "netural"
    with pytest.raises(ValueError, match="inputs is 'netural', a condition that the faces do not"):
        diat_parts.sample(cfg, FACTS)


@pytest.mark.parametrize(
    ("preset", "changes", "message"),
    [
        ("2016", {"conditions": ("Smiling", "Male")}, "Smiling, Male; a DIAT model knows one"),
        ("2016", {"image_size": 72}, "72 does not halve 5 times"),
        ("2016", {"identity__network": "vgg19"}, "identity.network 'vgg19' is not one of critic"),
        ("2016", {"identity__network": "critic"}, "which has no denoiser: set loss.smooth=0"),
        ("2016", {"identity__weights": (1.0,)}, "give one for each of two maps"),
        ("2016", {"loss__identity": -1.0}, "loss.identity is -1.0; it must not be negative"),
        ("2016", {"enhancement__region": "nose"}, "enhancement.region 'nose' is not one of mouth"),
        ("2016", {"enhancement__form": "both"}, "'both' is not one of local, global, none"),
        ("2016", {"enhancement__blur": 0.0}, "enhancement.blur is 0.0 pixels"),
        ("2016", {"phases__denoiser": 0.0}, "phases.denoiser is 0.0; it must be above 0"),
        ("2016", {"phases__transform": 0.0, "init_from": "x"}, "phases.transform is 0.0"),
        ("2016", {"decay": "smooth"}, "decay is 'smooth'; DIAT trains at constant rates"),
        ("2016", {"augment__policy": "color"}, "augment.policy is 'color'; DIAT has none"),
        ("adaptive", {"critic__depth": 4}, "reads the critic's layers 4 and 5: set it to 5"),
        ("2018", {"critic__depth": 4}, "critic.depth is 4"),
        ("2018", {"transform__depth": 7}, "does not halve 7 times to 2 pixels or more"),
        ("2018", {"expected_ratio": 1.0}, "expected_ratio is 1.0; it is a share"),
        ("2018", {"mask__width": 0}, "mask.width is 0; it must be above 0"),
        ("2018", {"lr_denoiser": 0.0}, "lr_denoiser is 0.0; it must be above 0"),
        ("2018", {"identity__network": "critic"}, "'critic' is not one of vgg16, face_resnet"),
    ],
)
def test_what_cannot_be_trained_is_refused(preset, changes, message):
    cfg = config(preset)
    modules(cfg).check(cfg)
    with cfg.ignore_type():
        cfg.update_from_flattened_dict(
            {name.replace("__", "."): value for name, value in changes.items()}
        )
    with pytest.raises(ValueError, match=message):
        modules(cfg).check(cfg)


def test_unknown_preset_names_those_there_are():
    with pytest.raises(ValueError, match="no preset '2017'.* 2016, adaptive, 2018, smoke"):
        configs.get_config("2017")


@needs_vgg16
@pytest.mark.slow
@pytest.mark.parametrize("preset", ["smoke", "smoke2018"])
@pytest.mark.filterwarnings("ignore:Frechet distance from")
def test_a_smoke_run_ends_and_is_evaluated(preset, tmp_path):
    cfg = configs.get_config(preset)
    cfg.wandb.mode = "disabled"
    assert train(cfg, tmp_path)
    run = load_run(tmp_path)
    assert run.model.names == ("happy",)
    text = (tmp_path / "metrics.jsonl").read_text()
    assert all(f"{name}/loss" in text for name in ("reconstruction", "denoiser", "transform"))
    assert "report:" in evaluate(cfg, tmp_path)[-1]
