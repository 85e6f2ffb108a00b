"""Every kind of file has the right luma, depth and alpha; the inputs come from Pillow, tifffile or bytes, not from our encoders."""

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image, ImageCms

from models import imaging
from tests.picture_files import HEIC, Array, lossless_jpeg, luma, masked_bmp, png, run_length_bmp, tiff


@dataclass(frozen=True)
class Photo:
    """A color photograph, its luma, and an alpha channel."""

    rgb: Array
    alpha: Array

    @property
    def gray(self) -> Array:
        return luma(self.rgb)

    @property
    def rgba(self) -> Array:
        return np.dstack((self.rgb, self.alpha))

    @property
    def premultiplied(self) -> Array:
        share = self.alpha[..., None] / 255
        return np.dstack(((self.rgb * share).round().astype(np.uint8), self.alpha))

    @property
    def ink(self) -> Array:
        """CMYK with black ink."""
        return np.dstack((255 - self.rgb, np.full_like(self.gray, 40)))


@pytest.fixture(scope="module")
def photo(photographs: dict[str, Image.Image]) -> Photo:
    rgb = np.asarray(photographs["cat"].resize((61, 40)))
    alpha = np.asarray(Image.linear_gradient("L").resize((61, 40))) // 2 + 128
    return Photo(rgb, alpha.astype(np.uint8))


def deep(levels: Array) -> Array:
    """Levels of 8 bits as such of 16."""
    return levels.astype(np.uint16) * 257


def planes(pixels: Array) -> Array:
    return np.moveaxis(pixels, -1, 0)


def saved(pixels: Array, format: str, mode: str | None = None, **options: object) -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(buffer, format, **options)
    return buffer.getvalue()


def masked(photo: Photo, bits: int, *masks: int, top_down: bool = False) -> bytes:
    return masked_bmp([*planes(photo.rgba)][: len(masks)], list(masks), bits, top_down)


