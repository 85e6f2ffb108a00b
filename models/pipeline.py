"""From bytes to bytes: decode, route, predict, merge with the picture's own luma, encode."""

from dataclasses import replace

from torch import Tensor

from models import chroma, encoding, imaging
from models.chroma import YCbCr
from models.decision import Decision, Stopwatch
from models.ensemble import Ensemble
from models.imaging import Picture
from models.luma import SampleArray
from models.metadata import with_provenance
from models.options import Options


def colorize(
    content: bytes, ensemble: Ensemble, options: Options | None = None, max_pixels: int = imaging.MAX_PIXELS
) -> tuple[bytes, str, Decision]:
    """The encoded output of an encoded picture, its format, and the decision record.

    Raises:
        PictureError: the picture cannot be decoded, or has more than `max_pixels`; see `models.errors`.
        OptionError: the requested category is not one of the bundle's, or the format cannot hold the picture.
    """
    options = options or Options()
    ensemble.bundle.router.check(options.category)
    watch = Stopwatch()
    with watch.stage("decode"):
        picture = imaging.decode(content, max_pixels, options.format)
    ab, decision = ensemble.predict(picture, options)
    return render(picture, ab, decision.with_earlier_stages(watch), options)


def render(picture: Picture, ab: Tensor, decision: Decision, options: Options) -> tuple[bytes, str, Decision]:
    """Merge predicted ab `(1,2,*,*)` with the picture and encode it: the file, its format, and the record with all timings.

    The file contains the record without its timings, so that equal inputs give equal files.
    """
    watch = Stopwatch(dict(decision.timings_ms))
    format = imaging.output_format(options.format, picture)
    record = decision.model_dump_json(exclude={"timings_ms"})
    metadata = picture.metadata.filtered(options.metadata)
    metadata = replace(metadata, xmp=with_provenance(metadata.xmp, decision.bundle, decision.category, record))
    with watch.stage("merge"):
        merged = merge(picture, ab * options.saturation, format)
    with watch.stage("encode"):
        content = encoding.encode(merged, picture.alpha, format, options.quality, metadata)
    return content, format, decision.model_copy(update={"timings_ms": watch.timings})


def merge(picture: Picture, ab: Tensor, format: str) -> YCbCr | SampleArray:
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
