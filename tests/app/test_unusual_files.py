"""Files of several pages, damaged files, and files that are no pictures, through every route; and the notes in the records."""

import base64
import io
import re
import zipfile
from collections.abc import Callable

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image, ImageSequence, TiffImagePlugin

from tests.app.archives import pack, tiny_picture, unpack
from tests.app.helpers import post_job, post_picture, wait_for_end

HEIGHTS = [12, 20, 16]
ONLY_FIRST = "only page 1 of 3 is in the output: give page for another, or format=tiff for all"


def album() -> bytes:
    """A TIFF file of three pages of different sizes."""
    pages = [Image.linear_gradient("L").resize((24, height)) for height in HEIGHTS]
    buffer = io.BytesIO()
    pages[0].save(buffer, "TIFF", save_all=True, append_images=pages[1:])
    return buffer.getvalue()


def heights_of(content: bytes) -> list[int]:
    """The heights of the pages of a file."""
    with Image.open(io.BytesIO(content)) as image:
        return [frame.height for frame in ImageSequence.Iterator(image)]


def test_all_pages_of_a_tiff_file_are_colorized(client: TestClient) -> None:
    response = post_picture(client, album())
    assert response.headers["content-type"] == "image/tiff"
    assert heights_of(response.content) == HEIGHTS
    for number, page in enumerate(ImageSequence.Iterator(Image.open(io.BytesIO(response.content))), 1):
        alone = post_picture(client, album(), page=number, format="png")
        assert np.array_equal(np.array(page), np.array(Image.open(io.BytesIO(alone.content))))


def test_record_of_a_file_has_those_of_its_other_pages(client: TestClient) -> None:
    body = post_picture(client, album(), headers={"accept": "application/json"}).json()
    assert heights_of(base64.b64decode(body["image"])) == HEIGHTS
    decision = body["decision"]
    others = decision["other_pages"]
    assert [page["page"] for page in (decision, *others)] == [1, 2, 3]
    assert [page["page_count"] for page in (decision, *others)] == [3, 3, 3]
    assert all(page["notes"] == page["other_pages"] == [] for page in others)
    assert decision["notes"] == []
    for stage in ("decode", "predict", "merge", "encode"):  # the record of the file has the times of all pages
        assert decision["timings_ms"][stage] >= max(page["timings_ms"][stage] for page in others)


def test_one_page_of_a_file_can_be_chosen(client: TestClient) -> None:
    for number, height in enumerate(HEIGHTS, 1):
        for format in ("tiff", "jpeg"):
            response = post_picture(client, album(), page=number, format=format, headers={"accept": "application/json"}).json()
            assert heights_of(base64.b64decode(response["image"])) == [height]
            decision = response["decision"]
            assert (decision["page"], decision["page_count"], decision["other_pages"], decision["notes"]) == (number, 3, [], [])
    response = post_picture(client, album(), page=4)
    assert (response.status_code, response.json()["option"]) == (422, "page")
    assert response.json()["valid"] == "a whole number from 1 to 3, the number of pages of this file"


@pytest.mark.parametrize("format", ["jpeg", "png", "webp", "avif"])
def test_record_says_that_other_pages_are_not_in_the_output(client: TestClient, format: str) -> None:
    body = post_picture(client, album(), format=format, headers={"accept": "application/json"}).json()
    assert heights_of(base64.b64decode(body["image"])) == HEIGHTS[:1]
    assert body["decision"]["notes"] == [ONLY_FIRST]
    assert (body["decision"]["page_count"], body["decision"]["other_pages"]) == (3, [])


def test_route_is_that_of_the_first_page(client: TestClient) -> None:
    decision = post_picture(client, album(), "/v1/route").json()
    assert (decision["page"], decision["page_count"]) == (1, 3)


@pytest.mark.parametrize("options", [{}, {"format": "png"}, {"format": "png", "page": "2"}])
def test_pages_in_batches_and_jobs_are_those_of_single_files(
    client: TestClient, job_client: TestClient, options: dict[str, str]
) -> None:
    alone = client.post("/v1/colorize", files={"file": album()}, data=options)
    batch = client.post("/v1/colorize/batch", files={"archive": pack({"album.tif": album()})}, data=options)
    job = job_client.post("/v1/jobs", files={"files": ("album.tif", album())}, data=options)
    wait_for_end(job_client, job.headers["location"])
    for response in (batch, job_client.get(f"{job.headers['location']}/result")):
        entries, (record,) = unpack(response.content)
        assert entries == {"album.tif.png" if options else "album.tif": alone.content}
        decision = record["decision"]
        assert isinstance(decision, dict)
        assert len(decision["other_pages"]) == (0 if options else 2)
        assert decision["notes"] == ([ONLY_FIRST] if options == {"format": "png"} else [])
    item = job_client.get(f"{job.headers['location']}/result/0")
    assert (item.content, item.headers["content-type"]) == (alone.content, alone.headers["content-type"])