Make = Callable[[Photo], bytes]
SEPARATE = {"photometric": "rgb", "planarconfig": "separate"}
# name: how the file is made, and the largest error of its luma in levels of 8 bits
GRAY_8: dict[str, tuple[Make, int]] = {
    "png": (lambda photo: png(photo.gray, 0), 0),
    "png rgb": (lambda photo: png(photo.rgb, 2), 0),
    "bmp": (lambda photo: saved(photo.rgb, "BMP"), 0),
    "bmp 5-6-5": (lambda photo: masked(photo, 16, 0xF800, 0x7E0, 0x1F), 4),
    "bmp 5-5-5": (lambda photo: masked(photo, 16, 0x7C00, 0x3E0, 0x1F), 5),
    "bmp 8-8-8 in another order": (lambda photo: masked(photo, 32, 0xFF00, 0xFF0000, 0xFF000000), 0),
    "bmp 10-10-10": (lambda photo: masked(photo, 32, 0x3FF00000, 0xFFC00, 0x3FF), 1),
    "bmp top down": (lambda photo: masked(photo, 32, 0xFF0000, 0xFF00, 0xFF, top_down=True), 0),
    "bmp run lengths": (lambda photo: run_length_bmp(photo.gray, 8), 0),
    "bmp run lengths of 4 bits": (lambda photo: run_length_bmp(photo.gray, 4), 9),
    "jpeg": (lambda photo: saved(photo.gray, "JPEG", quality=100), 2),
    "jpeg progressive": (lambda photo: saved(photo.gray, "JPEG", quality=100, progressive=True), 2),
    "jpeg lossless": (lambda photo: lossless_jpeg(photo.gray), 0),
    "jpeg2000": (lambda photo: saved(photo.gray, "JPEG2000"), 0),
    "jpeg2000 rgb": (lambda photo: saved(photo.rgb, "JPEG2000"), 0),
    "avif": (lambda photo: saved(photo.gray, "AVIF", quality=100), 2),
    "webp lossless": (lambda photo: saved(photo.rgb, "WEBP", lossless=True), 0),
    "tiff white is zero": (lambda photo: tiff(255 - photo.gray, photometric="miniswhite"), 0),
    "tiff big-endian": (lambda photo: tiff(photo.gray, byteorder=">"), 0),
    "tiff lzw": (lambda photo: saved(photo.rgb, "TIFF", compression="tiff_lzw"), 0),
    "tiff zstd": (lambda photo: saved(photo.rgb, "TIFF", compression="zstd"), 0),
    "tiff lzma": (lambda photo: saved(photo.gray, "TIFF", compression="lzma"), 0),
    "tiff planes of tiles": (lambda photo: tiff(planes(photo.rgb), tile=(16, 16), **SEPARATE), 0),
    "tiff tiles": (lambda photo: tiff(photo.rgb, photometric="rgb", tile=(16, 32), compression="deflate"), 0),
    "tiff planes": (lambda photo: tiff(planes(photo.rgb), **SEPARATE), 0),
    "tiff cmyk as rgb": (lambda photo: tiff(np.dstack((255 - photo.rgb, photo.gray * 0)), photometric="separated"), 0),
    "tiff ycbcr": (lambda photo: saved(photo.rgb, "TIFF", "YCbCr"), 1),
    "tiff gray and infrared": (lambda photo: tiff(np.dstack((photo.gray, *planes(photo.rgba))), extrasamples=[0] * 4), 0),
    "tiff rgb and infrared": (lambda photo: tiff(photo.rgba, photometric="rgb", extrasamples=[0]), 0),
}
GRAY_16: dict[str, tuple[Make, int]] = {
    "png": (lambda photo: png(deep(photo.gray), 0), 0),
    "png rgb": (lambda photo: png(deep(photo.rgb), 2), 1),
    "jpeg2000": (lambda photo: saved(deep(photo.gray), "JPEG2000"), 0),
    "tiff big-endian white is zero": (lambda photo: tiff(65535 - deep(photo.gray), photometric="miniswhite", byteorder=">"), 0),
    "tiff big-endian BigTIFF": (lambda photo: tiff(deep(photo.gray), byteorder=">", bigtiff=True), 0),
    "tiff rgb": (lambda photo: tiff(deep(photo.rgb), photometric="rgb"), 1),
    "tiff planes": (lambda photo: tiff(planes(deep(photo.rgb)), **SEPARATE), 1),
    "tiff big-endian planes": (lambda photo: tiff(planes(deep(photo.rgb)), byteorder=">", **SEPARATE), 1),
    "tiff float": (lambda photo: tiff((photo.gray / 255).astype(np.float32)), 0),
    "tiff half float": (lambda photo: tiff((photo.gray / 255).astype(np.float16)), 0),
    "tiff float up to 255": (lambda photo: tiff(photo.gray.astype(np.float32)), 0),
    "tiff float up to 65535": (lambda photo: tiff(deep(photo.gray).astype(np.float32)), 0),
    "tiff float white is zero": (lambda photo: tiff((1 - photo.gray / 255).astype(np.float32), photometric="miniswhite"), 0),
    "tiff float rgb": (lambda photo: tiff((photo.rgb / 255).astype(np.float32), photometric="rgb"), 1),
    "tiff signed": (lambda photo: tiff((deep(photo.gray) // 2).astype(np.int16)), 0),
    "tiff signed white is zero": (
        lambda photo: tiff(32767 - (deep(photo.gray) // 2).astype(np.int16), photometric="miniswhite"),
        0,
    ),
    "tiff 32 bits": (lambda photo: tiff(photo.gray.astype(np.uint32) * 0x1010101), 0),
    "tiff 16 of 32 bits": (lambda photo: tiff(deep(photo.gray).astype(np.int32)), 0),
    "tiff 8 of 32 bits": (lambda photo: tiff(photo.gray.astype(np.uint32)), 0),
}


def assert_luma(picture: imaging.Picture, expected: Array, tolerance: int) -> None:
    assert picture.luma.shape == expected.shape
    assert np.abs(picture.luma.astype(int) - expected).max() <= tolerance
    if picture.luma16 is not None:
        assert np.abs(picture.luma16.astype(int) - deep(expected)).max() <= (tolerance + 0.5) * 257


@pytest.mark.parametrize("kind", GRAY_8)
def test_kind_of_8_bits_has_right_luma(kind: str, photo: Photo) -> None:
    make, tolerance = GRAY_8[kind]
    picture = imaging.decode(make(photo), output_format="png")
    assert picture.luma16 is None
    assert picture.alpha is None
    assert picture.metadata.notes == ()
    assert_luma(picture, photo.gray, tolerance)


@pytest.mark.parametrize("kind", GRAY_16)
def test_kind_of_more_bits_has_right_luma_in_16(kind: str, photo: Photo) -> None:
    make, tolerance = GRAY_16[kind]
    picture = imaging.decode(make(photo))
    assert picture.luma16 is not None
    assert picture.alpha is None
    assert picture.metadata.notes == ()
    assert_luma(picture, photo.gray, tolerance)


ALPHA: dict[str, tuple[Make, int]] = {
    "png gray": (lambda photo: png(np.dstack((photo.gray, photo.alpha)), 4), 0),
    "png gray 16": (lambda photo: png(deep(np.dstack((photo.gray, photo.alpha))), 4), 0),
    "png rgb 16": (lambda photo: png(deep(photo.rgba), 6), 1),
    "bmp": (lambda photo: masked(photo, 32, 0xFF0000, 0xFF00, 0xFF, 0xFF000000), 0),
    "jpeg2000": (lambda photo: saved(photo.rgba, "JPEG2000"), 0),
    "webp lossless": (lambda photo: saved(photo.rgba, "WEBP", lossless=True), 0),
    "avif": (lambda photo: saved(photo.rgba, "AVIF", quality=100), 3),
    "tiff gray": (lambda photo: tiff(np.dstack((photo.gray, photo.alpha)), extrasamples=[2]), 0),
    "tiff gray and infrared": (lambda photo: tiff(np.dstack((photo.gray, photo.alpha, photo.gray)), extrasamples=[2, 0]), 0),
    "tiff gray 16": (lambda photo: tiff(deep(np.dstack((photo.gray, photo.alpha))), extrasamples=[2]), 0),
    "tiff gray 16 white is zero": (
        lambda photo: tiff(deep(np.dstack((255 - photo.gray, photo.alpha))), photometric="miniswhite", extrasamples=[2]), 0
    ),
    "tiff planes 16": (lambda photo: tiff(planes(deep(photo.rgba)), extrasamples=[2], **SEPARATE), 1),
    "tiff premultiplied": (lambda photo: tiff(photo.premultiplied, photometric="rgb", extrasamples=[1]), 2),
    "tiff premultiplied float": (
        lambda photo: tiff((photo.premultiplied / 255).astype(np.float32), photometric="rgb", extrasamples=[1]), 2
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", ALPHA)
def test_kind_with_alpha_keeps_both(kind: str, photo: Photo) -> None:
    make, tolerance = ALPHA[kind]
    picture = imaging.decode(make(photo))
    assert picture.alpha is not None
    assert (picture.alpha.dtype == np.uint16) == (picture.luma16 is not None) == ("16" in kind or "float" in kind)
    alpha = picture.alpha if picture.luma16 is None else picture.alpha / 257
    assert np.abs(alpha - photo.alpha).max() <= (1 if kind == "avif" else 0)
    assert_luma(picture, photo.gray, tolerance)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("has_alpha", [False, True])
@pytest.mark.parametrize("options", [{}, {"planarconfig": "separate"}], ids=["one plane", "planes"])
def test_cmyk_is_converted_as_by_pillow(bits: int, has_alpha: bool, options: dict[str, str], photo: Photo) -> None:
    pixels = np.dstack((photo.ink, photo.alpha)) if has_alpha else photo.ink
    pixels = deep(pixels) if bits == 16 else pixels
    extra = {"extrasamples": [2]} if has_alpha else {}
    content = tiff(planes(pixels) if options else pixels, photometric="separated", **extra, **options)
    picture = imaging.decode(content)
    assert (picture.alpha is not None) == has_alpha
    assert_luma(picture, np.asarray(Image.fromarray(photo.ink, "CMYK").convert("L")), bits // 8 - 1)


@pytest.mark.parametrize("scale", [1, 256, 257])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_color_map_of_any_scale_has_right_luma(scale: int, byteorder: str, photo: Photo) -> None:
    image = Image.fromarray(photo.rgb).quantize(64)
    colors = np.zeros((256, 3), np.uint16)
    colors[:64] = np.reshape(image.getpalette()[: 3 * 64], (-1, 3))
    content = tiff(np.asarray(image), photometric="palette", colormap=colors.T * scale, byteorder=byteorder)
    assert_luma(imaging.decode(content), luma(np.asarray(image.convert("RGB"))), 0)


@pytest.mark.parametrize("output_format", ["auto", "jpeg", "png"])
def test_lossless_jpeg_is_read_for_every_output(output_format: str, photo: Photo) -> None:
    assert np.array_equal(imaging.decode(lossless_jpeg(photo.gray), output_format=output_format).luma, photo.gray)


def test_cielab_of_16_bits_has_right_luma(photo: Photo) -> None:
    gray = np.zeros((5, 101, 3), np.uint16)
    gray[..., 0] = np.linspace(0, 65535, 101)  # L* from 0 to 100
    picture = imaging.decode(tiff(gray, photometric="cielab"))
    lab = ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")
    levels = np.zeros((5, 101, 3), np.uint8)
    levels[..., 0] = np.linspace(0, 255, 101)
    expected = ImageCms.applyTransform(Image.fromarray(levels, "LAB"), lab)
    assert expected is not None
    assert_luma(picture, luma(np.asarray(expected)), 2)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_orientation_is_applied_in_every_format(format: str, orientation: int, photo: Photo) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = imaging.decode(saved(photo.gray, format, exif=exif, **({"quality": 100} if format != "PNG" else {})))
    turned = np.rot90(photo.gray, {3: 2, 6: 3, 8: 1}[orientation])
    assert picture.luma.shape == turned.shape
    assert np.abs(picture.luma.astype(int) - turned).mean() < 2


def test_heic_is_read_and_turned_once() -> None:
    pytest.importorskip("pi_heif")
    picture = imaging.decode(HEIC)
    assert (picture.format, picture.width, picture.height) == ("heic", 48, 64)
    assert picture.luma[4, -5] > 250  # the white corner of the upright picture
    assert picture.luma[:, :20].mean(axis=1)[[8, 56]] == pytest.approx([47, 210], abs=8)
    assert picture.metadata.exif[0x010E].data == b"Box 7\0"  # type: ignore[union-attr]
