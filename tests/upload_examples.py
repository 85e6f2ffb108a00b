"""Examples of uploads for schemathesis, which loads this file: a schema cannot describe the bytes of a picture."""

import io
import zipfile

import schemathesis
from hypothesis import strategies as st
from PIL import Image


def encode_picture(format: str) -> bytes:
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((40, 30)).save(buffer, format)
    return buffer.getvalue()


def make_archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("scan.jpg", encode_picture("JPEG"))
    return buffer.getvalue()


for media in ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"):
    schemathesis.openapi.media_type(f"image/{media.lower()}", st.just(encode_picture(media)))
schemathesis.openapi.media_type("application/zip", st.just(make_archive()))
