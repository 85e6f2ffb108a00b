"""Requests and checks of several tests."""

import threading
from pathlib import Path

import httpx2
import pytest
from axe_playwright_python.sync_playwright import Axe
from fastapi.testclient import TestClient
from playwright.sync_api import Page, expect

from app.inference.engine import Engine
from tests.server_process import wait_until


class BlockedPredict:
    """Blocks every prediction until `release` is set."""

    def __init__(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        self.release, self.calls = threading.Event(), 0
        predict = engine.ensemble.predict

        def blocked(*arguments: object) -> object:
            self.calls += 1
            assert self.release.wait(30)
            return predict(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(engine.ensemble, "predict", blocked)


def metric(client: TestClient, name: str) -> float:
    """The sum of the metrics whose lines begin with a name."""
    lines = [line for line in client.get("/metrics").text.splitlines() if line.startswith(name)]
    return sum(float(line.split()[-1]) for line in lines)


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


def serious_violations(page: Page) -> list[tuple[str, list[str]]]:
    """The serious accessibility violations that axe finds in a page, with the HTML of the elements."""
    return [
        (violation["id"], [node["html"] for node in violation["nodes"]])
        for violation in Axe().run(page).response["violations"]
        if violation["impact"] in ("serious", "critical")
    ]


def open_picture(page: Page, path: Path) -> None:
    """Open a picture in the page, and wait until it is colorized."""
    page.set_input_files("#files", path)
    expect(page.locator("#one")).to_be_visible()
    expect(page.locator("#one.busy")).to_have_count(0)
