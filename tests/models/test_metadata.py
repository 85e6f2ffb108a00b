"""EXIF, XMP, IPTC, texts and resolution from the input to every output; what an output cannot hold is named in the record."""

import io
import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin
from PIL.PngImagePlugin import PngInfo

from models import exif
from models.ensemble import Ensemble
from models.errors import OptionError
from models.imaging import decode
from models.metadata import valid_dpi
from models.options import Options
from models.pipeline import colorize
from tests.picture_files import chunk, png, tiff

Encode = Callable[..., bytes]

FORMATS = ["jpeg", "png", "webp", "tiff", "avif"]
POSITION = b'exif:GPSLatitude="52,30N"'
PACKET = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about="" xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/" '
    b'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" Iptc4xmpExt:DigitalSourceType="negativeFilm" '
    + POSITION
    + b' dc:rights="the archive"/></rdf:RDF></x:xmpmeta>'
)
CAPTION = b"\x1c\x02\x78\x00\x04Dock"
ARTIST = "José Müller, 桜, Ж".encode()


def exif_block() -> bytes:
    exif = Image.Exif()
    exif[0x010E], exif[0x0112] = "Box 7, sheet 3", 6
    exif[0x8769] = {0x9003: "1931:05:01 00:00:00", 0x927C: b"secret maker note"}
    exif[0x8825] = {1: "N", 2: (52.0, 30.0, 0.0)}
    return exif.tobytes()


def texts(**values: str) -> PngInfo:
    info = PngInfo()
    for key, text in values.items():
        info.add_itxt(key, text)
    return info


def read_back(content: bytes) -> tuple[str | None, str | None, object, bytes]:
    """The description, date, GPS position and XMP of a file."""
    with Image.open(io.BytesIO(content)) as image:
        exif = image.getexif()
        return exif.get(0x010E), exif.get_ifd(0x8769).get(0x9003), exif.get_ifd(0x8825).get(2), image.info["xmp"]


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize("source", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_metadata_is_kept_without_gps_position(
    source: str, output_format: str, photographs: dict[str, Image.Image], encoded: Encode, ensemble: Ensemble
) -> None:
    xmp = {"tiffinfo": {700: PACKET}} if source == "TIFF" else {"xmp": PACKET}
    if source == "PNG":
        xmp = {"pnginfo": texts(**{"XML:com.adobe.xmp": PACKET.decode()})}
    exif = {} if source == "TIFF" else {"exif": exif_block()}
    content = encoded(photographs["cat"].convert("L"), source, **xmp, **exif)
    output, _, _ = colorize(content, ensemble, Options(format=output_format))
    description, date, position, packet = read_back(output)
    if exif:
        assert (description, date) == ("Box 7, sheet 3", "1931:05:01 00:00:00")
    assert position is None
    assert b"secret" not in output
    assert b"the archive" in packet
    assert b"GPS" not in packet
    assert b"negativeFilm" not in packet
    assert b"compositeWithTrainedAlgorithmicMedia" in packet


def test_gps_position_is_kept_only_on_request_and_metadata_can_be_stripped(
    photographs: dict[str, Image.Image], encoded: Encode, ensemble: Ensemble
) -> None:
    content = encoded(photographs["cat"], "JPEG", exif=exif_block(), xmp=PACKET, dpi=(300, 600))
    kept = read_back(colorize(content, ensemble, Options(metadata="keep-gps"))[0])
    assert kept[:3] == ("Box 7, sheet 3", "1931:05:01 00:00:00", (52.0, 30.0, 0.0))
    assert POSITION in kept[3]
    stripped = colorize(content, ensemble, Options(metadata="strip"))[0]
    description, date, position, packet = read_back(stripped)
    assert (description, date, position) == (None, None, None)
    assert b"archive" not in packet
    assert b"compositeWithTrainedAlgorithmicMedia" in packet
    with Image.open(io.BytesIO(stripped)) as image:
        assert image.info["dpi"] == (600, 300)  # the resolution is kept, and rotated with the picture
    with pytest.raises(OptionError, match="metadata is 'gps'.*keep, strip, keep-gps"):
        Options(metadata="gps")  # type: ignore[arg-type]


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_contains_decision_record(
    format: str, photographs: dict[str, Image.Image], encoded: Encode, ensemble: Ensemble
) -> None:
    output, _, decision = colorize(encoded(photographs["food"]), ensemble, Options(format=format))
    root = ElementTree.fromstring(read_back(output)[3])
    records = [element.attrib.get("{urn:chromaroute:1.0}Decision") for element in root.iter()]
    record = json.loads(next(filter(None, records)))
    assert record == decision.model_dump(mode="json", exclude={"timings_ms", "other_pages"})


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize("source", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_text_of_exif_is_carried_byte_for_byte(
    source: str, output_format: str, photographs: dict[str, Image.Image], encoded: Encode, ensemble: Ensemble
) -> None:
    picture = photographs["cat"].convert("L").resize((40, 30))
    tags = {exif.ARTIST: exif.Tag(exif.ASCII, ARTIST + b"\0"), exif.EXIF_POINTER: {37510: exif.undefined(b"UNICODE\0" + ARTIST)}}
    if source == "TIFF":
        content = tiff(np.asarray(picture), extratags=[(exif.ARTIST, 2, len(ARTIST) + 1, ARTIST + b"\0", True)])
    else:
        content = encoded(picture, source, exif=exif.exif_block(tags))
    output = colorize(content, ensemble, Options(format=output_format))[0]
    assert ARTIST + b"\0" in output
    assert source == "TIFF" or b"UNICODE\0" + ARTIST in output


def full_png() -> bytes:
    """A PNG file of 16 bits with alpha, and all kinds of metadata."""
    ramp = np.linspace(0, 65_535, 40 * 30).astype(np.uint16).reshape(30, 40)
    profile = f"\niptc\n{len(CAPTION):8}\n{CAPTION.hex()}\n".encode()
    chunks = chunk(b"pHYs", (11811).to_bytes(4) * 2 + b"\1") + chunk(b"eXIf", exif_block().removeprefix(b"Exif\0\0"))
    chunks += chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + PACKET) + chunk(b"tEXt", b"Raw profile type iptc\0" + profile)
    return png(np.dstack((ramp, ramp)), 4, chunks + chunk(b"tEXt", b"Author\0Anna") + chunk(b"tEXt", b"Comment\0of the dock"))


AUTHOR, BOTH, IPTC = "the text Author", "the text Author, Comment", "the IPTC record"
NO_ALPHA, NO_DEPTH = "transparency cannot be kept in JPEG", "the 16 bits of the picture became 8, because "


@pytest.mark.parametrize(
    ("format", "lost"),
    [
        ("jpeg", [f"{AUTHOR} cannot be kept in JPEG", NO_ALPHA, NO_DEPTH + "JPEG holds no more"]),
        ("png", []),
        ("tiff", [f"{BOTH} cannot be kept in TIFF"]),
        ("webp", [*(f"{what} cannot be kept in WebP" for what in (BOTH, IPTC)), NO_DEPTH + "WebP holds no more"]),
        ("avif", [*(f"{what} cannot be kept in AVIF" for what in (BOTH, IPTC)), NO_DEPTH + "AVIF holds no more"]),
    ],
)
def test_format_holds_what_it_can_and_the_rest_is_named(format: str, lost: list[str], ensemble: Ensemble) -> None:
    output, _, decision = colorize(full_png(), ensemble, Options(format=format))
    assert decision.notes == lost
    with Image.open(io.BytesIO(output)) as image:
        info, exif_tags = image.info, image.getexif()
        assert "A" in image.getbands() or format == "jpeg"
    iptc = {
        "jpeg": lambda: info["photoshop"][0x0404],
        "png": lambda: bytes.fromhex(info["Raw profile type iptc"].split(maxsplit=2)[2]),
        "tiff": lambda: exif_tags[33723],
    }.get(format, lambda: None)()
    assert iptc == (None if f"{IPTC} cannot" in " ".join(lost) else CAPTION)
    dpi = info["dpi"] if format in ("jpeg", "png", "tiff") else (exif_tags[282], exif_tags[283])
    assert [round(float(inch)) for inch in dpi] == [300, 300]
    kept = {key: info.get(key) for key in ("Author", "Comment", "comment")}
    only = {"png": {"Author": "Anna", "Comment": "of the dock"}, "jpeg": {"comment": b"of the dock"}}.get(format, {})
    assert kept == dict.fromkeys(kept) | only
    assert read_back(output)[:2] == ("Box 7, sheet 3", "1931:05:01 00:00:00")
    again = decode(output).metadata
    assert (again.iptc, again.notes) == (iptc or b"", ())
    stripped = colorize(full_png(), ensemble, Options(format=format, metadata="strip"))[2].notes
    assert stripped == [note for note in lost if "picture" in note or "transparency" in note]


@pytest.mark.parametrize("source", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "GIF"])
@pytest.mark.parametrize("format", FORMATS)
def test_unknown_resolution_stays_unknown(format: str, source: str, encoded: Encode, ensemble: Ensemble) -> None:
    output = colorize(encoded(Image.new("L", (20, 16), 90), source), ensemble, Options(format=format))[0]
    with Image.open(io.BytesIO(output)) as image:
        assert not {282, 283} & set(image.getexif())
        assert image.info.get("dpi") in ((1, 1) if format == "tiff" else None, None, (0, 0))
        assert image.info.get("jfif_unit", 0) == 0
    assert decode(output).metadata.dpi is None


