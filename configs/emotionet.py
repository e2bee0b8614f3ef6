"""GANimation on annotated faces: the paper, the two published implementations, and ours.

    python -m ganimation_jax.main --config=configs/emotionet.py --config.data.dir=DIR --workdir=RUN

Presets, as ``--config=configs/emotionet.py:NAME``:

    paper        Pumarola et al., ECCV 2018 (the default)
    official     the authors' code, albertpumarola/GANimation
    replicate    donydchen/ganimation_replicate
    people       colour, from pairs of generated people (`ganimation prepare people`), then a critic
    recommended  the paper with what experiments/001_control found to follow requests sooner

docs/methods.md sets them side by side.
``DIR`` is what ``ganimation prepare`` wrote. Any field can be set on the command
line: ``--config.batch_size=32``. Durations and intervals are counted in images that the
critic sees.
"""

from ml_collections import ConfigDict

from ganimation_jax.action_units import ACTION_UNITS
from ganimation_jax.faces.crops import CANONICAL_EYES


def get_config(preset: str = "paper") -> ConfigDict:
    """The config of a preset."""
    if preset not in PRESETS:
        raise ValueError(
            f"no preset {preset!r} in configs/emotionet.py; there are: {', '.join(PRESETS)}"
        )
    cfg = paper()
    PRESETS[preset](cfg)
    return cfg


def official(cfg: ConfigDict) -> None:
    """What the authors' code does otherwise than their paper says."""
    cfg.decay = "by_epoch"
    cfg.data.clip_targets = False
    cfg.loss.update(attention_norm="l1", separate_penalty=True)
    # It divides the AU term by the batch once more and sums smoothness over the batch.
    batch_size = cfg.get_oneway_ref("batch_size").to_float()
    cfg.loss.aus = 4000 / batch_size
    cfg.loss.total_variation = 1e-5 * batch_size


def replicate(cfg: ConfigDict) -> None:
    """What the best-known reimplementation does otherwise than the paper says."""
    cfg.decay = "by_next_epoch"
    cfg.data.clip_targets = False
    cfg.generator.update(norm_affine=False, conv_bias=True)
    cfg.loss.update(attention=0.0, total_variation=0.0)


def recommended(cfg: ConfigDict) -> None:
    """Edits follow requests sooner; nothing else that was tried was clearly better."""
    cfg.lr = 3e-4
    cfg.n_critic = 2


def people(cfg: ConfigDict) -> None:
    """Pairs teach the motion; then a critic adds what pairs are too timid for."""
    cfg.generator.update(width=24, residual_blocks=4)
    cfg.generator.update(condition="difference", motion=8.0, upsample="resize", patch=2)
    cfg.critic.update(width=24, init_std=0.02 * (64 / 24) ** 0.5)
    cfg.data.paired = 0.5
    cfg.pairs_first = 0.5
    cfg.n_critic = 1
    cfg.batch_size = 16
    cfg.lr = 5e-4
    cfg.clip_norm = 1.0
    cfg.loss.update(paired=30.0, motion=0.1, adversarial=0.1, aus=16.0)
    cfg.loss.update(cycle=0.0, attention=0.0, total_variation=0.0)
    cfg.data.target_noise = 0.0


# What each changes in the paper's config.
PRESETS = {
    "paper": lambda cfg: None,
    "official": official,
    "replicate": replicate,
    "recommended": recommended,
    "people": people,
}


