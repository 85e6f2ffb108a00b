"""Collecting photographs: replacing unusable ones, continuing an interrupted collection, and malformed results."""

import csv
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.cli_runner import invoke
from tests.photo_server import UNUSABLE, PhotoServer
from training.collect.collection import MAX_HASH_DISTANCE, collect, difference_hash
from training.collect.http_client import RateLimitedClient
from training.collect.sources import openverse
from training.data.dataset_index import DataError
from training.data.prepare import prepare


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_unusable_pictures_are_replaced_until_there_are_enough(
    server: PhotoServer, client: RateLimitedClient, tmp_path: Path
) -> None:
    source = openverse(f"{server.address}/v1/images/")
    list(collect([("city", "skyline")], 8, tmp_path, source, client))
    kept = rows(tmp_path / "collected.csv")
    assert [row["id"] for row in kept] == [f"id-{index}" for index in range(8)]
    assert {(row["author"], row["license"]) for row in kept} == {("Ada", "by 4.0")}
    assert kept[0]["page"] == "https://example.org/0"
    assert len(list((tmp_path / "city").glob("*.jpg"))) == 8
    reasons = {row["id"].removeprefix("id-"): row["reason"] for row in rows(tmp_path / "rejected.csv")}
    assert set(reasons) == set(UNUSABLE)
    assert {reasons[name] for name in ("larger", "twice")} == {"duplicated"}
    assert (reasons["gray"], reasons["tiny"], reasons["broken"], reasons["page"]) == ("gray", "tiny", "unreadable", "unreadable")
    assert "404" in reasons["gone"]
    assert len(prepare(tmp_path).entries) == 8


def test_interrupted_collection_is_continued_without_downloading_anything_twice(
    server: PhotoServer, client: RateLimitedClient, tmp_path: Path
) -> None:
    source = openverse(f"{server.address}/v1/images/")
    collecting = collect([("city", "city")], 6, tmp_path, source, client)
    for _ in range(5):
        next(collecting)
    collecting.close()
    with (tmp_path / "collected.csv").open("a") as record:
        record.write("city/cut")  # the process was killed while it wrote a row
    list(collect([("city", "city")], 6, tmp_path, source, client))
    downloads = Counter(path for path in server.requests if path.startswith("/photo/"))
    assert set(downloads.values()) == {1}
    assert [row["id"] for row in rows(tmp_path / "collected.csv") if row["sha256"]] == [f"id-{index}" for index in range(6)]
    before = len(server.requests)
    assert list(collect([("city", "city")], 6, tmp_path, source, client)) == []
    assert len(server.requests) == before


def test_too_few_pictures_are_reported_after_all_categories_were_tried(
    server: PhotoServer, client: RateLimitedClient, tmp_path: Path
) -> None:
    source = openverse(f"{server.address}/v1/images/")
    with pytest.raises(DataError, match="12 of each were requested, and there are city 10, town 0"):
        list(collect([("city", "city"), ("town", "town")], 12, tmp_path, source, client))


@pytest.mark.parametrize("name", ["../x", "", ".hidden", "train"])
def test_category_must_be_a_valid_folder_name(name: str, client: RateLimitedClient, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a valid folder name"):
        list(collect([(name, "x")], 1, tmp_path, openverse("http://127.0.0.1:9"), client))


@pytest.mark.parametrize(
    "item",
    [
        {"url": "http://x/1.jpg"}, {"id": "a"}, {"id": {}, "url": 5}, {"id": "a", "url": "http://[bad"}, {"id": "a", "url": "ftp://x/1.jpg"},
        "text", None, {"id": "a", "url": "file:///etc/passwd"},
    ],
)  # fmt: skip
def test_malformed_items_are_skipped(item: Any, server: PhotoServer, client: RateLimitedClient, tmp_path: Path) -> None:
    good = {"id": "good\n\ud800", "url": f"{server.address}/photo/0.jpg", "title": "one\ntwo " + "x" * 200_000, "creator": None}
    server.answers["/v1/images/"] = {"page_count": None, "results": [item, good]}
    list(collect([("city", "city")], 1, tmp_path, openverse(f"{server.address}/v1/images/"), client))
    (row,) = rows(tmp_path / "collected.csv")
    assert (row["id"], row["title"][:9], row["author"]) == ("good ?", "one two x", "")
    assert list(collect([("city", "city")], 1, tmp_path, openverse(f"{server.address}/v1/images/"), client)) == []


@pytest.mark.parametrize("answer", [{"results": "abc", "page_count": 9}, [1], {"results": 5}])
def test_malformed_response_fails_only_its_category(
    answer: Any, server: PhotoServer, client: RateLimitedClient, tmp_path: Path
) -> None:
    def respond(query: dict[str, list[str]], _: object) -> Any:
        return answer if query["q"] == ["odd"] else server.openverse_page(query)

    server.answers["/v1/images/"] = respond
    with pytest.raises(DataError, match=r"there are odd 0\. Try another query: NAME=QUERY\. .* returns"):
        list(collect([("odd", "odd"), ("city", "city")], 2, tmp_path, openverse(f"{server.address}/v1/images/"), client))
    assert len(rows(tmp_path / "collected.csv")) == 2
    server.answers["/v1/images/"] = {"results": [], "page_count": 10**9}
    assert list(openverse(f"{server.address}/v1/images/")(client, "endless")) == []


def test_lists_of_urls_are_sampled_at_random_and_dead_urls_replaced(server: PhotoServer, tmp_path: Path) -> None:
    lists = tmp_path / "lists"
    lists.mkdir()
    urls = [f"{server.address}/photo/{name}.jpg" for name in (*range(8), *UNUSABLE)]
    lines = [f"n02084071_{index}\t{url}" for index, url in enumerate(urls)]
    (lists / "n02084071.txt").write_text("\n".join(lines) + "\nnonsense\n")
    options = ("--count", 6, "--out", tmp_path / "out", "--source", "urls", "--urls", lists, "--interval", 0)
    invoke("collect", "dog=n02084071", *options, "--contact", "ada@example.org")
    kept = rows(tmp_path / "out" / "collected.csv")
    assert len(kept) == 6
    assert [row["id"] for row in kept] != sorted(row["id"] for row in kept)
    assert all("ada@example.org" in agent for agent in server.agents)


def test_hashes_of_the_same_picture_in_two_sizes_are_similar_and_those_of_others_are_not(server: PhotoServer) -> None:
    hashes = {name: difference_hash(server.files[f"/photo/{name}.jpg"]) for name in ("larger", *map(str, range(10)))}
    assert (hashes["larger"] ^ hashes["0"]).bit_count() <= MAX_HASH_DISTANCE
    assert min((hashes["0"] ^ hashes[str(index)]).bit_count() for index in range(1, 10)) > 2 * MAX_HASH_DISTANCE
