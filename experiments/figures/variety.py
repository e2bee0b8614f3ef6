"""One face, many expressions, drawn at random with a fixed seed (paper, figure 6).

python experiments/figures/variety.py --model RUN --portrait --out figure.png
"""

import numpy as np
import photo

from ganimation_jax.reports.picture_grid import grid

ROWS, COLUMNS, ACTIVE, SEED = 4, 8, 4, 0


def main():
    args, animator, _, face = photo.subject(photo.parser(__doc__))
    rng, n = np.random.default_rng(SEED), len(animator.action_units)
    targets = np.zeros((ROWS * COLUMNS - 1, n), np.float32)
    for target in targets:
        target[rng.choice(n, min(ACTIVE, n), replace=False)] = rng.uniform(0.3, 1, min(ACTIVE, n))
    cells = [face.crop, *photo.edited(animator, face, targets)]
    rows = [cells[i : i + COLUMNS] for i in range(0, len(cells), COLUMNS)]
    photo.save(args.out, grid(rows))


if __name__ == "__main__":
    main()
