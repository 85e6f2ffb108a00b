"""Damaged, truncated and hostile files: a picture with missing pixels is refused, and no file raises anything but PictureError."""

import io
import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from time import perf_counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from models import imaging
from models.decoders import formats
from models.errors import BrokenPicture, NotAPicture, PictureError, PictureTooLarge
from tests.picture_files import HEIC, chunk, gray_tags, lossless_jpeg, luma, masked_bmp, png, raw_tiff, srgb_profile, tiff

Encode = Callable[..., bytes]

pytestmark = pytest.mark.filterwarnings("ignore:Corrupt EXIF data|Truncated File Read|image file could not be:UserWarning")

EXIF = b"Exif\0\0MM\0*\0\0\0\x08\0\2\x01\x0e\0\2\0\0\0\6\0\0\0\x26\x01\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0Box 7\0"
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a xmlns="b"/></x:xmpmeta>'
RGB = np.random.default_rng(0).integers(0, 256, (3, 4, 3), dtype=np.uint8).repeat(5, axis=0).repeat(5, axis=1)
GRAY = luma(RGB)


def saved(format: str, mode: str = "RGB", **options: object) -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(RGB)
    (image.quantize(8) if mode == "P" else image.convert(mode)).save(buffer, format, **options)
    return buffer.getvalue()


FILES = {
    "jpeg": saved("JPEG", exif=EXIF, xmp=XMP, comment=b"c", icc_profile=srgb_profile()),
    "jpeg progressive": saved("JPEG", "L", progressive=True),
    "jpeg restarts": saved("JPEG", restart_marker_blocks=1),
    "jpeg lossless": lossless_jpeg(GRAY),
    "png": png(RGB, 2, chunk(b"eXIf", EXIF[6:]) + chunk(b"zTXt", b"key\0\0" + zlib.compress(b"text"))),
    "png palette": saved("PNG", "P", transparency=3),
    "tiff": tiff([RGB, RGB[:9]], photometric="rgb", description="two pages"),
    "tiff planes": tiff(np.moveaxis(RGB.astype(np.uint16), -1, 0), photometric="rgb", planarconfig="separate", bigtiff=True),
    "tiff tiles": tiff(RGB, photometric="rgb", tile=(16, 16), byteorder=">"),
    "tiff lzw": saved("TIFF", compression="tiff_lzw"),
    "tiff fax": saved("TIFF", "1", compression="group4"),
    "tiff zstd": saved("TIFF", compression="zstd"),
    "tiff float": tiff(RGB.astype(np.float32), photometric="rgb"),
    "bmp": saved("BMP"),
    "bmp masks": masked_bmp([*np.moveaxis(RGB, -1, 0)], [0xF800, 0x7E0, 0x1F], 16),
    "webp": saved("WEBP", exif=EXIF, xmp=XMP),
    "gif": saved("GIF", "P", comment=b"c"),
    "avif": saved("AVIF", exif=EXIF, xmp=XMP),
    "jpeg2000": saved("JPEG2000"),
    "heic": HEIC,
}


def decode_pages(content: bytes) -> None:
    document = imaging.Document(content, 1_000_000)
    for page in range(1, document.info.page_count + 1):
        picture = document.decode(page)
        assert picture.luma.dtype == np.uint8
        picture.metadata.filtered("keep").fitted("jpeg").exif_block()


@pytest.mark.parametrize("name", FILES)
@given(data=st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_altered_file_is_read_or_refused(name: str, data: st.DataObject) -> None:
    content = bytearray(FILES[name])
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=4)):
        content[place] = data.draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFE, 0xFF]) | st.integers(0, 255))
    start = perf_counter()
    with suppress(PictureError):
        decode_pages(bytes(content[: data.draw(st.integers(0, len(content)) | st.just(len(content)))]))
    assert perf_counter() - start < 20


