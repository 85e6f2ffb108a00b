"""The page in chromium, driven by Playwright."""

import io
import shutil
import zipfile
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from app.api_keys import add_key
from tests.app.helpers import open_picture, serious_violations
from tests.server_process import serving

pytestmark = [pytest.mark.browser, pytest.mark.server, pytest.mark.slow]


def test_single_picture_can_be_compared_rerouted_and_downloaded(page: Page, scans: Path) -> None:
    open_picture(page, scans / "flower.jpg")
    assert page.inner_text("#category") == "flower"
    assert page.inner_text("#confidence").endswith("%")
    assert page.locator("#candidates button").count() == 5

    box = page.locator("#compare").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + box["height"] / 2)
    page.mouse.up()
    assert 75 < int(page.input_value("#cut")) < 90

    before = page.get_attribute("#after", "src")
    page.locator("#candidates button").nth(1).click()
    expect(page.locator("#candidates button").nth(0)).to_have_attribute("aria-pressed", "false")
    expect(page.locator("#reason")).to_contain_text("As requested. Expert: ")
    assert page.get_attribute("#after", "src") != before

    page.locator("#saturation").fill("0.5")
    assert page.locator("#after").evaluate("image => image.style.filter") == "saturate(0.5)"
    expect(page.locator("#after")).to_have_attribute("style", "")  # the server's picture replaces the preview after a pause

    page.click("#options-summary")
    with page.expect_response("**/v1/colorize?*routing=soft*"):
        page.get_by_label("Routing").select_option("blend experts")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    assert download.value.suggested_filename == "flower-colorized.jpg"
    with Image.open(download.value.path()) as image:
        assert image.size == (200, 133)
        assert image.mode == "RGB"


def test_tiff_is_shown_as_png_and_downloaded_as_tiff(page: Page, scans: Path) -> None:
    open_picture(page, scans / "flower.tif")
    assert page.locator("#before").evaluate("image => image.naturalWidth") == 200
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    assert download.value.suggested_filename == "flower-colorized.tiff"


def test_broken_file_shows_error_and_next_file_works(page: Page, scans: Path) -> None:
    page.set_input_files("#files", scans / "broken.jpg")
    expect(page.locator("#status.error")).to_contain_text("picture is truncated")
    expect(page.locator("#one")).to_be_hidden()
    open_picture(page, scans / "cat.jpg")
    expect(page.locator("#status")).to_have_text("")


def test_several_pictures_become_grid_and_zip(page: Page, scans: Path) -> None:
    page.set_input_files("#files", sorted(scans.iterdir()))
    expect(page.locator("#many-title")).to_have_text("7 of 7", timeout=30_000)
    expect(page.locator("#grid li.done")).to_have_count(6)
    expect(page.locator("#grid li.failed .what")).to_contain_text("picture is truncated")
    expect(page.locator("#status")).to_have_text("6 of 7 pictures colorized, 1 failed.")
    expect(page.locator("#cancel")).to_be_hidden()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the ZIP archive").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        assert "cat.jpg" in archive.namelist()
        assert "decisions.json" in archive.namelist()
        with Image.open(io.BytesIO(archive.read("cat.jpg"))) as image:
            assert image.mode == "RGB"
    page.get_by_role("button", name="person.jpg").click()
    expect(page.locator("#category")).to_have_text("person")
    page.reload()
    expect(page.locator("#many-title")).to_have_text("7 of 7", timeout=30_000)
    expect(page.locator("#grid li.done")).to_have_count(6)


def make_copies(picture: Path, number: int, folder: Path) -> Path:
    """A folder with copies of a picture, which takes the server a while."""
    copies = folder / "copies"
    copies.mkdir()
    for index in range(number):
        shutil.copy(picture, copies / f"{index:03}.jpg")
    return copies


def test_cancel_keeps_finished_pictures_even_after_double_click(page: Page, scans: Path, tmp_path: Path) -> None:
    page.set_input_files("#folder", make_copies(scans / "cat.jpg", 150, tmp_path))
    expect(page.locator("#grid li.done").nth(2)).to_be_visible(timeout=30_000)
    page.locator("#cancel").dblclick()
    expect(page.locator("#status")).to_contain_text("Cancelled: ")
    expect(page.locator("#cancel")).to_be_hidden()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the ZIP archive").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        assert 3 <= len(archive.namelist()) - 1 < 150


