"""Files of several pages: every page is colorized and kept in TIFF, one page in the other formats; the record says which."""

import io
import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import tifffile
from PIL import Image

from models import imaging
from models.decision import Decision
from models.decoders import tiff as tiff_decoder
from models.ensemble import Ensemble
from models.errors import BrokenPicture, NotAPicture, OptionError, PictureTooLarge
from models.exif import TiffReader
from models.options import Options
from models.pipeline import colorize
from tests.picture_files import Array, gray_tags, raw_tiff, tiff

Encode = Callable[..., bytes]

SIZES = [(48, 32), (40, 56), (64, 20)]
OTHERS = ["jpeg", "png", "webp", "avif"]
TEXTS = ["front", "back", "Rückseite".encode()]


@pytest.fixture(scope="module")
def pages(photographs: dict[str, Image.Image]) -> list[Array]:
    """Gray pages of different sizes."""
    pictures = zip(("cat", "food", "city"), SIZES, strict=True)
    return [np.asarray(photographs[name].convert("L").resize(size)) for name, size in pictures]


@pytest.fixture(scope="module")
def scan(pages: list[Array]) -> bytes:
    """A TIFF file with these pages, each with a description and a resolution of its own."""
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer, byteorder=">") as writer:
        for number, (page, text) in enumerate(zip(pages, TEXTS, strict=True), 1):
            dpi = {"resolution": (100 * number, 100 * number), "resolutionunit": 2}
            writer.write(page, photometric="minisblack", description=text, metadata=None, **dpi)
    return buffer.getvalue()


def test_full_size_picture_in_a_subdirectory_of_a_thumbnail_is_taken(ensemble: Ensemble, pages: list[Array]) -> None:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        writer.write(pages[0][::4, ::4], subfiletype=1, subifds=1, photometric="minisblack", description="front", metadata=None)
        writer.write(pages[0], subfiletype=0, photometric="minisblack", metadata=None)
    output, _, _ = colorize(buffer.getvalue(), ensemble, Options(format="tiff"))
    with tifffile.TiffFile(io.BytesIO(output)) as file:
        (page,) = file.pages
        assert np.abs(luma_of(page.asarray()) - pages[0]).max() <= 1
        assert page.description == "front"


def luma_of(rgb: Array) -> Array:
    return np.asarray(Image.fromarray(rgb).convert("L")).astype(int)


def record_of(packet: bytes) -> dict[str, object]:
    """The decision record in an XMP packet."""
    values = [element.attrib.get("{urn:chromaroute:1.0}Decision") for element in ElementTree.fromstring(packet).iter()]
    record: dict[str, object] = json.loads(next(filter(None, values)))
    return record


@pytest.mark.parametrize("format", ["auto", "tiff"])
def test_every_page_is_colorized_and_kept_in_tiff(format: str, pages: list[Array], scan: bytes, ensemble: Ensemble) -> None:
    output, written, decision = colorize(scan, ensemble, Options(format=format))
    assert written == "tiff"
    with tifffile.TiffFile(io.BytesIO(output)) as file:
        assert len(file.pages) == len(pages)
        for number, (page, expected) in enumerate(zip(file.pages, pages, strict=True)):
            rgb = page.asarray()
            assert np.abs(luma_of(rgb) - expected).max() <= 1
            assert np.ptp(rgb.astype(int), axis=2).max() > 5
            assert page.tags["PageNumber"].value == (number, 3)
            assert page.tags["NewSubfileType"].value == 2
            assert page.tags["XResolution"].value[0] / page.tags["XResolution"].value[1] == 100 * (number + 1)
            record = record_of(page.tags["XMP"].value)
            assert (record["page"], record["page_count"]) == (number + 1, 3)
    descriptions = [tags[270].data.rstrip(b"\0") for tags in TiffReader(output).directories()]
    assert descriptions == [text if isinstance(text, bytes) else text.encode() for text in TEXTS]
    assert (decision.page, decision.page_count, decision.notes) == (1, 3, [])
    assert [(other.page, other.page_count, other.other_pages) for other in decision.other_pages] == [(2, 3, []), (3, 3, [])]


def test_pillow_reads_every_page_too(pages: list[Array], scan: bytes, ensemble: Ensemble) -> None:
    with Image.open(io.BytesIO(colorize(scan, ensemble)[0])) as image:
        assert getattr(image, "n_frames", 1) == len(pages)
        for number, expected in enumerate(pages):
            image.seek(number)
            assert np.abs(np.asarray(image.convert("L")).astype(int) - expected).max() <= 1


