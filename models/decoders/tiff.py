"""TIFF: pixels by libvips, or by Pillow for what libvips lacks, page by page; structure and metadata from the directories."""

import io
from typing import Any

from PIL import Image

from models.decoders import vips
from models.decoders.base import EncodedFile, Page
from models.decoders.pillow import levels_of
from models.errors import BrokenPicture, NotAPicture, PictureTooComplex
from models.exif import MAX_ENTRIES, NO_UNIT, ORIENTATION, RESOLUTION_UNIT, SUBDIRECTORIES, Tag, TiffReader
from models.metadata import Metadata, read_directory
from models.options import MAX_PAGES
from models.samples import Samples

_SUBFILE, _WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _EXTRA_SAMPLES, _SAMPLE_FORMAT = 254, 256, 257, 258, 262, 338, 339
_COMPRESSION, _PLANES, _TILE_WIDTH, _SUBSAMPLING = 259, 284, 322, 530
_XMP, _IPTC, _PHOTOSHOP, _DNG_VERSION = 700, 33723, 34377, 50706
_REDUCED, _MASK = 1, 4  # bits of the subfile type
_WHITE_IS_ZERO, _COLOR_FILTER_ARRAY, _LINEAR_RAW = 0, 32803, 34892  # photometric interpretations
_ASSOCIATED, _UNASSOCIATED = 1, 2  # kinds of extra samples that are alpha
_YCBCR, _CIELAB, _ICC_LAB = 6, 8, 9
_OLD_JPEG, _JPEG, _LZMA, _ZSTD = 6, 7, 34925, 50000  # kinds of compression
_NOT_IN_LIBVIPS = (_OLD_JPEG, _LZMA, _ZSTD)
_SIGNED, _FLOAT = 2, 3  # sample formats
_SEPARATE = 2  # planes
_CHECKED = ((ORIENTATION, range(1, 9), 1), (RESOLUTION_UNIT, range(1, 4), NO_UNIT))
_LOGLUV = (32844, 32845)  # photometric interpretations
_DEPTHS = (1, 2, 4, 8, 16, 32)  # bits of a channel that can be read
_MAX_CHANNELS = 64
_CONVERT = "develop it with a raw converter, and send a TIFF or JPEG"

_PageDirectory = tuple[int, int | None, dict[int, Tag]]  # its number, the number of a subdirectory in it or None, and its tags


