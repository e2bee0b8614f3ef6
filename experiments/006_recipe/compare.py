"""Compare models on held-out pairs of generated people: the true edit, and MediaPipe's reading.

    python -m experiments.006_recipe.compare --data DATA --model stage1=FILE --model stage1=FILE:1.8

A number after the file sets the generator's gain. Prints a Markdown table; a line 'no edit' stands
first. Needs the extra `annotate`.
"""

import argparse
import functools

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from ganimation_jax import methods
from ganimation_jax.data.dataset import FaceDataset
from ganimation_jax.data.pipeline import evaluation_batches
from ganimation_jax.evaluation import judges, true_edit
from ganimation_jax.evaluation.agreement import correlation
from ganimation_jax.features import face_resnet, lpips
from ganimation_jax.features.batches import in_batches
from ganimation_jax.runs.load import load_run
from ganimation_jax.types import to_float

BATCH = 16


def pairs_of(data, size, names, examples):
    """Sources, targets, what they show, and who they are."""
    faces = FaceDataset(data, "test")
    batches = evaluation_batches(
        faces,
        image_size=size,
        conditions=names,
        batch_size=BATCH,
        examples=examples,
        seed=0,
        paired=True,
    )
    parts = list(batches)
    joined = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    persons = [faces[i]["person"] for i in range(examples)]
    image, other = (np.asarray(to_float(jnp.asarray(joined[key]))) for key in ("image", "other"))
    return image, other, joined["have"], joined["want"], persons


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="what `ganimation prepare people` wrote")
    parser.add_argument("--model", action="append", required=True, metavar="NAME=FILE[:GAIN]")
    parser.add_argument("--examples", type=int, default=128)
    args = parser.parse_args()
    models = [text.partition("=")[::2] for text in args.model]
    run = load_run(models[0][1].partition(":")[0])
    source, target, have, want, persons = pairs_of(
        args.data, run.image_size, run.names, args.examples
    )
    look = functools.partial(in_batches, lpips.load(), size=BATCH)
    embed = functools.partial(in_batches, face_resnet.load(), size=BATCH)
    print("| | PSNR | where it changes | LPIPS | dlib, to the source | MediaPipe, r |")
    print("|---|---|---|---|---|---|")
    with judges.mediapipe(run.names) as judge:
        good = [i for i, unit in enumerate(run.names) if judge.quality[unit] == "good"]

        def line(name, edited):
            found = {
                score.key: score.value
                for score in true_edit.evaluate(true_edit.Pairs(source, target, edited, persons))
            }
            apart = np.linalg.norm(embed(edited) - embed(source), axis=1).mean()
            r = np.nanmean(correlation(judge.read(edited)[:, good], want[:, good]))
            psnr, changed = (found[f"true_edit/{key}"] for key in ("psnr", "psnr_changed"))
            distance = look(edited, target).mean()
            print(
                f"| {name} | {psnr:.2f} | {changed:.2f} | {distance:.4f} | {apart:.3f} | {r:.2f} |",
                flush=True,
            )

        line("no edit", source)
        for name, text in models:
            file, _, gain = text.partition(":")
            run = load_run(file)
            config = ConfigDict(run.config)
            config.generator.gain = float(gain or 1.0)
            model = methods.load(config.method).model(config)
            edit = jax.jit(functools.partial(model.edit, run.used))
            line(
                f"{name}, gain {config.generator.gain:g}",
                in_batches(lambda *x, edit=edit: edit(*x).image, source, want, have, size=BATCH),
            )


if __name__ == "__main__":
    main()
