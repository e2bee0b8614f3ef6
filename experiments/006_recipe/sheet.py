"""A sheet of unseen faces with every expression, to look at before a model is released.

    python -m experiments.006_recipe.sheet --model NAME --photos DIR --out sheet.jpg
    python -m experiments.006_recipe.sheet --model NAME --drawn 2026 --out sheet.jpg

Takes the largest face of each picture in DIR, or with ``--all-faces`` all of them, ``--faces`` in
total, and shows the photo around it as ``ganimation edit`` would change it. ``--drawn`` draws
people of a seed in place of photos (extra `people`). ``--rows`` keeps some rows of the sheet:

    --drawn 2026 --side 128 --rows 7 20 6 17 1 36 --out docs/people.jpg
    --drawn 2026 --side 128 --rows 4 14 15 22 23 34 --out docs/models/people-128_worst.jpg
    --photos ganimation_jax/web/static/portrait.jpg --side 152 --rows 1 --out docs/portrait.jpg
"""

import argparse
import itertools
from pathlib import Path

import numpy as np
from PIL import Image

from ganimation_jax import Animator
from ganimation_jax.action_units import EXPRESSIONS
from ganimation_jax.animation.animator import NoFaceError
from ganimation_jax.animation.photo_like import pixels_of
from ganimation_jax.reports.picture_grid import grid
from ganimation_jax.synthetic.face_generator import FaceGenerator

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


def photos(paths):
    """Names and pixels of pictures in folders and files."""
    for path in paths:
        for file in sorted(path.glob("*.jpg")) if path.is_dir() else [path]:
            yield file.name, pixels_of(file)


def drawn(seed):
    """Numbers and pictures of people of a seed, at half the generator's resolution."""
    generator = FaceGenerator()
    for number in itertools.count():
        picture = Image.fromarray(generator.draw(generator.person(seed, number)))
        yield f"person {number}", np.asarray(picture.reduce(2))


def main() -> None:
    """Draw the sheet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help="a name, a file or a run's folder")
    parser.add_argument("--photos", type=Path, nargs="+", default=[], help="folders or files")
    parser.add_argument("--drawn", type=int, metavar="SEED", help="draw people instead")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--all-faces", action="store_true", help="of each picture")
    parser.add_argument("--faces", type=int, default=40, help="in total (%(default)s)")
    parser.add_argument("--side", type=int, default=160, help="of a cell (%(default)s)")
    parser.add_argument("--rows", type=int, nargs="+", help="only these, without numbers")
    args = parser.parse_args()
    pictures = drawn(args.drawn) if args.drawn is not None else photos(args.photos)
    rows = []
    with Animator.load(args.model) as animator:
        while len(rows) < args.faces and (picture := next(pictures, None)):
            name, image = picture
            try:
                found = animator.find(image, "all" if args.all_faces else "largest")
            except NoFaceError:
                print(f"{name}: no face")
                continue
            for face in found[: args.faces - len(rows)]:
                for note in face.reach.notes if face.reach else ():
                    print(f"row {len(rows) + 1}, {name}: {note}")
                rows.append(cells_of(animator, image, face, list(LOOKS), args.side))
    names = [str(number) for number in range(1, len(rows) + 1)]
    if args.rows:
        rows, names = [rows[number - 1] for number in args.rows], []
    Image.fromarray(grid(rows, names, ("photo", *LOOKS))).save(args.out, quality=88)
    print(f"{len(rows)} faces in {args.out}")


if __name__ == "__main__":
    main()
