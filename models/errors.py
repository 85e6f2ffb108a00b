"""The exceptions of the library.

    ChromarouteError
    ├── PictureError
    │   ├── NotAPicture       the bytes are in no supported format
    │   ├── BrokenPicture     the format is recognized, but the picture cannot be decoded
    │   ├── PictureTooLarge   more bytes or pixels than the limit
    │   └── PictureTooComplex more time, memory or parts than the limit, which ordinary pictures do not need
    ├── OptionError           the value of an option is not valid
    │   ├── UnknownOption     there is no option of that name
    │   └── MissingOption     an option without a default is not given
    └── BundleError           a bundle cannot be loaded
        ├── CheckpointError   a weight file is missing, altered, or does not fit its network
        └── EngineError       the engine cannot run a network of the bundle, which another engine can

Messages are shown to users as they are: each says what is wrong, the value, the valid values, and what to do next.
"""

from collections.abc import Iterable


class ChromarouteError(Exception):
    """Base class of all exceptions that Chromaroute raises on purpose."""


class PictureError(ChromarouteError):
    """The picture cannot be used."""


class NotAPicture(PictureError):
    """The bytes are in no supported format."""


class BrokenPicture(PictureError):
    """The format is recognized, but the picture cannot be decoded completely."""


class PictureTooLarge(PictureError):
    """The picture has more bytes or pixels than the limit; raised before decoding."""


class PictureTooComplex(PictureError):
    """Decoding the picture takes more time, memory or parts than the limit, which ordinary pictures are far from."""


class OptionError(ChromarouteError):
    """The value of an option is not valid."""

    def __init__(self, option: str, value: object, valid: str | Iterable[str]) -> None:
        self.option = option
        self.value = value
        self.valid = valid if isinstance(valid, str) else "one of " + ", ".join(valid)
        super().__init__(f"{option} is {value!r}, which is not valid: give {self.valid}.")


class UnknownOption(OptionError):
    """There is no option of that name."""

    def __init__(self, option: str, known: Iterable[str]) -> None:
        names = ", ".join(known)
        self.option, self.value, self.valid = option, None, f"one of {names}" if names else "nothing"
        ChromarouteError.__init__(self, f"there is no option {option!r}: {f'the options are {names}' if names else 'omit it'}.")


class MissingOption(OptionError):
    """An option that has no default is not given."""

    def __init__(self, option: str, valid: str) -> None:
        self.option, self.value, self.valid = option, None, valid
        ChromarouteError.__init__(self, f"{option} is missing: give {valid}.")


class BundleError(ChromarouteError):
    """The bundle is missing, or its manifest is not valid."""


class CheckpointError(BundleError):
    """A weight file is missing, its sha256 differs from its card, or its tensors do not fit the network."""


class EngineError(BundleError):
    """The engine that was asked for cannot run a network of the bundle; torch runs all of them."""
