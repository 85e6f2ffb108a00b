"""Checks of the database of the queue before it is used."""

import logging
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import psycopg
from dbos._error import DBOSNonExistentWorkflowError
from dbos._serialization import DefaultSerializer

from app.settings import SettingsError

log = logging.getLogger("chromaroute")


def is_of_an_existing_task(record: logging.LogRecord) -> bool:
    """Filters the log of DBOS: deleting a job deletes its tasks, also one that DBOS is about to look at, which it reports as an
    error.
    """
    return record.exc_info is None or not isinstance(record.exc_info[1], DBOSNonExistentWorkflowError)


def set_aside_if_damaged(path: Path) -> None:
    """Rename a database that SQLite cannot read, with its journal files, so that a new one takes its place.

    The queue is made again from the folders of the jobs.
    """
    if not path.exists():
        return
    try:
        with closing(sqlite3.connect(path)) as connection:
            found = [row[0] for row in connection.execute("PRAGMA quick_check(1)")]
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):  # a backup reads it
            return
        found = [str(error)]
    if found == ["ok"]:
        return
    suffix = f".damaged-{datetime.now(UTC):%Y%m%dT%H%M%S}"
    for file in (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm", "-journal"))):
        if file.exists():
            file.rename(file.with_name(file.name + suffix))
    log.error(
        "the jobs database %s is damaged (%s): it is kept as %s, and the queue is made again from the jobs",
        path, found[0], path.name + suffix,
    )  # fmt: skip


def check_connection(database: str) -> None:
    """Raise a SettingsError unless the database answers."""
    try:
        psycopg.connect(database, connect_timeout=10).close()
    except psycopg.Error as error:
        reason = str(error).strip()
        raise SettingsError(f"CHROMAROUTE_DATABASE cannot be reached: {reason}. Start it, or correct the URL.") from error


def refuse_pickles() -> None:
    """Let the queue read nothing but JSON.

    DBOS decodes what a row of the database calls a pickle, which would run the code of whoever can write there.
    """

    def refuse(cls: DefaultSerializer, serialized_data: str) -> NoReturn:
        raise ValueError("the jobs database contains a pickle, which is never read: only JSON is")

    DefaultSerializer.deserialize = refuse  # type: ignore[method-assign]
