"""Positions in every carrier of metadata: they go unless `keep-gps` is chosen, and what only looks like one stays."""

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from models import encoding, exif, xmp
from models.chroma import YCbCr
from models.exif import Tag
from models.imaging import decode
from models.metadata import COMMENT, Metadata
from tests.picture_files import chunk, png, tiff

Encode = Callable[..., bytes]

GRAY = np.full((8, 8), 90, np.uint8)
USER_COMMENT = 37510
HEAD = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
    'xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/" '
    'xmlns:geo="http://www.w3.org/2003/01/geo/wgs84_pos#" xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" '
    'xmlns:Iptc4xmpCore="http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/" '
    'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
)
TAIL = "</rdf:Description></rdf:RDF></x:xmpmeta>"

COORDINATES = [
    "48.2082, 16.3738",
    "48.2082,16.3738.",
    "-33.8688 / 151.2093",
    "151.2093; -33.8688",
    "48.2082 16.3738",
    "48.208174000000001, 16.373819000000002",
    "48,2082; 16,3738",
    "48.2082° N, 16.3738° E",
    "48.2082°, 16.3738°",
    "N48.2082 E16.3738",
    "N 48.2082, E 16.3738",
    "+48.2082+016.3738/",
    "https://maps.example/?q=48.2082,16.3738",
    "@48.2082,16.3738,17z",
    "POINT(16.3738 48.2082)",
    "geo:48.2,16.3",
    "48°12′30″N",
    "48°12'30\"N 16°22'20\"E",
    "48° 12' 30'' N",
    "48° 12.5' n",
    "48° 12' nördlicher Breite, 16° 22' östlicher Länge",
    "48 ° N",
    "N 48° 12.345",
    "E 16.37°",
    "GPS: 48.2",
    "Latitude=48",
    "latitude N 48",
    "GPSLatitude: 48/1",
    "lat: 48.2 lon: 16.3",
    '{"lat": "48.2"}',
    "<lat>48</lat>",
    "Lat. 48.20",
]
OTHER_TEXTS = [
    "Price 12.50, 3.75",
    "12.500, 13.750 Mark",
    "f/2.8 50mm",
    "1914-1918",
    "Format 10.5 x 15.25",
    "Wien, 12. Bezirk",
    "20° im Schatten",
    "entre 20° e 30°, 20° o 30°",
    "version 1.2.3.4, 10.1.2345",
    "192.168.1.2345, 10.0.0.1234",
    "+43 1 585.1234 / 585.5678",
    "212.555.1234, 212.555.5678",
    "z lat 20. i 30. XX wieku, lat 1914-1918",
    "a long 5 minutes",
    "latitude of thought",
    "No 12345678, 87654321",
    "geometry: 4 sides",
    "a geologist, 1931",
    "12:30:15",
    "5' 11\" tall",
    "Maßstab 1 : 2500",
]


@pytest.mark.parametrize("text", COORDINATES)
def test_coordinates_are_recognized(text: str) -> None:
    for around in ("{}", "The dock at {} in spring", "\n{}\n"):
        assert xmp.is_position("", around.format(text))


@pytest.mark.parametrize("text", OTHER_TEXTS)
def test_other_texts_are_no_positions(text: str) -> None:
    assert not xmp.is_position("", text)


def test_two_numbers_of_four_decimals_are_a_position_whatever_is_written_before() -> None:
    """A text that is lost can be written again, a position that is published cannot be taken back."""
    assert xmp.is_position("", "scale 1.0000 2.0000")


@pytest.mark.parametrize(
    ("name", "is_position"),
    [
        ("exif:GPSLatitude", True), ("drone:GpsLongitude", True), ("geo:lat", True), ("geo:long", True), ("Latitude", True),
        ("latitudeRef", True), ("drone:AbsoluteAltitude", True), ("Location", True), ("Iptc4xmpExt:LocationShown", True),
        ("Iptc4xmpExt:Sublocation", True), ("coordinates", True), ("GeoTag", True),
        ("photoshop:City", False), ("photoshop:Country", False), ("Iptc4xmpCore:CountryCode", False), ("dc:creator", False),
        ("dc:title", False), ("Geometry", False), ("Allocation", False), ("platform", False), ("Longevity", False),
    ],
)  # fmt: skip
def test_names_of_positions_are_recognized(name: str, is_position: bool) -> None:
    assert xmp.is_position(name) == is_position


def kept(content: bytes) -> tuple[Metadata, Metadata]:
    """What the policies `keep` and `keep-gps` leave of the metadata of a file."""
    found = decode(content).metadata
    return found.filtered("keep"), found.filtered("keep-gps")


def ascii_tag(text: str, charset: str = "utf-8") -> Tag:
    return Tag(exif.ASCII, text.encode(charset) + b"\0")


