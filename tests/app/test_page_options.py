"""The options of the page, and pictures from the clipboard, in chromium."""

import base64
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from PIL import Image
from playwright.sync_api import Browser, Download, Page, expect

from tests.app.helpers import open_picture
from tests.server_process import Server

pytestmark = [pytest.mark.browser, pytest.mark.server, pytest.mark.slow]

ARTIST = 0x013B  # EXIF tag


def query_of(url: str) -> dict[str, str]:
    return {name: value for name, [value] in parse_qs(urlsplit(url).query).items()}


def record_queries(page: Page) -> list[dict[str, str]]:
    """The queries of the requests that colorize pictures from now on."""
    queries: list[dict[str, str]] = []
    page.on("request", lambda request: queries.append(query_of(request.url)) if "/v1/colorize" in request.url else None)
    return queries


def download(page: Page) -> tuple[Download, dict[str, str]]:
    """The downloaded picture, and the query of its request."""
    with page.expect_request("**/v1/colorize?*") as request, page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    return download.value, query_of(request.value.url)


@pytest.fixture
def signed(tmp_path: Path, scans: Path) -> Path:
    """A picture with an artist in its metadata."""
    exif = Image.Exif()
    exif[ARTIST] = "A. Photographer"
    with Image.open(scans / "flower.jpg") as picture:
        picture.save(tmp_path / "signed.jpg", exif=exif)
    return tmp_path / "signed.jpg"


def test_options_change_downloaded_file(page: Page, signed: Path) -> None:
    open_picture(page, signed)
    plain, query = download(page)
    assert query == {"category": "auto", "format": "auto", "saturation": "1", "page": "1"}
    with Image.open(plain.path()) as image:
        assert (image.format, image.getexif()[ARTIST]) == ("JPEG", "A. Photographer")

    page.click("#options-summary")
    page.get_by_label("Format").select_option("WebP")
    page.get_by_label("Metadata").select_option("remove")
    large, _ = download(page)
    page.get_by_label("Quality").fill("10")
    assert page.inner_text("#options-summary") == "Options: format WebP, quality 10, metadata remove"
    small, query = download(page)
    assert small.suggested_filename == "signed-colorized.webp"
    assert (query["format"], query["quality"], query["metadata"]) == ("webp", "10", "strip")
    assert small.path().stat().st_size < large.path().stat().st_size / 2
    with Image.open(small.path()) as image:
        assert image.format == "WEBP"
        assert ARTIST not in image.getexif()


@pytest.mark.parametrize(("label", "suffix"), [("JPEG", "jpg"), ("PNG", "png"), ("TIFF", "tiff"), ("AVIF", "avif")])
def test_format_can_be_chosen(label: str, suffix: str, page: Page, scans: Path) -> None:
    open_picture(page, scans / "cat.jpg")
    page.click("#options-summary")
    page.get_by_label("Format").select_option(label)
    file, _ = download(page)
    assert file.suggested_filename == f"cat-colorized.{suffix}"
    with Image.open(file.path()) as image:
        assert image.format == label


def test_options_of_output_do_not_colorize_shown_picture_again(page: Page, scans: Path) -> None:
    open_picture(page, scans / "flower.jpg")
    expect(page.locator("#variants button")).to_have_count(3)
    queries = record_queries(page)
    page.click("#options-summary")
    page.get_by_label("Format").select_option("PNG")
    page.get_by_label("Quality").fill("50")
    page.get_by_label("Metadata").select_option("keep all")
    page.wait_for_timeout(300)
    assert queries == []


def test_threshold_makes_picture_fall_back(page: Page, scans: Path) -> None:
    open_picture(page, scans / "flower.jpg")
    expect(page.locator("#variants button").first).to_contain_text("flower")
    page.click("#options-summary")
    page.get_by_label("Threshold").fill("1")
    page.get_by_label("Threshold").press("Enter")
    expect(page.locator("#category")).to_have_text("general")
    expect(page.locator("#confidence")).to_have_text("")
    expect(page.locator("#reason")).to_contain_text("below the threshold of 100%")
    expect(page.locator("#variants button").first).to_contain_text("general")
    assert download(page)[1]["threshold"] == "1"
    page.get_by_label("Threshold").fill("")
    page.get_by_label("Threshold").press("Enter")
    expect(page.locator("#category")).to_have_text("flower")


