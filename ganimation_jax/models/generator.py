"""The generator (paper, section 4.1 and appendix): one trunk and its heads."""

from functools import partial
from typing import Literal, get_args

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Float

from ganimation_jax.models import layers
from ganimation_jax.models.transform import trunk
from ganimation_jax.models.warp import warp
from ganimation_jax.types import Array, Edit, Images
from ganimation_jax.types import Conditions as Vector

Condition = Literal["concat", "film", "difference"]
Upsampling = Literal["transposed", "resize"]
CONDITIONS: tuple[Condition, ...] = get_args(Condition)
# The summed difference of action units at which an edit reaches 1 - 1/e of its strength.
FADE = 0.1


class Generator(nn.Module):
    """Image and action units in, edited image out.

    The defaults are the published network. Each option stands on its own.

    Attributes:
      width: channels after the first convolution (published: 64).
      residual_blocks: blocks on the smallest map (published: 6).
      condition: how action units enter.
        "concat": those wanted, as constant planes beside the image (published).
        "film": those wanted, as scale and shift of each channel after each norm, linear in
        the action units (Perez et al., AAAI 2018).
        "difference": as "film", of the difference between those wanted and those the face
        has, together with those it has. Attention and motion are scaled by a factor that is
        zero where nothing differs, so that asking for what is there returns the image
        exactly, whatever the parameters.
      gain: factor of the difference, for use after training with the condition "difference".
        Annotated action units are noisy, and noise in what a regression is given shrinks its
        response: a model that learns from them edits less than it is asked to. 1: as trained.
      motion: pixels by which the edit may move a pixel of the image along either axis before
        colour is blended in; 0: none (published), and no such head.
      upsample: "transposed" 4x4 convolutions (published), or "resize": nearest-neighbour
        enlargement and a 3x3 convolution, which cannot draw a checkerboard (Odena et al.,
        Distill 2016).
      patch: side of the blocks of pixels that the network sees as one pixel, with the block's
        pixels as channels, and that its heads draw (Shi et al., CVPR 2016). With 2 the trunk
        is at an eighth of the image size instead of a quarter, and all takes about a quarter
        of the time. The first and last kernels are 3x3 blocks instead of 7x7 pixels. What the
        heads draw is filtered so that it cannot show the grid of the blocks. 1: published.
      norm_affine, conv_bias: instance norm with scale and shift and convolutions without
        bias (official code), or the reverse (``ganimation_replicate``). Heads have no bias.
      dtype: of convolutions; norms and parameters stay float32.
    """

    width: int = 64
    residual_blocks: int = 6
    condition: Condition = "concat"
    gain: float = 1.0
    motion: float = 0.0
    upsample: Upsampling = "transposed"
    patch: int = 1
    norm_affine: bool = True
    conv_bias: bool = False
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, image: Images, want: Vector, have: Vector | None = None) -> Edit:
        """Apply.

        Args:
          image: in [-1, 1]; sides divisible by ``4 * patch``.
          want: the action units that the edited face shall have, in [0, 1].
          have: those the face has; only the condition "difference" looks at them.

        Returns:
          The edit, float32: see ``blend``. Its ``motion`` is None without that head.

        Raises:
          ValueError: ``have`` is needed and missing.
        """
        values, strength = self._values(want, have)
        film = self.condition != "concat"
        conv = partial(layers.Conv, bias=self.conv_bias, dtype=self.dtype)
        size = 7 if self.patch == 1 else 3
        x = layers.blocks_to_channels(image, self.patch)

        def norm(name: str, x: Array) -> Array:
            x = layers.InstanceNorm(self.norm_affine, self.dtype, name=name)(x)
            return layers.Film(name=name.replace("norm", "film"))(x, values) if film else x

        if film:
            x = conv(self.width, size, name="stem")(x)
        else:
            stem = layers.ConditionedConv(self.width, size, self.conv_bias, self.dtype, name="stem")
            x = stem(x, values)
        x = nn.relu(norm("stem_norm", x))
        x = trunk(
            x,
            self.residual_blocks,
            down=partial(conv, size=4, stride=2),
            conv=partial(conv, size=3),
            up=partial(layers.UPSAMPLING[self.upsample], bias=self.conv_bias, dtype=self.dtype),
            norm=norm,
        )
        return self._heads(image, x, size, strength)

    def _values(
        self, want: Vector, have: Vector | None
    ) -> tuple[Float[Array, "b m"], Float[Array, "b 1 1 1"] | None]:
        """What enters the layers, and the strength of the edit, if any."""
        if self.condition != "difference":
            return want, None
        if have is None:
            raise ValueError("the condition 'difference' needs the action units a face has")
        difference = want - have
        strength = 1 - jnp.exp(-jnp.abs(difference).sum(axis=-1) / FADE)
        values = jnp.concatenate([self.gain * difference, have], axis=-1)
        return values, strength[:, None, None, None]

    def _heads(self, image: Array, x: Array, size: int, strength: Array | None) -> Edit:
        # All heads read the same features: one convolution.
        heads = {"color": 3, "attention": 1} | ({"motion": 2} if self.motion else {})
        kernels = [
            self.param(name, layers.kernel_init, (size, size, x.shape[-1], self.patch**2 * count))
            for name, count in heads.items()
        ]
        x = layers.conv(x, jnp.concatenate(kernels, axis=-1).astype(self.dtype))
        ends = [sum(k.shape[-1] for k in kernels[: i + 1]) for i in range(len(kernels) - 1)]
        maps = [
            layers.without_grid(layers.channels_to_blocks(part, self.patch), self.patch)
            for part in jnp.split(x.astype(jnp.float32), ends, axis=-1)
        ]
        color, attention = jnp.tanh(maps[0]), nn.sigmoid(maps[1])
        motion = self.motion * jnp.tanh(maps[2]) if self.motion else None
        if strength is not None:
            attention = 1 - strength * (1 - attention)
            motion = None if motion is None else strength * motion
        return blend(image, attention, color, motion)


def blend(
    image: Images,
    attention: Float[Array, "b h w 1"],
    color: Images,
    motion: Float[Array, "b h w 2"] | None = None,
) -> Edit:
    """The edit of an image (paper, eq. 1).

    Args:
      image: in [-1, 1].
      attention: in [0, 1], the share of the source that is kept.
      color: in [-1, 1].
      motion: where the source is read, relative to each pixel: (down, right) in
        pixels. None: where it is.
    """
    source = image if motion is None else warp(image, motion)
    return Edit(attention * source + (1 - attention) * color, attention, color, motion)
