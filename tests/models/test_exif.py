"""Directories of tags: read in both byte orders, from BigTIFF too, and written with the bytes of their values unchanged."""

import io
import struct
from time import perf_counter

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from models import exif, metadata
from models.exif import Tag, TiffReader
from tests.picture_files import gray_tags, raw_tiff

Entry = tuple[int, int, bytes]  # number, type, and the bytes of the value

UTF_8 = "José Müller, 桜".encode() + b"\0"


def block(entries: list[Entry], order: str = "<", big: bool = False, link: int = 0) -> bytes:
    """An EXIF block, or a TIFF file without pixels; long values follow the directory."""
    offset, count = ("Q", "Q") if big else ("I", "H")
    inline = struct.calcsize("=" + offset)
    start = 16 if big else 8
    place = start + struct.calcsize("=" + count) + len(entries) * (4 + 2 * inline) + inline
    table, values = struct.pack(order + count, len(entries)), b""
    for number, type_, data in entries:
        table += struct.pack(f"{order}HH{offset}", number, type_, len(data) // exif.SIZES[type_])
        table += data.ljust(inline, b"\0") if len(data) <= inline else struct.pack(order + offset, place + len(values))
        values += data if len(data) > inline else b""
    mark = b"II" if order == "<" else b"MM"
    head = struct.pack(order + "HHHQ", 43, 8, 0, start) if big else struct.pack(order + "HI", 42, start)
    return mark + head + table + struct.pack(order + offset, link) + values


def first_directory(content: bytes) -> dict[int, Tag]:
    return next(TiffReader(content).directories())


def pointer(value: int) -> bytes:
    return struct.pack("<I", value)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_values_of_every_type_are_read(order: str, big: bool) -> None:
    numbers: dict[int, tuple[str, tuple[float, ...]]] = {
        1: ("B", (1, 255)), 3: ("H", (2, 3, 65_535)), 4: ("I", (70_000, 4)), 6: ("b", (-1,)), 8: ("h", (-5, 6)),
        9: ("i", (-70_000,)), 11: ("f", (0.5, -2.0, 8.0)), 12: ("d", (0.25,)), 16: ("Q", (2**40,)),
    }  # fmt: skip
    entries = [
        (1000 + type_, type_, struct.pack(f"{order}{len(values)}{code}", *values)) for type_, (code, values) in numbers.items()
    ]
    entries += [(270, 2, UTF_8), (282, 5, struct.pack(order + "II", 600, 2)), (283, 10, struct.pack(order + "ii", -1, 4))]
    entries += [(37500, 7, b"\1\2\3\4\5\6\7\x08\x09")]
    tags = first_directory(block(sorted(entries), order, big))
    assert {type_: tags[1000 + type_].numbers() for type_ in numbers} == {type_: values for type_, (_, values) in numbers.items()}
    assert (tags[270].data, tags[270].numbers()) == (UTF_8, ())
    assert (tags[282].numbers(), tags[283].numbers()) == ((300.0,), (-0.25,))
    assert tags[37500].data == b"\1\2\3\4\5\6\7\x08\x09"


def test_written_directories_are_read_back_unchanged() -> None:
    inner = {36867: Tag(2, b"1931:05:01 00:00:00\0"), 37510: exif.undefined(b"\x80\x81" * 9)}
    first = {270: Tag(2, UTF_8), 256: exif.long(7), exif.EXIF_POINTER: inner, exif.GPS_POINTER: {1: Tag(2, b"N\0")}}
    second = {270: Tag(2, b"two\0"), 282: exif.rational(299.9994), 258: exif.short(8, 8, 8)}
    content, offsets = exif.write_directories([first, second])
    reader = TiffReader(b"II*\0" + pointer(offsets[0]) + content)
    one, two = reader.directories()
    assert two == second
    assert {number: one[number] for number in (256, 270)} == {number: first[number] for number in (256, 270)}
    assert reader.directory_at(one[exif.EXIF_POINTER]) == inner
    assert reader.directory_at(one[exif.GPS_POINTER]) == {1: Tag(2, b"N\0")}
    assert all(offset % 2 == 0 for offset in offsets)


def test_written_block_is_read_by_pillow() -> None:
    directory = {270: Tag(2, b"a\0"), 282: exif.rational(300), exif.EXIF_POINTER: {36867: Tag(2, b"1931:05:01 00:00:00\0")}}
    read = Image.Exif()
    read.load(exif.exif_block(directory))
    assert (read[270], read[282]) == ("a", 300)
    assert read.get_ifd(exif.EXIF_POINTER) == {36867: "1931:05:01 00:00:00"}
    assert exif.exif_block({}) == b""


def test_directories_of_tifffile_are_read() -> None:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer, bigtiff=True, byteorder=">") as writer:
        for text in ("first", "second"):
            writer.write(np.zeros((3, 4), np.uint16), description=text, metadata=None, subifds=1)
            writer.write(np.zeros((2, 2), np.uint8), description="inner", metadata=None)
    reader = TiffReader(buffer.getvalue())
    directories = list(reader.directories())
    assert [tags[270].data for tags in directories] == [b"first\0", b"second\0"]
    assert [[inner[270].data for inner in reader.directories_at(tags[330])] for tags in directories] == [[b"inner\0"]] * 2
    assert not reader.ended_early


