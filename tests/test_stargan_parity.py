"""StarGAN against numbers of its published code; all sizes and options are read from the arrays."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from neighbour_goldens import FOLDER, Golden, params_of, relative_update

from ganimation_jax.methods import stargan, stargan_losses, stargan_torch
from ganimation_jax.models import cpu_convolutions, layers
from ganimation_jax.models.critic import Critic
from ganimation_jax.models.transform import Transform
from ganimation_jax.steps import updates
from ganimation_jax.steps.optimizers import adam
from ganimation_jax.steps.updates import Given, Update
from ganimation_jax.types import Batch, Condition, Optimizer

pytestmark = pytest.mark.skipif(
    not (FOLDER / "stargan_celeba.npz").exists(),
    reason=f"no golden arrays in {FOLDER}: set GANIMATION_GOLDENS",
)
TERMS = {
    "critic/real": "D/loss_real",
    "critic/edited": "D/loss_fake",
    "critic/labels": "D/loss_cls",
    "critic/penalty": "D/loss_gp",
    "generator/adversarial": "G/loss_fake",
    "generator/cycle": "G/loss_rec",
    "generator/labels": "G/loss_cls",
}


@pytest.fixture(autouse=True, scope="module")
def plain_convolutions():
    """XLA's own: they compile in a fraction of the time, and test_models compares the others."""
    with layers.stated_by(cpu_convolutions.direct, cpu_convolutions.transposed):
        yield


