"""Bridges to other frameworks: PyTorch weights in and out."""
