"""Kinds of files that public test suites contain, and that one of the libraries reads wrongly or not at all."""

import base64
import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFile

from models.decoders import open_file
from models.errors import BrokenPicture
from models.exif import long, short, write_directories
from models.imaging import decode
from tests.picture_files import Array, cmyk_profile, gray_profile, luma, rgb_profile, run_length_bmp, tiff

RAMP = np.tile(np.arange(64, dtype=np.uint8) * 4, (48, 1))  # darkest at the left
# 48 x 40 pixels, five times the column as level, in arithmetic codes
ARITHMETIC = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAA0JCgsKCA0LCgsODg0PEyAVExISEyccHhcgLikxMC4pLSwzOko+MzZGNywtQFdBRkxOUlNSMj5aYVpQYEpRUk//yQAL"
    "CAAoADABAREA/8wABgAQEAX/2gAIAQEAAD8A/wCx8u0GJAcamoxBp2SWu42SegSkvj+her8et0/ZwDqzKrbdq70PAvPHICHG8fpsTej+pv8AgQjbchZu/9k="
)


def saved(pixels: Array, format: str, mode: str | None = None, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels, mode).save(buffer, format, **options)
    return buffer.getvalue()


def old_jpeg_tiff(rgb: Array) -> bytes:
    """A TIFF file with the compression 6, which TIFF 6.0 describes and nobody writes any more."""
    stream = saved(rgb, "JPEG", quality=95, subsampling=0)
    height, width = rgb.shape[:2]
    tags = {
        256: long(width), 257: long(height), 258: short(8, 8, 8), 259: short(6), 262: short(6), 273: long(8), 277: short(3),
        278: long(height), 279: long(len(stream)), 512: short(1), 513: long(8), 514: long(len(stream)), 530: short(1, 1),
    }  # fmt: skip
    content, (offset,) = write_directories([tags], 8 + len(stream))
    return b"II*\0" + struct.pack("<I", offset) + stream + content


def test_old_style_jpeg_in_tiff_is_read(photographs: dict[str, Image.Image]) -> None:
    rgb = np.asarray(photographs["cat"])
    assert np.abs(decode(old_jpeg_tiff(rgb)).luma.astype(int) - luma(rgb)).mean() < 2


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("compression", ["zstd", "lzma", "tiff_lzw"])
def test_tiff_page_is_turned_once_whatever_library_decodes_it(compression: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = decode(saved(RAMP, "TIFF", compression=compression, exif=exif, dpi=(300, 150)))
    assert np.array_equal(picture.luma, np.rot90(RAMP, {1: 0, 3: 2, 6: 3, 8: 1}[orientation]))
    assert picture.metadata.dpi == ((150, 300) if orientation >= 5 else (300, 150))


def test_cielab_of_8_bits_is_read_with_and_without_alpha(photographs: dict[str, Image.Image]) -> None:
    spaces = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    lab = ImageCms.profileToProfile(photographs["cat"], *spaces, outputMode="LAB")
    assert lab is not None
    buffer = io.BytesIO()
    lab.save(buffer, "TIFF")
    assert np.abs(decode(buffer.getvalue()).luma.astype(int) - luma(np.asarray(photographs["cat"]))).mean() < 2
    levels = np.dstack((np.asarray(lab), np.full(lab.size[::-1], 99, np.uint8)))
    picture = decode(tiff(levels, photometric="cielab", extrasamples=[2]))
    assert picture.alpha is not None
    assert picture.alpha.shape == picture.luma.shape


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (tiff(np.zeros((3, 9, 9), np.float16), photometric="rgb", planarconfig="separate"), "16 bits in separate planes"),
        (tiff(np.zeros((3, 9, 9), np.uint8), photometric="ycbcr", planarconfig="separate"), "YCbCr in separate planes"),
        (tiff(np.zeros((3, 32, 32), np.uint16), photometric="rgb", planarconfig="separate", tile=(16, 16)), "tiles of 16 bits"),
        (tiff(np.zeros((9, 9), np.float64)), "64 bits"),
        (saved(np.zeros((9, 9), np.uint16), "TIFF", compression="zstd"), "16 bits with this compression"),
    ],
    ids=["half planes", "ycbcr planes", "deep tiles", "64 bits", "deep zstd"],
)
def test_kind_that_no_library_reads_right_is_refused_with_its_name(content: bytes, message: str) -> None:
    with pytest.raises(BrokenPicture, match=f"{message}.* cannot be read: export"):
        decode(content)


