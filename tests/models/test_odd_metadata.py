"""Metadata that are damaged, hostile, too long for a format, or stored in unusual places."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from models import exif
from models.ensemble import Ensemble
from models.exif import Tag
from models.imaging import decode
from models.metadata import COMMENT, Metadata
from models.options import Options
from models.pipeline import colorize
from models.xmp import with_provenance
from tests.picture_files import tiff

Encode = Callable[..., bytes]

PACKET = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about="" xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/" '
    b'exif:GPSLatitude="52,30N" dc:rights="the archive"/></rdf:RDF></x:xmpmeta>'
)
CAPTION = b"\x1c\x02\x78\x00\x04Dock"
XMP_NOTE = "the XMP packet cannot be kept: it is damaged, too long or too deep"


def text(key: str, value: str, zip: bool = False) -> PngInfo:
    info = PngInfo()
    info.add_text(key, value, zip=zip)
    return info


def test_damaged_metadata_is_omitted(photographs: dict[str, Image.Image], encoded: Encode, ensemble: Ensemble) -> None:
    content = encoded(photographs["cat"], "JPEG", exif=b"Exif\0\0garbage", xmp=b"<x")
    output, format, decision = colorize(content, ensemble)
    assert format == "jpeg"
    assert decision.notes == ["the EXIF data cannot be read: it begins with neither II nor MM", XMP_NOTE]
    assert decode(output).metadata.exif == {}
    assert decode(encoded(photographs["cat"], "PNG")).metadata.dpi is None


@pytest.mark.parametrize("policy", ["keep", "keep-gps", "strip"])
def test_unreadable_packet_is_named_unless_it_is_to_be_stripped(policy: str, encoded: Encode, ensemble: Ensemble) -> None:
    content = encoded(Image.new("L", (20, 16), 90), "JPEG", xmp=b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>')
    output, _, decision = colorize(content, ensemble, Options(metadata=policy))
    assert decision.notes == ([] if policy == "strip" else [XMP_NOTE])
    assert b"compositeWithTrainedAlgorithmicMedia" in output
    assert b"ENTITY" not in output


@pytest.mark.parametrize(
    "xmp",
    [
        b'<?xml version="1.0" encoding="foo"?>' + PACKET,
        b'<?xml version="1.0" encoding="shift_jis"?>' + PACKET,
        b"<a>" * 5000 + b"</a>" * 5000,
        PACKET.decode().encode("utf-16"),
        b"\xff\xfe\x00",
    ],
)
def test_invalid_xmp_packet_does_not_prevent_colorizing(
    xmp: bytes, photographs: dict[str, Image.Image], encoded: Encode, ensemble: Ensemble
) -> None:
    output, _, _ = colorize(encoded(photographs["cat"], "JPEG", xmp=xmp[:60_000]), ensemble)
    with Image.open(io.BytesIO(output)) as image:
        assert b"compositeWithTrainedAlgorithmicMedia" in image.info["xmp"]


def test_gps_position_is_removed_in_any_vocabulary(
    photographs: dict[str, Image.Image], encoded: Encode, ensemble: Ensemble
) -> None:
    drone = PACKET.replace(b"exif:GPSLatitude", b"drone:GpsLatitude").replace(b"xmlns:dc", b'xmlns:drone="urn:drone" xmlns:dc')
    assert b"Gps" not in colorize(encoded(photographs["cat"], "JPEG", xmp=drone), ensemble)[0]
    content = encoded(photographs["cat"], "PNG", pnginfo=text("exif:GPSLatitude", "52,30N"))
    assert b"52,30N" not in colorize(content, ensemble)[0]
    assert b"52,30N" in colorize(content, ensemble, Options(metadata="keep-gps"))[0]


def test_notes_on_levels_are_kept_when_metadata_is_stripped(ensemble: Ensemble) -> None:
    levels = np.linspace(-3, 1, 600, dtype=np.float32).reshape(20, 30)
    notes = [colorize(tiff(levels), ensemble, Options(metadata=policy))[2].notes for policy in ("keep", "strip")]
    assert notes[0] == notes[1]
    assert notes[0][0].startswith("the levels have no known white")


@pytest.mark.parametrize("format", ["jpeg", "png", "webp", "tiff", "avif"])
@pytest.mark.parametrize("key", ["key {}", "key {} " + "k" * 70])
def test_record_of_many_lost_texts_stays_short(format: str, key: str, encoded: Encode, ensemble: Ensemble) -> None:
    info = PngInfo()
    for number in range(3000):
        info.add_text(key.format(number), "x")
    output, _, decision = colorize(encoded(Image.new("L", (20, 16), 90), pnginfo=info), ensemble, Options(format=format))
    assert len(str(decision.notes)) < 1000
    if format == "png":
        assert len(decode(output).metadata.texts) == 3000
    else:
        assert "and 2995 more cannot be kept in" in decision.notes[0]


LONG = 100_000
TOO_LONG = {
    "comment": (Metadata(texts={COMMENT: "é" * (LONG // 2)}), "the comment, which is too long, cannot be kept in JPEG"),
    "iptc": (Metadata(iptc=CAPTION * 10_000), "the IPTC record cannot be kept in JPEG"),
    "exif": (Metadata(exif={exif.ARTIST: Tag(2, b"a" * LONG)}), "the EXIF data, which are too long, cannot be kept in JPEG"),
}


@pytest.mark.parametrize("kind", TOO_LONG)
def test_what_is_too_long_for_jpeg_is_named(kind: str) -> None:
    metadata, note = TOO_LONG[kind]
    fitted = metadata.fitted("jpeg")
    assert fitted == Metadata(notes=(note,))
    assert metadata.fitted("png") == metadata


@pytest.mark.parametrize("kind", TOO_LONG)
@pytest.mark.parametrize("format", ["jpeg", "png", "tiff"])
def test_long_metadata_is_written_or_named(kind: str, format: str, encoded: Encode, ensemble: Ensemble) -> None:
    gray = np.full((16, 20), 90, np.uint8)
    content = {
        "comment": lambda: encoded(Image.fromarray(gray), pnginfo=text("Comment", "é" * (LONG // 2), zip=True)),
        "iptc": lambda: tiff(gray, extratags=[(33723, 7, 90_000, CAPTION * 10_000, True)]),
        "exif": lambda: tiff(gray, extratags=[(315, 2, LONG, b"a" * (LONG - 1) + b"\0", True)]),
    }[kind]()
    output, _, decision = colorize(content, ensemble, Options(format=format))
    again = decode(output).metadata
    if format == "jpeg" or (kind == "comment" and format == "tiff"):
        assert len(decision.notes) == 1
        assert (again.exif, again.iptc, again.texts) == ({}, b"", {})
    else:
        assert decision.notes == []
        assert len(again.texts.get("Comment", "").encode()) + len(again.iptc) >= 90_000 or again.exif[315].count == LONG  # type: ignore[union-attr]


def iptc_tiff(type_: int, record: bytes, resources: bytes = b"") -> bytes:
    tags = [(33723, type_, len(record) // exif.SIZES[type_], record, True)] if record else []
    tags += [(34377, 7, len(resources), resources, True)] if resources else []
    return tiff(np.full((16, 20), 90, np.uint8), extratags=tags)


RESOURCES = b"8BIM\x04\x25\0\0\0\0\0\x03abc\0" + b"8BIM\x04\x04\x03web\0\0\0\x09" + CAPTION + b"\0" + b"8BIM\x04\x0c\0\0\0\0\0\0"


@pytest.mark.parametrize(
    "content",
    [
        iptc_tiff(7, CAPTION), iptc_tiff(1, CAPTION), iptc_tiff(4, CAPTION + bytes(3)), iptc_tiff(7, b"", RESOURCES),
        iptc_tiff(7, CAPTION[:3], RESOURCES),
    ],
    ids=["undefined", "bytes", "numbers of four bytes", "in the resources of Photoshop", "cut off, and in the resources"],
)  # fmt: skip
def test_iptc_record_is_found_wherever_programs_store_it(content: bytes) -> None:
    assert decode(content).metadata.iptc.rstrip(b"\0") == CAPTION


@pytest.mark.parametrize("resources", [b"8BIM", b"8BIM\x04\x04\xff" + bytes(9), b"8BIM\x04\x04\0\0\xff\xff\xff\xff", b"x" * 50])
def test_damaged_resources_of_photoshop_are_ignored(resources: bytes) -> None:
    assert decode(iptc_tiff(7, b"", resources)).metadata.iptc == b""


def raw_profile(kind: str, content: bytes) -> PngInfo:
    return text(f"Raw profile type {kind}", f"\n{kind}\n{len(content):8}\n{content.hex()}\n", zip=True)


def test_raw_profiles_of_imagemagick_are_read(encoded: Encode) -> None:
    block = exif.exif_block({270: Tag(2, b"Box 7\0")})
    read = {
        kind: decode(encoded(Image.new("L", (8, 8)), pnginfo=raw_profile(kind, content))).metadata
        for kind, content in {"exif": block, "APP1": block, "iptc": CAPTION, "xmp": PACKET}.items()
    }
    assert read["exif"].exif == read["APP1"].exif == {270: Tag(2, b"Box 7\0")}
    assert read["iptc"].iptc == CAPTION
    assert read["xmp"].xmp == PACKET
    assert all(metadata.texts == {} for metadata in read.values())


def test_packed_texts_are_limited(encoded: Encode) -> None:
    metadata = decode(encoded(Image.new("L", (8, 8)), pnginfo=text("Comment", "a" * 20_000_000, zip=True))).metadata
    assert metadata.texts == {}


def test_record_replaces_packet_that_cannot_be_kept() -> None:
    for xmp in (b"<x", b'<!DOCTYPE a [<!ENTITY b "c">]><x:xmpmeta xmlns:x="adobe:ns:meta/">&b;</x:xmpmeta>', PACKET * 400):
        packet = with_provenance(xmp, "mine@0", 'rock & "roll" <3', "{}")
        assert len(packet) < 60_000
        assert b"rock &amp; &quot;roll&quot; &lt;3" in packet
