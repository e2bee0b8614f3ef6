"""An iteration of the recipe `people` in PyTorch, stated independently of ganimation_jax.

Eager float32. The generator learns from pairs: L1 to the true edit over three scales, with more
weight where that changes something, and a penalty on uneven motion. The critic learns to read
action units. Layers are named as in ganimation_jax, so that its weights fit.
"""

import functools

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_ganimation import Critic

UNITS = 17
CHANGED = 0.12  # mean difference of a block, of 2, at which it has the full weight
FADE = 0.1


class Normalised(nn.Module):
    """A convolution without bias, an instance norm, and FiLM by the action units."""

    def __init__(self, channels: int, features: int, size: int, stride: int = 1, up: bool = False):
        super().__init__()
        self.up = up
        padding = (size - stride + 1) // 2
        self.conv = nn.Conv2d(channels, features, size, stride, padding, bias=False)
        self.norm = nn.InstanceNorm2d(features, affine=True)
        self.film = nn.Linear(2 * UNITS, 2 * features)

    def forward(self, x: Tensor, values: Tensor) -> Tensor:
        if self.up:
            x = F.interpolate(x, scale_factor=2)
        scale, shift = self.film(values)[:, :, None, None].chunk(2, dim=1)
        return self.norm(self.conv(x)) * (1 + scale) + shift


class Generator(nn.Module):
    def __init__(self, width: int, residual_blocks: int, motion: float, patch: int):
        super().__init__()
        self.motion, self.patch = motion, patch
        self.stem = Normalised(3 * patch**2, width, 3)
        self.down = nn.ModuleList(Normalised(width * k, 2 * width * k, 4, stride=2) for k in (1, 2))
        self.residual = nn.ModuleList(
            nn.ModuleList(Normalised(4 * width, 4 * width, 3) for _ in range(2))
            for _ in range(residual_blocks)
        )
        self.up = nn.ModuleList(Normalised(2 * width * k, width * k, 3, up=True) for k in (2, 1))
        self.heads = nn.Conv2d(width, 6 * patch**2, 3, padding=1, bias=False)

    def forward(self, image: Tensor, want: Tensor, have: Tensor) -> tuple[Tensor, Tensor]:
        """b 3 h w in [-1, 1], b n, b n -> edited image b 3 h w, motion b 2 h w in pixels."""
        difference = want - have
        values = torch.cat([difference, have], dim=1)
        x = F.relu(self.stem(F.pixel_unshuffle(image, self.patch), values))
        for layer in self.down:
            x = F.relu(layer(x, values))
        for first, second in self.residual:
            x = x + second(F.relu(first(x, values)), values)
        for layer in self.up:
            x = F.relu(layer(x, values))
        x = F.pixel_shuffle(self.heads(x), self.patch)
        x = F.pad(x, [self.patch - 1] * 4, mode="replicate")
        for _ in range(2):  # no pattern of the patches is left
            x = F.avg_pool2d(x, self.patch, stride=1)
        color, attention, motion = x.split((3, 1, 2), dim=1)
        strength = 1 - torch.exp(-difference.abs().sum(dim=1) / FADE)[:, None, None, None]
        attention = 1 - strength * (1 - attention.sigmoid())
        motion = strength * self.motion * motion.tanh()
        moved = warp(image, motion)
        return attention * moved + (1 - attention) * color.tanh(), motion


def warp(image: Tensor, motion: Tensor) -> Tensor:
    """The image at each pixel's place plus its (down, right) displacement."""
    height, width = image.shape[2:]
    rows = torch.arange(height, device=image.device)[:, None] + motion[:, 0]
    columns = torch.arange(width, device=image.device) + motion[:, 1]
    places = torch.stack([2 * columns / (width - 1) - 1, 2 * rows / (height - 1) - 1], dim=-1)
    return F.grid_sample(image, places, padding_mode="border", align_corners=True)


def true_edit_error(edited: Tensor, truth: Tensor, source: Tensor, emphasis: float) -> Tensor:
    """One error for each example."""
    changed = F.avg_pool2d((source - truth).abs(), 4).mean(dim=1, keepdim=True)
    weight = 1 + emphasis * (changed / CHANGED).clamp(max=1)
    total = torch.zeros(len(edited), device=edited.device)
    for side in (1, 2, 4):
        error = F.avg_pool2d(edited - truth, side).abs()
        total = total + (F.interpolate(weight, scale_factor=4 // side) * error).mean((1, 2, 3))
    return total / 3


class Trainer:
    """Both networks, their optimisers and one training iteration.

    Args:
      cfg: of the run, as ganimation_jax has it: sizes and weights of the losses.
      device: where it trains.
    """

    def __init__(self, cfg, device: str = "cpu"):
        self.cfg, self.device = cfg, device
        shape = cfg.generator
        self.generator = Generator(shape.width, shape.residual_blocks, shape.motion, shape.patch)
        depth = cfg.critic.depth or min(cfg.image_size.bit_length() - 2, 6)
        self.critic = Critic(cfg.image_size, width=cfg.critic.width, depth=depth)
        adam = functools.partial(torch.optim.Adam, betas=tuple(cfg.adam))
        self.optimizers = {
            "generator": adam(self.generator.to(device).parameters(), lr=cfg.lr),
            "critic": adam(self.critic.to(device).parameters(), lr=cfg.lr_critic),
        }

    def losses(
        self, image: Tensor, have: Tensor, want: Tensor, other: Tensor
    ) -> dict[str, dict[str, Tensor]]:
        """The terms of both networks' losses, where every example is a pair."""
        weights = self.cfg.loss
        edited, motion = self.generator(image, want, have)
        error = true_edit_error(edited, other, image, weights.paired_emphasis).mean()
        uneven = motion.diff(dim=2).abs().mean() + motion.diff(dim=3).abs().mean()
        _, read = self.critic(image)
        return {
            "generator": {
                "generator/paired": weights.paired * error,
                "generator/motion": weights.motion * uneven,
            },
            "critic": {"critic/aus": weights.aus * F.mse_loss(read, have)},
        }

    def iteration(
        self, image_u8: Tensor, have: Tensor, want: Tensor, other_u8: Tensor
    ) -> dict[str, Tensor]:
        """One update of either network; images uint8 b 3 h w, action units b n in [0, 1]."""
        image, other = (one.float() / 127.5 - 1 for one in (image_u8, other_u8))
        terms = self.losses(image, have, want, other)
        for name, optimizer in self.optimizers.items():
            optimizer.zero_grad(set_to_none=True)
            torch.stack(list(terms[name].values())).sum().backward()
            parameters = optimizer.param_groups[0]["params"]
            used = [one for one in parameters if one.grad is not None]
            nn.utils.clip_grad_norm_(used, self.cfg.clip_norm)
            optimizer.step()
        return {name: value.detach() for part in terms.values() for name, value in part.items()}
