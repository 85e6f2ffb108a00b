"""JPEG 2000 by Pillow, and the ICC profile, which Pillow does not read. ISO/IEC 15444-1, annexes A and I."""

from dataclasses import replace

from models.decoders.base import Page
from models.decoders.boxes import boxes
from models.decoders.pillow import PillowFile
from models.errors import BrokenPicture

_CODESTREAM = b"\xff\x4f\xff\x51"  # its first two markers
_PROFILES = (2, 3)  # methods of the color box that embed a profile
_COLOR = 0  # the type of a channel


class Jpeg2000File(PillowFile):
    """A JPEG 2000 file, in its container or as a bare codestream.

    Raises:
        BrokenPicture: the header cannot be read, or Pillow would decode other levels than the file has.
    """

    def __init__(self, content: bytes) -> None:
        super().__init__(content, "jpeg2000", "JPEG2000")
        header = next((body for name, body in boxes(content) if name == b"jp2h"), b"")
        parts = list(boxes(header))
        profiles = (body[3:] for name, body in parts if name == b"colr" and body[:1] and body[0] in _PROFILES)
        self._profile = next(profiles, b"")
        depths = _depths(content)
        if len(depths) > 1 and max(depths) > 8:  # of which Pillow makes black where they are white
            raise BrokenPicture(
                f"a JPEG 2000 file with color or alpha of {max(depths)} bits cannot be read: export it with 8, or as TIFF."
            )
        if any(name == b"cdef" and _is_reordered(body) for name, body in parts):
            raise BrokenPicture("a JPEG 2000 file with its channels in another order cannot be read: export it again.")

    def decode(self, page: int, luma_only: bool = False) -> Page:
        decoded = super().decode(page, luma_only)
        return replace(decoded, samples=replace(decoded.samples, profile=self._profile))


def _depths(content: bytes) -> list[int]:
    """Bits of each component."""
    start = content.find(_CODESTREAM)
    count = int.from_bytes(content[start + 40 : start + 42])
    return [(depth & 0x7F) + 1 for depth in content[start + 42 : start + 42 + 3 * count : 3]]


def _is_reordered(body: bytes) -> bool:
    """Whether a channel definition box gives the colors in another order than that of the channels."""
    numbers = [int.from_bytes(body[start : start + 2]) for start in range(2, len(body) - 1, 2)]
    definitions = zip(numbers[::3], numbers[1::3], numbers[2::3], strict=False)
    return any(type_ == _COLOR and color != channel + 1 for channel, type_, color in definitions)
