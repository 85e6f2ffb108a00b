"""Shared fixtures of the service tests."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from app.main import create_app
from app.settings import Settings
from tests.server_process import Server, serving

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's or Playwright's own chromium."""
    if CHROMIUM is None and "TEST_EVERYTHING" not in os.environ:
        pytest.skip("chromium is not installed: the pages are not tested")
    expect.set_options(timeout=30_000)  # other tests may keep both cores busy
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def page_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for the tests of the page."""
    with serving(tmp_path_factory.mktemp("page")) as server:
        yield server


@pytest.fixture
def page(browser: Browser, page_server: Server) -> Iterator[Page]:
    """The page; fails if it raises errors, violates its content security policy or calls another host."""
    context = browser.new_context(accept_downloads=True)
    page = context.new_page()
    violations: list[str] = []
    urls: list[str] = []
    page.on("pageerror", lambda error: violations.append(str(error)))
    page.on("console", lambda line: violations.append(line.text) if "Content Security Policy" in line.text else None)
    page.on("request", lambda request: urls.append(request.url))
    page.goto(page_server.address)
    expect(page.locator("#categories option")).to_have_count(25)
    yield page
    context.close()
    assert violations == []
    assert all(url.startswith((page_server.address, "blob:")) for url in urls)


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory, photographs: dict[str, Image.Image]) -> Path:
    """A folder with pictures, one of which is damaged."""
    folder = tmp_path_factory.mktemp("scans")
    for name, picture in photographs.items():
        picture.convert("L").save(folder / f"{name}.jpg")
    photographs["flower"].convert("L").save(folder / "flower.tif")
    (folder / "broken.jpg").write_bytes((folder / "cat.jpg").read_bytes()[:2000])
    return folder


@pytest.fixture
def cat(photographs: dict[str, Image.Image], encoded: Callable[..., bytes]) -> bytes:
    """A gray JPEG of a cat."""
    return encoded(photographs["cat"].convert("L"), "JPEG")


@pytest.fixture(scope="module")
def job_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The service in this process, with jobs."""
    with TestClient(create_app(Settings(data_dir=tmp_path_factory.mktemp("data"), max_bytes=2_000_000))) as client:
        yield client


@pytest.fixture(scope="module")
def large_picture(tmp_path_factory: pytest.TempPathFactory, photographs: dict[str, Image.Image]) -> Path:
    """A picture that is larger than a screen."""
    path = tmp_path_factory.mktemp("large") / "large.jpg"
    photographs["flower"].convert("L").resize((2000, 1330)).save(path)
    return path
