"""A sheet of unseen faces with every expression, to look at before a model is released.

    python -m experiments.006_recipe.sheet --model NAME --photos DIR --out sheet.jpg

Takes the largest face of each picture in DIR, or with ``--all-faces`` all of them, ``--faces`` in
total, and shows the photo around it as ``ganimation edit`` would change it.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from ganimation_jax import Animator
from ganimation_jax.action_units import EXPRESSIONS
from ganimation_jax.animation.animator import NoFaceError
from ganimation_jax.animation.photo_like import pixels_of
from ganimation_jax.reports.picture_grid import grid

LOOKS = ("neutral", *EXPRESSIONS)


def cells_of(animator, image, face, looks, side):
    """The face before and after each expression, cut from the photo: uint8 ``side side 3``."""
    left, top, right, bottom = face.box
    middle = np.array(((left + right) / 2, (top + bottom) / 2))
    reach = 0.72 * max(right - left, bottom - top)
    window = (*(middle - reach).tolist(), *(middle + reach).tolist())

    def cut(photo):
        picture = Image.fromarray(photo).crop(tuple(round(x) for x in window))
        return np.asarray(picture.resize((side, side), Image.Resampling.LANCZOS))

    edits = animator.run(image, [face], animator.targets([face], looks))
    return [cut(image), *(cut(edited) for edited in edits)]


def main() -> None:
    """Draw the sheet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help="a name, a file or a run's folder")
    parser.add_argument("--photos", type=Path, nargs="+", required=True, help="folders or files")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--all-faces", action="store_true", help="of each picture")
    parser.add_argument("--faces", type=int, default=40, help="in total (%(default)s)")
    parser.add_argument("--side", type=int, default=160, help="of a cell (%(default)s)")
    args = parser.parse_args()
    files = [
        file
        for path in args.photos
        for file in (sorted(path.glob("*.jpg")) if path.is_dir() else [path])
    ]
    rows = []
    with Animator.load(args.model) as animator:
        for file in files:
            image = pixels_of(file)
            try:
                found = animator.find(image, "all" if args.all_faces else "largest")
            except NoFaceError:
                print(f"{file.name}: no face")
                continue
            for face in found[: args.faces - len(rows)]:
                for note in face.reach.notes if face.reach else ():
                    print(f"row {len(rows) + 1}, {file.name}: {note}")
                rows.append(cells_of(animator, image, face, list(LOOKS), args.side))
    names = [str(number) for number in range(1, len(rows) + 1)]
    Image.fromarray(grid(rows, names, ("photo", *LOOKS))).save(args.out, quality=88)
    print(f"{len(rows)} faces in {args.out}")


if __name__ == "__main__":
    main()
