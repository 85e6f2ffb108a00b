"""The families of colorizers, by the name that a checkpoint's card gives: those that can be trained, and all."""

from models.colorizers.base import BinColorizer, Colorizer, HintedColorizer, RegressionColorizer, TapColorizer
from models.colorizers.ddcolor import DDColor
from models.colorizers.hypercolumn import Hypercolumn
from models.colorizers.iizuka import Iizuka
from models.colorizers.onnx import OnnxColorizer
from models.colorizers.pix2pix import Pix2Pix
from models.colorizers.siggraph17 import Siggraph17
from models.colorizers.strided_cnn import StridedCnn
from models.colorizers.vgg_decoder import VggDecoder
from models.colorizers.vgg_expert import VggExpert
from models.colorizers.zhang import Zhang, ZhangRegression

__all__ = ["COLORIZERS", "FAMILIES", "BinColorizer", "Colorizer", "HintedColorizer", "RegressionColorizer", "TapColorizer"]

COLORIZERS: dict[str, type[Colorizer]] = {
    "vgg_expert": VggExpert,
    "iizuka": Iizuka,
    "vgg_decoder": VggDecoder,
    "zhang": Zhang,
    "zhang_regression": ZhangRegression,
    "strided_cnn": StridedCnn,
    "pix2pix": Pix2Pix,
    "hypercolumn": Hypercolumn,
    "siggraph17": Siggraph17,
    "ddcolor": DDColor,
}
FAMILIES: dict[str, type[Colorizer]] = {**COLORIZERS, "onnx": OnnxColorizer}  # also the one that has no weights of its own
