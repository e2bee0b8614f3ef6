"""From photo collections to a dataset: ``python -m ganimation_jax.prepare``."""