def test_damaged_value_is_left_out_and_others_are_kept() -> None:
    content = block([(270, 2, b"kept for long\0"), (271, 2, b"outside of it\0"), (315, 2, b"x\0")])
    damaged = content.replace(struct.pack("<HHI", 271, 2, 14), struct.pack("<HHI", 271, 2, 10_000))
    unknown = content.replace(struct.pack("<HHI", 271, 2, 14), struct.pack("<HHI", 271, 99, 14))
    for variant in (damaged, unknown):
        assert {number: tag.data for number, tag in first_directory(variant).items()} == {270: b"kept for long\0", 315: b"x\0"}
    short = block([(270, 2, b"a\0"), (271, 2, b"b\0")])
    assert set(first_directory(short[:30])) == {270}  # the second entry is cut off
    assert set(first_directory(short.replace(b"\x08\0\0\0\2\0", b"\x08\0\0\0\xff\xff"))) == {270, 271}


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        (2, b"AAAA"), (11, struct.pack("<f", float("nan"))), (11, struct.pack("<f", float("inf"))), (9, struct.pack("<i", -1)),
        (4, pointer(2**32 - 1)), (4, pointer(0)), (16, struct.pack("<Q", 2**63)), (12, struct.pack("<d", 1e300)),
        (10, struct.pack("<ii", 5, 0)),
    ],
)  # fmt: skip
def test_damaged_pointers_and_numbers_are_ignored(type_: int, value: bytes) -> None:
    numbers = (exif.ORIENTATION, exif.X_RESOLUTION, exif.RESOLUTION_UNIT, exif.EXIF_POINTER, exif.GPS_POINTER)
    content = block([(270, 2, b"a\0"), *((number, type_, value) for number in sorted(numbers))])
    found = metadata.read_exif(b"Exif\0\0" + content)
    assert found.tags[270] == Tag(2, b"a\0")
    assert (found.dpi, found.orientation) == (None, 1)


@pytest.mark.parametrize(
    "content", [b"", b"Exif\0\0", b"II*\0", b"XX*\0\x08\0\0\0", b"II\x07\0\x08\0\0\0", b"garbage of any length"]
)
def test_other_content_is_refused_and_noted(content: bytes) -> None:
    with pytest.raises(ValueError, match="its version is|begins with neither"):
        TiffReader(content)
    found = metadata.read_exif(content)
    assert (found.tags, found.dpi, found.orientation) == ({}, None, 1)
    assert [note[:26] for note in found.notes] == (["the EXIF data cannot be re"] if content else [])


