"""A rate-limited HTTP client for public servers: one request at a time, robots.txt, and retries with backoff."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit
from urllib.robotparser import RobotFileParser

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt

from models.errors import ChromarouteError

MAX_BYTES = 32 * 2**20  # of one picture
ATTEMPTS = 4
MAX_REDIRECTS = 5
MAX_RESPONSE_SECONDS = 120.0
MAX_RETRY_SECONDS = 120.0  # between two attempts, whatever the server requests


class FetchError(ChromarouteError):
    """A download failed, after retries if these could help."""


class RateLimitedClient:
    """A client that waits `interval` seconds between requests to one host, and retries temporary failures: 429, 5xx, lost
    connections.

    Pictures are only downloaded if the robots.txt of the host allows `agent`. APIs are called as documented, without robots.txt,
    which is meant for crawlers.
    """

    def __init__(self, agent: str, interval: float = 1.0, transport: httpx.BaseTransport | None = None) -> None:
        self.agent, self.interval = agent, interval
        self._client = httpx.Client(headers={"User-Agent": agent}, timeout=30, transport=transport)
        self._last: dict[str, float] = {}
        self._robots: dict[str, RobotFileParser] = {}

    def json(self, url: str, query: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        """The JSON object that an API returns.

        Raises:
            FetchError: the API returns an error, or no JSON object.
        """
        response = self._fetch(url, dict(query), dict(headers or {}))
        try:
            content = json.loads(response.content)
        except ValueError as error:
            raise FetchError(f"{url} does not return JSON: {error}.") from error
        if not isinstance(content, dict):
            raise FetchError(f"{url} returns a {type(content).__name__} instead of an object.")
        return content

    def picture(self, url: str) -> bytes:
        """The bytes of a file; redirects are followed under the same rules.

        Raises:
            FetchError: the file does not exist, is forbidden by robots.txt, is too large, or takes too long.
        """
        for _ in range(MAX_REDIRECTS):
            if not self._allowed(url):
                raise FetchError(f"the robots.txt of {_host(url)} forbids {url}.")
            response = self._fetch(url, {}, {})
            if response.redirect is None:
                return response.content
            url = response.redirect
        raise FetchError(f"{url} is redirected too often.")

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def _fetch(self, url: str, query: dict[str, Any], headers: dict[str, str]) -> "Response":
        retrying = Retrying(
            stop=stop_after_attempt(ATTEMPTS), retry=retry_if_exception(_is_temporary), wait=self._retry_wait, reraise=True
        )
        try:
            return retrying(self._fetch_once, url, query, headers)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise FetchError(f"{url} cannot be downloaded: {error}") from error

    def _fetch_once(self, url: str, query: dict[str, Any], headers: dict[str, str]) -> "Response":
        host = _host(url)
        time.sleep(max(0.0, self._last.get(host, 0.0) + self.interval - time.monotonic()))
        self._last[host] = start = time.monotonic()
        with self._client.stream("GET", url, params=query or None, headers=headers) as response:
            if response.has_redirect_location:
                return Response(b"", str(response.url.join(response.headers["location"])))
            response.raise_for_status()
            content = bytearray()
            for piece in response.iter_bytes():
                content += piece
                if len(content) > MAX_BYTES:
                    raise FetchError(f"{url} has more than {MAX_BYTES >> 20} MiB.")
                if time.monotonic() - start > MAX_RESPONSE_SECONDS:
                    raise FetchError(f"{url} takes more than {MAX_RESPONSE_SECONDS:.0f} seconds.")
            return Response(bytes(content))

    def _retry_wait(self, state: RetryCallState) -> float:
        """The seconds of the header Retry-After, otherwise 1, 2, 4 ... times the interval."""
        error = state.outcome.exception() if state.outcome else None
        requested = error.response.headers.get("retry-after", "") if isinstance(error, httpx.HTTPStatusError) else ""
        seconds = float(requested) if requested.isdigit() else self.interval * 2 ** (state.attempt_number - 1)
        return min(MAX_RETRY_SECONDS, seconds)

    def _allowed(self, url: str) -> bool:
        host = _host(url)
        if host not in self._robots:
            rules = RobotFileParser()
            try:
                text = self._fetch(urljoin(url, "/robots.txt"), {}, {}).content.decode(errors="replace")
                rules.parse(text.splitlines())
            except FetchError as error:
                status = error.__cause__.response.status_code if isinstance(error.__cause__, httpx.HTTPStatusError) else 500
                # without robots.txt everything is allowed; a failing server is left alone
                rules.parse(() if status < 500 else ("User-agent: *", "Disallow: /"))
            self._robots[host] = rules
        return self._robots[host].can_fetch(self.agent, url)


@dataclass(frozen=True)
class Response:
    """The body of a response, or the URL that it redirects to."""

    content: bytes
    redirect: str | None = None


def _host(url: str) -> str:
    """Host and port of a URL.

    Raises:
        FetchError: it is not a web address.
    """
    try:
        parts = urlsplit(url)
    except (TypeError, ValueError, AttributeError) as error:
        raise FetchError(f"{url} is not a web address: {error}.") from error
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise FetchError(f"{url} is not a web address.")
    return parts.netloc


def _is_temporary(error: BaseException) -> bool:
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code == 429 or error.response.status_code >= 500
    return isinstance(error, httpx.TransportError) and not isinstance(error, httpx.UnsupportedProtocol)