@pytest.mark.parametrize("output_format", ["auto", "png"])
def test_profile_of_gray_and_cmyk_jpeg_is_applied(output_format: str) -> None:
    gray = saved(RAMP, "JPEG", quality=100, icc_profile=gray_profile(1.0))
    light = RAMP / 255
    expected = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055) * 255
    assert np.abs(decode(gray, output_format=output_format).luma[:, 4:] - expected[:, 4:]).max() <= 4
    ink = np.dstack((255 - RAMP, RAMP, RAMP, np.zeros_like(RAMP)))  # of which the profile sees black alone, and there is none
    cmyk = saved(ink, "JPEG", "CMYK", quality=100, icc_profile=cmyk_profile())
    assert decode(cmyk, output_format=output_format).luma.min() > 245


def test_profile_of_another_color_model_is_noted_and_left_out() -> None:
    for format in ("JPEG", "TIFF"):
        picture = decode(saved(RAMP, format, icc_profile=rgb_profile(1.0, "linear")))
        assert np.abs(picture.luma.astype(int) - RAMP).mean() < 2
        assert "the ICC profile does not fit the picture" in picture.metadata.notes[0]


def test_arithmetic_jpeg_longer_than_a_block_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "MAXBLOCK", 64)
    assert np.abs(decode(ARITHMETIC).luma - 5.0 * np.arange(48)).max() <= 3


def test_fill_bytes_before_the_end_of_a_jpeg_are_no_damage() -> None:
    content = saved(np.vstack((RAMP, np.zeros_like(RAMP))), "JPEG")
    assert np.array_equal(decode(content[:-2] + b"\xff\xff\xff\xd9").luma, decode(content).luma)


def jp2(pixels: Array, *boxes: tuple[bytes, bytes], depth: int = 8) -> bytes:
    """A JPEG 2000 file with more boxes in its header, and a depth that its components claim."""
    content = saved(pixels, "JPEG2000")
    more = b"".join(struct.pack(">I", 8 + len(body)) + name + body for name, body in boxes)
    start = content.index(b"jp2h") - 4
    size = int.from_bytes(content[start : start + 4])
    header = struct.pack(">I", size + len(more)) + b"jp2h" + more + content[start + 8 : start + size]
    content = content[:start] + header + content[start + size :]
    components = content.index(b"\xff\x4f\xff\x51") + 42
    count = int.from_bytes(content[components - 2 : components])
    return content[:components] + bytes((depth - 1, 1, 1)) * count + content[components + 3 * count :]


def test_profile_of_jpeg_2000_is_applied() -> None:
    rgb = np.dstack([RAMP] * 3)
    tagged = decode(jp2(rgb, (b"colr", b"\2\0\0" + rgb_profile(1.0, "linear")))).luma
    assert np.array_equal(tagged, decode(saved(rgb, "PNG", icc_profile=rgb_profile(1.0, "linear"))).luma)


def test_jpeg_2000_that_pillow_reads_wrongly_is_refused() -> None:
    rgb = np.dstack([RAMP] * 3)
    with pytest.raises(BrokenPicture, match="color or alpha of 12 bits cannot be read"):
        decode(jp2(rgb, depth=12))
    reversed_order = struct.pack(">H9H", 3, 0, 0, 3, 1, 0, 2, 2, 0, 1)
    with pytest.raises(BrokenPicture, match="its channels in another order cannot be read"):
        decode(jp2(rgb, (b"cdef", reversed_order)))
    usual_order = struct.pack(">H9H", 3, 0, 0, 1, 1, 0, 2, 2, 0, 3)
    assert np.array_equal(decode(jp2(rgb, (b"cdef", usual_order))).luma, RAMP)


