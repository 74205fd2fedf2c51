"""What the five seed documents promise: their tables, columns and types, read from the documents themselves.

Types are told as PostgreSQL's format_type() tells them. Understood are CREATE TABLE and CREATE MATERIALIZED VIEW in SQL
blocks, the column tables in Markdown of the first document, and its enumerations.
"""

import re
from collections.abc import Iterator
from pathlib import Path

Columns = list[tuple[str, str]]
"""Name and type, in order."""

SCHEMAS = {"trading_ai": "000", "apextrade": "001", "mastertrade": "002", "octopus": "003", "quant": "004"}
FOLDER = Path(__file__).resolve().parents[3] / "shared" / "seeds"

_TYPES = {
    "serial": "integer",
    "int": "integer",
    "bigserial": "bigint",
    "float": "double precision",
    "timestamp": "timestamp without time zone",
    "timestamptz": "timestamp with time zone",
    "varchar": "character varying",
    "decimal": "numeric",
}
_NO_COLUMN = {"CONSTRAINT", "PRIMARY", "UNIQUE", "FOREIGN", "CHECK", "EXCLUDE"}
_AFTER_TYPE = re.compile(r"\b(PRIMARY|NOT|NULL|DEFAULT|UNIQUE|REFERENCES|CHECK|GENERATED|COLLATE)\b.*", re.S | re.I)


def documents_are_here() -> bool:
    """Whether the documents lie beside the checkout."""
    return FOLDER.is_dir()


def read_seed(schema: str) -> str:
    """The text of the document behind a face."""
    (path,) = FOLDER.glob(f"{SCHEMAS[schema]}_*.txt")
    return path.read_text(encoding="utf-8")


def tables_of(schema: str) -> dict[str, Columns]:
    """Every table and continuous aggregate of the document."""
    text = read_seed(schema)
    sql = "\n".join(re.findall(r"^```sql$(.*?)^```$", text, re.S | re.M))
    sql = re.sub(r"--[^\n]*", "", sql)
    tables = {name: _in_schema(schema, columns) for name, columns in _markdown_tables(text)}
    tables.update(_created_tables(sql))
    return tables | dict(_aggregates(sql, tables))


def enumerations_of(schema: str) -> dict[str, list[str]]:
    """The document's enumerations by the name of the type that SQLAlchemy would make, with their labels in order."""
    found = re.findall(r"^class (\w+)\(str, Enum\):\n((?:    .*\n)+)", read_seed(schema), re.M)
    return {name.lower(): re.findall(r'= "(\w+)"', body) for name, body in found}


def _markdown_tables(text: str) -> Iterator[tuple[str, Columns]]:
    for name, body in re.findall(r"^\*\*Table\*\*: `(\w+)`\n\n((?:\|.*\n)+)", text, re.M):
        rows = [[cell.strip() for cell in line.split("|")[1:3]] for line in body.splitlines()[2:]]
        yield name, [(column, _type(declared)) for column, declared in rows]


def _in_schema(schema: str, columns: Columns) -> Columns:
    """ENUM(UserRole) is the type `userrole` of the face."""
    return [(name, re.sub(r"^enum\((\w+)\)$", rf"{schema}.\1", declared)) for name, declared in columns]


def _created_tables(sql: str) -> Iterator[tuple[str, Columns]]:
    for match in re.finditer(r"CREATE TABLE (\w+) \(", sql):
        items = [re.match(r"(\w+)(.*)", item, re.S) for item in _split(_inside(sql, match.end()))]
        yield match[1], [(item[1], _type(item[2])) for item in items if item and item[1].upper() not in _NO_COLUMN]


def _aggregates(sql: str, tables: dict[str, Columns]) -> Iterator[tuple[str, Columns]]:
    """Continuous aggregates, whose types follow from what they read: a table, or an aggregate before them."""
    known = dict(tables)
    pattern = r"CREATE MATERIALIZED VIEW (\w+)\s+WITH \([\w.]+\) AS\s+SELECT(.*?)\sFROM (\w+)"
    for name, items, source in re.findall(pattern, sql, re.S):
        known[name] = [_result(item, dict(known[source])) for item in _split(items)]
        yield name, known[name]


def _result(item: str, source: dict[str, str]) -> tuple[str, str]:
    """Name and type of one item of a SELECT, by the rules of PostgreSQL for the functions that the documents use."""
    expression, _, name = item.partition(" AS ")
    call = re.match(r"(\w+)\((.*)\)$", expression.strip(), re.S)
    if call is None:
        return name or expression, "text" if expression.startswith("'") else source[expression]
    function, arguments = call[1], _split(call[2])
    if function == "count":
        return name, "bigint"
    argument = source[arguments[1 if function == "time_bucket" else 0]].partition("(")[0]
    if function in ("sum", "avg") and argument in ("bigint", "numeric"):
        return name, "numeric"
    assert function in ("time_bucket", "first", "last", "max", "min") or argument == "double precision", item
    return name, argument


def _type(declaration: str) -> str:
    """The declaration's type, as format_type() writes it."""
    words = re.sub(r"\s+", "", _AFTER_TYPE.sub("", declaration).lower().replace("double precision", "double_precision"))
    base, rest = re.fullmatch(r"([a-z_]+)(.*)", words).groups()  # type: ignore[union-attr]
    return _TYPES.get(base, base).replace("_", " ") + rest


def _inside(sql: str, start: int) -> str:
    """From behind an opening parenthesis to before the one that closes it."""
    depth, quoted = 1, False
    for at in range(start, len(sql)):
        quoted ^= sql[at] == "'"
        depth += 0 if quoted else {"(": 1, ")": -1}.get(sql[at], 0)
        if depth == 0:
            return sql[start:at]
    raise AssertionError("a parenthesis isn't closed")


def _split(text: str) -> list[str]:
    """The items between commas that stand outside of parentheses, brackets and quotes."""
    items, depth, quoted, start = [], 0, False, 0
    for at, letter in enumerate(text):
        quoted ^= letter == "'"
        if quoted:
            continue
        depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            items.append(text[start:at].strip())
            start = at + 1
    return [*items, text[start:].strip()]