TEXT = "Dock, 48°12′30″N"
TAGS_WITH_POSITION = [
    (exif.GPS_POINTER, {1: Tag(exif.ASCII, b"N\0"), 2: Tag(exif.RATIONAL, (48).to_bytes(4, "little") + b"\1\0\0\0")}),
    (270, ascii_tag("The dock, 48.2082, 16.3738")),
    (270, ascii_tag(TEXT)),
    (270, ascii_tag("48°12'N", "latin-1")),
    (40092, Tag(exif.BYTE, TEXT.encode("utf-16-le") + b"\0\0")),  # XPComment
    (exif.EXIF_POINTER, {USER_COMMENT: exif.undefined(b"ASCII\0\0\0" + b"geo:48.2,16.3")}),
    (exif.EXIF_POINTER, {USER_COMMENT: exif.undefined(b"UNICODE\0" + TEXT.encode("utf-16-le"))}),
    (exif.EXIF_POINTER, {USER_COMMENT: exif.undefined(b"UNICODE\0" + TEXT.encode("utf-16-be"))}),
    (exif.EXIF_POINTER, {USER_COMMENT: exif.undefined(bytes(8) + TEXT.encode())}),
]


@pytest.mark.parametrize(("number", "value"), TAGS_WITH_POSITION)
@pytest.mark.parametrize("source", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_positions_in_exif_go_and_other_tags_stay(source: str, number: int, value: Tag | exif.Directory, encoded: Encode) -> None:
    other: dict[int, Tag | exif.Directory] = {315: ascii_tag("Anna"), 33432: ascii_tag("the archive, 1931"), number: value}
    date = {36867: ascii_tag("1931:05:01 00:00:00")}
    if number == exif.EXIF_POINTER:
        assert not isinstance(value, Tag)
        other[number] = {**date, **value}
    without, complete = kept(encoded(Image.fromarray(GRAY), source, exif=exif.exif_block(other)))
    assert complete.exif == other
    expected = {key: tag for key, tag in other.items() if key != number}
    assert without.exif == ({**expected, number: date} if number == exif.EXIF_POINTER else expected)


def packet(attributes: str = "", children: str = "") -> bytes:
    return f"{HEAD}{attributes}>{children}{TAIL}".encode()


STAYS = "<dc:creator><rdf:Seq><rdf:li>Anna</rdf:li></rdf:Seq></dc:creator><photoshop:City>Wien</photoshop:City>"
STAYS += "<dc:subject><rdf:Bag><rdf:li>dock</rdf:li></rdf:Bag></dc:subject>"


@pytest.mark.parametrize(
    ("attributes", "children"),
    [
        ('exif:GPSLatitude="48,secret N"', ""),
        ("", "<exif:GPSLatitude>48,secret N</exif:GPSLatitude>"),
        ('geo:lat="secret" geo:long="secret"', ""),
        ('Iptc4xmpCore:Location="secret"', ""),
        ("", "<Iptc4xmpExt:LocationCreated><rdf:Bag><rdf:li photoshop:City='secret'/></rdf:Bag></Iptc4xmpExt:LocationCreated>"),
        ("", "<Iptc4xmpExt:LocationShown><rdf:Bag><rdf:li>secret</rdf:li></rdf:Bag></Iptc4xmpExt:LocationShown>"),
        ("", "<dc:description><rdf:Alt><rdf:li xml:lang='x-default'>secret 48.2082, 16.3738</rdf:li></rdf:Alt></dc:description>"),
        ('dc:description="secret 48&#xb0;12&#x2032;N"', ""),
        ("", "<dc:description><![CDATA[secret geo:48.2,16.3]]></dc:description>"),
    ],
)
def test_positions_in_xmp_go_and_other_properties_stay(attributes: str, children: str) -> None:
    content = packet(attributes + ' photoshop:Country="Austria" photoshop:State="Lower"', children + STAYS)
    without, complete = kept(png(GRAY, 0, chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + content)))
    assert b"secret" not in without.xmp
    assert complete.xmp == content
    for text in (b"Anna", b"Wien", b"dock", b"Austria", b"Lower"):
        assert text in without.xmp


def dataset(number: int, content: bytes, extended: bool = False) -> bytes:
    """A dataset of record 2 of IPTC."""
    size = b"\x80\x04" + len(content).to_bytes(4) if extended else len(content).to_bytes(2)
    return bytes((0x1C, 2, number)) + size + content


CAPTION, CITY = dataset(120, "Der Bahnhof, 20° im Schatten".encode()), dataset(90, b"Wien")
KEYWORD, CREATOR = dataset(25, b"dock"), dataset(80, b"Anna")


@pytest.mark.parametrize("source", ["jpeg", "png", "tiff"])
@pytest.mark.parametrize("number", [26, 27, 92])
def test_locations_in_iptc_go_and_city_and_caption_stay(source: str, number: int, encoded: Encode) -> None:
    record = CAPTION + dataset(number, b"secret") + CITY + KEYWORD + dataset(105, b"48.2082, 16.3738") + CREATOR
    if source == "jpeg":
        segment = b"Photoshop 3.0\x008BIM\x04\x04\0\0" + len(record).to_bytes(4) + record
        extra = b"\xff\xed" + (len(segment) + 2).to_bytes(2) + segment
        content = encoded(Image.fromarray(GRAY), "JPEG", extra=extra)
    elif source == "png":
        content = png(GRAY, 0, chunk(b"tEXt", f"Raw profile type iptc\0\niptc\n{len(record)}\n{record.hex()}\n".encode()))
    else:
        content = tiff(GRAY, extratags=[(33723, 7, len(record), record, True)])
    without, complete = kept(content)
    assert without.iptc == CAPTION + CITY + KEYWORD + CREATOR
    assert complete.iptc == record


