"""After DIAT, on labelled faces: one attribute a model (Li, Zuo and Zhang 2016 and 2018).

    python -m ganimation_jax.main --config=configs/diat.py --config.data.dir=DIR --workdir=RUN \
        --config.conditions="('Smiling',)" --config.enhancement.region=mouth

Presets, as ``--config=configs/diat.py:NAME``:

    2016        transform network, identity loss on a face network, denoiser, local enhancement
    adaptive    DIAT-A: identity by the critic's own maps, no denoiser
    2018        U-Net and mask, Wasserstein critic
    smoke       2016 on drawn faces of 32x32 pixels, some fifty steps: too short to learn an edit
    smoke2018   the same for 2018

``conditions`` is the attribute, ``remove`` whether it is to disappear, and ``inputs`` a condition
that input faces show (``neutral``); without it they are all faces that lack the attribute. Emotions
need ``enhancement.region=face``; gender and age ``enhancement.form=global``.

The papers publish no code and few numbers: what is decided here is listed in docs/methods.md.
The networks that losses compare are frozen and need the extra ``evaluate``.
Cost and results at the published sizes are not known: only the smoke presets have been run to
their end. Losses, gradients and updates are tested against recorded arrays
(tests/test_diat_parity.py).
"""

from ml_collections import ConfigDict

from configs import emotionet

# Fields of GANimation that DIAT does not have.
WITHOUT = (
    "action_units", "pairs_first", "lr_critic", "warmup_images", "clip_norm", "ema_decay",
    "decay_epochs", "optimizer", "critic_start", "generator", "critic", "loss", "perceptual",
)  # fmt: skip


def get_config(preset: str = "2016") -> ConfigDict:
    """Return the config of a preset."""
    if preset not in PRESETS:
        raise ValueError(
            f"no preset {preset!r} in configs/diat.py; there are: {', '.join(PRESETS)}"
        )
    cfg = emotionet.get_config()
    for name in WITHOUT:
        if name in cfg:
            del cfg[name]
    for name in ("paired", "target_noise", "clip_targets"):
        del cfg.data[name]
    cfg.conditions = ("Smiling",)
    cfg.remove = False  # True: the attribute is to disappear
    cfg.inputs = ""  # condition that input faces show; "": those that lack the attribute
    cfg.critic = ConfigDict({"width": 64, "depth": 5, "init_std": 0.02})
    cfg.denoiser = ConfigDict({"width": 64})
    # Frozen network of the identity loss: face_resnet or vgg16; 2016 also "critic" (DIAT-A).
    cfg.identity = ConfigDict({"network": "face_resnet", "weights": (1.0, 1.0)})
    cfg.decay = "constant"
    cfg.adam = (0.5, 0.999)
    cfg.lr_denoiser = 1e-3
    cfg.adam_denoiser = (0.9, 0.999)
    cfg.epochs = 20.0
    cfg.batch_size = 16
    cfg.keep.metric = ""
    cfg.wandb.project = "diat"
    PRESETS[preset](cfg)
    return cfg


def of_2016(cfg: ConfigDict) -> None:
    """Apply what DIAT 2016 has."""
    cfg.method = "diat"
    cfg.transform = ConfigDict({"width": 32, "residual_blocks": 5})
    cfg.n_critic = 1
    cfg.lr = 2e-4
    # Shares of the run.
    cfg.phases = ConfigDict(
        {"reconstruction": 0.15, "denoiser": 0.05, "transform": 0.65, "enhancement": 0.15}
    )
    # The paper's weights are not known, and these are not tuned. smooth is of a sum over pixels.
    # saturating: the paper's log(1 - D), which vanishes where the critic is sure, in place of
    # -log D.
    cfg.loss = ConfigDict({"identity": 1.0, "smooth": 1e-4, "saturating": False})
    cfg.enhancement = ConfigDict()
    cfg.enhancement.form = "local"  # local: restore what is outside the region; global; none
    cfg.enhancement.region = "mouth"  # mouth, eyes (with brows and glasses) or face
    cfg.enhancement.network = "vgg16"  # whose first two stages are compared inside the region
    cfg.enhancement.weights = (1.0, 1.0, 1.0)  # of pixels and the two stages inside the region
    cfg.enhancement.blur = 2.0  # global form: standard deviation in pixels, at 128x128


def adaptive(cfg: ConfigDict) -> None:
    """Apply DIAT-A: the critic sees identity too."""
    of_2016(cfg)
    cfg.identity.network = "critic"
    cfg.loss.update(identity=1.0, smooth=0.0)
    cfg.phases.update(reconstruction=0.0, denoiser=0.0, transform=0.85)


def of_2018(cfg: ConfigDict) -> None:
    """Apply what DIAT 2018 has."""
    cfg.method = "diat2018"
    cfg.transform = ConfigDict({"width": 32, "depth": 5})
    cfg.mask = ConfigDict({"width": 64})
    cfg.n_critic = 5
    cfg.lr = 1e-4
    cfg.phases = ConfigDict({"reconstruction": 0.15, "denoiser": 0.05, "transform": 0.8})
    cfg.loss = ConfigDict({"adversarial": 1.0, "perceptual": 1.0, "identity": 1.0})
    cfg.loss.update(smooth=1e-4, ratio=1.0, penalty=10.0)
    cfg.expected_ratio = 0.1  # share of the image to edit: 0.1 mouth, 0.2 eyes, 0.5 whole face


def small(cfg: ConfigDict) -> None:
    """Shrink a preset to drawn faces of 32x32 pixels."""
    cfg.conditions, cfg.inputs = ("happy",), "neutral"
    cfg.data.source, cfg.data.labels, cfg.data.size = "synthetic", True, 512
    cfg.data.resident = True
    cfg.image_size, cfg.batch_size, cfg.epochs = 32, 8, 6.0
    cfg.critic.update(width=8, init_std=0.056)
    cfg.denoiser.width = 16
    cfg.identity.network = "vgg16"
    cfg.every.update(log=8, sample=192, evaluate=384, checkpoint=192)
    cfg.evaluate.update(examples=32, batch_size=16)
    cfg.health.warmup = 512


def smoke(cfg: ConfigDict) -> None:
    """Apply the smallest run of 2016."""
    of_2016(cfg)
    small(cfg)
    cfg.transform.update(width=8, residual_blocks=1)
    cfg.enhancement.region = "face"


def smoke2018(cfg: ConfigDict) -> None:
    """Apply the smallest run of 2018."""
    of_2018(cfg)
    small(cfg)
    cfg.transform.update(width=8, depth=3)
    cfg.mask.width = 8
    cfg.n_critic = 2
    cfg.expected_ratio = 0.5


PRESETS = {
    "2016": of_2016,
    "adaptive": adaptive,
    "2018": of_2018,
    "smoke": smoke,
    "smoke2018": smoke2018,
}
