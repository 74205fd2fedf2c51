"""Where the database and Redis are, without their passwords being seen.

`resolved` turns what stands in config.yaml into an address; `redacted` makes any text fit to be shown.
"""

import os
import re
from pathlib import Path
from typing import Any

from traderd.core.errors import TraderdError

_PASSWORD_IN_URL = re.compile(r"(?P<head>[A-Za-z][A-Za-z0-9+.-]*://[^\s:@/]*:)[^\s'\"]*(?=@)")
_PASSWORD_BY_NAME = re.compile(
    r"(?P<head>\b(?:\w*password|passwd|pwd|\w*secret|\w*token|api_?key)\s*=\s*)(?:'[^']*'|[^\s&'\",;]+)", re.IGNORECASE
)
HIDDEN = "***"


class AddressError(TraderdError):
    """An `env:` or `credential:` reference that leads nowhere; the message never holds the value."""


def resolved(address: str) -> str:
    """The address itself, or what `env:NAME` (an environment variable) or `credential:NAME` holds.

    A credential is a file that systemd's LoadCredential= passes: unlike the environment, no child process inherits it.
    Raises AddressError when there is no such variable or file, or it is empty.
    """
    kind, _, name = address.partition(":")
    if kind == "env":
        value = os.environ.get(name, "")
        if not value:
            raise AddressError(f"the environment variable {name!r} isn't set")
        return value
    if kind == "credential":
        return _credential(name)
    return address


def redacted(text: str) -> str:
    """The text with the passwords in URLs and in `password=…` pairs hidden."""
    return _PASSWORD_BY_NAME.sub(rf"\g<head>{HIDDEN}", _PASSWORD_IN_URL.sub(rf"\g<head>{HIDDEN}", text))


def redacted_values(value: Any) -> Any:
    """The same for every text in nested values."""
    if isinstance(value, dict):
        return {key: redacted_values(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [redacted_values(inner) for inner in value]
    return redacted(value) if isinstance(value, str) else value


def _credential(name: str) -> str:
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if not folder or "/" in name:
        raise AddressError(f"there is no credential {name!r}: systemd passes it with LoadCredential={name}:FILE")
    try:
        value = (Path(folder) / name).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as fault:
        raise AddressError(f"the credential {name!r} can't be read: {type(fault).__name__}") from fault
    if not value:
        raise AddressError(f"the credential {name!r} is empty")
    return value
