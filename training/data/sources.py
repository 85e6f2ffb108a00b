"""Where photographs can be asked for by name, with license and author: Openverse, Wikimedia Commons, Unsplash, lists of URLs."""

import random
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from training.data.manifest import DataError
from training.data.polite import FetchError, Polite

OPENVERSE = "https://api.openverse.org/v1/images/"
WIKIMEDIA = "https://commons.wikimedia.org/w/api.php"
UNSPLASH = "https://api.unsplash.com/search/photos"
PAGE = 20  # what all three give without an account


@dataclass(frozen=True)
class Photo:
    """A photograph that can be fetched: `id` is the source's own, `page` is where people see it.

    Whatever a source says becomes one line of text of a bearable length.
    """

    id: str
    url: str
    title: str | None = ""
    author: str | None = ""
    license: str | None = "unknown"
    license_url: str | None = ""
    page: str | None = ""
    kept: Callable[[], object] | None = field(default=None, compare=False)  # what the source wants to be told then

    def __post_init__(self) -> None:
        for name in ("id", "url", "title", "author", "license", "license_url", "page"):
            object.__setattr__(self, name, one_line(getattr(self, name)))


Source = Callable[[Polite, str], Iterator[Photo]]  # asks for a query, a page after the other, until there are no more


_TAGS = re.compile(r"<[^>]+>")


def one_line(text: object, length: int = 1000) -> str:
    """Plain text without line breaks and what no file can hold; empty for None."""
    plain = str("" if text is None else text).encode(errors="replace").decode()
    return " ".join(plain.split())[:length]


def openverse(address: str = OPENVERSE) -> Source:
    """Openverse's photographs under licenses that allow changes and commercial use."""

    def photos(client: Polite, query: str) -> Iterator[Photo]:
        terms = {"category": "photograph", "license_type": "commercial,modification"}
        for page in count(1):
            found = client.json(address, {"q": query, "page": page, "page_size": PAGE, **terms})
            yield from _each(found.get("results"), _of_openverse)
            if page >= _whole(found.get("page_count")) or not found.get("results"):
                return

    return photos


def _of_openverse(item: dict[str, Any]) -> Photo:
    license = f"{item.get('license') or 'unknown'} {item.get('license_version') or ''}".strip()
    return Photo(item["id"], item["url"], item.get("title"), item.get("creator"), license, item.get("license_url"),
                 item.get("foreign_landing_url"))  # fmt: skip


def wikimedia(address: str = WIKIMEDIA) -> Source:
    """Wikimedia Commons' bitmaps that a search finds, at most 1024 px wide."""

    def photos(client: Polite, query: str) -> Iterator[Photo]:
        asked: dict[str, Any] = {
            "action": "query", "format": "json", "formatversion": 2, "generator": "search", "gsrnamespace": 6, "gsrlimit": PAGE,
            "gsrsearch": f"filetype:bitmap {query}", "prop": "imageinfo", "iiprop": "url|extmetadata", "iiurlwidth": 1024,
        }  # fmt: skip
        further: Any = {}
        while isinstance(further, dict):
            found = client.json(address, {**asked, **further})
            pages = (found.get("query") or {}).get("pages")
            yield from _each(pages, _of_wikimedia)
            further = found.get("continue") if pages else None

    return photos


def _of_wikimedia(item: dict[str, Any]) -> Photo:
    (info,) = item["imageinfo"]
    told = {name: _TAGS.sub("", str(entry.get("value", ""))) for name, entry in (info.get("extmetadata") or {}).items()}
    return Photo(item["pageid"], info.get("thumburl") or info["url"], item.get("title"), told.get("Artist"),
                 told.get("LicenseShortName") or "unknown", told.get("LicenseUrl"), info.get("descriptionurl"))  # fmt: skip


def unsplash(key: str, address: str = UNSPLASH) -> Source:
    """Unsplash's photographs; its API wants the key of a registered application, and to be told of every download.

    Raises:
        DataError: there is no key.
    """
    if not key:
        raise DataError("Unsplash wants a key: register an application there and set CHROMAROUTE_UNSPLASH_KEY.")
    headers = {"Authorization": f"Client-ID {key}"}

    def photos(client: Polite, query: str) -> Iterator[Photo]:
        def of_unsplash(item: dict[str, Any]) -> Photo:
            told = partial(client.json, item["links"]["download_location"], {}, headers)
            return Photo(item["id"], item["urls"]["regular"], item.get("alt_description"), item["user"]["name"],
                         "Unsplash License", "https://unsplash.com/license", item["links"]["html"], told)  # fmt: skip

        for page in count(1):
            found = client.json(address, {"query": query, "page": page, "per_page": PAGE}, headers)
            yield from _each(found.get("results"), of_unsplash)
            if page >= _whole(found.get("total_pages")) or not found.get("results"):
                return

    return photos


def url_lists(folder: Path, seed: int = 0) -> Source:
    """The URLs of `FOLDER/QUERY.txt` in random order, as ImageNet listed those of a synset (paper 004, section 2.1).

    A line is a URL, or a name, white space and a URL. The query is the file's name: a WordNet id, say.
    """

    def photos(client: Polite, query: str) -> Iterator[Photo]:
        path = folder / f"{query}.txt"
        if not path.is_file():
            raise DataError(f"there is no list {path}: put the URLs of {query} there, one a line.")
        lines = [line.split() for line in path.read_text(errors="replace").splitlines() if line.strip()]
        random.Random(seed).shuffle(lines)
        for words in lines:
            yield Photo(words[0] if len(words) > 1 else words[-1], words[-1], page=words[-1])

    return photos


def _each(items: Any, photo: Callable[[dict[str, Any]], Photo]) -> Iterator[Photo]:
    """The photos of an answer; items that lack what is needed are left out.

    Raises:
        FetchError: the answer has no list of items.
    """
    if not isinstance(items, list | None):
        raise FetchError(f"the source answers with {items!r} where a list of photographs should be.")
    for item in items or ():
        with suppress(KeyError, TypeError, AttributeError, ValueError):
            yield photo(item)


def _whole(value: Any) -> int:
    return value if isinstance(value, int) else 0
