"""GANimation on faces that the library draws itself: no download, no preparation.

    python -m ganimation_jax.main --config=configs/synthetic.py --workdir=runs/synthetic

Presets: the default trains a reduced model at 64x64 (what ``make demo`` runs);
``:smoke`` shows in under a minute on two CPU cores that everything works.
"""

from ml_collections import ConfigDict

from configs import emotionet


def get_config(preset: str = "demo") -> ConfigDict:
    """The config of a preset."""
    if preset not in ("demo", "smoke"):
        raise ValueError(f"no preset {preset!r} in configs/synthetic.py; there are: demo, smoke")
    cfg = emotionet.get_config()
    cfg.data.source = "synthetic"
    cfg.data.size = 4_096
    cfg.image_size = 64
    cfg.batch_size = 16
    cfg.n_critic = 2
    cfg.epochs = 2.0
    cfg.decay_epochs = 1.0
    cfg.generator.update(width=16, residual_blocks=3)
    cfg.critic.width = 16
    cfg.every.update(log=320, sample=2_048, evaluate=4_096, checkpoint=4_096)
    cfg.evaluate.examples = 128
    if preset == "smoke":
        cfg.image_size = 32
        cfg.data.size = 256
        cfg.batch_size = 8
        cfg.epochs = 1.0
        cfg.decay_epochs = 0.5
        cfg.generator.update(width=8, residual_blocks=2)
        cfg.critic.width = 8
        cfg.every.update(log=64, sample=128, evaluate=128, checkpoint=128)
        cfg.evaluate.update(examples=32, batch_size=16)
    return cfg