class TiffFile(EncodedFile):
    """A TIFF file. Thumbnails and masks are not pages.

    Raises:
        NotAPicture: a raw file of a camera, which contains no picture but a preview.
        BrokenPicture: its directories cannot be read, or it has more than `MAX_PAGES`.
        PictureTooComplex: a directory has more than `MAX_ENTRIES`.
    """

    format = "tiff"

    def __init__(self, content: bytes) -> None:
        self._content = content
        try:
            self._reader = TiffReader(content)
        except ValueError as error:
            raise BrokenPicture(f"the TIFF file cannot be read ({error}): export it again.") from error
        self._directories = directories = list(self._reader.directories())
        if self._reader.ended_early:
            raise BrokenPicture("the TIFF file is truncated or damaged: it refers to a page that is not in it. Export it again.")
        if self._reader.most_entries > MAX_ENTRIES:
            most = self._reader.most_entries
            raise PictureTooComplex(
                f"the TIFF file has a directory of {most} entries, and the limit is {MAX_ENTRIES}: export it again."
            )
        _refuse_raw(content, self._reader, directories)
        for number, valid, default in _CHECKED:  # libtiff takes an invalid value for damage
            if any(number in tags and int(_first(tags, number, default)) not in valid for tags in directories):
                self._content = self._reader.content = self._reader.with_short(number, valid, default)
        # libvips opens all directories for each of them
        self._has_unknown_compression = any(_first(tags, _COMPRESSION, 1) in _NOT_IN_LIBVIPS for tags in directories)
        self._pages = _pages(directories, self._reader)
        if len(self._pages) > MAX_PAGES:
            raise BrokenPicture(f"the TIFF file has {len(self._pages)} pages, and the limit is {MAX_PAGES}: send it in parts.")
        self.sizes = [(int(_first(tags, _WIDTH)), int(_first(tags, _HEIGHT))) for *_, tags in self._pages]
        if not self._pages or not all(width and height for width, height in self.sizes):
            raise BrokenPicture("the TIFF file has no picture, or one without a size: export it again.")

    def decode(self, page: int, luma_only: bool = False) -> Page:
        index, _, tags = self._pages[page]
        described = self._directories[index] | tags  # a subdirectory with the full-size picture leaves its description outside
        found = read_directory(self._reader, described)
        notes: tuple[str, ...] = ()
        if self._is_for_pillow(tags):
            samples = self._decode_by_pillow(page)
            # Pillow has turned it
            found = found._replace(orientation=1, dpi=found.dpi[::-1] if found.dpi and found.orientation >= 5 else found.dpi)
        else:
            samples, notes = self._decode_by_libvips(page)
        metadata = Metadata(found.dpi, found.tags, _bytes(described, _XMP), _iptc(described), {}, (*notes, *found.notes))
        return Page(samples, found.orientation, metadata)

    def _is_for_pillow(self, tags: dict[int, Tag]) -> bool:
        """Whether libvips cannot decode a page, and Pillow can, which reads no more than 8 bits of a channel of color."""
        if _first(tags, _BITS, 1) > 8 or _first(tags, _SAMPLE_FORMAT, 1) in (_SIGNED, _FLOAT):
            return False
        has_separate_tiles = _TILE_WIDTH in tags and _first(tags, _PLANES, 1) == _SEPARATE
        is_cielab = _first(tags, _PHOTOMETRIC, 1) == _CIELAB and len(tags[_BITS].numbers() if _BITS in tags else ()) == 3
        return self._has_unknown_compression or has_separate_tiles or is_cielab

    def _decode_by_pillow(self, page: int) -> Samples:
        index, inner, _ = self._pages[page]
        if inner is not None:
            raise BrokenPicture("the full-size picture of this TIFF file is of a kind that cannot be read: export it again.")
        with Image.open(io.BytesIO(self._content), formats=("TIFF",)) as image:
            image.seek(index)
            if sorted(image.size) != sorted(self.sizes[page]):
                raise BrokenPicture("the TIFF file is damaged: it states several sizes of a page. Export it again.")
            image.load()
            levels, alpha = levels_of(image)
            return Samples(levels, alpha, image.info.get("icc_profile") or b"")

    def _decode_by_libvips(self, page: int) -> tuple[Samples, tuple[str, ...]]:
        index, inner, tags = self._pages[page]
        extra = tags[_EXTRA_SAMPLES].numbers() if _EXTRA_SAMPLES in tags else ()
        has_alpha = bool(extra) and extra[0] in (_ASSOCIATED, _UNASSOCIATED)
        is_unsigned = _first(tags, _SAMPLE_FORMAT, 1) not in (_SIGNED, _FLOAT)  # which libvips inverts itself
        white_is_zero = not is_unsigned and _first(tags, _PHOTOMETRIC, 1) == _WHITE_IS_ZERO
        try:
            strictness = "warning" if _TILE_WIDTH in tags else "error"  # missing tiles are no error of libvips
            place = {"page": index} if inner is None else {"page": index, "subifd": inner}
            image = vips.open_image("tiffload_buffer", self._content, fail_on=strictness, **place)
            self._check(image, page, tags)
            if _is_unconverted_ycbcr(tags):
                image = image[0]
            return vips.read_samples(image, has_alpha, white_is_zero)
        except BrokenPicture as error:
            raise BrokenPicture(_unsupported(tags) or str(error)) from error

    def _check(self, image: Any, page: int, tags: dict[int, Tag]) -> None:
        """Raise a BrokenPicture for what libvips would read as other pixels, or more of them, than the directory says."""
        if (image.width, image.height) != self.sizes[page]:
            raise BrokenPicture("the TIFF file is damaged: it states several sizes of a page. Export it again.")
        if _first(tags, _PHOTOMETRIC, 1) in _LOGLUV:  # libvips gives linear or raw levels
            raise BrokenPicture("a picture in LogLuv, of high dynamic range, cannot be read: export it with 8 or 16 bits.")
        if image.bands > _MAX_CHANNELS:
            raise BrokenPicture(
                f"the TIFF file has {image.bands} channels, and the limit is {_MAX_CHANNELS}: export it as gray or RGB."
            )
        if image.bands > 1 and vips.is_gray(image) and _first(tags, _PLANES, 1) == _SEPARATE:
            raise BrokenPicture("gray and other channels in separate planes cannot be read: export the TIFF file with one plane.")
        is_half = _first(tags, _BITS, 1) == 16 and _first(tags, _SAMPLE_FORMAT, 1) == _FLOAT
        if (is_half or _first(tags, _PHOTOMETRIC, 1) == _YCBCR) and _first(tags, _PLANES, 1) == _SEPARATE and image.bands > 1:
            kind = "floating point of 16 bits" if is_half else "YCbCr"
            raise BrokenPicture(f"{kind} in separate planes cannot be read: export the TIFF file with one plane.")


