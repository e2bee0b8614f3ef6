"""What slope and which distance a clipped and a penalised critic find, where the distance is known.

    python -m experiments.007_clipping.critic --out experiments/007_clipping

Two sets of drawn faces of 16x16 pixels: as drawn, and with their mouths painted grey. The
Wasserstein distance between the sets is exact, by optimal assignment. The dense critic of WGAN is
trained on them alone, without a generator. Prints a table, and writes ``critic.csv``.
"""

import argparse
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy.optimize import linear_sum_assignment

from experiments.rows import write_rows
from ganimation_jax.models.dcgan import DenseCritic
from ganimation_jax.steps import losses, updates
from ganimation_jax.steps.clipping import clip_weights
from ganimation_jax.steps.optimizers import guarded, rmsprop
from ganimation_jax.steps.updates import Aux, Given, Update
from ganimation_jax.synthetic.faces import SyntheticFaces
from ganimation_jax.types import Optimizer, to_float

FACES, SIDE, BATCH, WIDTH = 256, 16, 64, 64
MOUTH = slice(10, 14), slice(4, 12)  # rows, columns
VARIANTS = {  # weight of the penalty, limit of the weights, optimiser
    "penalty 10, Adam 1e-3": (10.0, 0.0, guarded(optax.adam(1e-3, 0.5, 0.9))),
    "clip 0.01, RMSProp 5e-5": (0.0, 0.01, rmsprop(lambda count: 5e-5)),
    "clip 0.01, RMSProp 1e-3": (0.0, 0.01, rmsprop(lambda count: 1e-3)),
    "clip 0.1, RMSProp 1e-3": (0.0, 0.1, rmsprop(lambda count: 1e-3)),
}


def two_sets(seed):
    """Faces, and the same faces with grey mouths: float32 [n, 16, 16, 3] each."""
    source = SyntheticFaces(FACES, SIDE, seed)
    faces = np.asarray(to_float(np.stack([source[i]["image"] for i in range(FACES)])))
    painted = faces.copy()
    painted[:, *MOUTH] = 0
    return faces, painted


def exact_distance(one, other):
    """Wasserstein-1 between two sets of equal size, Euclidean on all pixels."""
    one, other = one.reshape(FACES, -1), other.reshape(FACES, -1)
    square = (one**2).sum(1)[:, None] + (other**2).sum(1) - 2 * one @ other.T
    costs = np.sqrt(np.maximum(square, 0))
    return costs[linear_sum_assignment(costs)].mean()


def train(variant, real, fake, seed, steps):
    """The critic's score, after so many updates."""
    penalty, limit, transform = VARIANTS[variant]
    critic = DenseCritic(WIDTH)
    optimizers = {"critic": clip_weights(Optimizer(("critic",), transform), limit)}

    def score(params, image):
        return critic.apply({"params": params}, image)

    def loss(moving, given):
        real, fake, share = given.batch
        apart = score(moving["critic"], fake).mean() - score(moving["critic"], real).mean()
        if not penalty:
            return apart, Aux({})
        mixed = losses.interpolate(real, fake, share)
        excess, _ = losses.gradient_penalty(score, moving["critic"], mixed)
        return apart + penalty * excess.mean(), Aux({})

    @jax.jit
    def run(moving, opts, key):
        def step(carry, key):
            moving, opts = carry
            keys = jax.random.split(key, 3)
            places = [jax.random.choice(one, FACES, (BATCH,)) for one in keys[:2]]
            batch = real[places[0]], fake[places[1]], jax.random.uniform(keys[2], (BATCH,))
            given = Given({}, batch, (), key, (), ())
            moving, opts, _, _ = updates.run_updates(
                optimizers, [Update("critic", loss)], moving, opts, given
            )
            return (moving, opts), None

        return jax.lax.scan(step, (moving, opts), jax.random.split(key, steps))[0]

    init_key, run_key = jax.random.split(jax.random.key(seed))
    moving = {"critic": critic.init(init_key, real[:1])["params"]}
    moving, _ = run(moving, {"critic": optimizers["critic"].transform.init(moving)}, run_key)
    return lambda image: score(moving["critic"], image)


def measure(score, real, fake):
    """The estimate, and the critic's slope on and between the sets."""
    points = jnp.concatenate([real, fake, (real + fake) / 2])
    grads = jax.grad(lambda x: score(x).sum())(points)
    slopes = jnp.sqrt(jnp.square(grads).sum(axis=(1, 2, 3)))
    estimate = score(real).mean() - score(fake).mean()
    return {
        "slope": float(slopes.mean()),
        "steepest": float(slopes.max()),
        "estimate": float(estimate),
        "per_slope": float(estimate / slopes.max()),
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=2_000)
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
    args = parser.parse_args()

    rows = []
    for seed in args.seeds:
        real, fake = two_sets(seed)
        truth = exact_distance(real, fake)
        real, fake = jnp.asarray(real), jnp.asarray(fake)
        for name in VARIANTS:
            start = time.process_time()
            found = measure(train(name, real, fake, seed, args.steps), real, fake)
            found |= {"truth": truth, "share": found["per_slope"] / truth}
            seconds = f"{time.process_time() - start:.1f}"
            values = {key: f"{value:.5g}" for key, value in found.items()}
            rows.append({"variant": name, "seed": seed} | values | {"cpu_seconds": seconds})
    write_rows(args.out / "critic.csv", rows)
    columns = ("slope", "steepest", "estimate", "truth", "share")
    print("| | " + " | ".join(columns) + " |\n" + "|---" * (1 + len(columns)) + "|")
    for name in VARIANTS:
        chosen = [row for row in rows if row["variant"] == name]
        cells = []
        for column in columns:
            values = [float(row[column]) for row in chosen]
            cells.append(f"{np.mean(values):.3g} ({min(values):.3g} to {max(values):.3g})")
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
