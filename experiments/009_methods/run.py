"""Six methods edit the emotion of drawn faces, at equal images; another network judges them.

    python -m experiments.009_methods.run --runs runs/009 --out experiments/009_methods

Every method is trained with every seed on pictures of the same drawn persons, each of whom shows
eight emotions, and edits neutral pictures of other persons. Their own pictures of the emotion are
the truth. A classifier trained on the same pictures judges whether an edit shows what was asked.
CycleGAN and DIAT have a model for each emotion (``--pairs``); the others have one for all.
``results.csv`` grows, and what it has is not done again. Set ``JAX_COMPILATION_CACHE_DIR``, and all
seeds and pairs of a method share its compiled steps. Needs the extra ``evaluate``.
"""

import argparse
import functools
import itertools
import logging
import time
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from PIL import Image

from configs import cyclegan, diat, icgan, stargan, synthetic
from experiments.rows import read_rows, write_rows
from ganimation_jax.action_units import EXPRESSIONS, OPENFACE_MAXIMUM
from ganimation_jax.conditions import EMOTIONS
from ganimation_jax.data.pipeline import build_source
from ganimation_jax.evaluation import quality
from ganimation_jax.features import face_resnet
from ganimation_jax.features.batches import in_batches
from ganimation_jax.models import cpu_convolutions, layers
from ganimation_jax.reports.picture_grid import grid
from ganimation_jax.runs.load import load_run
from ganimation_jax.training import loop
from ganimation_jax.types import parameter_count, to_float, to_uint8

METHODS = ("GANimation", "StarGAN", "CycleGAN", "IcGAN", "DIAT 2016", "DIAT 2018")
RATE = 4e-4  # of all: two to four times the published ones, because there are few steps
SIZE = 32
PERSONS, HELD_OUT = 256, 32  # each has eight pictures, one of each emotion
TARGETS = tuple(EXPRESSIONS)  # all emotions but neutral
PAIRED = ("CycleGAN", "DIAT 2016", "DIAT 2018")
MODELS = {"CycleGAN": 7, "DIAT 2016": 7, "DIAT 2018": 7}  # for the seven emotions
SHOWN = 2  # persons in the figure
EPOCHS, JUDGE_RATE = 30, 1e-3  # of the judge


# Methods


def config(method, emotion, seed, images):
    """The config of a method; of CycleGAN and DIAT from neutral to an emotion."""
    if method == "GANimation":
        cfg, epoch = synthetic.get_config("smoke"), PERSONS * len(EMOTIONS)
    elif method == "StarGAN":
        cfg, epoch = stargan.get_config("smoke"), PERSONS * len(EMOTIONS)
        cfg.conditions = "emotion"
    elif method == "IcGAN":
        cfg, epoch = icgan.get_config("smoke"), PERSONS * len(EMOTIONS)
    elif method == "CycleGAN":
        cfg, epoch = cyclegan.get_config("smoke"), PERSONS
        cfg.conditions, cfg.pool_size = f"neutral,{emotion}", 50
    else:
        preset = {"DIAT 2016": "smoke", "DIAT 2018": "smoke2018"}[method]
        cfg, epoch = diat.get_config(preset), PERSONS
        cfg.conditions, cfg.inputs = (emotion,), "neutral"
    cfg.seed, cfg.image_size = seed, SIZE
    cfg.data.size, cfg.data.labels, cfg.data.expressions = PERSONS * len(EMOTIONS), True, 8
    cfg.data.resident = True
    cfg.epochs = images / epoch
    if "decay_epochs" in cfg:
        cfg.decay_epochs = cfg.epochs / 3
    cfg.lr = RATE
    cfg.every.update(log=512, evaluate=10**9, sample=10**9, checkpoint=10**9)
    cfg.evaluate.update(examples=8, batch_size=8)
    cfg.wandb.mode, cfg.health.on = "disabled", False
    return widened(cfg, method)


def widened(cfg, method):
    """Networks of like widths: 8 channels at first, two residual blocks."""
    if method == "IcGAN":
        cfg.latent = 50
        cfg.generator.width = cfg.critic.width = 16
        cfg.encoder.update(width=16, hidden_z=256, hidden_y=128)
    elif method == "DIAT 2016":
        cfg.transform.update(width=8, residual_blocks=2)
    elif method == "DIAT 2018":
        cfg.transform.update(width=8, depth=3)
    else:
        cfg.generator.update(width=8, residual_blocks=2)
        cfg.critic.width = 8
    return cfg


# Faces


