"""GANimation on synthetic faces drawn by the library; needs no download or preparation.

    python -m ganimation_jax.main --config=configs/synthetic.py --workdir=runs/synthetic

Presets: the default trains a reduced model at 64x64, as ``make demo`` does. ``:smoke`` checks in
under a minute on two CPU cores that everything works.
"""

from ml_collections import ConfigDict

from configs import emotionet


def get_config(preset: str = "demo") -> ConfigDict:
    """Return the config of a preset."""
    if preset not in ("demo", "smoke"):
        raise ValueError(f"no preset {preset!r} in configs/synthetic.py; there are: demo, smoke")
    cfg = emotionet.get_config()
    cfg.data.source = "synthetic"
    cfg.data.size = 4_096
    cfg.data.expressions = 8  # per person; the other seven are true edits of each one
    cfg.data.paired = 0.5
    cfg.image_size = 64
    cfg.batch_size = 8
    cfg.n_critic = 2
    cfg.lr = 4e-4  # four times the paper's rate, because there are few steps
    cfg.epochs = 2.5
    cfg.decay_epochs = 1.0
    cfg.generator.update(width=16, residual_blocks=3)
    cfg.critic.update(width=16, init_std=0.04)  # see Critic.init_std
    cfg.every.update(log=320, sample=2_048, evaluate=4_096, checkpoint=4_096)
    cfg.evaluate.examples = 128
    cfg.health.warmup = 4_000
    cfg.data.resident = preset == "demo"  # draw each face only once, not every time it is used
    if preset == "smoke":
        cfg.image_size = 32
        cfg.data.size = 256
        cfg.epochs = 1.0
        cfg.decay_epochs = 0.5
        cfg.generator.update(width=8, residual_blocks=2)
        cfg.critic.update(width=8, init_std=0.056)
        cfg.every.update(log=64, sample=128, evaluate=128, checkpoint=128)
        cfg.evaluate.update(examples=32, batch_size=16)
    return cfg
