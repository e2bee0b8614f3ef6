"""CycleGAN between two kinds of face: one model for each pair.

    python -m ganimation_jax.main --config=configs/cyclegan.py --config.conditions=neutral,happy \
        --config.data.dir=DATA --workdir=RUN

``conditions`` is two members of a group (``neutral,happy``), or one label: faces without it, and
with it (``Smiling``). The sets need no pairs.

Presets, as ``--config=configs/cyclegan.py:NAME``:

    published  PyTorch code: 6 residual blocks at 128x128, batch 1, 100 + 100 epochs (the default)
    large      the same at 256x256, with 9 residual blocks
    paper      the rate falls smoothly; the identity loss, which is for paintings alone, is off
    smoke      drawn faces at 32x32, to check that everything works: 76 s of processor, of which
               most is compiling; edits are noise

Cost: two generators of 7.8 million parameters (11.4 with 9 blocks) and two critics of 2.8 million,
for each pair of kinds. An epoch is as long as the larger set. docs/methods.md compares the methods.
"""

from ml_collections import ConfigDict

from configs import emotionet, stargan


def get_config(preset: str = "published") -> ConfigDict:
    """Return the config of a preset."""
    if preset not in PRESETS:
        raise ValueError(
            f"no preset {preset!r} in configs/cyclegan.py; there are: {', '.join(PRESETS)}"
        )
    cfg = published()
    PRESETS[preset](cfg)
    return cfg


def published() -> ConfigDict:
    """Return the config of the authors' PyTorch code."""
    foreign = (*stargan.FOREIGN, "critic_start")
    cfg = stargan.without(emotionet.get_config(), foreign, stargan.FOREIGN_DATA)
    cfg.method = "cyclegan"
    cfg.conditions = "neutral,happy"
    cfg.epochs = 200.0
    cfg.decay_epochs = 100.0
    cfg.decay = "cyclegan"  # cyclegan_2017: the older code; by_epoch: the Torch 7 code
    cfg.batch_size = 1
    cfg.n_critic = 1
    cfg.lr = 2e-4
    cfg.pool_size = 50  # earlier edits that the critics may see again, of each direction; 0: none
    cfg.generator = ConfigDict({"width": 64, "residual_blocks": 6})
    cfg.generator.norm_affine = False  # of the critics, too; True: the Torch 7 code
    cfg.critic = ConfigDict({"width": 64, "depth": 3})
    cfg.loss = ConfigDict({"cycle": 10.0, "identity": 0.5})  # identity: times cycle
    cfg.loss.realism = "squares"  # or log
    return cfg


def paper(cfg: ConfigDict) -> None:
    """Apply the paper's schedule and losses."""
    cfg.decay = "smooth"
    cfg.loss.identity = 0.0


def large(cfg: ConfigDict) -> None:
    """Apply the published size for 256x256."""
    cfg.image_size = 256
    cfg.generator.residual_blocks = 9


def smoke(cfg: ConfigDict) -> None:
    """Check on a few drawn faces that everything works."""
    stargan.drawn(cfg)
    cfg.epochs = 8.0  # of 32 images
    cfg.decay_epochs = 4.0
    cfg.pool_size = 16
    cfg.generator.update(width=8, residual_blocks=2)
    cfg.critic.update(width=8, depth=2)


# Functions that apply each preset's changes to the published config.
PRESETS = {"published": lambda cfg: None, "large": large, "paper": paper, "smoke": smoke}
