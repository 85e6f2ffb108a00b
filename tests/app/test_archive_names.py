"""Names in ZIP archives: their encodings, and names that are safe and unique on every operating system."""

import io
import re
import shutil
import struct
import subprocess
import unicodedata
import zipfile
import zlib
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from starlette.datastructures import UploadFile

from app.batches.file_names import UniqueNames, is_system_file, output_name, safe_name
from app.batches.uploads import Item, read_items
from app.settings import Settings
from tests.app.archives import RawEntry, pack, raw_archive, tiny_picture, unpack

PICTURE = tiny_picture()
LONG = "ü" * 300 + ".png"
ODD_NAMES = [
    "CON.png", "aux.png", "nul", "COM1.png", "lpt9.tar.png", "con .png", "12:30.png", "what?.png", "tab\there.png", "end. ",
    "dots...", "a.png", "A.PNG", "b", "b/c.png", "d/e.png", "D", "x/a.png", "X/A.png", "Caf\u00e9.png", "Cafe\u0301.png",
    "\ufb01sh.png", "fish.png", LONG, f"{LONG[:-5]}v.png", "deep/" * 60 + "f.png", "../up.png", "....//g.png", "/root.png",
    "decisions.json", "📷.png",
]  # fmt: skip


def items_of(archive: bytes) -> list[Item]:
    """The items of an archive."""
    return read_items((), UploadFile(io.BytesIO(archive), filename="scans.zip"), Settings(jobs=False))


def name_of(raw: bytes, extra: bytes = b"") -> str:
    """The name of the only entry of an archive, as it is in its record."""
    (item,) = items_of(raw_archive(RawEntry(raw, PICTURE, extra=extra)))
    return item.name


def unicode_path(name: str, raw: bytes) -> bytes:
    """The extra field with the name in UTF-8, which belongs to the entry with the name `raw`."""
    data = b"\x01" + struct.pack("<I", zlib.crc32(raw)) + name.encode()
    return struct.pack("<HH", 0x7075, len(data)) + data


@pytest.mark.parametrize("name", ["Großmutter.jpg", "Sta\u0308dte e\u0301.jpg", "Бабушка.jpg", "写真.jpg", "é.jpg", "📷.jpg"])
def test_utf8_without_flag_is_recognized(name: str) -> None:
    assert name_of(name.encode()) == name


@pytest.mark.parametrize(
    "name", ["写真ソ.jpg", "ソ.jpg", "表.jpg", "予定表/表紙.jpg", "おばあ 1950.jpg", "いえ.jpg", "IMG_写真.jpg"]
)
def test_shift_jis_is_recognized(name: str) -> None:
    assert name_of(name.encode("cp932")) == name


@pytest.mark.parametrize("name", ["Бабушка и дедушка 1950.jpg", "СВАДЬБА.jpg", "Москва/Яна.jpg", "фото_1.jpg"])
def test_cyrillic_code_page_is_recognized(name: str) -> None:
    assert name_of(name.encode("cp866")) == name


@pytest.mark.parametrize("name", ["图片.jpg", "一些.jpg", "老照片/北京 1950.jpg", "图1.jpg"])
def test_chinese_code_page_is_recognized(name: str) -> None:
    assert name_of(name.encode("gbk")) == name


WESTERN = [
    "château",
    "Frédéric",
    "Élève",
    "étés",
    "compañía",
    "Müller",
    "FÄRÖER",
    "Hämäläinen",
    "Békéscsaba",
    "Ängström",
    "préférés",
]


@pytest.mark.parametrize("word", WESTERN)
@pytest.mark.parametrize("form", ["{}.jpg", "{}_1950.jpg", "scans/{} et moi.jpg", "IMG {} (2).jpg"])
def test_western_code_page_is_recognized(word: str, form: str) -> None:
    name = form.format(word)
    assert name_of(name.encode("cp437")) == name


@pytest.mark.parametrize("name", ["São João.jpg", "Ærø.jpg", "CÔTE.jpg", "Pâques à Évian.jpg", "Õhtu.jpg", "avô.jpg"])
def test_second_western_code_page_is_recognized(name: str) -> None:
    assert name_of(name.encode("cp850")) == name


