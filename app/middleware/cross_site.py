"""ASGI middleware against web pages of others: a browser on the same machine or network would send their requests."""

from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.errors import error_response

_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


class CrossSite:
    """Refuses what changes something if a browser says that a page of another origin sent it (403), or names another host (421).

    Browsers send `Sec-Fetch-Site` to loopback and over TLS (W3C Fetch Metadata); programs send none. The host matters against a
    page whose name is resolved to the address of this server.

    Args:
        app: the wrapped ASGI application.
        origins: of pages that may send requests.
        hosts: names under which the server is reached; empty for any.
    """

    def __init__(self, app: ASGIApp, origins: Collection[str], hosts: Collection[str]) -> None:
        self.app, self.origins, self.hosts = app, origins, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        host = headers.get("host", "").lower()
        if self.hosts and host not in self.hosts and host.rpartition(":")[0] not in self.hosts:
            detail = f"this server is not {host!r}: use one of the names in CHROMAROUTE_HOSTS."
            await error_response("wrong-host", detail)(scope, receive, send)
            return
        is_foreign = headers.get("sec-fetch-site") in ("cross-site", "same-site")
        if is_foreign and scope["method"] not in _SAFE_METHODS and headers.get("origin", "").lower() not in self.origins:
            detail = f"a page of {headers.get('origin')!r} may not send this: list its origin in CHROMAROUTE_CORS_ORIGINS."
            await error_response("cross-site", detail)(scope, receive, send)
            return
        await self.app(scope, receive, send)
