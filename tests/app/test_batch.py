import io
import stat
import struct
import zipfile
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from app.batches import results
from app.inference.engine import Engine
from app.main import create_app
from app.schemas import ItemRecord
from app.settings import Settings
from tests.app.archives import pack, unpack


def test_batch_returns_files_with_same_names_and_decisions(client: TestClient, pictures: dict[str, bytes]) -> None:
    files = [("files", (name, content)) for name, content in pictures.items()]
    response = client.post("/v1/colorize/batch", files=files)
    assert response.headers["content-type"] == "application/zip"
    entries, records = unpack(response.content)
    assert list(entries) == list(pictures)
    for (name, content), record in zip(entries.items(), records, strict=True):
        alone = client.post("/v1/colorize", files={"file": (name, pictures[name])})
        assert alone.content == content
        assert record["name"] == record["output"] == name
        assert record["decision"]["category"] == alone.headers["x-chromaroute-category"]  # type: ignore[index]


def test_archive_is_colorized_with_options(client: TestClient, pictures: dict[str, bytes]) -> None:
    entries = {f"scans/{name}": content for name, content in pictures.items()} | {
        "__MACOSX/scans/._cat.jpg": b"x",
        "scans/.DS_Store": b"x",
    }
    response = client.post("/v1/colorize/batch?format=png&category=food", files={"archive": ("scans.zip", pack(entries))})
    colorized, records = unpack(response.content)
    assert list(colorized) == [f"scans/{name}.png" for name in pictures]
    assert {record["decision"]["category"] for record in records} == {"food"}  # type: ignore[index]


def test_duplicate_names_get_suffixes_case_insensitively(client: TestClient, pictures: dict[str, bytes]) -> None:
    cat, food = pictures["cat.jpg"], pictures["food.jpg"]
    files = [
        ("files", (name, content)) for name, content in (("a.jpg", cat), ("a.jpg", food), ("A.JPG", cat), ("decisions.json", cat))
    ]
    colorized, records = unpack(client.post("/v1/colorize/batch", files=files).content)
    assert list(colorized) == ["a.jpg", "a-2.jpg", "A-3.JPG", "decisions.json.jpg"]
    assert [record["output"] for record in records] == list(colorized)
    assert [record["name"] for record in records] == ["a.jpg", "a.jpg", "A.JPG", "decisions.json"]
    assert colorized["a.jpg"] != colorized["a-2.jpg"]


def test_invalid_item_gets_problem_and_others_are_colorized(client: TestClient, pictures: dict[str, bytes]) -> None:
    cat = pictures["cat.jpg"]
    entries = {"1.jpg": cat, "2.jpg": cat[:3000], "3.txt": b"hello", "4.jpg": b"\xff\xd8" + bytes(2_000_001), "5.jpg": cat}
    colorized, records = unpack(client.post("/v1/colorize/batch", files={"archive": pack(entries)}).content)
    assert list(colorized) == ["1.jpg", "5.jpg"]
    problems = {record["name"]: record["problem"]["type"].rpartition(":")[2] for record in records if "problem" in record}  # type: ignore[index]
    assert problems == {"2.jpg": "broken-picture", "3.txt": "not-a-picture", "4.jpg": "too-large"}


def test_item_with_wrong_checksum_gets_problem(client: TestClient, pictures: dict[str, bytes]) -> None:
    content = bytearray(pack({"1.jpg": pictures["cat.jpg"], "2.jpg": pictures["cat.jpg"]}))
    content[60] ^= 255  # a byte of the first picture, so that its checksum is wrong
    colorized, records = unpack(client.post("/v1/colorize/batch", files={"archive": bytes(content)}).content)
    assert list(colorized) == ["2.jpg"]
    assert "cannot be unpacked" in records[0]["problem"]["detail"]  # type: ignore[index]


def test_output_paths_stay_inside_archive(client: TestClient, pictures: dict[str, bytes]) -> None:
    names = ["../../etc/cron.d/x.jpg", "/etc/x.jpg", "..\\..\\x.jpg", "C:\\x.jpg", "a/./b/../x.jpg", "....//x.jpg"]
    content = pack(dict.fromkeys(names, pictures["cat.jpg"]))
    colorized, records = unpack(client.post("/v1/colorize/batch", files={"archive": content}).content)
    assert len(colorized) == len(names) == len(records)
    for name in colorized:
        assert not name.startswith("/")
        assert not {"..", ".", ""} & set(name.split("/"))
        assert not set(name) & set('\\:*?"<>|')


def test_symlink_in_archive_is_rejected(client: TestClient) -> None:
    link = zipfile.ZipInfo("x.jpg")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    _, records = unpack(client.post("/v1/colorize/batch", files={"archive": buffer.getvalue()}).content)
    assert records[0]["problem"]["status"] == 415  # type: ignore[index]


@pytest.fixture(scope="module")
def limited_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with TestClient(create_app(Settings(jobs=False, max_items=3, max_unpacked_bytes=100_000, max_batch_bytes=1_000_000))) as client:
        yield client


