"""Everything that can go wrong with a picture, an option or a bundle.

    ChromarouteError
    ├── PictureError
    │   ├── NotAPicture       the bytes are in none of the formats that we read
    │   ├── BrokenPicture     they start like a picture and then end or lie
    │   └── PictureTooLarge   more bytes or pixels than the limit
    ├── OptionError           an option outside its valid values
    └── BundleError           a bundle that cannot be served
        └── CheckpointError   one of its weight files is missing, altered or of another shape

A message says what is wrong, the value, the valid values, and what to do next: it is shown to people as it stands.
"""

from collections.abc import Iterable


class ChromarouteError(Exception):
    """Root of the tree: catching it catches every error that Chromaroute raises on purpose."""


class PictureError(ChromarouteError):
    """The picture cannot be used."""


class NotAPicture(PictureError):
    """The bytes are in none of the formats that we read."""


class BrokenPicture(PictureError):
    """The bytes start like a picture, and cannot be decoded to the end."""


class PictureTooLarge(PictureError):
    """More bytes or more pixels than the limit; raised before anything is decoded."""


class OptionError(ChromarouteError):
    """An option was given a value outside its valid values."""

    def __init__(self, option: str, value: object, valid: str | Iterable[str]) -> None:
        self.option = option
        self.value = value
        self.valid = valid if isinstance(valid, str) else "one of " + ", ".join(valid)
        super().__init__(f"{option} is {value!r}, which is not valid: give {self.valid}.")


class BundleError(ChromarouteError):
    """The bundle is missing, or its manifest cannot be understood."""


class CheckpointError(BundleError):
    """A weight file is missing, its sha256 differs from its card, or its tensors do not fit the network."""
