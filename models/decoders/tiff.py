"""TIFF: pixels by libvips, page by page; structure and metadata from the directories."""

from models.decoders import vips
from models.decoders.base import EncodedFile, Page
from models.errors import BrokenPicture, NotAPicture
from models.exif import SUBDIRECTORIES, Tag, TiffReader
from models.metadata import Metadata, read_directory
from models.options import MAX_PAGES

_SUBFILE, _WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _SAMPLES, _EXTRA_SAMPLES, _SAMPLE_FORMAT = 254, 256, 257, 258, 262, 277, 338, 339
_XMP, _IPTC, _PHOTOSHOP, _DNG_VERSION = 700, 33723, 34377, 50706
_REDUCED, _MASK = 1, 4  # bits of the subfile type
_WHITE_IS_ZERO, _COLOR_FILTER_ARRAY, _LINEAR_RAW = 0, 32803, 34892  # photometric interpretations
_ASSOCIATED, _UNASSOCIATED = 1, 2  # kinds of extra samples that are alpha
_CIELAB = (8, 9)
_FLOAT = 3
_CONVERT = "develop it with a raw converter, and send a TIFF or JPEG"


class TiffFile(EncodedFile):
    """A TIFF file. Thumbnails and masks are not pages.

    Raises:
        NotAPicture: a raw file of a camera, which contains no picture but a preview.
        BrokenPicture: its directories cannot be read, or it has more than `MAX_PAGES`.
    """

    format = "tiff"

    def __init__(self, content: bytes) -> None:
        self._content = content
        try:
            self._reader = TiffReader(content)
        except ValueError as error:
            raise BrokenPicture(f"the TIFF file cannot be read ({error}): export it again.") from error
        directories = list(self._reader.directories())
        _refuse_raw(content, self._reader, directories)
        self._pages = _pages(directories)
        if len(self._pages) > MAX_PAGES:
            raise BrokenPicture(f"the TIFF file has {len(self._pages)} pages, and the limit is {MAX_PAGES}: send it in parts.")
        self.sizes = [(int(_first(tags, _WIDTH)), int(_first(tags, _HEIGHT))) for _, tags in self._pages]
        if not self._pages or not all(width and height for width, height in self.sizes):
            raise BrokenPicture("the TIFF file has no picture, or one without a size: export it again.")

    def decode(self, page: int, luma_only: bool = False) -> Page:
        index, tags = self._pages[page]
        try:
            image = vips.load("tiffload_buffer", self._content, page=index)
        except BrokenPicture as error:
            if _first(tags, _PHOTOMETRIC, 1) not in _CIELAB:
                raise
            raise BrokenPicture("this kind of CIELAB picture cannot be read: export it as gray or RGB.") from error
        extra = tags[_EXTRA_SAMPLES].numbers() if _EXTRA_SAMPLES in tags else ()
        has_alpha = bool(extra) and extra[0] in (_ASSOCIATED, _UNASSOCIATED)
        is_float = _first(tags, _SAMPLE_FORMAT, 1) == _FLOAT
        white_is_zero = is_float and _first(tags, _PHOTOMETRIC, 1) == _WHITE_IS_ZERO  # libvips inverts whole numbers itself
        samples, notes = vips.samples_of(image, has_alpha, white_is_zero)
        found = read_directory(self._reader, tags)
        metadata = Metadata(found.dpi, found.tags, _bytes(tags, _XMP), _iptc(tags), {}, (*notes, *found.notes))
        return Page(samples, found.orientation, metadata)


def _pages(directories: list[dict[int, Tag]]) -> list[tuple[int, dict[int, Tag]]]:
    """The directories that are pages, with their numbers."""
    numbered = [(index, tags) for index, tags in enumerate(directories) if _WIDTH in tags]
    full = [(index, tags) for index, tags in numbered if not int(_first(tags, _SUBFILE)) & (_REDUCED | _MASK)]
    return full or numbered[:1]


def _refuse_raw(content: bytes, reader: TiffReader, directories: list[dict[int, Tag]]) -> None:
    if any(_DNG_VERSION in tags for tags in directories):
        raise NotAPicture(f"this is a DNG file, which holds the raw data of a camera: {_CONVERT}.")
    inner = [inside for tags in directories for inside in reader.directories_at(tags.get(SUBDIRECTORIES))]
    raw = {_COLOR_FILTER_ARRAY, _LINEAR_RAW}
    if content[8:10] == b"CR" or any(int(_first(tags, _PHOTOMETRIC, 1)) in raw for tags in (*directories, *inner)):
        raise NotAPicture(f"this is a raw file of a camera: {_CONVERT}.")


def _iptc(tags: dict[int, Tag]) -> bytes:
    """The IPTC record, of its own tag or of the Photoshop resources. Some programs store it as numbers of four bytes."""
    if record := _bytes(tags, _IPTC):
        return record
    resources, position = _bytes(tags, _PHOTOSHOP), 0
    while resources[position : position + 4] == b"8BIM" and position + 12 <= len(resources):
        number = int.from_bytes(resources[position + 4 : position + 6])
        name = 1 + resources[position + 6]
        start = position + 6 + name + name % 2
        size = int.from_bytes(resources[start : start + 4])
        if number == 0x0404:
            return resources[start + 4 : start + 4 + size]
        position = start + 4 + size + size % 2
    return b""


def _bytes(tags: dict[int, Tag], number: int) -> bytes:
    return tags[number].data if number in tags else b""


def _first(tags: dict[int, Tag], number: int, default: float = 0) -> float:
    return tags[number].numbers()[0] if number in tags and tags[number].type != 2 else default
