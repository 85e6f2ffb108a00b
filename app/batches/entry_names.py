"""The names of the entries of ZIP archives, whose encoding most archivers do not state.

APPNOTE 6.3.10, 4.4.4 (bit 11) and 4.6.9 (the Unicode path). Without these, names are in the code page of the computer that wrote
them.
"""

import re
import struct
import zipfile
import zlib

_UTF8 = 0x800  # flag: the name is in UTF-8
_UNICODE_PATH = 0x7075  # extra field
_CYRILLIC = re.compile(rb"[\x80-\xaf\xe0-\xf1]+")  # the letters of code page 866
_CHINESE = re.compile(rb"(?:[\xa1-\xf7][\xa1-\xfe])+")  # GB 2312
_JAPANESE = re.compile(r"[\u3005-\u3007\u3041-\u3096\u30a1-\u30fc\u4e00-\u9fff\uff01-\uff5e]+")
_OTHERS = re.compile(rb"[\x80-\xff]+")


def entry_name(entry: zipfile.ZipInfo) -> str:
    """The name of an entry as its author wrote it, with its own slashes."""
    if entry.flag_bits & _UTF8:
        return entry.orig_filename
    raw = entry.orig_filename.encode("cp437")
    return _unicode_path(entry.extra, raw) or _decoded(raw)


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


def _decoded(raw: bytes) -> str:
    """A name in UTF-8, or in the code page that makes words of its bytes: Cyrillic, Chinese, Japanese, else that of DOS."""
    if (name := _strict(raw, "utf-8")) is not None:
        return name
    runs = _OTHERS.findall(raw)
    if all(_CYRILLIC.fullmatch(run) for run in runs) and max(map(len, runs)) > 2:
        return raw.decode("cp866")
    if all(_CHINESE.fullmatch(run) for run in runs) and (name := _strict(raw, "gb18030")) is not None:
        return name
    if (name := _strict(raw, "cp932")) is not None:
        words = _JAPANESE.findall(name)
        if sum(map(len, words)) == sum(not letter.isascii() for letter in name) and max(map(len, words), default=0) > 1:
            return name
    return raw.decode("cp437")


def _strict(raw: bytes, encoding: str) -> str | None:
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError:
        return None
