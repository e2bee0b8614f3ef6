"""GANimation on annotated faces: the paper, the two published implementations, and ours.

    python -m ganimation_jax.main --config=configs/emotionet.py --config.data.dir=DIR --workdir=RUN

Presets, as ``--config=configs/emotionet.py:NAME``:

    paper        Pumarola et al., ECCV 2018 (the default)
    official     the authors' code, albertpumarola/GANimation
    replicate    donydchen/ganimation_replicate
    people       colour, from pairs of generated people (`ganimation prepare people`)
    sharpen      from a run of people (init_from), with LPIPS and a critic of pairs
    wgan         the paper's losses, with clipped weights and RMSProp (Arjovsky et al. 2017)
    recommended  the paper, with a learning rate and n_critic that follow requests sooner

docs/methods.md compares them; experiments/001_control led to ``recommended``, and
experiments/007_clipping has scripts that compare ``wgan`` with the penalty.
``DIR`` is a dataset written by ``ganimation prepare``. You can set any field on the command
line: ``--config.batch_size=32``. Durations and intervals are counted in images that the critic
sees.

Cost: at the published size with batch 4, one iteration of n_critic 5 (20 images) takes 8.7 s
and 5.4 GB on 2 CPU cores, so train on an accelerator. No GPU has been measured. The state takes
0.66 GB.
What to expect: in short runs on LFW (64x64, width 16, 3,200 images, three seeds), control as
measured by the critic of lfw-64 had r .37 with lr 3e-4 and n_critic 2, the settings of
``recommended``. Changing only lr to 1e-4 gave .12, and only n_critic to 5 gave .20
(BUILD_NOTES.md).
"""

from ml_collections import ConfigDict

from ganimation_jax.action_units import ACTION_UNITS
from ganimation_jax.faces.crops import CANONICAL_EYES


def get_config(preset: str = "paper") -> ConfigDict:
    """Return the config of a preset."""
    if preset not in PRESETS:
        raise ValueError(
            f"no preset {preset!r} in configs/emotionet.py; there are: {', '.join(PRESETS)}"
        )
    cfg = paper()
    PRESETS[preset](cfg)
    return cfg


def official(cfg: ConfigDict) -> None:
    """Apply the differences between the authors' code and their paper."""
    cfg.decay = "by_epoch"
    cfg.data.clip_targets = False
    cfg.loss.update(attention_norm="l1", separate_penalty=True)
    # The code divides the AU term by the batch size once more, and sums smoothness over the batch.
    batch_size = cfg.get_oneway_ref("batch_size").to_float()
    cfg.loss.aus = 4000 / batch_size
    cfg.loss.total_variation = 1e-5 * batch_size


def replicate(cfg: ConfigDict) -> None:
    """Apply the differences between the best-known reimplementation and the paper."""
    cfg.decay = "by_next_epoch"
    cfg.data.clip_targets = False
    cfg.generator.update(norm_affine=False, conv_bias=True)
    cfg.loss.update(attention=0.0, total_variation=0.0)


def recommended(cfg: ConfigDict) -> None:
    """Make edits follow requests sooner. No other setting tried was clearly better."""
    cfg.lr = 3e-4
    cfg.n_critic = 2


def sharpen(cfg: ConfigDict) -> None:
    """Train a model of ``people`` on until edits are as strong and sharp as true ones.

    LPIPS (the extra ``evaluate`` has its weights) beside L1, and a critic that sees an edit beside
    its source. Set init_from to the first run.
    """
    people(cfg)
    cfg.lr = cfg.lr_critic = 2e-4
    cfg.warmup_images = 200
    cfg.ema_decay = 0.99  # a short run: after 600 steps 0.999 still keeps half of the first weights
    cfg.perceptual.paired = 40.0
    cfg.loss.aus = 3.0
    cfg.loss.pair_critic = 0.5
    cfg.pair_critic.width = 24


def wgan(cfg: ConfigDict) -> None:
    """Clip the critic's weights in place of the penalty, as the first Wasserstein GAN."""
    cfg.loss.penalty = 0.0
    cfg.loss.clip = 0.01
    cfg.optimizer = "rmsprop"
    cfg.lr = 5e-5
    cfg.critic_start = 100


