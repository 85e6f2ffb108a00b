"""The command line `chromaroute`."""

from app.cli.main import app, main

__all__ = ["app", "main"]
