"""Failures of training that users report, as numbers to watch.

Methods list the monitors that fit their losses. Limits and their reasons are here and nowhere
else; docs/troubleshooting.md says more about each failure.
"""

import math

from ganimation_jax.types import Monitor

EVALUATIONS = 2  # records of held-out scores, which are far apart and steady


def of_attention(*, moves: bool = False) -> tuple[Monitor, ...]:
    """The attention mask leaves nothing, or everything, as it was.

    Args:
      moves: edits also move pixels, so that a mask near 1 does not mean that nothing changes.
    """
    near_1 = Monitor(
        name="attention_near_1",
        reads=("generator/attention_mean",),
        measure=float,
        # True edits of drawn faces change 7% of the pixels: at 0.99 a seventh of what is new
        # there shows. Sound runs on real faces have 0.85 to 0.95.
        limit=0.99,
        above=True,
        symptom="the source is kept nearly everywhere, edits will have no visible effect",
        advice="Raise loss.aus or lower loss.cycle; a higher loss.attention pulls the other "
        "way, with care. If critic_aus_flat is reported too, fix that first, because the "
        "generator gains nothing by editing",
    )
    near_0 = Monitor(
        name="attention_near_0",
        reads=("generator/attention_mean",),
        measure=float,
        # Nine tenths of every pixel painted anew: the generator copies the face itself.
        limit=0.1,
        above=False,
        symptom="the source is ignored, the whole picture is painted anew",
        advice="Lower loss.attention, or raise loss.cycle",
    )
    return (near_0,) if moves else (near_1, near_0)


def of_edited_share(*, metric: str) -> tuple[Monitor, ...]:
    """A binarised mask edits nothing, or everything.

    Args:
      metric: the mean share of the edit in an image.
    """
    return (
        Monitor(
            name="mask_empty",
            reads=(metric,),
            measure=float,
            # A mouth takes a tenth of an aligned face.
            limit=0.01,
            above=False,
            symptom="the mask chooses nearly no pixels, edits will have no visible effect",
            advice="Raise loss.ratio or expected_ratio, or lower loss.identity and loss.perceptual",
        ),
        Monitor(
            name="mask_full",
            reads=(metric,),
            measure=float,
            limit=0.95,
            above=True,
            symptom="the mask chooses nearly all pixels, nothing of the face is kept as it is",
            advice="Raise loss.ratio, or lower expected_ratio",
        ),
    )


def of_edits(
    advice: str = "Raise loss.aus, or lower loss.cycle; see critic_aus_flat and attention_near_1",
) -> tuple[Monitor, ...]:
    """Edits of held-out faces change nothing; ``advice`` is the method's."""
    return (
        Monitor(
            name="no_visible_effect",
            reads=("edit_response/pixels",),
            measure=float,
            # Of 255. True edits of drawn faces change them by 1.4 (32x32) to 1.8 (64x64).
            limit=0.5,
            above=False,
            symptom="edits of held-out faces hardly change them",
            advice=advice,
            records=EVALUATIONS,
        ),
    )


def of_penalised_critic(*, image_size: int, patches: int) -> tuple[Monitor, ...]:
    """A Wasserstein critic under a gradient penalty is blind, diverges or is too steep or flat.

    Args:
      image_size: side of the images.
      patches: scores that the critic gives an image.
    """
    # A critic whose summed score has a gradient of norm 1 can tell two images apart by no more
    # than their distance: at most 2 sqrt(3) image_size, for white and black. Scores are means.
    farthest = 2 * math.sqrt(3) * image_size / patches
    return (
        Monitor(
            name="critic_blind",
            reads=("critic/real", "critic/edited"),
            measure=lambda real, edited: -(real + edited),
            # Less than a ten-thousandth of what it could be; below 0 edits score higher.
            limit=1e-4 * farthest,
            above=False,
            symptom="the critic does not tell edited from real: the Wasserstein estimate is low",
            advice="Lower loss.penalty as long as critic/gradient_norm stays near 1; raise "
            "lr_critic or n_critic; for a narrow critic raise critic.init_std",
        ),
        Monitor(
            name="critic_explodes",
            reads=("critic/real", "critic/edited"),
            measure=lambda real, edited: abs(real + edited),
            limit=farthest,
            above=True,
            symptom="scores are further apart than white and black images could be under the "
            "penalty: the critic diverges",
            advice="Raise loss.penalty, lower lr_critic, or set clip_norm; try dtype=float32",
        ),
        Monitor(
            name="gradient_norm_high",
            reads=("critic/gradient_norm",),
            measure=float,
            # The penalty draws it to 1; it is within 0.95 and 1.05 for most of a sound run.
            limit=2.0,
            above=True,
            symptom="the critic is far steeper than the penalty allows, scores and edits will "
            "oscillate",
            advice="Raise loss.penalty, or lower lr_critic or loss.aus",
        ),
        Monitor(
            name="gradient_norm_low",
            reads=("critic/gradient_norm",),
            measure=float,
            limit=0.5,
            above=False,
            symptom="the critic is nearly flat, it gives the generator nothing to follow",
            advice="Raise lr_critic; for a narrow critic raise critic.init_std (see its docstring)",
        ),
    )


