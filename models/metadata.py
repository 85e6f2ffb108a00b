"""Metadata from the input to the output: EXIF, XMP, IPTC, texts and resolution; and the XMP statement of where the color comes
from.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from xml.etree import ElementTree

from PIL import ExifTags, Image
from PIL.Image import Transpose

from models.options import MetadataPolicy

# Tags of a TIFF directory that describe the picture; the others describe the file
_DESCRIPTIVE = {
    ExifTags.Base.ImageDescription, ExifTags.Base.Make, ExifTags.Base.Model, ExifTags.Base.Software, ExifTags.Base.DateTime,
    ExifTags.Base.Artist, ExifTags.Base.HostComputer, ExifTags.Base.Copyright, ExifTags.Base.DocumentName, ExifTags.Base.PageName,
    ExifTags.Base.XPTitle, ExifTags.Base.XPComment, ExifTags.Base.XPAuthor, ExifTags.Base.XPKeywords, ExifTags.Base.XPSubject,
    ExifTags.Base.Rating,
}  # fmt: skip
# Tags of the Exif directory that are opaque, or not true of the output
_STALE = {
    ExifTags.Base.MakerNote, ExifTags.Base.ColorSpace, ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight,
    ExifTags.Base.ExifInteroperabilityOffset,
}  # fmt: skip
_IPTC = 0x0404  # the Photoshop resource with the IPTC record
_MAX_DEPTH = 50  # of nested XMP elements
_MAX_DPI = 65_535  # of JPEG
_PACKETS = ("XML:com.adobe.xmp", "Raw profile type")  # PNG texts that contain a packet, possibly with a position
_MAX_PACKET = 60_000  # bytes of XMP or EXIF; a JPEG segment holds 65,533
_SIDEWAYS = {Transpose.TRANSPOSE, Transpose.ROTATE_270, Transpose.TRANSVERSE, Transpose.ROTATE_90}

_NAMESPACES = {
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "x": "adobe:ns:meta/",
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
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
_SOURCE_TYPE = f"{{{_NAMESPACES['Iptc4xmpExt']}}}DigitalSourceType"
_CHROMAROUTE = f"{{{_NAMESPACES['chromaroute']}}}"
_OBSOLETE = (_SOURCE_TYPE, _CHROMAROUTE, f"{{{_NAMESPACES['tiff']}}}Orientation", f"{{{_NAMESPACES['exif']}}}ColorSpace")
_COMPOSITE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"


@dataclass(frozen=True)
class Metadata:
    """The metadata that is copied from the input to the output.

    Args:
        dpi: horizontal and vertical resolution in pixels per inch.
        exif: an EXIF block without structural tags, thumbnail and orientation.
        xmp: an XMP packet.
        iptc: an IPTC record (IIM), which is only written to JPEG.
        texts: PNG texts; a JPEG comment is the text `Comment`.
    """

    dpi: tuple[float, float] | None = None
    exif: bytes = b""
    xmp: bytes = b""
    iptc: bytes = b""
    texts: Mapping[str, str] = field(default_factory=dict)

    def filtered(self, policy: MetadataPolicy) -> "Metadata":
        """The part that the policy keeps; the resolution is always kept."""
        if policy == "strip":
            return Metadata(self.dpi)
        if policy == "keep-gps":
            return self
        exif = Image.Exif()
        exif.load(self.exif)
        exif.get_ifd(ExifTags.IFD.Exif)
        exif.pop(ExifTags.IFD.GPSInfo, None)
        texts = {key: text for key, text in self.texts.items() if not _is_position(key)}
        return replace(self, exif=exif.tobytes() if exif else b"", xmp=_without_position(self.xmp), texts=texts)


def read_metadata(image: Image.Image, transpose: Transpose | None) -> Metadata:
    """The metadata of an image that is not loaded yet and will be transposed; damaged parts are left out."""
    dpi = _resolution(image.info.get("dpi"))
    texts = {}
    if image.format == "PNG":
        entries = ((str(key), text) for key, text in image.info.items())
        texts = {key: str(text) for key, text in entries if isinstance(text, str) and not key.startswith(_PACKETS)}
    if isinstance(comment := image.info.get("comment"), bytes):
        texts["Comment"] = _text(comment)
    resources = image.info.get("photoshop")
    iptc = resources.get(_IPTC, b"") if isinstance(resources, dict) else b""
    xmp = image.info.get("xmp")
    return Metadata(
        dpi[::-1] if dpi and transpose in _SIDEWAYS else dpi,
        _exif(image),
        xmp if isinstance(xmp, bytes) else b"",
        iptc if len(iptc) <= _MAX_PACKET else b"",
        texts,
    )


def with_provenance(xmp: bytes, bundle: str, category: str, decision: str) -> bytes:
    """The XMP packet, or a new one, that states that the color was generated, and contains the decision record as JSON.

    In the IPTC vocabulary of digital source types the output is a composite with trained algorithmic media.
    """
    root = _parsed(xmp)
    if root is None:
        root = ElementTree.Element(f"{{{_NAMESPACES['x']}}}xmpmeta")
    rdf = root if root.tag == f"{_RDF}RDF" else root.find(f"{_RDF}RDF")
    if rdf is None:
        rdf = ElementTree.SubElement(root, f"{_RDF}RDF")
    _drop(rdf, lambda name: name.startswith(_OBSOLETE))
    values = {"Bundle": bundle, "Category": category, "Decision": decision}
    properties = {_SOURCE_TYPE: _COMPOSITE, **{f"{_CHROMAROUTE}{name}": value for name, value in values.items()}}
    ElementTree.SubElement(rdf, f"{_RDF}Description", {f"{_RDF}about": "", **properties})
    packet: bytes = ElementTree.tostring(root, encoding="utf-8")
    return packet if len(packet) <= _MAX_PACKET else with_provenance(b"", bundle, category, decision)


def _exif(image: Image.Image) -> bytes:
    """The descriptive tags of the first directory, the Exif directory and the GPS directory."""
    try:
        source = image.getexif()
        copied = Image.Exif()
        for tag in _DESCRIPTIVE & set(source):
            copied[tag] = source[tag]
        for group in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
            if tags := {tag: value for tag, value in source.get_ifd(group).items() if tag not in _STALE}:
                copied[group] = tags
        content = copied.tobytes() if copied else b""
        return content if len(content) <= _MAX_PACKET else b""
    except Exception:  # damaged EXIF makes the reader raise almost anything, and does not affect the pixels
        return b""


def _without_position(xmp: bytes) -> bytes:
    root = _parsed(xmp)
    if root is None:
        return b""
    _drop(root, _is_position)
    packet: bytes = ElementTree.tostring(root, encoding="utf-8")
    return packet


def _parsed(xmp: bytes) -> ElementTree.Element | None:
    """The root of the packet; None if it is empty, damaged, not UTF-8, declares entities, or is nested too deeply."""
    if not xmp or b"<!" in xmp:
        return None
    try:
        root = ElementTree.fromstring(xmp.decode().strip("\ufeff\0 \r\n\t"))
    except (ElementTree.ParseError, LookupError, ValueError):
        return None
    level, depth = [root], 0
    while level and depth <= _MAX_DEPTH:
        level, depth = [child for element in level for child in element], depth + 1
    return root if depth <= _MAX_DEPTH else None


def _drop(root: ElementTree.Element, unwanted: Callable[[str], bool]) -> None:
    """Remove the properties, attributes or elements, whose qualified names are unwanted."""
    for parent in list(root.iter()):
        for name in [name for name in parent.attrib if unwanted(name)]:
            del parent.attrib[name]
        for child in [child for child in parent if unwanted(child.tag)]:
            parent.remove(child)


def _is_position(name: str) -> bool:
    """Whether a property or a text contains a position: its local name begins with GPS."""
    return re.split("[}:]", name)[-1].lower().startswith("gps")


def _resolution(dpi: object) -> tuple[float, float] | None:
    """Pixels per inch, if they are numbers that every format can hold."""
    try:
        horizontal, vertical = (float(value) for value in dpi)  # type: ignore[attr-defined]
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (horizontal, vertical) if all(1 <= value <= _MAX_DPI for value in (horizontal, vertical)) else None


def _text(comment: bytes) -> str:
    try:
        return comment.decode()
    except UnicodeDecodeError:
        return comment.decode("latin-1")
