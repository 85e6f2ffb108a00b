"""Decoders: one module for each format, or for several that share a library. `open_file` finds the one of a file."""

from models.decoders.base import EncodedFile
from models.decoders.formats import READS, format_of, open_file

__all__ = ["READS", "EncodedFile", "format_of", "open_file"]
