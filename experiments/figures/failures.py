"""The edits of a folder's faces that went worst: not what was asked for, by the model's critic.

python experiments/figures/failures.py --model RUN --images FOLDER --out figure.png

Not chosen by hand: every face gets one expression, drawn with a fixed seed; those are shown
whose action units, read from the edit, are farthest from those asked for.
"""

import atexit
import sys
from pathlib import Path

import numpy as np
import photo

from ganimation_jax.action_units import EXPRESSIONS
from ganimation_jax.animation.animator import Animator, NoFaceError
from ganimation_jax.animation.targets import expression
from ganimation_jax.files.unusable import UnusableFile
from ganimation_jax.media.pictures import IMAGE_SUFFIXES, read_picture
from ganimation_jax.reports.picture_grid import grid
from ganimation_jax.reports.samples import wanted

SHOWN, SEED = 8, 0


def main():
    made = photo.parser(__doc__)
    made.add_argument("--images", type=Path, required=True)
    made.add_argument("--aligned", action="store_true", help="the pictures are face crops")
    args = made.parse_args()
    animator, rng = Animator.load(args.model), np.random.default_rng(SEED)
    atexit.register(animator.close)  # MediaPipe complains when the interpreter does it
    units = animator.action_units
    nothing = np.zeros((1, len(units)), np.float32)
    names = [n for n in wanted(animator.model.conditions, nothing) if n in EXPRESSIONS]
    found = []
    for path in sorted(p for p in args.images.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES):
        name = names[rng.integers(len(names))]
        try:
            face = animator.find(np.asarray(read_picture(path).image), aligned=args.aligned)[0]
        except (NoFaceError, UnusableFile) as error:
            print(f"{path}: {error}", file=sys.stderr)
            continue
        target = animator.targets([face], [expression(name, units)])[0]
        (edit,) = photo.edited(animator, face, target)
        read = animator.find(edit, aligned=True)[0].aus
        found.append((float(np.abs(read - target[0]).mean()), face.crop, edit, name))
    found.sort(key=lambda one: -one[0])
    worst = found[:SHOWN]
    rows = [[crop for _, crop, _, _ in worst], [edit for _, _, edit, _ in worst]]
    columns = [f"{name} {error:.2f}" for error, _, _, name in worst]
    photo.save(args.out, grid(rows, ["source", "edited"], columns))


if __name__ == "__main__":
    main()
