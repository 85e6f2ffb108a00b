"""Bundles and a voter for the tests of surveys."""

import json
import shutil
from pathlib import Path

from models.bundle_header import EVERYDAY

VOTER = "0123456789abcdef" * 2
Key = dict[str, dict[str, dict[str, str]]]


def copy_everyday(folder: Path, name: str, saturation: float) -> Path:
    """Copy the embedded bundle under another name, with another saturation of its experts."""
    shutil.copytree(EVERYDAY, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["name"] = name
    for card in manifest["experts"].values():
        card["arguments"]["saturation"] = saturation
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder
