"""What a file says beside its pixels, kept for the answer (without a GPS position unless asked for), and the machine's mark."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal
from xml.etree import ElementTree

from PIL import ExifTags, Image
from PIL.Image import Transpose

Keeping = Literal["keep", "strip", "keep-gps"]

# Tags of a TIFF directory that describe the picture; the others describe the file that it came in
_DESCRIPTIVE = {
    ExifTags.Base.ImageDescription, ExifTags.Base.Make, ExifTags.Base.Model, ExifTags.Base.Software, ExifTags.Base.DateTime,
    ExifTags.Base.Artist, ExifTags.Base.HostComputer, ExifTags.Base.Copyright, ExifTags.Base.DocumentName, ExifTags.Base.PageName,
    ExifTags.Base.XPTitle, ExifTags.Base.XPComment, ExifTags.Base.XPAuthor, ExifTags.Base.XPKeywords, ExifTags.Base.XPSubject,
    ExifTags.Base.Rating,
}  # fmt: skip
# Of the Exif directory: what a manufacturer hides, and what is no longer true of the answer
_STALE = {
    ExifTags.Base.MakerNote, ExifTags.Base.ColorSpace, ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight,
    ExifTags.Base.ExifInteroperabilityOffset,
}  # fmt: skip
_IPTC = 0x0404  # the resource of Photoshop's block that holds IPTC's captions and keywords
_DEEPEST = 50  # elements within each other
_FINEST = 65_535  # pixels per inch; what JPEG can say
_PACKED = ("XML:com.adobe.xmp", "Raw profile type")  # texts that hold a packet, which may hold a position
_LONGEST = 60_000  # bytes of a packet of XMP or EXIF; a JPEG segment holds 65,533
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
# ElementTree has one table of prefixes for the process, which threads may not change while they write
for _prefix, _uri in _NAMESPACES.items():
    ElementTree.register_namespace(_prefix, _uri)
_RDF = f"{{{_NAMESPACES['rdf']}}}"
_SOURCE_TYPE = f"{{{_NAMESPACES['Iptc4xmpExt']}}}DigitalSourceType"
_UNTRUE = (_SOURCE_TYPE, "{urn:chromaroute:1.0}", f"{{{_NAMESPACES['tiff']}}}Orientation", f"{{{_NAMESPACES['exif']}}}ColorSpace")
_COMPOSITE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"


@dataclass(frozen=True)
class Metadata:
    """What goes from a picture to its answer.

    Args:
        dpi: pixels per inch, across and down.
        exif: an EXIF block without structure, thumbnail and orientation.
        xmp: an XMP packet.
        iptc: IPTC's record (IIM), which only JPEG carries.
        texts: PNG's texts; a JPEG comment is the text `Comment`.
    """

    dpi: tuple[float, float] | None = None
    exif: bytes = b""
    xmp: bytes = b""
    iptc: bytes = b""
    texts: Mapping[str, str] = field(default_factory=dict)

    def kept(self, keeping: Keeping) -> "Metadata":
        """Without what shall not be kept; the resolution always is."""
        if keeping == "strip":
            return Metadata(self.dpi)
        if keeping == "keep-gps":
            return self
        exif = Image.Exif()
        exif.load(self.exif)
        exif.get_ifd(ExifTags.IFD.Exif)
        exif.pop(ExifTags.IFD.GPSInfo, None)
        texts = {key: text for key, text in self.texts.items() if not _is_position(key)}
        return replace(self, exif=exif.tobytes() if exif else b"", xmp=_without_position(self.xmp), texts=texts)


def read_metadata(image: Image.Image, turn: Transpose | None) -> Metadata:
    """The metadata of a picture that is not loaded yet and will be turned upright; what is damaged is left out."""
    dpi = _resolution(image.info.get("dpi"))
    texts = {}
    if image.format == "PNG":
        named = ((str(key), text) for key, text in image.info.items())
        texts = {key: str(text) for key, text in named if isinstance(text, str) and not key.startswith(_PACKED)}
    if isinstance(comment := image.info.get("comment"), bytes):
        texts["Comment"] = _text(comment)
    resources = image.info.get("photoshop")
    iptc = resources.get(_IPTC, b"") if isinstance(resources, dict) else b""
    xmp = image.info.get("xmp")
    return Metadata(
        dpi[::-1] if dpi and turn in _SIDEWAYS else dpi,
        _exif(image),
        xmp if isinstance(xmp, bytes) else b"",
        iptc if len(iptc) <= _LONGEST else b"",
        texts,
    )


def marked(xmp: bytes, bundle: str, category: str, decision: str) -> bytes:
    """The packet, or a new one, with the mark of the machine and the decision record as JSON.

    In the IPTC's vocabulary the answer is a photograph with trained-algorithm media composited in.
    """
    root = _parsed(xmp)
    if root is None:
        root = ElementTree.Element(f"{{{_NAMESPACES['x']}}}xmpmeta")
    rdf = root if root.tag == f"{_RDF}RDF" else root.find(f"{_RDF}RDF")
    if rdf is None:
        rdf = ElementTree.SubElement(root, f"{_RDF}RDF")
    _drop(rdf, lambda name: name.startswith(_UNTRUE))
    own = "{urn:chromaroute:1.0}"
    properties = {_SOURCE_TYPE: _COMPOSITE, f"{own}Bundle": bundle, f"{own}Category": category, f"{own}Decision": decision}
    ElementTree.SubElement(rdf, f"{_RDF}Description", {f"{_RDF}about": "", **properties})
    packet: bytes = ElementTree.tostring(root, encoding="utf-8")
    return packet if len(packet) <= _LONGEST else marked(b"", bundle, category, decision)


def _exif(image: Image.Image) -> bytes:
    """The descriptive tags of a picture's first directory, its Exif directory and its position."""
    try:
        source = image.getexif()
        kept = Image.Exif()
        for tag in _DESCRIPTIVE & set(source):
            kept[tag] = source[tag]
        for group in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
            if found := {tag: value for tag, value in source.get_ifd(group).items() if tag not in _STALE}:
                kept[group] = found
        content = kept.tobytes() if kept else b""
        return content if len(content) <= _LONGEST else b""
    except Exception:  # damaged EXIF makes the reader raise almost anything, and says nothing about the pixels
        return b""


