"""Color points on the page, in chromium: by mouse and keyboard, undone, remembered, and carried to the next picture."""

from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.app.helpers import open_picture, serious_violations

pytestmark = [pytest.mark.browser, pytest.mark.server, pytest.mark.slow]

COLOR_AT = """([image, x, y]) => {
  const canvas = Object.assign(document.createElement("canvas"), { width: image.naturalWidth, height: image.naturalHeight });
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  return [...context.getImageData(x * image.naturalWidth, y * image.naturalHeight, 1, 1).data].slice(0, 3);
}"""


def shown(page: Page, x: float, y: float) -> list[int]:
    """The color of the picture that is shown, at shares of its sides."""
    expect(page.locator("#one.busy")).to_have_count(0)
    image = page.locator("#after").element_handle()
    return page.evaluate(COLOR_AT, [image, x, y])  # type: ignore[no-any-return]


def click(page: Page, x: float, y: float) -> None:
    """Click on the picture, at shares of its sides."""
    box = page.locator("#points").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] * x, box["y"] + box["height"] * y)


def position(page: Page, point: int = 0) -> tuple[float, float]:
    left, top = page.locator(".point").nth(point).evaluate("point => [point.style.left, point.style.top]")
    return float(left.rstrip("%")) / 100, float(top.rstrip("%")) / 100


def start(page: Page, path: Path) -> None:
    open_picture(page, path)
    page.get_by_role("button", name="Set colors").click()


def is_blue(color: list[int]) -> bool:
    return color[2] > color[0] + 20


def test_chosen_color_is_seen_at_once_moved_undone_and_deleted(page: Page, scans: Path) -> None:
    start(page, scans / "cat.jpg")
    click(page, 0.3, 0.4)
    expect(page.locator("#plausible button").first).to_be_visible()
    probabilities = page.locator("#plausible button").evaluate_all(
        "buttons => buttons.map((one) => parseFloat(one.title.match(/(\\d+)%/)?.[1] ?? 0))"
    )
    assert probabilities == sorted(probabilities, reverse=True)
    assert page.locator("#own button").count() >= 2
    assert not is_blue(shown(page, 0.3, 0.4))

    page.fill("#any-color", "#2040c0")
    page.wait_for_timeout(100)
    assert is_blue(shown(page, 0.3, 0.4))

    point, box = page.locator(".point").bounding_box(), page.locator("#points").bounding_box()
    assert point is not None
    assert box is not None
    page.mouse.move(point["x"] + point["width"] / 2, point["y"] + point["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + box["height"] * 0.8, steps=5)
    page.mouse.up()
    assert position(page) == pytest.approx((0.8, 0.8), abs=0.02)
    page.wait_for_timeout(100)
    assert is_blue(shown(page, 0.8, 0.8))

    page.get_by_role("button", name="Undo").click()
    assert position(page) == pytest.approx((0.3, 0.4), abs=0.02)
    page.get_by_role("button", name="Delete all").click()
    expect(page.locator(".point")).to_have_count(0)
    page.wait_for_timeout(100)
    assert not is_blue(shown(page, 0.3, 0.4))


def test_points_are_set_with_the_keyboard(page: Page, scans: Path) -> None:
    start(page, scans / "cat.jpg")
    assert not serious_violations(page)
    page.get_by_role("button", name="Add a point").press("Enter")
    expect(page.locator(".point")).to_be_focused()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Shift+ArrowUp")
    assert position(page) == pytest.approx((0.49, 0.45), abs=0.001)
    expect(page.locator("#plausible button").first).to_be_visible()
    page.locator("#plausible button").nth(1).press("Enter")
    label = page.locator("#plausible button").nth(1).get_attribute("aria-label")
    assert label is not None
    expect(page.locator(".point")).to_have_attribute("aria-label", f"Point 1: {label[:7]}, 49% from the left, 45% from the top")
    assert not serious_violations(page)
    page.locator(".point").press("Delete")
    expect(page.locator(".point")).to_have_count(0)
    expect(page.get_by_role("button", name="Add a point")).to_be_focused()
    page.keyboard.press("Control+z")
    expect(page.locator(".point")).to_have_count(1)


def test_points_are_remembered_by_name_and_carried_if_wanted(page: Page, scans: Path) -> None:
    start(page, scans / "cat.jpg")
    click(page, 0.25, 0.5)
    page.get_by_role("button", name="gray, no color").click()
    open_picture(page, scans / "flower.jpg")
    expect(page.get_by_role("button", name="of earlier")).to_be_hidden()
    expect(page.locator(".point")).to_have_count(0)

    open_picture(page, scans / "cat.jpg")
    page.get_by_role("button", name="Use your 1 color point of earlier").click()
    expect(page.locator(".point")).to_have_attribute("aria-label", "Point 1: #808080, 25% from the left, 50% from the top")
    page.get_by_role("button", name="Use on the next picture, too").click()
    open_picture(page, scans / "flower.jpg")
    page.get_by_role("button", name="Set colors").click()
    assert position(page) == pytest.approx((0.25, 0.5), abs=0.01)


@pytest.mark.parametrize("mode", ["#decision", "#colors"])
def test_controls_are_visible_without_scrolling(page: Page, large_picture: Path, mode: str) -> None:
    page.set_viewport_size({"width": 1280, "height": 720})
    open_picture(page, large_picture)
    if mode == "#colors":
        page.get_by_role("button", name="Set colors").click()
        click(page, 0.4, 0.4)
        expect(page.locator("#plausible button").first).to_be_visible()
    expect(page.locator("#one.busy")).to_have_count(0)
    controls = [*page.locator(f"{mode} button, {mode} input, {mode} select").all(), page.locator("#hinting"), page.locator("#zoom")]
    assert len(controls) > 5
    for control in controls:
        box = control.bounding_box()
        assert box is None or box["y"] + box["height"] <= 720, control
    assert page.evaluate("scrollY") == 0


def test_downloads_have_the_colors_of_points(page: Page, scans: Path) -> None:
    start(page, scans / "cat.jpg")
    click(page, 0.3, 0.4)
    page.fill("#any-color", "#2040c0")
    with page.expect_download() as download:
        page.locator("#download-hinted").click()
    with Image.open(download.value.path()) as picture:
        red, _, blue = picture.convert("RGB").getpixel((0.3 * picture.width, 0.4 * picture.height))  # type: ignore[misc]
    assert blue > red + 20
