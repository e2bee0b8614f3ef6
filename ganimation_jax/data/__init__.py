"""Datasets of faces on disk, and the way from faces to batches. Never imports jax."""