def people(cfg: ConfigDict) -> None:
    """Learn from pairs of one person alone, while the critic learns to read action units.

    A second part of the run with the critic's losses (pairs_first below 1) made edits stronger
    and worse: experiments/006_recipe.
    """
    cfg.generator.update(width=24, residual_blocks=4)
    cfg.generator.update(condition="difference", motion=8.0, upsample="resize", patch=2)
    cfg.critic.update(width=24, init_std=0.02 * (64 / 24) ** 0.5)
    cfg.data.update(paired=1.0, target_noise=0.0, resident=True)
    cfg.pairs_first = 1.0
    cfg.n_critic = 1
    cfg.batch_size = 16
    cfg.lr = 5e-4
    cfg.lr_critic = 3e-4
    cfg.clip_norm = 1.0
    cfg.loss.update(paired=30.0, paired_emphasis=4.0, motion=0.05, adversarial=0.1, aus=12.0)
    cfg.loss.update(cycle=0.0, attention=0.0, total_variation=0.0)
    cfg.augment.update(light=1.0, place=1.0, few_units=0.5)


# Functions that apply each preset's changes to the paper's config.
PRESETS = {
    "paper": lambda cfg: None,
    "official": official,
    "replicate": replicate,
    "recommended": recommended,
    "people": people,
    "sharpen": sharpen,
    "wgan": wgan,
}


