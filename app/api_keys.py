"""API keys: a file of names, hashes and rates; and the store that authenticates them and limits their rate."""

import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from app.rate_limit import RateLimit
from app.settings import Settings, SettingsError
from models.atomic_files import replace_file
from models.bundle_header import read_header
from models.errors import BundleError, OptionError


class Key(BaseModel):
    """A stored key. The secret is 256 random bits, which one SHA-256 protects as well as a slow hash would."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[\w.-]{1,64}$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    per_minute: int = Field(gt=0, description="requests with pictures per minute")
    admin: bool = Field(False, description="whether it may reload the bundle")
    bundle: str = Field("", pattern=r"^(\w[\w.-]{0,63})?$", description="name of its bundle; empty for that of the server")


_NAME = "a name of letters, digits, . _ -"
_VALID: Mapping[int | str, str] = {
    "name": _NAME,
    "per_minute": "a rate above 0",
    "bundle": f"{_NAME}, which begins with a letter, a digit or _",
}

_FILE = TypeAdapter(list[Key])


def read_keys(path: Path) -> list[Key]:
    """The keys of a file.

    Raises:
        SettingsError: the file cannot be read, or is not a file of keys.
    """
    try:
        return _FILE.validate_json(path.read_bytes())
    except OSError as error:
        raise SettingsError(f"the keys in {path} cannot be read ({error}): create a key with chromaroute key add NAME.") from error
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise SettingsError(f"{path} is not a file of API keys ({problems}): create it with chromaroute key add NAME.") from error


def add_key(path: Path, name: str, per_minute: int, admin: bool = False, bundle: str = "") -> str:
    """Create a key, store its hash, and return the secret, which cannot be shown again.

    Raises:
        OptionError: the name is taken or not valid, the rate is not positive, or the bundle is no name of a folder.
        SettingsError: the file exists and is not a file of keys.
    """
    keys = read_keys(path) if path.exists() else []
    if any(key.name == name for key in keys):
        raise OptionError("NAME", name, "a name that no other key has")
    secret = "cr_" + secrets.token_urlsafe(32)
    try:
        key = Key(name=name, sha256=_digest(secret), per_minute=per_minute, admin=admin, bundle=bundle)
    except ValidationError as error:
        first = error.errors()[0]
        raise OptionError(str(first["loc"][0]), first["input"], _VALID[first["loc"][0]]) from error
    _store(path, [*keys, key])
    return secret


def revoke_key(path: Path, name: str) -> None:
    """Remove a key from the file.

    Raises:
        OptionError: there is no key of that name.
        SettingsError: the file is not a file of keys.
    """
    keys = read_keys(path)
    if not any(key.name == name for key in keys):
        raise OptionError("NAME", name, [key.name for key in keys])
    _store(path, [key for key in keys if key.name != name])


def check_bundles(keys: Sequence[Key], settings: Settings) -> None:
    """Check that every bundle that a key names is there.

    Raises:
        SettingsError: there is no folder of bundles, or a bundle in it is missing or not valid.
    """
    for key in filter(lambda key: key.bundle, keys):
        try:
            read_header(settings.folder_of(key.bundle))
        except (BundleError, SettingsError, OSError) as error:
            raise SettingsError(f"the key {key.name!r} names the bundle {key.bundle!r}: {error}") from error


class ApiKeyStore:
    """Authenticates API keys, and limits the rate of each in this process."""

    def __init__(self, keys: Sequence[Key]) -> None:
        self.keys = keys
        self._rate = RateLimit()

    def authenticate(self, secret: str) -> Key | None:
        """The key with this secret, or None. All stored hashes are compared, in constant time."""
        digest = _digest(secret)
        found = [key for key in self.keys if hmac.compare_digest(key.sha256, digest)]
        return found[0] if found else None

    def seconds_to_wait(self, key: Key) -> float:
        """Count a request of a key; 0 if it is within the rate, or else the seconds until the next one is."""
        return self._rate.seconds_to_wait(key.name, key.per_minute)


def _store(path: Path, keys: Sequence[Key]) -> None:
    replace_file(path, (json.dumps([key.model_dump() for key in keys], indent=1) + "\n").encode())
    path.chmod(0o600)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
