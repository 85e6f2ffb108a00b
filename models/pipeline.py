"""From bytes to bytes: decode, route, predict, merge with the picture's own luma, encode; page by page."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from models import chroma, encoding
from models.chroma import YCbCr
from models.decision import Decision, Stopwatch
from models.encoding import TiffPage
from models.ensemble import Ensemble
from models.imaging import MAX_PIXELS, Document, Picture
from models.lab import Float32Array
from models.luma import SampleArray, to_uint8
from models.metadata import FORMAT_NAMES
from models.options import Options
from models.xmp import with_provenance


@dataclass(frozen=True)
class RenderedPage:
    """An encoded page, which is the file itself unless the format has several, and its decision record."""

    content: bytes | TiffPage
    decision: Decision


def colorize(
    content: bytes, ensemble: Ensemble, options: Options | None = None, max_pixels: int = MAX_PIXELS
) -> tuple[bytes, str, Decision]:
    """The encoded output of an encoded picture, its format, and the decision record.

    Every page of a multi-page file is colorized if the output is TIFF, otherwise one page, which `options.page` chooses.

    Raises:
        PictureError: the picture cannot be decoded, or has more than `max_pixels`; see `models.errors`.
        OptionError: the requested category is not one of the bundle's, there is no such page, the format cannot hold the picture,
            or a hint is outside of it.
    """
    options = options or Options()
    ensemble.bundle.router.check(options.category)
    watch = Stopwatch()
    with watch.stage("decode"):
        document = Document(content, max_pixels)
    format = document.info.output_format(options.format)
    rendered = []
    pages = document.info.pages(options.page, format)
    options.check_pages(len(pages))
    for page in pages:
        with watch.stage("decode"):
            picture = document.decode(page, format)
        if page == pages[-1]:
            document.close()
        ab, decision = ensemble.predict(picture, options, options.hints)
        rendered.append(render(picture, ab, decision.with_earlier_stages(watch), options, format))
        watch = Stopwatch()
    output, decision = join(rendered)
    return output, format, decision


def render(picture: Picture, ab: Float32Array, decision: Decision, options: Options, format: str) -> RenderedPage:
    """Merge predicted ab `(1,2,*,*)` with a picture and encode it in a format; the record gets all timings and notes.

    The file contains the record without its timings, so that equal inputs give equal files.
    """
    watch = Stopwatch(dict(decision.timings_ms))
    metadata = picture.metadata.filtered(options.metadata).fitted(format)
    notes = list(metadata.notes)
    if picture.alpha is not None and format == "jpeg":
        notes.append("transparency cannot be kept in JPEG")
    if picture.luma16 is not None and format not in encoding.FORMATS_16_BIT:
        notes.append(f"the 16 bits of the picture became 8, because {FORMAT_NAMES[format]} holds no more")
    if picture.page_count > 1 and format != "tiff" and options.page is None:
        notes.append(f"only page 1 of {picture.page_count} is in the output: give page for another, or format=tiff for all")
    decision = decision.with_file(picture.page, picture.page_count, notes)
    record = decision.model_dump_json(exclude={"timings_ms", "other_pages"})
    metadata = replace(metadata, xmp=with_provenance(metadata.xmp, decision.bundle, decision.category, record))
    with watch.stage("merge"):
        merged = merge(picture, ab * np.float32(options.saturation), format)
    alpha: Any = picture.alpha
    if alpha is not None and not isinstance(merged, YCbCr) and alpha.dtype != merged.dtype:
        alpha = to_uint8(alpha)
    with watch.stage("encode"):
        content: bytes | TiffPage
        if format == "tiff" and not isinstance(merged, YCbCr):
            number, count = (1, 1) if options.page is not None else (picture.page, picture.page_count)
            content = encoding.tiff_page(merged, alpha, metadata, number, count)
        else:
            content = encoding.encode(merged, alpha, format, options.quality, metadata)
    return RenderedPage(content, decision.model_copy(update={"timings_ms": watch.timings}))


def join(pages: Sequence[RenderedPage]) -> tuple[bytes, Decision]:
    """The file of rendered pages, and its decision record."""
    parts = [page.content for page in pages if isinstance(page.content, TiffPage)]
    first = pages[0].content
    content = encoding.join_tiff(parts) if parts else first
    assert isinstance(content, bytes)
    others = [page.decision for page in pages[1:]]
    return content, pages[0].decision.with_other_pages(others) if others else pages[0].decision


def merge(picture: Picture, ab: Float32Array, format: str) -> YCbCr | SampleArray:
    """The picture's own luma with ab `(1,2,*,*)` in CIELAB units of any resolution, at full size.

    Returns the planes of a JPEG, whose luma is the picture's; for other formats RGB `(h,w,3)`, of 16 bits where picture and format
    have them.
    """
    planes = chroma.chroma_planes(picture.luma, ab)
    if format == "jpeg":
        return chroma.join_ycbcr(picture.luma, planes)
    if picture.luma16 is not None and format in encoding.FORMATS_16_BIT:
        return chroma.join_rgb(picture.luma16, planes)
    return chroma.join_rgb(picture.luma, planes)
