"""The names of the entries of ZIP archives, whose encoding most archivers do not state.

APPNOTE 6.3.10, 4.4.4 (bit 11) and 4.6.9 (the Unicode path). Without these, names are in UTF-8, or in the code page of the computer
that wrote them: of the readings of a name, the one that looks most like words is taken.
"""

import re
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Sequence
from itertools import pairwise
from operator import itemgetter

_UTF8 = 0x800  # flag: the name is in UTF-8
_UNICODE_PATH = 0x7075  # extra field
_ENCODINGS = ("utf-8", "cp437", "cp866", "gb18030", "cp932", "cp850", "big5")  # more usual ones first
_NO_READING = (9, "")  # how odd it is that a name is not valid in an encoding
_ALPHABETS = ("cp437", "cp866", "cp850")
_MAX_CHANCE = 3  # letters of other text that may be valid UTF-8 by chance, such as two Chinese characters
_EUROPEAN = ("cp1250", "cp1251", "cp1252", "cp1253", "cp1254", "cp1257")
_EAST_ASIAN = "CJK"
_EAST_ASIAN_NAMES = {"CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "IDEOGRAPHIC"}  # how the names of characters begin
_WIDTHS = {"FULLWIDTH", "HALFWIDTH"}
_ACCENTS = re.compile(r"[À-ɏ]{3,}")  # hardly any word has three in a row
_FIRST_BYTES = re.compile(r"([âé]).\1|([ВГ]).\2.\2")  # of kana
_SECOND_BYTES = re.compile(r"[^\W\d_a-zA-Z][@\[\\\]^`{|}]")  # of letters of two bytes
_RARE_BIG5 = b"\xc9"  # first byte of the rare characters
_NO_SLASH = re.compile(r"(?<=[^\x00-\x7f])\\(?=\.|$)")  # the second byte of a letter: it would hide the file, or make it a folder


def entry_names(entries: Sequence[zipfile.ZipInfo]) -> list[str]:
    """The names of the entries of an archive as their author wrote them, with their own slashes."""
    names: list[str | None] = []
    undecided: list[bytes] = []
    for entry in entries:
        raw = b"" if entry.flag_bits & _UTF8 else entry.orig_filename.encode("cp437")
        names.append(_unicode_path(entry.extra, raw) or _certain(raw) if raw else entry.orig_filename)
        undecided += [raw] if names[-1] is None else []
    decoded = iter(_decoded(undecided))
    return [next(decoded) if name is None else name for name in names]


def _unicode_path(extra: bytes, raw: bytes) -> str | None:
    """The name in the Unicode path field, if that belongs to this name."""
    position = 0
    while position + 4 <= len(extra):
        kind, size = struct.unpack_from("<HH", extra, position)
        field = extra[position + 4 : position + 4 + size]
        if kind == _UNICODE_PATH and field[:1] == b"\x01" and field[1:5] == zlib.crc32(raw).to_bytes(4, "little"):
            return _strict(field[5:], "utf-8")
        position += 4 + size
    return None


def _certain(raw: bytes) -> str | None:
    """A name in UTF-8, if it cannot be other text by chance."""
    name = _strict(raw, "utf-8")
    is_certain = name is not None and (name.isascii() or sum(not letter.isascii() for letter in name) > _MAX_CHANCE)
    return name if is_certain else None


def _decoded(raw_names: Sequence[bytes]) -> list[str]:
    """Of every name the reading that is least odd; of those that are equally good, the one in the encoding of the other names."""
    readings = [
        {encoding: (_oddity(encoding, name), name) for encoding in _ENCODINGS if (name := _strict(raw, encoding)) is not None}
        for raw in raw_names
    ]
    totals = {encoding: sum(reading.get(encoding, _NO_READING)[0] for reading in readings) for encoding in _ENCODINGS}
    order = sorted(_ENCODINGS, key=totals.__getitem__)
    names = [min((reading[encoding] for encoding in order if encoding in reading), key=itemgetter(0))[1] for reading in readings]
    return [_NO_SLASH.sub("_", name) for name in names]


def _oddity(encoding: str, name: str) -> int:
    """How unlike words a reading is: symbols, rare characters, words of several scripts, capital letters inside of words."""
    letters = [letter for letter in unicodedata.normalize("NFC", name) if not "\u0300" <= letter <= "\u036f"]
    scripts = [_script(letter) for letter in letters]
    if encoding == "utf-8":  # other text is hardly ever valid
        odd = sum(2 * (not letter.isprintable()) + _is_rare(letter) for letter in letters)
    else:
        odd = 2 * sum(not script and not letter.isascii() for letter, script in zip(letters, scripts, strict=True))
    if encoding in _ALPHABETS:
        odd += sum(len(pattern.findall(name)) for pattern in (_ACCENTS, _FIRST_BYTES, _SECOND_BYTES))
    if encoding == "gb18030":
        odd += 2 * sum(not _is_in(letter, "gb2312") for letter in letters)
    if encoding == "big5":
        odd += 2 * sum(letter.encode("big5", "replace") >= _RARE_BIG5 for letter in letters)
    for (before, script), (after, next_script) in pairwise(zip(letters, scripts, strict=True)):
        if script and next_script and script != next_script:
            odd += 1 if _EAST_ASIAN in (script, next_script) else 2
        odd += before.islower() and after.isupper() and not (before + after).isascii()
    return odd


def _script(letter: str) -> str:
    """The script of a letter; nothing for other characters, and for letters in unusual widths."""
    if not letter.isalpha():
        return ""
    first = unicodedata.name(letter, "").split(" ")[0]
    return _EAST_ASIAN if first in _EAST_ASIAN_NAMES else "" if first in _WIDTHS else first


def _is_rare(letter: str) -> bool:
    """Whether a letter has two bytes in UTF-8, and is in no code page of Windows for a European alphabet."""
    return 0x80 <= ord(letter) < 0x800 and not any(_is_in(letter, code_page) for code_page in _EUROPEAN)


def _is_in(letter: str, encoding: str) -> bool:
    try:
        return bool(letter.encode(encoding))
    except UnicodeEncodeError:
        return False


def _strict(raw: bytes, encoding: str) -> str | None:
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError:
        return None
