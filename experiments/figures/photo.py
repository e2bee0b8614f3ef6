"""What the figures have in common: a model, a photo, and where the picture goes."""

import argparse
import atexit
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from ganimation_jax.animation.animator import Animator, Face
from ganimation_jax.media.pictures import read_picture
from ganimation_jax.runs.pretrained import DEFAULT

# Combinations of action units from the talk: one, and others joining it.
COMBINED = (
    ("AU12", "AU06", "AU25"),
    ("AU01", "AU02", "AU05", "AU26"),
    ("AU04", "AU07", "AU23"),
    ("AU15", "AU17", "AU01"),
)


class Subject(NamedTuple):
    args: argparse.Namespace
    animator: Animator
    photo: np.ndarray  # uint8 h w 3
    face: Face  # the largest


def parser(doc):
    made = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--model", default=DEFAULT, help="as animate's (%(default)s)")
    made.add_argument("--out", type=Path, required=True)
    return made


def subject(made):
    """The face of ``--image``, or of scikit-image's astronaut (public domain)."""
    source = made.add_mutually_exclusive_group(required=True)
    source.add_argument("--image", type=Path, help="any photo; its largest face is taken")
    source.add_argument("--portrait", action="store_true", help="needs scikit-image")
    made.add_argument("--aligned", action="store_true", help="the picture is a face crop")
    args = made.parse_args()
    if args.portrait:
        from skimage import data

        photo = data.astronaut()
    else:
        photo = np.asarray(read_picture(args.image).image)
    animator = Animator.load(args.model)
    atexit.register(animator.close)  # MediaPipe complains when the interpreter does it
    return Subject(args, animator, photo, animator.find(photo, aligned=args.aligned)[0])


def edited(animator, face, targets):
    """Edits of a face's crop: uint8 ``s s 3`` for each of the targets, ``f n``."""
    crop_itself = face._replace(transform=np.eye(2, 3))
    return list(animator.run(face.crop, [crop_itself], np.asarray(targets)[:, None]))


def shown(face):
    """What a face shows, ``1 n``; 0 where that was not read."""
    return np.nan_to_num(face.aus)[None]


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    print(path)
