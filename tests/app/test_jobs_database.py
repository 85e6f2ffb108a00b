"""The database of the queue, the data folder and its limits, and archives that could write more or elsewhere than they should."""

import asyncio
import io
import logging
import re
import sqlite3
import struct
import sys
import tempfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from dbos._error import DBOSNonExistentWorkflowError
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.datastructures import UploadFile

from app.api_keys import add_key
from app.batches.file_names import output_name
from app.batches.results import ResultArchive
from app.batches.uploads import Item, read_items
from app.cli.main import main
from app.errors import ServiceError
from app.jobs.database import is_of_an_existing_task, set_aside_if_damaged
from app.jobs.folder import JobCard, JobFolder
from app.jobs.store import JobStore
from app.main import create_app
from app.schemas import BatchOptions, ItemRecord
from app.settings import Settings, SettingsError
from tests.app.archives import RawEntry, pack, raw_archive, tiny_picture
from tests.app.helpers import post_job, wait_for_end
from tests.server_process import wait_until

PICTURE = tiny_picture()


def make_database(path: Path) -> None:
    """A database of another program, with several pages."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE albums (id INTEGER PRIMARY KEY, name TEXT)")
        connection.executemany("INSERT INTO albums (name) VALUES (?)", [("x" * 500,) for _ in range(100)])
        connection.commit()


def cut_in_half(path: Path) -> None:
    make_database(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def damage_a_page(path: Path) -> None:
    make_database(path)
    content = bytearray(path.read_bytes())
    content[4096:8192] = b"\xff" * 4096
    path.write_bytes(content)


def set_aside(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if ".damaged-" in path.name)


@pytest.mark.parametrize("make", [cut_in_half, damage_a_page, lambda path: path.write_bytes(b"garbage" * 1000), Path.mkdir])
def test_damaged_database_is_kept_under_another_name(
    tmp_path: Path, make: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "jobs.sqlite"
    make(path)
    for end in ("-wal", "-shm"):
        (tmp_path / f"jobs.sqlite{end}").write_bytes(b"")
    set_aside_if_damaged(path)
    assert not path.exists()
    names = set_aside(tmp_path)
    assert all(re.fullmatch(r"jobs\.sqlite(-wal|-shm)?\.damaged-\d{8}T\d{6}", name) for name in names)
    assert any(name.startswith("jobs.sqlite.damaged-") for name in names)
    assert not list(tmp_path.glob("jobs.sqlite-wal"))
    assert f"the jobs database {path} is damaged" in caplog.text
    set_aside_if_damaged(path)
    assert set_aside(tmp_path) == names


@pytest.mark.parametrize("make", [lambda path: path.write_bytes(b""), make_database])
def test_readable_database_stays(tmp_path: Path, make: Callable[[Path], None], caplog: pytest.LogCaptureFixture) -> None:
    make(tmp_path / "jobs.sqlite")
    before = (tmp_path / "jobs.sqlite").read_bytes()
    set_aside_if_damaged(tmp_path / "jobs.sqlite")
    assert (tmp_path / "jobs.sqlite").read_bytes() == before
    assert "damaged" not in caplog.text


def test_locked_database_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A backup may read it."""
    path, connect = tmp_path / "jobs.sqlite", sqlite3.connect
    make_database(path)
    monkeypatch.setattr("app.jobs.database.sqlite3.connect", lambda path, **options: connect(path, timeout=0.05))
    with closing(connect(path)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        set_aside_if_damaged(path)
    assert set_aside(tmp_path) == []
    assert path.exists()


@pytest.mark.slow
@pytest.mark.parametrize("make", [lambda path: path.write_bytes(path.read_bytes()[:20_000]), make_database])
def test_unfinished_job_is_finished_without_its_database(
    tmp_path: Path, make: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    with TestClient(create_app(Settings(data_dir=tmp_path))) as client:
        path = post_job(client, {"a.png": PICTURE, "b.png": PICTURE}).headers["location"]
        wait_for_end(client, path)
    job = JobFolder(tmp_path / "jobs" / path.rpartition("/")[2])
    (job.folder / "out" / "000000.done").unlink()
    (job.folder / "in" / "000000").write_bytes(PICTURE)
    for file in tmp_path.glob("jobs.sqlite-*"):
        file.unlink()
    if make is make_database:
        (tmp_path / "jobs.sqlite").unlink()
    make(tmp_path / "jobs.sqlite")
    is_damaged = (tmp_path / "jobs.sqlite").stat().st_size == 20_000
    with TestClient(create_app(Settings(data_dir=tmp_path))) as client:
        assert wait_for_end(client, path)["done"] == 2
    assert len(set_aside(tmp_path)) == is_damaged
    assert ("is damaged" in caplog.text) == is_damaged


def refuse_to_write(*_: object, **__: object) -> None:
    raise PermissionError(13, "Permission denied")


def test_data_folder_that_cannot_be_written_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", refuse_to_write)
    expected = rf"jobs cannot be stored in {re.escape(str(tmp_path))} \(.*Permission denied\): allow this user to write there"
    with pytest.raises(SettingsError, match=expected):
        create_app(Settings(data_dir=tmp_path))
    monkeypatch.setenv("CHROMAROUTE_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(sys.modules["app.cli.main"], "configure_logs", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["chromaroute", "serve", "--port", "0"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert re.match(f"chromaroute: {expected}", str(ended.value.code))  # a text is printed, and makes the code 1
    assert "Traceback" not in capsys.readouterr().err


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TestClient, dict[str, dict[str, str]]]]:
    """A service in which the jobs of a key may hold 2,000 bytes, and the headers of two keys."""
    folder = tmp_path_factory.mktemp("keys")
    headers = {name: {"authorization": f"Bearer {add_key(folder / 'keys.json', name, 1000)}"} for name in ("press", "archive")}
    with TestClient(create_app(Settings(data_dir=folder, keys=folder / "keys.json", quota_bytes=2000))) as client:
        yield client, headers


def noise(size: int) -> bytes:
    """A picture of this size."""
    return PICTURE + bytes(size - len(PICTURE))


@pytest.mark.slow
def test_job_over_quota_is_refused_until_another_is_deleted(keyed: tuple[TestClient, dict[str, dict[str, str]]]) -> None:
    client, headers = keyed
    store: JobStore = client.app.state.jobs.store  # type: ignore[attr-defined]
    too_large = post_job(client, {"a.png": noise(1500), "b.png": noise(1500)}, **headers["press"])
    assert (too_large.status_code, too_large.json()["type"]) == (507, "urn:chromaroute:problem:quota-exceeded")
    assert "2000 bytes" in too_large.json()["detail"]
    assert list(store.folder.iterdir()) == []
    first = post_job(client, {"a.png": noise(1500)}, **headers["press"])
    assert first.status_code == 202
    path = first.headers["location"]
    wait_until(lambda: client.get(path, headers=headers["press"]).json()["state"] == "finished")
    job = store.find(first.json()["id"])
    assert job is not None
    assert job.size > 300  # of output and record: the upload is deleted
    refused = post_job(client, {"a.png": noise(1999)}, **headers["press"])
    assert refused.status_code == 507
    assert [entry.name for entry in store.folder.iterdir()] == [job.card.id]
    assert post_job(client, {"a.png": noise(1999)}, **headers["archive"]).status_code == 202
    assert client.delete(path, headers=headers["press"]).status_code == 204
    assert post_job(client, {"a.png": noise(1999)}, **headers["press"]).status_code == 202


def test_uploads_at_the_same_time_share_the_quota(tmp_path: Path) -> None:
    async def store_two() -> list[object]:
        jobs = JobStore(tmp_path)
        reading = asyncio.Barrier(2)

        async def read() -> bytes:
            await reading.wait()
            return noise(1500)

        def create(job_id: str) -> Coroutine[object, object, object]:
            card = JobCard(
                id=job_id, arrival="1", created=datetime.now(UTC), owner="press", options=BatchOptions(), names=["a.png"]
            )
            return jobs.create(card, [Item("a.png", "a.png", read)], 2000)

        return await asyncio.gather(create("0" * 32), create("1" * 32), return_exceptions=True)

    outcomes = asyncio.run(store_two())
    assert sorted(isinstance(outcome, ServiceError) for outcome in outcomes) == [False, True]
    assert sum(JobFolder(folder).size for folder in tmp_path.iterdir()) == 1500


def overlapping(count: int) -> bytes:
    """An archive of entries that share their data."""
    data, central = zlib.compress(bytes(10_000))[2:-4], b""
    head = struct.pack("<HHHHHIII", 20, 0, 8, 0, 33, zlib.crc32(bytes(10_000)), len(data), 10_000)
    local = b"PK\x03\x04" + head + struct.pack("<HH", 5, 0) + b"a.png" + data
    for _ in range(count):
        central += b"PK\x01\x02" + struct.pack("<H", 20) + head + struct.pack("<HHHHHII", 5, 0, 0, 0, 0, 0, 0) + b"a.png"
    return local + central + b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, count, count, len(central), len(local), 0)


