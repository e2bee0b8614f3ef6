"""IcGAN: against recorded numbers, its statistics, its phases, and a whole run."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_runs import assert_same_arrays

from configs import icgan as config
from ganimation_jax.interop.stablehlo import load_exported, save_exported
from ganimation_jax.methods import icgan, icgan_losses
from ganimation_jax.methods.icgan_losses import Networks
from ganimation_jax.runs.load import load_run
from ganimation_jax.steps import updates
from ganimation_jax.training.loop import train
from ganimation_jax.training.preflight import check
from ganimation_jax.types import Batch, DataFacts, parameter_count

pytestmark = pytest.mark.usefixtures("plain_convolutions")

KEY = jax.random.key(0)

# Networks


def test_sizes_are_the_published_ones():
    cfg = config.get_config()
    nets = jax.eval_shape(icgan.model(cfg).init, KEY, shapes(cfg))
    counts = {name: parameter_count(nets[name]) for name in Networks._fields}
    assert counts == {
        "generator": 3_725_123,
        "critic": 2_803_393,
        "encoder_z": 18_278_244,
        "encoder_y": 3_186_962,
    }


def shapes(cfg, leading=(1,)):
    image = jnp.zeros((*leading, cfg.image_size, cfg.image_size, 3))
    values = jnp.zeros((*leading, len(cfg.conditions)))
    return Batch(image, values, values, wrong=values)


def tiny(**changes):
    """A config of the smallest networks, for six conditions in three kinds."""
    cfg = config.get_config("smoke")
    cfg.image_size, cfg.latent, cfg.batch_size = 16, 3, 8
    cfg.generator.width, cfg.critic.width = 2, 2
    cfg.encoder.update(width=2, hidden_z=6, hidden_y=5)
    cfg.conditions = ("AU12", "Smiling", "emotion=happy", "emotion=sad", "hair=Blond", "hair=Black")
    cfg.update_from_flattened_dict(changes)
    return cfg


@pytest.fixture(scope="module")
def tiny_nets(plain_convolutions):
    cfg = tiny()
    return cfg, jax.jit(icgan.model(cfg).init)(KEY, shapes(cfg))


def test_initial_values(tiny_nets):
    _, nets = tiny_nets
    assert 0.015 < np.std(nets["critic"]["down0"]["kernel"]) < 0.025
    assert not nets["critic"]["down0"]["bias"].any()
    norms = [part for name, part in nets["encoder_z"].items() if name.endswith("_norm")]
    scales = np.concatenate([part["scale"] for part in norms])
    assert 0 <= scales.min() < 0.2  # U(0, 1)
    assert 0.8 < scales.max() <= 1
    first = nets["encoder_z"]["down0"]
    bound = 1 / np.sqrt(5 * 5 * 3)
    assert 0.5 * bound < np.abs(first["kernel"]).max() <= bound
    assert 0 < np.abs(first["bias"]).max() <= bound
    statistics = nets["generator_statistics"]["first_norm"]
    assert not statistics["mean"].any()
    assert (statistics["variance"] == 1).all()


def test_reading_knows_the_kinds(tiny_nets):
    """Intensities as regressed, attributes by sign, one of each group."""
    cfg, nets = tiny_nets
    model = icgan.model(cfg)
    image = np.random.default_rng(0).normal(size=(9, 16, 16, 3)).astype(np.float32)
    normed = functools.partial(icgan_losses.normed, icgan.networks(cfg).encoder_y, train=False)
    codes = np.asarray(jax.jit(normed, static_argnums=1)(nets, "encoder_y", image)[0])
    got = np.asarray(jax.jit(model.read)(nets, image))
    np.testing.assert_allclose(got[:, 0], (codes[:, 0] + 1) / 2, rtol=1e-6)
    np.testing.assert_array_equal(got[:, 1], codes[:, 1] > 0)
    for group in (slice(2, 4), slice(4, 6)):
        np.testing.assert_array_equal(got[:, group].argmax(1), codes[:, group].argmax(1))
        np.testing.assert_array_equal(got[:, group].sum(1), 1)


def test_pictures_depend_on_their_own_face_alone(tiny_nets):
    """In use the running statistics normalise, so that a face's edit is the same in any batch."""
    cfg, nets = tiny_nets
    model = icgan.model(cfg)
    rng = np.random.default_rng(1)
    image = rng.normal(size=(4, 16, 16, 3)).astype(np.float32)
    want = rng.random((4, 6), np.float32)
    together = jax.jit(model.edit)(nets, image, want, want).image
    alone = jax.jit(model.edit)(nets, image[:1], want[:1], want[:1]).image
    np.testing.assert_allclose(together[:1], alone, atol=1e-6)


def test_half_of_the_faces_are_mirrored_and_none_is_changed_otherwise():
    image = np.random.default_rng(2).normal(size=(64, 4, 4, 3)).astype(np.float32)
    got = np.asarray(icgan_losses.mirrored(KEY, image))
    turned = (got == image[:, :, ::-1]).all(axis=(1, 2, 3))
    same = (got == image).all(axis=(1, 2, 3))
    assert (turned ^ same).all()
    assert 20 < turned.sum() < 44


# Phases


