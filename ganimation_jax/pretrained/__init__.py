"""Trained models as files to hand on, and those that come with the library."""
