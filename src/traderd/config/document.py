"""YAML text → plain values, and the line on which each stood.

Numbers are those of YAML 1.2: `off`, `no` and `1:30` are text, not a boolean and a count of seconds. A number with a
fraction becomes a `Decimal` with every digit that was written. Refuses duplicate keys, a second document, endless
aliases.
"""

import re
from decimal import Decimal
from typing import Any

import yaml

from traderd.core.errors import ConfigError

KeyPath = tuple[str | int, ...]
"""`venues[0].symbols` is ("venues", 0, "symbols")."""

_INT = re.compile(r"[-+]?[0-9][0-9_]{0,39}\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9_]{1,40}|[0-9][0-9_]{0,39}(?:\.[0-9_]{0,40})?)(?:[eE][-+]?[0-9]{1,3})?\Z")
_SPECIAL = re.compile(r"(?P<sign>[-+]?)\.(?:(?P<inf>inf|Inf|INF)|nan|NaN|NAN)\Z")
_WORDS: dict[str, bool | None] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip


class Document:
    """One file's values, the lines of its keys, and what is wrong with it as YAML."""

    def __init__(self, text: str) -> None:
        """Raises ConfigError with line and column when the text isn't YAML."""
        self.lines: dict[KeyPath, int] = {(): 1}
        """Line of every key and list element, from 1."""
        self.mistakes: list[tuple[KeyPath, int, str]] = []
        """(path, line, sentence)"""
        self.values: Any = None
        root = _composed(text)
        if root is not None:
            self.values = self._value(root, (), ())

    def line(self, path: KeyPath) -> int:
        """Where it stands; for what isn't there, where its section begins."""
        while path not in self.lines:
            path = path[:-1]
        return self.lines[path]

    def _value(self, node: yaml.Node, path: KeyPath, above: tuple[int, ...]) -> Any:
        if id(node) in above:
            raise ConfigError([f"{node.start_mark.line + 1}: an alias that contains itself"])
        above = (*above, id(node))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, above)
        if isinstance(node, yaml.SequenceNode):
            return [self._element(child, (*path, i), above) for i, child in enumerate(node.value)]
        assert isinstance(node, yaml.ScalarNode)
        return _scalar(node)

    def _element(self, node: yaml.Node, path: KeyPath, above: tuple[int, ...]) -> Any:
        self.lines[path] = node.start_mark.line + 1
        return self._value(node, path, above)

    def _mapping(self, node: yaml.MappingNode, path: KeyPath, above: tuple[int, ...]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self.mistakes.append((path, line, "a key must be one word"))
                continue
            key = (*path, key_node.value)
            if key_node.value in values:
                self.mistakes.append((key, line, f"this key was already given on line {self.lines[key]}"))
                continue
            self.lines[key] = line
            values[key_node.value] = self._value(value_node, key, above)
        return values


def _composed(text: str) -> yaml.Node | None:
    try:
        root: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as fault:
        mark = fault.problem_mark or fault.context_mark
        where = f"{mark.line + 1}:{mark.column + 1}: " if mark else ""
        raise ConfigError([f"{where}not valid YAML: {fault.problem or fault.context}"]) from fault
    except yaml.reader.ReaderError as fault:
        line = text.count("\n", 0, fault.position) + 1
        raise ConfigError([f"{line}: not valid YAML: a character that YAML doesn't allow"]) from fault
    except RecursionError as fault:
        raise ConfigError(["not usable: nested too deeply"]) from fault
    return root


def _scalar(node: yaml.ScalarNode) -> Any:
    text: str = node.value
    if node.style is not None:  # quoted, or a block of text
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INT.match(text):
        return int(text.replace("_", ""))
    if _FLOAT.match(text):
        return Decimal(text.replace("_", ""))
    if special := _SPECIAL.match(text):
        return Decimal(special["sign"] + ("Infinity" if special["inf"] else "NaN"))
    return text