def test_ambiguous_names_are_read_like_the_others() -> None:
    for names, encoding in (
        (["中国.jpg", "カメラ.jpg"], "cp932"),
        (["图.jpg", "老照片.jpg"], "gbk"),
        (["ОН.jpg", "Она.jpg"], "cp866"),
    ):
        items = items_of(raw_archive(*(RawEntry(name.encode(encoding), PICTURE) for name in names)))
        assert [item.name for item in items] == names


def test_name_with_flag_is_utf8_whatever_it_looks_like() -> None:
    (item,) = items_of(raw_archive(RawEntry("├ƒ.png".encode(), PICTURE, flags=0x800)))
    assert item.name == "├ƒ.png"


@pytest.mark.parametrize("raw", [b"Gro_mutter __.jpg", "Gro\xdfmutter.jpg".encode("cp1252"), b"_15.jpg"])
def test_unicode_path_takes_precedence(raw: bytes) -> None:
    assert name_of(raw, unicode_path("Großmutter 写真.jpg", raw)) == "Großmutter 写真.jpg"
    other = struct.pack("<HHI", 0x5455, 4, 0)  # a time, before the name
    assert name_of(raw, other + unicode_path("€15.jpg", raw)) == "€15.jpg"


def test_unicode_path_of_another_name_is_ignored() -> None:
    assert name_of(b"renamed.jpg", unicode_path("€15.jpg", b"_15.jpg")) == "renamed.jpg"
    assert name_of(b"a.jpg", unicode_path("", b"a.jpg")) == "a.jpg"


@pytest.mark.parametrize("name", ["許功蓋.png", "老照片.jpg", "家族/結婚.jpg", "臺灣 1950.jpg"])
def test_traditional_chinese_code_page_is_recognized(name: str) -> None:
    assert name_of(name.encode("big5")) == name


@pytest.mark.parametrize("raw", ["誠.png".encode("gbk"), b"\x9a\x5c.png", "한글".encode("cp949") + b"\x5c.png", b"\xb3\x5c"])
def test_second_byte_of_a_letter_hides_no_file(raw: bytes, client: TestClient) -> None:
    content = raw_archive(RawEntry(raw, PICTURE), RawEntry(b"other.png", PICTURE))
    entries, records = unpack(client.post("/v1/colorize/batch", files={"archive": content}).content)
    assert len(entries) == len(records) == 2


def test_name_that_is_not_utf8_against_its_flag_costs_no_other_picture(client: TestClient) -> None:
    content = raw_archive(
        RawEntry("Größe.png".encode("cp437"), PICTURE, flags=0x800), RawEntry("Ähre.png".encode(), PICTURE, flags=0x800)
    )
    entries, records = unpack(client.post("/v1/colorize/batch", files={"archive": content}).content)
    assert list(entries) == [record["name"] for record in records] == ["Größe.png", "Ähre.png"]


def test_name_with_backslash_byte_is_not_lost(client: TestClient) -> None:
    content = raw_archive(RawEntry("写真ソ.png".encode("cp932"), PICTURE), RawEntry(b"b.png", PICTURE))
    entries, records = unpack(client.post("/v1/colorize/batch", files={"archive": content}).content)
    assert list(entries) == ["写真ソ.png", "b.png"]
    assert [record["name"] for record in records] == ["写真ソ.png", "b.png"]


@pytest.mark.parametrize(("listed", "local"), [(rb"test\a.png", b"test/a.png"), (b"test/a.png", rb"test\a.png")])
def test_other_slashes_in_local_header_are_accepted(client: TestClient, listed: bytes, local: bytes) -> None:
    content = raw_archive(RawEntry(listed, PICTURE, local))
    entries, records = unpack(client.post("/v1/colorize/batch", files={"archive": content}).content)
    assert list(entries) == ["test/a.png"]
    assert records[0]["name"] == listed.decode()


