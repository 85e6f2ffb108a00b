"""Fetching from other people's servers with manners: one request at a time and not too many, robots.txt, retries that wait."""

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
MOVES = 5  # addresses that a picture may be moved to
LONGEST_ANSWER = 120.0  # seconds
LONGEST_WAIT = 120.0  # seconds between two attempts, whatever the server asks for


class FetchError(ChromarouteError):
    """Something could not be fetched, after retries where these could help."""


class Polite:
    """A client that waits `interval` seconds between requests to one host, and retries what may pass: 429, 5xx, lost connections.

    Pictures are only fetched where the host's robots.txt lets `agent` in. An API is asked as its own documentation says, which its
    robots.txt, made for crawlers, does not know.
    """

    def __init__(self, agent: str, interval: float = 1.0, transport: httpx.BaseTransport | None = None) -> None:
        self.agent, self.interval = agent, interval
        self._client = httpx.Client(headers={"User-Agent": agent}, timeout=30, transport=transport)
        self._last: dict[str, float] = {}
        self._robots: dict[str, RobotFileParser] = {}

    def json(self, url: str, asked: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        """What an API answers.

        Raises:
            FetchError: it answers with an error, or with no JSON object.
        """
        answer = self._fetch(url, dict(asked), dict(headers or {}))
        try:
            found = json.loads(answer.content)
        except ValueError as error:
            raise FetchError(f"{url} answers with no JSON: {error}.") from error
        if not isinstance(found, dict):
            raise FetchError(f"{url} answers with a {type(found).__name__} instead of an object.")
        return found

    def picture(self, url: str) -> bytes:
        """The bytes of a file; each address that it is moved to is asked with the same manners.

        Raises:
            FetchError: it is gone, forbidden by robots.txt, too large, or takes too long.
        """
        for _ in range(MOVES):
            if not self._allowed(url):
                raise FetchError(f"the robots.txt of {_host(url)} keeps us from {url}.")
            answer = self._fetch(url, {}, {})
            if answer.moved is None:
                return answer.content
            url = answer.moved
        raise FetchError(f"{url} is moved on and on.")

    def close(self) -> None:
        """Let connections go."""
        self._client.close()

    def _fetch(self, url: str, asked: dict[str, Any], headers: dict[str, str]) -> "Answer":
        retrying = Retrying(
            stop=stop_after_attempt(ATTEMPTS), retry=retry_if_exception(_may_pass), wait=self._patience, reraise=True
        )
        try:
            return retrying(self._once, url, asked, headers)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise FetchError(f"{url} could not be fetched: {error}") from error

    def _once(self, url: str, asked: dict[str, Any], headers: dict[str, str]) -> "Answer":
        host = _host(url)
        time.sleep(max(0.0, self._last.get(host, 0.0) + self.interval - time.monotonic()))
        self._last[host] = begun = time.monotonic()
        with self._client.stream("GET", url, params=asked or None, headers=headers) as answer:
            if answer.has_redirect_location:
                return Answer(b"", str(answer.url.join(answer.headers["location"])))
            answer.raise_for_status()
            content = bytearray()
            for piece in answer.iter_bytes():
                content += piece
                if len(content) > MAX_BYTES:
                    raise FetchError(f"{url} has more than {MAX_BYTES >> 20} MiB.")
                if time.monotonic() - begun > LONGEST_ANSWER:
                    raise FetchError(f"{url} takes more than {LONGEST_ANSWER:.0f} seconds.")
            return Answer(bytes(content))

    def _patience(self, state: RetryCallState) -> float:
        """What the server asks for in Retry-After, else 1, 2, 4 ... times the interval."""
        error = state.outcome.exception() if state.outcome else None
        asked = error.response.headers.get("retry-after", "") if isinstance(error, httpx.HTTPStatusError) else ""
        return min(LONGEST_WAIT, float(asked) if asked.isdigit() else self.interval * 2 ** (state.attempt_number - 1))

    def _allowed(self, url: str) -> bool:
        host = _host(url)
        if host not in self._robots:
            rules = RobotFileParser()
            try:
                text = self._fetch(urljoin(url, "/robots.txt"), {}, {}).content.decode(errors="replace")
                rules.parse(text.splitlines())
            except FetchError as error:
                status = error.__cause__.response.status_code if isinstance(error.__cause__, httpx.HTTPStatusError) else 500
                # no rules are leave to fetch; a server in trouble is left alone
                rules.allow_all, rules.disallow_all = status < 500, status >= 500
            self._robots[host] = rules
        return self._robots[host].can_fetch(self.agent, url)


@dataclass(frozen=True)
class Answer:
    """The bytes of an answer, or the address that it has moved to."""

    content: bytes
    moved: str | None = None


def _host(url: str) -> str:
    """Host and port of a web address.

    Raises:
        FetchError: it is none.
    """
    try:
        parts = urlsplit(url)
    except (TypeError, ValueError, AttributeError) as error:
        raise FetchError(f"{url} is no web address: {error}.") from error
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise FetchError(f"{url} is no web address.")
    return parts.netloc


def _may_pass(error: BaseException) -> bool:
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code == 429 or error.response.status_code >= 500
    return isinstance(error, httpx.TransportError) and not isinstance(error, httpx.UnsupportedProtocol)
