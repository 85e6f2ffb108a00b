"""Coverage-guided fuzzing of what reads files that nobody checked: only documented errors may be raised.

    python tests/torture/fuzz.py {decode,metadata,archive,bundle} [FOLDER] [-max_total_time=3600] ...

The corpus is kept in FOLDER (default: data/fuzz/TARGET), and grows from small seeds. Other arguments are those of libFuzzer. A
finding ends the process, and its input is in the current folder. `make torture` installs what it needs.
"""

import asyncio
import io
import json
import sys
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

import atheris

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

with atheris.instrument_imports(include=["models", "app", "PIL", "zipfile", "safetensors"]):
    from PIL import Image
    from starlette.datastructures import UploadFile

    from app.batches.file_names import safe_name
    from app.batches.uploads import read_items
    from app.errors import ServiceError
    from app.settings import Settings
    from models import xmp
    from models.bundle import load_bundle
    from models.bundle_header import EVERYDAY
    from models.decoders import format_of
    from models.errors import BundleError, PictureError
    from models.imaging import Document
    from models.metadata import Metadata, read_exif
    from tests import picture_files

MAX_PIXELS = 250_000
FORMATS = ("jpeg", "png", "webp", "tiff", "avif")


def decode(content: bytes) -> None:
    """Every page of a picture, as the service decodes it."""
    if format_of(content) == "heic":  # whose decoder may end the process, which the service survives
        return
    try:
        document = Document(content, MAX_PIXELS)
        for page in range(1, min(document.info.page_count, 3) + 1):
            picture = document.decode(page)
            assert picture.luma.shape == (picture.height, picture.width)
            for policy in ("keep", "strip", "keep-gps"):
                for format in FORMATS:
                    picture.metadata.filtered(policy).fitted(format)
    except PictureError as error:
        _check_message(error)


def metadata(content: bytes) -> None:
    """EXIF, XMP and IPTC, which are read and written again."""
    found = read_exif(b"Exif\0\0" + content)
    texts = {"Comment": content.decode("latin-1")}
    for policy in ("keep", "keep-gps"):
        kept = Metadata(found.dpi, found.tags, content, content, texts).filtered(policy)
        kept.exif_block(with_resolution=True)
        again = xmp.with_provenance(kept.xmp, "bundle", "category", "{}")
        assert xmp.is_readable(again)
        xmp.join_jpeg_parts(*xmp.jpeg_parts(again))


def archive(content: bytes) -> None:
    """The items of an archive, and their contents."""
    settings = _settings()
    try:
        items = read_items((), UploadFile(io.BytesIO(content), filename="box.zip"), settings)
    except ServiceError:
        return
    assert len({item.path.casefold() for item in items}) == len(items)
    for item in items:
        assert safe_name(item.path) == item.path
        with suppress(PictureError):
            assert len(asyncio.run(item.read())) <= settings.max_bytes


def bundle(content: bytes) -> None:
    """A manifest, with weight files that are cut; the first byte chooses what is damaged."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole = (EVERYDAY / "manifest.json").read_bytes()
        if content[:1] < b"\x80":
            (folder / "manifest.json").write_bytes(content[1:])
        else:
            (folder / "manifest.json").write_bytes(whole)
            for file in EVERYDAY.glob("*.safetensors"):
                (folder / file.name).write_bytes(content[1:])
        try:
            load_bundle(folder)
        except BundleError as error:
            _check_message(error)


@cache
def _settings() -> Settings:
    return Settings(max_items=20, max_bytes=2**20, max_unpacked_bytes=4 * 2**20)


def _check_message(error: Exception) -> None:
    """Every message is a sentence."""
    assert str(error).endswith("."), error


def _seeds() -> dict[str, list[bytes]]:
    """Small valid inputs of every target."""
    noise = Image.effect_noise((24, 16), 90)
    rgb = Image.merge("RGB", (noise, noise, noise))
    pictures = [picture_files.HEIC]
    for format in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF", "BMP", "GIF", "JPEG2000"):
        for image in (noise, rgb):
            buffer = io.BytesIO()
            image.save(buffer, format)
            pictures.append(buffer.getvalue())
    packet = xmp.with_provenance(b"", "bundle", "category", "{}")
    for options in ({"progressive": True}, {"comment": b"a comment"}, {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"}):
        buffer = io.BytesIO()
        rgb.save(buffer, "JPEG", **options)
        pictures.append(buffer.getvalue())
    box = io.BytesIO()
    with zipfile.ZipFile(box, "w", zipfile.ZIP_DEFLATED) as file:
        for index, content in enumerate(pictures[:3]):
            file.writestr(f"Größe/{index}.jpg", content)
    manifest = (EVERYDAY / "manifest.json").read_bytes()
    short = json.dumps(json.loads(manifest), separators=(",", ":")).encode()
    return {
        "decode": pictures,
        "metadata": [packet, b"II*\0\x08\0\0\0\0\0\0\0\0\0", b"\x1c\x02\x5a\0\x04Wien"],
        "archive": [box.getvalue()],
        "bundle": [b"\0" + short, b"\xff" + next(EVERYDAY.glob("*.safetensors")).read_bytes()[:2000]],
    }


TARGETS: dict[str, Callable[[bytes], None]] = {"decode": decode, "metadata": metadata, "archive": archive, "bundle": bundle}


def main() -> None:
    """Fuzz one target."""
    name, *rest = sys.argv[1:]
    folders = [argument for argument in rest if not argument.startswith("-")] or [str(ROOT / "data" / "fuzz" / name)]
    corpus = Path(folders[0])
    corpus.mkdir(parents=True, exist_ok=True)
    for index, content in enumerate(_seeds()[name]):
        (corpus / f"seed-{index}").write_bytes(content)
    options = [argument for argument in rest if argument.startswith("-")]
    atheris.Setup([sys.argv[0], "-timeout=10", "-rss_limit_mb=3000", "-max_len=8192", *options, *map(str, folders)], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
