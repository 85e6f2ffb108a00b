"""The families of colorizers: a checkpoint's card names one of them."""

from models.colorizers.base import Colorizer, Regressor, TapColorizer
from models.colorizers.hypercolumn import Hypercolumn
from models.colorizers.iizuka import Iizuka
from models.colorizers.pix2pix import Pix2Pix
from models.colorizers.strided_cnn import StridedCnn
from models.colorizers.vgg_decoder import VggDecoder
from models.colorizers.vgg_expert import VggExpert
from models.colorizers.zhang import Zhang

__all__ = ["COLORIZERS", "Colorizer", "Regressor", "TapColorizer"]

COLORIZERS: dict[str, type[Colorizer]] = {
    "vgg_expert": VggExpert,
    "iizuka": Iizuka,
    "vgg_decoder": VggDecoder,
    "zhang": Zhang,
    "strided_cnn": StridedCnn,
    "pix2pix": Pix2Pix,
    "hypercolumn": Hypercolumn,
}
