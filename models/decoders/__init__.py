"""Decoders: one module for each format, or for several that share a library. `open_file` finds the one of a file."""

from models.decoders.base import EncodedFile
from models.decoders.formats import ALWAYS_READ, READS, check_format, format_of, open_file

__all__ = ["ALWAYS_READ", "READS", "EncodedFile", "check_format", "format_of", "open_file"]
