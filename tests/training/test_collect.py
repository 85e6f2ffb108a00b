"""Collecting photographs from a stand-in for the sources' servers: their answers, their moods, and what they hold."""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from PIL import Image
from typer.testing import CliRunner

import training.__main__ as command
from training.collect.collection import ALIKE, collect, look_of
from training.collect.http_client import FetchError, RateLimitedClient
from training.collect.sources import openverse, unsplash, url_lists, wikimedia
from training.data.dataset_index import DataError
from training.data.prepare import prepare


def jpeg(picture: Image.Image, quality: int = 90) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


@dataclass
class StandIn:
    """Files by path, and JSON answers by path; `moods` are status codes that a path gives first. All requests are noted."""

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    answers: dict[str, Any] = field(default_factory=dict)
    moods: dict[str, list[int]] = field(default_factory=dict)
    moved: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    agents: set[str] = field(default_factory=set)

    def reply(self, path: str, query: dict[str, list[str]], headers: Any) -> tuple[int, bytes]:
        self.asked.append(path)
        self.agents.add(headers["User-Agent"])
        if path in self.moved:
            return 302, b""
        if self.moods.get(path):
            return self.moods[path].pop(0), b"not now"
        if path in self.answers:
            answer = self.answers[path]
            return 200, json.dumps(answer(query, headers) if callable(answer) else answer).encode()
        return (200, self.files[path]) if path in self.files else (404, b"gone")