@pytest.mark.parametrize("name", FILES)
def test_truncated_file_is_refused(name: str) -> None:
    content = FILES[name]
    for share in (0.0, 0.01, 0.1, 0.3, 0.5, 0.8):
        with pytest.raises(PictureError):
            decode_pages(content[: int(len(content) * share)])


@pytest.mark.parametrize("place", range(3))
def test_png_with_damaged_pixels_is_refused(place: int, photographs: dict[str, Image.Image], encoded: Encode) -> None:
    content = encoded(photographs["cat"])
    start = content.index(b"IDAT") + 4
    damaged = bytearray(content)
    damaged[start + (2, 2000, 9000)[place]] ^= 0xFF
    with pytest.raises(BrokenPicture, match="truncated or damaged"):
        imaging.decode(bytes(damaged))


JPEGS = {
    "baseline": {}, "without subsampling": {"subsampling": 0}, "progressive": {"progressive": True},
    "restarts": {"restart_marker_blocks": 4}, "optimized": {"optimize": True, "quality": 97},
}  # fmt: skip


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("kind", JPEGS)
@pytest.mark.parametrize("output_format", ["jpeg", "png"])
def test_jpeg_is_read_without_its_end_and_refused_without_pixels(
    mode: str, kind: str, output_format: str, photographs: dict[str, Image.Image], encoded: Encode
) -> None:
    whole = encoded(photographs["cat"].resize((70, 50)).convert(mode), "JPEG", **JPEGS[kind])
    expected = imaging.decode(whole, output_format=output_format).luma
    for end in (b"", b"\xff", b"\xff\xd9" + bytes(40), b"\xff\xd9and a trailer", b"\xff\xd9" + whole, bytes(40)):
        assert np.array_equal(imaging.decode(whole[:-2] + end, output_format=output_format).luma, expected)
    start = whole.index(b"\xff\xda") + 14
    for share in (0.05, 0.4, 0.7, 0.9):
        cut = whole[: start + int((len(whole) - start) * share)]
        for end in (b"", b"\xff\xd9", b"\xff\xd9" + whole[len(cut) :], bytes(100), b"\xff" * 100):
            if kind == "progressive" and end.startswith(b"\xff\xd9"):
                continue  # it may be a picture of fewer scans, which is valid
            with pytest.raises(BrokenPicture, match="truncated"):
                imaging.decode(cut + end, output_format=output_format)


def test_picture_of_one_color_is_not_taken_for_a_truncated_one(encoded: Encode) -> None:
    for color in ("black", "gray", "white", "navy"):
        for options in ({}, {"progressive": True}, {"restart_marker_blocks": 1}):
            whole = encoded(Image.new("RGB", (70, 50), color), "JPEG", **options)
            for content in (whole, whole[:-2]):
                assert np.ptp(imaging.decode(content, output_format="png").luma) == 0


def test_long_padding_takes_little_time(encoded: Encode) -> None:
    comment = b"\xff\xfe\xff\xff" + bytes(65_533)
    whole = encoded(Image.new("L", (16, 16), 99), "JPEG")
    content = whole[:2] + comment * 40 + whole[2:-2]
    start = perf_counter()
    assert imaging.decode(content).luma[0, 0] == pytest.approx(99, abs=1)
    assert perf_counter() - start < 10  # it was minutes


HOSTILE_TIFFS = {
    "two sizes": (gray_tags() | {256: (4, 1, 30_000)}, gray_tags()),
    "many channels": (gray_tags() | {277: (3, 1, 300)}, {}),
    "no size": (gray_tags(0), {}),
    "negative size": (gray_tags() | {256: (9, 1, 2**32 - 10), 257: (9, 1, 2**32 - 10)}, {}),
    "size that is a text": (gray_tags() | {256: (2, 2, 0x3939)}, {}),
    "huge strips": (gray_tags() | {273: (4, 2**32 - 1, 8), 279: (4, 2**32 - 1, 8)}, {}),
    "strips outside": (gray_tags() | {273: (4, 1, 2**31)}, {}),
    "no rows in a strip": (gray_tags() | {278: (4, 1, 0)}, {}),
    "huge tiles": (gray_tags() | {322: (4, 1, 2**30), 323: (4, 1, 2**30), 324: (4, 1, 8), 325: (4, 1, 100)}, {}),
    "unknown compression": (gray_tags() | {259: (3, 1, 999)}, {}),
    "seven bits": (gray_tags() | {258: (3, 1, 7)}, {}),
}