def test_phases_are_whole_calls_and_the_refresh_so_many_steps():
    cfg = config.get_config()
    cfg.steps_per_call = 8
    shares = icgan.phase_shares(cfg, 182_638)
    calls = -(-int(44.8 * 182_638) // (64 * 8))
    counts = np.array([share * calls for share in shares.values()])
    np.testing.assert_allclose(counts, counts.round(), atol=1e-6)
    assert list(shares) == ["gan", "refresh", "encoder_z", "encoder_y"]
    assert counts.round()[1] == 13  # 104 steps: the first whole number of calls from 100 on
    assert counts.round().sum() == calls
    np.testing.assert_allclose(counts[0] / counts[2], 25 / 9.9, rtol=1e-3)
    cfg.epochs = 0.01
    with pytest.raises(ValueError, match="4 calls of 512 images are too few"):
        icgan.phase_shares(cfg, 182_638)


def test_a_refresh_moves_statistics_to_those_of_the_generator_now(tiny_nets):
    cfg, nets = tiny_nets
    networks = icgan.networks(cfg)
    step = jax.jit(icgan_losses.refreshing(networks.generator, cfg.latent))
    model = icgan.model(cfg)
    optimizers = icgan.build_optimizers(cfg)
    state = updates.fresh_state(model, optimizers, nets)
    batches = shapes(cfg, (1, 64))
    for _ in range(80):
        state, metrics = step(state, batches, KEY)
    assert state.step == 80
    noise = jax.random.normal(jax.random.key(5), (4096, cfg.latent))
    codes = icgan_losses.joined(noise, jnp.zeros((4096, 6)))
    first = jnp.einsum("bi,yxio->byxo", codes, nets["generator"]["first"])
    got = state.nets["generator_statistics"]["first_norm"]
    np.testing.assert_allclose(got["variance"], first.var((0, 1, 2)), rtol=0.1)
    np.testing.assert_allclose(got["mean"], first.mean((0, 1, 2)), atol=0.02)
    untouched = {name: state.nets[name] for name in nets if name != "generator_statistics"}
    same = jax.tree.map(lambda a, b: (a == b).all(), untouched, {k: nets[k] for k in untouched})
    assert jax.tree.all(same)
    assert metrics["generator/statistics_change"] > 0


def test_each_phase_trains_its_networks_alone(tiny_nets):
    cfg, nets = tiny_nets
    training = icgan.training(cfg, DataFacts(640, 0.2))
    assert training.sampling.wrong
    state = updates.fresh_state(icgan.model(cfg), training.optimizers, nets)
    rng = np.random.default_rng(3)
    have, want, wrong = rng.integers(0, 2, (3, 1, 8, 6)).astype(np.float32)
    batches = Batch(rng.integers(0, 256, (1, 8, 16, 16, 3), np.uint8), have, want, wrong=wrong)
    trained = {
        "gan": {"generator", "critic", "generator_statistics", "critic_statistics"},
        "refresh": {"generator_statistics"},
        "encoder_z": {"encoder_z", "encoder_z_statistics"},
        "encoder_y": {"encoder_y", "encoder_y_statistics"},
    }
    for phase in training.phases:
        after, metrics = jax.jit(phase.step)(state, batches, KEY)
        same = jax.tree.map(lambda a, b: bool((a == b).all()), after.nets, nets)
        moved = {name for name in nets if not jax.tree.all(same[name])}
        assert moved == trained[phase.name]
        assert all(np.isfinite(value) for value in metrics.values())


@pytest.mark.slow
def test_a_run_resumes_bit_for_bit_across_phases(tmp_path, monkeypatch):
    cfg = tiny(**{"data.size": 64, "data.expressions": 8, "epochs": 2.0, "refresh": 3})
    with cfg.ignore_type():
        cfg.conditions = ("emotion",)
    cfg.every.update(log=8, sample=10_000, evaluate=10_000, checkpoint=64)
    cfg.keep.latest = 20
    cfg.evaluate.update(examples=8, batch_size=8, controlled_faces=2)
    cfg.wandb.mode = "disabled"
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert train(cfg, whole)
    for stop in (6, 2, 2):  # at the end of the GAN's phase, in the refresh, in the next phase
        calls = []

        def asked(self, calls=calls, stop=stop):
            calls.append(0)
            return len(calls) == stop

        with monkeypatch.context() as patch:
            patch.setattr("ganimation_jax.parallel.processes.Preemption.asked", asked)
            assert not train(cfg, broken)
    assert train(cfg, broken)
    assert_same_arrays(whole, broken, 16)
    run = load_run(whole)
    assert set(run.nets) == {*icgan.with_statistics(*Networks._fields)}
    assert run.nets["generator_statistics"]["first_norm"]["mean"].any()
    image = np.zeros((1, 16, 16, 3), np.float32)
    want = np.eye(8, dtype=np.float32)[:1]
    edited = jax.jit(run.model.edit)(run.used, image, want, want).image
    save_exported(tmp_path / "icgan.ganimation", run.model, run.used, {})
    exported = load_exported(tmp_path / "icgan.ganimation")
    np.testing.assert_allclose(exported(image, want).image, edited, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 128}, "image_size is 128; IcGAN's networks are made for 64"),
        ({"batch_size": 1}, "batch_size is 1; batch norms need 2"),
        ({"decay": "smooth"}, "decay is 'smooth'; IcGAN trains at constant rates"),
        ({"loss.wrong": 1.0}, "loss.wrong is 1.0"),
        ({"encoder.hidden_z": 0}, "encoder.hidden_z is 0; it must be above 0"),
        ({"phases.gan": 0.0}, "phases.gan is 0.0"),
        ({"refresh": -1}, "refresh is -1"),
        ({"augment.policy": "color"}, "augment.policy is 'color'"),
    ],
)
def test_what_cannot_run_is_refused(changes, message):
    cfg = config.get_config()
    check(cfg, devices=1)
    cfg.update_from_flattened_dict(changes)
    with pytest.raises(ValueError, match=message):
        check(cfg, devices=1)
