"""The families of colorizers: a checkpoint's card names one of them."""

from models.colorizers.base import Colorizer, TapColorizer
from models.colorizers.pix2pix import Pix2Pix
from models.colorizers.strided_cnn import StridedCnn
from models.colorizers.vgg_expert import VggExpert

__all__ = ["COLORIZERS", "Colorizer", "TapColorizer"]

COLORIZERS: dict[str, type[Colorizer]] = {
    "vgg_expert": VggExpert,
    "strided_cnn": StridedCnn,
    "pix2pix": Pix2Pix,
}
