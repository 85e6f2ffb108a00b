"""Files whose structure would take long to decode are refused before they are decoded."""

import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from models.decoders import open_file
from models.errors import PictureTooComplex
from models.exif import MAX_ENTRIES, Tag, long, short, write_directories
from models.imaging import decode
from models.xmp import is_readable
from tests.picture_files import chunk, png

Encode = Callable[..., bytes]

END = b"\xff\xd9"


@pytest.fixture(scope="module")
def gray(photographs: dict[str, Image.Image]) -> Image.Image:
    return photographs["cat"].convert("L").resize((64, 48))


def segment(marker: int, content: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(content) + 2) + content


def with_segments(jpeg: bytes, segments: bytes) -> bytes:
    return jpeg[:2] + segments + jpeg[2:]


def empty_scans(progressive: bytes, count: int) -> bytes:
    """Scans that refine nothing."""
    scan = segment(0xDA, bytes((1, 1, 0, 1, 63, 0x10))) + bytes(75)
    return progressive.removesuffix(END) + count * scan + END


@pytest.mark.parametrize(("content", "count", "name"), [(b"x", 2_001, "segments"), (b"Exif\0\0", 17, "segments of EXIF")])
def test_jpeg_with_too_many_segments_is_refused(gray: Image.Image, encoded: Encode, content: bytes, count: int, name: str) -> None:
    jpeg = encoded(gray, "JPEG")
    with pytest.raises(PictureTooComplex, match=rf"more than \d+ {name}, which is the limit"):
        open_file(with_segments(jpeg, segment(0xE1, content) * count))
    assert decode(with_segments(jpeg, segment(0xE1, content) * (count // 2))).width == gray.width


def test_progressive_jpeg_with_too_many_scans_is_refused(gray: Image.Image, encoded: Encode) -> None:
    jpeg = encoded(gray, "JPEG", progressive=True)
    assert decode(jpeg).width == gray.width
    with pytest.raises(PictureTooComplex, match="more than 200 scans"):
        open_file(empty_scans(jpeg, 10_000))


def test_tiff_with_too_many_entries_in_a_directory_is_refused() -> None:
    tags: dict[int, Tag] = {256: long(8), 257: long(8), 258: short(8), 262: short(1), 273: long(8), 279: long(64)}
    directory, (offset,) = write_directories([{**tags, **{40_000 + number: short(1) for number in range(MAX_ENTRIES)}}], start=72)
    with pytest.raises(PictureTooComplex, match=f"{MAX_ENTRIES + len(tags)} entries, and the limit is {MAX_ENTRIES}"):
        open_file(b"II*\0" + struct.pack("<I", offset) + bytes(64) + directory)


def test_xmp_with_too_many_elements_is_not_parsed() -> None:
    def packet(count: int) -> bytes:
        rdf = b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:d="urn:d">'
        return rdf + b"<d:a/>" * count + b"</rdf:RDF>"

    assert is_readable(packet(10_000))
    assert not is_readable(packet(60_000))


def test_packed_texts_of_a_png_file_are_unpacked_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    unpacked: list[int] = []
    decompressobj = zlib.decompressobj

    class Unpacker:
        def __init__(self) -> None:
            self._unpacker = decompressobj()

        def decompress(self, data: bytes, max_length: int) -> bytes:
            content = self._unpacker.decompress(data, max_length)
            unpacked.append(len(content))
            return content

        @property
        def eof(self) -> bool:
            return self._unpacker.eof

    monkeypatch.setattr("models.decoders.png.zlib.decompressobj", Unpacker)
    large = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(30_000_000)))
    picture = decode(png(np.zeros((8, 8, 3), np.uint8), 2, large * 30))
    assert sum(unpacked) < 40 * 2**20
    assert picture.metadata.texts == {}
