"""The rate-limited client: retries, robots.txt, redirects, limits, and the interval between requests."""

from collections import Counter

import pytest

from tests.photo_server import PhotoServer
from training.collect.http_client import FetchError, RateLimitedClient

NO_PHOTOS = b"User-agent: *\nDisallow: /photo/\n"


def test_temporary_failures_are_retried_a_few_times(server: PhotoServer, client: RateLimitedClient) -> None:
    server.failures = {"/photo/0.jpg": [429, 503], "/photo/1.jpg": [500] * 9}
    assert client.picture(f"{server.address}/photo/0.jpg") == server.files["/photo/0.jpg"]
    with pytest.raises(FetchError, match="500"):
        client.picture(f"{server.address}/photo/1.jpg")
    assert Counter(server.requests)["/photo/1.jpg"] == 4
    assert Counter(server.requests)["/robots.txt"] == 1
    assert server.agents == {"chromaroute-test"}


def test_only_web_addresses_are_requested(client: RateLimitedClient) -> None:
    with pytest.raises(FetchError, match="is not a web address"):
        client.picture("file:///etc/passwd")


def test_pictures_that_robots_txt_forbids_are_not_requested(server: PhotoServer, client: RateLimitedClient) -> None:
    server.files["/robots.txt"] = NO_PHOTOS
    with pytest.raises(FetchError, match=r"the robots\.txt of .* forbids .*/photo/3\.jpg"):
        client.picture(f"{server.address}/photo/3.jpg")
    assert "/photo/3.jpg" not in server.requests


def test_redirects_are_followed_under_the_same_rules(server: PhotoServer, client: RateLimitedClient) -> None:
    server.redirects = {"/old.jpg": "/photo/0.jpg", "/loop": "/loop", "/out": "file:///etc/passwd"}
    assert client.picture(f"{server.address}/old.jpg") == server.files["/photo/0.jpg"]
    with pytest.raises(FetchError, match="is redirected too often"):
        client.picture(f"{server.address}/loop")
    assert Counter(server.requests)["/loop"] == 5
    with pytest.raises(FetchError, match="is not a web address"):
        client.picture(f"{server.address}/out")
    server.files["/robots.txt"] = NO_PHOTOS
    with pytest.raises(FetchError, match=r"robots\.txt of .* forbids .*/photo/0\.jpg"):
        RateLimitedClient("chromaroute-test", 0).picture(f"{server.address}/old.jpg")


def test_responses_that_are_too_large_or_too_slow_are_given_up(
    server: PhotoServer, client: RateLimitedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.collect.http_client.MAX_BYTES", 2**20)
    server.files["/large.jpg"] = bytes(2**20 + 1)
    with pytest.raises(FetchError, match="more than 1 MiB"):
        client.picture(f"{server.address}/large.jpg")
    monkeypatch.setattr("training.collect.http_client.MAX_RESPONSE_SECONDS", -1.0)
    with pytest.raises(FetchError, match="takes more than"):
        client.json(f"{server.address}/photo/1.jpg", {})


def test_requests_to_one_host_are_separated_by_the_interval(server: PhotoServer, monkeypatch: pytest.MonkeyPatch) -> None:
    now, slept = [100.0], []

    def sleep(seconds: float) -> None:
        slept.append(round(seconds, 3))
        now[0] += seconds

    monkeypatch.setattr("training.collect.http_client.time.sleep", sleep)
    monkeypatch.setattr("training.collect.http_client.time.monotonic", lambda: now[0])
    client = RateLimitedClient("chromaroute-test", interval=2)
    for _ in range(3):
        client.picture(f"{server.address}/photo/0.jpg")  # and robots.txt before the first
    client.close()
    assert [seconds for seconds in slept if seconds] == [2, 2, 2]