def _without_position(xmp: bytes) -> bytes:
    root = _parsed(xmp)
    if root is None:
        return b""
    _drop(root, _is_position)
    packet: bytes = ElementTree.tostring(root, encoding="utf-8")
    return packet


def _parsed(xmp: bytes) -> ElementTree.Element | None:
    """The packet's root; None if there is none, it is damaged, is not UTF-8, declares entities, or is as deep as none is."""
    if not xmp or b"<!" in xmp:
        return None
    try:
        root = ElementTree.fromstring(xmp.decode().strip("\ufeff\0 \r\n\t"))
    except (ElementTree.ParseError, LookupError, ValueError):
        return None
    level, depth = [root], 0
    while level and depth <= _DEEPEST:
        level, depth = [child for element in level for child in element], depth + 1
    return root if depth <= _DEEPEST else None


def _drop(root: ElementTree.Element, unwanted: Callable[[str], bool]) -> None:
    """Remove the properties, as attributes or elements, whose qualified names are unwanted."""
    for parent in list(root.iter()):
        for name in [name for name in parent.attrib if unwanted(name)]:
            del parent.attrib[name]
        for child in [child for child in parent if unwanted(child.tag)]:
            parent.remove(child)


def _is_position(name: str) -> bool:
    """Whether a property or a text tells a position: its name begins with GPS, whoever's vocabulary it is of."""
    return re.split("[}:]", name)[-1].lower().startswith("gps")


def _resolution(dpi: object) -> tuple[float, float] | None:
    """Pixels per inch, where they are numbers that a file can hold."""
    try:
        across, down = (float(each) for each in dpi)  # type: ignore[attr-defined]
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (across, down) if all(1 <= each <= _FINEST for each in (across, down)) else None


def _text(comment: bytes) -> str:
    try:
        return comment.decode()
    except UnicodeDecodeError:
        return comment.decode("latin-1")
