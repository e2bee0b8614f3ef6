"""Compare models on held-out pairs of generated people: the true edit, and MediaPipe's reading.

    python -m experiments.006_recipe.compare --data DATA --model stage1=FILE --model stage1=FILE:1.8

A number after the file sets the generator's gain. Prints a Markdown table; a line 'no edit' stands
first. Needs the extras `annotate` and `evaluate`.
"""

import argparse
import contextlib
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
# Column -> what it is, and the digits of it that mean something.
MEASURES = {
    "psnr": ("PSNR", 2),
    "psnr_changed": ("where it changes", 2),
    "lpips": ("LPIPS", 4),
    "identity": ("dlib, to the source", 3),
    "mediapipe": ("MediaPipe, r", 2),
    "pixels": ("pixel change, of 255", 1),
}


class HeldOut:
    """Held-out pictures with their true edits, and the judges of an edit; close it.

    Args:
      data: what ``ganimation prepare people`` wrote.
      size: side of the pictures in pixels.
      names: of the action units.
      examples: pictures.
    """

    def __init__(self, data, size, names, examples):
        faces = FaceDataset(data, "test")
        parts = list(
            evaluation_batches(
                faces,
                image_size=size,
                conditions=names,
                batch_size=BATCH,
                examples=examples,
                seed=0,
                paired=True,
            )
        )
        joined = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
        self.source, self.target = (
            np.asarray(to_float(jnp.asarray(joined[key]))) for key in ("image", "other")
        )
        self.have, self.want = joined["have"], joined["want"]
        self.persons = [faces[i]["person"] for i in range(examples)]
        self._look = functools.partial(in_batches, lpips.load(), size=BATCH)
        self._embed = functools.partial(in_batches, face_resnet.load(), size=BATCH)
        self._open = contextlib.ExitStack()
        self._judge = self._open.enter_context(judges.mediapipe(names))
        self._good = [i for i, unit in enumerate(names) if self._judge.quality[unit] == "good"]

    def edits(self, run, gain=1.0):
        """What a run's generator makes of the sources, with this gain."""
        config = ConfigDict(run.config)
        config.generator.gain = gain
        model = methods.load(config.method).model(config)
        edit = jax.jit(functools.partial(model.edit, run.used))
        return in_batches(lambda *x: edit(*x).image, self.source, self.want, self.have, size=BATCH)

    def measure(self, edited):
        """``MEASURES`` of edits, by name."""
        pairs = true_edit.Pairs(self.source, self.target, edited, self.persons)
        found = {score.key: score.value for score in true_edit.evaluate(pairs)}
        apart = np.linalg.norm(self._embed(edited) - self._embed(self.source), axis=1).mean()
        read = self._judge.read(edited)[:, self._good]
        return {
            "psnr": found["true_edit/psnr"],
            "psnr_changed": found["true_edit/psnr_changed"],
            "lpips": self._look(edited, self.target).mean(),
            "identity": apart,
            "mediapipe": np.nanmean(correlation(read, self.want[:, self._good])),
            "pixels": 127.5 * np.abs(edited - self.source).mean(),
        }

    def close(self):
        """Close the judge."""
        self._open.close()


def heading():
    """The first two lines of a Markdown table of ``MEASURES``."""
    titles = " | ".join(title for title, _ in MEASURES.values())
    return f"| | {titles} |\n|{'---|' * (1 + len(MEASURES))}"


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
    first = load_run(models[0][1].partition(":")[0])
    print(heading())
    with contextlib.closing(
        HeldOut(args.data, first.image_size, first.names, args.examples)
    ) as held_out:

        def line(name, edited):
            found = held_out.measure(edited)
            cells = (f"{found[key]:.{digits}f}" for key, (_, digits) in MEASURES.items())
            print(f"| {name} | {' | '.join(cells)} |", flush=True)

        line("no edit", held_out.source)
        for name, text in models:
            file, _, gain = text.partition(":")
            line(
                f"{name}, gain {float(gain or 1):g}",
                held_out.edits(load_run(file), float(gain or 1)),
            )


if __name__ == "__main__":
    main()