@functools.cache
def faces(seed, split):
    """Pictures by person and emotion, uint8 ``persons 8 h w 3``, and action units, ``... 17``."""
    cfg = config("StarGAN", "", seed, 1)
    cfg.evaluate.examples = HELD_OUT * len(EMOTIONS)
    source = build_source(cfg, split)
    images = np.zeros((len(source) // 8, 8, SIZE, SIZE, 3), np.uint8)
    aus = np.zeros((len(source) // 8, 8, 17), np.float32)
    for i in range(len(source)):
        place = i // 8, EMOTIONS.index(source.emotion(i))
        one = source[i]
        images[place], aus[place] = one["image"], one["aus"] / OPENFACE_MAXIMUM
    return images, aus


def wanted(model, emotion, seed):
    """The conditions that ask a model for an emotion: ``n``; None where it cannot make it."""
    if model.conditions[0].kind == "intensity":
        _, aus = faces(seed, "train")
        return aus[:, EMOTIONS.index(emotion)].mean(axis=0)
    names = list(model.names)
    return np.array([name == emotion for name in names], np.float32) if emotion in names else None


# The judge


class Judge(nn.Module):
    """A small classifier of emotions."""

    @nn.compact
    def __call__(self, x):  # b h w 3 -> b 8
        """Return logits."""
        for features in (16, 32, 64):
            x = nn.relu(nn.GroupNorm(8)(nn.Conv(features, (3, 3))(x)))
            x = nn.max_pool(x, (2, 2), (2, 2))
        return nn.Dense(len(EMOTIONS))(nn.relu(nn.Dense(128)(x.reshape(len(x), -1))))


def trained_judge(seed):
    """Images ``b h w 3`` in [-1, 1] -> emotions ``b``; and its error on held-out persons."""
    images, _ = faces(seed, "train")
    x = images.reshape(-1, SIZE, SIZE, 3)
    y = np.tile(np.arange(8), len(images))
    judge, steps = Judge(), EPOCHS * len(x) // 64
    params = judge.init(jax.random.key(seed), jnp.zeros((1, SIZE, SIZE, 3)))
    optimizer = optax.adamw(optax.cosine_decay_schedule(JUDGE_RATE, steps), weight_decay=0.01)

    @jax.jit
    def step(params, state, x, y, key):
        shift = jax.random.randint(key, (2,), -2, 3)
        x = jnp.roll(to_float(x), shift, axis=(1, 2))

        def loss(params):
            logits = judge.apply(params, x)
            return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    state, rng = optimizer.init(params), np.random.default_rng(seed)
    order = itertools.chain.from_iterable(rng.permutation(len(x)) for _ in itertools.count())
    for i in range(steps):
        batch = np.fromiter(itertools.islice(order, 64), int)
        mirrored = x[batch][:, :, ::-1] if i % 2 else x[batch]
        params, state = step(params, state, mirrored, y[batch], jax.random.key(i))
    classify = jax.jit(lambda x: judge.apply(params, x).argmax(axis=-1))
    held_out, _ = faces(seed, "test")
    said = in_batches(classify, floats(held_out.reshape(-1, SIZE, SIZE, 3)))
    return classify, float((said != np.tile(np.arange(8), len(held_out))).mean())


def floats(images):
    return images.astype(np.float32) / 127.5 - 1


# Measuring


def edits_of(workdir, seed):
    """Edits of the held-out persons' neutral pictures, by emotion: ``persons h w 3``."""
    run = load_run(workdir)
    images, _ = faces(seed, "test")
    source = floats(images[:, EMOTIONS.index("neutral")])
    edit = jax.jit(run.model.edit)
    found = {}
    for emotion in TARGETS:
        if (want := wanted(run.model, emotion, seed)) is None:
            continue
        have = np.zeros((len(source), len(want)), np.float32)
        want = np.repeat(want[None], len(source), axis=0)
        batch = lambda *args: edit(run.used, *args).image  # noqa: E731
        found[emotion] = in_batches(batch, source, want, have)
    return found, sum(map(parameter_count, run.nets.values()))


def measure(edits, emotion, seed, judge, describe):
    """Scores of edits to one emotion, or of any pictures in their place."""
    images, _ = faces(seed, "test")
    source = floats(images[:, EMOTIONS.index("neutral")])
    truth = floats(images[:, EMOTIONS.index(emotion)])
    moved = quality.visible_change(source, truth)
    same = np.linalg.norm(in_batches(describe, edits) - in_batches(describe, source), axis=1)
    return {
        "error": float((in_batches(judge, edits) != EMOTIONS.index(emotion)).mean()),
        "identity": float(same.mean()),
        "psnr": float(quality.psnr(edits, truth).mean()),
        "psnr_changed": float(np.nanmean(quality.psnr_within(edits, truth, moved))),
    }


def references(seed, judge, describe):
    """What no edit, the truth and another person's picture score, by emotion."""
    images, _ = faces(seed, "test")
    neutral = floats(images[:, EMOTIONS.index("neutral")])
    for emotion in TARGETS:
        truth = floats(images[:, EMOTIONS.index(emotion)])
        for name, picture in {
            "no edit": neutral,
            "truth": truth,
            "another person": np.roll(truth, 1, axis=0),
        }.items():
            yield name, emotion, measure(picture, emotion, seed, judge, describe)


# The table and the figure


def table(rows, emotion=""):
    """Markdown: mean over emotions, with the range over seeds; of one emotion if it is named."""
    columns = {"error": 0, "identity": 2, "psnr": 1, "psnr_changed": 1}
    lines = ["| | " + " | ".join((*columns, "parameters", "models", "seconds")) + " |"]
    lines.append("|---" * (len(columns) + 4) + "|")
    for method in dict.fromkeys(row["method"] for row in rows):
        mine = [x for x in rows if x["method"] == method and emotion in ("", x["emotion"])]
        if not mine:
            continue
        cells = []
        for column, digits in columns.items():
            scale = 100 if column == "error" else 1
            means = [
                scale * np.mean([float(row[column]) for row in mine if row["seed"] == seed])
                for seed in dict.fromkeys(row["seed"] for row in mine)
            ]
            text = f"{np.mean(means):.{digits}f}"
            if len(means) > 1:
                text += f" ({min(means):.{digits}f} to {max(means):.{digits}f})"
            cells.append(text)
        cells += [f"{int(mine[0]['parameters']):,}" if int(mine[0]["parameters"]) else ""]
        cells += [str(MODELS.get(method, 1)) if cells[-1] else ""]
        seconds = [float(row["seconds"]) for row in mine]
        cells += [f"{np.mean(seconds):.0f}" if any(seconds) else ""]
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def figure(runs, seed):
    """One row a method, one column an emotion; white where no model was trained."""
    images, _ = faces(seed, "test")
    people = [images[i] for i in range(SHOWN)]
    blank = np.full_like(people[0][0], 255)
    blocks = {}
    for method in METHODS:
        found = {}
        for emotion in TARGETS:
            for workdir in {folder(runs, method, emotion, seed), folder(runs, method, "", seed)}:
                if (workdir / "checkpoints").exists():
                    found |= edits_of(workdir, seed)[0]
        if found:
            shown = {name: np.asarray(to_uint8(x[:SHOWN])) for name, x in found.items()}
            blocks[method] = shown
    cells, rows = [], []
    for i, person in enumerate(people):
        neutral = person[EMOTIONS.index("neutral")]
        cells.append([neutral, *(person[EMOTIONS.index(one)] for one in TARGETS)])
        rows.append("drawn (truth)")
        for method, shown in blocks.items():
            cells.append([neutral, *(shown[e][i] if e in shown else blank for e in TARGETS)])
            rows.append(method)
    return grid(cells, rows, ["input", *TARGETS])


def folder(runs, method, emotion, seed):
    name = method.replace(" ", "_") + (f"_{emotion}" if method in PAIRED else "")
    return runs / f"{name}_{seed}"


def train(args, method, emotion, seed):
    """The folder of the finished run and the CPU seconds that it took; None: asked to stop."""
    workdir, start = folder(args.runs, method, emotion, seed), time.process_time()
    cfg = config(method, emotion, seed, args.images)
    # Plain convolutions compile in a third of the time, and the runs are short.
    with layers.stated_by(cpu_convolutions.direct, cpu_convolutions.transposed):
        if not loop.train(cfg, workdir):
            return None
    return workdir, time.process_time() - start


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=int, default=8_192)
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--pairs", nargs="+", choices=TARGETS, default=("happy",))
    args = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)

    results = args.out / "results.csv"
    rows = read_rows(results)
    describe = face_resnet.load()
    for seed in args.seeds:
        judge = None
        cells = [(m, e) for m in args.methods for e in (args.pairs if m in PAIRED else ("",))]
        for method, emotion in cells:
            known = [row for row in rows if row["method"] == method and row["seed"] == str(seed)]
            if any(emotion in ("", row["emotion"]) for row in known):
                continue
            if (done := train(args, method, emotion, seed)) is None:
                return  # asked to stop: rerun the command to resume
            workdir, seconds = done
            if judge is None:
                judge, error = trained_judge(seed)
                print(f"seed {seed}: the judge errs on {error:.1%} of held-out faces", flush=True)
                facts = {"seed": seed, "images": 0, "parameters": 0, "seconds": 0}
                if not any(row["seed"] == str(seed) for row in rows):
                    for name, e, scores in references(seed, judge, describe):
                        rows.append(row_of(name, e, facts | {"judge": error}, scores))
            edits, parameters = edits_of(workdir, seed)
            facts = {"seed": seed, "images": args.images, "parameters": parameters}
            facts |= {"seconds": round(seconds), "judge": error}
            for one, pictures in edits.items():
                scores = measure(pictures, one, seed, judge, describe)
                rows.append(row_of(method, one, facts, scores))
            write_rows(results, rows)
            print(method, emotion, seed, f"{seconds:.0f} s of processor", flush=True)
    print(table(rows), "\n\nhappy alone\n\n" + table(rows, "happy"), sep="\n")
    Image.fromarray(figure(args.runs, args.seeds[0])).save(args.out / "methods.png")


def row_of(method, emotion, facts, scores):
    numbers = {name: f"{value:.4f}" for name, value in scores.items()}
    facts = {name: str(value) for name, value in facts.items()}
    return {"method": method, "emotion": emotion, **facts, **numbers}


if __name__ == "__main__":
    main()
