"""Methods of expression editing: one file each, chosen by name."""

from ganimation_jax.methods import ganimation

METHODS = {"ganimation": ganimation.build}
