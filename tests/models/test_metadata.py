import io
import json
import struct
import xml.etree.ElementTree as ElementTree
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tifffile
from PIL import Image, TiffImagePlugin
from PIL.PngImagePlugin import PngInfo

from models.ensemble import Ensemble
from models.errors import OptionError
from models.imaging import decode
from models.metadata import read_metadata, with_provenance
from models.options import Options
from models.pipeline import colorize

Encode = Callable[..., bytes]

POSITION = b'exif:GPSLatitude="52,30N"'
PACKET = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about="" xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/" '
    b'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" Iptc4xmpExt:DigitalSourceType="negativeFilm" '
    + POSITION
    + b' dc:rights="the archive"/></rdf:RDF></x:xmpmeta>'
)


def exif_block() -> bytes:
    exif = Image.Exif()
    exif[0x010E], exif[0x0112] = "Box 7, sheet 3", 6
    exif[0x8769] = {0x9003: "1931:05:01 00:00:00", 0x927C: b"secret maker note"}
    exif[0x8825] = {1: "N", 2: (52.0, 30.0, 0.0)}
    return exif.tobytes()


def read_back(content: bytes) -> tuple[str | None, str | None, object, bytes]:
    """The description, date, GPS position and XMP of a file."""
    with Image.open(io.BytesIO(content)) as image:
        exif = image.getexif()
        return exif.get(0x010E), exif.get_ifd(0x8769).get(0x9003), exif.get_ifd(0x8825).get(2), image.info["xmp"]


