"""The command's name and the version: the build reads this file without importing anything."""

PROGRAM = "ganimation"
__version__ = "0.1.0"
