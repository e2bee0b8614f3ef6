"""A face given the basic expressions, with attention and colour.

python experiments/figures/expressions.py --model RUN --portrait --out figure.png
"""

import numpy as np
import photo

from ganimation_jax.action_units import EXPRESSIONS
from ganimation_jax.animation.targets import NEUTRAL, expression
from ganimation_jax.reports.picture_grid import grid
from ganimation_jax.reports.samples import grey
from ganimation_jax.types import to_float, to_uint8


def main():
    args, animator, _, face = photo.subject(photo.parser(__doc__))
    units = animator.action_units
    names = [n for n in (NEUTRAL, *EXPRESSIONS) if set(EXPRESSIONS.get(n, units)) & set(units)]
    targets = animator.targets([face], [expression(name, units) for name in names])[:, 0]
    images = to_float(np.repeat(face.crop[None], len(names), axis=0))
    edit = animator.model.edit(images, targets, np.repeat(photo.shown(face), len(names), axis=0))
    blank = np.full_like(face.crop, 255)
    rows = [
        [face.crop, *photo.edited(animator, face, targets)],
        [blank, *grey(edit.attention)],
        [blank, *np.asarray(to_uint8(edit.color))],
    ]
    photo.save(args.out, grid(rows, ["edited", "attention", "colour"], ["source", *names]))


if __name__ == "__main__":
    main()
