"""What is painted, what is kept, and what comes of both (paper, figures 2 and 4).

python experiments/figures/attention.py --model RUN --portrait --out figure.png
"""

import numpy as np
import photo

from ganimation_jax.animation.targets import expression
from ganimation_jax.samples import SHOWN
from ganimation_jax.writers import grid


def main():
    args, animator, picture, _ = photo.subject(photo.parser(__doc__))
    rows = []
    for name in SHOWN:
        target = expression(name, animator.action_units)
        found = animator.explain(picture, target, aligned=args.aligned)
        kept = animator.attention(animator.find(picture, aligned=args.aligned)[0], found.aus)
        mask = np.repeat((255 * kept[..., None]).round().astype(np.uint8), 3, axis=-1)
        # Where attention is low the crop is shown, elsewhere white: what the model works on.
        share = 1 - kept[..., None]
        where = (found.crop * share + 255 * (1 - share)).round().astype(np.uint8)
        (edit,) = photo.edited(
            animator, animator.find(picture, aligned=args.aligned)[0], found.aus[None]
        )
        rows.append([found.crop, mask, where, found.color, edit])
    columns = ["source", "attention", "worked on", "colour", "edited"]
    photo.save(args.out, grid(rows, SHOWN, columns))


if __name__ == "__main__":
    main()