@pytest.fixture
def web(photographs: dict[str, Image.Image]) -> Iterator[StandIn]:
    """Ten crops of photographs; one of them in two sizes, one twice, one gray, one tiny, one broken, one gone."""
    stand_in = StandIn()
    squares = [picture.resize((600, 300)) for picture in photographs.values()]
    crops = [jpeg(picture.crop((left, 0, left + 300, 280))) for picture in squares for left in (0, 300)]
    stand_in.files = {f"/photo/{index}.jpg": content for index, content in enumerate(crops)}
    first = Image.open(io.BytesIO(crops[0]))
    stand_in.files |= {
        "/photo/twice.jpg": crops[1],
        "/photo/larger.jpg": jpeg(first.resize((600, 560)), 70),
        "/photo/gray.jpg": jpeg(first.convert("L")),
        "/photo/tiny.jpg": jpeg(first.resize((90, 90))),
        "/photo/broken.jpg": crops[2][:2000],
        "/photo/page.jpg": b"<html>not here any more</html>",
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            status, content = stand_in.reply(parts.path, parse_qs(parts.query), self.headers)
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            if status == 302:
                self.send_header("Location", stand_in.moved[parts.path])
            if status == 429:
                self.send_header("Retry-After", "0")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    stand_in.address = f"http://127.0.0.1:{server.server_port}"
    yield stand_in
    server.shutdown()
    thread.join()
    server.server_close()


BAD = ["gray", "tiny", "broken", "page", "gone", "larger", "twice"]


def openverse_page(web: StandIn, query: dict[str, list[str]]) -> dict[str, Any]:
    """Three results a page: the first and second picture, then all that is bad, then the others."""
    names = ["0", "1", *BAD, *(str(index) for index in range(2, 10))]
    page = int(query["page"][0])
    results = [
        {
            "id": f"id-{name}", "title": f"Title {name}", "url": f"{web.address}/photo/{name}.jpg", "creator": "Ada",
            "license": "by", "license_version": "4.0", "license_url": "https://creativecommons.org/licenses/by/4.0/",
            "foreign_landing_url": f"https://example.org/{name}",
        }
        for name in names[3 * page - 3 : 3 * page]
    ]  # fmt: skip
    return {"page_count": -(-len(names) // 3), "results": results}


@pytest.fixture
def client() -> Iterator[RateLimitedClient]:
    polite = RateLimitedClient("chromaroute-test", interval=0)
    yield polite
    polite.close()


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_bad_pictures_are_replaced_until_there_are_enough(web: StandIn, client: RateLimitedClient, tmp_path: Path) -> None:
    web.answers["/v1/images/"] = lambda query, _: openverse_page(web, query)
    source = openverse(f"{web.address}/v1/images/")
    list(collect([("city", "skyline")], 8, tmp_path, source, client))
    kept = rows(tmp_path / "collected.csv")
    assert [row["id"] for row in kept] == [f"id-{index}" for index in range(8)]
    assert {(row["author"], row["license"]) for row in kept} == {("Ada", "by 4.0")}
    assert kept[0]["page"] == "https://example.org/0"
    assert len(list((tmp_path / "city").glob("*.jpg"))) == 8
    reasons = {row["id"].removeprefix("id-"): row["reason"] for row in rows(tmp_path / "rejected.csv")}
    assert set(reasons) == set(BAD)
    assert {reasons[name] for name in ("larger", "twice")} == {"duplicated"}
    assert (reasons["gray"], reasons["tiny"], reasons["broken"], reasons["page"]) == ("gray", "tiny", "unreadable", "unreadable")
    assert "404" in reasons["gone"]
    assert len(prepare(tmp_path).entries) == 8


def test_an_interrupted_collection_goes_on_without_fetching_anything_twice(
    web: StandIn, client: RateLimitedClient, tmp_path: Path
) -> None:
    web.answers["/v1/images/"] = lambda query, _: openverse_page(web, query)
    source = openverse(f"{web.address}/v1/images/")
    begun = collect([("city", "city")], 6, tmp_path, source, client)
    for _ in range(5):
        next(begun)
    begun.close()
    with (tmp_path / "collected.csv").open("a") as record:
        record.write("city/cut")  # killed while it wrote a row
    list(collect([("city", "city")], 6, tmp_path, source, client))
    fetched = Counter(path for path in web.asked if path.startswith("/photo/"))
    assert set(fetched.values()) == {1}
    assert [row["id"] for row in rows(tmp_path / "collected.csv") if row["sha256"]] == [f"id-{index}" for index in range(6)]
    before = len(web.asked)
    assert list(collect([("city", "city")], 6, tmp_path, source, client)) == []
    assert len(web.asked) == before


def test_too_few_pictures_are_told_after_all_categories_were_tried(web: StandIn, client: RateLimitedClient, tmp_path: Path) -> None:
    web.answers["/v1/images/"] = lambda query, _: openverse_page(web, query)
    source = openverse(f"{web.address}/v1/images/")
    with pytest.raises(DataError, match="wanted 12 of each and found city 10, town 0"):
        list(collect([("city", "city"), ("town", "town")], 12, tmp_path, source, client))
    with pytest.raises(DataError, match=r"'\.\./x' cannot be a folder of a data set"):
        list(collect([("../x", "x")], 1, tmp_path, source, client))


def test_moods_of_a_server_are_waited_out_and_its_robots_txt_is_heeded(web: StandIn, client: RateLimitedClient) -> None:
    web.moods = {"/photo/0.jpg": [429, 503], "/photo/1.jpg": [500] * 9}
    assert client.picture(f"{web.address}/photo/0.jpg") == web.files["/photo/0.jpg"]
    with pytest.raises(FetchError, match="500"):
        client.picture(f"{web.address}/photo/1.jpg")
    assert Counter(web.asked)["/photo/1.jpg"] == 4
    assert Counter(web.asked)["/robots.txt"] == 1
    assert web.agents == {"chromaroute-test"}
    with pytest.raises(FetchError, match="no web address"):
        client.picture("file:///etc/passwd")
    web.files["/robots.txt"] = b"User-agent: *\nDisallow: /photo/\n"
    with pytest.raises(FetchError, match=r"the robots.txt of .* keeps us from"):
        RateLimitedClient("chromaroute-test", 0).picture(f"{web.address}/photo/3.jpg")
    assert "/photo/3.jpg" not in web.asked


@pytest.mark.parametrize(
    "item",
    [
        {"url": "http://x/1.jpg"}, {"id": "a"}, {"id": {}, "url": 5}, {"id": "a", "url": "http://[bad"}, {"id": "a", "url": "ftp://x/1.jpg"},
        "text", None, {"id": "a", "url": "file:///etc/passwd"},
    ],
)  # fmt: skip
def test_odd_items_are_left_out_and_the_next_are_taken(item: Any, web: StandIn, client: RateLimitedClient, tmp_path: Path) -> None:
    good = {"id": "good\n\ud800", "url": f"{web.address}/photo/0.jpg", "title": "one\ntwo " + "x" * 200_000, "creator": None}
    web.answers["/v1/images/"] = {"page_count": None, "results": [item, good]}
    list(collect([("city", "city")], 1, tmp_path, openverse(f"{web.address}/v1/images/"), client))
    (row,) = rows(tmp_path / "collected.csv")
    assert (row["id"], row["title"][:9], row["author"]) == ("good ?", "one two x", "")
    assert list(collect([("city", "city")], 1, tmp_path, openverse(f"{web.address}/v1/images/"), client)) == []


@pytest.mark.parametrize("answer", [{"results": "abc", "page_count": 9}, [1], {"results": 5}])
def test_a_source_that_answers_nonsense_fails_one_category_and_not_the_next(
    answer: Any, web: StandIn, client: RateLimitedClient, tmp_path: Path
) -> None:
    web.answers["/v1/images/"] = lambda query, _: answer if query["q"] == ["odd"] else openverse_page(web, query)
    with pytest.raises(DataError, match="found odd 0. Try other words: NAME=QUERY. .* answers with"):
        list(collect([("odd", "odd"), ("city", "city")], 2, tmp_path, openverse(f"{web.address}/v1/images/"), client))
    assert len(rows(tmp_path / "collected.csv")) == 2
    web.answers["/v1/images/"] = {"results": [], "page_count": 10**9}
    assert list(openverse(f"{web.address}/v1/images/")(client, "endless")) == []


def test_moved_pictures_are_asked_for_with_the_same_manners(web: StandIn, client: RateLimitedClient) -> None:
    web.moved = {"/old.jpg": "/photo/0.jpg", "/loop": "/loop", "/out": "file:///etc/passwd"}
    assert client.picture(f"{web.address}/old.jpg") == web.files["/photo/0.jpg"]
    with pytest.raises(FetchError, match="moved on and on"):
        client.picture(f"{web.address}/loop")
    assert Counter(web.asked)["/loop"] == 5
    with pytest.raises(FetchError, match="is no web address"):
        client.picture(f"{web.address}/out")
    web.files["/robots.txt"] = b"User-agent: *\nDisallow: /photo/\n"
    with pytest.raises(FetchError, match=r"robots.txt of .* keeps us from .*/photo/0.jpg"):
        RateLimitedClient("chromaroute-test", 0).picture(f"{web.address}/old.jpg")


def test_an_answer_that_trickles_or_never_ends_is_given_up(
    web: StandIn, client: RateLimitedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.collect.http_client.MAX_BYTES", 2**20)
    web.files["/large.jpg"] = bytes(2**20 + 1)
    with pytest.raises(FetchError, match="more than 1 MiB"):
        client.picture(f"{web.address}/large.jpg")
    monkeypatch.setattr("training.collect.http_client.LONGEST_ANSWER", -1.0)
    with pytest.raises(FetchError, match="takes more than"):
        client.json(f"{web.address}/photo/1.jpg", {})


def test_requests_to_one_host_keep_their_distance(web: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    now, slept = [100.0], []

    def sleep(seconds: float) -> None:
        slept.append(round(seconds, 3))
        now[0] += seconds

    monkeypatch.setattr("training.collect.http_client.time.sleep", sleep)
    monkeypatch.setattr("training.collect.http_client.time.monotonic", lambda: now[0])
    polite = RateLimitedClient("chromaroute-test", interval=2)
    for _ in range(3):
        polite.picture(f"{web.address}/photo/0.jpg")  # and robots.txt before the first
    polite.close()
    assert [seconds for seconds in slept if seconds] == [2, 2, 2]


def test_wikimedia_commons_is_paged_and_its_authors_are_plain_text(web: StandIn, client: RateLimitedClient) -> None:
    def answer(query: dict[str, list[str]], _: object) -> dict[str, Any]:
        assert query["gsrsearch"] == ["filetype:bitmap harbour"]
        second = "gsroffset" in query
        entry = {
            "extmetadata": {"Artist": {"value": '<a href="x">Grace\n Hopper</a>'}, "LicenseShortName": {"value": "CC BY-SA 4.0"}}
        }
        info = [{"thumburl": "http://x/1.jpg", "descriptionurl": "http://x/File:1", **entry}]
        page = {"pageid": 2 if second else 1, "title": "File:Harbour.jpg", "index": 1, "imageinfo": info}
        return {
            "query": {"pages": [page, {"pageid": 9, "title": "none", "index": 2}]},
            **({} if second else {"continue": {"gsroffset": 20}}),
        }

    web.answers["/w/api.php"] = answer
    first, second = wikimedia(f"{web.address}/w/api.php")(client, "harbour")
    assert (first.id, second.id) == ("1", "2")
    assert (first.author, first.license, first.page) == ("Grace Hopper", "CC BY-SA 4.0", "http://x/File:1")


def test_unsplash_wants_a_key_and_is_told_of_what_was_kept(web: StandIn, client: RateLimitedClient, tmp_path: Path) -> None:
    keys = []

    def answer(query: dict[str, list[str]], headers: Any) -> dict[str, Any]:
        keys.append(headers["Authorization"])
        names = ["0", "tiny"]
        results = [
            {
                "id": name, "urls": {"regular": f"{web.address}/photo/{name}.jpg"}, "alt_description": None,
                "user": {"name": "Alan"}, "links": {"html": "http://x", "download_location": f"{web.address}/told/{name}"},
            }
            for name in names
        ]  # fmt: skip
        return {"total_pages": 1, "results": results}

    web.answers |= {"/search": answer, "/told/0": {}, "/told/tiny": {}}
    source = unsplash("secret", f"{web.address}/search")
    with pytest.raises(DataError, match="city 1"):
        list(collect([("city", "city")], 2, tmp_path, source, client))
    assert keys == ["Client-ID secret"]
    assert [path for path in web.asked if path.startswith("/told")] == ["/told/0"]
    with pytest.raises(DataError, match="CHROMAROUTE_UNSPLASH_KEY"):
        unsplash("")


def test_lists_of_urls_are_sampled_and_dead_ones_replaced_as_for_imagenets_synsets(web: StandIn, tmp_path: Path) -> None:
    lists = tmp_path / "lists"
    lists.mkdir()
    names = [*(f"{web.address}/photo/{index}.jpg" for index in range(8)), *(f"{web.address}/photo/{name}.jpg" for name in BAD)]
    (lists / "n02084071.txt").write_text("\n".join(f"n02084071_{index}\t{url}" for index, url in enumerate(names)) + "\nnonsense\n")
    words = ["collect", "dog=n02084071", "--count", "6", "--out", str(tmp_path / "out"), "--source", "urls", "--urls", str(lists)]
    words += ["--interval", "0", "--contact", "ada@example.org"]
    result = CliRunner().invoke(command.app, words)
    assert result.exception is None, result.exception
    kept = rows(tmp_path / "out" / "collected.csv")
    assert len(kept) == 6
    assert [row["id"] for row in kept] != sorted(row["id"] for row in kept)
    assert all("ada@example.org" in agent for agent in web.agents)
    with pytest.raises(DataError, match=r"there is no list .*cat.txt"):
        list(url_lists(lists)(RateLimitedClient("x"), "cat"))
    with pytest.raises(DataError, match="no source 'flickr': give openverse"):
        raise CliRunner().invoke(command.app, ["collect", "dog", "--source", "flickr"]).exception  # type: ignore[misc]


def test_a_picture_looks_alike_in_another_size_and_not_like_others(web: StandIn) -> None:
    looks = {name: look_of(web.files[f"/photo/{name}.jpg"]) for name in ("larger", *map(str, range(10)))}
    assert (looks["larger"] ^ looks["0"]).bit_count() <= ALIKE
    assert min((looks["0"] ^ looks[str(index)]).bit_count() for index in range(1, 10)) > 2 * ALIKE
