"""Sources of photographs with license and author: Openverse, Wikimedia Commons, Unsplash, and lists of URLs."""

import random
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from training.collect.http_client import FetchError, RateLimitedClient
from training.data.dataset_index import DataError

OPENVERSE = "https://api.openverse.org/v1/images/"
WIKIMEDIA = "https://commons.wikimedia.org/w/api.php"
UNSPLASH = "https://api.unsplash.com/search/photos"
PAGE = 20  # results a page, the limit without an account


@dataclass(frozen=True)
class Photo:
    """A photograph that can be downloaded: `id` is that of the source, `page` the web page that shows it.

    All texts are reduced to one line of limited length.
    """

    id: str
    url: str
    title: str = ""
    author: str = ""
    license: str = "unknown"
    license_url: str = ""
    page: str = ""
    kept: Callable[[], object] | None = field(default=None, compare=False)  # notifies the source that the picture is kept

    def __post_init__(self) -> None:
        for name in ("id", "url", "title", "author", "license", "license_url", "page"):
            object.__setattr__(self, name, one_line(getattr(self, name)))


Source = Callable[[RateLimitedClient, str], Iterator[Photo]]  # the results of a query, page by page


_TAGS = re.compile(r"<[^>]+>")


def one_line(text: object, length: int = 1000) -> str:
    """Plain text without line breaks and unencodable characters; empty for None."""
    plain = str("" if text is None else text).encode(errors="replace").decode()
    return " ".join(plain.split())[:length]


def openverse(address: str = OPENVERSE) -> Source:
    """Openverse's photographs under licenses that allow changes and commercial use."""

    def photos(client: RateLimitedClient, query: str) -> Iterator[Photo]:
        terms = {"category": "photograph", "license_type": "commercial,modification"}
        for page in count(1):
            response = client.json(address, {"q": query, "page": page, "page_size": PAGE, **terms})
            yield from _photos(response.get("results"), _of_openverse)
            if page >= _integer(response.get("page_count")) or not response.get("results"):
                return

    return photos


def _of_openverse(item: dict[str, Any]) -> Photo:
    license = f"{item.get('license') or 'unknown'} {item.get('license_version') or ''}".strip()
    return Photo(item["id"], item["url"], item.get("title") or "", item.get("creator") or "", license,
                 item.get("license_url") or "", item.get("foreign_landing_url") or "")  # fmt: skip


def wikimedia(address: str = WIKIMEDIA) -> Source:
    """Bitmaps of Wikimedia Commons that match a search, at most 1024 px wide."""

    def photos(client: RateLimitedClient, query: str) -> Iterator[Photo]:
        parameters: dict[str, Any] = {
            "action": "query", "format": "json", "formatversion": 2, "generator": "search", "gsrnamespace": 6, "gsrlimit": PAGE,
            "gsrsearch": f"filetype:bitmap {query}", "prop": "imageinfo", "iiprop": "url|extmetadata", "iiurlwidth": 1024,
        }  # fmt: skip
        continuation: Any = {}
        while isinstance(continuation, dict):
            response = client.json(address, {**parameters, **continuation})
            pages = (response.get("query") or {}).get("pages")
            yield from _photos(pages, _of_wikimedia)
            continuation = response.get("continue") if pages else None

    return photos


def _of_wikimedia(item: dict[str, Any]) -> Photo:
    (info,) = item["imageinfo"]
    texts = {name: _TAGS.sub("", str(entry.get("value", ""))) for name, entry in (info.get("extmetadata") or {}).items()}
    return Photo(item["pageid"], info.get("thumburl") or info["url"], item.get("title") or "",
                 texts.get("Artist", ""), texts.get("LicenseShortName") or "unknown", texts.get("LicenseUrl", ""),
                 info.get("descriptionurl") or "")  # fmt: skip


def unsplash(key: str, address: str = UNSPLASH) -> Source:
    """Photographs of Unsplash, whose API needs the key of a registered application and a notification of every download.

    Raises:
        DataError: there is no key.
    """
    if not key:
        raise DataError("Unsplash needs a key: register an application there and set CHROMAROUTE_UNSPLASH_KEY.")
    headers = {"Authorization": f"Client-ID {key}"}

    def photos(client: RateLimitedClient, query: str) -> Iterator[Photo]:
        def of_unsplash(item: dict[str, Any]) -> Photo:
            notify = partial(client.json, item["links"]["download_location"], {}, headers)
            return Photo(item["id"], item["urls"]["regular"], item.get("alt_description") or "", item["user"]["name"],
                         "Unsplash License", "https://unsplash.com/license", item["links"]["html"], notify)  # fmt: skip

        for page in count(1):
            response = client.json(address, {"query": query, "page": page, "per_page": PAGE}, headers)
            yield from _photos(response.get("results"), of_unsplash)
            if page >= _integer(response.get("total_pages")) or not response.get("results"):
                return

    return photos


def url_lists(folder: Path, seed: int = 0) -> Source:
    """The URLs of `FOLDER/QUERY.txt` in random order, in the format of the lists of ImageNet (paper 004, section 2.1).

    A line is a URL, or a name, white space and a URL. The query is the name of the file, for instance a WordNet id.
    """

    def photos(client: RateLimitedClient, query: str) -> Iterator[Photo]:
        path = folder / f"{query}.txt"
        if not path.is_file():
            raise DataError(f"there is no list {path}: put the URLs of {query} there, one a line.")
        lines = [line.split() for line in path.read_text(errors="replace").splitlines() if line.strip()]
        random.Random(seed).shuffle(lines)
        for words in lines:
            yield Photo(words[0] if len(words) > 1 else words[-1], words[-1], page=words[-1])

    return photos


def _photos(items: Any, photo: Callable[[dict[str, Any]], Photo]) -> Iterator[Photo]:
    """The photos of a response; incomplete items are skipped.

    Raises:
        FetchError: the response has no list of items.
    """
    if not isinstance(items, list | None):
        raise FetchError(f"the source returns {items!r} instead of a list of photographs.")
    for item in items or ():
        with suppress(KeyError, TypeError, AttributeError, ValueError):
            yield photo(item)


def _integer(value: Any) -> int:
    return value if isinstance(value, int) else 0
