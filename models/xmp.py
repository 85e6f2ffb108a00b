"""XMP packets: the statement of where the color comes from, and the removal of positions.

ISO 16684-1. The packet of a JPEG file may continue in an extension (XMP specification, part 3, section 1.1.3.1).
"""

import hashlib
import re
from collections.abc import Callable, Iterable
from xml.etree import ElementTree

MAX_PACKET = 16 * 2**20  # bytes that are parsed
_MAX_MARKUP = 50_000  # tags and attributes of a packet, which take about a quarter of a second
_PIECE = 2**20  # characters that are parsed at a time
_MAX_DEPTH = 50  # of nested elements
_JPEG_SEGMENT = 65_000  # bytes of a packet in one segment of a JPEG file, with some room for its signature
_EXTENSION = b"http://ns.adobe.com/xmp/extension/\0"
_DECLARATIONS = re.compile(rb"<!(?!--|\[CDATA\[)")  # of entities, among others

_POSITION_NAME = re.compile(
    r"gps.*|geo(?!metr).*|lat|lon|long|lng|.*(latitude|longitude|altitude).*|.*(?<!al)location.*|coordinates?"
)
_SEARCHED = 65_536  # characters of a text, so that none takes long
_DEGREES = r"[+-]?(0?\d{1,2}|1\d\d)[.,]\d{4,20}"  # to ten meters
_COORDINATES = re.compile(  # repetitions are limited, so that no text takes long
    r"\bgeo:\s{0,3}-?\d"  # RFC 5870
    r"|\d\s{0,3}°\s{0,3}\d{1,2}([.,]\d{1,9})?\s{0,3}['′’]"  # degrees and minutes
    r"|\d\s{0,3}°\s{0,3}(?-i:[NSEWO])\b|(?-i:\b[NSEWO])\s{0,3}\d{1,3}([.,]\d{1,20})?\s{0,3}°"  # "20° o 30°" is a temperature
    rf"|(?<![\d.]){_DEGREES}\s{{0,3}}°?\s{{0,3}}[NSEWO]?\s{{0,3}}([,;/|]\s{{0,3}}|\s|(?=[+-]))[NSEWO]?\s{{0,3}}{_DEGREES}(?!\d|\.\d)"
    r"|\b(gps|(gps)?(latitude|longitude))\b\W{1,5}([NSEWO]\W{1,3})?\d"
    r"""|\b(lat|lon|lng)\b(["']?\s{0,3}[:=>]\W{0,3}\d|\W{1,3}\d{1,3}[.,]\d{2})""",  # "z lat 20." are the twenties in Polish
    re.IGNORECASE,
)

_NAMESPACES = {
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "x": "adobe:ns:meta/",
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "xmpNote": "http://ns.adobe.com/xmp/note/",
    "xmpRights": "http://ns.adobe.com/xap/1.0/rights/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "tiff": "http://ns.adobe.com/tiff/1.0/",
    "exif": "http://ns.adobe.com/exif/1.0/",
    "Iptc4xmpCore": "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "chromaroute": "urn:chromaroute:1.0",
}
# ElementTree has one table of prefixes per process, which must not change while threads serialize
for _prefix, _uri in _NAMESPACES.items():
    ElementTree.register_namespace(_prefix, _uri)
_RDF = f"{{{_NAMESPACES['rdf']}}}"
_HAS_EXTENSION = f"{{{_NAMESPACES['xmpNote']}}}HasExtendedXMP"
_SOURCE_TYPE = f"{{{_NAMESPACES['Iptc4xmpExt']}}}DigitalSourceType"
_CHROMAROUTE = f"{{{_NAMESPACES['chromaroute']}}}"
_OBSOLETE = (
    _SOURCE_TYPE, _CHROMAROUTE, _HAS_EXTENSION, f"{{{_NAMESPACES['tiff']}}}Orientation", f"{{{_NAMESPACES['exif']}}}ColorSpace",
)  # fmt: skip
_COMPOSITE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"


def is_readable(xmp: bytes) -> bool:
    """Whether a packet can be parsed, and therefore kept."""
    return _parsed(xmp) is not None


def with_provenance(xmp: bytes, bundle: str, category: str, decision: str) -> bytes:
    """The packet, or a new one, that states that the color was generated, and contains the decision record as JSON.

    In the IPTC vocabulary of digital source types the output is a composite with trained algorithmic media.
    """
    root = _parsed(xmp)
    if root is None:
        root = ElementTree.Element(f"{{{_NAMESPACES['x']}}}xmpmeta")
    rdf = _rdf(root)
    _drop(rdf, lambda name, _: name.startswith(_OBSOLETE))
    values = {"Bundle": bundle, "Category": category, "Decision": decision}
    _describe(rdf, {_SOURCE_TYPE: _COMPOSITE, **{f"{_CHROMAROUTE}{name}": value for name, value in values.items()}})
    return _serialized(root)


def without_positions(xmp: bytes) -> bytes:
    """The packet without properties that are positions; empty if it cannot be parsed."""
    root = _parsed(xmp)
    if root is None:
        return b""
    _drop(root, is_position)
    return _serialized(root)