def test_page_beyond_a_file_is_a_problem_of_the_item(client: TestClient, job_client: TestClient) -> None:
    archive = pack({"a.png": tiny_picture(), "b.tif": album()})
    path = job_client.post("/v1/jobs?page=2", files={"archive": archive}).headers["location"]
    assert wait_for_end(job_client, path)["failed"] == 1
    for response in (
        client.post("/v1/colorize/batch?page=2", files={"archive": archive}),
        job_client.get(f"{path}/result"),
    ):
        entries, records = unpack(response.content)
        assert list(entries) == ["b.tif"]
        assert records[0]["problem"]["option"] == "page"  # type: ignore[index]


def damaged_png() -> bytes:
    """A PNG with wrong bytes in the middle of its pixels."""
    noise = np.random.default_rng(0).integers(0, 256, (60, 60), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")
    content = bytearray(buffer.getvalue())
    content[1500:1540] = bytes(40)
    return bytes(content)


def truncated_jpeg() -> bytes:
    return tiny_picture("JPEG")[:-40] + b"\xff\xd9"


def dng() -> bytes:
    """A TIFF file with the version tag of DNG."""
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[50706] = b"\x01\x04\x00\x00"
    tags.tagtype[50706] = 1
    return tiny_picture("TIFF", tiffinfo=tags)


REFUSED: list[tuple[Callable[[], bytes], int, str, str]] = [
    (damaged_png, 422, "broken-picture", "damaged"),
    (truncated_jpeg, 422, "broken-picture", "truncated"),
    (lambda: album()[:300], 422, "broken-picture", "export it again|send it again"),
    (dng, 415, "not-a-picture", "this is a DNG file.*develop it with a raw converter, and send a TIFF or JPEG"),
    (lambda: b"%PDF-1.7 ...", 415, "not-a-picture", "this is a PDF file: extract its pictures, for example with pdfimages"),
    (lambda: b"8BPS\0\1", 415, "not-a-picture", "this is a Photoshop file: export it as JPEG, PNG or TIFF"),
    (lambda: b'<?xml version="1.0"?><svg/>', 415, "not-a-picture", "SVG file, which has no pixels"),
    (lambda: pack({"a.png": tiny_picture()}), 415, "not-a-picture", "a ZIP archive: send it to /v1/colorize/batch or /v1/jobs"),
    (lambda: b"hello", 415, "not-a-picture", "send one of JPEG, PNG, TIFF, WebP, GIF, BMP, AVIF, JPEG 2000"),
]


@pytest.mark.parametrize(("make", "status", "kind", "detail"), REFUSED)
def test_refused_file_is_a_problem_with_advice(
    make: Callable[[], bytes], status: int, kind: str, detail: str, client: TestClient
) -> None:
    def check(problem: dict[str, object]) -> None:
        assert (problem["status"], problem["type"]) == (status, f"urn:chromaroute:problem:{kind}")
        assert re.search(f"(?is){detail}", str(problem["detail"]))

    for path in ("/v1/colorize", "/v1/route"):
        response = post_picture(client, make(), path)
        assert response.status_code == status
        check(response.json())
    _, (record,) = unpack(client.post("/v1/colorize/batch", files={"files": ("scan", make())}).content)
    assert isinstance(record["problem"], dict)
    check(record["problem"])


def test_refused_files_of_a_job_are_problems_of_their_items(job_client: TestClient) -> None:
    files = {f"{index}": make() for index, (make, *_) in enumerate(REFUSED)} | {"good.png": tiny_picture()}
    path = post_job(job_client, files).headers["location"]
    status = wait_for_end(job_client, path)
    assert (status["done"], status["failed"]) == (1, len(REFUSED))
    _, records = unpack(job_client.get(f"{path}/result").content)
    for record, (_, code, kind, _) in zip(records, REFUSED, strict=False):
        assert (record["problem"]["status"], record["problem"]["type"].rpartition(":")[2]) == (code, kind)  # type: ignore[index]


def test_notes_tell_what_is_not_in_the_output(job_client: TestClient) -> None:
    alpha = Image.merge("LA", [Image.linear_gradient("L").resize((16, 12)), Image.new("L", (16, 12), 100)])
    deep = Image.fromarray(np.linspace(0, 65_535, 192).astype(np.uint16).reshape(12, 16))
    contents = {}
    for name, image in (("alpha.png", alpha), ("deep.png", deep)):
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        contents[name] = buffer.getvalue()
    contents["plain.png"] = tiny_picture()
    path = post_job(job_client, contents, "?format=jpeg").headers["location"]
    wait_for_end(job_client, path)
    _, records = unpack(job_client.get(f"{path}/result").content)
    assert [record["decision"]["notes"] for record in records] == [  # type: ignore[index]
        ["transparency cannot be kept in JPEG"],
        ["the 16 bits of the picture became 8, because JPEG holds no more"],
        [],
    ]
    kept = post_job(job_client, contents, "?format=png").headers["location"]
    wait_for_end(job_client, kept)
    with zipfile.ZipFile(io.BytesIO(job_client.get(f"{kept}/result").content)) as archive:
        assert b"transparency" not in archive.read("decisions.json")
