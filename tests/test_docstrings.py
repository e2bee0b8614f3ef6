"""Examples in the docstrings of the public API run, and show what they say."""

import doctest

import pytest
from helpers import ROOT, needs_mediapipe

from ganimation_jax.animation import animator


@needs_mediapipe
@pytest.mark.slow
def test_animator(monkeypatch):
    monkeypatch.chdir(ROOT)
    failures, tried = doctest.testmod(animator)
    assert (failures, tried > 3) == (0, True)