@pytest.mark.parametrize("format", OTHERS)
def test_other_formats_hold_the_first_page_and_say_so(format: str, pages: list[Array], scan: bytes, ensemble: Ensemble) -> None:
    output, written, decision = colorize(scan, ensemble, Options(format=format))
    assert written == format
    assert decision.notes == ["only page 1 of 3 is in the output: give page for another, or format=tiff for all"]
    assert (decision.page, decision.page_count, decision.other_pages) == (1, 3, [])
    with Image.open(io.BytesIO(output)) as image:
        assert getattr(image, "n_frames", 1) == 1
        assert record_of(image.info["xmp"])["notes"] == decision.notes
        assert np.abs(np.asarray(image.convert("L")).astype(int) - pages[0]).mean() < (1 if format == "png" else 8)


@pytest.mark.parametrize("page", [1, 2, 3])
@pytest.mark.parametrize("format", ["tiff", *OTHERS])
def test_requested_page_is_the_only_one(format: str, page: int, pages: list[Array], scan: bytes, ensemble: Ensemble) -> None:
    output, _, decision = colorize(scan, ensemble, Options(format=format, page=page))
    assert (decision.page, decision.page_count, decision.notes, decision.other_pages) == (page, 3, [], [])
    with Image.open(io.BytesIO(output)) as image:
        assert getattr(image, "n_frames", 1) == 1
        assert image.size == SIZES[page - 1]
        assert np.abs(np.asarray(image.convert("L")).astype(int) - pages[page - 1]).mean() < (1 if format in ("png", "tiff") else 8)
        if format == "tiff":
            assert not {254, 297} & set(image.tag_v2)  # type: ignore[attr-defined]


def test_page_alone_equals_page_of_all(scan: bytes, ensemble: Ensemble) -> None:
    whole = colorize(scan, ensemble)[0]
    for number in (1, 2, 3):
        with tifffile.TiffFile(io.BytesIO(whole)) as file:
            expected = file.pages[number - 1].asarray()
        alone = colorize(scan, ensemble, Options(page=number))[0]
        assert np.array_equal(tifffile.imread(io.BytesIO(alone)), expected)


@pytest.mark.parametrize(("page", "message"), [(4, "page is 4.*a whole number from 1 to 3, the number of pages of this file")])
def test_page_beyond_the_file_is_refused(page: int, message: str, scan: bytes, ensemble: Ensemble, encoded: Encode) -> None:
    for format in ("auto", *OTHERS):
        with pytest.raises(OptionError, match=message):
            colorize(scan, ensemble, Options(page=page, format=format))
    with pytest.raises(OptionError, match="page is 2.*from 1 to 1"):
        colorize(encoded(Image.new("L", (20, 20))), ensemble, Options(page=2))


@pytest.mark.parametrize("page", [0, -1, 1001, 1.5, "last"])
def test_page_is_a_whole_number_of_the_valid_range(page: object) -> None:
    with pytest.raises(OptionError, match="page is .*a whole number from 1 to 1000"):
        Options(page=page)  # type: ignore[arg-type]


def test_pages_may_differ_in_depth_alpha_and_levels(photographs: dict[str, Image.Image], ensemble: Ensemble) -> None:
    gray = np.asarray(photographs["cat"].convert("L").resize((40, 30)))
    deep = gray.astype(np.uint16) * 257
    signed = (deep.astype(int) - 30_000).astype(np.int16)
    alpha = np.dstack((deep, deep[::-1]))
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer, bigtiff=True) as writer:
        for page, options in (
            (gray, {}),
            (alpha, {"extrasamples": [2]}),
            (255 - gray, {"photometric": "miniswhite"}),
            (signed, {}),
        ):
            writer.write(page, metadata=None, **{"photometric": "minisblack", **options})
    output, _, decision = colorize(buffer.getvalue(), ensemble)
    with tifffile.TiffFile(io.BytesIO(output)) as file:
        arrays = [page.asarray() for page in file.pages]
    assert [(array.dtype.name, array.shape[2]) for array in arrays] == [("uint8", 3), ("uint16", 4), ("uint8", 3), ("uint16", 3)]
    assert np.array_equal(arrays[1][..., 3], deep[::-1])
    assert np.abs(luma_of(arrays[2]) - gray).max() <= 1
    notes = [record.notes for record in (decision, *decision.other_pages)]
    assert [len(note) for note in notes] == [0, 0, 0, 1]
    assert re.match("the levels have no known white", notes[3][0])


