"""The PatchGAN discriminator of pix2pix (Isola et al. 2017; paper 004)."""

from typing import cast

import torch
from torch import Tensor, nn


class PatchDiscriminator(nn.Module):
    """C64-C128-C256-C512, then one value a patch: appendix 6.1.2, patches of 70 x 70. With `stages` 1 patches are 16 x 16."""

    def __init__(self, width: int = 64, stages: int = 3) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        for stage in range(stages):
            layers += [
                nn.Conv2d(width, 2 * width, 4, stride=2 if stage < stages - 1 else 1, padding=1, bias=False),
                nn.BatchNorm2d(2 * width),
                nn.LeakyReLU(0.2),
            ]
            width *= 2
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, 1, 4, padding=1))

    def forward(self, L: Tensor, ab: Tensor) -> Tensor:
        """Logits `(n,1,h',w')`, high for patches that look real, of L in [0, 100] and ab scaled to about [-1, 1]."""
        return cast(Tensor, self.layers(torch.cat((L / 50 - 1, ab), dim=1)))


def initialize_weights(module: nn.Module) -> None:
    """Initialize a layer as in Isola et al. 2017, appendix 6.2; for `nn.Module.apply`."""
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
