import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageCms

from models import imaging
from models.errors import BrokenPicture, NotAPicture, OptionError, PictureTooLarge
from models.network_input import network_input
from models.options import Options

Encode = Callable[..., bytes]


def modes(picture: Image.Image) -> dict[str, tuple[Image.Image, str]]:
    """A picture in every supported mode and format."""
    deep = Image.fromarray(np.array(picture.convert("L")).astype(np.uint16) * 257)
    translucent = picture.convert("RGBA")
    translucent.putalpha(Image.linear_gradient("L").resize(picture.size))
    return {
        "jpeg": (picture, "JPEG"),
        "jpeg gray": (picture.convert("L"), "JPEG"),
        "jpeg cmyk": (picture.convert("CMYK"), "JPEG"),
        "png": (picture, "PNG"),
        "png gray": (picture.convert("L"), "PNG"),
        "png gray with alpha": (translucent.convert("LA"), "PNG"),
        "png palette": (picture.quantize(64), "PNG"),
        "png rgba": (translucent, "PNG"),
        "png 1 bit": (picture.convert("1"), "PNG"),
        "png 16 bit": (deep, "PNG"),
        "webp": (picture, "WEBP"),
        "webp rgba": (translucent, "WEBP"),
        "tiff": (picture, "TIFF"),
        "tiff cmyk": (picture.convert("CMYK"), "TIFF"),
        "tiff 16 bit": (deep, "TIFF"),
        "tiff float": (Image.fromarray(np.array(picture.convert("L")).astype(np.float32) / 255), "TIFF"),
        "tiff 1 bit": (picture.convert("1"), "TIFF"),
        "bmp": (picture, "BMP"),
        "bmp palette": (picture.quantize(16), "BMP"),
        "gif": (picture.quantize(128), "GIF"),
        "avif": (picture, "AVIF"),
        "avif rgba": (translucent, "AVIF"),
        "jpeg2000": (picture, "JPEG2000"),
        "jpeg2000 16 bit": (deep, "JPEG2000"),
    }


def test_every_mode_and_format_is_decoded_to_gray(photographs: dict[str, Image.Image], encoded: Encode) -> None:
    for name, (image, format) in modes(photographs["cat"]).items():
        deep = image.mode.startswith(("I", "F"))
        expected = np.array((photographs["cat"] if deep else image.convert("RGB")).convert("L")).astype(int)
        picture = imaging.decode(encoded(image, format))
        assert picture.format == format.lower(), name
        assert picture.luma.shape == expected.shape, name
        assert np.abs(picture.luma - expected).mean() < 3, name
        assert (picture.alpha is not None) == ("alpha" in name or "rgba" in name), name


def test_gray_equals_pillow_conversion(photographs: dict[str, Image.Image], encoded: Encode) -> None:
    for image in (photographs["food"], photographs["food"].quantize(32), photographs["food"].convert("CMYK")):
        format = "TIFF" if image.mode == "CMYK" else "PNG"
        expected = image.convert("RGB").convert("L") if image.mode == "P" else image.convert("L")
        assert np.array_equal(imaging.decode(encoded(image, format)).luma, np.array(expected))


def test_16_bit_gray_is_scaled_and_not_clipped(encoded: Encode) -> None:
    ramp = np.arange(0, 65536, 257, dtype=np.uint16).reshape(16, 16)
    assert np.array_equal(imaging.decode(encoded(Image.fromarray(ramp))).luma, np.arange(256).reshape(16, 16))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int, encoded: Encode) -> None:
    upright = Image.fromarray(np.arange(24, dtype=np.uint8).reshape(4, 6) * 10)
    inverse = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    stored = upright.transpose(inverse[orientation]) if orientation in inverse else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert np.array_equal(imaging.decode(encoded(stored, "PNG", exif=exif)).luma, np.array(upright))


def test_first_frame_of_animation_is_used(photographs: dict[str, Image.Image], encoded: Encode) -> None:
    first, second = photographs["cat"].quantize(64), photographs["food"].resize(photographs["cat"].size).quantize(64)
    content = encoded(first, "GIF", save_all=True, append_images=[second])
    assert np.array_equal(imaging.decode(content).luma, imaging.decode(encoded(first, "GIF")).luma)


def swapped_profile() -> bytes:
    """An RGB profile with red and blue exchanged, made from the tag table of sRGB."""
    content = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    content = content.replace(b"rXYZ", b"tmp ", 1).replace(b"bXYZ", b"rXYZ", 1).replace(b"tmp ", b"bXYZ", 1)
    return content.replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be")).replace(b"sRGB", b"swap")


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_color_profile_is_converted_to_srgb(format: str, photographs: dict[str, Image.Image], encoded: Encode) -> None:
    picture = photographs["flower"]
    tagged = imaging.decode(encoded(picture, format, icc_profile=swapped_profile())).luma
    swapped = imaging.decode(encoded(Image.merge("RGB", picture.split()[::-1]), format)).luma
    plain = imaging.decode(encoded(picture, format)).luma
    assert np.abs(tagged.astype(int) - swapped).mean() < 4
    assert np.abs(tagged.astype(int) - plain).mean() > 8


