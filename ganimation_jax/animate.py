"""``python -m ganimation_jax.animate photo.jpg --model RUN --au AU12=0.8 -o out.png``."""

import sys

if __name__ == "__main__":
    from ganimation_jax.animation.cli import main

    sys.exit(main())