@pytest.mark.parametrize("dpi", [(2**32 - 1, 300), (0, 0), (300, 0), (float("nan"), 1), None, "300", (300,)])
def test_invalid_resolution_is_omitted(dpi: object, encoded: Encode, ensemble: Ensemble) -> None:
    assert valid_dpi(dpi) is None
    tags = {282: TiffImagePlugin.IFDRational(300, 0), 283: TiffImagePlugin.IFDRational(300, 0), 296: 2}
    gray = Image.fromarray(np.full((8, 8), 300, np.uint16))
    for output_format in FORMATS:
        assert colorize(encoded(gray, "TIFF", tiffinfo=tags), ensemble, Options(format=output_format))[1] == output_format


def test_captions_comments_and_texts_are_kept_in_same_format(
    photographs: dict[str, Image.Image], encoded: Encode, ensemble: Ensemble
) -> None:
    segment = b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x09" + CAPTION + b"\0"
    extra = b"\xff\xed" + (len(segment) + 2).to_bytes(2) + segment
    output, _, _ = colorize(encoded(photographs["cat"], "JPEG", extra=extra, comment=b"a comment"), ensemble)
    with Image.open(io.BytesIO(output)) as image:
        assert image.info["photoshop"][0x0404] == CAPTION
        assert image.info["comment"] == b"a comment"
    info = texts(Author="Anna", **{"Raw profile type exif": "hidden position"})
    output, _, _ = colorize(encoded(photographs["cat"], "PNG", pnginfo=info), ensemble)
    with Image.open(io.BytesIO(output)) as image:
        assert image.info["Author"] == "Anna"
    assert b"hidden" not in output
