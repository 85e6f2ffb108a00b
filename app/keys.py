"""API keys: several, named, each with a rate of its own; only their hashes are stored."""

import hashlib
import hmac
import json
import secrets
from collections.abc import Sequence
from pathlib import Path

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from app.settings import SettingsError
from models.errors import OptionError
from models.files import replace_file


class Key(BaseModel):
    """A key as it is stored. It is 256 random bits, so that one SHA-256 protects it as well as a slow hash would."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[\w.-]{1,64}$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    per_minute: int = Field(gt=0, description="requests that send pictures")


_FILE = TypeAdapter(list[Key])


def read_keys(path: Path) -> list[Key]:
    """The keys of a file.

    Raises:
        SettingsError: there is no such file, or it does not hold keys.
    """
    try:
        return _FILE.validate_json(path.read_bytes())
    except OSError as error:
        raise SettingsError(f"the keys in {path} cannot be read ({error}): make a key by chromaroute key add NAME.") from error
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise SettingsError(f"{path} does not hold API keys ({problems}): make it by chromaroute key add NAME.") from error


def add_key(path: Path, name: str, per_minute: int) -> str:
    """Make a key, store its hash, and return it: it is seen this once.

    Raises:
        OptionError: the name is taken or not valid, or the rate is not positive.
        SettingsError: the file is there and does not hold keys.
    """
    keys = read_keys(path) if path.exists() else []
    if any(key.name == name for key in keys):
        raise OptionError("NAME", name, "a name that no other key has")
    secret = "cr_" + secrets.token_urlsafe(32)
    try:
        key = Key(name=name, sha256=_digest(secret), per_minute=per_minute)
    except ValidationError as error:
        first = error.errors()[0]
        raise OptionError(str(first["loc"][0]), first["input"], "a name of letters, digits, . _ -, and a rate above 0") from error
    _store(path, [*keys, key])
    return secret


def revoke_key(path: Path, name: str) -> None:
    """Take a key out of the file.

    Raises:
        OptionError: there is no key of that name.
        SettingsError: the file does not hold keys.
    """
    keys = read_keys(path)
    if not any(key.name == name for key in keys):
        raise OptionError("NAME", name, [key.name for key in keys])
    _store(path, [key for key in keys if key.name != name])


class Gate:
    """Tells keys from strangers, and counts what each key sends in this process."""

    def __init__(self, keys: Sequence[Key]) -> None:
        self.keys = keys
        self._rates = MovingWindowRateLimiter(MemoryStorage())

    def name_of(self, secret: str) -> str | None:
        """The name of a key; every stored hash is compared, in constant time."""
        digest = _digest(secret)
        found = [key.name for key in self.keys if hmac.compare_digest(key.sha256, digest)]
        return found[0] if found else None

    def wait_of(self, name: str, now: float) -> float:
        """Count a request of a key; seconds until it may send the next, 0 if this one may pass."""
        rate = RateLimitItemPerMinute(next(key.per_minute for key in self.keys if key.name == name))
        if self._rates.hit(rate, name):
            return 0.0
        return max(1.0, self._rates.get_window_stats(rate, name).reset_time - now)


def _store(path: Path, keys: Sequence[Key]) -> None:
    replace_file(path, (json.dumps([key.model_dump() for key in keys], indent=1) + "\n").encode())
    path.chmod(0o600)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
