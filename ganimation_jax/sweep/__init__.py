"""Sweeps of hyperparameters without an account."""
