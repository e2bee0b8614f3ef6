"""A face given the basic expressions by a trained run, with attention and colour.

    python experiments/figures/expressions.py --workdir RUN --image face.png --out figure.png

The picture must be a face crop, or be made one with --crop LEFT TOP SIDE. With --portrait the
face is scikit-image's astronaut (public domain; needs scikit-image).
"""

import argparse
from pathlib import Path

import jax
import numpy as np
from PIL import Image

from ganimation_jax.action_units import EXPRESSIONS, positions
from ganimation_jax.runs import load_run
from ganimation_jax.types import to_float, to_uint8
from ganimation_jax.writers import grid

PORTRAIT_CROP = (151, 43, 148)  # eyes where aligned training faces have them
INTENSITY = 0.8


def read_face(args):
    if args.portrait:
        from skimage import data

        picture, args.crop = Image.fromarray(data.astronaut()), PORTRAIT_CROP
    else:
        picture = Image.open(args.image).convert("RGB")
    if args.crop:
        left, top, side = args.crop
        picture = picture.crop((left, top, left + side, top + side))
    return picture.convert("L").convert("RGB") if args.grey else picture


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--image", type=Path)
    parser.add_argument("--portrait", action="store_true")
    parser.add_argument("--crop", type=int, nargs=3, metavar=("LEFT", "TOP", "SIDE"))
    parser.add_argument("--grey", action="store_true", help="for runs trained on grey faces")
    parser.add_argument("--expressions", nargs="+", default=["neutral", *EXPRESSIONS])
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()

    run = load_run(args.workdir)
    face = read_face(args).resize((run.image_size,) * 2, Image.Resampling.LANCZOS)
    targets = np.zeros((len(args.expressions), len(run.action_units)), np.float32)
    for target, name in zip(targets, args.expressions, strict=True):
        units = [unit for unit in EXPRESSIONS.get(name, ()) if unit in run.action_units]
        if units:
            target[positions(units, run.action_units)] = INTENSITY
    source = np.asarray(face)
    images = to_float(np.repeat(source[None], len(targets), axis=0))
    edit = jax.jit(run.method.edit)(run.ema, images, targets)
    attention = np.repeat(np.asarray(to_uint8(edit.attention * 2 - 1)), 3, axis=-1)
    blank = np.full_like(source, 255)
    rows = [
        [source, *np.asarray(to_uint8(edit.image))],
        [blank, *attention],
        [blank, *np.asarray(to_uint8(edit.color))],
    ]
    figure = grid(rows, ["edited", "attention", "colour"], ["source", *args.expressions])
    Image.fromarray(figure).save(args.out)


if __name__ == "__main__":
    main()
