"""The written ZIP archives, read back by zipfile."""

import io
import zipfile
import zlib
from datetime import datetime
from pathlib import Path

import pytest

from app.batches.results import ResultArchive
from app.batches.zip_format import ZipEntry, directory
from app.jobs.results import JobArchive
from app.schemas import ItemRecord
from tests.app.archives import unpack

DATE = datetime(2024, 2, 29, 23, 58, 42)


def archive_of(contents: dict[str, bytes], date: datetime = DATE) -> bytes:
    """An archive with these entries."""
    entries = [ZipEntry(name, len(content), zlib.crc32(content), date) for name, content in contents.items()]
    return b"".join(entry.header + content for entry, content in zip(entries, contents.values(), strict=True)) + directory(entries)


def test_entries_are_read_back_with_names_contents_dates_and_modes() -> None:
    contents = {"a.txt": b"one", "Ordner/ü 写真 📷.txt": b"two" * 1000, "empty": b""}
    with zipfile.ZipFile(io.BytesIO(archive_of(contents))) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == contents
        for entry in archive.infolist():
            assert entry.date_time == (2024, 2, 29, 23, 58, 42)
            assert entry.external_attr >> 16 == 0o100644
            assert entry.compress_type == zipfile.ZIP_STORED
            assert entry.file_size == entry.compress_size == len(contents[entry.filename])


@pytest.mark.parametrize("date", [datetime(1980, 1, 1), datetime(1999, 12, 31, 23, 59, 59), datetime(2107, 12, 31)])
def test_dates_are_kept_to_two_seconds(date: datetime) -> None:
    with zipfile.ZipFile(io.BytesIO(archive_of({"a": b""}, date))) as archive:
        (entry,) = archive.infolist()
    assert datetime(*entry.date_time) == date.replace(second=date.second // 2 * 2)


@pytest.mark.slow
@pytest.mark.parametrize("count", [0, 65_534, 65_535, 65_536, 70_000])
def test_many_entries_are_read_back(count: int) -> None:
    content = archive_of({f"{index}": b"" for index in range(count)})
    assert (b"PK\x06\x06" in content) == (count >= 65_535)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.namelist() == [f"{index}" for index in range(count)]


@pytest.mark.parametrize("offset", [2**32 - 2, 2**32 - 1, 2**32, 2**32 + 1, 9 * 2**30])
@pytest.mark.parametrize("ends_with_small", [True, False])
def test_entries_and_directory_beyond_4_gib_are_read_back(offset: int, ends_with_small: bool, tmp_path: Path) -> None:
    """In a sparse file: the small entry, or else the directory, begins at `offset`."""
    entries = [ZipEntry("0", 2**31, 0, DATE), ZipEntry("1", 0, 0, DATE)]
    while (rest := offset - sum(entry.length for entry in entries)) >= 2**32:
        entries.insert(0, ZipEntry("large", 2**31, 0, DATE))
    entries[-1] = ZipEntry("1", rest, 0, DATE)
    small = ZipEntry("small.txt", 5, zlib.crc32(b"small"), DATE)
    with (tmp_path / "sparse.zip").open("wb") as file:
        for entry in entries:
            file.write(entry.header)
            file.seek(entry.size, io.SEEK_CUR)
        assert file.tell() == offset
        if ends_with_small:
            file.write(small.header + b"small")
            entries.append(small)
        file.write(directory(entries))
    with zipfile.ZipFile(tmp_path / "sparse.zip") as archive:
        assert [(entry.filename, entry.file_size) for entry in archive.infolist()] == [
            (entry.name, entry.size) for entry in entries
        ]
        for name in archive.namelist():
            with archive.open(name) as content:
                assert content.read(2) == (b"sm" if name == "small.txt" else b"\0\0")


def test_numbers_of_zip64_are_only_written_where_needed() -> None:
    small = ZipEntry("a", 1, 0, DATE)
    assert len(small.listed(2**32 - 1)) == len(small.listed(2**32 - 2)) + 12
    assert b"PK\x06\x06" not in directory([small])


def test_result_archive_lists_records_without_content_like_with_content() -> None:
    records = [ItemRecord(name="A.png", output="a.png"), ItemRecord(name="b"), ItemRecord(name="a.png", output="a.png")]
    contents = [b"one", None, b"three"]
    whole = ResultArchive(DATE)
    parts = [whole.add(record.model_copy(), content) for record, content in zip(records, contents, strict=True)]
    entries, decisions = unpack(b"".join(parts) + whole.close())
    assert entries == {"a.png": b"one", "a-2.png": b"three"}
    assert decisions == [{"name": "A.png", "output": "a.png"}, {"name": "b"}, {"name": "a.png", "output": "a-2.png"}]
    listed = ResultArchive(DATE)
    for record, content in zip(records, contents, strict=True):
        listed.list(record.model_copy(), len(content or b""), zlib.crc32(content or b""))
    assert listed.close() == whole.close()


def test_any_part_of_a_job_archive_is_that_of_the_whole(tmp_path: Path) -> None:
    (tmp_path / "0").write_bytes(bytes(range(100)))
    archive = JobArchive(((b"header", 6), (tmp_path / "0", 100), (b"", 0), (b"end", 3)), '"x"')
    whole = b"header" + bytes(range(100)) + b"end"
    assert archive.size == len(whole)
    for start in (0, 1, 5, 6, 7, 50, 105, 106, 107, 109):
        for stop in (0, 1, 6, 7, 106, 107, 109):
            assert b"".join(archive.read(start, stop)) == whole[start:stop]


def test_output_shorter_than_its_record_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "0").write_bytes(b"short")
    with pytest.raises(EOFError, match="shorter than its record"):
        list(JobArchive(((tmp_path / "0", 100),), '"x"').read(0, 100))
