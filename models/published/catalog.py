"""The catalog of published files: `catalog.json`. Nothing here needs torch."""

from functools import cache
from pathlib import Path

from pydantic import Field, TypeAdapter

from models.errors import OptionError
from models.manifest import Strict

CATALOG = Path(__file__).with_suffix(".json")
ONNX = "onnx"  # any network in a file of the user


class CatalogEntry(Strict):
    """A published file.

    Args:
        title: of the publication.
        url: of the file.
        network: a key of `models.published.networks.NETWORKS`.
        license: its SPDX identifier.
        terms: the URL of the license.
        bytes: of the file, if they are known.
        sha256: of the file, if it is known.
        sha256_begins: its first digits, if only these are known.
    """

    title: str
    url: str
    network: str
    license: str
    terms: str
    bytes: int | None = Field(None, gt=0)
    sha256: str = Field("", pattern=r"^([0-9a-f]{64})?$")
    sha256_begins: str = ""


@cache
def catalog() -> dict[str, CatalogEntry]:
    """The published files by name."""
    return TypeAdapter(dict[str, CatalogEntry]).validate_json(CATALOG.read_bytes())


def find_entry(name: str) -> CatalogEntry:
    """The published file of that name.

    Raises:
        OptionError: there is none.
    """
    if name not in catalog():
        raise OptionError("NETWORK", name, (*catalog(), ONNX))
    return catalog()[name]