def test_batch_over_limits_is_rejected_before_unpacking(limited_client: TestClient, pictures: dict[str, bytes]) -> None:
    cat = pictures["cat.jpg"]
    bomb = pack({"bomb.png": bytes(50_000_000)}, zipfile.ZIP_DEFLATED)
    assert len(bomb) < 100_000
    for content, detail in (
        (bomb, "unpacks to 50000000 bytes, and the limit is 100000"),
        (pack({f"{index}.jpg": cat for index in range(4)}), "more than 3 pictures"),
        (pack({f"{index}": b"" for index in range(5000)}), "more entries than allowed"),
        (bytes(1_000_001), "larger than 1000000 bytes"),
    ):
        response = limited_client.post("/v1/colorize/batch", files={"archive": content})
        assert (response.status_code, response.json()["type"]) == (413, "urn:chromaroute:problem:too-large")
        assert detail in response.json()["detail"]
    response = limited_client.post("/v1/colorize/batch", files=[("files", ("x.jpg", cat))] * 4)
    assert response.status_code == 413


def test_item_larger_than_its_declared_size_is_rejected(limited_client: TestClient) -> None:
    content = pack({"bomb.png": bytes(50_000_000)}, zipfile.ZIP_DEFLATED)
    falsified = content.replace(struct.pack("<L", 50_000_000), struct.pack("<L", 1_000))
    assert falsified != content
    _, records = unpack(limited_client.post("/v1/colorize/batch", files={"archive": falsified}).content)
    assert records[0]["problem"]["status"] == 422  # type: ignore[index]


@pytest.mark.parametrize(
    ("request_files", "status", "slug"),
    [
        ({"archive": b"no zip"}, 422, "broken-archive"),
        ({"archive": pack({})}, 422, "bad-request"),
        ({"archive": pack({"a": b""}), "files": b"x"}, 422, "bad-request"),
        ({"other": b"x"}, 422, "bad-request"),
    ],
)
def test_invalid_batch_is_rejected(client: TestClient, request_files: dict[str, bytes], status: int, slug: str) -> None:
    response = client.post("/v1/colorize/batch", files=request_files)
    assert (response.status_code, response.json()["type"]) == (status, f"urn:chromaroute:problem:{slug}")
    assert "field" in response.json()["detail"] or "archive" in response.json()["detail"]


def test_invalid_option_rejects_whole_batch(client: TestClient, pictures: dict[str, bytes]) -> None:
    response = client.post("/v1/colorize/batch?category=spaceship", files={"files": pictures["cat.jpg"]})
    assert (response.status_code, response.json()["option"]) == (422, "category")


def test_batch_response_is_streamed(client: TestClient, pictures: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []
    started_at_output: list[int] = []
    add = results.ResultArchive.add
    colorize = Engine.colorize

    async def count_calls(self: Engine, *arguments: object, **options: object) -> object:
        started.append("x")
        return await colorize(self, *arguments, **options)  # type: ignore[arg-type]

    def count_started(self: results.ResultArchive, record: ItemRecord, content: bytes | None) -> bytes:
        started_at_output.append(len(started))
        return add(self, record, content)

    monkeypatch.setattr(Engine, "colorize", count_calls)
    monkeypatch.setattr(results.ResultArchive, "add", count_started)
    files = [("files", (f"{index}.jpg", pictures["cat.jpg"])) for index in range(20)]
    entries, _ = unpack(client.post("/v1/colorize/batch", files=files).content)
    assert len(entries) == 20
    slots = client.app.state.engine.slots  # type: ignore[attr-defined]
    assert started_at_output[0] <= slots < 20
    assert all(count <= done + slots for done, count in enumerate(started_at_output))


def test_archive_with_falsified_directory_length_is_rejected(limited_client: TestClient) -> None:
    valid = pack({f"{index}": b"" for index in range(9_000)})
    end = valid.rindex(b"PK\x05\x06")
    wrong_counts = valid[: end + 8] + b"PK\x05\x06" + valid[end + 12 :]  # zipfile ignores the counts
    wrong_size = valid[: end + 12] + struct.pack("<L", 46) + valid[end + 16 :]
    size, offset = struct.unpack("<LL", valid[end + 12 : end + 20])
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 9_000, 9_000, size, offset)
    zip64 = wrong_size[:end] + record + struct.pack("<4sLQL", b"PK\x06\x07", 0, end, 1) + wrong_size[end:]
    for content in (wrong_counts, zip64):
        response = limited_client.post("/v1/colorize/batch", files={"archive": content})
        assert response.status_code == 413
        assert "more entries than allowed" in response.json()["detail"]


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damaged_item_gets_problem_for_every_compression(client: TestClient, pictures: dict[str, bytes], compression: int) -> None:
    content = bytearray(pack({"1.jpg": pictures["cat.jpg"], "2.jpg": pictures["cat.jpg"]}, compression))
    for position in range(60, 90):
        content[position] = 255
    colorized, records = unpack(client.post("/v1/colorize/batch", files={"archive": bytes(content)}).content)
    assert list(colorized) == ["2.jpg"]
    assert records[0]["problem"]["type"].endswith("broken-picture")  # type: ignore[index]