def is_position(name: str, value: str = "") -> bool:
    """Whether a property or a text is a position, by its local name, or contains coordinates.

    Names of cities and countries are none: they belong to the caption.
    """
    is_name = _POSITION_NAME.fullmatch(re.split("[}:]", name)[-1].lower())
    return bool(is_name or _COORDINATES.search(value, 0, _SEARCHED))


def jpeg_parts(xmp: bytes) -> tuple[bytes, list[bytes]]:
    """A packet for one segment of a JPEG file, and the contents of the segments of its extension, if it is longer.

    The packet in the first segment keeps what Chromaroute states; the extension has all of it.
    """
    if len(xmp) <= _JPEG_SEGMENT:
        return xmp, []
    root = ElementTree.fromstring(xmp)  # without limits: it was parsed and written again, which may have made it longer
    digest = hashlib.md5(xmp, usedforsecurity=False).hexdigest().upper()
    first = ElementTree.Element(f"{{{_NAMESPACES['x']}}}xmpmeta")
    own = {_HAS_EXTENSION: digest}
    for element in root.iter():
        own |= {name: value for name, value in element.attrib.items() if name.startswith((_SOURCE_TYPE, _CHROMAROUTE))}
    _describe(_rdf(first), own)
    head = _EXTENSION + digest.encode() + len(xmp).to_bytes(4)
    starts = range(0, len(xmp), _JPEG_SEGMENT)
    return _serialized(first), [head + start.to_bytes(4) + xmp[start : start + _JPEG_SEGMENT] for start in starts]


def join_jpeg_parts(packet: bytes, segments: Iterable[bytes]) -> bytes:
    """The packet of a JPEG file, or its extension, which contains the packet, if all parts of it are in the APP1 segments."""
    root = _parsed(packet)
    digests = (
        {element.attrib.get(_HAS_EXTENSION) or element.findtext(_HAS_EXTENSION) for element in root.iter()}
        if root is not None
        else set()
    )
    digest = next(filter(None, digests), "").encode()
    if not digest:
        return packet
    head = len(_EXTENSION)
    parts = {
        int.from_bytes(segment[head + 36 : head + 40]): segment[head + 40 :]
        for segment in segments
        if segment.startswith(_EXTENSION) and segment[head : head + 32] == digest
    }
    joined = b"".join(parts[start] for start in sorted(parts))
    complete = hashlib.md5(joined, usedforsecurity=False).hexdigest().upper().encode() == digest
    return _merged(packet, joined) if complete else packet


def _merged(packet: bytes, extension: bytes) -> bytes:
    """One packet with the descriptions of both; those of the extension come first."""
    root, more = _parsed(packet), _parsed(extension)
    if root is None or more is None:
        return packet
    rdf = _rdf(more)
    known = {name for element in rdf for name in (*element.attrib, *(child.tag for child in element))}
    _drop(_rdf(root), lambda name, _: name in known - {f"{_RDF}about"} or name == _HAS_EXTENSION)
    rdf.extend(list(_rdf(root)))
    return _serialized(more)


def _rdf(root: ElementTree.Element) -> ElementTree.Element:
    rdf = root if root.tag == f"{_RDF}RDF" else root.find(f"{_RDF}RDF")
    return ElementTree.SubElement(root, f"{_RDF}RDF") if rdf is None else rdf


def _describe(rdf: ElementTree.Element, properties: dict[str, str]) -> None:
    ElementTree.SubElement(rdf, f"{_RDF}Description", {f"{_RDF}about": "", **properties})


def _serialized(root: ElementTree.Element) -> bytes:
    packet: bytes = ElementTree.tostring(root, encoding="utf-8")
    return packet


def _parsed(xmp: bytes) -> ElementTree.Element | None:
    """The root of the packet; None if it is empty, too long, damaged, declares anything, or is nested too deeply."""
    if not xmp or len(xmp) > MAX_PACKET or xmp.count(b"<") + xmp.count(b"=") > _MAX_MARKUP or _DECLARATIONS.search(xmp):
        return None
    parser = ElementTree.XMLParser()
    try:
        text = xmp.decode().strip("\ufeff\0 \r\n\t")
        for start in range(0, len(text), _PIECE):  # the parser holds the interpreter, which serves other requests in between
            parser.feed(text[start : start + _PIECE])
        root = parser.close()
    except (ElementTree.ParseError, LookupError, ValueError):
        return None
    level, depth = [root], 0
    while level and depth <= _MAX_DEPTH:
        level, depth = [child for element in level for child in element], depth + 1
    return root if depth <= _MAX_DEPTH else None


def _drop(root: ElementTree.Element, unwanted: Callable[[str, str], bool]) -> None:
    """Remove the properties, attributes or elements, whose qualified names and values are unwanted."""
    for parent in list(root.iter()):
        for name in [name for name, value in parent.attrib.items() if unwanted(name, value)]:
            del parent.attrib[name]
        for child in [child for child in parent if unwanted(child.tag, child.text or "")]:
            parent.remove(child)
