"""WebP, GIF, BMP, AVIF, JPEG 2000 and, with a plugin, HEIC by Pillow."""

import io
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from models.decoders.base import EncodedFile, Page
from models.errors import BrokenPicture
from models.metadata import COMMENT, Metadata, decoded_text, read_exif, valid_dpi
from models.samples import Samples

HEIF_PLUGIN = "pi_heif"


class PillowFile(EncodedFile):
    """A file that Pillow decodes; of an animation, the first picture.

    Args:
        content: the file.
        format: its name among `READS`.
        plugin: what Pillow calls the format.
    """

    def __init__(self, content: bytes, format: str, plugin: str) -> None:
        self.format = format
        self._content, self._plugin = content, plugin
        with self._open() as image:
            self.sizes = [image.size]

    def decode(self, page: int, luma_only: bool = False) -> Page:
        with self._open() as image:
            info = dict(image.info)  # as the file has it: decoding changes it
            found = read_exif(info.get("exif") or b"")
            image.load()
            levels, alpha = levels_of(image)
        comment = info.get("comment", b"")
        text = comment if isinstance(comment, str) else decoded_text(comment)
        packet = info.get("xmp")
        packet = packet.encode() if isinstance(packet, str) else packet or b""
        metadata = Metadata(
            valid_dpi(info.get("dpi")) or found.dpi, found.tags, packet, b"", {COMMENT: text} if text else {}, found.notes
        )
        orientation = 1 if self.format == "heic" else found.orientation  # libheif turns pictures itself
        return Page(Samples(levels, alpha, info.get("icc_profile") or b""), orientation, metadata)

    def _open(self) -> Image.Image:
        if self._plugin == "HEIF":
            _register_heif()
        return Image.open(io.BytesIO(self._content), formats=(self._plugin,))


def can_read_heif() -> bool:
    """Whether the plugin for HEIC is installed."""
    return find_spec(HEIF_PLUGIN) is not None


def levels_of(image: Image.Image) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any] | None]:
    """The levels of a loaded image, gray where it has no color, and alpha."""
    alpha = None
    if image.has_transparency_data:
        image = image.convert("LA" if image.mode in ("L", "1", "LA") else "RGBA")
        alpha = np.asarray(image.getchannel("A"))
        image = image.convert("L" if image.mode == "LA" else "RGB")
    if image.mode.startswith("I"):  # gray of 16 bits, which Pillow clips if it is converted
        return np.asarray(image).astype(np.uint16), alpha
    if image.mode == "LAB":
        spaces = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        image = ImageCms.profileToProfile(image, *spaces, outputMode="RGB") or image
    if image.mode not in ("L", "RGB", "CMYK"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    return np.asarray(image), alpha


@cache
def _register_heif() -> None:
    if not can_read_heif():
        raise BrokenPicture("HEIC needs the extra `heif`: pip install 'chromaroute[heif]', or export the picture as JPEG.")
    from pi_heif import register_heif_opener

    register_heif_opener(thumbnails=False)
