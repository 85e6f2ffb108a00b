"""Hooks of schemathesis, which loads this file, for what a schema cannot describe.

The bytes of pictures, the pages that they have, and that an option is given once, in the query or in the form.
"""

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


for format in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF", "BMP", "GIF", "JPEG2000"):
    media_type = "image/jp2" if format == "JPEG2000" else f"image/{format.lower()}"
    schemathesis.openapi.media_type(media_type, st.just(encode_picture(format)))
schemathesis.openapi.media_type("application/zip", st.just(make_archive()))


@schemathesis.hook.apply_to(method="POST", path_regex="^/v1/(colorize.*|route|jobs)$")
def map_case(context: schemathesis.HookContext, case: schemathesis.Case) -> schemathesis.Case:
    """Leave out fields of a form that are in the query as well; and choose the page that the pictures have."""
    if case.meta is None or case.meta.generation.mode.is_negative:
        return case
    form = case.body if isinstance(case.body, dict) else {}
    for name in set(form) & set(case.query or {}):
        del form[name]
    for options in (form, case.query or {}):
        if options.get("page") not in (None, "null"):
            options["page"] = 1
    return case
