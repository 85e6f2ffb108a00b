"""Logs on standard error: text lines, or one JSON object per line."""

import logging.config
from typing import Literal

from pythonjsonlogger.core import RESERVED_ATTRS


def configure_logs(format: Literal["text", "json"]) -> None:
    """Configure one handler for the logs of Chromaroute, uvicorn and DBOS."""
    formatters = {
        "text": {"format": "%(asctime)s %(levelname)s %(message)s", "datefmt": "%H:%M:%S"},
        "json": {
            "()": "pythonjsonlogger.json.JsonFormatter",
            "fmt": "%(levelname)s %(name)s %(message)s",
            "rename_fields": {"levelname": "level", "name": "logger"},
            "timestamp": "time",  # in UTC, after RFC 3339
            "reserved_attrs": [*RESERVED_ATTRS, "color_message"],
        },
    }
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": formatters,
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": format}},
            "loggers": {
                name: {"handlers": ["stderr"], "level": "INFO", "propagate": False} for name in ("chromaroute", "uvicorn", "dbos")
            },
        }
    )
