"""All faces of a photo edited at once, at the photo's own size: before, after, attention.

python experiments/figures/in_the_wild.py --model RUN --image photo.jpg --out figure.png
"""

import numpy as np
import photo

from ganimation_jax.animation.pasting import spread
from ganimation_jax.animation.targets import expression


def main():
    made = photo.parser(__doc__)
    made.add_argument("--expression", default="happy")
    args, animator, picture, face = photo.subject(made)
    target = expression(args.expression, animator.action_units)
    faces = [face] if args.aligned else animator.find(picture, "all")
    aims = animator.targets(faces, [target])[0]
    kept = np.ones(picture.shape[:2], np.float32)
    for face, aim in zip(faces, aims, strict=True):
        mask = animator.attention(face, aim)
        kept = np.minimum(kept, spread(mask, face.transform, picture.shape[:2], outside=1.0))
    mask = np.repeat((255 * kept[..., None]).round().astype(np.uint8), 3, axis=-1)
    panels = [picture, animator.with_faces(picture, faces, aims), mask]
    photo.save(
        args.out, np.concatenate(panels, axis=0 if picture.shape[1] > picture.shape[0] else 1)
    )


if __name__ == "__main__":
    main()
