"""Holds plain values against the schema and tells every mistake, where msgspec's own conversion stops at the first.

What is wrong is replaced by its default, or by a blank where there is none, so that `rules` can look at the rest too.
"""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from difflib import get_close_matches
from typing import Any

from msgspec import inspect, structs

from traderd.config.addresses import redacted
from traderd.config.document import KeyPath

Tell = Callable[[KeyPath, str], None]
"""Takes a key and what is wrong with it; "" when that is told elsewhere and the key only mustn't be looked at again."""
_BAD: Any = object()

_WANTED: dict[type[inspect.Type], str] = {
    inspect.IntType: "a whole number",
    inspect.FloatType: "a number",
    inspect.DecimalType: "a number",
    inspect.StrType: "text",
    inspect.BoolType: "true or false",
}
_LIMITS: dict[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "gt": ("above", lambda value, limit: value > limit),
    "ge": ("at least", lambda value, limit: value >= limit),
    "lt": ("below", lambda value, limit: value < limit),
    "le": ("at most", lambda value, limit: value <= limit),
}


def checked(spec: inspect.Type, raw: Any, path: KeyPath, tell: Tell) -> Any:
    """The value that `raw` stands for, or a blank; every mistake goes to `tell`."""
    value = _checked(spec, raw, path, tell)
    return _blank(spec) if value is _BAD else value


def _checked(spec: inspect.Type, raw: Any, path: KeyPath, tell: Tell, default: Any = None) -> Any:
    description, limits = "", {}
    if isinstance(spec, inspect.Metadata):
        description, limits = (spec.extra_json_schema or {}).get("description", ""), spec.extra or {}
        spec = spec.type
    if isinstance(spec, inspect.StructType):
        return _struct(spec, raw, path, tell, default)
    if isinstance(spec, inspect.VarTupleType):
        return _tuple(spec, raw, path, tell)
    wrong = ""
    if isinstance(spec, inspect.LiteralType):
        value, wrong = _literal(spec, raw)
    else:
        value = _typed(spec, raw)
        if value is _BAD or (isinstance(spec, inspect.StrType) and not _fits(spec, value)):
            wrong = f"expected {description or _WANTED[type(spec)]}, got {display(raw)}"
        elif isinstance(value, int | float | Decimal):
            wrong = "; ".join(_outside(spec, limits, value))
    if wrong:
        tell(path, wrong)
        return _BAD
    return value


def suggestion(word: Any, words: Sequence[str]) -> str:
    """`: did you mean 'x'?` where a word is near, else nothing."""
    near = get_close_matches(word, words, n=1, cutoff=0.6) if isinstance(word, str) else []
    return f": did you mean {near[0]!r}?" if near else ""


def display(raw: Any) -> str:
    """A value in a sentence: short, and without passwords."""
    if raw is None:
        return "nothing"
    if isinstance(raw, bool):
        return str(raw).lower()
    if isinstance(raw, list | dict):
        return "a list" if isinstance(raw, list) else "a section"
    text = redacted(str(raw))
    text = text if len(text) <= 60 else text[:59] + "…"
    return repr(text) if isinstance(raw, str) else text


def _struct(spec: inspect.StructType, raw: Any, path: KeyPath, tell: Tell, default: Any) -> Any:
    """A key that is left out has the value of `default`, where the section as a whole has one."""
    raw = {} if raw is None else raw  # a section whose every line is commented out
    if not isinstance(raw, dict):
        tell(path, f"expected a section of `key: value` lines, got {display(raw)}")
        return _BAD
    meant = _unknown_keys(spec, raw, path, tell)
    values: dict[str, Any] = structs.asdict(default) if isinstance(default, spec.cls) else {}
    for field in spec.fields:
        if field.name in raw:
            value = _checked(field.type, raw[field.name], (*path, field.name), tell, field.default)
            if value is not _BAD:
                values[field.name] = value
        elif field.required and field.name not in values:
            tell((*path, field.name), "" if field.name in meant else "this key is missing and has no default")
    return _built(spec, values)


def _built(spec: inspect.StructType, values: dict[str, Any]) -> Any:
    blanks = {field.name: _blank(field.type) for field in spec.fields if field.required}
    return spec.cls(**(blanks | values))


def _blank(spec: inspect.Type) -> Any:
    """What stands for an element or a key that has no usable value and no default."""
    if isinstance(spec, inspect.StructType):
        return _built(spec, {})
    return () if isinstance(spec, inspect.VarTupleType) else ""


def _unknown_keys(spec: inspect.StructType, raw: dict[str, Any], path: KeyPath, tell: Tell) -> set[str]:
    """Tell the keys that don't exist; returns those that were probably meant: they aren't told as missing too."""
    known = [field.name for field in spec.fields]
    if spec.tag_field:
        known.append(spec.tag_field)
        if raw.get(spec.tag_field, spec.tag) != spec.tag:
            tell((*path, spec.tag_field), f"expected one of {spec.tag}, got {display(raw[spec.tag_field])}")
    meant: set[str] = set()
    for key in raw.keys() - set(known):
        hint = suggestion(key, known)
        tell((*path, key), f"unknown key {key!r}{hint or ': there are only ' + ', '.join(known)}")
        meant.update(get_close_matches(key, known, n=1, cutoff=0.6))
    return meant


def _tuple(spec: inspect.VarTupleType, raw: Any, path: KeyPath, tell: Tell) -> Any:
    raw = [] if raw is None else raw
    if not isinstance(raw, list):
        tell(path, f"expected a list, got {display(raw)}")
        return _BAD
    return tuple(checked(spec.item_type, item, (*path, i), tell) for i, item in enumerate(raw))


def _literal(spec: inspect.LiteralType, raw: Any) -> tuple[Any, str]:
    if type(raw) in (str, int) and raw in spec.values:
        return raw, ""
    words = [str(value) for value in spec.values]
    return _BAD, f"expected one of {', '.join(words)}, got {display(raw)}{suggestion(raw, words)}"


def _typed(spec: inspect.Type, raw: Any) -> Any:
    """`raw` as the schema's type without any guess: text is no number, true is no 1; or _BAD."""
    if isinstance(spec, inspect.StrType):
        return raw if isinstance(raw, str) else _BAD
    if isinstance(spec, inspect.BoolType):
        return raw if isinstance(raw, bool) else _BAD
    if isinstance(raw, bool) or not isinstance(raw, int | Decimal):
        return _BAD
    if isinstance(spec, inspect.IntType):
        return raw if isinstance(raw, int) else _BAD
    return Decimal(raw) if isinstance(spec, inspect.DecimalType) else float(raw)


def _fits(spec: inspect.StrType, text: str) -> bool:
    return len(text) >= (spec.min_length or 0) and (spec.pattern is None or re.search(spec.pattern, text) is not None)


def _outside(spec: inspect.Type, limits: dict[str, Any], value: int | float | Decimal) -> Iterator[str]:
    if not (value.is_finite() if isinstance(value, Decimal) else math.isfinite(value)):
        yield f"must be a finite number, got {value}"
        return
    for key, (words, within) in _LIMITS.items():
        limit = limits.get(key, getattr(spec, key, None))
        if limit is not None and not within(value, limit):
            yield f"must be {words} {limit:,}, got {display(value)}"