def test_locations_in_iptc_go_after_a_dataset_of_extended_length() -> None:
    long = dataset(120, b"dock " * 10_000, extended=True)
    record = dataset(92, b"secret", extended=True) + long + dataset(92, b"secret") + CITY
    assert Metadata(iptc=record).filtered("keep").iptc == long + CITY


@pytest.mark.parametrize("damage", [b"\0", b"\x1c\2\x78\xff\xff\1", b"\x1b"])
@pytest.mark.parametrize("rest", [dataset(92, b"secret"), dataset(26, b"secret"), b"48.2082, 16.3738"])
def test_location_after_damage_in_iptc_goes(damage: bytes, rest: bytes) -> None:
    without = Metadata(iptc=CAPTION + damage + rest).filtered("keep")
    assert without.iptc.startswith(CAPTION)
    assert b"secret" not in without.iptc
    assert b"48.2082" not in without.iptc


@pytest.mark.parametrize("rest", [b"\0", b"\0\0\0", b"\x1c\2", b"\x1c\2\x78\0\x40cut off"])
def test_padding_and_truncated_end_of_iptc_stay(rest: bytes) -> None:
    assert Metadata(iptc=CAPTION + CITY + rest).filtered("keep").iptc == CAPTION + CITY + rest


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("Latitude", "48"), ("Location", "at home"), ("geo:lat", "48"), ("exif:GPSLatitude", "48/1, 12/1"), ("GPSPosition", "x"),
        ("Comment", "geo:48.2,16.3"), ("Comment", "48°12′30″N"), ("Description", "Dock, 48.2082, 16.3738"),
    ],
)  # fmt: skip
def test_positions_in_texts_of_png_go_and_others_stay(key: str, text: str) -> None:
    chunks = chunk(b"tEXt", b"Author\0Anna") + chunk(b"iTXt", b"Title\0\0\0\0\0Wien, 12. Bezirk")
    chunks += chunk(b"iTXt", key.encode() + b"\0\0\0\0\0" + text.encode())
    without, complete = kept(png(GRAY, 0, chunks))
    assert without.texts == {"Author": "Anna", "Title": "Wien, 12. Bezirk"}
    assert complete.texts == {**without.texts, key: text}


@pytest.mark.parametrize("charset", ["utf-8", "latin-1"])
@pytest.mark.parametrize("source", ["JPEG", "GIF"])
def test_comment_with_position_goes_and_another_stays(source: str, charset: str, encoded: Encode) -> None:
    picture = Image.fromarray(GRAY)
    for text, stays in (("Dock, 48°12'30\"N", False), ("20° im Schatten", True)):
        without, complete = kept(encoded(picture, source, comment=text.encode(charset)))
        assert without.texts == ({COMMENT: text} if stays else {})
        assert complete.texts == {COMMENT: text}


@pytest.mark.parametrize("format", ["jpeg", "png", "webp", "tiff", "avif"])
def test_position_is_not_in_output_of_any_format(format: str, encoded: Encode) -> None:
    block = exif.exif_block({270: ascii_tag("48.2082, 16.3738")})
    content = encoded(Image.fromarray(GRAY), "JPEG", comment=b"48.2082, 16.3738", exif=block)
    planes = YCbCr(GRAY, GRAY, GRAY)
    without, complete = (encoding.encode(planes, None, format, 90, found.fitted(format)) for found in kept(content))
    assert b"48.2082" not in without
    assert b"48.2082" in complete


COORDINATES = ["4.44444 ", "4.4444,", "+4.4444", "4° 1'"]  # that are positions when they are repeated
HOSTILE = [*COORDINATES, "48", " ", "°", "4 ", "4°", "4° ", "N 4 ", "4.44444", "1.", "lat ", "lat:", "gps: ", "geo: ", "N", "-",
           "\t\n", "²", "٣"]  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE)
def test_hostile_text_of_a_megabyte_is_searched(piece: str) -> None:
    for text in (piece * (2**20 // len(piece)), "4" * 40 + piece * (2**20 // len(piece)) + "x"):
        assert xmp.is_position("", text) == (piece in COORDINATES)


def test_iptc_record_of_many_datasets_is_filtered() -> None:
    """Each was copied with all before it: a minute for a megabyte."""
    record = dataset(5, b"") * 200_000
    assert Metadata(iptc=record).filtered("keep").iptc == record


def test_name_of_a_megabyte_is_compared() -> None:
    assert xmp.is_position("location" * 2**17)
    for name in ("a" * 2**20, "al" * 2**19 + "location", "}" * 2**20):
        assert not xmp.is_position(name)
