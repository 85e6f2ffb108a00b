"""XMP packets: what is kept of those that come, what is refused, and the extension of long ones in JPEG files."""

import hashlib
import io
import random
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

import numpy as np
import pytest
from PIL import Image

from models import encoding, xmp
from models.chroma import YCbCr
from models.imaging import decode
from models.metadata import Metadata

HEAD = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
TAIL = b"</rdf:RDF></x:xmpmeta>"
NAMESPACES = (
    b'xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:exif="http://ns.adobe.com/exif/1.0/" '
    b'xmlns:xmpNote="http://ns.adobe.com/xmp/note/" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" '
    b'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
)
DC, NOTE, CHROMAROUTE = "{http://purl.org/dc/elements/1.1/}", "{http://ns.adobe.com/xmp/note/}", "{urn:chromaroute:1.0}"
EXTENSION = b"http://ns.adobe.com/xmp/extension/\0"


def packet(attributes: bytes = b"", children: bytes = b"") -> bytes:
    description = b'<rdf:Description rdf:about="" ' + NAMESPACES + attributes + b">" + children + b"</rdf:Description>"
    return HEAD + description + TAIL


RIGHTS = b'dc:rights="the archive"'


def attributes(content: bytes) -> dict[str, str]:
    """All attributes of a packet."""
    return {name: value for element in ElementTree.fromstring(content).iter() for name, value in element.attrib.items()}


def elements(content: bytes) -> set[str]:
    return {element.tag for element in ElementTree.fromstring(content).iter()}


@pytest.mark.parametrize(
    "content",
    [
        packet(RIGHTS),
        b"<!-- Photoshop 7 -->" + packet(RIGHTS, b"<!-- here too --><dc:title><![CDATA[a < b]]></dc:title>"),
        b'\xef\xbb\xbf<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>\n' + packet(RIGHTS) + b'\n  <?xpacket end="w"?>\0\0',
        packet(RIGHTS + b' dc:title="&#x6851; &amp; \xe6\xa1\x9c"'),
        packet(RIGHTS, b"<dc:a>" * 40 + b"</dc:a>" * 40),
        b'<?xml version="1.0" encoding="shift_jis"?>' + packet(RIGHTS),
        packet(RIGHTS).removeprefix(b'<x:xmpmeta xmlns:x="adobe:ns:meta/">').removesuffix(b"</x:xmpmeta>"),
        packet(RIGHTS + b' dc:title="' + b"t" * 200_000 + b'"'),
    ],
    ids=["plain", "comments", "wrapped", "references", "nested", "declared", "without xmpmeta", "long"],
)
def test_packet_is_kept_and_gets_record(content: bytes) -> None:
    assert xmp.is_readable(content)
    for kept in (content, xmp.without_positions(content)):
        output = attributes(xmp.with_provenance(kept, "mine@0", 'rock & "roll" <3', '{"a": 1}'))
        assert output[f"{DC}rights"] == "the archive"
        assert (output[f"{CHROMAROUTE}Category"], output[f"{CHROMAROUTE}Decision"]) == ('rock & "roll" <3', '{"a": 1}')
        assert next(value for name, value in output.items() if name.endswith("DigitalSourceType")).endswith("AlgorithmicMedia")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<x",
        b"\xff\xfe\x00",
        packet(RIGHTS).decode().encode("utf-16"),
        b'<!DOCTYPE a [<!ENTITY b "c">]>' + packet(RIGHTS + b' dc:title="&b;"'),
        b"<!DOCTYPE a>" + packet(RIGHTS),
        b"<!doctype a SYSTEM 'file:///etc/passwd'>" + packet(RIGHTS),
        packet(RIGHTS, b"<dc:a>" * 60 + b"</dc:a>" * 60),
        b"<a>" * 1_000_000 + b"</a>" * 1_000_000,
        packet(RIGHTS, b"<dc:a/>" * 500_000),
        packet(RIGHTS, b"<dc:a " + b" ".join(b'dc:a%d=""' % number for number in range(300_000)) + b"/>"),
        packet(RIGHTS) + b" " * xmp.MAX_PACKET,
    ],
    ids=range(12),
)
def test_unreadable_or_hostile_packet_is_replaced_soon(content: bytes) -> None:
    start = perf_counter()
    assert not xmp.is_readable(content)
    assert xmp.without_positions(content) == b""
    output = attributes(xmp.with_provenance(content, "mine@0", "cat", "{}"))
    assert output[f"{CHROMAROUTE}Bundle"] == "mine@0"
    assert f"{DC}rights" not in output
    assert perf_counter() - start < 10  # it was half a minute, on a busy machine too


