"""Runs and models on disk: checkpoints, weights, cards."""