def test_srgb_and_damaged_profiles_are_ignored(photographs: dict[str, Image.Image], encoded: Encode) -> None:
    picture = photographs["flower"]
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for format in ("PNG", "JPEG"):
        plain = imaging.decode(encoded(picture, format)).luma
        for profile in (srgb, b"not a profile"):
            assert np.array_equal(imaging.decode(encoded(picture, format, icc_profile=profile)).luma, plain)


def test_color_jpeg_is_decoded_to_luma_plane_only_for_jpeg_output(encoded: Encode) -> None:
    rng = np.random.default_rng(0)
    saturated = Image.fromarray(rng.integers(0, 2, (20, 20, 3), dtype=np.uint8) * 255).resize((100, 100))
    content = encoded(saturated, "JPEG", quality=85)
    with Image.open(io.BytesIO(content)) as again:
        assert np.array_equal(imaging.decode(content, output_format="png").luma, np.array(again.convert("L")))
    with Image.open(io.BytesIO(content)) as plane:
        plane.draft("L", plane.size)
        assert np.array_equal(imaging.decode(content, output_format="auto").luma, np.array(plane))


def test_deep_tiff_gray_is_scaled_or_inverted(encoded: Encode) -> None:
    ramp = np.arange(0, 65536, 257, dtype=np.uint16).reshape(16, 16)
    negative = encoded(Image.fromarray(ramp), "TIFF", tiffinfo={262: 0})
    assert np.array_equal(imaging.decode(negative).luma, 255 - np.arange(256).reshape(16, 16))
    assert np.array_equal(
        imaging.decode(encoded(Image.fromarray(ramp.astype(np.int32)), "TIFF")).luma, np.arange(256).reshape(16, 16)
    )


def test_cielab_picture_has_right_luma(photographs: dict[str, Image.Image], encoded: Encode) -> None:
    lab = ImageCms.profileToProfile(
        photographs["cat"], ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert lab is not None
    expected = np.asarray(photographs["cat"].convert("L")).astype(int)
    assert np.abs(imaging.decode(encoded(lab, "TIFF")).luma - expected).max() <= 3


def test_damaged_exif_is_ignored(photographs: dict[str, Image.Image], encoded: Encode) -> None:
    for format in ("PNG", "WEBP", "JPEG"):
        assert imaging.decode(encoded(photographs["cat"], format, exif=b"Exif\0\0garbage")).width == 200


def test_other_files_and_broken_pictures_raise_different_errors(photographs: dict[str, Image.Image], encoded: Encode) -> None:
    for content in (b"", b"hello", b"%PDF-1.7 and so on", b"<svg xmlns='http://www.w3.org/2000/svg'/>"):
        with pytest.raises(NotAPicture, match="JPEG, PNG, TIFF, WebP, GIF, BMP, AVIF, JPEG 2000|export it as JPEG, PNG or TIFF"):
            imaging.decode(content)
    for format in ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "JPEG2000"):
        whole = encoded(photographs["cat"] if format != "GIF" else photographs["cat"].quantize(64), format)
        for share in (0.02, 0.5, 0.9):
            with pytest.raises(BrokenPicture, match="[Ee]xport it again"):
                imaging.decode(whole[: int(len(whole) * share)])


def test_too_many_pixels_are_rejected_before_decoding() -> None:
    bomb = io.BytesIO()
    Image.new("1", (12_000, 12_000)).save(bomb, "PNG")
    header = bomb.getvalue()[:200]  # decoding would fail, because it is truncated
    with pytest.raises(PictureTooLarge, match="12000 x 12000 = 144000000 pixels, and the limit is 120000000"):
        imaging.decode(header)
    with pytest.raises(BrokenPicture):
        imaging.decode(header, max_pixels=150_000_000)
    small = io.BytesIO()
    Image.new("L", (10, 10)).save(small, "PNG")
    with pytest.raises(PictureTooLarge, match="limit is 99"):
        imaging.decode(small.getvalue(), max_pixels=99)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (160, 213), (3000, 4000), (7, 100)])
def test_network_input_has_fixed_short_side(shape: tuple[int, int]) -> None:
    L = network_input(np.zeros(shape, np.uint8), 128, 32)
    height, width = L.shape[-2:]
    assert min(height, width) == 128
    assert max(height, width) <= 256
    assert height % 32 == width % 32 == 0


def test_output_format_follows_input_by_default() -> None:
    expected = {"jpeg": "jpeg", "png": "png", "webp": "webp", "tiff": "tiff", "avif": "avif", "bmp": "png", "gif": "png"}
    expected |= {"jpeg2000": "png", "heic": "png"}
    assert {source: imaging.output_format("auto", source, 10) for source in expected} == expected
    assert imaging.output_format("webp", "jpeg", 10) == "webp"
    with pytest.raises(OptionError, match="one of auto, jpeg, png, webp, tiff, avif"):
        Options(format="heic")  # type: ignore[arg-type]
    assert imaging.output_format("auto", "webp", 17_000) == "png"
    for format in ("webp", "avif"):
        with pytest.raises(OptionError, match=f"format is '{format}'.*png or tiff for a side of 17000 pixels"):
            imaging.output_format(format, "png", 17_000)
