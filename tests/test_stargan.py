"""StarGAN: labels, two sets, rates, and its training as users run it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from tiny_runs import saved_steps

from configs import stargan as config
from ganimation_jax.methods import stargan, stargan_losses
from ganimation_jax.models import cpu_convolutions, layers
from ganimation_jax.models.critic import Critic
from ganimation_jax.runs.load import load_run
from ganimation_jax.training.loop import train
from ganimation_jax.types import Batch, Condition, State, parameter_count

BLOND, YOUNG = Condition("Blond_Hair", "binary"), Condition("Young", "binary")
EMOTIONS = tuple(Condition(name, "one_of", "emotion") for name in ("angry", "happy", "sad"))
RNG = np.random.default_rng(0)


def softplus(x):
    return np.log1p(np.exp(x))


def test_classification_of_single_labels_and_groups():
    labels = stargan_losses.labels_of((BLOND, *EMOTIONS, YOUNG))
    logits = RNG.normal(size=(6, 5))
    values = np.zeros((6, 5))
    values[:, [0, 4]] = RNG.integers(0, 2, (6, 2))
    values[np.arange(6), 1 + RNG.integers(0, 3, 6)] = 1
    each = softplus(logits) - values * logits
    emotions = np.log(np.exp(logits[:, 1:4]).sum(axis=1)) - (values * logits)[:, 1:4].sum(axis=1)
    want = each[:, 0] + each[:, 4] + emotions
    np.testing.assert_allclose(labels.error(jnp.array(logits), values), want, rtol=1e-5)
    found = np.asarray(labels.probabilities(jnp.array(logits)))
    np.testing.assert_allclose(found[:, 1:4].sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(found[:, 4], 1 / (1 + np.exp(-logits[:, 4])), rtol=1e-5)


def test_a_set_without_a_label_does_not_train_it():
    labels = stargan_losses.labels_of((BLOND, *EMOTIONS), "emotion")
    values = jnp.array([[1.0, 0, 0, 0], [0, 0, 1, 0]])  # of the first set, and of the second
    entering = labels.entering(values)
    np.testing.assert_array_equal(entering[:, :4], values)
    np.testing.assert_array_equal(entering[:, 4:], [[1, 0], [0, 1]])
    grads = jax.grad(lambda logits: labels.error(logits, values).sum())(jnp.ones((2, 4)))
    assert grads[0, 0] != 0
    np.testing.assert_array_equal(grads[0, 1:], 0)
    assert (grads[1, 1:] != 0).all()
    assert grads[1, 0] == 0


def test_the_loss_of_a_constant_answer():
    labels = stargan_losses.labels_of((BLOND, *EMOTIONS))
    share, shares = 0.3, (0.2, 0.5, 0.3)
    rows = [[blond, *np.eye(3)[i]] for blond in (0.0, 1.0) for i in range(3)]
    chances = [(share if row[0] else 1 - share) * np.dot(row[1:], shares) for row in rows]
    logits = np.array([[np.log(share / (1 - share)), *np.log(shares)]] * 6)
    want = np.dot(chances, labels.error(jnp.array(logits), jnp.array(rows)))
    np.testing.assert_allclose(labels.entropy([share, *shares]), want, rtol=1e-5)


def test_conditions_that_are_no_labels_are_refused():
    with pytest.raises(ValueError, match="AU12 are intensities"):
        stargan_losses.labels_of((Condition("AU12"), BLOND))
    with pytest.raises(ValueError, match="masked_by 'hair' is no group .*emotion"):
        stargan_losses.labels_of((BLOND, *EMOTIONS), "hair")


def test_each_of_two_sets_has_its_generator_update():
    """In the published order: of 2 x n batches, the second to last and the last."""
    seen = []

    def step(state, batches, key, frozen):
        seen.append((batches.have.ravel().tolist(), jax.random.key_data(key).tolist()))
        return state.replace(step=state.step + 1), {"x": batches.have.mean()}

    numbers = jnp.arange(4.0).reshape(4, 1, 1)
    state = State(jnp.array(7), {}, {}, {})
    after, metrics = stargan.for_two_sets(step)(
        state, Batch(numbers, numbers, numbers), jax.random.key(0)
    )
    assert [batches for batches, _ in seen] == [[0, 1, 2], [3]]
    assert seen[0][1] != seen[1][1]
    assert after.step == 8
    assert metrics["x"] == 2


@pytest.mark.parametrize(
    ("labels", "size", "count"), [(5, 128, 44_762_048), (8, 128, 44_786_624), (5, 256, 44_884_928)]
)
def test_published_critics(labels, size, count):
    cfg = config.get_config()
    critic = Critic(labels, cfg.critic.width, cfg.critic.depth)
    with layers.stated_by(cpu_convolutions.direct, cpu_convolutions.transposed):
        image = jnp.zeros((1, size, size, 3))
        shapes = jax.eval_shape(critic.init, jax.random.key(0), image)
    assert parameter_count(shapes) == count


def test_the_published_schedule_hardly_falls():
    cfg = config.get_config("published")
    assert cfg.epochs * config.CELEBA / cfg.batch_size == pytest.approx(200_000)
    end = stargan.published_factor(jnp.array(200_000), 200_000, 100_000, cfg.decay_every)
    assert end == pytest.approx(0.999)


def test_what_cannot_be_trained_is_refused():
    cfg = config.get_config("smoke")
    with cfg.ignore_type():
        cfg.conditions = ("emotion=happy", "emotion=sad")
    stargan.check(cfg)
    for field, value, message in [
        ("image_size", 36, "image_size 36 does not halve"),
        ("augment.policy", "color", "does not augment"),
        ("generator.width", 0, "generator.width is 0"),
        ("masked_by", "hair", "masked_by 'hair'"),
        ("loss.clip", 0.01, "either clipped or penalised"),
        ("critic_start", -1, "critic_start is -1"),
    ]:
        changed = ConfigDict(cfg.copy_and_resolve_references())
        changed.update_from_flattened_dict({field: value})
        with pytest.raises(ValueError, match=message):
            stargan.check(changed)


@pytest.mark.slow
def test_trains_on_drawn_faces(tmp_path):
    cfg = config.get_config("smoke")
    cfg.update(image_size=16, epochs=0.25, decay_epochs=0.1)
    cfg.generator.update(width=4, residual_blocks=1)
    cfg.critic.width = 4
    cfg.every.update(log=16, checkpoint=64, sample=10_000, evaluate=10_000)
    cfg.wandb.mode = "disabled"
    assert train(cfg, tmp_path / "run")
    assert saved_steps(tmp_path / "run")[-1] == 4
    run = load_run(tmp_path / "run")
    assert len(run.names) == 8
    image = np.zeros((2, 16, 16, 3), np.float32)
    read = run.model.read(run.used, image)
    np.testing.assert_allclose(np.asarray(read).sum(axis=1), 1, rtol=1e-5)
