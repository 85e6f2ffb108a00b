"""Packs: the pictures of a dataset as one memory-mapped array of Lab bytes, so that batches are slices."""

import hashlib
import io
import os
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap
from PIL import Image, ImageOps
from rich.progress import track
from torch import Tensor

from models.lab import luma_to_lightness, rgb_to_luma, srgb_to_lab
from training.data.dataset_index import DataError, Entry, digest, read_pictures

L_SCALE = 2.55  # L 100 -> 255; a and b are shifted by 128, which fits into a byte for sRGB colors
UNLABELED = "unlabeled"  # the category of pictures whose category is not known: they train colorizers, and no classifier
_COPIED = 4096  # pictures at a time, to the memory of a device
NO_LABEL = -1  # the index of *unlabeled*, and of kinds that are not in a list


@dataclass(frozen=True)
class Pack:
    """Square pictures as Lab bytes, and the indices `(n,)` of their categories in `categories`; -1 for unlabeled pictures.

    `pixels` `(m,3,size,size)` is memory-mapped, or in the memory of a device, and `positions` `(n,)` are its rows that belong to
    this pack: only what a batch uses is read, whatever the number of pictures. `kinds` `(n,)` are finer classes than the
    categories, -1 if they are not known. `weights` `(n,)` say how often pictures are drawn, relative to one another; None for
    shuffled epochs.
    """

    pixels: np.ndarray | Tensor
    positions: np.ndarray
    labels: np.ndarray
    kinds: np.ndarray
    categories: tuple[str, ...]
    weights: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def side(self) -> int:
        """The side of the squares in pixels."""
        return int(self.pixels.shape[-1])

    def row(self, index: int) -> np.ndarray:
        """The Lab bytes `(3,size,size)` of a picture, memory-mapped."""
        assert isinstance(self.pixels, np.ndarray)
        row: np.ndarray = self.pixels[self.positions[index]]
        return row

    def rows(self, indices: np.ndarray) -> np.ndarray:
        """The Lab bytes `(k,3,size,size)` of some pictures, in memory."""
        rows = self.pixels[self.positions[indices]]
        return rows.cpu().numpy() if isinstance(rows, Tensor) else rows

    def on(self, device: torch.device) -> "Pack":
        """The same pictures in the memory of a CUDA device, if half of what is free suffices; otherwise this pack.

        Batches are then cut out and augmented there, many times faster than on a processor.
        """
        if device.type != "cuda" or self.pixels.nbytes > torch.cuda.mem_get_info(device)[0] / 2:
            return self
        return self.copied_to(device)

    def copied_to(self, device: torch.device) -> "Pack":
        """The same pictures in the memory of a device."""
        pixels = torch.empty(self.pixels.shape, dtype=torch.uint8, device=device)
        for start in range(0, len(pixels), _COPIED):
            pixels[start : start + _COPIED] = torch.from_numpy(np.array(self.pixels[start : start + _COPIED]))
        return replace(self, pixels=pixels)

    def spread(self, count: int) -> "Pack":
        """At most `count` pictures, evenly spread."""
        return self.pick(np.linspace(0, len(self) - 1, min(count, len(self))).astype(int))

    def pick(self, indices: np.ndarray) -> "Pack":
        """The pictures with these indices."""
        weights = None if self.weights is None else self.weights[indices]
        return replace(
            self, positions=self.positions[indices], labels=self.labels[indices], kinds=self.kinds[indices], weights=weights
        )

    def drawn(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """The indices of `count` pictures, drawn by weight; a picture may be drawn twice."""
        assert self.weights is not None
        shares = np.cumsum(self.weights)
        indices: np.ndarray = np.searchsorted(shares, rng.random(count) * shares[-1], side="right")
        return indices

    def labeled(self) -> "Pack":
        """The pictures whose category is known."""
        return self.pick((self.labels != NO_LABEL).nonzero()[0])


def decode_rgb(content: bytes) -> np.ndarray:
    """RGB bytes `(h,w,3)` of an encoded picture, upright.

    Raises:
        DataError: it cannot be decoded to the end.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except Exception as error:  # decoders raise almost anything on damaged bytes
        raise DataError(f"a picture cannot be decoded: {error!r}") from error


def rgb_tensor(rgb: np.ndarray) -> Tensor:
    """RGB `(1,3,h,w)` in [0, 1] of bytes `(h,w,3)`."""
    return torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255


def lab_bytes(content: bytes, size: int) -> np.ndarray:
    """Lab bytes `(3,size,size)` of the middle square of a picture. L is that of the BT.601 luma, as at inference."""
    image = ImageOps.fit(Image.fromarray(decode_rgb(content)), (size, size), Image.Resampling.BICUBIC)
    rgb = rgb_tensor(np.array(image))
    gray = (rgb_to_luma(rgb) * 255).round() / 255
    ab = srgb_to_lab(rgb)[:, 1:]
    lab = torch.cat((luma_to_lightness(gray) * L_SCALE, ab + 128), dim=1)
    return lab[0].round().clamp(0, 255).byte().numpy()


def load_pack(
    entries: list[Entry],
    categories: Sequence[str],
    size: int,
    folder: Path,
    category: Callable[[Entry], str] = lambda entry: entry.category,
    kinds: Sequence[str] = (),
) -> Pack:
    """The pack of these entries, cached in `folder`.

    Args:
        entries: the pictures.
        categories: the names of the labels.
        size: side of the squares, in pixels.
        folder: of the cache.
        category: of a picture, one of `categories` or *unlabeled*.
        kinds: the names of the finer classes, each SET/CATEGORY.

    Raises:
        DataError: there are no entries, a category is not in `categories`, or a picture does not exist.
    """
    if not entries:
        raise DataError("the dataset index has no pictures in the sets, splits and categories of the recipe.")
    if unknown := {category(entry) for entry in entries} - {*categories, UNLABELED}:
        raise DataError(f"the dataset index has the categories {sorted(unknown)}, which are not among {', '.join(categories)}.")
    entries = sorted(entries, key=lambda entry: entry.sha256)
    path = folder / f"{digest(entries)[:16]}-{size}.npy"
    if not path.is_file():
        _write_pack(entries, size, path)
    label, kind = ({name: index for index, name in enumerate(names)} for names in (categories, kinds))
    labels = np.array([label.get(category(entry), NO_LABEL) for entry in entries])
    finer = np.array([kind.get(entry.kind, NO_LABEL) for entry in entries])
    return Pack(np.load(path, mmap_mode="r"), np.arange(len(labels)), labels, finer, tuple(categories))


def _write_pack(entries: list[Entry], size: int, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(".partial", f"{path.stem}.", path.parent)  # several processes may write the same pack at once
    os.close(handle)
    temporary = Path(name)
    try:
        pixels = open_memmap(temporary, mode="w+", dtype=np.uint8, shape=(len(entries), 3, size, size))
        positions: dict[str, list[int]] = {}
        for index, entry in enumerate(entries):  # one content may belong to several sets
            positions.setdefault(entry.sha256, []).append(index)
        pictures = iter(track(read_pictures(entries), description=f"packing at {size} px", total=len(entries)))
        with ThreadPoolExecutor() as pool:
            while chunk := list(islice(pictures, 256)):
                for (entry, _), lab in zip(chunk, pool.map(lambda item: _checked_lab(item[0], item[1], size), chunk), strict=True):
                    pixels[positions[entry.sha256]] = lab
        pixels.flush()
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _checked_lab(entry: Entry, content: bytes, size: int) -> np.ndarray:
    """The Lab bytes of a picture, if its content has not changed since `prepare`."""
    if hashlib.sha256(content).hexdigest() != entry.sha256:
        raise DataError(f"{entry.path} has changed since the dataset index was created: run `prepare` again.")
    return lab_bytes(content, size)
