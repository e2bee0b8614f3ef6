"""Features and action units that depend on a style linearly."""

import numpy as np

from ganimation_jax.action_units import ACTION_UNITS
from ganimation_jax.prepare.people_directions import Seen


def linear_world(people=60, variations=5, noise=0.2):
    """People whose expression follows 20 directions of style, and whose identity 20 others.

    Returns:
      What is measured of them, and the true effect of style on action units and descriptor.
    """
    rng = np.random.default_rng(1)
    space = np.linalg.qr(rng.normal(size=(512, 40)))[0].T  # 40 512
    expression, identity = rng.normal(size=(20, 17)), rng.normal(size=(20, 128))
    seen = []
    for _ in range(people):
        latent = rng.normal(size=(variations, 40))
        aus = 2 + latent[:, :20] @ expression + rng.normal(size=(variations, 17)) * noise
        aus[:, ACTION_UNITS.index("AU09")] = np.nan
        pose = rng.normal(size=(variations, 3))
        seen.append(Seen(latent @ space, aus, latent[:, 20:] @ identity, pose))
    return seen, space[:20].T @ expression, space[20:].T @ identity