class Recorded:
    """A recorded training: networks, batches, and what became of them."""

    def __init__(self, name):
        self.golden = golden = Golden(name)
        self.config = config = golden.config()
        binary, of_group = config["c_dim"], config["c2_dim"]
        if name == "stargan_rafd":
            binary, of_group = 0, config["c_dim"]
        elif name == "stargan_celeba":
            of_group = 0
        self.binary, self.of_group, self.joint = binary, of_group, name == "stargan_both"
        self.conditions = (
            *(Condition(f"attribute {i}", "binary") for i in range(binary)),
            *(Condition(f"class {i}", "one_of", "classes") for i in range(of_group)),
        )
        self.labels = stargan_losses.labels_of(self.conditions, "classes" * self.joint)
        self.generator = Transform(config["g_conv_dim"], config["g_repeat_num"])
        self.critic = Critic(
            len(self.conditions), config["d_conv_dim"], config["d_repeat_num"], initial="pytorch"
        )
        image = golden.image("images_CelebA" if self.joint else "images")
        self.model = stargan.model_of(
            self.generator, self.critic, self.conditions, self.labels, image.shape[-2]
        )
        shapes = jax.eval_shape(
            self.model.init,
            jax.random.key(0),
            Batch(jnp.asarray(image[0]), *[jnp.zeros((len(image[0]), len(self.conditions)))] * 2),
        )
        self.tables = stargan_torch.names(shapes)
        self.start = {"generator": self.net("init", "G"), "critic": self.net("init", "D")}
        self.weights = stargan_losses.LossWeights(
            config["lambda_gp"], config["lambda_cls"], config["lambda_rec"]
        )

    def net(self, prefix, name):
        table = self.tables[{"G": "generator", "D": "critic"}[name]]
        return params_of(self.golden.state_dict(f"{prefix}/{name}"), table)

    def objectives(self, **options):
        return stargan.objectives(self.generator, self.critic, self.labels, self.weights, **options)

    def one_hot(self, labels, binary, of_group):
        """Recorded labels as a vector of all conditions; those of the other set are 0."""
        single, group = np.zeros((len(labels), binary)), np.zeros((len(labels), of_group))
        if labels.ndim > 1:
            single = labels
        else:
            group = np.eye(of_group)[labels]
        return np.concatenate([single, group], axis=1).astype(np.float32)

    def row(self, i):
        """Where the images of critic step ``i`` stand among those of their set; -1: nowhere."""
        if not self.joint:
            return i
        sets = self.golden["dataset"]
        return int((sets[:i] == sets[i]).sum()) - self.late[sets[i]]

    @functools.cached_property
    def late(self):
        """By how many batches the recorded images of either set of joint training are late.

        The recorder left out the first batch of each set, because the code shows the first set's
        and does not train on it. But it trains on all of the second set's.
        """
        sets, losses = self.golden["dataset"], self.golden.rows()
        found = {}
        for one in dict.fromkeys(sets.tolist()):
            last = int(np.flatnonzero(sets == one)[-1])
            params = {"params": self.net(f"step{last}", "D")}
            images = self.golden.image(f"images_{one}")
            errors = [
                abs(-self.critic.apply(params, image)[0].mean() - losses[last]["D/loss_real"])
                for image in images
            ]
            found[one] = len(images) - 1 - int(np.argmin(errors))
        return found

    def batch(self, i):
        """The batch of critic step ``i``."""
        golden, row = self.golden, self.row(i)
        suffix = f"_{golden['dataset'][i]}" if self.joint else ""
        have = self.one_hot(golden[f"labels{suffix}"][row], self.binary, self.of_group)
        image = golden.image(f"images{suffix}")[row]
        want = have[golden["permutation"][i]]
        return Batch(jnp.asarray(image), jnp.asarray(have), jnp.asarray(want))

    def trains_generator(self, i):
        sets = 2 if self.joint else 1
        return (i // sets + 1) % self.config["n_critic"] == 0

    def optimizers(self):
        transform = adam(lambda _: self.config["g_lr"], self.config["beta1"], self.config["beta2"])
        return {name: Optimizer((name,), transform) for name in ("generator", "critic")}


RECORDINGS = ("stargan_celeba", "stargan_rafd", "stargan_both")


@pytest.fixture(scope="module", params=RECORDINGS)
def recorded(request):
    return Recorded(request.param)


def test_networks_and_classification(recorded):
    golden = recorded.golden
    if not golden.names("forward/"):
        pytest.skip("no forward pass was recorded with joint training")
    image = golden.image("forward/image")
    condition = golden["forward/condition"]
    edit = recorded.model.edit(recorded.start, image, condition, condition)
    np.testing.assert_allclose(edit.image, golden.image("forward/G"), atol=1e-5)
    patch, logits = recorded.critic.apply({"params": recorded.start["critic"]}, image)
    np.testing.assert_allclose(patch, golden["forward/patch"][:, 0], atol=1e-5)
    np.testing.assert_allclose(logits, golden["forward/logits"], atol=1e-5)
    error = recorded.labels.error(logits, jnp.asarray(condition)).mean()
    np.testing.assert_allclose(error, golden["forward/cls_loss"], rtol=1e-4)
    read = recorded.model.read(recorded.start, image)
    if recorded.of_group:
        shifted = np.exp(golden["forward/logits"])
        np.testing.assert_allclose(read, shifted / shifted.sum(axis=1, keepdims=True), rtol=1e-4)
    else:
        np.testing.assert_allclose(read, 1 / (1 + np.exp(-golden["forward/logits"])), rtol=1e-4)


def test_training_update_by_update(recorded):
    aims = recorded.objectives(draw_shares=lambda shares, size: shares)  # passed in place of keys
    by_name = recorded.optimizers()
    state = updates.fresh_state(recorded.model, by_name, recorded.start)
    nets, opt, steps = state.nets, state.opt, {"critic": 0, "generator": 0}

    def updating(name, loss):
        @jax.jit
        def run(nets, opt, batch, shares):
            others = {other: params for other, params in nets.items() if other != name}
            given = Given(others, batch, aims.fakes(nets, batch, jax.random.key(0)), shares, (), ())
            moving, opts = {name: nets[name]}, {name: opt[name]}
            moving, opts, _, metrics = updates.run_updates(
                by_name, [Update(name, loss)], moving, opts, given
            )
            return nets | moving, opt | opts, metrics

        return run

    run = {"critic": updating("critic", aims.critic)}
    run["generator"] = updating("generator", aims.generator)
    weights = {"labels": "labels", "penalty": "penalty", "cycle": "cycle"}
    known = True  # whether the critic's moments are those of the record
    for i, row in enumerate(recorded.golden.rows()):
        if recorded.row(i) < 0:
            known, steps["critic"] = False, steps["critic"] + 1
            continue
        batch, shares = recorded.batch(i), jnp.asarray(recorded.golden["alpha"][i].reshape(-1))
        if not known:
            nets = nets | {"critic": recorded.net(f"step{i}", "D")}
        due = ["critic", "generator"] if recorded.trains_generator(i) else ["critic"]
        for name in due:
            nets, opt, metrics = run[name](nets, opt, batch, shares)
            for term, theirs in TERMS.items():
                if term.startswith(name):
                    field = weights.get(term.split("/")[1])
                    want = row[theirs] * (getattr(recorded.weights, field) if field else 1)
                    label = f"{term} {i}"
                    np.testing.assert_allclose(metrics[term], want, rtol=1e-4, err_msg=label)
            steps[name] += 1
            letter = {"critic": "D", "generator": "G"}[name]
            want = recorded.net(f"step{steps[name]}", letter)
            if name == "critic" and not known:
                nets = nets | {"critic": want}
                continue
            # A constant plane through a centre tap adds a constant, which the norm takes away.
            dead = {"stem/kernel": np.s_[3, 3, 3:]} if name == "generator" else {}
            error = relative_update(recorded.start[name], nets[name], want, dead)
            assert error < 1e-3, (name, steps[name], error)
    recorded_steps = {
        letter: {n.split("/")[0] for n in recorded.golden.names("step") if f"/{letter}/" in n}
        for letter in "DG"
    }
    assert steps == {"critic": len(recorded_steps["D"]), "generator": len(recorded_steps["G"])}


def test_published_rates():
    golden = Golden("stargan_rates")
    total, decay = int(golden["num_iters"]), int(golden["num_iters_decay"])
    rates = golden["rate_of_update"]
    every = len(rates) // 6  # lr_update_step; the README states 2 of 12
    updates_so_far = jnp.arange(len(rates))
    got = golden["d_lr"] * stargan.published_factor(updates_so_far, total, decay, every)
    np.testing.assert_allclose(got, rates, rtol=1e-5)
    after = golden["d_lr"] * stargan.published_factor(jnp.array(len(rates)), total, decay, every)
    np.testing.assert_allclose(after, golden["rate_at_end"], rtol=1e-5)
