"""Measurements: what a training step, the input, an edit and a compilation cost on this machine."""
