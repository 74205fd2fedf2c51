"""From the file to the Config, or to every mistake in it at once."""

from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect

import traderd
from traderd.config.addresses import redacted_values
from traderd.config.checking import checked
from traderd.config.document import Document, KeyPath
from traderd.config.rules import contradictions
from traderd.config.schema import Config
from traderd.core.errors import ConfigError


def load_config(path: Path) -> Config:
    """Read and check the file.

    Raises ConfigError with one line for each mistake, `FILE:LINE: KEY: what is wrong`, in the file's order.
    """
    try:
        document = Document(_text(path))
    except ConfigError as fault:
        raise ConfigError([f"{path}:{line}" for line in fault.lines]) from fault
    mistakes = _Mistakes(document)
    config: Config = checked(inspect.type_info(Config), document.values, (), mistakes.tell)
    for keys, what in contradictions(config):
        if not any(mistakes.touch(key) for key in keys):
            mistakes.tell(keys[0], what)
    if mistakes.told:
        raise ConfigError([f"{path}:{line}: {where}{what}" for line, where, what in mistakes.ordered()])
    return config


def packaged_config() -> Path:
    """The commented default: in the installed package, or at the root of a checkout."""
    package = Path(traderd.__file__).resolve().parent
    installed = package / "config.yaml"
    return installed if installed.exists() else package.parents[1] / "config.yaml"


def state_path(config: Config, config_path: Path) -> Path:
    """The state folder: relative to the config file, but to the working folder when that is the packaged default."""
    return (_base(config_path) / config.state_dir).resolve()


def backup_path(config: Config, config_path: Path) -> Path:
    """The folder for backups, relative to the same folder as the state's."""
    return (_base(config_path) / config.backup.dir).resolve()


def shown(config: Config) -> dict[str, Any]:
    """The configuration as plain values fit to be shown: no passwords."""
    values: dict[str, Any] = redacted_values(msgspec.to_builtins(config))
    return values


def _base(config_path: Path) -> Path:
    config_path = config_path.resolve()
    return Path.cwd() if config_path == packaged_config() else config_path.parent


class _Mistakes:
    """Collects what is wrong, and where."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self.told = list(document.mistakes)
        self._paths: set[KeyPath] = {path for path, _, _ in self.told if path}

    def tell(self, path: KeyPath, what: str) -> None:
        self._paths.add(path)
        if what:
            self.told.append((path, self._document.line(path), what))

    def touch(self, path: KeyPath) -> bool:
        """Whether the key, something in it, or its whole section is wrong already."""
        return any(bad[: len(path)] == path or path[: len(bad)] == bad for bad in self._paths)

    def ordered(self) -> list[tuple[int, str, str]]:
        ranked = sorted(self.told, key=lambda mistake: mistake[1])
        return [(line, f"{key_text(path)}: " if path else "", what) for path, line, what in ranked]


def key_text(path: KeyPath) -> str:
    """("venues", 0, "symbols") → `venues[0].symbols`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as fault:
        raise ConfigError([" there is no such file"]) from fault
    except UnicodeDecodeError as fault:
        raise ConfigError([" isn't text in UTF-8"]) from fault
    except OSError as fault:
        raise ConfigError([f" can't be read: {fault.strerror}"]) from fault
