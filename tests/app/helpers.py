"""Requests that several tests send."""

import httpx2
from fastapi.testclient import TestClient

from tests.server_process import wait_until


def post_picture(client: TestClient, content: bytes, path: str = "/v1/colorize", **options: object):  # type: ignore[no-untyped-def]
    """Send a picture with options in the query."""
    headers = options.pop("headers", {})
    return client.post(path, files={"file": ("scan", content)}, params=options, headers=headers)


def post_job(client: TestClient, pictures: dict[str, bytes], query: str = "", **headers: str) -> httpx2.Response:
    """Send pictures as a job."""
    files = [("files", (name, content)) for name, content in pictures.items()]
    return client.post(f"/v1/jobs{query}", files=files, headers=headers)


def wait_for_end(client: TestClient, path: str) -> dict[str, object]:
    """Wait until a job is finished or cancelled; returns its status."""
    wait_until(lambda: client.get(path).json()["state"] in ("finished", "cancelled"))
    return client.get(path).json()  # type: ignore[no-any-return]
