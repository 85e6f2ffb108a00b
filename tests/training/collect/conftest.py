"""A server with photographs, and a client without delays."""

import io
from collections.abc import Iterator

import pytest
from PIL import Image

from tests.photo_server import PhotoServer
from training.collect.http_client import RateLimitedClient


@pytest.fixture
def server(photographs: dict[str, Image.Image]) -> Iterator[PhotoServer]:
    """Ten crops of photographs, and unusable ones: in another size, duplicated, gray, tiny, broken, and a page; one is missing."""
    squares = [picture.resize((600, 300)) for picture in photographs.values()]
    crops = [_jpeg(picture.crop((left, 0, left + 300, 280))) for picture in squares for left in (0, 300)]
    first = Image.open(io.BytesIO(crops[0]))
    files = {f"/photo/{index}.jpg": content for index, content in enumerate(crops)} | {
        "/photo/twice.jpg": crops[1],
        "/photo/larger.jpg": _jpeg(first.resize((600, 560)), 70),
        "/photo/gray.jpg": _jpeg(first.convert("L")),
        "/photo/tiny.jpg": _jpeg(first.resize((90, 90))),
        "/photo/broken.jpg": crops[2][:2000],
        "/photo/page.jpg": b"<html>not here any more</html>",
    }
    with PhotoServer(files=files).serving() as running:
        running.answers["/v1/images/"] = running.openverse_page
        yield running


@pytest.fixture
def client() -> Iterator[RateLimitedClient]:
    """A client that does not wait between requests."""
    running = RateLimitedClient("chromaroute-test", interval=0)
    yield running
    running.close()


def _jpeg(picture: Image.Image, quality: int = 90) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