def test_earlier_statements_and_stale_properties_are_replaced() -> None:
    old = xmp.with_provenance(packet(RIGHTS), "old@0", "cat", "{}")
    stale = b'tiff:Orientation="6" exif:ColorSpace="1" Iptc4xmpExt:DigitalSourceType="negativeFilm"'
    for content in (old, packet(stale, b"<tiff:Orientation>6</tiff:Orientation>")):
        output = xmp.with_provenance(content, "new@0", "dog", "{}")
        assert b"old@0" not in output
        assert b"negativeFilm" not in output
        assert b"Orientation" not in output
        assert output.count(b"new@0") == 1


@pytest.mark.parametrize("prefix", ["exif", "drone", "dc"])
def test_positions_are_removed_in_any_vocabulary_and_place(prefix: str) -> None:
    name = f"{prefix}:gpsLatitude" if prefix == "dc" else f"{prefix}:GPSLatitude"
    inside = f'<dc:list><dc:item {name}="52,30N"/><{name}>52,30N</{name}><dc:title>kept</dc:title></dc:list>'.encode()
    content = packet(f'xmlns:drone="urn:drone" {name}="52,30N" '.encode() + RIGHTS, inside)
    output = xmp.without_positions(content)
    assert b"52,30N" not in output
    assert attributes(output)[f"{DC}rights"] == "the archive"
    assert f"{DC}title" in elements(output)
    assert xmp.is_position(name)
    assert not xmp.is_position("dc:mentionsGPS")


def test_packet_is_same_in_every_thread() -> None:
    with ThreadPoolExecutor(4) as pool:
        packets = set(pool.map(lambda _: xmp.with_provenance(packet(RIGHTS), "mine@0", "cat", "{}"), range(2000)))
    assert len(packets) == 1


def jpeg(metadata: Metadata) -> bytes:
    plane = np.full((16, 16), 128, np.uint8)
    return encoding.encode(YCbCr(plane, plane, plane), None, "jpeg", 90, metadata)


def long_packet(size: int, letter: bytes = b"t") -> bytes:
    return xmp.with_provenance(packet(RIGHTS + b' dc:title="' + letter * size + b'"'), "mine@0", "cat", "{}")


def segments(content: bytes) -> list[bytes]:
    """The contents of the APP1 segments of a JPEG file."""
    found, position = [], 2
    while content[position + 1] != 0xDA:
        size = int.from_bytes(content[position + 2 : position + 4])
        found += [content[position + 4 : position + 2 + size]] if content[position + 1] == 0xE1 else []
        position += 2 + size
    return found


@pytest.mark.parametrize("size", [10, 64_000, 66_000, 200_000, 1_000_000])
def test_packet_of_any_length_survives_jpeg(size: int) -> None:
    content = long_packet(size)
    output = jpeg(Metadata(xmp=content))
    with Image.open(io.BytesIO(output)) as image:
        first = attributes(image.info["xmp"])
    assert first[f"{CHROMAROUTE}Bundle"] == "mine@0"  # what Chromaroute states is in the first segment of any file
    assert (f"{NOTE}HasExtendedXMP" in first) == (size > 65_000)
    again = attributes(decode(output).metadata.xmp)
    assert len(again[f"{DC}title"]) == size
    assert (again[f"{DC}rights"], again[f"{CHROMAROUTE}Category"]) == ("the archive", "cat")
    assert f"{NOTE}HasExtendedXMP" not in again


