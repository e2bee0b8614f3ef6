"""What is where in a face crop: the one convention of preparing, evaluating and animating."""

Eyes = tuple[tuple[float, float], tuple[float, float]]
"""Centres (x, y) of the eye at the left of the crop and of the other, from 0 to 1."""

CANONICAL_EYES: Eyes = ((0.351, 0.396), (0.646, 0.397))
"""In the crops that ``prepare`` cuts, with forehead to chin 80% of the side."""