def paper() -> ConfigDict:
    """Return the paper's config, with all fields."""
    cfg = ConfigDict()
    cfg.method = "ganimation"
    cfg.seed = 0
    cfg.action_units = ACTION_UNITS  # units to control: any subset of the dataset's
    cfg.image_size = 128
    cfg.init_from = ""  # initial weights: a run's workdir, a .safetensors file, or a name

    cfg.epochs = 30.0
    cfg.decay_epochs = 10.0  # number of last epochs, over which the learning rate falls to zero
    cfg.decay = "smooth"  # by_epoch (official code), by_next_epoch (ganimation_replicate), cosine
    cfg.batch_size = 25  # total over all devices
    cfg.n_critic = 5  # critic updates per generator update
    cfg.pairs_first = 0.0  # initial fraction of the images that train only the loss of pairs
    cfg.steps_per_call = 1  # training steps per device call: more for small models
    cfg.lr = 1e-4
    cfg.lr_critic = 0.0  # learning rate of the critic; 0: same as lr
    cfg.warmup_images = 0  # images over which both learning rates rise from 0
    cfg.clip_norm = 0.0  # maximum norm of a network's gradient (parameter_gradient); 0: none
    cfg.optimizer = "adam"  # or rmsprop, with PyTorch's defaults
    cfg.adam = (0.5, 0.999)
    # Critic updates before each of the first 25 generator updates and every 500th (WGAN: 100);
    # 0: as many as always.
    cfg.critic_start = 0
    cfg.ema_decay = 0.999
    cfg.dtype = "float32"  # of convolutions: float32 or bfloat16; the rest is float32

    cfg.generator = ConfigDict(
        {"width": 64, "residual_blocks": 6, "norm_affine": True, "conv_bias": False}
    )
    # How action units enter: concat (published), film, or difference (FiLM of want minus have).
    cfg.generator.condition = "concat"
    cfg.generator.gain = 1.0  # factor of that difference; models in use may have more
    cfg.generator.motion = 0.0  # pixels by which an edit may move the photo; 0: only paint
    cfg.generator.upsample = "transposed"  # or resize: upsampling, then convolution
    cfg.generator.patch = 1  # side of pixel blocks processed as one pixel; 2: 4 times as fast
    cfg.critic = ConfigDict({"width": 64, "depth": 0, "init_std": 0.02})  # depth 0: from image_size

    # The critic that sees an edit beside its source, trained where every example is a pair; width
    # 0: none. See loss.pair_critic.
    cfg.pair_critic = ConfigDict({"width": 0, "depth": 4})

    cfg.loss = ConfigDict()
    cfg.loss.penalty = 10.0
    cfg.loss.aus = 160.0  # the paper's 4000 divided by its batch of 25; see LossWeights
    cfg.loss.cycle = 10.0
    cfg.loss.attention = 0.1
    cfg.loss.total_variation = 1e-4
    cfg.loss.adversarial = 1.0
    cfg.loss.paired = 0.0  # difference from the true edit, for pairs; see data.paired
    cfg.loss.paired_emphasis = 0.0  # additional weight of the pixels that a true edit changes
    cfg.loss.pair_critic = 0.0  # what the critic of pairs says, while pairs_first lasts
    cfg.loss.pair_penalty = 2.0  # zero-centred penalties of that critic
    cfg.loss.motion = 0.0  # variation of the motion between neighbouring pixels
    cfg.loss.attention_norm = "l2"
    cfg.loss.separate_penalty = False
    cfg.loss.clip = 0.0  # limit of the critic's weights, instead of a penalty (WGAN: 0.01); 0: none
    cfg.loss.clip_when = "after"  # each update (WGAN's paper), or "before" each loss (its code)

    # Terms that compare faces by a frozen network's features, beside loss.cycle and loss.paired or,
    # where those are 0, instead of them. lpips, vgg16 or face_resnet; 0: none, as in the paper.
    cfg.perceptual = ConfigDict({"network": "lpips", "cycle": 0.0, "paired": 0.0})

    cfg.data = ConfigDict()
    cfg.data.source = "faces"  # faces: a prepared directory; synthetic: drawn on the fly
    cfg.data.dir = ""
    cfg.data.second = ""  # a second prepared directory; batches of the two alternate (StarGAN)
    # Label emotions: by the nearest prototype of action units. Synthetic faces are drawn with one
    # of eight emotions, and also have labels of glasses, beard and hair.
    cfg.data.labels = False
    cfg.data.size = 0  # synthetic only: faces per epoch
    cfg.data.expressions = 1  # synthetic only: pictures per person; 2 or more form pairs
    cfg.data.paired = 0.0  # fraction of examples whose target image shows the same person
    cfg.data.eyes = CANONICAL_EYES  # eye positions in the crops; default: as cropped by `prepare`
    cfg.data.grey = False  # the faces are grey; edits of photos then change only brightness
    cfg.data.flip = True
    cfg.data.target_noise = 0.1  # targets: a random face's AUs + U(-noise, noise)
    cfg.data.clip_targets = True
    cfg.data.workers = 0  # decoding processes; 0: threads
    cfg.data.resident = False  # decode all faces once and keep them on the devices, as uint8

    # Updates with a non-finite loss or gradient are skipped. After more than `patience` such calls
    # in a row, the run returns to its last checkpoint with different data, `rollbacks` times at
    # most; then it ends.
    cfg.non_finite = ConfigDict({"patience": 20, "rollbacks": 1})
    cfg.debug_nans = False  # stop at the first NaN and name the operation; slow

    # Random augmentation of the critic's inputs, for small datasets: names of augment.TRANSFORMS
    # joined by commas, such as "color,translation".
    cfg.augment = ConfigDict({"policy": "", "probability": 1.0})
    # Random changes of the training faces (training/variation.py): colour casts (up to 0.35), light
    # and place (1 is natural), and the fraction of targets that differ in a few units only.
    cfg.augment.update(tint=0.0, light=0.0, place=0.0, few_units=0.0)

    cfg.mesh = ConfigDict({"fsdp": 1})  # devices that share one copy of the state

    cfg.every = ConfigDict(
        {"log": 5_000, "sample": 100_000, "evaluate": 200_000, "checkpoint": 200_000}
    )
    cfg.keep = ConfigDict({"latest": 3, "best": 1, "metric": "critic_on_edits/mae"})
    cfg.evaluate = ConfigDict()
    cfg.evaluate.examples = 512
    cfg.evaluate.batch_size = 32
    cfg.evaluate.controlled_faces = 16  # faces for testing each action unit alone
    cfg.clips = False  # whether to write an animated GIF with each grid of samples
    cfg.health = ConfigDict({"on": True, "warmup": 20_000})  # alerts: see docs/troubleshooting.md
    cfg.wandb = ConfigDict({"mode": "auto", "project": "ganimation", "group": "", "name": ""})
    cfg.wandb.update(tags=(), artifacts=False)  # artifacts: upload the last checkpoint
    return cfg
