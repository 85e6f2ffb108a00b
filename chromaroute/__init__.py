"""Chromaroute as a library: load a bundle, colorize files or arrays, or only route them.

    import chromaroute

    pipeline = chromaroute.load()
    output = pipeline.colorize(Path("scan.jpg").read_bytes())
    Path("scan-colorized.jpg").write_bytes(output.content)

These names are the public interface: it changes only with a note in CHANGELOG.md. Everything in `models`, `app` and `training` may
change in any version.
"""

from importlib.metadata import version

from chromaroute.pipeline import Output, Pipeline, load
from models.decision import Candidate, Decision, ExpertShare
from models.errors import (
    BrokenPicture,
    BundleError,
    CheckpointError,
    ChromarouteError,
    EngineError,
    NotAPicture,
    OptionError,
    PictureError,
    PictureTooComplex,
    PictureTooLarge,
    UnknownOption,
)
from models.options import Hint, Options, RouteOptions

__all__ = [
    "BrokenPicture",
    "BundleError",
    "Candidate",
    "CheckpointError",
    "ChromarouteError",
    "Decision",
    "EngineError",
    "ExpertShare",
    "Hint",
    "NotAPicture",
    "OptionError",
    "Options",
    "Output",
    "PictureError",
    "PictureTooComplex",
    "PictureTooLarge",
    "Pipeline",
    "RouteOptions",
    "UnknownOption",
    "load",
]

__version__ = version("chromaroute")
