"""Where the database and Redis are, without their passwords being seen.

`resolved` turns what stands in config.yaml into an address, `hosts_of` a DSN of several hosts into one for each;
`redacted` makes any text fit to be shown.
"""

import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from traderd.core.errors import TraderdError

_PASSWORD_IN_URL = re.compile(r"(?P<head>[A-Za-z][A-Za-z0-9+.-]*://[^\s:@/]*:)[^\s'\"]*(?=@)")
_PASSWORD_BY_NAME = re.compile(
    r"(?P<head>\b(?:\w*password|passwd|pwd|\w*secret|\w*token|api_?key)\s*=\s*)(?:'[^']*'|[^\s&'\",;]+)", re.IGNORECASE
)
HIDDEN = "***"
_HIDDEN_BEHIND_HEAD = rf"\g<head>{HIDDEN}"


class AddressError(TraderdError):
    """An `env:`, `credential:` or `file:` reference that leads nowhere; the message never holds the value."""


def resolved(address: str) -> str:
    """The address itself, or what `env:NAME` (an environment variable), `credential:NAME` or `file:/PATH` holds.

    A credential is a file that systemd's LoadCredential= passes: unlike the environment, no child process inherits it.
    What a file holds may change while we run. Raises AddressError when there is no such variable or file, or it is
    empty.
    """
    kind, _, name = address.partition(":")
    if kind == "env":
        value = os.environ.get(name, "")
        if not value:
            raise AddressError(f"the environment variable {name!r} isn't set")
        return value
    if kind == "credential":
        return _credential(name)
    if kind == "file":
        return _held_by(Path(name), f"the file {name!r}")
    return address


def hosts_of(dsn: str) -> list[str]:
    """One DSN for each of a DSN's hosts, in their order: `h1:5432,h2:5433`, or `?host=h1,h2&port=5432,5433`."""
    url = urlsplit(dsn)
    who, at, hosts = url.netloc.rpartition("@")
    if "," in hosts:
        return [url._replace(netloc=who + at + host).geturl() for host in hosts.split(",")]
    query = parse_qs(url.query, keep_blank_values=True)
    hosts = query.get("host", [""])[0]
    if "," not in hosts:
        return [dsn]
    named = hosts.split(",")
    ports = query.pop("port", [""])[0].split(",")
    if len(ports) == 1:
        ports *= len(named)
    if len(ports) != len(named):
        raise ValueError(f"the DSN names {len(named)} hosts and {len(ports)} ports")
    return [_with_query(dsn, query, host, port) for host, port in zip(named, ports, strict=True)]


def _with_query(dsn: str, query: dict[str, list[str]], host: str, port: str) -> str:
    told = {name: values[0] for name, values in query.items()} | {"host": host} | ({"port": port} if port else {})
    return urlsplit(dsn)._replace(query=urlencode(told)).geturl()


def redacted(text: str) -> str:
    """The text with the passwords in URLs and in `password=…` pairs hidden."""
    if "://" in text:
        text = _PASSWORD_IN_URL.sub(_HIDDEN_BEHIND_HEAD, text)
    return _PASSWORD_BY_NAME.sub(_HIDDEN_BEHIND_HEAD, text) if "=" in text else text


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
    return _held_by(Path(folder) / name, f"the credential {name!r}")


def _held_by(path: Path, what: str) -> str:
    if not path.is_absolute():
        raise AddressError(f"{what} can't be read: its path must begin with /")
    try:
        value = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as fault:
        raise AddressError(f"{what} can't be read: {type(fault).__name__}") from fault
    if not value:
        raise AddressError(f"{what} is empty")
    return value
