"""What every decoder returns: a file whose header was read, and its pages, which are decoded one at a time."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from models.errors import PictureTooLarge
from models.metadata import Metadata
from models.samples import Samples


@dataclass(frozen=True)
class Page:
    """A decoded page: its pixels as the file has them, its EXIF orientation (1 to 8), and its metadata."""

    samples: Samples
    orientation: int = 1
    metadata: Metadata = field(default_factory=Metadata)


class EncodedFile(ABC):
    """A file whose header was read.

    Attributes:
        format: of the file, a lower-case name of `READS`.
        sizes: width and height of each page, before it is turned upright.
    """

    format: str
    sizes: list[tuple[int, int]]

    @abstractmethod
    def decode(self, page: int, luma_only: bool = False) -> Page:
        """Decode a page, from 0.

        Args:
            page: its index.
            luma_only: the luma plane of a JPEG file is enough, which saves the conversion to RGB.

        Raises:
            BrokenPicture: it cannot be decoded completely.
        """

    def check_size(self, page: int, max_pixels: int) -> None:
        """Raise a PictureTooLarge if a page has more than `max_pixels`."""
        width, height = self.sizes[page]
        if width * height > max_pixels:
            raise PictureTooLarge(
                f"the picture has {width} x {height} = {width * height} pixels, and the limit is {max_pixels}: send a smaller one."
            )
