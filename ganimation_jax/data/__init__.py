"""Faces on disk, faces drawn, and the way from there to batches. Never imports jax."""