@pytest.mark.parametrize("value", ["2", "-0.1", "0.555"])
def test_invalid_threshold_is_not_sent(value: str, page: Page, scans: Path) -> None:
    open_picture(page, scans / "flower.jpg")
    queries = record_queries(page)
    page.click("#options-summary")
    page.get_by_label("Threshold").fill(value)
    page.get_by_label("Threshold").press("Tab")
    assert page.evaluate("document.querySelector('#threshold').validity.valid") is False
    expect(page.locator("#options-summary")).to_have_text("Options")
    open_picture(page, scans / "cat.jpg")
    expect(page.locator("#category")).to_have_text("cat")
    download(page)
    assert len(queries) >= 2
    assert not any("threshold" in query for query in queries)
    page.reload()
    assert page.input_value("#threshold") == ""


def test_options_are_remembered_and_sent_with_jobs(page: Page, scans: Path) -> None:
    page.click("#options-summary")
    page.get_by_label("Format").select_option("PNG")
    page.get_by_label("Routing").select_option("blend experts")
    page.get_by_label("Threshold").fill("0.9")
    page.get_by_label("Threshold").press("Tab")
    page.reload()
    assert page.inner_text("#options-summary") == "Options: format PNG, threshold 0.9, routing blend experts"
    with page.expect_request("**/v1/jobs?*") as request:
        page.set_input_files("#files", [scans / "cat.jpg", scans / "food.jpg"])
    assert query_of(request.value.url) == {"format": "png", "threshold": "0.9", "routing": "soft"}
    expect(page.locator("#grid li.done")).to_have_count(2)


def test_unknown_remembered_options_are_ignored(page: Page, scans: Path) -> None:
    page.evaluate("for (const name of ['format', 'threshold']) localStorage.setItem(`chromaroute-${name}`, 'jpeg2000')")
    page.reload()
    assert page.inner_text("#options-summary") == "Options"
    assert page.input_value("#format") == "auto"
    open_picture(page, scans / "cat.jpg")


def test_page_works_without_storage(browser: Browser, page_server: Server, scans: Path) -> None:
    page = browser.new_page()
    page.add_init_script("Object.defineProperty(window, 'localStorage', { get() { throw new Error('denied'); } })")
    page.goto(page_server.address)
    page.click("#options-summary")
    page.get_by_label("Format").select_option("PNG")
    open_picture(page, scans / "cat.jpg")
    assert download(page)[0].suggested_filename == "cat-colorized.png"
    page.close()


PASTE = """(element, [content, names, text]) => {
  const transfer = new DataTransfer();
  const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
  for (const name of names) transfer.items.add(new File([bytes], name, { type: "image/jpeg" }));
  if (text) transfer.setData("text/plain", text);
  element.dispatchEvent(new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true, cancelable: true }));
}"""


def paste(page: Page, path: Path, *names: str, text: str = "", into: str = "body") -> None:
    content = base64.b64encode(path.read_bytes()).decode()
    page.locator(into).evaluate(PASTE, [content, names, text])


def test_pasted_picture_is_opened(page: Page, scans: Path) -> None:
    paste(page, scans / "cat.jpg", "image.jpg")
    expect(page.locator("#category")).to_have_text("cat")
    paste(page, scans / "flower.jpg", "image.jpg")
    expect(page.locator("#category")).to_have_text("flower")
    expect(page.locator("#one.busy")).to_have_count(0)
    assert download(page)[0].suggested_filename == "image-colorized.jpg"


def test_pasted_pictures_become_job(page: Page, scans: Path) -> None:
    paste(page, scans / "cat.jpg", "1.jpg", "2.jpg")
    expect(page.locator("#grid li.done")).to_have_count(2)


def test_pasted_text_changes_nothing(page: Page, scans: Path) -> None:
    open_picture(page, scans / "cat.jpg")
    paste(page, scans / "cat.jpg", text="0.5")
    page.click("#options-summary")
    paste(page, scans / "cat.jpg", text="0.5", into="#threshold")
    expect(page.locator("#status")).to_have_text("")
    assert page.inner_text("#category") == "cat"
