"""Sources of photographs: pages, authors and licenses, keys, and lists of URLs."""

from pathlib import Path
from typing import Any

import pytest

from tests.cli_runner import invoke
from tests.photo_server import PhotoServer
from training.collect.collection import collect
from training.collect.http_client import RateLimitedClient
from training.collect.sources import unsplash, url_lists, wikimedia
from training.data.dataset_index import DataError


def test_wikimedia_results_are_paged_and_authors_are_plain_text(server: PhotoServer, client: RateLimitedClient) -> None:
    def answer(query: dict[str, list[str]], _: object) -> dict[str, Any]:
        assert query["gsrsearch"] == ["filetype:bitmap harbor"]
        second = "gsroffset" in query
        metadata = {"Artist": {"value": '<a href="x">Grace\n Hopper</a>'}, "LicenseShortName": {"value": "CC BY-SA 4.0"}}
        info = [{"thumburl": "http://x/1.jpg", "descriptionurl": "http://x/File:1", "extmetadata": metadata}]
        page = {"pageid": 2 if second else 1, "title": "File:Harbor.jpg", "index": 1, "imageinfo": info}
        pages = [page, {"pageid": 9, "title": "none", "index": 2}]
        return {"query": {"pages": pages}, **({} if second else {"continue": {"gsroffset": 20}})}

    server.answers["/w/api.php"] = answer
    first, second = wikimedia(f"{server.address}/w/api.php")(client, "harbor")
    assert (first.id, second.id) == ("1", "2")
    assert (first.author, first.license, first.page) == ("Grace Hopper", "CC BY-SA 4.0", "http://x/File:1")


def test_unsplash_needs_a_key_and_is_notified_of_kept_pictures(
    server: PhotoServer, client: RateLimitedClient, tmp_path: Path
) -> None:
    keys = []

    def answer(query: dict[str, list[str]], headers: Any) -> dict[str, Any]:
        keys.append(headers["Authorization"])
        results = [
            {
                "id": name, "urls": {"regular": f"{server.address}/photo/{name}.jpg"}, "alt_description": None,
                "user": {"name": "Alan"}, "links": {"html": "http://x", "download_location": f"{server.address}/kept/{name}"},
            }
            for name in ("0", "tiny")
        ]  # fmt: skip
        return {"total_pages": 1, "results": results}

    server.answers |= {"/search": answer, "/kept/0": {}, "/kept/tiny": {}}
    source = unsplash("secret", f"{server.address}/search")
    with pytest.raises(DataError, match="city 1"):
        list(collect([("city", "city")], 2, tmp_path, source, client))
    assert keys == ["Client-ID secret"]
    assert [path for path in server.requests if path.startswith("/kept")] == ["/kept/0"]
    with pytest.raises(DataError, match="CHROMAROUTE_UNSPLASH_KEY"):
        unsplash("")


def test_missing_list_of_urls_and_unknown_source_are_reported(client: RateLimitedClient, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no list .*cat\.txt"):
        list(url_lists(tmp_path)(client, "cat"))
    with pytest.raises(DataError, match="no source 'flickr': give openverse"):
        invoke("collect", "dog", "--source", "flickr")