@pytest.mark.parametrize("output_format", ["jpeg", "png", "webp", "tiff"])
@pytest.mark.parametrize("source", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_metadata_is_kept_without_gps_position(
    source: str, output_format: str, photographs: dict[str, Image.Image], encoded: Encode, ensemble: Ensemble
) -> None:
    xmp = {"tiffinfo": {700: PACKET}} if source == "TIFF" else {"xmp": PACKET}
    exif = {} if source == "TIFF" else {"exif": exif_block()}
    content = encoded(photographs["cat"].convert("L"), source, **xmp, **exif)
    output, _, _ = colorize(content, ensemble, Options(format=output_format))
    description, date, position, packet = read_back(output)
    if exif:
        assert (description, date) == ("Box 7, sheet 3", "1931:05:01 00:00:00")
    assert position is None
    assert b"secret" not in output
    if source != "PNG":  # Pillow does not write XMP into PNG by this option
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


@pytest.mark.parametrize("format", ["jpeg", "png", "webp", "tiff"])
def test_every_format_contains_decision_record(
    format: str, photographs: dict[str, Image.Image], encoded: Encode, ensemble: Ensemble
) -> None:
    output, _, decision = colorize(encoded(photographs["food"]), ensemble, Options(format=format))
    root = ElementTree.fromstring(read_back(output)[3])
    records = [element.attrib.get("{urn:chromaroute:1.0}Decision") for element in root.iter()]
    record = json.loads(next(filter(None, records)))
    assert record == decision.model_dump(mode="json", exclude={"timings_ms"})


def test_captions_comments_and_texts_are_kept_in_same_format(
    photographs: dict[str, Image.Image], encoded: Encode, ensemble: Ensemble
) -> None:
    caption = b"\x1c\x02\x78\x00\x04Dock"
    segment = b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x09" + caption + b"\0"
    extra = b"\xff\xed" + (len(segment) + 2).to_bytes(2) + segment
    output, _, _ = colorize(encoded(photographs["cat"], "JPEG", extra=extra, comment=b"a comment"), ensemble)
    with Image.open(io.BytesIO(output)) as image:
        assert image.info["photoshop"][0x0404] == caption
        assert image.info["comment"] == b"a comment"
    texts = PngInfo()
    texts.add_text("Author", "Anna")
    texts.add_text("Raw profile type exif", "hidden position")
    output, _, _ = colorize(encoded(photographs["cat"], "PNG", pnginfo=texts), ensemble)
    with Image.open(io.BytesIO(output)) as image:
        assert image.info["Author"] == "Anna"
    assert b"hidden" not in output


def test_damaged_or_hostile_metadata_is_omitted(photographs: dict[str, Image.Image], encoded: Encode, ensemble: Ensemble) -> None:
    for xmp in (b"<x", b'<!DOCTYPE a [<!ENTITY b "c">]><x:xmpmeta xmlns:x="adobe:ns:meta/">&b;</x:xmpmeta>', PACKET * 400):
        packet = with_provenance(xmp, "mine@0", 'rock & "roll" <3', "{}")
        values = [value for element in ElementTree.fromstring(packet).iter() for value in element.attrib.values()]
        assert 'rock & "roll" <3' in values
        assert len(packet) < 60_000
    content = encoded(photographs["cat"], "JPEG", exif=b"Exif\0\0garbage", xmp=b"<x")
    assert colorize(content, ensemble)[1] == "jpeg"
    with Image.open(io.BytesIO(encoded(photographs["cat"], "PNG"))) as image:
        assert read_metadata(image, None).dpi is None


@pytest.mark.parametrize("source", ["PNG", "TIFF"])
@pytest.mark.parametrize("output_format", ["png", "tiff"])
def test_16_bit_gray_gives_16_bit_rgb(
    source: str, output_format: str, photographs: dict[str, Image.Image], encoded: Encode, ensemble: Ensemble
) -> None:
    gray = np.asarray(photographs["flower"].convert("L")).astype(np.uint16) * 257
    gray[:, ::3] += 100  # levels that 8 bits cannot represent
    output, format, _ = colorize(encoded(Image.fromarray(gray), source, dpi=(600, 600)), ensemble, Options(format=output_format))
    assert format == output_format
    rgb = read_16_bit(output, output_format).astype(np.int64)
    assert rgb.shape == (*gray.shape, 3)
    luma = (rgb @ np.array([19595, 38470, 7471]) + 0x8000) >> 16
    assert np.abs(luma - gray).max() <= 1
    assert np.ptp(rgb, axis=2).max() > 2_000
    with Image.open(io.BytesIO(output)) as image:
        assert np.abs(np.array(image.convert("RGB").convert("L")).astype(int) - np.round(gray / 257)).max() <= 1
        assert round(image.info["dpi"][0]) == 600


def gray_profile(gamma: float) -> bytes:
    """A minimal ICC profile for gray with a gamma."""
    text = b"desc\0\0\0\0\0\0\0\x05gray\0" + bytes(82)
    white = b"XYZ \0\0\0\0" + struct.pack(">3l", 63190, 65536, 54061)
    curve = b"curv\0\0\0\0" + struct.pack(">LH", 1, round(gamma * 256)) + bytes(2)
    place, table, body = 128 + 4 + 3 * 12, b"", b""
    for name, content in ((b"desc", text), (b"wtpt", white), (b"kTRC", curve)):
        content += bytes(-len(content) % 4)
        table += name + struct.pack(">LL", place + len(body), len(content))
        body += content
    size = struct.pack(">L", place + len(body))
    head = size + bytes(4) + struct.pack(">L", 0x02400000) + b"mntrGRAYXYZ " + bytes(12) + b"acsp" + bytes(28)
    return head + struct.pack(">3l", 63190, 65536, 54061) + bytes(128 - len(head) - 12) + struct.pack(">L", 3) + table + body


@pytest.mark.parametrize("depth", [8, 16])
def test_gray_profile_is_applied_at_every_depth(depth: int, encoded: Encode) -> None:
    ramp = np.arange(0, 65536, 16, dtype=np.uint16).reshape(64, 64)
    image = Image.fromarray(ramp if depth == 16 else (ramp >> 8).astype(np.uint8))
    plain = decode(encoded(image, "TIFF")).luma.astype(int)
    linear = decode(encoded(image, "TIFF", icc_profile=gray_profile(1.0))).luma.astype(int)
    assert abs(linear[16, 0] - 137) <= 1  # a quarter of the light, in sRGB
    assert np.abs(linear - plain).max() > 50
    assert (linear[[0, -1], [0, -1]] == [0, 255]).all()


def read_16_bit(content: bytes, format: str) -> np.ndarray:
    """The 16-bit samples of a file, without our own decoder."""
    if format == "tiff":
        return tifffile.imread(io.BytesIO(content))
    assert content[24:26] == b"\x10\x02"
    width, height = (int.from_bytes(content[place : place + 4]) for place in (16, 20))
    packed, place = b"", 8
    while place < len(content):
        length, name = int.from_bytes(content[place : place + 4]), content[place + 4 : place + 8]
        packed += content[place + 8 : place + 8 + length] if name == b"IDAT" else b""
        place += 12 + length
    rows = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(height, 1 + width * 6)
    assert set(rows[:, 0]) == {2}
    return np.cumsum(rows[:, 1:], axis=0, dtype=np.uint8).copy().view(">u2").reshape(height, width, 3)


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
    assert b"compositeWithTrainedAlgorithmicMedia" in read_back(output)[3]


def test_provenance_packet_is_same_in_every_thread() -> None:
    with ThreadPoolExecutor(4) as pool:
        packets = set(pool.map(lambda _: with_provenance(PACKET, "mine@0", "cat", "{}"), range(2000)))
    assert len(packets) == 1


@pytest.mark.parametrize("dpi", [(2**32 - 1, 300), (0, 0), (300, 0), (float("nan"), 1)])
def test_invalid_resolution_is_omitted(
    dpi: tuple[float, float], photographs: dict[str, Image.Image], encoded: Encode, ensemble: Ensemble
) -> None:
    with Image.open(io.BytesIO(encoded(photographs["cat"], "PNG"))) as image:
        image.info["dpi"] = dpi
        assert read_metadata(image, None).dpi is None
    tags = {282: TiffImagePlugin.IFDRational(300, 0), 283: TiffImagePlugin.IFDRational(300, 0), 296: 2}
    gray = Image.fromarray(np.full((8, 8), 300, np.uint16))
    for output_format in ("png", "tiff", "jpeg", "webp"):
        assert colorize(encoded(gray, "TIFF", tiffinfo=tags), ensemble, Options(format=output_format))[1] == output_format


def test_gps_position_is_removed_in_any_vocabulary(
    photographs: dict[str, Image.Image], encoded: Encode, ensemble: Ensemble
) -> None:
    drone = PACKET.replace(b"exif:GPSLatitude", b"drone:GpsLatitude").replace(b"xmlns:dc", b'xmlns:drone="urn:drone" xmlns:dc')
    assert b"Gps" not in colorize(encoded(photographs["cat"], "JPEG", xmp=drone), ensemble)[0]
    texts = PngInfo()
    texts.add_text("exif:GPSLatitude", "52,30N")
    assert b"52,30N" not in colorize(encoded(photographs["cat"], "PNG", pnginfo=texts), ensemble)[0]
    assert b"52,30N" in colorize(encoded(photographs["cat"], "PNG", pnginfo=texts), ensemble, Options(metadata="keep-gps"))[0]


@pytest.mark.parametrize("output_format", ["png", "tiff"])
def test_transparent_level_of_16_bit_gray_stays_transparent(output_format: str, encoded: Encode, ensemble: Ensemble) -> None:
    gray = np.full((40, 50), 30_000, np.uint16)
    gray[:10] = 7
    output, _, _ = colorize(encoded(Image.fromarray(gray), "PNG", transparency=7), ensemble, Options(format=output_format))
    with Image.open(io.BytesIO(output)) as image:
        alpha = np.array(image.convert("RGBA").getchannel("A"))
    assert (alpha[:10] == 0).all()
    assert (alpha[10:] == 255).all()
