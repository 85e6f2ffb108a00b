"""A loaded bundle that colorizes encoded files and NumPy arrays."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from models.bundle_header import EVERYDAY
from models.decision import Decision
from models.engine_options import EngineName, EngineOptions, Precision, default_cache_dir
from models.ensemble import Ensemble
from models.errors import NotAPicture
from models.imaging import MAX_PIXELS, WRITES, Picture, decode
from models.loading import load_ensemble
from models.luma import luma_of_rgb, to_uint8
from models.options import Hint, Options, RouteOptions
from models.pipeline import colorize, merge

Levels = NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(frozen=True)
class Output:
    """A colorized file: its bytes, its format ("jpeg", "png", "webp", "tiff" or "avif"), and the decision record."""

    content: bytes
    format: str
    decision: Decision

    @property
    def media_type(self) -> str:
        """The media type, for HTTP."""
        return WRITES[self.format]


class Pipeline:
    """A bundle in memory. Its methods may be called from several threads; equal inputs give equal outputs.

    Created by `load`.
    """

    def __init__(self, ensemble: Ensemble) -> None:
        self._ensemble = ensemble

    @property
    def label(self) -> str:
        """Name and digest of the bundle, such as `everyday@5b17bcfc3dc0`."""
        return self._ensemble.bundle.label

    @property
    def categories(self) -> tuple[str, ...]:
        """The categories that can be requested."""
        return self._ensemble.bundle.router.choices

    def colorize(self, content: bytes, options: Options | None = None, *, max_pixels: int = MAX_PIXELS) -> Output:
        """Colorize an encoded picture: JPEG, PNG, TIFF, WebP, GIF, BMP, AVIF, JPEG 2000; HEIC with the extra `heif`.

        Color pictures are converted to gray first.

        Raises:
            NotAPicture, BrokenPicture: the bytes cannot be decoded.
            PictureTooLarge: the picture has more than `max_pixels`.
            OptionError: the requested category is not one of `categories`, or the format cannot hold the picture.
        """
        return Output(*colorize(content, self._ensemble, options, max_pixels))

    def colorize_array(
        self, levels: Levels, options: RouteOptions | None = None, *, saturation: float = 1.0, hints: Sequence[Hint] = ()
    ) -> tuple[Levels, Decision]:
        """Colorize an array; returns RGB `(h,w,3)` in the dtype of the input, and the decision record.

        Args:
            levels: gray `(h,w)` in uint8 or uint16, or RGB `(h,w,3)` in uint8, which is converted to gray first.
            options: of the route.
            saturation: factor on chroma, 0 to 2.
            hints: colors of points.

        Raises:
            NotAPicture: the array has another shape or dtype.
            OptionError: `saturation` is not valid, the requested category is not one of `categories`, or a hint is outside of the
                picture.
        """
        saturation = Options(saturation=saturation).saturation
        picture = _picture(levels)
        ab, decision = self._ensemble.predict(picture, options, hints)
        return cast(Levels, merge(picture, ab * np.float32(saturation), "png")), decision

    def route(self, picture: bytes | Levels, options: RouteOptions | None = None, *, max_pixels: int = MAX_PIXELS) -> Decision:
        """The decision record of an encoded picture or an array, without colorizing it; errors as for the other methods."""
        decoded = decode(picture, max_pixels) if isinstance(picture, bytes) else _picture(picture)
        decision = self._ensemble.route(decoded, options)
        return decision.with_file(decoded.page, decoded.page_count, decoded.metadata.notes)


def load(
    folder: str | Path = EVERYDAY,
    *,
    engine: EngineName = "auto",
    device: str = "cpu",
    precision: Precision = "auto",
    threads: int = 0,
    cache_dir: str | Path | None = None,
) -> Pipeline:
    """Load a bundle; by default the one that comes with the package.

    Args:
        folder: contains `manifest.json` and the weights, which are checked by sha256.
        engine: openvino runs on processors, torch on any device of torch; auto is OpenVINO on a processor.
        device: of torch: cpu, cuda, mps.
        precision: float32 or bfloat16; auto is bfloat16 with OpenVINO on processors that support it.
        threads: for one picture; 0 for all cores.
        cache_dir: keeps the models that OpenVINO needs, which are made at the first use of a bundle; None for one of this user.

    Raises:
        BundleError, CheckpointError: the bundle cannot be loaded.
        OptionError: `engine`, `device` or `precision` cannot be used.
    """
    cache = default_cache_dir() if cache_dir is None else Path(cache_dir)
    options = EngineOptions(engine, device, precision, threads, cache_dir=cache)
    return Pipeline(load_ensemble(Path(folder), options))


def _picture(levels: Any) -> Picture:
    if not isinstance(levels, np.ndarray) or not levels.size:
        raise NotAPicture(f"{type(levels).__name__} is not an array with pixels: give bytes of a file, or a NumPy array.")
    if levels.ndim == 2 and levels.dtype == np.uint8:
        return Picture(np.ascontiguousarray(levels), None, "png")
    if levels.ndim == 2 and levels.dtype == np.uint16:
        levels = np.ascontiguousarray(levels)
        return Picture(to_uint8(levels), None, "png", luma16=levels)
    if levels.ndim == 3 and levels.shape[2] == 3 and levels.dtype == np.uint8:
        return Picture(luma_of_rgb(levels), None, "png")
    raise NotAPicture(
        f"an array of shape {levels.shape} and dtype {levels.dtype} is not a picture: "
        "give (h,w) in uint8 or uint16, or (h,w,3) in uint8."
    )