def test_earlier_job_can_be_reopened(page: Page, scans: Path, tmp_path: Path) -> None:
    page.set_input_files("#folder", make_copies(scans / "cat.jpg", 60, tmp_path))
    expect(page.locator("#grid li.done").first).to_be_visible(timeout=30_000)
    open_picture(page, scans / "flower.jpg")
    expect(page.locator("#many")).to_be_hidden()
    page.get_by_role("link", name="The earlier job is still running").click()
    expect(page.locator("#many-title")).to_have_text("60 of 60", timeout=30_000)
    expect(page.locator("#one")).to_be_hidden()
    expect(page.locator("#earlier")).to_be_hidden()


def test_late_response_does_not_replace_newer_view(page: Page, scans: Path) -> None:
    page.evaluate("""() => {
      const decode = HTMLImageElement.prototype.decode;
      HTMLImageElement.prototype.decode = async function () {
        await new Promise((resolve) => setTimeout(resolve, 1500));
        return decode.call(this);
      };
    }""")
    with page.expect_response("**/v1/colorize*"):
        page.set_input_files("#files", scans / "cat.jpg")
    page.set_input_files("#files", [scans / "city.jpg", scans / "food.jpg"])
    expect(page.locator("#many-title")).to_have_text("2 of 2", timeout=30_000)
    page.wait_for_timeout(3500)
    expect(page.locator("#one")).to_be_hidden()


def test_folder_upload_ignores_other_files(page: Page, scans: Path, tmp_path: Path) -> None:
    album = tmp_path / "album"
    shutil.copytree(scans, album / "inner")
    (album / "notes.txt").write_text("not a picture")
    page.set_input_files("#folder", album)
    expect(page.locator("#many-title")).to_have_text("7 of 7", timeout=30_000)
    expect(page.locator("#grid .name").first).to_contain_text("album/inner/")


def test_page_is_usable_by_keyboard(page: Page, scans: Path) -> None:
    open_picture(page, scans / "city.jpg")
    expect(page.locator("#variants button")).to_have_count(3)
    page.locator("#files").focus()
    names: list[str] = []
    for _ in range(16):
        page.keyboard.press("Tab")
        names.append(page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))
        if names[-1] == "cut":
            for _ in range(10):
                page.keyboard.press("ArrowRight")
        if names[-1] == "saturation":
            page.keyboard.press("Home")
    controls = ["folder", "options-summary", "cut", "zoom", "hinting", "categories", "saturation", "download"]
    assert [name for name in names if name in controls] == controls
    assert names[5] == page.inner_text("#variants button >> nth=0")
    assert page.input_value("#cut") == "60"
    assert page.get_attribute("#cut", "aria-valuetext") == "60% before, 40% after"
    assert page.input_value("#saturation") == "0"
    page.locator("#candidates button").nth(2).focus()
    page.keyboard.press("Enter")
    expect(page.locator("#reason")).to_contain_text("As requested. Expert: ")
    assert page.evaluate("document.activeElement.parentElement.id") == "candidates"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_page_is_accessible_and_fits_viewport(page: Page, scans: Path, large_picture: Path, scheme: str, width: int) -> None:
    def check() -> None:
        assert serious_violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width

    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.set_viewport_size({"width": width, "height": 800})
    open_picture(page, large_picture)
    expect(page.locator("#variants button")).to_have_count(3)
    check()
    page.click("#options-summary")
    page.get_by_label("Metadata").select_option("keep all")
    page.get_by_label("Threshold").fill("7")
    check()
    page.click("#zoom")
    check()
    page.set_input_files("#files", [scans / "cat.jpg", scans / "broken.jpg"])
    expect(page.locator("#zip")).to_be_visible()
    check()


def test_page_asks_for_api_key(browser: Browser, scans: Path, tmp_path: Path) -> None:
    secret = add_key(tmp_path / "keys.json", "reader", 60)
    with serving(tmp_path, keys=tmp_path / "keys.json") as server:
        page = browser.new_page()
        page.goto(server.address)
        expect(page.locator("#access")).to_be_visible()
        page.set_input_files("#files", scans / "flower.jpg")  # is sent when the key is known
        page.fill("#key", secret)
        page.get_by_role("button", name="Use this key").click()
        expect(page.locator("#category")).to_have_text("flower")
        expect(page.locator("#categories option")).to_have_count(25)
        page.set_input_files("#files", [scans / "cat.jpg", scans / "city.jpg"])
        expect(page.locator("#grid li.done")).to_have_count(2, timeout=30_000)
        with page.expect_download() as download:
            page.get_by_role("button", name="Download the ZIP archive").click()
        assert zipfile.is_zipfile(download.value.path())
        address = page.url
        page.close()
        page = browser.new_page()  # does not know the key
        page.goto(address)
        page.fill("#key", secret)
        page.get_by_role("button", name="Use this key").click()
        expect(page.locator("#grid li.done")).to_have_count(2, timeout=30_000)
        page.close()
