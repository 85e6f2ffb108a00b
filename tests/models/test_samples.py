"""Levels of any type become 8 or 16 bits by stated rules, and ICC profiles are judged by what they do, not by their names."""

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from models import samples
from models.imaging import decode
from models.samples import Samples, is_srgb, luma_of, scaled_levels
from tests.picture_files import (
    Array,
    cmyk_profile,
    curve,
    gray_profile,
    icc_profile,
    luma,
    rgb_profile,
    srgb_profile,
    tiff,
)  # fmt: skip

Encode = Callable[..., bytes]

RAMP = np.linspace(0.2, 1, 10_000).reshape(100, 100)
STRETCHED = "the levels have no known white"
DOES_NOT_FIT = "the ICC profile does not fit the picture, whose levels are read as sRGB"


def with_share(levels: Array, value: float, pixels: int) -> Array:
    """Levels some of which have a value, spread over the picture."""
    changed = levels.copy()
    changed.ravel()[:: -(-changed.size // pixels)] = value
    return changed


def test_one_brighter_level_does_not_make_a_small_picture_dark() -> None:
    levels = np.linspace(0, 1, 400, dtype=np.float32).reshape(20, 20)
    levels[3, 3] = 50.0
    scaled, notes = scaled_levels(levels)
    assert not notes
    np.testing.assert_allclose(np.delete(scaled, 63), np.delete(np.linspace(0, 65_535, 400), 63), atol=1)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_unsigned_levels_of_8_and_16_bits_stay(dtype: type) -> None:
    levels = (RAMP * 200).astype(dtype)
    assert scaled_levels(levels)[0] is levels


@pytest.mark.parametrize(
    ("dtype", "white"),
    [
        ("f4", 1), ("f4", 255), ("f4", 65_535), ("f2", 1), ("f8", 1), ("i2", 255), ("i2", 32_767), ("i1", 127), ("i4", 255),
        ("i4", 65_535), ("i4", 2**31 - 1), ("u4", 255), ("u4", 65_535), ("u4", 2**32 - 1),
    ],
)  # fmt: skip
@pytest.mark.parametrize("white_is_zero", [False, True])
def test_white_is_the_smallest_usual_one_that_holds_the_levels(dtype: str, white: int, white_is_zero: bool) -> None:
    levels = (RAMP * white).astype(dtype)
    levels[:10] = white  # a tenth is white, so the brightest level is common
    expected = levels.astype(float) / white
    scaled, notes = scaled_levels(levels, white_is_zero)
    assert scaled.dtype == np.uint16
    assert notes == ()
    assert np.abs(scaled / 65_535 - (1 - expected if white_is_zero else expected)).max() < 2e-5


@pytest.mark.parametrize("outlier", [1.02, 300.0, 1e30, np.inf])
def test_a_few_brighter_levels_do_not_make_the_picture_black(outlier: float) -> None:
    scaled, notes = scaled_levels(with_share(RAMP.astype(np.float32), outlier, 3))
    assert notes == ()
    assert np.median(scaled) == pytest.approx(0.6 * 65_535, rel=0.01)
    assert scaled.ravel()[0] == 65_535


@pytest.mark.parametrize("outlier", [-0.5, -np.inf, np.nan])
def test_a_few_levels_below_black_or_without_a_number_are_black(outlier: float) -> None:
    scaled, notes = scaled_levels(with_share(RAMP.astype(np.float32), outlier, 3))
    assert notes == ()
    assert scaled.ravel()[0] == 0
    assert np.median(scaled) == pytest.approx(0.6 * 65_535, rel=0.01)


@pytest.mark.parametrize(
    "levels",
    [RAMP * 2000 - 1000, RAMP * 1e6, (RAMP * 60_000 - 40_000).astype(np.int16), -RAMP],
    ids=["negatives", "beyond 65535", "signed", "all negative"],
)
def test_levels_with_negatives_or_beyond_known_white_are_stretched_with_a_note(levels: Array) -> None:
    scaled, notes = scaled_levels(levels if levels.dtype == np.int16 else levels.astype(np.float32))
    assert notes[0].startswith(STRETCHED)
    assert scaled.max() == 65_535
    black = min(float(levels.min()), 0)
    assert np.abs(scaled / 65_535 - (levels - black) / (levels.max() - black)).max() < 0.005


@pytest.mark.parametrize("bits", [10, 12, 14])
@pytest.mark.parametrize("dtype", ["f4", "i4", "u4"])
def test_brightest_level_becomes_white_if_no_usual_white_is_near(dtype: str, bits: int) -> None:
    levels = (RAMP * (2**bits - 1)).astype(dtype)
    scaled, notes = scaled_levels(levels)
    assert np.abs(scaled / 65_535 - RAMP).max() < 0.005
    assert notes[0].startswith(STRETCHED)


@pytest.mark.parametrize(("signed", "unsigned"), [(np.int8, np.uint8), (np.int16, np.uint16)])
@pytest.mark.parametrize("white_is_zero", [False, True])
def test_levels_that_only_claim_to_be_signed_are_read_as_unsigned(signed: type, unsigned: type, white_is_zero: bool) -> None:
    levels = (RAMP * np.iinfo(unsigned).max).astype(unsigned)
    read, notes = scaled_levels(levels.view(signed), white_is_zero)
    assert np.array_equal(read, np.iinfo(unsigned).max - levels if white_is_zero else levels)
    assert notes == ("the file says that its levels are signed, but they are not",)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0, 255.0, -3.0, 1e9, np.nan, np.inf])
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (7, 5), (4, 4, 3)])
@pytest.mark.parametrize("dtype", ["f4", "f2", "i1", "i2", "i4", "u4"])
def test_pictures_of_one_level_are_scaled_without_warnings(value: float, shape: tuple[int, ...], dtype: str) -> None:
    whole = np.dtype(dtype).kind != "f"
    levels = np.full(shape, np.nan_to_num(value, posinf=9).clip(-3, 100) if whole else np.clip(value, -9, 6e4), dtype)
    scaled, _ = scaled_levels(levels)
    assert scaled.shape == shape
    assert np.ptp(scaled) == 0


def renamed(profile: bytes) -> bytes:
    """The same profile with another name."""
    return profile.replace("sRGB".encode("utf-16-be"), "Scan".encode("utf-16-be")).replace(b"sRGB", b"Scan")


def test_profile_is_judged_by_content() -> None:
    assert renamed(srgb_profile()) != srgb_profile()
    assert is_srgb(srgb_profile(), "rgb")
    assert is_srgb(renamed(srgb_profile()), "rgb")
    assert not is_srgb(rgb_profile(1.0, "sRGB IEC61966-2.1"), "rgb")
    assert not is_srgb(rgb_profile(2.2, "sRGB"), "rgb")
    for model in ("gray", "rgb", "cmyk"):
        assert not is_srgb(b"not a profile", model)
        assert not is_srgb(cmyk_profile(), model)


def test_only_the_last_profiles_are_remembered() -> None:
    for number in range(70):
        is_srgb(gray_profile(1 + number / 256), "gray")
    assert len(samples._known) <= 64


FORMATS = {"JPEG": 4, "PNG": 0, "TIFF": 0, "WEBP": 4, "AVIF": 4}  # and the largest error of the coding, in levels
OPTIONS = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"quality": 100}, "AVIF": {"quality": 100}}


def srgb_of_light(light: Array) -> Array:
    """Levels of 0 to 255 in sRGB of linear light in 0 to 1."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055) * 255


@pytest.mark.parametrize("format", FORMATS)
def test_srgb_by_another_name_changes_nothing(format: str, photographs: dict[str, Image.Image], encoded: Encode) -> None:
    picture, options = photographs["flower"].resize((60, 40)), OPTIONS.get(format, {})
    tagged = decode(encoded(picture, format, icc_profile=renamed(srgb_profile()), **options))
    assert np.array_equal(tagged.luma, decode(encoded(picture, format, **options)).luma)
    assert tagged.metadata.notes == ()


@pytest.mark.parametrize("format", FORMATS)
def test_linear_profile_is_applied_though_its_name_is_srgb(format: str, encoded: Encode) -> None:
    ramp = np.tile(np.arange(48, 256, dtype=np.uint8), (16, 1))
    content = encoded(Image.fromarray(ramp).convert("RGB"), format, icc_profile=rgb_profile(1.0, "sRGB"), **OPTIONS.get(format, {}))
    for output_format in ("auto", "png"):
        picture = decode(content, output_format=output_format)
        assert np.abs(picture.luma - srgb_of_light(ramp / 255)).max() <= 1 + 2 * FORMATS[format]
        assert picture.metadata.notes == ()


@pytest.mark.parametrize("gamma", [1.0, 1.8, 2.2])
@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_gray_profile_is_applied_at_every_depth(gamma: float, depth: int, format: str, encoded: Encode) -> None:
    ramp = np.arange(0, 65536, 16, dtype=np.uint16).reshape(64, 64)
    levels = ramp if depth == 16 else (ramp >> 8).astype(np.uint8)
    picture = decode(encoded(Image.fromarray(levels), format, icc_profile=gray_profile(gamma)))
    expected = srgb_of_light((levels / np.iinfo(levels.dtype).max) ** gamma)
    dark = levels < levels.max() / 8  # where littleCMS interpolates steep curves
    assert np.abs(picture.luma - expected)[~dark].max() <= 1
    assert np.abs(picture.luma - expected)[dark].max() <= (11 if gamma == 1 else 2)
    assert picture.luma[[0, -1], [0, -1]].tolist() == [0, 255]
    assert (picture.luma16 is not None) == (depth == 16)
    if picture.luma16 is not None:
        assert np.abs(picture.luma16 / 257 - expected)[~dark].max() < 0.5
        assert len(np.unique(picture.luma16)) > 2000  # it is not converted with 8 bits


@pytest.mark.parametrize(
    "content", [tiff, lambda rgb, **options: tiff(np.moveaxis(rgb, -1, 0), planarconfig="separate", **options)]
)
def test_rgb_profile_is_applied_to_16_bits(content: Callable[..., bytes]) -> None:
    ramp = np.repeat(np.linspace(2000, 65_535, 512).astype(np.uint16).reshape(16, 32, 1), 3, axis=2)
    picture = decode(content(ramp, photometric="rgb", iccprofile=rgb_profile(1.0, "sRGB")))
    assert picture.luma16 is not None
    assert np.abs(picture.luma16 / 257 - srgb_of_light(ramp[..., 0] / 65_535)).max() < 0.5


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_cmyk_profile_is_applied(dtype: type) -> None:
    ink = np.zeros((4, 52, 4), dtype)
    ink[..., 3] = np.linspace(0, np.iinfo(dtype).max, 52)
    ink[2:, :, :3] = np.iinfo(dtype).max // 3  # which has no effect by this profile
    lightness = 100 * (1 - ink[..., 3] / np.iinfo(dtype).max)
    light = np.where(lightness > 8, ((lightness + 16) / 116) ** 3, lightness / 903.3)
    picture = decode(tiff(ink, photometric="separated", iccprofile=cmyk_profile()))
    assert picture.metadata.notes == ()
    assert np.abs(picture.luma - srgb_of_light(light)).max() <= 2
    plain = decode(tiff(ink, photometric="separated")).luma
    assert np.abs(plain.astype(int) - picture.luma).max() > 20


@pytest.mark.parametrize("profile", [b"not a profile", srgb_profile()[:300], gray_profile(1.0), cmyk_profile()], ids=range(4))
@pytest.mark.parametrize("format", FORMATS)
def test_profile_that_does_not_fit_is_left_out_with_a_note(
    format: str, profile: bytes, photographs: dict[str, Image.Image], encoded: Encode
) -> None:
    picture, options = photographs["flower"].resize((60, 40)), OPTIONS.get(format, {})
    tagged = decode(encoded(picture, format, icc_profile=profile, **options), output_format="png")
    plain = decode(encoded(picture, format, **options), output_format="png")
    assert np.array_equal(tagged.luma, plain.luma)
    assert tagged.metadata.notes == (DOES_NOT_FIT,)


def test_profile_that_does_not_fit_is_noted() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    for profile in (b"not a profile", gray_profile(1.0)):
        levels, deep_levels, notes = luma_of(Samples(rgb, profile=profile))
        assert np.array_equal(levels, luma(rgb))
        assert (deep_levels, notes) == (None, (DOES_NOT_FIT,))


def test_gray_profile_with_the_curve_of_srgb_is_srgb() -> None:
    start = srgb_profile().index(b"rTRC")
    offset, size = (int.from_bytes(srgb_profile()[start + place : start + place + 4]) for place in (4, 8))
    assert is_srgb(icc_profile(b"GRAY", {b"kTRC": srgb_profile()[offset : offset + size]}), "gray")
    assert not is_srgb(icc_profile(b"GRAY", {b"kTRC": curve(1.0)}), "gray")


def test_alpha_is_not_converted_by_the_profile(encoded: Encode) -> None:
    ramp = np.tile(np.arange(256, dtype=np.uint8), (4, 1))
    picture = decode(encoded(Image.fromarray(np.dstack((ramp, ramp))), "PNG", icc_profile=gray_profile(1.0)))
    assert picture.alpha is not None
    assert np.array_equal(picture.alpha, ramp)
    assert picture.luma[0, 64] > 130