def nested() -> bytes:
    """An archive of which an entry contains the next one."""
    inner = raw_archive(RawEntry(b"b.png", PICTURE))
    content = bytearray(raw_archive(RawEntry(b"a.png", inner), RawEntry(b"b.png", PICTURE)))
    last = content.rindex(b"PK\x01\x02")
    struct.pack_into("<I", content, last + 42, 35)
    return bytes(content)


@pytest.mark.parametrize("archive", [overlapping(2), overlapping(500), nested()])
def test_archive_of_overlapping_entries_is_refused_before_anything_is_written(job_client: TestClient, archive: bytes) -> None:
    folder: Path = job_client.app.state.jobs.store.folder  # type: ignore[attr-defined]
    before = sorted(folder.iterdir())
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        assert len(opened.namelist()) >= 2
    response = job_client.post("/v1/jobs", files={"archive": archive})
    assert (response.status_code, response.json()["type"]) == (422, "urn:chromaroute:problem:broken-archive")
    assert "overlaps" in response.json()["detail"]
    assert sorted(folder.iterdir()) == before


def test_archive_after_other_data_is_read() -> None:
    assert [item.name for item in items_of(b"#!/bin/sh\n" * 10 + pack({"a.png": PICTURE, "b.png": PICTURE}))] == ["a.png", "b.png"]


