"""Webhooks: a signed request to an address of the client when a job has ended, after the Standard Webhooks specification 1.0.

Only to origins that the operator allows, and never to private addresses unless that is allowed too; redirects are not followed.
"""

import base64
import hashlib
import hmac
import json
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from urllib.parse import urlsplit

import httpx

from app.schemas import JobStatus, WebhookState
from app.settings import Settings
from models.errors import OptionError

# Seconds before each attempt, as the specification recommends; afterwards the delivery has failed
DELAYS = (0, 5, 300, 1_800, 7_200, 18_000, 36_000)
PORTS = {"http": 80, "https": 443}
TIMEOUT = 15.0  # seconds for an attempt
EVENT = "job.ended"


@dataclass(frozen=True)
class Delivery:
    """The state of the delivery of an event: the attempts so far, when the next one is due, and how it ended."""

    attempts: int = 0
    due: datetime | None = None
    outcome: WebhookState = "pending"

    def is_due(self, now: datetime) -> bool:
        """Whether the next attempt is due. One that is further away than its delay is, too: the clock was set back."""
        return self.due is None or not now < self.due <= now + timedelta(seconds=DELAYS[min(self.attempts, len(DELAYS) - 1)])

    def after(self, reason: str, now: datetime) -> "Delivery":
        """The state after an attempt; an empty `reason` is a success."""
        attempts = self.attempts + 1
        if not reason:
            return Delivery(attempts, None, "delivered")
        if attempts >= len(DELAYS):
            return Delivery(attempts, None, "failed")
        return Delivery(attempts, now + timedelta(seconds=DELAYS[attempts]))


def check_webhook(url: str, settings: Settings) -> None:
    """Raise an OptionError unless an address is in one of the allowed origins."""
    origins = settings.webhook_origins
    if not origins:
        raise OptionError("webhook", url, "none: this server allows no webhooks (CHROMAROUTE_WEBHOOK_ORIGINS is not set)")
    if _origin(url) not in origins:
        raise OptionError("webhook", url, f"an address in {', '.join(origins)}, the origins that this server allows")


def deliver(url: str, event_id: str, status: JobStatus, settings: Settings, now: datetime) -> str:
    """Send the event; returns why it failed, or an empty string.

    Args:
        url: the address.
        event_id: is the same in every attempt, so that the receiver can recognize a repetition.
        status: of the job.
        settings: allowed origins and the secret.
        now: the time of the signature.
    """
    try:
        check_webhook(url, settings)
        address = _address(url, settings.webhook_private)
        payload = _payload(status, now)
        parts = urlsplit(url)
        headers = {"Content-Type": "application/json", "Host": parts.netloc}
        headers |= sign(settings.webhook_secret, event_id, payload, now)
        # the address that was checked is the one that is connected to, whatever the name resolves to next
        host = f"[{address}]" if ":" in address else address
        target = parts._replace(netloc=f"{host}:{parts.port}" if parts.port else host).geturl()
        request = httpx.Request("POST", target, headers=headers, content=payload, extensions={"sni_hostname": parts.hostname})
        with httpx.Client(timeout=TIMEOUT, follow_redirects=False, trust_env=False) as client:
            answer = client.send(request, stream=True)
            answer.close()
            return "" if answer.is_success else f"it was answered with the status {answer.status_code}"
    except (httpx.HTTPError, OSError, ValueError, OptionError) as error:
        return str(error) or repr(error)


def sign(secret: str, event_id: str, payload: bytes, now: datetime) -> dict[str, str]:
    """The headers of the specification: id, timestamp, and the signature over both and the payload."""
    timestamp = str(int(now.timestamp()))
    signed = b".".join((event_id.encode(), timestamp.encode(), payload))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signature = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return {"webhook-id": event_id, "webhook-timestamp": timestamp, "webhook-signature": f"v1,{signature}"}


def _payload(status: JobStatus, now: datetime) -> bytes:
    event = {"type": EVENT, "timestamp": now.astimezone(UTC).isoformat(), "data": status.model_dump(mode="json")}
    return json.dumps(event).encode()


def _address(url: str, private_allowed: bool) -> str:
    """An address of the host that may be connected to.

    Raises:
        ValueError: the host has a private address.
        OSError: it cannot be resolved.
    """
    parts = urlsplit(url)
    found = socket.getaddrinfo(parts.hostname, parts.port or PORTS[parts.scheme], type=socket.SOCK_STREAM)
    addresses = [str(entry[4][0]) for entry in found]
    if not private_allowed and (private := _private(addresses)):
        raise ValueError(f"{parts.hostname} is at {private}, a private address, which CHROMAROUTE_WEBHOOK_PRIVATE=1 would allow")
    return addresses[0]


def _private(addresses: Iterable[str]) -> str | None:
    return next((address for address in addresses if not ip_address(address.partition("%")[0]).is_global), None)


def _origin(url: str) -> str:
    """The origin of an address; nothing if it is not valid, or contains a password."""
    try:
        parts, _ = urlsplit(url), httpx.URL(url)
        is_valid = parts.port is None or parts.port > 0
    except (ValueError, httpx.InvalidURL):
        return ""
    if not is_valid or parts.scheme not in PORTS or not parts.hostname or "@" in parts.netloc:
        return ""
    return f"{parts.scheme}://{parts.netloc.lower()}"
