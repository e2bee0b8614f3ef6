"""Faces whose true edit is known, because the library makes them."""
