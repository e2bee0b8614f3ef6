"""StarGAN on labelled faces: attributes, emotions, or both.

    ganimation prepare celeba ... --out DATA
    python -m ganimation_jax.main --config=configs/stargan.py --config.data.dir=DATA --workdir=RUN

Presets, as ``--config=configs/stargan.py:NAME``:

    paper      attributes of CelebA as in the paper: 10 epochs, and 10 to a rate of 0 (the default)
    published  the same by the authors' code: 200,000 critic updates at a nearly constant rate
    emotions   emotions of posed photos (RaFD): 100 epochs and 100 more
    smoke      emotions of drawn faces at 32x32, to check that everything works; edits are noise

Any labels of a dataset can be trained on, in any number: ``--config.conditions=Smiling,Young`` or
``--config.conditions=emotion``; the name of a group stands for all its members. For 256x256, as
in the authors' joint training, set ``--config.image_size=256``: the critic then has 4x4 patches.

Cost: the published networks have 8.4 and 44.8 million parameters, and the authors trained for a
day on a Tesla M40. docs/methods.md compares the methods.
"""

from ml_collections import ConfigDict

from configs import emotionet

CELEBA = 200_600  # training images: all but 1,999
UPDATES = 200_000  # of the critic, in the authors' code
# Fields of configs/emotionet.py that this method does not have.
FOREIGN = ("action_units", "pairs_first", "perceptual", "generator", "critic", "loss")
FOREIGN_DATA = ("paired", "target_noise", "clip_targets")


def get_config(preset: str = "paper") -> ConfigDict:
    """Return the config of a preset."""
    if preset not in PRESETS:
        raise ValueError(
            f"no preset {preset!r} in configs/stargan.py; there are: {', '.join(PRESETS)}"
        )
    cfg = paper()
    PRESETS[preset](cfg)
    return cfg


def paper() -> ConfigDict:
    """Return the paper's config for CelebA (sections 4.4 and 5.2)."""
    cfg = without(emotionet.get_config(), FOREIGN, FOREIGN_DATA)
    cfg.method = "stargan"
    cfg.conditions = "Black_Hair,Blond_Hair,Brown_Hair,Male,Young"
    # Joint training of two sets: the group of labels that only the faces of the second set have.
    cfg.masked_by = ""
    cfg.epochs = 20.0
    cfg.decay_epochs = 10.0
    cfg.decay_every = 0  # critic updates between two steps of the authors' rate; 0: ``decay`` alone
    cfg.batch_size = 16
    cfg.generator = ConfigDict({"width": 64, "residual_blocks": 6})
    cfg.critic = ConfigDict({"width": 64, "depth": 0})  # depth 0: from image_size
    cfg.loss = ConfigDict({"penalty": 10.0, "labels": 1.0, "cycle": 10.0})
    cfg.loss.update(clip=0.0, clip_when="after")  # see configs/emotionet.py, preset wgan
    return cfg


def published(cfg: ConfigDict) -> None:
    """Apply the differences between the authors' code and their paper."""
    # The rate falls by a thousandth of a percent every 1,000 updates of the last 100,000.
    cfg.decay = "constant"
    cfg.decay_every = 1_000
    cfg.epochs = UPDATES * cfg.batch_size / CELEBA
    cfg.decay_epochs = cfg.epochs / 2


def emotions(cfg: ConfigDict) -> None:
    """Train on a group of labels, of which a face shows one."""
    cfg.conditions = "emotion"
    cfg.epochs = 200.0
    cfg.decay_epochs = 100.0


def smoke(cfg: ConfigDict) -> None:
    """Check on a few drawn faces that everything works."""
    emotions(cfg)
    drawn(cfg)
    cfg.epochs = 1.0
    cfg.decay_epochs = 0.5
    cfg.n_critic = 2
    cfg.generator.update(width=8, residual_blocks=2)
    cfg.critic.width = 8


def drawn(cfg: ConfigDict) -> None:
    """Train on a few small drawn faces with labels."""
    cfg.data.update(source="synthetic", size=256, labels=True, expressions=8)
    cfg.image_size = 32
    cfg.batch_size = 8
    cfg.every.update(log=64, sample=128, evaluate=128, checkpoint=128)
    cfg.evaluate.update(examples=32, batch_size=16)


def without(cfg: ConfigDict, fields: tuple[str, ...], data_fields: tuple[str, ...]) -> ConfigDict:
    """Return ``cfg`` without fields that another method has."""
    for name in fields:
        del cfg[name]
    for name in data_fields:
        del cfg.data[name]
    return cfg


# Functions that apply each preset's changes to the paper's config.
PRESETS = {"paper": lambda cfg: None, "published": published, "emotions": emotions, "smoke": smoke}