@pytest.mark.parametrize("name", HOSTILE_TIFFS)
def test_hostile_tiff_is_refused(name: str) -> None:
    tags, second = HOSTILE_TIFFS[name]
    content = raw_tiff(tags, bytes(100))
    if second:  # entries of the same numbers follow
        entries = b"".join(struct.pack("<HHII", number, *entry) for number, entry in second.items() if number == 256)
        content = content[:108] + struct.pack("<H", len(tags) + 1) + content[110:122] + entries + content[122:]
    with pytest.raises(BrokenPicture):
        imaging.decode(content)


@pytest.mark.parametrize("format", ["JPEG", "BMP", "GIF", "JPEG2000"])
def test_size_beyond_what_pillow_opens_is_too_large(format: str, encoded: Encode) -> None:
    content = bytearray(encoded(Image.new("L", (16, 16)), format))
    if format == "JPEG":
        place = content.index(b"\xff\xc0") + 5
        content[place : place + 4] = struct.pack(">HH", 20_000, 20_000)
    elif format == "BMP":
        content[18:26] = struct.pack("<ii", 20_000, 20_000)
    elif format == "GIF":
        content[6:10] = struct.pack("<HH", 20_000, 20_000)
    else:
        place = content.index(b"ihdr") + 4
        content[place : place + 8] = struct.pack(">II", 20_000, 20_000)
    with pytest.raises(PictureTooLarge, match="send a smaller one"):
        imaging.decode(bytes(content))


OTHER_FILES = {
    b"%PDF-1.7": "a PDF file: extract its pictures", b"<svg xmlns=''/>": "SVG file, which has no pixels: export it as JPEG",
    b"\xef\xbb\xbf<?xml version='1.0'?>": "XML or SVG", b"8BPS\0\1": "a Photoshop file: export it", b"\xff\x0a": "a JPEG XL file",
    b"\0\0\0\x0cJXL ": "a JPEG XL file", b"FUJIFILMCCD-RAW": "a raw file of a camera: develop it", b"IIU\0": "a raw file",
    b"\0\0\0\x18ftypisom": "a video: extract its pictures", b"PK\3\4": "a ZIP archive: send it to", b"P6 3 4": "a PNM file",
    b"Rar!\x1a": "an archive: unpack it", b"": "not a picture", b"hello": "not a picture",
}  # fmt: skip


@pytest.mark.parametrize("content", OTHER_FILES)
def test_other_files_are_refused_with_advice(content: bytes) -> None:
    with pytest.raises(NotAPicture, match=OTHER_FILES[content]) as error:
        imaging.decode(content + bytes(100) if content else b"")
    assert "JPEG, PNG, TIFF, WebP, GIF, BMP, AVIF, JPEG 2000" in str(error.value)


def test_heic_without_its_extra_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "can_read_heif", lambda: False)
    with pytest.raises(NotAPicture, match=r"needs the extra heif: pip install 'chromaroute\[heif\]', or export it as JPEG"):
        imaging.decode(HEIC)


@pytest.mark.parametrize("type_", [b"\xff\xffif", b"mim\xb1", b"\x80\0\0\0"])
def test_heic_with_texts_that_are_no_utf_8_does_not_end_the_process(type_: bytes) -> None:
    place = HEIC.index(b"infe\x02\0\0\1") + 12
    assert HEIC[place : place + 4] == b"Exif"
    with pytest.raises(BrokenPicture, match="header is damaged"):
        imaging.decode(HEIC[:place] + type_ + HEIC[place + 4 :])
