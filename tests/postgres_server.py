"""A PostgreSQL server from Debian's package, for tests."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.server_process import free_port

POSTGRES = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)


@contextmanager
def serving_postgres() -> Iterator[str]:
    """The URL of a database of its own; PostgreSQL refuses to run as root."""
    if POSTGRES is None and "TEST_EVERYTHING" not in os.environ:
        pytest.skip("PostgreSQL is not installed: replicas are not tested")
    assert POSTGRES is not None
    folder = Path(tempfile.mkdtemp(prefix="chromaroute-postgres-"))
    user = {"user": "postgres", "group": "postgres"} if os.getuid() == 0 else {}
    if user:
        shutil.chown(folder, **user)
    port = free_port()

    def run(program: str, *arguments: object) -> None:
        assert POSTGRES is not None
        subprocess.run([POSTGRES / program, *map(str, arguments)], check=True, capture_output=True, cwd="/", **user)  # type: ignore[call-overload]

    try:
        run("initdb", "-D", folder / "data", "--auth=trust", "--username=chromaroute")
        options = f"-p {port} -k {folder} -c fsync=off"
        run("pg_ctl", "-D", folder / "data", "-l", folder / "log", "-w", "-o", options, "start")
        yield f"postgresql://chromaroute@127.0.0.1:{port}/postgres"
    finally:
        if (folder / "data" / "postmaster.pid").exists():
            run("pg_ctl", "-D", folder / "data", "-m", "immediate", "stop")
        shutil.rmtree(folder)
