"""Pages of other origins can make a browser send requests to a server that it reaches; they are refused."""

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from app.main import create_app
from app.settings import Settings


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    settings = Settings(jobs=False, cors_origins="https://album.example", hosts="testserver,album.example")
    with TestClient(create_app(settings)) as client:
        yield client


@pytest.mark.parametrize(
    ("site", "origin", "status"),
    [
        (None, None, 200),
        ("same-origin", "http://testserver", 200),
        ("none", None, 200),
        ("cross-site", "https://album.example", 200),
        ("cross-site", "https://other.example", 403),
        ("same-site", "http://testserver:81", 403),
        ("cross-site", "null", 403),
    ],
)
def test_only_pages_of_listed_origins_may_send_pictures(
    client: TestClient, cat: bytes, site: str | None, origin: str | None, status: int
) -> None:
    headers = {name: value for name, value in (("sec-fetch-site", site), ("origin", origin)) if value}
    response = client.post("/v1/route", files={"file": cat}, headers=headers)
    assert response.status_code == status, response.text
    if status == 403:
        assert response.json()["type"] == "urn:chromaroute:problem:cross-site"
        assert client.get("/v1/categories", headers=headers).status_code == 200  # the browser keeps the answer from that page


@pytest.mark.parametrize(
    ("host", "status"), [("testserver", 200), ("Album.example:8000", 200), ("rebound.example", 421), ("", 421)]
)
def test_only_listed_hosts_are_answered(client: TestClient, host: str, status: int) -> None:
    response = client.get("/livez", headers={"host": host})
    assert response.status_code == status
    if status == 421:
        assert response.json()["type"] == "urn:chromaroute:problem:wrong-host"
