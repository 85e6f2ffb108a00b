"""Any options and any bytes: a readable response, or a documented problem."""

import io
import os

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from app.schemas import Problem
from models.imaging import WRITES

MODES = ("L", "LA", "RGB", "RGBA", "P", "1", "CMYK", "I;16")
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "AVIF", "BMP", "GIF", "JPEG2000")
WITHOUT_EXIF = ("BMP", "GIF", "JPEG2000")
EXAMPLES = int(os.environ.get("STRESS", 60))

many_examples = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
options = st.fixed_dictionaries(
    {},
    optional={
        "category": st.sampled_from(["auto", "cat", "dress", "general"]),
        "routing": st.sampled_from(["hard", "soft"]),
        "threshold": st.floats(0, 1),
        "format": st.sampled_from(["auto", *WRITES]),
        "quality": st.integers(1, 100),
        "saturation": st.floats(0, 2),
        "metadata": st.sampled_from(["keep", "strip", "keep-gps"]),
        "page": st.just(1),
    },
)
sizes = st.tuples(st.integers(1, 70), st.integers(1, 70))


def encode_noise(mode: str, format: str, size: tuple[int, int], seed: int, orientation: int) -> bytes | None:
    """A picture of noise; None if Pillow cannot write that mode in that format."""
    levels = np.random.default_rng(seed).integers(0, 65_536, size[::-1], dtype=np.uint16)
    image = Image.fromarray(levels)
    if mode != "I;16":
        image = Image.fromarray((levels >> 8).astype(np.uint8)).convert("RGB" if mode in ("P", "CMYK") else "L").convert(mode)
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    try:
        image.save(buffer, format, **({} if format in WITHOUT_EXIF else {"exif": exif.tobytes()}))
    except (OSError, ValueError):
        return None
    return buffer.getvalue()


@pytest.mark.slow
@many_examples
@given(mode=st.sampled_from(MODES), format=st.sampled_from(FORMATS), size=sizes,
       seed=st.integers(0, 9), orientation=st.integers(0, 9), params=options)  # fmt: skip
def test_every_format_and_option_is_colorized(
    client: TestClient, mode: str, format: str, size: tuple[int, int], seed: int, orientation: int, params: dict[str, object]
) -> None:
    content = encode_noise(mode, format, size, seed, orientation)
    if content is None:
        return
    response = client.post("/v1/colorize", files={"file": content}, params=params)
    assert response.status_code == 200, response.text
    with Image.open(io.BytesIO(response.content)) as image:
        image.load()
        turned = orientation in (5, 6, 7, 8) and format not in WITHOUT_EXIF
        assert image.size == (size[::-1] if turned else size)
        assert f"image/{(image.format or '').lower()}" == response.headers["content-type"]


@many_examples
@given(data=st.data(), format=st.sampled_from(FORMATS), mode=st.sampled_from(["L", "RGB"]))
def test_damaged_file_gives_picture_or_documented_problem(client: TestClient, data: st.DataObject, format: str, mode: str) -> None:
    content = bytearray(encode_noise(mode, format, (40, 30), 1, 1) or b"")
    for _ in range(data.draw(st.integers(0, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    response = client.post("/v1/colorize", files={"file": bytes(content[:cut])})
    if response.status_code == 200:
        Image.open(io.BytesIO(response.content)).load()
    else:
        assert response.status_code in (413, 415, 422)
        assert Problem.model_validate(response.json()).detail


@many_examples
@given(
    name=st.sampled_from(["category", "routing", "threshold", "format", "quality", "saturation", "metadata", "page"]),
    value=st.text(max_size=20),
)
def test_any_option_value_is_accepted_or_reported_with_valid_values(client: TestClient, name: str, value: str) -> None:
    content = encode_noise("L", "PNG", (8, 8), 0, 1)
    response = client.post("/v1/colorize", files={"file": content}, params={name: value})
    if response.status_code != 200:
        problem = Problem.model_validate(response.json())
        assert (response.status_code, problem.option) == (422, name)
        assert problem.valid


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 100, b"GIF89a", b"\xff\xd8\xff\xe0" * 50, b"RIFF\xff\xff\xff\xffWEBPVP8 ", b"II*\0\x08\0\0\0\xff\xff"]
)
def test_incomplete_file_headers_are_rejected(client: TestClient, content: bytes) -> None:
    assert client.post("/v1/colorize", files={"file": content}).status_code in (415, 422)
