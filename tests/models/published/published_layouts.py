"""Random tensors with the names and shapes of published files, but fewer channels, and what their networks compute of them."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

Tensors = dict[str, Tensor]


def convolution(name: str, inputs: int, outputs: int, side: int = 3, bias: bool = True) -> Iterator[tuple[str, Tensor]]:
    yield f"{name}.weight", torch.randn(outputs, inputs, side, side) / (side * inputs**0.5)
    if bias:
        yield f"{name}.bias", torch.randn(outputs) / 10


def batch_norm(name: str, channels: int) -> Iterator[tuple[str, Tensor]]:
    yield from {
        f"{name}.weight": torch.rand(channels) + 0.5,
        f"{name}.bias": torch.randn(channels) / 10,
        f"{name}.running_mean": torch.randn(channels) / 10,
        f"{name}.running_var": torch.rand(channels) + 0.5,
        f"{name}.num_batches_tracked": torch.tensor(1),
    }.items()


def blocks(first: int, counts: list[int], widths: list[int]) -> Iterator[tuple[str, Tensor]]:
    """`model1`, `model2`, and so on: convolutions at even places, then batch norm."""
    for number, (count, inputs, outputs) in enumerate(zip(counts, [first, *widths], widths, strict=False), start=1):
        for index in range(count):
            yield from convolution(f"model{number}.{2 * index}", inputs if index == 0 else outputs, outputs)
        yield from batch_norm(f"model{number}.{2 * count}", outputs)


def eccv16(width: int = 4, bins: int = 11) -> Tensors:
    """The layout of `colorization_release_v2`, whose width is 64 and which has 313 bins."""
    torch.manual_seed(1)
    widths = [width, 2 * width, 4 * width, *[8 * width] * 4]
    tensors = dict(blocks(1, [2, 2, 3, 3, 3, 3, 3], widths))
    tensors["model8.0.weight"] = torch.randn(8 * width, 4 * width, 4, 4) / 8
    tensors["model8.0.bias"] = torch.randn(4 * width) / 10
    for place, outputs, side in ((2, 4 * width, 3), (4, 4 * width, 3), (6, bins, 1)):
        tensors |= dict(convolution(f"model8.{place}", 4 * width, outputs, side))
    return tensors | dict(convolution("model_out", bins, 2, 1, bias=False))


def eccv16_ab(tensors: Tensors, L: Tensor) -> Tensor:
    """Ab at a quarter of the sides, as the published program computes them before it enlarges them."""
    x = (L - 50) / 100
    for number, (count, stride, dilation) in enumerate(
        [(2, 2, 1), (2, 2, 1), (3, 2, 1), (3, 1, 1), (3, 1, 2), (3, 1, 2), (3, 1, 1)], start=1
    ):
        x = run_block(tensors, f"model{number}", x, count, stride, dilation)
    x = F.conv_transpose2d(x, tensors["model8.0.weight"], tensors["model8.0.bias"], stride=2, padding=1).relu()
    for place in (2, 4):
        x = F.conv2d(x, tensors[f"model8.{place}.weight"], tensors[f"model8.{place}.bias"], padding=1).relu()
    x = F.conv2d(x, tensors["model8.6.weight"], tensors["model8.6.bias"]).softmax(dim=1)
    return F.conv2d(x, tensors["model_out.weight"]) * 110


def siggraph17(width: int = 4) -> Tensors:
    """The layout of `siggraph17`, whose width is 64."""
    torch.manual_seed(2)
    widths = [width, 2 * width, 4 * width, *[8 * width] * 4]
    tensors = dict(blocks(4, [2, 2, 3, 3, 3, 3, 3], widths))
    for name, inputs, outputs in (("model8up", 8, 4), ("model9up", 4, 2), ("model10up", 2, 2)):
        tensors[f"{name}.0.weight"] = torch.randn(inputs * width, outputs * width, 4, 4) / (3 * (inputs * width) ** 0.5)
        tensors[f"{name}.0.bias"] = torch.randn(outputs * width) / 10
    for name, inputs, outputs in (("model3short8", 4, 4), ("model2short9", 2, 2), ("model1short10", 1, 2)):
        tensors |= dict(convolution(f"{name}.0", inputs * width, outputs * width))
    for name, channels, count in (("model8", 4, 2), ("model9", 2, 1), ("model10", 2, 1)):
        for index in range(count):
            tensors |= dict(convolution(f"{name}.{2 * index + 1}", channels * width, channels * width))
        if name != "model10":
            tensors |= dict(batch_norm(f"{name}.{2 * count + 1}", channels * width))
    return tensors | dict(convolution("model_class.0", 4 * width, 529, 1)) | dict(convolution("model_out.0", 2 * width, 2, 1))


def siggraph17_ab(tensors: Tensors, L: Tensor, ab: Tensor, mask: Tensor) -> Tensor:
    """Ab as the published program computes them, with the colors of some points."""
    x, skipped = torch.cat(((L - 50) / 100, ab / 110, mask), dim=1), []
    for number, count in enumerate((2, 2, 3, 3), start=1):
        x = run_block(tensors, f"model{number}", x, count)
        skipped.append(x)
        x = x[:, :, ::2, ::2]
    x = skipped.pop()
    for number, dilation in ((5, 2), (6, 2), (7, 1)):
        x = run_block(tensors, f"model{number}", x, 3, 1, dilation)
    for number, source, count in ((8, "model3short8", 2), (9, "model2short9", 1), (10, "model1short10", 1)):
        x = F.conv_transpose2d(x, tensors[f"model{number}up.0.weight"], tensors[f"model{number}up.0.bias"], stride=2, padding=1)
        x = (x + F.conv2d(skipped.pop(), tensors[f"{source}.0.weight"], tensors[f"{source}.0.bias"], padding=1)).relu()
        for index in range(count):
            name = f"model{number}.{2 * index + 1}"
            x = F.conv2d(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"], padding=1)
            x = F.leaky_relu(x, 0.2) if number == 10 else x.relu()
        if number != 10:
            x = norm(tensors, f"model{number}.{2 * count + 1}", x)
    return 110 * torch.tanh(F.conv2d(x, tensors["model_out.0.weight"], tensors["model_out.0.bias"]))


def run_block(tensors: Tensors, name: str, x: Tensor, count: int, stride: int = 1, dilation: int = 1) -> Tensor:
    for index in range(count):
        weight, bias = tensors[f"{name}.{2 * index}.weight"], tensors[f"{name}.{2 * index}.bias"]
        step = stride if index == count - 1 else 1
        x = F.conv2d(x, weight, bias, stride=step, padding=dilation, dilation=dilation).relu()
    return norm(tensors, f"{name}.{2 * count}", x)


def norm(tensors: Tensors, name: str, x: Tensor) -> Tensor:
    return F.batch_norm(
        x, *(tensors[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")), training=False, eps=1e-5
    )


def ddcolor(width: int = 16) -> Tensors:
    """The layout of DDColor with the tiny encoder, whose decoder has 512 channels."""
    torch.manual_seed(3)
    tensors: Tensors = {"mean": torch.zeros(1, 3, 1, 1), "std": torch.ones(1, 3, 1, 1)}
    depths, channels, arch = (3, 3, 9, 3), (96, 192, 384, 768), "encoder.arch"
    for index, (depth, outputs) in enumerate(zip(depths, channels, strict=True)):
        inputs, side = (3, 4) if index == 0 else (channels[index - 1], 2)
        place, other = (0, 1) if index == 0 else (1, 0)
        tensors |= dict(convolution(f"{arch}.downsample_layers.{index}.{place}", inputs, outputs, side))
        tensors |= layer_norm(f"{arch}.downsample_layers.{index}.{other}", outputs if index == 0 else inputs)
        for block in range(depth):
            name = f"{arch}.stages.{index}.{block}"
            tensors[f"{name}.gamma"] = torch.rand(outputs)
            tensors |= dict(convolution(f"{name}.dwconv", 1, outputs, 7)) | layer_norm(f"{name}.norm", outputs)
            tensors |= linear(f"{name}.pwconv1", outputs, 4 * outputs) | linear(f"{name}.pwconv2", 4 * outputs, outputs)
        tensors |= layer_norm(f"{arch}.norm{index}", outputs)
    tensors |= layer_norm(f"{arch}.norm", 768)
    inputs = 768
    for index, (skipped, outputs) in enumerate(zip((384, 192, 96), (width, width, width // 2), strict=True)):
        name = f"decoder.layers.{index}"
        tensors |= spectral(f"{name}.shuf.conv.0", inputs, 4 * outputs, 1) | dict(batch_norm(f"{name}.shuf.conv.1", 4 * outputs))
        tensors |= dict(batch_norm(f"{name}.bn", skipped)) | spectral(f"{name}.conv.0", outputs + skipped, outputs, 3)
        tensors |= dict(batch_norm(f"{name}.conv.2", outputs))
        inputs = outputs
    half = width // 2
    tensors |= spectral("decoder.last_shuf.conv.0", half, 16 * half, 1) | {"decoder.last_shuf.conv.0.bias": torch.randn(16 * half)}
    decoder = "decoder.color_decoder"
    tensors |= {f"{decoder}.query_{kind}.weight": torch.randn(100, half) for kind in ("feat", "embed")}
    tensors[f"{decoder}.level_embed.weight"] = torch.randn(3, half)
    for index, channel in enumerate((width, width, half)):
        tensors |= dict(convolution(f"{decoder}.input_proj.{index}", channel, half, 1))
    for index in range(9):
        for kind, inner in (("self", "self_attn"), ("cross", "multihead_attn")):
            name = f"{decoder}.transformer_{kind}_attention_layers.{index}"
            tensors |= {f"{name}.{inner}.in_proj_weight": torch.randn(3 * half, half) / half**0.5}
            tensors |= {f"{name}.{inner}.in_proj_bias": torch.randn(3 * half) / 10}
            tensors |= linear(f"{name}.{inner}.out_proj", half, half) | layer_norm(f"{name}.norm", half)
        name = f"{decoder}.transformer_ffn_layers.{index}"
        tensors |= (
            linear(f"{name}.linear1", half, 8 * half) | linear(f"{name}.linear2", 8 * half, half) | layer_norm(f"{name}.norm", half)
        )
        if index < 3:
            tensors |= linear(f"{decoder}.color_embed.layers.{index}", half, half)
    tensors |= layer_norm(f"{decoder}.decoder_norm", half)
    return tensors | spectral("refine_net.0.0", 103, 2, 1) | {"refine_net.0.0.bias": torch.randn(2)}


def linear(name: str, inputs: int, outputs: int) -> Tensors:
    return {f"{name}.weight": torch.randn(outputs, inputs) / inputs**0.5, f"{name}.bias": torch.randn(outputs) / 10}


def layer_norm(name: str, channels: int) -> Tensors:
    return {f"{name}.weight": torch.rand(channels) + 0.5, f"{name}.bias": torch.randn(channels) / 10}


def spectral(name: str, inputs: int, outputs: int, side: int) -> Tensors:
    """A convolution with torch's spectral norm."""
    layer = torch.nn.utils.spectral_norm(torch.nn.Conv2d(inputs, outputs, side, bias=False))
    return {f"{name}.{key}": tensor for key, tensor in layer.state_dict().items()}