def test_other_name_in_local_header_is_a_problem_of_the_item(client: TestClient) -> None:
    content = raw_archive(RawEntry(b"test/a.png", PICTURE, b"test/b.png"), RawEntry(b"c.png", PICTURE))
    entries, records = unpack(client.post("/v1/colorize/batch", files={"archive": content}).content)
    assert list(entries) == ["c.png"]
    assert records[0]["problem"]["type"] == "urn:chromaroute:problem:broken-picture"  # type: ignore[index]


@pytest.fixture(scope="module")
def odd_result(client: TestClient) -> tuple[bytes, dict[str, bytes], list[dict[str, object]]]:
    """The response to an archive with all odd names, its pictures and its records."""
    content = client.post("/v1/colorize/batch", files={"archive": pack(dict.fromkeys(ODD_NAMES, PICTURE))}).content
    return content, *unpack(content)


def test_every_entry_has_a_record_with_its_name_and_an_output(
    odd_result: tuple[bytes, dict[str, bytes], list[dict[str, object]]],
) -> None:
    _, entries, records = odd_result
    assert [record["name"] for record in records] == ODD_NAMES
    assert [record["output"] for record in records] == list(entries)


def test_outputs_are_safe_and_unique_on_every_operating_system(
    odd_result: tuple[bytes, dict[str, bytes], list[dict[str, object]]],
) -> None:
    paths = [name.split("/") for name in odd_result[1]]
    for path in paths:
        assert len("/".join(path)) <= 220
        for part in path:
            assert len(part.encode()) <= 255
            assert not re.match(r"(con|prn|aux|nul|com\d|lpt\d) *(\.|$)", part, re.IGNORECASE)
            assert not re.search(r'[\x00-\x1f\\:*?"<>|]|[. ]$|^\.', part)
            assert unicodedata.is_normalized("NFC", part)
    files = {key("/".join(path)) for path in paths} | {"decisions.json"}
    folders = {key("/".join(path[:depth])) for path in paths for depth in range(1, len(path))}
    assert len(files) == len(ODD_NAMES) + 1
    assert not files & folders


def key(name: str) -> str:
    """The same for names that are equal on file systems that ignore case and Unicode form."""
    return unicodedata.normalize("NFKD", name.casefold())


def test_result_can_be_unpacked(odd_result: tuple[bytes, dict[str, bytes], list[dict[str, object]]], tmp_path: Path) -> None:
    (tmp_path / "result.zip").write_bytes(odd_result[0])
    with zipfile.ZipFile(tmp_path / "result.zip") as archive:
        archive.extractall(tmp_path / "out")
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(files) == len(ODD_NAMES) + 1
    if unzip := shutil.which("unzip"):
        done = subprocess.run([unzip, "-t", tmp_path / "result.zip"], capture_output=True, text=True, env={"LC_ALL": "C.UTF-8"})
        assert done.returncode == 0, done.stdout
        assert "No errors detected" in done.stdout


def test_entries_are_dated_now_in_local_time(odd_result: tuple[bytes, dict[str, bytes], list[dict[str, object]]]) -> None:
    with zipfile.ZipFile(io.BytesIO(odd_result[0])) as archive:
        for entry in archive.infolist():
            assert abs(datetime.now() - datetime(*entry.date_time)) < timedelta(minutes=10)


def test_names_of_repeated_files_are_as_sent_too(client: TestClient) -> None:
    names = ["a.png", "A.png", "12:30.png", "Cafe\u0301.png", "con.png", "folder/b.png", ".hidden.png"]
    response = client.post("/v1/colorize/batch", files=[("files", (name, PICTURE)) for name in names])
    entries, records = unpack(response.content)
    assert [record["name"] for record in records] == names
    assert list(entries) == ["a.png", "A-2.png", "12_30.png", "Caf\u00e9.png", "_con.png", "folder/b.png", ".hidden.png"]


