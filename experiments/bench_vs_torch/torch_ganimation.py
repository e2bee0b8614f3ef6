"""GANimation's training iteration in PyTorch, stated independently of ganimation_jax.

The paper's: one critic loss, the penalty among its terms, on the sum of the patch scores;
``n_critic`` critic updates to one of the generator; Adam(0.5, 0.999). Modules are named as in
albertpumarola/GANimation, so that its weights fit.
"""

import contextlib
import functools
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Options(NamedTuple):
    """How to run it; the defaults are those of the published code."""

    bfloat16: bool = False  # autocast
    channels_last: bool = False
    compile: bool = False
    fused_adam: bool = False
    hoist: bool = False  # one generator forward for all critic updates, as ganimation_jax does
    tuned: bool = False  # cuDNN picks its fastest algorithms; TF32 in matrix products


PUBLISHED = Options()
BEST_FLOAT32 = Options(False, True, True, True, True, True)
BEST = BEST_FLOAT32._replace(bfloat16=True)


class Residual(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.InstanceNorm2d(width, affine=True),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.InstanceNorm2d(width, affine=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.main(x)


class Generator(nn.Module):
    def __init__(self, units: int = 17, width: int = 64, residual_blocks: int = 6):
        super().__init__()

        def block(conv: nn.Module, out: int) -> list[nn.Module]:
            return [conv, nn.InstanceNorm2d(out, affine=True), nn.ReLU(inplace=True)]

        layers = block(nn.Conv2d(3 + units, width, 7, padding=3, bias=False), width)
        for i in (0, 1):
            out = width << (i + 1)
            layers += block(nn.Conv2d(out // 2, out, 4, 2, 1, bias=False), out)
        layers += [Residual(4 * width) for _ in range(residual_blocks)]
        for out in (2 * width, width):
            layers += block(nn.ConvTranspose2d(2 * out, out, 4, 2, 1, bias=False), out)
        self.main = nn.Sequential(*layers)
        self.img_reg = nn.Sequential(nn.Conv2d(width, 3, 7, padding=3, bias=False), nn.Tanh())
        self.attetion_reg = nn.Sequential(
            nn.Conv2d(width, 1, 7, padding=3, bias=False), nn.Sigmoid()
        )

    def forward(self, image: Tensor, aus: Tensor) -> tuple[Tensor, Tensor]:
        """b 3 h w in [-1, 1], b n -> edited image b 3 h w, attention b 1 h w, float32."""
        planes = aus[:, :, None, None].expand(-1, -1, *image.shape[2:])
        x = self.main(torch.cat([image, planes], dim=1))
        attention, color = self.attetion_reg(x).float(), self.img_reg(x).float()
        return attention * image + (1 - attention) * color, attention


class Critic(nn.Module):
    def __init__(self, image_size: int = 128, units: int = 17, width: int = 64, depth: int = 6):
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for i in range(depth):
            layers += [nn.Conv2d(channels, width << i, 4, 2, 1), nn.LeakyReLU(0.01, inplace=True)]
            channels = width << i
        self.main = nn.Sequential(*layers)
        self.conv1 = nn.Conv2d(channels, 1, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(channels, units, image_size >> depth, bias=False)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """b 3 h w -> patch scores b p p, action units b n, float32."""
        x = self.main(image)
        return self.conv1(x)[:, 0].float(), self.conv2(x)[:, :, 0, 0].float()


def initialise(network: nn.Module) -> None:
    """Kernels N(0, 0.02), biases 0; norms as they are."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0.0, 0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


class Trainer:
    """Both networks, their optimisers and one training iteration."""

    def __init__(
        self,
        image_size: int,
        width: int,
        residual_blocks: int,
        device: str = "cpu",
        options: Options = PUBLISHED,
        depth: int = 0,
    ):
        if options.tuned:
            torch.backends.cudnn.benchmark = True
            torch.set_float32_matmul_precision("high")
        depth = depth or min(image_size.bit_length() - 2, 6)  # down to 2x2 patches
        layout = torch.channels_last if options.channels_last else torch.contiguous_format
        self.device, self.options, self.layout = torch.device(device), options, layout
        self.generator = Generator(width=width, residual_blocks=residual_blocks)
        self.critic = Critic(image_size, width=width, depth=depth)
        for network in (self.generator, self.critic):
            initialise(network)
            network.to(self.device, memory_format=layout)
        fused = options.fused_adam or None  # None: PyTorch's own choice
        adam = functools.partial(torch.optim.Adam, lr=1e-4, betas=(0.5, 0.999), fused=fused)
        self.optimizers = {
            "generator": adam(self.generator.parameters()),
            "critic": adam(self.critic.parameters()),
        }
        # A compiled module has no second derivative: the penalty takes the critic as it is.
        compiled = functools.partial(torch.compile, dynamic=False)  # each shape for itself
        self.edit = compiled(self.generator) if options.compile else self.generator
        self.judge = compiled(self.critic) if options.compile else self.critic

    def autocast(self) -> contextlib.AbstractContextManager:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.options.bfloat16)

    def prepare(self, image_u8: Tensor) -> Tensor:
        """Uint8 b 3 h w in [0, 255] -> float32 in [-1, 1]."""
        return (image_u8.float() / 127.5 - 1).contiguous(memory_format=self.layout)

    def critic_loss(
        self, image: Tensor, aus: Tensor, edited: Tensor, share: Tensor
    ) -> dict[str, Tensor]:
        """Terms of the critic's loss; ``share`` (b) is the real image's in the penalty's mix."""
        with self.autocast():
            real_score, real_aus = self.judge(image)
            edited_score, _ = self.judge(edited)
            share = share[:, None, None, None]
            mixed = (share * image + (1 - share) * edited).requires_grad_()
            mixed_score, _ = self.critic(mixed)
        (grads,) = torch.autograd.grad(mixed_score.sum(), mixed, create_graph=True)
        norm = (grads.flatten(1).square().sum(1) + 1e-12).sqrt()
        return {
            "critic/real": -real_score.mean(),
            "critic/edited": edited_score.mean(),
            "critic/aus": 160 * F.mse_loss(real_aus, aus),
            "critic/penalty": 10 * (norm - 1).square().mean(),
        }

    def generator_loss(self, image: Tensor, aus: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Terms of the generator's loss."""
        with self.autocast():
            edited, there = self.edit(image, target)
            restored, back = self.edit(edited, aus)
            score, read = self.judge(edited)
        return {
            "generator/adversarial": -score.mean(),
            "generator/aus": 160 * F.mse_loss(read, target),
            "generator/cycle": 10 * F.l1_loss(restored, image),
            "generator/attention": 0.1 * (there.square().mean() + back.square().mean()),
            "generator/total_variation": 1e-4 * (variation(there) + variation(back)),
        }

    def update(self, name: str, terms: dict[str, Tensor]) -> None:
        optimizer = self.optimizers[name]
        optimizer.zero_grad(set_to_none=True)
        torch.stack(list(terms.values())).sum().backward()
        optimizer.step()

    def iteration(
        self, image_u8: Tensor, aus: Tensor, target: Tensor, shares: Tensor | None = None
    ) -> dict[str, Tensor]:
        """One critic update on each of ``n`` batches, one generator update on the last.

        Args:
          image_u8: n b 3 h w, uint8.
          aus, target: n b units, [0, 1].
          shares: n b, the penalty's; drawn if not given.

        Returns:
          Every term of both losses; the critic's are the mean over its updates.
        """
        images = [self.prepare(one) for one in image_u8]
        if shares is None:
            shares = torch.rand(aus.shape[:2], device=self.device)
        edits = self.edits(images, target) if self.options.hoist else None
        self.critic.requires_grad_(True)
        each = []
        for i, image in enumerate(images):
            edited = edits[i] if edits else self.edits([image], target[i : i + 1])[0]
            terms = self.critic_loss(image, aus[i], edited, shares[i])
            self.update("critic", terms)
            each.append(terms)
        self.critic.requires_grad_(False)  # its kernels need no gradient below
        terms = self.generator_loss(images[-1], aus[-1], target[-1])
        self.update("generator", terms)
        means = {name: torch.stack([one[name] for one in each]).mean() for name in each[0]}
        return {name: value.detach() for name, value in (means | terms).items()}

    def edits(self, images: list[Tensor], target: Tensor) -> tuple[Tensor, ...]:
        with torch.no_grad(), self.autocast():
            edited, _ = self.edit(torch.cat(images), target.flatten(0, 1))
        return edited.split(len(images[0]))


def variation(attention: Tensor) -> Tensor:
    """Squared differences between neighbours, summed over pixels, averaged over images."""
    down = attention[:, :, 1:] - attention[:, :, :-1]
    right = attention[:, :, :, 1:] - attention[:, :, :, :-1]
    return (down.square().sum() + right.square().sum()) / len(attention)
