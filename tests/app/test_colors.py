"""`/v1/colors`: the plausible colors of a point."""

import pytest
from fastapi.testclient import TestClient

from tests.app.helpers import post_picture

PATH = "/v1/colors"


def test_colors_are_most_probable_first_with_the_decision(client: TestClient, cat: bytes) -> None:
    answer = post_picture(client, cat, PATH, x=60, y=80).json()
    probabilities = [each["probability"] for each in answer["colors"]]
    assert len(probabilities) >= 2
    assert probabilities == sorted(probabilities, reverse=True)
    assert 0.5 < sum(probabilities) <= 1.001
    assert answer["decision"]["category"] == "cat"


def test_chosen_color_is_a_hint(client: TestClient, cat: bytes) -> None:
    color = post_picture(client, cat, PATH, x=60, y=80).json()["colors"][1]["color"]
    hints = f'[{{"x": 60, "y": 80, "color": "{color}"}}]'
    assert client.post("/v1/colorize", files={"file": cat}, data={"hints": hints}).status_code == 200


def test_options_may_be_in_the_form(client: TestClient, cat: bytes) -> None:
    in_form = client.post(PATH, files={"file": cat}, data={"x": "60", "y": "80", "count": "2"}).json()["colors"]
    assert in_form == post_picture(client, cat, PATH, x=60, y=80, count=2).json()["colors"]
    assert len(in_form) == 2


@pytest.mark.parametrize(
    ("options", "detail"),
    [
        ({"x": 60}, "y is missing: give a number of at least 0."),
        ({"x": -1, "y": 0}, "x is '-1', which is not valid: give a number of at least 0."),
        ({"x": 9999, "y": 0}, "point is '9999,0', which is not valid: give x from 0 to "),
        ({"x": 1, "y": 1, "count": 0}, "count is '0', which is not valid: give a whole number from 1 to 20."),
        ({"x": 1, "y": 1, "format": "png"}, "there is no option 'format'"),
    ],
)
def test_options_that_are_not_valid_are_refused(client: TestClient, cat: bytes, options: dict[str, object], detail: str) -> None:
    response = post_picture(client, cat, PATH, **options)
    assert response.status_code == 422
    assert detail in response.json()["detail"]