def cropped_avif(rgb: Array, left: int, top: int, width: int, height: int, denominator: int = 1) -> bytes:
    """An AVIF file with a clean aperture, as property of its only picture."""
    content = saved(rgb, "AVIF", quality=100, subsampling="4:4:4")
    right, below = 2 * left + width - rgb.shape[1], 2 * top + height - rgb.shape[0]  # of the center, in half pixels
    clap = struct.pack(">I4sIIIIiIiI", 40, b"clap", width, denominator, height, 1, right, 2, below, 2)
    properties, associations = content.index(b"ipco") - 4, content.index(b"ipma") - 4
    ipco, ipma = (int.from_bytes(content[start : start + 4]) for start in (properties, associations))
    count = content[associations + 18]  # of the properties of the picture
    number = sum(content[properties + 8 : properties + ipco].count(name) for name in (b"ispe", b"pixi", b"av1C", b"colr")) + 1
    new = (
        struct.pack(">I", ipco + 40) + content[properties + 4 : properties + ipco] + clap + struct.pack(">I", ipma + 1)
        + content[associations + 4 : associations + 18] + bytes((count + 1,)) + content[associations + 19 : associations + ipma]
        + bytes((0x80 | number,))
    )  # fmt: skip
    content = content[:properties] + new + content[associations + ipma :]
    for name in (b"meta", b"iprp"):
        start = content.index(name) - 4
        content = content[:start] + struct.pack(">I", int.from_bytes(content[start : start + 4]) + 41) + content[start + 4 :]
    data = content.index(b"mdat") + 4
    return content.replace(struct.pack(">I", data - 41), struct.pack(">I", data), 1)


def test_crop_of_avif_is_applied() -> None:
    rgb = np.dstack([RAMP] * 3)
    content = cropped_avif(rgb, left=20, top=6, width=30, height=24)
    assert open_file(content).sizes == [(30, 24)]
    assert np.abs(decode(content).luma.astype(int) - RAMP[6:30, 20:50]).max() <= 3


@pytest.mark.parametrize(("left", "width", "denominator"), [(40, 30, 1), (-1, 30, 1), (1, 31, 2), (1, 30, 0)])
def test_crop_of_avif_that_is_not_within_the_picture_is_left_out(left: int, width: int, denominator: int) -> None:
    content = cropped_avif(np.dstack([RAMP] * 3), left, 6, width, 24, denominator)
    assert decode(content).luma.shape == RAMP.shape


@pytest.mark.parametrize("bits", [4, 8])
def test_run_lengths_of_bmp_do_not_overrun_rows(bits: int) -> None:
    levels = np.array([[0, 255, 0], [255, 255, 0]], np.uint8)
    header = run_length_bmp(levels, bits)[: 54 + 4 * 2**bits]
    white = 2**bits - 1
    both = white * 16 if bits == 4 else white
    literal = bytes((white * 17, 0)) if bits == 4 else bytes((white, white, 0, 0))
    rows = bytes((0, 4)) + literal + b"\0\0"  # the bottom row: four literal pixels for three
    rows += bytes((1, 0, 1, both, 9, 0)) + b"\0\1"  # the top row: runs of 1, 1 and 9
    assert np.array_equal(decode(header + rows).luma, levels)


def test_run_lengths_of_bmp_may_move_and_end_early_but_not_break_off() -> None:
    header = run_length_bmp(np.zeros((3, 4), np.uint8), 8)[: 54 + 4 * 256]
    content = header + bytes((1, 255, 0, 2, 1, 1, 2, 255, 0, 1))  # a pixel, a move by one to the right and up, two pixels, the end
    assert decode(content).luma.tolist() == [[0] * 4, [0, 0, 255, 255], [255, 0, 0, 0]]
    for end in (1, 3, 5, 8):
        with pytest.raises(BrokenPicture, match="truncated"):
            decode(content[: len(header) + end])


def test_message_about_a_header_names_no_object_of_python() -> None:
    with pytest.raises(
        BrokenPicture, match=r"^the picture's header is damaged, or of a kind that is not supported: export it again\.$"
    ):
        decode(b"GIF89a")


@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("tag", [(274, 3, 1, 0, True), (274, 3, 1, 9, True), (296, 3, 1, 0, True)])
def test_invalid_orientation_or_unit_of_a_tiff_file_is_no_damage(tag: tuple[int, int, int, int, bool], bigtiff: bool) -> None:
    gray = np.arange(600, dtype=np.uint16).reshape(20, 30)
    content = tiff(gray, bigtiff=bigtiff, extratags=[tag])
    np.testing.assert_array_equal(decode(content).luma16, gray)
