"""Downloads of results that can be resumed: Range, If-Range, ETag and If-None-Match of RFC 9110."""

import json
from dataclasses import dataclass

import httpx2
import pytest
from fastapi.testclient import TestClient

from tests.app.archives import tiny_picture, unpack
from tests.app.helpers import post_job, wait_for_end


@dataclass(frozen=True)
class Result:
    """A result of a job, of which parts are requested."""

    client: TestClient
    path: str
    media_type: str

    def get(self, **headers: str) -> httpx2.Response:
        """The response to a request with these headers, whose underscores are hyphens."""
        return self.client.get(self.path, headers={name.replace("_", "-"): value for name, value in headers.items()})


@pytest.fixture(scope="module")
def job(job_client: TestClient) -> str:
    """The path of a finished job of two pictures and a text file."""
    pictures = {"a.png": tiny_picture(), "notes.txt": b"no picture", "b.tif": tiny_picture("TIFF")}
    path = post_job(job_client, pictures).headers["location"]
    wait_for_end(job_client, path)
    return path


@pytest.fixture(params=["result", "result/0", "result/2"])
def result(request: pytest.FixtureRequest, job_client: TestClient, job: str) -> Result:
    """The archive of a job, or one of its outputs."""
    media_type = {"result": "application/zip", "result/0": "image/png", "result/2": "image/tiff"}[request.param]
    return Result(job_client, f"{job}/{request.param}", media_type)


def test_whole_result_has_its_length_and_identity(result: Result) -> None:
    response = result.get()
    assert response.status_code == 200
    assert response.headers["content-type"] == result.media_type
    assert int(response.headers["content-length"]) == len(response.content)
    assert response.headers["accept-ranges"] == "bytes"
    assert response.headers["etag"].startswith('"')
    assert response.headers["etag"] == result.get().headers["etag"]
    assert "no-store" in response.headers["cache-control"]
    assert "content-range" not in response.headers


def test_head_has_the_headers_of_get_without_the_content(result: Result) -> None:
    whole = result.get()
    for headers in ({}, {"range": "bytes=0-9"}):  # of a range, which is defined for GET only
        response = result.client.head(result.path, headers=headers)
        assert (response.status_code, response.content) == (200, b"")
        for name in ("content-length", "content-type", "etag", "accept-ranges"):
            assert response.headers[name] == whole.headers[name]


@pytest.mark.parametrize(
    ("requested", "expected"),
    [
        ("bytes=0-0", slice(0, 1)),
        ("bytes=0-99", slice(0, 100)),
        ("bytes=10-", slice(10, None)),
        ("bytes=-7", slice(-7, None)),
        ("bytes=50-99999999", slice(50, None)),
        ("bytes=-99999999", slice(0, None)),
        ("bytes=0-", slice(0, None)),
        ("Bytes=1-2", slice(1, 3)),
        ("bytes= 1-2", slice(1, 3)),
    ],
)
def test_range_is_that_part_of_the_whole(result: Result, requested: str, expected: slice) -> None:
    whole, response = result.get().content, result.get(range=requested)
    part = whole[expected]
    assert (response.status_code, response.content) == (206, part)
    start = whole.index(part) if len(part) > 50 else len(whole[: expected.start])
    assert response.headers["content-range"] == f"bytes {start}-{start + len(part) - 1}/{len(whole)}"
    assert int(response.headers["content-length"]) == len(part)


@pytest.mark.parametrize(
    "requested",
    [
        "bytes=",
        "bytes=-",
        "bytes=x-y",
        "bytes=5-2",
        "lines=1-2",
        "bytes 1-2",
        "bytes=0-1,5-6",
        "bytes=1-2-3",
        f"bytes={'9' * 5000}-",
        "",
    ],
)
def test_other_ranges_are_answered_with_the_whole(result: Result, requested: str) -> None:
    response = result.get(range=requested)
    assert (response.status_code, response.content) == (200, result.get().content)


def test_range_beyond_the_end_is_a_problem_with_the_size(result: Result) -> None:
    size = len(result.get().content)
    for requested in (f"bytes={size}-", f"bytes={size + 5}-{size + 9}", "bytes=-0"):
        response = result.get(range=requested)
        assert (response.status_code, response.json()["type"]) == (416, "urn:chromaroute:problem:range-not-satisfiable")
        assert response.headers["content-range"] == f"bytes */{size}"
        assert str(size) in response.json()["detail"]
    assert result.get(range=f"bytes={size - 1}-").status_code == 206


