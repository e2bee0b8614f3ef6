"""GANimation on CelebA faces annotated by OpenFace.

    ganimation prepare openface --images CROPS --csv OPENFACE --out DATA
    python -m ganimation_jax.main --config=configs/celeba.py --config.data.dir=DATA --workdir=RUN

``CROPS`` holds square face crops. CelebA's own aligned pictures are 178x218.
The presets are those of configs/emotionet.py, which also states their cost. The default is the
paper's settings; ``:replicate`` has those that ``ganimation_replicate`` uses on this dataset.
"""

from ml_collections import ConfigDict

from configs import emotionet


def get_config(preset: str = "paper") -> ConfigDict:
    """Return the config of a preset."""
    cfg = emotionet.get_config(preset)
    cfg.wandb.project = "ganimation-celeba"
    return cfg
