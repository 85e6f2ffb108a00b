"""What schemathesis uploads: it loads this file, because no schema says what a picture is."""

import io
import zipfile

import schemathesis
from hypothesis import strategies as st
from PIL import Image


def picture(format: str) -> bytes:
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((40, 30)).save(buffer, format)
    return buffer.getvalue()


def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        packed.writestr("scan.jpg", picture("JPEG"))
    return buffer.getvalue()


for media in ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"):
    schemathesis.openapi.media_type(f"image/{media.lower()}", st.just(picture(media)))
schemathesis.openapi.media_type("application/zip", st.just(archive()))
