"""The default family: a small decoder on the taps of a shared, frozen VGG trunk, which predicts a distribution over ab bins.

It combines paper 001 (a frozen VGG encoder and a learned decoder) with paper 002 (ab bins, decoded by annealed mean) and the fusion
of global features into every position of paper 000. What differs from 001: skip connections, nearest upsampling, no tanh, and, if
`heads` is given, self-attention at stride 16 (Vaswani et al. 2017), by which distant parts of a sky or a wall agree on a color.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.ab_bins import AbBins, srgb_cells
from models.colorizers.base import BinColorizer, TapColorizer
from models.vgg import STRIDE, Taps, VggTrunk

WIDTHS = (96, 64, 64)  # channels at the strides 16, 8 and 4


class VggExpert(TapColorizer, BinColorizer):
    """Decoder from stride 32 to stride 4; ab has a quarter of the sides of L, which must be multiples of 32.

    Args:
        trunk: the shared trunk.
        widths: channels at the strides 16, 8 and 4.
        heads: of the self-attention at stride 16, of which the first width is a multiple; 0 for none.
        bins: number of ab bins; their centers are in the checkpoint.
        temperature: of the annealed mean; lower is more vivid.
        mute: how strongly uncertainty reduces chroma; see `AbBins.certainty`.
        saturation: factor on the decoded chroma, chosen on validation pictures.
    """

    stride = STRIDE

    def __init__(
        self,
        trunk: VggTrunk,
        widths: tuple[int, int, int] = WIDTHS,
        heads: int = 0,
        bins: int = 260,
        temperature: float = 0.38,
        mute: float = 0.0,
        saturation: float = 1.0,
    ) -> None:
        super().__init__(trunk)
        deep, middle, fine = widths
        channels = trunk.channels
        self.temperature, self.mute, self.saturation = temperature, mute, saturation
        self.deepest = nn.Conv2d(channels[32], deep, 1)
        self.whole = nn.Linear(channels[32], deep)
        self.up16 = UpStage(deep, channels[16], deep)
        self.context = SelfAttention(deep, heads) if heads else nn.Identity()
        self.up8 = UpStage(deep, channels[8], middle)
        self.up4 = UpStage(middle, channels[4], fine)
        self.logits = nn.Conv2d(fine, bins, 1)
        self.bins = AbBins(srgb_cells() if bins == 260 else torch.zeros(bins, 2))

    def features(self, taps: Taps) -> Tensor:
        """Features `(n,widths[2],h/4,w/4)`, the input of the last, 1 x 1 convolution `logits`."""
        whole = self.whole(taps[32].mean(dim=(2, 3)))
        x = F.relu(self.deepest(taps[32]) + whole[:, :, None, None])
        x = self.context(self.up16(x, taps[16]))
        x = self.up8(x, taps[8])
        fine: Tensor = self.up4(x, taps[4])
        return fine

    def predict_from_taps(self, taps: Taps, L: Tensor) -> Tensor:
        logits: Tensor = self.logits(self.features(taps))
        return logits

    def decode(self, predicted: Tensor, L: Tensor) -> Tensor:
        logits = predicted.float()
        ab = self.saturation * self.bins.annealed_mean(logits, self.temperature)
        return ab * self.bins.certainty(logits, self.mute) if self.mute else ab


class UpStage(nn.Module):
    """Doubles the resolution, adds the trunk's tap at that resolution, and applies one 3 x 3 convolution."""

    def __init__(self, inputs: int, tap: int, outputs: int) -> None:
        super().__init__()
        self.lateral = nn.Conv2d(tap, inputs, 1, bias=False)
        self.before = nn.BatchNorm2d(inputs)
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.after = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor, tap: Tensor) -> Tensor:
        x = F.relu(F.interpolate(x, scale_factor=2.0, mode="nearest") + self.before(self.lateral(tap)))
        x = F.relu(self.after(self.conv(x)))
        return x


class SelfAttention(nn.Module):
    """Adds to each position what it reads from all others. It adds nothing before it is trained.

    Raises:
        ValueError: `channels` is not a multiple of `heads`.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"{channels} channels cannot be split into {heads} heads: give a number that divides {channels}.")
        self.heads = heads
        self.norm = nn.LayerNorm(channels)
        self.queries_keys_values = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor) -> Tensor:
        positions = x.flatten(2).transpose(1, 2)  # (n, h * w, channels)
        parts = self.queries_keys_values(self.norm(positions)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        read = F.scaled_dot_product_attention(parts[0], parts[1], parts[2])
        added: Tensor = self.out(read.transpose(1, 2).flatten(2)).transpose(1, 2)
        return x + added.reshape_as(x)
