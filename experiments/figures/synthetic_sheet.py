"""Contact sheet of the synthetic faces: a row per person, a column per expression.

python experiments/figures/synthetic_sheet.py --out docs/synthetic_faces.png
"""

import argparse

import numpy as np
from PIL import Image, ImageDraw

from ganimation_jax.action_units import ACTION_UNITS
from ganimation_jax.synthetic.drawn_face import render
from ganimation_jax.synthetic.faces import SyntheticFaces

EXPRESSIONS = {  # after EMFACS (Friesen & Ekman, 1983)
    "neutral": {},
    "smile": {"AU06": 0.7, "AU12": 0.8, "AU25": 0.6},
    "surprise": {"AU01": 0.8, "AU02": 0.8, "AU05": 0.7, "AU25": 0.5, "AU26": 0.9},
    "frown": {"AU04": 1.0, "AU07": 0.6, "AU23": 0.6},
    "sadness": {"AU01": 0.9, "AU04": 0.5, "AU15": 0.9, "AU17": 0.6},
    "disgust": {"AU09": 1.0, "AU10": 0.7, "AU25": 0.3},
    "fear": {"AU01": 0.8, "AU02": 0.4, "AU04": 0.5, "AU05": 0.8, "AU20": 0.8, "AU25": 0.6},
    "blink": {"AU45": 1.0},
}
PEOPLE = (30, 14, 35, 21, 19, 26, 59, 23)  # indices in SyntheticFaces(..., seed=0)
LABEL, GAP = 18, 3


def expression(intensities: dict[str, float]) -> np.ndarray:
    return np.array([intensities.get(code, 0.0) for code in ACTION_UNITS], np.float32)


def sheet(image_size: int, people: tuple[int, ...]) -> Image.Image:
    cell = image_size + GAP
    picture = Image.new("RGB", (len(EXPRESSIONS) * cell, LABEL + len(people) * cell), "white")
    draw = ImageDraw.Draw(picture)
    faces = SyntheticFaces(max(people) + 1, image_size)
    for column, (name, intensities) in enumerate(EXPRESSIONS.items()):
        draw.text((column * cell + 4, 3), name, fill="black")
        for row, index in enumerate(people):
            face = render(faces.identity(index), expression(intensities), image_size)
            picture.paste(Image.fromarray(face), (column * cell, LABEL + row * cell))
    return picture


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="docs/synthetic_faces.png")
    parser.add_argument("--image-size", type=int, default=112)
    parser.add_argument("--people", type=int, nargs="+", default=PEOPLE)
    args = parser.parse_args()
    picture = sheet(args.image_size, tuple(args.people))
    picture.save(args.out, optimize=True)


if __name__ == "__main__":
    main()
