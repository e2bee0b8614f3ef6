"""``python -m ganimation_jax.webui --model RUN``: edit expressions in a browser."""

import sys

from ganimation_jax.animation.web import main

if __name__ == "__main__":
    sys.exit(main())