def of_log_loss() -> tuple[Monitor, ...]:
    """One of two adversaries with log losses wins, and the other learns nothing more."""
    return (
        Monitor(
            name="critic_wins",
            reads=("generator/loss",),
            measure=float,
            # The critic gives samples a probability below 1% of being real; balanced is log 2.
            limit=5.0,
            above=True,
            symptom="the critic refuses nearly every sample, the generator has little to follow",
            advice="Lower lr or critic.width, or raise generator.width",
        ),
        Monitor(
            name="critic_loses",
            reads=("generator/loss",),
            measure=float,
            limit=0.01,
            above=False,
            symptom="the critic takes nearly every sample for real",
            advice="Raise critic.width, or lower generator.width",
        ),
    )


def of_encoders(*, constant_error: float) -> tuple[Monitor, ...]:
    """Encoders of noise and conditions read nothing.

    Args:
      constant_error: squared error of always answering the conditions' means, in [-1, 1].
    """
    return (
        Monitor(
            name="encoder_z_flat",
            reads=("encoder_z/loss",),
            measure=float,
            # Noise has variance 1, which is the error of always answering 0.
            limit=0.98,
            above=True,
            symptom="the noise cannot be read in the samples: edits will show other people",
            advice="Raise encoder.width or phases.encoder_z; if all samples look alike, the "
            "generator ignores its noise: train longer in phases.gan",
        ),
        Monitor(
            name="encoder_y_flat",
            reads=("encoder_y/loss",),
            measure=float,
            limit=0.9 * constant_error,
            above=True,
            symptom="the conditions are read in real faces no better than a constant answer",
            advice="Raise encoder.width or phases.encoder_y; check that the labels belong to the "
            "faces",
        ),
    )


def of_regression(*, constant_error: float) -> tuple[Monitor, ...]:
    """The critic reads no conditions, or finds none in the edits.

    Args:
      constant_error: the regression loss of always answering the mean of the training faces.
    """
    return (
        Monitor(
            name="critic_aus_flat",
            reads=("critic/aus",),
            measure=float,
            # A tenth better than a constant answer: the scatter of a few batches.
            limit=0.9 * constant_error,
            above=True,
            symptom="the critic reads action units no better than a constant answer",
            advice="Raise loss.aus or lr_critic; for a narrow critic raise critic.init_std; check "
            "that the annotations belong to the faces (report.html of prepare)",
        ),
        Monitor(
            name="generator_aus_flat",
            reads=("generator/aus",),
            measure=float,
            limit=0.9 * constant_error,
            above=True,
            symptom="the critic finds the requested action units no better than if all edits "
            "showed the same",
            advice="Raise loss.aus, or lower loss.cycle; if critic_aus_flat is reported too, fix "
            "that first",
        ),
    )


def of_classification(*, constant_error: float) -> tuple[Monitor, ...]:
    """The critic recognises no labels, or finds none in the edits.

    Args:
      constant_error: the classification loss of always answering how frequent each label is in
        the training faces.
    """
    return (
        Monitor(
            name="critic_labels_flat",
            reads=("critic/labels",),
            measure=float,
            # As for action units: the scatter of a few batches.
            limit=0.9 * constant_error,
            above=True,
            symptom="the critic recognises labels no better than a constant answer",
            advice="Raise loss.labels or lr_critic; check that the labels belong to the faces, and "
            "that each label is shown by some faces and not by others",
        ),
        Monitor(
            name="generator_labels_flat",
            reads=("generator/labels",),
            measure=float,
            limit=0.9 * constant_error,
            above=True,
            symptom="the critic finds the requested labels no better than if all edits showed the "
            "same",
            advice="Raise loss.labels, or lower loss.cycle; if critic_labels_flat is reported too, "
            "fix that first",
        ),
    )


def of_winning_critics() -> tuple[Monitor, ...]:
    """Critics that tell every edit from a real face leave the generators nothing to follow."""
    return (
        Monitor(
            name="critics_win",
            reads=("critics/a", "critics/b"),
            measure=min,
            # Squared errors are 0.25 for a constant answer (the log loss: 0.69), and fall to a few
            # hundredths in sound runs.
            limit=0.005,
            above=False,
            symptom="a critic is certain of every image, the generators get no useful gradient",
            advice="Lower lr_critic, or train on more faces; check that both domains have faces of "
            "the same kind (size, crop, colour)",
        ),
    )
