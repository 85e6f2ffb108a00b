"""PNG: pixels by libvips, which keeps 16 bits and refuses damaged files; metadata from the chunks."""

import zlib
from collections.abc import Iterator
from contextlib import suppress

from models.decoders import vips
from models.decoders.base import EncodedFile, Page
from models.metadata import Metadata, decoded_text, read_exif, valid_dpi
from models.samples import PROFILE_LEFT_OUT

_XMP = "XML:com.adobe.xmp"
_RAW_PROFILE = "Raw profile type "  # ImageMagick's way to store what PNG has no chunk for
_MAX_KEY = 79  # characters
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")  # names of chunks
_MAX_TEXT = 16 * 2**20  # bytes of all texts of a file, unpacked
_LEAST_COST = 2**20  # bytes of it for a text that is damaged, which may be found after unpacking much of it


class PngFile(EncodedFile):
    """A PNG file; of an animation, the first picture."""

    format = "png"

    def __init__(self, content: bytes) -> None:
        self._content = content
        # libvips would unpack all texts, each time that it opens the file
        self._without_texts = _without_texts(content)
        image = vips.open_image("pngload_buffer", self._without_texts)
        self.sizes = [(image.width, image.height)]

    def decode(self, page: int, luma_only: bool = False) -> Page:
        image = vips.open_image("pngload_buffer", self._without_texts)
        samples, notes = vips.read_samples(image, has_alpha=image.hasalpha())
        if not samples.profile and {b"iCCP", b"sRGB"} & {name for name, _ in _chunks(self._without_texts)} == {b"iCCP"}:
            notes = (*notes, PROFILE_LEFT_OUT)  # by libpng
        orientation, metadata = _metadata(self._content, notes)
        return Page(samples, orientation, metadata)


def _metadata(content: bytes, notes: tuple[str, ...]) -> tuple[int, Metadata]:
    texts: dict[str, str] = {}
    packet, iptc, block, dpi, left = b"", b"", b"", None, _MAX_TEXT
    for name, data in _chunks(content):
        if name == b"eXIf":
            block = data
        elif name == b"pHYs" and len(data) == 9 and data[8] == 1:
            dpi = valid_dpi([int.from_bytes(data[start : start + 4]) * 0.0254 for start in (0, 4)])
        elif name in _TEXTS:
            key, value, cost = _text(name, data, left)
            left -= cost
            if key == _XMP:
                packet = value
            elif key.startswith(_RAW_PROFILE):
                kind, profile = key.removeprefix(_RAW_PROFILE), _raw_profile(value)
                iptc = (
                    profile.removeprefix(b"Photoshop 3.0\0")[12:] if kind == "iptc" and profile.startswith(b"Photoshop") else iptc
                )
                iptc = profile if kind == "iptc" and not iptc else iptc
                packet = profile if kind == "xmp" and not packet else packet
                block = profile if kind in ("exif", "APP1") and profile.startswith(b"Exif") and not block else block
            elif key:
                texts[key] = value.decode("latin-1") if name != b"iTXt" else decoded_text(value)
    found = read_exif(block)
    return found.orientation, Metadata(dpi or found.dpi, found.tags, packet, iptc, texts, (*notes, *found.notes))


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = 8
    while position + 12 <= len(content):
        length = int.from_bytes(content[position : position + 4])
        yield content[position + 4 : position + 8], content[position + 8 : position + 8 + length]
        position += 12 + length


def _without_texts(content: bytes) -> bytes:
    """The file without its texts. What follows the last whole chunk is kept, so that a damaged file stays damaged."""
    parts, position = [content[:8]], 8
    for name, data in _chunks(content):
        end = position + 12 + len(data)
        if name not in _TEXTS:
            parts.append(content[position:end])
        position = end
    return b"".join((*parts, content[position:])) if len(parts) > 1 else content


def _text(name: bytes, data: bytes, max_bytes: int) -> tuple[str, bytes, int]:
    """Key and value of a text chunk, and the bytes that were unpacked; an empty key if it is damaged, or too long when unpacked."""
    key, _, rest = data.partition(b"\0")
    compressed = name == b"zTXt"
    if name == b"iTXt":
        compressed, rest = rest[:1] == b"\1", rest[2:].split(b"\0", 2)[-1]
    elif compressed:
        rest = rest[1:]
    if compressed:
        unpacker = zlib.decompressobj()
        with suppress(zlib.error):
            rest = unpacker.decompress(rest, max(1, max_bytes))
        if not unpacker.eof:
            return "", b"", max(len(rest), _LEAST_COST)
    return key.decode("latin-1") if len(key) <= _MAX_KEY else "", rest, len(rest)


def _raw_profile(text: bytes) -> bytes:
    """The bytes that ImageMagick wrote as a name, a length and hexadecimal digits."""
    with suppress(IndexError, ValueError):
        return bytes.fromhex(text.decode("ascii").split(maxsplit=2)[2])
    return b""
