"""Monitors on hand-made records, and on real small runs that are made to fail in each way."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import emotionet, synthetic
from ganimation_jax.action_units import ACTION_UNITS
from ganimation_jax.evaluation import quality
from ganimation_jax.logs.alerts import Alert
from ganimation_jax.logs.writer import Writer
from ganimation_jax.methods import ganimation
from ganimation_jax.methods.ganimation import LossWeights
from ganimation_jax.models.critic import Critic, depth_for
from ganimation_jax.models.generator import Generator
from ganimation_jax.steps import monitors, updates
from ganimation_jax.steps.optimizers import guarded
from ganimation_jax.synthetic.faces import SyntheticFaces
from ganimation_jax.training.monitors import Monitors
from ganimation_jax.types import Batch, DataFacts, Monitor, Optimizer

WANDB = {"mode": "disabled", "project": "", "group": "", "name": ""}
LEVEL = Monitor("level", ("a",), float, limit=2.0, above=True, symptom="It rose", advice="Lower it")


def feed(watch, values, name="a", start=0):
    """Names of alerts by the record that brought them; + begins, - ends."""
    found = {}
    for i, value in enumerate(values, start):
        for alert in watch.observe(i, {name: value}):
            found[i] = ("+" if alert.began else "-") + alert.name
    return found


def test_an_alert_is_told_once_and_its_end_too():
    # Begins where the mean of five is 2, ends where all five are below.
    values = [1, 1, 1, 1, 1, 3, 3, 3, 9, 9, 9, 1, 1, 1, 1, 1, 1, 1]
    assert feed(Monitors((LEVEL,), 0), values) == {7: "+level", 15: "-level"}


def test_a_value_that_wavers_about_the_limit_is_one_alert():
    values = [2.1, 1.9] * 20
    assert feed(Monitors((LEVEL,), 0), values) == {4: "+level"}


def test_nothing_is_said_before_the_warm_up():
    values = [5.0] * 10
    assert feed(Monitors((LEVEL,), 0), values) == {4: "+level"}
    assert feed(Monitors((LEVEL,), 3), values) == {7: "+level"}  # and these are not kept for later


def test_low_limits_work_the_other_way():
    low = LEVEL._replace(above=False)
    assert feed(Monitors((low,), 0), [1] * 6 + [3] * 6) == {4: "+level", 10: "-level"}


@pytest.mark.parametrize("missing", [None, float("nan"), float("inf")])
def test_what_is_no_number_is_no_record(missing):
    values = [3, 3, missing, 3, missing, 3, 3]
    assert feed(Monitors((LEVEL,), 0), values) == {6: "+level"}
    assert feed(Monitors((LEVEL,), 0), [3] * 9, name="b") == {}


def test_the_message_has_numbers_and_a_knob():
    watch = Monitors((LEVEL,), 0)
    alerts = [alert for i in range(5) for alert in watch.observe(i * 100, {"a": 2.5})]
    message = "LEVEL: It rose (a: 2.5 over 5 records, limit 2). Lower it"
    assert alerts == [Alert(400, "level", True, 2.5, 2.0, message)]


def test_a_continued_run_neither_loses_nor_repeats(tmp_path):
    values = np.random.default_rng(0).normal(2, 1, 60).round(2)
    values[20:30] = np.nan
    unbroken = feed(Monitors((LEVEL,), 3), values)
    assert len(unbroken) > 2
    for cut in range(0, 60, 7):
        first = Monitors((LEVEL,), 3)
        writer = Writer(tmp_path / str(cut), {}, wandb=WANDB)
        for i, value in enumerate(values[:cut]):
            writer.metrics(i, {"a": value})
        found = feed(first, values[:cut])
        again = Monitors((LEVEL,), 3)
        still_open = again.replay(writer.history())
        begun = list(found.values()).count("+level") - list(found.values()).count("-level")
        assert len(still_open) == begun
        assert found | feed(again, values[cut:], start=cut) == unbroken


def test_going_back_forgets_what_came_after():
    watch = Monitors((LEVEL,), 0)
    records = [{"images": i, "a": 1.0} for i in range(8)]
    feed(watch, [1.0] * 4 + [9.0] * 5)
    assert watch.replay(records) == []
    assert feed(watch, [3.0] * 5, start=8) == {10: "+level"}


def test_a_methods_monitors_watch_its_metrics():
    found = ganimation.training(emotionet.get_config(), DataFacts(50, 0.08)).monitors
    assert feed(Monitors(found, 0), [0.0] * 9, "generator/attention_mean", 10**6) == {
        10**6 + 4: "+attention_near_0"
    }


def test_limits_follow_the_config():
    cfg = synthetic.get_config("published")
    training = ganimation.training(cfg, DataFacts(examples=2, variance=1 / 12))
    found = {monitor.name: monitor for monitor in training.monitors}
    assert found["critic_aus_flat"].limit == pytest.approx(0.9 * 160 / 12)
    # White and black images of 64x64 are sqrt(4 * 3 * 64 * 64) apart; 2x2 patches.
    white, black = np.ones((64, 64, 3)), -np.ones((64, 64, 3))
    distance = np.linalg.norm(white - black)
    assert found["critic_explodes"].limit == pytest.approx(distance / 4)


# --- real runs -------------------------------------------------------------------------------

SIZE, FACES, STEPS, BATCH = 16, 128, 60, 8
NETS = Generator(width=4, residual_blocks=1), Critic(17, width=4, init_std=0.08)


MODEL = ganimation.model_of(*NETS, ACTION_UNITS, SIZE)


def optimizers(rates):
    return {
        name: Optimizer((name,), guarded(optax.adam(rate, 0.5, 0.999)))
        for name, rate in zip(("generator", "critic"), rates, strict=True)
    }


def step(weights, rates):
    weights = weights._replace(paired=0.0, motion=0.0)  # the published losses, of traced weights
    return ganimation.step(ganimation.objectives(*NETS, weights), optimizers(rates))


def everything(*, image_size, patches, constant_error):
    return (
        *monitors.of_attention(),
        *monitors.of_edits(),
        *monitors.of_penalised_critic(image_size=image_size, patches=patches),
        *monitors.of_regression(constant_error=constant_error),
    )


def test_where_pixels_move_a_mask_near_1_is_no_fault():
    names = [[one.name for one in monitors.of_attention(moves=moves)] for moves in (False, True)]
    assert names == [["attention_near_1", "attention_near_0"], ["attention_near_0"]]


class Laboratory:
    """Small runs with any weights and rates: those are arguments of one compiled step."""

    def __init__(self):
        faces = SyntheticFaces(FACES, 2 * SIZE)
        self.images = np.stack([faces[i]["image"] for i in range(FACES)])[:, ::2, ::2]
        self.aus = faces.aus_table() / np.float32(5)
        init = updates.make_init(MODEL, optimizers((1e-3, 1e-3)))
        self.state = jax.device_get(jax.jit(init)(jax.random.key(0)))
        self.step = jax.jit(
            lambda state, batch, weights, rates: step(weights, rates)(
                state, batch, jax.random.key(1)
            )
        )

    def batch(self, rng):
        faces, others = rng.integers(0, FACES, (2, 1, BATCH))
        return Batch(self.images[faces], self.aus[faces], self.aus[others])

    def train(self, watch, *, state=None, start=0, rates=(1e-3, 1e-3), **weights):
        """Train on, showing every step to ``watch``; the state and the alerts."""
        rng = np.random.default_rng(0)
        weights = LossWeights()._replace(**weights)
        weights, rates = jax.tree.map(jnp.float32, (weights, rates))
        state, alerts = state or self.state, []
        for i in range(start, start + STEPS):
            state, metrics = self.step(state, self.batch(rng), weights, rates)
            alerts += watch.observe((i + 1) * BATCH, jax.tree.map(float, metrics))
        return state, alerts

    def watch(self, **weights):
        found = everything(
            image_size=SIZE,
            patches=(SIZE // 2 ** depth_for(SIZE)) ** 2,
            constant_error=float(weights.get("aus", 160) * self.aus.var(axis=0).mean()),
        )
        return Monitors(found, warmup=20 * BATCH)


@pytest.fixture(scope="module")
def laboratory():
    return Laboratory()


def names(alerts, began=True):
    return {alert.name for alert in alerts if alert.began == began}


@pytest.mark.slow
def test_nothing_to_gain_by_editing(laboratory):
    """Only the way back counts: the generator learns to return what it is given."""
    weights = {"cycle": 1000.0, "aus": 0.0, "attention": 0.0}
    watch = laboratory.watch(**weights)
    state, alerts = laboratory.train(watch, rates=(5e-3, 1e-3), **weights)
    assert names(alerts) >= {"attention_near_1", "critic_aus_flat", "generator_aus_flat"}
    assert "attention_near_0" not in names(alerts)
    told = next(alert for alert in alerts if alert.name == "attention_near_1")
    assert 0.99 <= told.value <= 1
    assert "loss.aus" in told.message
    batch = laboratory.batch(np.random.default_rng(1))
    image = np.float32(batch.image[0]) / np.float32(127.5) - 1
    edited = jax.jit(MODEL.edit)(state.nets, image, batch.want[0], batch.have[0])
    found = quality.change(np.asarray(edited.image), image)
    scores = {score.key: score.value for score in found}
    told = watch.observe(10_000, scores) + watch.observe(20_000, scores)
    assert names(told) == {"no_visible_effect"}


@pytest.mark.slow
def test_attention_that_is_punished_disappears_and_comes_back(laboratory):
    watch = laboratory.watch()
    state, alerts = laboratory.train(watch, rates=(3e-3, 1e-3), attention=1000.0)
    assert "attention_near_0" in names(alerts)
    assert "attention_near_1" not in names(alerts)
    state, alerts = laboratory.train(watch, state=state, start=STEPS, rates=(1e-2, 1e-3))
    assert "attention_near_0" in names(alerts, began=False)
    ended = {alert.name: alert for alert in alerts if not alert.began}["attention_near_0"]
    assert ended.message.startswith("RECOVERED attention_near_0: generator/attention_mean: 0.")


@pytest.mark.slow
def test_no_penalty(laboratory):
    weights = {"penalty": 0.0, "aus": 0.0}  # without the rest, which holds the critic back
    _, alerts = laboratory.train(laboratory.watch(**weights), rates=(1e-3, 2e-2), **weights)
    assert {"gradient_norm_high", "critic_explodes"} <= names(alerts)
    assert "gradient_norm_low" not in names(alerts)


@pytest.mark.slow
def test_a_critic_that_does_not_learn(laboratory):
    _, alerts = laboratory.train(laboratory.watch(), rates=(1e-3, 0.0))
    want = {"critic_blind", "gradient_norm_low", "critic_aus_flat", "generator_aus_flat"}
    assert want <= names(alerts)
    assert "critic_explodes" not in names(alerts)
    assert json.loads(json.dumps([alert._asdict() for alert in alerts]))[0]["began"] is True


@pytest.mark.slow
def test_action_units_that_hardly_count(laboratory):
    _, alerts = laboratory.train(laboratory.watch(aus=1e-3), rates=(1e-3, 3e-3), aus=1e-3)
    assert {"critic_aus_flat", "generator_aus_flat"} <= names(alerts)
    assert not names(alerts) & {"gradient_norm_low", "gradient_norm_high", "critic_explodes"}


# Read off docs/lfw_curves.png at 10, 20, ... 60 thousand images: a run that works.
SOUND = {
    "critic/real": (0.1, 0.1, 0.1, 0.1, 0.1, 0.1),
    "critic/edited": (-0.28, -0.33, -0.35, -0.35, -0.38, -0.38),
    "critic/gradient_norm": (0.99, 1.01, 1.0, 1.02, 1.0, 1.01),
    "critic/aus": (2.6, 2.4, 2.2, 2.0, 1.75, 1.5),
    "generator/aus": (2.5, 2.3, 2.1, 1.9, 1.7, 1.4),
    "generator/attention_mean": (0.915, 0.915, 0.91, 0.89, 0.88, 0.87),
    "edit_response/pixels": (5.5, 5.55, 6.0, 6.6, 7.1, 7.2),
}


def test_a_run_that_works_is_left_in_peace():
    watch = Monitors(everything(image_size=64, patches=4, constant_error=3.74), warmup=8_000)
    rng = np.random.default_rng(0)
    for i in range(6):
        for images in range(10_000 * (i + 1), 10_000 * (i + 2), 320):
            scatter = rng.normal(1, 0.15)  # of single batches, as in the picture
            values = {name: values[i] * scatter for name, values in SOUND.items()}
            values["generator/attention_mean"] = SOUND["generator/attention_mean"][i]
            assert watch.observe(images, values) == []
