"""GANimation on synthetic faces drawn by the library; needs no download or preparation.

    python -m ganimation_jax.main --config=configs/synthetic.py --workdir=runs/synthetic

Presets: the default trains a reduced model at 64x64 from pairs of one person, as ``make demo``
does. ``:published`` trains one of the same size by the paper's losses, without pairs.
``:smoke`` checks in under a minute on two CPU cores that everything works.
"""

from ml_collections import ConfigDict

from configs import emotionet

PRESETS = ("demo", "published", "smoke")


def get_config(preset: str = "demo") -> ConfigDict:
    """Return the config of a preset."""
    if preset not in PRESETS:
        raise ValueError(
            f"no preset {preset!r} in configs/synthetic.py; there are: {', '.join(PRESETS)}"
        )
    cfg = emotionet.get_config()
    cfg.data.source = "synthetic"
    cfg.data.size = 4_096
    cfg.data.expressions = 8  # per person; the other seven are true edits of each one
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
    cfg.data.resident = preset != "smoke"  # draw each face only once, not every time it is used
    if preset == "demo":
        cfg.generator.update(condition="difference", motion=4.0, upsample="resize")
        cfg.data.update(paired=1.0, target_noise=0.0)
        # A second part with the critic's losses painted white streaks beside mouths.
        cfg.pairs_first = 1.0
        cfg.epochs = 2.0
        cfg.decay_epochs = 0.8
        cfg.n_critic = 1
        cfg.lr = 1e-3
        cfg.clip_norm = 1.0
        cfg.loss.update(paired=10.0, paired_emphasis=4.0, motion=0.05, aus=30.0)
        cfg.loss.update(cycle=0.0, attention=0.0, total_variation=0.0)
        cfg.augment.few_units = 0.5
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