def test_range_is_only_answered_if_the_content_is_the_same(result: Result) -> None:
    whole = result.get()
    same = result.get(range="bytes=5-9", if_range=whole.headers["etag"])
    assert (same.status_code, same.content) == (206, whole.content[5:10])
    for other in ('"other"', f"W/{whole.headers['etag']}", "Wed, 21 Oct 2015 07:28:00 GMT"):
        for requested in ("bytes=5-9", "bytes=999999999-"):
            response = result.get(range=requested, if_range=other)
            assert (response.status_code, response.content) == (200, whole.content)
    beyond = result.get(range="bytes=999999999-", if_range=whole.headers["etag"])
    assert (beyond.status_code, beyond.headers["content-type"]) == (416, "application/problem+json")


def test_unchanged_result_is_not_sent_again(result: Result) -> None:
    etag = result.get().headers["etag"]
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        for response in (result.get(if_none_match=known), result.client.head(result.path, headers={"if-none-match": known})):
            assert (response.status_code, response.content) == (304, b"")
            assert response.headers["etag"] == etag
    assert result.get(if_none_match='"other"').status_code == 200
    assert result.get(if_none_match=etag, range="bytes=0-5").status_code == 304


@pytest.mark.parametrize("piece", [1, 7, 100, 5000])
def test_download_in_pieces_gives_the_same_bytes(job_client: TestClient, job: str, piece: int) -> None:
    result = Result(job_client, f"{job}/result", "")
    whole = result.get()
    size, etag = len(whole.content), whole.headers["etag"]
    start = max(0, size - 60 * piece)
    received = whole.content[:start]
    while len(received) < size:
        response = result.get(range=f"bytes={len(received)}-{len(received) + piece - 1}", if_range=etag)
        assert response.status_code == 206
        received += response.content
    assert received == whole.content
    entries, records = unpack(received)
    assert list(entries) == ["a.png", "b.tif"]
    assert len(records) == 3


def test_identity_changes_with_the_content(job_client: TestClient) -> None:
    etags, item_etags = set(), set()
    for picture in (tiny_picture(), tiny_picture("BMP")):
        path = post_job(job_client, {"a.png": picture}).headers["location"]
        wait_for_end(job_client, path)
        etags.add(job_client.get(f"{path}/result").headers["etag"])
        item_etags.add(job_client.get(f"{path}/result/0").headers["etag"])
    assert len(etags) == len(item_etags) == 2


def test_job_of_an_earlier_version_has_the_same_result(job_client: TestClient) -> None:
    """Its records have no size and CRC-32 of the output, and it has no paths."""
    path = post_job(job_client, {"a.png": tiny_picture(), "b.png": tiny_picture("BMP")}).headers["location"]
    wait_for_end(job_client, path)
    whole = job_client.get(f"{path}/result")
    folder = job_client.app.state.jobs.find(path.rpartition("/")[2], None).folder  # type: ignore[attr-defined]
    for index in range(2):
        record = folder / "out" / f"{index:06}.done"
        fields = json.loads(record.read_text())
        record.write_text(json.dumps({name: value for name, value in fields.items() if name not in ("size", "crc32")}))
    card = json.loads((folder / "job.json").read_text())
    (folder / "job.json").write_text(json.dumps({name: value for name, value in card.items() if name not in ("paths", "webhook")}))
    again = job_client.get(f"{path}/result")
    assert (again.content, again.headers["etag"]) == (whole.content, whole.headers["etag"])


def test_missing_results_are_problems(job_client: TestClient, job: str) -> None:
    for path in (f"{job}/result/1", f"{job}/result/3", f"{job}/result/-1", f"/v1/jobs/{'0' * 32}/result"):
        for headers in ({}, {"range": "bytes=0-5"}):
            response = job_client.get(path, headers=headers)
            assert (response.status_code, response.json()["type"]) == (404, "urn:chromaroute:problem:not-found")
        assert job_client.head(path).status_code == 404