def test_entry_that_is_no_picture_is_not_stored_but_has_its_record(tmp_path: Path) -> None:
    items = items_of(pack({"run.sh": b"#!/bin/sh\n", "empty.png": b"", "page.html": b"<html>" * 1000}))
    card = JobCard(
        id="a" * 32, arrival="1", created=datetime.now(), owner=None, options=BatchOptions(), names=[item.name for item in items],
        paths=[item.path for item in items],
    )  # fmt: skip
    job, is_new = asyncio.run(JobStore(tmp_path).create(card, items, 10_000))
    assert is_new
    assert list((job.folder / "in").iterdir()) == []
    records = [job.record(index) for index in range(3)]
    assert [record.name for record in records if record is not None] == ["run.sh", "empty.png", "page.html"]
    assert {record.problem.type for record in records if record and record.problem} == {"urn:chromaroute:problem:not-a-picture"}
    assert job.status(1).state == "finished"
    with pytest.raises(ServiceError, match="limit"):
        asyncio.run(JobStore(tmp_path).create(card.model_copy(update={"id": "b" * 32}), items, 100))
    assert [path.name for path in tmp_path.iterdir()] == ["a" * 32]


def items_of(archive: bytes) -> list[Item]:
    return read_items((), UploadFile(io.BytesIO(archive), filename="scans.zip"), Settings(jobs=False))


def result_of(items: Sequence[Item], format: str = "png") -> bytes:
    """The archive of results of items, whose outputs are their names."""
    archive = ResultArchive(datetime.now())
    parts = [archive.add(ItemRecord(name=item.name, output=output_name(item.path, format)), item.path.encode()) for item in items]
    return b"".join(parts) + archive.close()


PORTS = {f"{port}{digit}" for port in ("com", "lpt") for digit in "0123456789¹²³"}
RESERVED = {"con", "prn", "aux", "nul", "conin$", "conout$"} | PORTS


def is_valid_on_windows(name: str) -> bool:
    """Whether a part of a path follows the rules that Microsoft documents for files and folders."""
    return (
        0 < len(name.encode("utf-16-le")) // 2 <= 255
        and not re.search(r'[\x00-\x1f<>:"/\\|?*]', name)
        and name[-1] not in ". "
        and name.partition(".")[0].rstrip(" ").lower() not in RESERVED
    )


@pytest.mark.parametrize(
    "name", ["CON.jpg", "con", "nul .txt", "LPT¹.png", "a.", "a ", "a:b", "", "..", "a\tb", "a/b", "x" * 256, "CONIN$"]
)  # fmt: skip
def test_invalid_names_are_recognized(name: str) -> None:
    assert not is_valid_on_windows(name)
    assert is_valid_on_windows("console.jpg")


def assert_can_be_unpacked_anywhere(result: bytes, count: int, folder: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(result)) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        archive.extractall(folder)
    assert len(names) == count + 1
    assert len([path for path in folder.rglob("*") if path.is_file()]) == count + 1
    paths = [name.split("/") for name in names]
    assert all(is_valid_on_windows(part) and len(part.encode()) <= 255 for path in paths for part in path)
    assert all(len(name) <= 220 for name in names)
    keys = {unicodedata.normalize("NFD", name).casefold() for name in names}
    folders = {unicodedata.normalize("NFD", "/".join(path[:depth])).casefold() for path in paths for depth in range(1, len(path))}
    assert len(keys) == count + 1
    assert not keys & folders


SETS_OF_NAMES = {
    "file and folder": ["a.jpg", "a.jpg/b.jpg", "A.JPG/c.jpg", "a.jpg.png", "a-2.jpg", "a.jpg-2/b.jpg"],
    "folder before file": ["a.png/b.png", "a.png", "A.png"],
    "long": ["x" * 300 + ".jpg", "x" * 301 + ".jpg", "ü" * 150 + ".jpg", "ü" * 151 + ".jpg", "y" * 300 + "/" + "z" * 300],
    "reserved": ["CON.jpg", "con.png", "Con", "aux.tar.gz", "COM1/nul.png", "LPT³.png", "CONIN$.png", "prn /a.png", "nul."],
    "case": ["Foto.jpg", "foto.JPG", "FOTO.jpg", "ordner/a.png", "Ordner/A.png", "straße.png", "STRASSE.png", "ı.png", "İ.png"],
    "unicode": ["Café.png", "Cafe\u0301.png", "ﬁsh.png", "fish.png", "Å.png", "\u212b.png", "\ud55c.png", "\u1112\u1161\u11ab.png"],
    "ends": ["a.jpg.", "a.jpg..", "a.jpg ", "a.jpg . .", "b./c.png", "b/c.png", "...", "…", "dots.../x.", " . "],
    "places": ["../a.png", "/etc/passwd", "C:\\a.png", "\\\\host\\share\\a.png", "a/../../b.png", "~/c.png", "a//b.png", "./a.png"],
    "control": ["a\x01.png", "a\x7f.png", "a\n.png", "a\u202epng.exe", "a\u200b.png", "a?.png", "a*.png", "a|.png", "a\u2028.png"],
    "records": ["decisions.json", "DECISIONS.JSON", "decisions.json/a.png", "decisions.json.png"],
}  # fmt: skip


@pytest.mark.parametrize("names", SETS_OF_NAMES.values(), ids=SETS_OF_NAMES)
@pytest.mark.parametrize("format", ["png", "jpeg"])
def test_results_have_names_that_are_valid_everywhere(names: list[str], format: str, tmp_path: Path) -> None:
    items = items_of(pack(dict.fromkeys(names, b"x")))
    assert [item.name for item in items] == names
    assert_can_be_unpacked_anywhere(result_of(items, format), len(names), tmp_path)


letters = st.sampled_from(
    [*"aAbÄ. -/\\2:", "ä", "a\u0308", "ß", "ﬁ", "con", "nul.", "com1", "~1", ".png", ".jpg", "\u3000", "x" * 120, "é" * 99]
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(letters, min_size=1, max_size=6).map("".join), min_size=1, max_size=12))
def test_results_of_any_names_are_valid_everywhere(names: list[str]) -> None:
    files = [UploadFile(io.BytesIO(), filename=name) for name in names]
    items = read_items(files, None, Settings(jobs=False))
    with tempfile.TemporaryDirectory() as folder:
        assert_can_be_unpacked_anywhere(result_of(items), len(names), Path(folder))


def test_tasks_of_deleted_jobs_are_not_reported_as_errors() -> None:
    record = logging.LogRecord("dbos", logging.ERROR, "", 0, "Exception encountered in background workflow:", (), None)
    assert is_of_an_existing_task(record)
    for error, is_logged in ((DBOSNonExistentWorkflowError("target", "1"), False), (ValueError("other"), True)):
        record.exc_info = (type(error), error, None)
        assert is_of_an_existing_task(record) == is_logged
