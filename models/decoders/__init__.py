"""Decoders: one module for each format, or for several that share a library. `open_file` finds the one of a file."""

from models.decoders.base import EncodedFile
from models.decoders.formats import READS, open_file

__all__ = ["READS", "EncodedFile", "open_file"]
