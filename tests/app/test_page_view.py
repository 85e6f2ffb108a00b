"""How the page shows one picture, in chromium: zoom, the pages of a TIFF file, and variants."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, Route, expect

from tests.app.helpers import open_picture, serious_violations

pytestmark = [pytest.mark.browser, pytest.mark.server, pytest.mark.slow]

NAMES = ("cat", "flower", "person")  # of the pages

VARIANTS = "**/v1/colorize/variants*"

PIXELS = """image => {
  const canvas = Object.assign(document.createElement("canvas"), { width: image.naturalWidth, height: image.naturalHeight });
  canvas.getContext("2d").drawImage(image, 0, 0);
  return canvas.toDataURL();
}"""


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory, photographs: dict[str, Image.Image]) -> Path:
    """A TIFF file with three pages of different sizes."""
    first, *others = [photographs[name].convert("L") for name in NAMES]
    path = tmp_path_factory.mktemp("album") / "album.tif"
    first.save(path, save_all=True, append_images=others)
    return path


def expect_page(page: Page, number: int) -> None:
    expect(page.locator("#page-title")).to_have_text(f"Page {number} of 3")
    expect(page.locator("#category")).to_have_text(NAMES[number - 1])
    expect(page.locator("#one.busy")).to_have_count(0)


def saved(page: Page, name: str) -> tuple[str, Image.Image]:
    """The suggested name and the picture of a download, by the name of its button."""
    with page.expect_download() as download:
        page.get_by_role("button", name=name, exact=True).click()
    return download.value.suggested_filename, Image.open(io.BytesIO(download.value.path().read_bytes()))


def test_zoom_shows_actual_pixels_until_next_picture(page: Page, large_picture: Path, scans: Path) -> None:
    size = "image => [image.clientWidth, image.clientHeight]"
    open_picture(page, large_picture)
    assert page.locator("#after").evaluate(size)[0] < 1280
    page.click("#zoom")
    expect(page.locator("#zoom")).to_have_attribute("aria-pressed", "true")
    for which in ("#before", "#after"):
        assert page.locator(which).evaluate(size) == [2000, 1330]
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280

    line, box = page.locator("#compare .line").bounding_box(), page.locator("#viewport").bounding_box()
    assert line is not None
    assert box is not None
    assert line["x"] == pytest.approx(box["x"] + box["width"] / 2, abs=10)  # both sides are seen
    before = page.locator("#viewport").evaluate("box => [box.scrollLeft, box.scrollTop]")
    page.locator("#viewport").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    after = "([x, y]) => { const box = document.querySelector('#viewport'); return box.scrollLeft > x && box.scrollTop > y; }"
    page.wait_for_function(after, arg=before)

    open_picture(page, scans / "cat.jpg")
    expect(page.locator("#zoom")).to_have_attribute("aria-pressed", "false")
    page.click("#zoom")
    assert page.locator("#after").evaluate(size)[0] == 200
    page.click("#zoom")
    assert page.locator("#after").evaluate(size)[0] > 200
    assert page.get_attribute("#viewport", "tabindex") is None


def test_pages_of_tiff_are_shown_one_by_one(page: Page, album: Path, scans: Path) -> None:
    open_picture(page, album)
    expect_page(page, 1)
    expect(page.locator("#previous")).to_be_disabled()
    page.get_by_role("button", name="Next page").click()
    expect_page(page, 2)
    assert page.locator("#before").evaluate("image => [image.naturalWidth, image.naturalHeight]") == [200, 133]
    expect(page.locator("#variants button").first).to_contain_text("flower")
    page.get_by_role("button", name="Previous page").click()
    expect_page(page, 1)
    page.get_by_role("button", name="Next page").dblclick()
    expect_page(page, 3)
    expect(page.locator("#next")).to_be_disabled()
    assert serious_violations(page) == []
    open_picture(page, scans / "cat.jpg")
    expect(page.locator("#pages")).to_be_hidden()
    expect(page.get_by_role("button", name="Download", exact=True)).to_be_visible()


def test_all_pages_are_downloaded_as_tiff_and_shown_page_in_other_formats(
    page: Page, album: Path, photographs: dict[str, Image.Image]
) -> None:
    open_picture(page, album)
    expect_page(page, 1)
    page.click("#next")
    expect_page(page, 2)
    name, pages = saved(page, "Download all 3 pages")
    assert (name, pages.format, getattr(pages, "n_frames", 1)) == ("album-colorized.tiff", "TIFF", 3)
    for number, name in enumerate(NAMES):
        pages.seek(number)
        assert (pages.mode, pages.size) == ("RGB", photographs[name].size)
    page.click("#options-summary")
    page.get_by_label("Format").select_option("PNG")
    name, shown = saved(page, "Download page 2")
    assert (name, shown.format, shown.size) == ("album-colorized.png", "PNG", photographs["flower"].size)
    error = np.asarray(shown.convert("L"), np.int16) - np.asarray(photographs["flower"].convert("L"), np.int16)
    assert np.abs(error).mean() < 2
    page.get_by_label("Format").select_option("TIFF")
    page.locator("#categories").select_option("food")
    expect(page.locator("#reason")).to_contain_text("As requested.")
    assert getattr(saved(page, "Download all 3 pages as food")[1], "n_frames", 1) == 3


def test_damaged_page_does_not_hide_others(page: Page, photographs: dict[str, Image.Image], tmp_path: Path) -> None:
    first, *others = [photographs[name].convert("L") for name in NAMES]
    path = tmp_path / "damaged.tif"
    first.save(path, save_all=True, append_images=others, compression="tiff_deflate")
    with Image.open(path) as image:
        image.seek(1)
        start = image.tag_v2[273][0]  # type: ignore[attr-defined]
    content = bytearray(path.read_bytes())
    content[start : start + 200] = bytes(200)
    path.write_bytes(content)
    open_picture(page, path)
    expect_page(page, 1)
    page.click("#next")
    expect(page.locator("#status.error")).to_contain_text("damaged")
    expect(page.locator("#compare")).to_be_hidden()
    expect(page.locator("#download")).to_be_hidden()
    page.click("#next")
    expect_page(page, 3)
    expect(page.locator("#compare")).to_be_visible()
    expect(page.locator("#status")).to_have_text("")


def test_notes_say_how_file_was_read(page: Page, scans: Path, tmp_path: Path) -> None:
    levels = np.linspace(0, 1e6, 200 * 100, dtype=np.float32).reshape(100, 200)
    Image.fromarray(levels).save(tmp_path / "measured.tif")
    open_picture(page, tmp_path / "measured.tif")
    expect(page.locator("#notes li")).not_to_have_count(0)
    page.set_input_files("#files", scans / "cat.jpg")
    expect(page.locator("#category")).to_have_text("cat")
    expect(page.locator("#notes li")).to_have_count(0)


def test_variants_show_different_pictures_and_select_category(page: Page, scans: Path) -> None:
    open_picture(page, scans / "flower.jpg")
    buttons = page.locator("#variants button")
    expect(buttons).to_have_count(3)
    names, candidates = buttons.all_inner_texts(), page.locator("#candidates button").all_inner_texts()
    assert names[0] == candidates[0]
    assert names == [name for name in candidates if name in names]  # others have the colors of a more probable one
    assert len({page.locator("#variants img").nth(index).evaluate(PIXELS) for index in range(3)}) == 3
    expect(buttons.nth(0)).to_have_attribute("aria-pressed", "true")
    name = buttons.nth(1).inner_text().rpartition(" ")[0]
    before = page.locator("#after").evaluate(PIXELS)
    buttons.nth(1).click()
    expect(page.locator("#category")).to_have_text(name)
    expect(page.locator("#reason")).to_contain_text("As requested.")
    expect(page.locator("#categories")).to_have_value(name)
    assert [button.get_attribute("aria-pressed") for button in buttons.all()] == ["false", "true", "false"]
    assert page.locator("#after").evaluate(PIXELS) != before
    buttons.nth(0).click()
    expect(page.locator("#category")).to_have_text("flower")
    expect(page.locator("#categories")).to_have_value("auto")
    page.locator("#candidates button").nth(4).click()
    expect(page.locator("#variants [aria-pressed=true]")).to_have_count(0)


def test_second_picture_replaces_variants(page: Page, scans: Path) -> None:
    open_picture(page, scans / "flower.jpg")
    expect(page.locator("#variants button").first).to_contain_text("flower")
    open_picture(page, scans / "cat.jpg")
    expect(page.locator("#variants button").first).to_contain_text("cat")
    expect(page.locator("#variants button")).to_have_count(3)
    page.set_input_files("#files", [scans / "cat.jpg", scans / "food.jpg"])
    expect(page.locator("#variants button")).to_have_count(0)


def test_blend_is_first_variant_of_soft_route(page: Page, scans: Path) -> None:
    page.click("#options-summary")
    page.get_by_label("Routing").select_option("blend experts")
    open_picture(page, scans / "city.jpg")
    buttons = page.locator("#variants button")
    expect(buttons.nth(0)).to_have_text("blend")
    expect(buttons.nth(0)).to_have_attribute("aria-pressed", "true")
    buttons.nth(1).click()
    expect(buttons.nth(1)).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#reason")).to_contain_text("Expert: ")
    buttons.nth(0).click()
    expect(page.locator("#reason")).to_contain_text("Experts: ")


@pytest.mark.parametrize("status", [503, None], ids=["error", "no connection"])
def test_page_works_without_variants(status: int | None, page: Page, scans: Path) -> None:
    page.route(VARIANTS, lambda route: route.abort() if status is None else route.fulfill(status=status, json={"detail": "no"}))
    with page.expect_request(VARIANTS):
        open_picture(page, scans / "flower.jpg")
    expect(page.locator("#variants.loading")).to_have_count(0)
    expect(page.locator("#variants button")).to_have_count(0)
    expect(page.locator("#status")).to_have_text("")
    page.locator("#candidates button").nth(1).click()
    expect(page.locator("#reason")).to_contain_text("As requested.")
    assert saved(page, "Download")[0] == "flower-colorized.jpg"


def test_variants_arrive_although_another_category_was_chosen_meanwhile(page: Page, scans: Path) -> None:
    held: list[Route] = []
    page.route(VARIANTS, lambda route: held.append(route))
    open_picture(page, scans / "flower.jpg")
    page.locator("#candidates button").nth(1).click()
    expect(page.locator("#reason")).to_contain_text("As requested.")
    assert len(held) == 1
    held[0].continue_()
    expect(page.locator("#variants button")).to_have_count(3)
    expect(page.locator("#variants button").nth(1)).to_have_attribute("aria-pressed", "true")


def test_category_chosen_right_after_saturation_is_shown_with_it(page: Page, scans: Path) -> None:
    open_picture(page, scans / "flower.jpg")
    page.locator("#saturation").fill("0.5")
    page.locator("#candidates button").nth(1).click()
    expect(page.locator("#reason")).to_contain_text("As requested.")
    expect(page.locator("#after")).to_have_attribute("style", "")
    assert page.input_value("#saturation") == "0.5"


def test_late_download_keeps_name_of_its_picture(page: Page, scans: Path) -> None:
    held: list[Route] = []
    open_picture(page, scans / "flower.jpg")
    page.route("**/v1/colorize?*saturation=1*", lambda route: held.append(route))
    with page.expect_download() as download:
        page.click("#download")
        open_picture(page, scans / "cat.jpg")
        held[0].continue_()
    assert download.value.suggested_filename == "flower-colorized.jpg"