def test_packet_that_grows_by_escapes_survives_jpeg() -> None:
    output = jpeg(Metadata(xmp=long_packet(6_000_000, b">")))  # four bytes each, beyond the limit for reading
    assert sum(map(len, segments(output))) > xmp.MAX_PACKET


def test_extension_has_the_layout_of_the_specification() -> None:
    content = long_packet(150_000)
    found = segments(jpeg(Metadata(xmp=content)))
    (first,) = (part for part in found if part.startswith(b"http://ns.adobe.com/xap/1.0/\0"))
    digest = hashlib.md5(content).hexdigest().upper()
    assert attributes(first.partition(b"\0")[2])[f"{NOTE}HasExtendedXMP"] == digest
    parts = [part for part in found if part.startswith(EXTENSION + digest.encode() + len(content).to_bytes(4))]
    assert len(found) == 1 + len(parts)
    place, head = 0, len(EXTENSION) + 36
    for part in parts:
        assert int.from_bytes(part[head : head + 4]) == place
        place += len(part) - head - 4
    assert b"".join(part[head + 4 :] for part in parts) == content


def extended(extension: bytes, main: bytes = RIGHTS, as_element: bool = False) -> tuple[bytes, list[bytes]]:
    """A packet and its extension in segments of 1,000 bytes, as another program writes them."""
    digest = hashlib.md5(extension).hexdigest().upper().encode()
    note = b"<xmpNote:HasExtendedXMP>" + digest + b"</xmpNote:HasExtendedXMP>"
    content = packet(main, note) if as_element else packet(main + b' xmpNote:HasExtendedXMP="' + digest + b'"')
    head = EXTENSION + digest + len(extension).to_bytes(4)
    places = range(0, len(extension), 1000)
    return content, [head + place.to_bytes(4) + extension[place : place + 1000] for place in places]


@pytest.mark.parametrize("as_element", [False, True])
def test_incoming_extension_is_merged_in_any_order(as_element: bool) -> None:
    extension = packet(b'dc:title="of the extension"', b"<dc:subject>" + b"dock " * 1000 + b"</dc:subject>")
    content, parts = extended(extension, RIGHTS + b' dc:title="of the packet"', as_element)
    random.Random(0).shuffle(parts)
    merged = xmp.join_jpeg_parts(content, [b"Exif\0\0", *parts, EXTENSION + b"0" * 32 + bytes(8) + b"of another"])
    assert attributes(merged)[f"{DC}rights"] == "the archive"
    assert attributes(merged)[f"{DC}title"] == "of the extension"
    assert ElementTree.fromstring(merged).findtext(f".//{DC}subject") == "dock " * 1000
    assert b"HasExtendedXMP" not in merged


@pytest.mark.parametrize("damage", ["missing", "altered", "not xml", "none"])
def test_packet_alone_is_kept_if_extension_is_damaged(damage: str) -> None:
    content, parts = extended(b"<x" * 2000 if damage == "not xml" else packet(b'dc:title="' + b"t" * 3000 + b'"'))
    damaged = {"missing": parts[1:], "altered": [parts[0][:-1] + b"?", *parts[1:]], "not xml": parts, "none": []}[damage]
    assert xmp.join_jpeg_parts(content, damaged) == content
    assert xmp.join_jpeg_parts(b"<x", parts) == b"<x"


def test_incoming_extension_is_read_from_jpeg() -> None:
    content, parts = extended(packet(b'dc:title="' + b"t" * 3000 + b'"'))
    extra = b"".join(b"\xff\xe1" + (len(part) + 2).to_bytes(2) + part for part in parts)
    buffer = io.BytesIO()
    Image.new("L", (8, 8)).save(buffer, "JPEG", xmp=content, extra=extra)
    read = attributes(decode(buffer.getvalue()).metadata.xmp)
    assert (read[f"{DC}rights"], len(read[f"{DC}title"])) == ("the archive", 3000)
