"""Finds the OpenVINO models of a bundle, or makes them in a process of its own."""

import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from models import errors
from models.errors import BundleError
from models.manifest import Manifest
from models.openvino_index import INDEX, Failure, Index
from models.openvino_runtime import openvino

ROOT = Path(__file__).parents[1]  # from which the process imports this package
EXPORT = "import sys; sys.path.append(sys.argv.pop(1)); from models.openvino_export import main; main()"

_UNUSED_SECONDS = 30 * 86_400.0

log = logging.getLogger("chromaroute")


def find_models(folder: Path, manifest: Manifest, cache_dir: Path) -> tuple[Path, Index]:
    """The folder of the models of a bundle, and its index.

    They are made if the cache does not have them: they depend on the networks and their code, and on the version of OpenVINO.

    Args:
        folder: of the bundle.
        manifest: of the bundle.
        cache_dir: keeps the models. If it cannot be written, they are made in a temporary folder, which the caller deletes.

    Raises:
        BundleError: the networks cannot be loaded; an EngineError, if OpenVINO cannot run them.
    """
    networks = {
        name: (card.family, card.arguments, card.sha256, card.trunk, getattr(card, "shares", None))
        for name, card in manifest.cards().items()
    }
    key = hashlib.sha256(json.dumps([openvino.__version__, networks]).encode())
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        key.update(path.read_bytes())
    target = cache_dir / f"openvino-{key.hexdigest()[:24]}"
    if (index := _read_index(target)) is not None:
        with suppress(OSError):  # of another user
            os.utime(target)  # it was used
        return target, index
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        _delete_unused(cache_dir)
        made = Path(tempfile.mkdtemp(dir=cache_dir, prefix=".openvino."))
    except OSError as error:
        made = Path(tempfile.mkdtemp(prefix="chromaroute-openvino-"))
        log.warning("models cannot be kept in %s (%s): they are made again at every start", cache_dir, error.strerror)
    log.info("models of the bundle in %s are made, once", folder)
    try:
        _export(folder, made)
        if made.parent != cache_dir:
            target = made
        else:
            shutil.rmtree(target, ignore_errors=True)  # it is damaged, if it exists
            with suppress(OSError):  # another process has made it meanwhile
                made.rename(target)
    finally:
        if made != target:
            shutil.rmtree(made, ignore_errors=True)
    index = _read_index(target)
    if index is None:
        raise BundleError(f"the models in {target} cannot be read: delete this folder.")
    return target, index


def _export(folder: Path, target: Path) -> None:
    command = [sys.executable, "-P", "-c", EXPORT, str(ROOT), str(folder), str(target)]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        try:
            failure = Failure.model_validate_json(run.stdout)
        except ValidationError:
            raise BundleError(f"the models of the bundle in {folder} could not be made: {run.stderr}") from None
        raise getattr(errors, failure.type)(failure.message)


def _delete_unused(cache_dir: Path) -> None:
    """Delete the models of former versions, and what interrupted processes have left."""
    for path in (*cache_dir.glob("openvino-*"), *cache_dir.glob(".openvino.*")):
        if path.stat().st_mtime < time.time() - _UNUSED_SECONDS:
            shutil.rmtree(path, ignore_errors=True)


def _read_index(folder: Path) -> Index | None:
    """The index of a folder of models; None if there is none, or if a file differs from it."""
    try:
        index = Index.model_validate_json((folder / INDEX).read_bytes())
        digests = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in index.digests}
    except (OSError, ValidationError):
        return None
    return index if digests == index.digests else None