@pytest.mark.parametrize(
    "name",
    [
        "Thumbs.db", "THUMBS.DB", "thumbs.db", "Desktop.ini", "desktop.INI", "ehthumbs.db", "Picasa.ini", "Icon\r", ".DS_Store",
        "__MACOSX/scans/._a.jpg", "__macosx/a.jpg", "scans/@eaDir/a.jpg/SYNOPHOTO_THUMB_XL.jpg", "@EADIR/a.jpg", ".hidden/a.jpg",
        "scans\\Thumbs.db", ".picasa.ini", "a/.thumbnails/b.jpg",
    ],
)  # fmt: skip
def test_files_of_systems_and_archivers_are_left_out(name: str) -> None:
    assert is_system_file(name)
    assert [item.name for item in items_of(pack({name: b"x", "a.png": PICTURE}))] == ["a.png"]


@pytest.mark.parametrize("name", ["thumbs.db.jpg", "My Thumbs.db", "eaDir/a.jpg", "icon.png", "../a.png", "..../a.png", "a..png"])
def test_other_files_are_not_left_out(name: str) -> None:
    assert not is_system_file(name)


def test_archive_of_system_files_only_is_rejected(client: TestClient) -> None:
    response = client.post("/v1/colorize/batch", files={"archive": pack({"Thumbs.db": b"x", "folder/": b""})})
    assert (response.status_code, response.json()["detail"]) == (422, "there is no picture in the archive: add some to it.")


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("", "picture"), ("..", "picture"), ("/", "picture"), ("a\x00b\n.jpg", "a_b_.jpg"), ("Am Bühl.jpg", "Am Bühl.jpg"),
        ("C:\\Scans\\a.jpg", "C_/Scans/a.jpg"), ("a. /b.jpg", "a/b.jpg"), ("aux.h/nul.jpg", "_aux.h/_nul.jpg"),
        ("con .jpg", "_con .jpg"), ("console.jpg", "console.jpg"), ("com¹.jpg", "_com¹.jpg"), (" a.jpg ", "a.jpg"),
        ("Cafe\u0301", "Caf\u00e9"), ("\ud800.jpg", "_.jpg"),
    ],
)  # fmt: skip
def test_names_are_made_safe(name: str, safe: str) -> None:
    assert safe_name(name) == safe


def test_long_names_keep_their_suffix_and_long_paths_their_file() -> None:
    assert len(safe_name("x" * 1000 + ".jpg")) == 200
    assert safe_name("x" * 1000 + ".jpg").endswith(".jpg")
    assert len(safe_name(LONG).encode()) <= 200
    assert safe_name(LONG).endswith(".png")
    path = safe_name("folder/" * 60 + "a.jpg")
    assert len(path) <= 200
    assert path.endswith("folder/a.jpg")


def test_output_names_have_the_suffix_of_their_format() -> None:
    assert output_name("a.JPEG", "jpeg") == "a.JPEG"
    assert output_name("a.jfif", "jpeg") == "a.jfif"
    assert output_name("a.jpe", "jpeg") == "a.jpe"
    assert output_name("a.bmp", "png") == "a.bmp.png"
    assert output_name("a.jpg", "tiff") == "a.jpg.tif"
    assert output_name("a.jpg", "avif") == "a.jpg.avif"


def test_unique_names_ignore_case_and_unicode_form() -> None:
    names = UniqueNames("taken.jpg")
    wanted = ("a/x.jpg", "b/x.jpg", "a/X.jpg", "a/X-2.jpg", "a/x.jpg", "Taken.jpg", "Caf\u00e9", "Cafe\u0301", "straße", "STRASSE")
    assert [names.claim(name) for name in wanted] == [
        "a/x.jpg", "b/x.jpg", "a/X-2.jpg", "a/X-2-2.jpg", "a/x-3.jpg", "Taken-2.jpg",
        "Caf\u00e9", "Cafe\u0301-2", "straße", "STRASSE-2",
    ]  # fmt: skip


def test_file_and_folder_of_one_name_are_told_apart() -> None:
    names = UniqueNames()
    assert [names.claim(name) for name in ("a", "a/b", "A/c", "c/d", "c", "C/e", "a-2")] == [
        "a", "a-2/b", "a-2/c", "c/d", "c-2", "c/e", "a-2-2",
    ]  # fmt: skip
