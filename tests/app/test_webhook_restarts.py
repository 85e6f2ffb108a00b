"""Webhooks of jobs over restarts of the service."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.jobs import webhooks
from tests.app.webhook_receiver import Receiver, folder_of, post_with_webhook, service_with_webhooks, webhook_state
from tests.server_process import wait_until


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    monkeypatch.setattr("app.jobs.maintenance_thread.PERIOD", 0.05)
    with Receiver().serving() as receiver:
        yield receiver


@pytest.mark.slow
def test_pending_webhook_is_delivered_after_a_restart(receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "DELAYS", (0, 3600, 3600))
    receiver.statuses = [500]
    with service_with_webhooks(tmp_path, receiver) as first:
        path = post_with_webhook(first, f"{receiver.origin}/restart").headers["location"]
        wait_until(lambda: folder_of(first, path).delivery.attempts == 1)
        job = folder_of(first, path)
        assert webhook_state(first, path) == "pending"
    job.delivery = replace(job.delivery, due=datetime.now(UTC))  # an hour later
    with service_with_webhooks(tmp_path, receiver) as second:
        wait_until(lambda: webhook_state(second, path) == "delivered")
    calls = receiver.calls_to("/restart")
    assert len(calls) == 2
    assert len({call.headers["webhook-id"] for call in calls}) == 1


@pytest.mark.slow
def test_stop_during_a_delivery_keeps_its_outcome(receiver: Receiver, tmp_path: Path) -> None:
    receiver.delay = 2
    with service_with_webhooks(tmp_path, receiver) as client:
        path = post_with_webhook(client, f"{receiver.origin}/slow").headers["location"]
        wait_until(lambda: len(receiver.calls) == 1)
        job = folder_of(client, path)
    wait_until(lambda: job.delivery.attempts == 1)
    assert job.delivery.outcome == "delivered"
    with service_with_webhooks(tmp_path, receiver) as client:
        assert webhook_state(client, path) == "delivered"
    assert len(receiver.calls) == 1
