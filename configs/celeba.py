"""GANimation on CelebA faces annotated by OpenFace.

    ganimation prepare openface --images CROPS --csv OPENFACE --out DATA
    python -m ganimation_jax.main --config=configs/celeba.py --config.data.dir=DATA --workdir=RUN

``CROPS`` are square face crops: CelebA's own aligned pictures are 178x218.
Presets are those of configs/emotionet.py: the paper's settings are the default, ``:replicate``
is what ``ganimation_replicate`` trains on this set.
"""

from ml_collections import ConfigDict

from configs import emotionet


def get_config(preset: str = "paper") -> ConfigDict:
    """The config of a preset."""
    cfg = emotionet.get_config(preset)
    cfg.wandb.project = "ganimation-celeba"
    return cfg