@pytest.mark.parametrize("link", [8, 2**32 - 1])
def test_links_that_are_loops_or_lead_nowhere_end_directories(link: int) -> None:
    reader = TiffReader(block([(270, 2, b"a\0")], link=link))
    assert [tags.get(270) for tags in reader.directories()][:1] == [Tag(2, b"a\0")]
    assert reader.ended_early == (link != 8)


def test_directory_may_point_to_itself() -> None:
    found = metadata.read_exif(block([(270, 2, b"a\0"), (330, 4, pointer(8)), (exif.EXIF_POINTER, 4, pointer(8))]))
    assert found.tags[exif.EXIF_POINTER][270] == Tag(2, b"a\0")  # type: ignore[index]


def overlapping_values() -> bytes:
    """A megabyte that 4,000 tags have as their value."""
    return raw_tiff(dict.fromkeys(range(1000, 5000), (7, 1000000, 8)), bytes(1_000_000))


def overlapping_directories(count: int = 3000, entries: int = 4000) -> bytes:
    """Directories of many entries, each of which begins 12 bytes after the one before."""
    region = bytearray((struct.pack("<H", entries) + b"\3\0\1\0\0\0\1\0\0\0") * (count + entries + 2))
    for number in range(count):
        place = 12 * (number + entries) + 2
        region[place : place + 4] = pointer(8 + 12 * (number + 1))
    return b"II*\0\x08\0\0\0" + bytes(region)


def many_subdirectories() -> bytes:
    """A tag with half a million links to one directory."""
    return raw_tiff(gray_tags() | {330: (4, 500_000, 8)}, pointer(2_000_008) * 500_000)


@pytest.mark.parametrize("make", [overlapping_values, overlapping_directories, many_subdirectories])
def test_hostile_directories_take_little_time_and_memory(make) -> None:  # type: ignore[no-untyped-def]
    content = make()
    start = perf_counter()
    reader = TiffReader(content)
    directories = list(reader.directories())
    inner = [len(reader.directories_at(tags.get(330))) for tags in directories]
    assert sum(len(tag.data) for tags in directories for tag in tags.values()) <= 3 * len(content)
    assert sum(inner) <= exif.MAX_NUMBERS
    assert perf_counter() - start < 20  # it was minutes, on a busy machine too


@given(
    head=st.sampled_from([b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08", b"II+\0\x08\0\0\0" + pointer(16) + bytes(4)]),
    rest=st.binary(max_size=80),
)
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_read_without_error(head: bytes, rest: bytes) -> None:
    reader = TiffReader(head + rest)
    for tags in reader.directories():
        for tag in tags.values():
            assert len(tag.numbers()) <= max(tag.count, 0)
    found = metadata.read_exif(head + rest)
    assert 1 <= found.orientation <= 8
    exif.exif_block(found.tags)


@pytest.mark.parametrize(
    ("unit", "value", "dpi"),
    [
        (2, 600, (600, 300)),
        (3, 100, (254, 127)),
        (1, 600, None),
        (2, 1, None),
        (2, 0, None),
        (None, 72, (72, 36)),
        (2, 2**31, None),
    ],
)
def test_resolution_is_in_inches_or_unknown(unit: int | None, value: int, dpi: tuple[float, float] | None) -> None:
    entries = [(282, 5, struct.pack("<II", value, 1)), (283, 5, struct.pack("<II", value, 2))]
    entries += [(296, 3, struct.pack("<H", unit))] if unit else []
    assert metadata.read_exif(block(entries)).dpi == (pytest.approx(dpi) if dpi else None)


def test_maker_note_and_stale_tags_are_left_out() -> None:
    stale = {number: exif.undefined(b"stale") for number in (37500, 40961, 40962, 40963, 40965)}
    date = Tag(2, b"1931:05:01 00:00:00\0")
    structure = {256: exif.long(9), 273: exif.long(8), 50000: exif.long(1)}
    block = exif.exif_block({**structure, exif.EXIF_POINTER: {**stale, 36867: date}})
    assert metadata.read_exif(block).tags == {exif.EXIF_POINTER: {36867: date}}
    assert metadata.read_exif(exif.exif_block({exif.EXIF_POINTER: stale})).tags == {}
