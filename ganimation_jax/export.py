"""``python -m ganimation_jax.export --workdir RUN --out model.ganimation``.

The generator of a run as a self-contained file; ``load_exported`` reads it back.
"""

import sys

from ganimation_jax.interop.stablehlo import load_exported, save_exported

__all__ = ["load_exported", "save_exported"]

if __name__ == "__main__":
    from ganimation_jax.interop.export import main

    sys.exit(main())
