"""The published networks that can be imported: how the tensors of their files become those of our families."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from models.colorizers import COLORIZERS, Colorizer
from models.errors import CheckpointError
from models.published.tensors import Tensors, folded, renamed

_ECCV16: dict[str, str | None] = {
    r"model([1-5])\.(\d+\.\w+)": r"\1@encoder.\2",
    r"model6\.(\d+\.\w+)": r"decoder.0.\1",
    r"model7\.(\d+\.\w+)": r"decoder.1.\1",
    r"model8\.0\.(\w+)": r"decoder.2.\1",
    r"model8\.2\.(\w+)": r"decoder.4.\1",
    r"model8\.4\.(\w+)": r"decoder.6.\1",
    r"model8\.6\.(\w+)": r"last.\1",
    r"model_out\.weight": "bins.centers",
}
_SIGGRAPH17: dict[str, str | None] = {
    r"model([1-4])\.(\d+\.\w+)": r"\1@down.\2",
    r"model5\.(\d+\.\w+)": r"middle.0.\1",
    r"model6\.(\d+\.\w+)": r"middle.1.\1",
    r"model7\.(\d+\.\w+)": r"middle.2.\1",
    r"model8up\.0\.(\w+)": r"up.0.enlarge.\1",
    r"model9up\.0\.(\w+)": r"up.1.enlarge.\1",
    r"model10up\.0\.(\w+)": r"up.2.enlarge.\1",
    r"model3short8\.0\.(\w+)": r"up.0.skip.\1",
    r"model2short9\.0\.(\w+)": r"up.1.skip.\1",
    r"model1short10\.0\.(\w+)": r"up.2.skip.\1",
    r"model8\.(\d+\.\w+)": r"up.0.convolve.\1",
    r"model9\.(\d+\.\w+)": r"up.1.convolve.\1",
    r"model10\.(\d+\.\w+)": r"up.2.convolve.\1",
    r"model_class\..+": None,  # the colors as classes, which only training needs
    r"model_out\.0\.(\w+)": r"last.\1",
}
_DDCOLOR: dict[str, str | None] = {
    r"mean|std": None,  # of ImageNet, which are constants
    r"encoder\.arch\.(head_cls|norm)\..+": None,  # of the classifier that the encoder was
    r"encoder\.arch\.downsample_layers\.(.+)": r"encoder.reduce.\1",
    r"encoder\.arch\.norm(\d)\.(\w+)": r"encoder.norms.\1.\2",
    r"encoder\.arch\.stages\.(\d+\.\d+)\.gamma": r"encoder.stages.\1.scale",
    r"encoder\.arch\.stages\.(\d+\.\d+)\.dwconv\.(\w+)": r"encoder.stages.\1.depthwise.\2",
    r"encoder\.arch\.stages\.(\d+\.\d+)\.norm\.(\w+)": r"encoder.stages.\1.norm.\2",
    r"encoder\.arch\.stages\.(\d+\.\d+)\.pwconv1\.(\w+)": r"encoder.stages.\1.expand.\2",
    r"encoder\.arch\.stages\.(\d+\.\d+)\.pwconv2\.(\w+)": r"encoder.stages.\1.shrink.\2",
    r"decoder\.layers\.(\d)\.shuf\.conv\.0\.(\w+)": r"pixels.up.\1.enlarge.convolve.\2",
    r"decoder\.layers\.(\d)\.shuf\.conv\.1\.(\w+)": r"pixels.up.\1.enlarge.norm.\2",
    r"decoder\.layers\.(\d)\.bn\.(\w+)": r"pixels.up.\1.norm.\2",
    r"decoder\.layers\.(\d)\.conv\.0\.(\w+)": r"pixels.up.\1.convolve.\2",
    r"decoder\.layers\.(\d)\.conv\.2\.(\w+)": r"pixels.up.\1.after.\2",
    r"decoder\.last_shuf\.conv\.0\.(\w+)": r"pixels.last.convolve.\1",
    r"decoder\.color_decoder\.query_feat\.weight": "colors.queries",
    r"decoder\.color_decoder\.query_embed\.weight": "colors.query_positions",
    r"decoder\.color_decoder\.level_embed\.weight": "colors.levels",
    r"decoder\.color_decoder\.input_proj\.(\d\.\w+)": r"colors.project.\1",
    r"decoder\.color_decoder\.transformer_cross_attention_layers\.(\d)\.multihead_attn\.(.+)": r"colors.rounds.\1.cross.\2",
    r"decoder\.color_decoder\.transformer_cross_attention_layers\.(\d)\.norm\.(\w+)": r"colors.rounds.\1.norms.0.\2",
    r"decoder\.color_decoder\.transformer_self_attention_layers\.(\d)\.self_attn\.(.+)": r"colors.rounds.\1.own.\2",
    r"decoder\.color_decoder\.transformer_self_attention_layers\.(\d)\.norm\.(\w+)": r"colors.rounds.\1.norms.1.\2",
    r"decoder\.color_decoder\.transformer_ffn_layers\.(\d)\.linear1\.(\w+)": r"colors.rounds.\1.expand.\2",
    r"decoder\.color_decoder\.transformer_ffn_layers\.(\d)\.linear2\.(\w+)": r"colors.rounds.\1.shrink.\2",
    r"decoder\.color_decoder\.transformer_ffn_layers\.(\d)\.norm\.(\w+)": r"colors.rounds.\1.norms.2.\2",
    r"decoder\.color_decoder\.decoder_norm\.(\w+)": r"colors.norm.\1",
    r"decoder\.color_decoder\.color_embed\.layers\.0\.(\w+)": r"colors.embed.0.\1",
    r"decoder\.color_decoder\.color_embed\.layers\.1\.(\w+)": r"colors.embed.2.\1",
    r"decoder\.color_decoder\.color_embed\.layers\.2\.(\w+)": r"colors.embed.4.\1",
    r"refine_net\.0\.0\.(\w+)": r"refine.\1",
}


@dataclass(frozen=True)
class PublishedNetwork:
    """A network whose published files can be imported.

    Args:
        family: of colorizers, that has the same layers.
        working_size: in pixels, of the square that the published programs give to it.
        convert: from the tensors of a published file to the arguments of the family, and its tensors.
    """

    family: str
    working_size: int
    convert: Callable[[Tensors], tuple[dict[str, Any], Tensors]]


def converted(name: str, tensors: Tensors) -> tuple[dict[str, Any], Tensors]:
    """The arguments of our family, and its tensors, for those of a published file.

    Args:
        name: a key of `NETWORKS`.
        tensors: of the file.

    Raises:
        CheckpointError: they are not those of the network.
    """
    network = NETWORKS[name]
    try:
        arguments, own = network.convert(tensors)
        colorizer: Colorizer = COLORIZERS[network.family](**arguments)
        colorizer.load_state_dict(own)
    except (KeyError, IndexError, RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(f"the file is not that of {name}: {error}") from error
    return arguments, own


def _eccv16(tensors: Tensors) -> tuple[dict[str, Any], Tensors]:
    own = _numbered(renamed(tensors, _ECCV16, "eccv16"))
    own["bins.centers"] = 110 * own["bins.centers"][:, :, 0, 0].T
    width, bins = own["encoder.0.0.weight"].shape[0], len(own["bins.centers"])
    return {"width": width, "bins": bins, "temperature": 1.0, "transposed": True}, own


def _siggraph17(tensors: Tensors) -> tuple[dict[str, Any], Tensors]:
    own = _numbered(renamed(tensors, _SIGGRAPH17, "siggraph17"))
    return {"width": own["down.0.0.weight"].shape[0]}, own


def _ddcolor(tensors: Tensors) -> tuple[dict[str, Any], Tensors]:
    own = folded(renamed(tensors, _DDCOLOR, "ddcolor"))
    size = {96: "tiny", 192: "large"}[own["encoder.stages.0.0.norm.weight"].shape[0]]
    return {"size": size, "width": own["pixels.up.0.convolve.weight"].shape[0]}, own


def _numbered(tensors: Mapping[str, Tensor]) -> Tensors:
    """Tensors whose block, counted from 1 and given before `@`, becomes a part of the name that is counted from 0."""
    result = {}
    for name, tensor in tensors.items():
        block, at, rest = name.partition("@")
        if at:
            part, _, rest = rest.partition(".")
            name = f"{part}.{int(block) - 1}.{rest}"
        result[name] = tensor
    return result


NETWORKS = {
    "eccv16": PublishedNetwork("zhang", 256, _eccv16),
    "siggraph17": PublishedNetwork("siggraph17", 256, _siggraph17),
    "ddcolor": PublishedNetwork("ddcolor", 512, _ddcolor),
}
