"""From the face's own expression to others, in equal steps (paper, figure 1).

python experiments/figures/interpolation.py --model RUN --portrait --out figure.png
"""

import numpy as np
import photo

from ganimation_jax.reports.picture_grid import grid
from ganimation_jax.reports.samples import wanted

STEPS = 7


def main():
    args, animator, _, face = photo.subject(photo.parser(__doc__))
    shares = np.linspace(0, 1, STEPS, dtype=np.float32)
    targets = wanted(animator.model.conditions, photo.shown(face))
    rows = [
        [face.crop, *photo.edited(animator, face, face.aus + shares[:, None] * (goal - face.aus))]
        for (goal,) in targets.values()
    ]
    columns = ["source", *(f"{share:.2f}" for share in shares)]
    photo.save(args.out, grid(rows, list(targets), columns))


if __name__ == "__main__":
    main()