def test_timings_of_pages_are_summed(scan: bytes, ensemble: Ensemble) -> None:
    decision = colorize(scan, ensemble)[2]
    assert {"decode", "predict", "merge", "encode"} <= set(decision.timings_ms)
    for stage in ("predict", "encode"):
        assert decision.timings_ms[stage] > sum(other.timings_ms[stage] for other in decision.other_pages)
    assert Decision.model_validate_json(decision.model_dump_json()) == decision


def linked(*directories: dict[int, tuple[int, int, int]], last_link: int = 0) -> bytes:
    """A TIFF file of pages that share the 100 bytes of their pixels, at offset 8."""
    sizes = [2 + 12 * len(directory) + 4 for directory in directories]
    starts = [108 + sum(sizes[:number]) for number in range(len(sizes))]
    links = [after for _, after in pairwise(starts)] + [last_link]
    tables = [raw_tiff(directory, b"", link)[8:] for directory, link in zip(directories, links, strict=True)]
    return raw_tiff({}, bytes(100))[:108] + b"".join(tables)


@pytest.mark.parametrize("subfile", [1, 4, 5])
@pytest.mark.parametrize("is_first", [False, True])
def test_thumbnails_and_masks_are_not_pages(subfile: int, is_first: bool) -> None:
    page, small = gray_tags(20, 5), gray_tags() | {254: (4, 1, subfile)}
    document = imaging.Document(linked(small, page) if is_first else linked(page, small))
    assert document.info.page_count == 1
    assert document.decode(1).width == 20


def test_single_picture_is_a_page_even_if_it_claims_to_be_reduced() -> None:
    assert imaging.decode(linked(gray_tags() | {254: (4, 1, 1)})).width == 10


@pytest.mark.parametrize(
    "tags",
    [{50706: (1, 4, 0x401)}, {262: (3, 1, 32803)}, {262: (3, 1, 34892)}, {330: (4, 1, 108)}],
    ids=["DNG", "color filter array", "linear raw", "raw data in a subdirectory"],
)
def test_raw_file_is_refused_whatever_its_preview(tags: dict[int, tuple[int, int, int]]) -> None:
    raw = gray_tags() | {262: (3, 1, 32803)}
    for content in (linked(raw, gray_tags() | tags), linked(gray_tags() | tags, gray_tags())):
        if 330 in tags and content == linked(gray_tags() | tags, gray_tags()):
            continue
        with pytest.raises(NotAPicture, match="raw.*develop it with a raw converter"):
            imaging.Document(content)


@pytest.mark.parametrize("link", [1, 2**31, 2**32 - 1])
def test_file_that_refers_to_a_missing_page_is_refused(link: int) -> None:
    content = linked(gray_tags(), gray_tags(20, 5))
    assert imaging.Document(content).info.page_count == 2
    for damaged in (content[: -(2 + 12 * 9 + 4)], linked(gray_tags(), last_link=link)):
        with pytest.raises(BrokenPicture, match="truncated or damaged"):
            imaging.decode(damaged)


@pytest.mark.parametrize("last_link", [108, 108 + 2 + 12 * 9 + 4])
def test_loop_of_pages_is_read_once(last_link: int) -> None:
    document = imaging.Document(linked(gray_tags(), gray_tags(20, 5), last_link=last_link))
    assert [document.decode(page).width for page in range(1, document.info.page_count + 1)] == [10, 20]


def test_limits_of_pages_and_of_their_size(monkeypatch: pytest.MonkeyPatch) -> None:
    content = linked(gray_tags(), gray_tags(20, 5), gray_tags(2, 50))
    with pytest.raises(PictureTooLarge, match="100 x 50"):
        imaging.Document(linked(gray_tags(), gray_tags(100, 50)), max_pixels=4000)
    monkeypatch.setattr(tiff_decoder, "MAX_PAGES", 2)
    with pytest.raises(BrokenPicture, match="3 pages, and the limit is 2: send it in parts"):
        imaging.Document(content)
    with pytest.raises(OptionError, match="png or tiff for a side of 17000 pixels"):
        imaging.Document(linked(gray_tags(), gray_tags(17_000, 1))).info.output_format("webp")
    assert imaging.Document(tiff(np.zeros((3, 4), np.uint8))).info.pages(None, "png") == [1]
