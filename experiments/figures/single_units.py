"""Each action unit alone at 0, .33, .66 and 1, with attention (paper, figure 3).

python experiments/figures/single_units.py --model RUN --portrait --out figure.png
"""

import photo

from ganimation_jax.animation import figures


def main():
    args, animator, _, face = photo.subject(photo.parser(__doc__))
    photo.save(args.out, figures.units_alone(animator, face))


if __name__ == "__main__":
    main()