def _pages(directories: list[dict[int, Tag]], reader: TiffReader) -> list[_PageDirectory]:
    """The directories that are pages; if there are only thumbnails, the full-size pictures in their subdirectories."""
    numbered: list[_PageDirectory] = [(index, None, tags) for index, tags in enumerate(directories) if _WIDTH in tags]
    full = [page for page in numbered if _is_full_size(page[2])]
    inside: list[_PageDirectory] = [
        (index, number, inner)
        for index, _, tags in ([] if full else numbered)
        for number, inner in enumerate(reader.directories_at(tags.get(SUBDIRECTORIES)))
        if _WIDTH in inner and _is_full_size(inner)
    ]
    return full or inside or numbered[:1]


def _is_full_size(tags: dict[int, Tag]) -> bool:
    return not int(_first(tags, _SUBFILE)) & (_REDUCED | _MASK)


def _unsupported(tags: dict[int, Tag]) -> str | None:
    """What to say about a page that cannot be read because no library decodes it."""
    bits = int(_first(tags, _BITS, 1))
    if _first(tags, _PHOTOMETRIC, 1) in (_CIELAB, _ICC_LAB):
        return "this kind of CIELAB picture cannot be read: export it as gray or RGB."
    if bits not in _DEPTHS or (bits < 8 and len(tags[_BITS].numbers()) > 1):
        return f"a TIFF file of {bits} bits a channel cannot be read: export it with 8 or 16."
    if _first(tags, _COMPRESSION, 1) in _NOT_IN_LIBVIPS:
        return f"a TIFF file of {bits} bits with this compression cannot be read: export it with LZW or Deflate."
    if _TILE_WIDTH in tags and _first(tags, _PLANES, 1) == _SEPARATE:
        return f"tiles of {bits} bits in separate planes cannot be read: export the TIFF file with one plane."
    return None


def _is_unconverted_ycbcr(tags: dict[int, Tag]) -> bool:
    """Whether libvips returns the planes of YCbCr, the first of which is the luma: if they are neither subsampled nor JPEG."""
    is_ycbcr = _first(tags, _PHOTOMETRIC, 1) == _YCBCR and _first(tags, _COMPRESSION, 1) not in (_OLD_JPEG, _JPEG)
    return is_ycbcr and _SUBSAMPLING in tags and tags[_SUBSAMPLING].numbers() == (1, 1)


def _refuse_raw(content: bytes, reader: TiffReader, directories: list[dict[int, Tag]]) -> None:
    if any(_DNG_VERSION in tags for tags in directories):
        raise NotAPicture(f"this is a DNG file, which holds the raw data of a camera: {_CONVERT}.")
    inner = [inside for tags in directories for inside in reader.directories_at(tags.get(SUBDIRECTORIES))]
    raw = {_COLOR_FILTER_ARRAY, _LINEAR_RAW}
    if content[8:10] == b"CR" or any(int(_first(tags, _PHOTOMETRIC, 1)) in raw for tags in (*directories, *inner)):
        raise NotAPicture(f"this is a raw file of a camera: {_CONVERT}.")


def _iptc(tags: dict[int, Tag]) -> bytes:
    """The IPTC record, of its own tag, where some programs cut it off, or of the Photoshop resources."""
    record, resources, position = _bytes(tags, _IPTC), _bytes(tags, _PHOTOSHOP), 0
    while resources[position : position + 4] == b"8BIM" and position + 12 <= len(resources):
        number = int.from_bytes(resources[position + 4 : position + 6])
        name = 1 + resources[position + 6]
        start = position + 6 + name + name % 2
        size = int.from_bytes(resources[start : start + 4])
        if number == 0x0404:
            return max(record, resources[start + 4 : start + 4 + size], key=len)
        position = start + 4 + size + size % 2
    return record


def _bytes(tags: dict[int, Tag], number: int) -> bytes:
    return tags[number].data if number in tags else b""


def _first(tags: dict[int, Tag], number: int, default: float = 0) -> float:
    return tags[number].numbers()[0] if number in tags and tags[number].type != 2 else default
