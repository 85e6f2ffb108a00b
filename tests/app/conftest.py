"""Shared fixtures of the service tests."""

import os
import shutil
from collections.abc import Callable, Iterator

import pytest
from fastapi.testclient import TestClient
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from app.main import create_app
from app.settings import Settings

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's or Playwright's own chromium."""
    if CHROMIUM is None and "TEST_EVERYTHING" not in os.environ:
        pytest.skip("chromium is not installed: the pages are not tested")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def cat(photographs: dict[str, Image.Image], encoded: Callable[..., bytes]) -> bytes:
    """A gray JPEG of a cat."""
    return encoded(photographs["cat"].convert("L"), "JPEG")


@pytest.fixture(scope="module")
def job_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The service in this process, with jobs."""
    with TestClient(create_app(Settings(data_dir=tmp_path_factory.mktemp("data"), max_bytes=2_000_000))) as client:
        yield client
