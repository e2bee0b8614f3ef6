"""IcGAN on labelled faces (Perarnau et al. 2016), as Guim3/IcGAN trains it.

    python -m ganimation_jax.main --config=configs/icgan.py --config.data.dir=DIR --workdir=RUN

Presets: the default has the published sizes, rates and 18 attributes, for a dataset of
``ganimation prepare celeba`` with labels. ``:smoke`` checks in 84 s of processor, of which most is
compiling, that everything works, on drawn faces with one of eight emotions. It is far too short to
learn to edit: it makes blurred shapes.

IcGAN makes 64x64 images, and edits do not keep the person: it draws a face anew from what its
encoders read (docs/methods.md). ``conditions`` may name binary attributes, groups such as
"emotion", or action units, whose intensities the published code was never trained on.

Cost and results at the published size are not known here: only ``:smoke`` has been run.
"""

from ml_collections import ConfigDict

from configs import emotionet

# Published: those of CelebA's 40 attributes that are seen in a face.
ATTRIBUTES = (
    "Bald", "Bangs", "Black_Hair", "Blond_Hair", "Brown_Hair", "Bushy_Eyebrows", "Eyeglasses",
    "Gray_Hair", "Heavy_Makeup", "Male", "Mouth_Slightly_Open", "Mustache", "Pale_Skin",
    "Receding_Hairline", "Smiling", "Straight_Hair", "Wavy_Hair", "Wearing_Hat",
)  # fmt: skip
# Fields of GANimation that IcGAN does not have.
WITHOUT = (
    "action_units", "pairs_first", "lr_critic", "warmup_images", "clip_norm", "ema_decay",
    "decay_epochs", "optimizer", "critic_start", "perceptual",
)  # fmt: skip


def get_config(preset: str = "published") -> ConfigDict:
    """Return the config of a preset."""
    if preset not in ("published", "smoke"):
        raise ValueError(f"no preset {preset!r} in configs/icgan.py; there are: published, smoke")
    cfg = emotionet.get_config()
    for name in WITHOUT:
        del cfg[name]
    cfg.method = "icgan"
    cfg.conditions = ATTRIBUTES
    cfg.image_size = 64
    cfg.batch_size = 64
    cfg.n_critic = 1
    cfg.lr = 2e-4  # of generator and critic
    cfg.adam = (0.5, 0.999)
    cfg.lr_encoder = 1e-4
    cfg.adam_encoder = (0.1, 0.999)
    cfg.decay = "constant"
    # Published: 25 epochs of the GAN, then 15 epochs of either encoder on 66% of the images.
    cfg.phases = ConfigDict({"gan": 25.0, "encoder_z": 9.9, "encoder_y": 9.9})  # shares of the run
    cfg.epochs = 44.8
    cfg.refresh = 100  # steps between the phases that only update the generator's batch statistics
    cfg.latent = 100  # numbers of noise
    cfg.generator = ConfigDict({"width": 64})
    cfg.critic = ConfigDict({"width": 64})
    cfg.encoder = ConfigDict({"width": 32, "hidden_z": 4096, "hidden_y": 512})
    # Weight of real images with wrong conditions among what the critic refuses (paper: 0).
    cfg.loss = ConfigDict({"wrong": 0.5})
    cfg.data.flip = True  # of the real images that the critic sees
    for name in ("paired", "target_noise", "clip_targets"):
        del cfg.data[name]
    del cfg.augment["few_units"]
    cfg.keep.metric = ""
    cfg.wandb.project = "icgan"
    if preset == "smoke":
        cfg.conditions = ("emotion",)
        cfg.data.source = "synthetic"
        cfg.data.labels = True
        cfg.data.size = 512
        cfg.data.resident = True
        cfg.data.expressions = 8  # of each person
        cfg.image_size = 32
        cfg.batch_size = 16
        cfg.epochs = 6.0  # 192 steps
        cfg.refresh = 20
        cfg.latent = 16
        cfg.generator.width = 8
        cfg.critic.width = 8
        cfg.encoder.update(width=8, hidden_z=128, hidden_y=64)
        cfg.every.update(log=320, sample=1_536, evaluate=3_072, checkpoint=512)
        cfg.evaluate.update(examples=32, batch_size=16)
        cfg.health.warmup = 1_536
    return cfg
