"""HEIC by a plugin of Pillow. ISO/IEC 14496-12, section 8.11.6."""

from models.decoders.pillow import PillowFile
from models.errors import BrokenPicture

_ITEM = b"infe"  # the box of an item: its type, name and content type


class HeicFile(PillowFile):
    """A HEIC file.

    Raises:
        BrokenPicture: the header cannot be read, or texts in it are no UTF-8, which ends the process in pi-heif 1.4.
    """

    def __init__(self, content: bytes) -> None:
        position = content.find(_ITEM)
        while position >= 4:
            size, start = int.from_bytes(content[position - 4 : position]), position + len(_ITEM)
            if size == 1:  # the size has eight bytes
                size, start = int.from_bytes(content[start : start + 8]) - 8, start + 8
            end = start + size - 8 if size else len(content)
            texts = content[start + (8 if content[start : start + 1] < b"\3" else 10) : end]
            try:
                texts.decode()
            except UnicodeDecodeError as error:
                raise BrokenPicture(f"the picture's header is damaged ({error}): export it again.") from error
            position = content.find(_ITEM, start)
        super().__init__(content, "heic", "HEIF")
