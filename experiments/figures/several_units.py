"""Action units joining one another (paper, figure 5).

python experiments/figures/several_units.py --model RUN --portrait --out figure.png
"""

import numpy as np
import photo

from ganimation_jax.reports.picture_grid import grid

INTENSITY = 0.8


def main():
    args, animator, _, face = photo.subject(photo.parser(__doc__))
    units, rows, labels = animator.action_units, [], []
    for combination in photo.COMBINED:
        known = [unit for unit in combination if unit in units]
        if not known:
            continue
        targets = np.repeat(face.aus[None], len(known), axis=0)
        for count in range(len(known)):
            targets[count:, units.index(known[count])] = INTENSITY
        edits = photo.edited(animator, face, targets)
        blank = [np.full_like(face.crop, 255)] * (max(map(len, photo.COMBINED)) - len(edits))
        rows.append([face.crop, *edits, *blank])
        labels.append(" ".join(unit.removeprefix("AU") for unit in known))
    columns = ["source", "first", "+ second", "+ third", "+ fourth"]
    photo.save(args.out, grid(rows, labels, columns))


if __name__ == "__main__":
    main()