def paper() -> ConfigDict:
    """The paper's config, with every field there is."""
    cfg = ConfigDict()
    cfg.method = "ganimation"
    cfg.seed = 0
    cfg.action_units = ACTION_UNITS  # those to control: any subset of the data's
    cfg.image_size = 128
    cfg.init_from = ""  # weights to begin with: a run's workdir, a .safetensors file, or a name

    cfg.epochs = 30.0
    cfg.decay_epochs = 10.0  # the last epochs, over which the learning rate falls to zero
    cfg.decay = "smooth"  # by_epoch (official code), by_next_epoch (ganimation_replicate), cosine
    cfg.batch_size = 25  # over all devices
    cfg.n_critic = 5  # critic updates to a generator update
    cfg.pairs_first = 0.0  # share of the images, the first ones, with no loss but that of pairs
    cfg.steps_per_call = 1  # training steps in one call of the device: more for small models
    cfg.lr = 1e-4
    cfg.lr_critic = 0.0  # the critic's own; 0: as lr
    cfg.warmup_images = 0  # over which both rates rise from 0
    cfg.clip_norm = 0.0  # of a network's gradient (metric parameter_gradient), at most; 0: any
    cfg.adam = (0.5, 0.999)
    cfg.ema_decay = 0.999
    cfg.dtype = "float32"  # of convolutions: float32 or bfloat16; all else is float32

    cfg.generator = ConfigDict(
        {"width": 64, "residual_blocks": 6, "norm_affine": True, "conv_bias": False}
    )
    # How action units enter: concat (published), film, or difference (of want and have, by film).
    cfg.generator.condition = "concat"
    cfg.generator.motion = 0.0  # pixels by which an edit may move the photo; 0: paints only
    cfg.generator.upsample = "transposed"  # convolutions; or resize: enlargement, convolution
    cfg.generator.patch = 1  # side of the blocks of pixels seen as one; 2: 4 times as fast
    cfg.critic = ConfigDict({"width": 64, "depth": 0, "init_std": 0.02})  # depth 0: by the size

    cfg.loss = ConfigDict()
    cfg.loss.penalty = 10.0
    cfg.loss.aus = 160.0  # the paper's 4000, divided by its batch of 25: see LossWeights
    cfg.loss.cycle = 10.0
    cfg.loss.attention = 0.1
    cfg.loss.total_variation = 1e-4
    cfg.loss.adversarial = 1.0
    cfg.loss.paired = 0.0  # difference from the true edit, for pairs: see data.paired
    cfg.loss.motion = 0.0  # variation of the motion between neighbouring pixels
    cfg.loss.attention_norm = "l2"
    cfg.loss.separate_penalty = False

    cfg.data = ConfigDict()
    cfg.data.source = "faces"  # faces: a prepared directory; synthetic: drawn on the fly
    cfg.data.dir = ""
    cfg.data.size = 0  # synthetic only: faces in an epoch
    cfg.data.expressions = 1  # synthetic only: pictures of each person; from 2 on they form pairs
    cfg.data.paired = 0.0  # share of examples whose target image is of the same person
    cfg.data.eyes = CANONICAL_EYES  # where they are in the crops: as `prepare` cuts them out
    cfg.data.grey = False  # the faces have no colours: edits of photos change brightness alone
    cfg.data.flip = True
    cfg.data.target_noise = 0.1  # targets: a random face's AUs + U(-noise, noise)
    cfg.data.clip_targets = True
    cfg.data.workers = 0  # processes that decode; 0: threads
    cfg.data.resident = False  # decode all faces once and keep them on the devices, as uint8

    # Updates with a loss or gradient that is not finite are left out. After more calls in a row
    # than `patience` the run goes back to its last checkpoint, with other data; then it ends.
    cfg.non_finite = ConfigDict({"patience": 20, "rollbacks": 1})
    cfg.debug_nans = False  # stop at the first and name the operation: slow

    # What the critic sees, changed at random, for small sets: names of augment.TRANSFORMS joined by
    # commas, such as "color,translation". Tint, up to 0.35, colours the training faces themselves.
    cfg.augment = ConfigDict({"policy": "", "probability": 1.0, "tint": 0.0})

    cfg.mesh = ConfigDict({"fsdp": 1})  # devices that share one copy of the state

    cfg.every = ConfigDict(
        {"log": 5_000, "sample": 100_000, "evaluate": 200_000, "checkpoint": 200_000}
    )
    cfg.keep = ConfigDict({"latest": 3, "best": 1, "metric": "critic_on_edits/mae"})
    cfg.evaluate = ConfigDict()
    cfg.evaluate.examples = 512
    cfg.evaluate.batch_size = 32
    cfg.evaluate.controlled_faces = 16  # on which each action unit is tried alone
    cfg.clips = False  # with each grid of samples a GIF of the expressions coming and going
    cfg.health = ConfigDict({"on": True, "warmup": 20_000})  # alerts: see docs/troubleshooting.md
    cfg.wandb = ConfigDict({"mode": "auto", "project": "ganimation", "group": "", "name": ""})
    cfg.wandb.update(tags=(), artifacts=False)  # artifacts: send the last checkpoint
    return cfg
