"""GANimation on a small set of real faces: LFW crops annotated by OpenFace.

    ganimation prepare openface --images LFW/imgs --csv LFW/openface \
        --people LFW/metadata.csv --test-ids LFW/test_ids.csv --align mediapipe --out DATA
    python -m ganimation_jax.main --config=configs/lfw_openface.py:cpu \
        --config.data.dir=DATA --workdir=RUN

``--align mediapipe`` crops the faces as ``animate`` crops photos, and needs the extra
``annotate``. Without it the crops are used unchanged and are tighter; then also give their
measured eye positions: ``--config.data.eyes="((0.303,0.359),(0.688,0.359))"``.

Presets: the default has the published size at 128x128, for an accelerator. ``:cpu`` is the
reduced model at 64x64 of the first training of lfw-64.

Cost of ``:cpu``: 96,288 images in 75 minutes on 2 cores.
What to expect of ``:cpu`` on 512 held-out faces: requested intensities correlate with
MediaPipe's readings over nine units with r .52, edited back PSNR is 26.4 dB, KID-VGG16 is 1.12
(docs/models/lfw-64.md).
"""

from ml_collections import ConfigDict

from configs import emotionet


def get_config(preset: str = "published") -> ConfigDict:
    """Return the config of a preset."""
    if preset not in ("published", "cpu"):
        raise ValueError(
            f"no preset {preset!r} in configs/lfw_openface.py; there are: published, cpu"
        )
    cfg = emotionet.get_config("recommended" if preset == "cpu" else "paper")
    cfg.epochs = 200.0  # about a million images, with 5,360 faces
    cfg.decay_epochs = 60.0
    cfg.data.grey = True
    if preset == "cpu":
        cfg.image_size = 64
        cfg.generator.update(width=24, residual_blocks=4)
        cfg.critic.update(width=24, init_std=0.033)  # see Critic.init_std
        cfg.batch_size = 16
        cfg.epochs = 18.0
        cfg.decay_epochs = 8.0
        cfg.ema_decay = 0.995  # for 3,000 steps
        cfg.every.update(log=320, sample=8_000, evaluate=8_000, checkpoint=4_000)
        cfg.health.warmup = 8_000
    return cfg
