"""Faces in photos: find them, measure their expression, cut them out upright."""
