"""`python -m app.cli` is the command `chromaroute`."""

from app.cli.main import main

main()
