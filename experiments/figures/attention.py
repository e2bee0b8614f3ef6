"""What is painted, what is kept, and what comes of both (paper, figures 2 and 4).

python experiments/figures/attention.py --model RUN --portrait --out figure.png
"""

import numpy as np
import photo

from ganimation_jax.reports.picture_grid import grid
from ganimation_jax.reports.samples import grey, wanted
from ganimation_jax.types import to_float, to_uint8


def main():
    args, animator, _, face = photo.subject(photo.parser(__doc__))
    have = photo.shown(face)
    targets = wanted(animator.model.conditions, have)
    images = to_float(np.repeat(face.crop[None], len(targets), axis=0))
    want = np.concatenate(list(targets.values()))
    edit = animator.model.edit(images, want, np.repeat(have, len(want), axis=0))
    # Where attention is low the crop is shown, elsewhere white: what the model works on.
    kept = np.asarray(edit.attention)
    worked_on = (face.crop * (1 - kept) + 255 * kept).round().astype(np.uint8)
    parts = (grey(edit.attention), worked_on, to_uint8(edit.color), to_uint8(edit.image))
    rows = [[face.crop, *map(np.asarray, row)] for row in zip(*parts, strict=True)]
    columns = ["source", "attention", "worked on", "colour", "edited"]
    photo.save(args.out, grid(rows, list(targets), columns))


if __name__ == "__main__":
    main()
