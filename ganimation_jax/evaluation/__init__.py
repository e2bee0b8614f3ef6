"""Evaluators: plain functions that yield ``(name, value)``."""
