"""config.yaml: every mistake is told at once, where it stands, and nothing secret is told."""

import string
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import inspect

from traderd.config import (
    Config,
    backup_path,
    endpoint,
    load_config,
    packaged_config,
    plan,
    redacted,
    resolved,
    shown,
    state_path,
)
from traderd.config.checking import checked
from traderd.core.errors import ConfigError

VALID = """\
venues:
  - name: binance
    endpoint: sim
    symbols: [BTC/USDT, ETH/USDT]
  - name: kraken
    symbols: [BTC/USD]
strategies:
  - {type: ema_cross, name: one, exchange: binance, symbol: BTC/USDT}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.yaml"


def loaded(file: Path, text: str) -> Config:
    file.write_text(text)
    return load_config(file)


def mistakes(file: Path, text: str) -> list[str]:
    """The lines, without the file's name."""
    with pytest.raises(ConfigError) as caught:
        loaded(file, text)
    assert all(line.startswith(f"{file}:") and "\n" not in line for line in caught.value.lines)
    return [line.removeprefix(f"{file}:").strip() for line in caught.value.lines]


def test_a_small_file_is_enough(file: Path) -> None:
    """Everything but the venues has a default."""
    config = loaded(file, "venues: [{name: binance, endpoint: sim, symbols: [BTC/USDT]}]")
    assert config == Config(venues=config.venues)
    assert config.venues[0].channels == ("quote", "trade", "book", "candle")


def test_every_mistake_is_told_at_once_in_the_files_order(file: Path) -> None:
    """With its line, the key's path, what is wrong, and what was probably meant."""
    text = """\
redis: reddis://cache
http: {port: 70000, host: 0.0.0.0}
venues:
  - name: binance
    symbls: [BTC/USDT]
    channels: [quote, trad]
  - name: krakn
    symbols: [btc/usd, BTC/USD, BTC/USD]
strategies:
  - {name: a, exchange: binance, symbol: BTC/USDT, fast: 30, slow: abc}
  - {type: ema_cros, name: a, exchange: binance, symbol: ETH/USDT, fast: 30, slow: 3, timeframe: 5x}
risk:
  order_notional_max: -1
  quote_age_ms_max: 1.5
engine: 5
"""
    told = mistakes(file, text)
    assert told == [
        "1: redis: expected `embedded`, `off`, a redis://, rediss:// or unix:// URL (redis+cluster:// and "
        "rediss+cluster:// for a cluster), `env:NAME`, `credential:NAME` or `file:/PATH`: this is none of them",
        "2: http.port: must be at most 65,535, got 70000",
        "2: http.host: must be a loopback address such as 127.0.0.1 (nothing there asks who is calling), got '0.0.0.0'",
        "5: venues[0].symbls: unknown key 'symbls': did you mean 'symbols'?",
        "6: venues[0].channels[1]: expected one of book, candle, funding, liquidation, mark, open_interest, quote, "
        "trade, got 'trad': did you mean 'trade'?",
        "7: venues[1].name: neither spoken natively nor a venue of ccxt's: 'krakn': did you mean 'kraken'?",
        "8: venues[1].symbols[0]: expected a symbol as BASE/QUOTE in capitals, like BTC/USDT, or with a contract's "
        "settlement, BTC/USDT:USDT, got 'btc/usd'",
        "8: venues[1].symbols[2]: 'BTC/USD' is there twice",
        "10: strategies[0].slow: expected a whole number, got 'abc'",
        "11: strategies[1].type: expected one of ema_cross, got 'ema_cros'",
        "11: strategies[1].timeframe: expected a timeframe like 1s, 5m or 4h, or bars like 500-ticks, 10-units or "
        "100000-dollars, got '5x'",
        "11: strategies[1].name: 'a' is there twice",
        "11: strategies[1].fast: 30 must be below slow, which is 3",
        "13: risk.order_notional_max: must be above 0, got -1",
        "14: risk.quote_age_ms_max: expected a whole number, got 1.5",
        "15: engine: expected a section of `key: value` lines, got 5",
    ]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("venues: []", "venues: there must be at least one venue"),
        ("risk: {order_notional_max: .nan}", "risk.order_notional_max: must be a finite number, got NaN"),
        ("paper: {cash: 0}", "paper.cash: must be above 0, got 0"),
        ("paper: {cash: '100'}", "paper.cash: expected a number, got '100'"),
        ("sim: {ticks_per_second: .inf}", "sim.ticks_per_second: must be a finite number, got inf"),
        ("sim: {symbols: true}", "sim.symbols: expected a whole number, got true"),
        ("breaker: {drawdown_pct_max: 101}", "breaker.drawdown_pct_max: must be at most 100, got 101"),
        ("log: {level: loud}", "log.level: expected one of debug, error, info, warning, got 'loud'"),
        (
            "backup: {encrypt_to: me}",
            "backup.encrypt_to: expected `age:RECIPIENT`, `gpg:RECIPIENT` or nothing, got 'me'",
        ),
        ("backup: {encrypt_to: gpg:--output=x}", "expected `age:RECIPIENT`, `gpg:RECIPIENT` or nothing"),
        ("mode: live", "mode: expected one of paper, got 'live'"),
        ("state_dir: ''", "state_dir: expected text, got ''"),
        ("state_dir:", "state_dir: expected text, got nothing"),
        ("store: [1]", "store: expected a section of `key: value` lines, got a list"),
        ("engine: {timeframes: 1s}", "engine.timeframes: expected a list, got '1s'"),
        ("engine: {timeframes: [1s, 1m, 1s]}", "engine.timeframes[2]: '1s' is there twice"),
        ("database: mysql://db", "database: expected `embedded`, a postgresql:// DSN, `env:NAME`, `credential"),
        ("database: embeded", "database: expected `embedded`, a postgresql:// DSN, `env:NAME`, `credential"),
        ("database: env:TRADERD_NO_SUCH", "the environment variable 'TRADERD_NO_SUCH' isn't set"),
        ("redis: credential:redis", "there is no credential 'redis': systemd passes it with LoadCredential=redis:FILE"),
        ("redis: 'unix://'", "there is no path to the socket"),
        ("redis: redis://cache?ssl_ca_cert=x", "unknown option: did you mean 'ssl_ca_certs'? (there are db, username,"),
        ("redis: redis+cluster://cache?ssl_ca_certs=/x", "ssl_ca_certs needs rediss:// (TLS)"),
        ("redis: rediss+cluster://cache?ssl_ca_certs=/x", "ssl_ca_certs: there is no file '/x'"),
        ("risk: {order_notional_max: 30000}", "30000 is more than position_notional_max, 20000"),
        (
            "risk: {order_notional_max: 500}",
            "strategies[0].order_notional: 1000 is more than risk.order_notional_max, 500",
        ),
        ("journal: {segment_bytes_max: 8192, disk_bytes_max: 4096}", "8192 is more than disk_bytes_max, 4096"),
        ("risk: {quote_age_ms_max: 20}", "20 isn't above paper.latency_ms, 20"),
        ("paper: {base_currency: EUR}", "strategies[0].symbol: 'BTC/USDT' isn't quoted in paper.base_currency, EUR"),
        ("engine: {timeframes: [1m]}", "strategies[0].timeframe: '1s' isn't in engine.timeframes: 1m"),
        ("colour: blue", "colour: unknown key 'colour': there are only mode, owner, instance, state_dir, database"),
        ("1: 2", "1: unknown key '1'"),
        ("? [a]\n: b", "a key must be one word"),
    ],
)
def test_an_impossible_value_is_refused(file: Path, change: str, told: str) -> None:
    """One line for one mistake, and it says what is wrong."""
    key = change.split(":", maxsplit=1)[0]
    kept = yaml.safe_load(VALID)
    kept.pop(key, None)
    if key == "venues":
        kept.pop("strategies")
    (line,) = mistakes(file, (yaml.safe_dump(kept) if kept else "") + change + "\n")
    assert told in line


@pytest.mark.parametrize(
    ("venue", "told"),
    [
        (
            "{name: kraken, endpoint: sim, symbols: [A/B]}",
            "the simulated exchange speaks binance's protocol, not kraken's",
        ),
        ("{name: binance, endpoint: simm, symbols: [A/B]}", "got 'simm': did you mean 'sim'?"),
        (
            "{name: binance, endpoint: 'http://x', symbols: [A/B]}",
            "expected `sim`, `live`, or a ws:// or wss:// address",
        ),
        (
            "{name: binance, endpoint: 'ws://x:99999', symbols: [A/B]}",
            "expected `sim`, `live`, or a ws:// or wss:// address",
        ),
        ("{name: binance, rest: 'http://x', symbols: [A/B]}", "may only be given where endpoint is an address"),
        (
            "{name: binance, endpoint: 'ws://x', rest: ftp, symbols: [A/B]}",
            "expected an http:// or https:// address, got 'ftp'",
        ),
        ("{name: binance, symbols: []}", "venues[0].symbols: must not be empty"),
        ("{name: binance, symbols: [A/B], channels: []}", "venues[0].channels: must not be empty"),
        ("{name: binance, symbols: [A/B], channels: [book, book]}", "venues[0].channels[1]: 'book' is there twice"),
        (
            "{name: binance, symbols: [A/B], channels: [quote, funding]}",
            "venues[0].channels[1]: binance spot doesn't offer 'funding', only book, candle, quote, trade",
        ),
        (
            "{name: kraken, symbols: ['A/B', 'A/B:B']}",
            "venues[0].symbols[1]: 'A/B:B' is of kraken's linear market, which isn't spoken here",
        ),
        ("{name: binance, symbols: ['A/B:B-2612']}", "expected a symbol as BASE/QUOTE in capitals"),
        ("{name: binance, symbols: [A/B], streams_per_connection_max: -1}", "streams_per_connection_max"),
        ("{name: binance}", "venues[0].symbols: this key is missing and has no default"),
        ("{symbols: [A/B]}", "venues[0].name: this key is missing and has no default"),
        ("{name: kraken, symbols: [A/B], book_depth: 11}", "expected one of 10, 25, 100, 500, 1000, got 11"),
        ("binance", "venues[0]: expected a section of `key: value` lines, got 'binance'"),
        (
            "{name: binance, symbols: [A/B]}, {name: binance, symbols: [C/D]}",
            "venues[1].name: 'binance' is there twice",
        ),
    ],
)
def test_an_impossible_venue_is_refused(file: Path, venue: str, told: str) -> None:
    """What a venue can't be."""
    (line,) = mistakes(file, f"venues: [{venue}]")
    assert told in line


@pytest.mark.parametrize(
    ("strategy", "told"),
    [
        ("exchange: binnce, symbol: BTC/USDT", "no venue is called 'binnce': did you mean 'binance'?"),
        ("exchange: binance, symbol: BTX/USDT", "venue binance doesn't stream 'BTX/USDT': did you mean 'BTC/USDT'?"),
        ("exchange: binance, symbol: BTC/USDT, fast: 0", "strategies[0].fast: must be at least 1, got 0"),
        ("exchange: binance, symbol: BTC/USDT, fast: 21", "strategies[0].fast: 21 must be below slow, which is 21"),
        ("exchange: binance, symbol: BTC/USDT, allow_short: 'no'", "allow_short: expected true or false, got 'no'"),
    ],
)
def test_an_impossible_strategy_is_refused(file: Path, strategy: str, told: str) -> None:
    """What a strategy can't be."""
    text = VALID.split("strategies:", maxsplit=1)[0] + f"strategies: [{{type: ema_cross, name: a, {strategy}}}]"
    (line,) = mistakes(file, text)
    assert told in line


def test_a_strategy_needs_quotes_and_trades(file: Path) -> None:
    """Candles come from trades, orders are checked against quotes."""
    (line,) = mistakes(file, VALID.replace("endpoint: sim", "endpoint: sim\n    channels: [book]"))
    assert "venue binance doesn't stream quote, trade" in line


def test_one_mistake_does_not_draw_others_after_it(file: Path) -> None:
    """A venue's misspelt key is one line: not also a missing key, an empty list, and a strategy without its symbol."""
    (line,) = mistakes(file, VALID.replace("symbols: [BTC/USDT", "symbls: [BTC/USDT"))
    assert line == "4: venues[0].symbls: unknown key 'symbls': did you mean 'symbols'?"


def test_a_duplicate_key_is_told_with_both_lines(file: Path) -> None:
    """YAML itself lets the last one win in silence."""
    (line,) = mistakes(file, VALID + "mode: paper\nredis: off\nmode: paper\n")
    assert line == "11: mode: this key was already given on line 9"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [1\nb: 2", "2:2: not valid YAML: "),
        ("a: b: c", "1:5: not valid YAML: mapping values are not allowed here"),
        ("\tmode: paper", "1:1: not valid YAML: "),
        ("a: 1\n---\nb: 2", "2:1: not valid YAML: but found another document"),
        ("a: &x [*x]", "1: an alias that contains itself"),
        ("mode: paper\nlog: \x07", "2: not valid YAML: a character that YAML doesn't allow"),
        ("[" * 5_000, "not usable: nested too deeply"),
        ("", "1: venues: this key is missing and has no default"),
        ("just text", "1: expected a section of `key: value` lines, got 'just text'"),
    ],
)
def test_what_is_no_yaml_is_told_with_line_and_column(file: Path, text: str, told: str) -> None:
    """And never with a traceback."""
    (line,) = mistakes(file, text)
    assert line.startswith(told)


def test_a_file_that_cannot_be_read_is_one_line(file: Path) -> None:
    """Missing, a folder, or not text."""
    for prepare, told in (
        (lambda: None, "there is no such file"),
        (lambda: file.write_bytes(b"\xff\xfe\x00"), "isn't text in UTF-8"),
        (lambda: (file.unlink(), file.mkdir()), "can't be read: Is a directory"),
    ):
        prepare()
        with pytest.raises(ConfigError, match=told):
            load_config(file)


def test_values_are_read_as_they_are_written(file: Path) -> None:
    """`off` is a word and not false, money keeps every digit, underscores and exponents are numbers."""
    config = loaded(
        file,
        VALID + "redis: off\nhttp:\nrisk: {order_notional_max: 5_000.000000000000000001, price_collar_bps_max: 1e2}\n"
        "store: {statement_timeout_s: 3}\n",
    )
    assert config.redis == "off"
    assert config.http.port == 9465
    assert config.risk.order_notional_max == Decimal("5000.000000000000000001")
    assert config.risk.price_collar_bps_max == 100
    assert config.store.statement_timeout_s == 3.0


def test_a_reference_is_followed_only_when_it_is_needed(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`env:NAME` and `credential:NAME` stay what they are in the Config; its properties give the address."""
    monkeypatch.setenv("TRADERD_DB", "postgresql://me:hunter2@db/x")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "redis").write_text("redis://:hunter2@cache\n")
    config = loaded(file, VALID + "database: env:TRADERD_DB\nredis: credential:redis\n")
    assert config.database == "env:TRADERD_DB"
    assert config.database_dsn == "postgresql://me:hunter2@db/x"
    assert config.redis_url == "redis://:hunter2@cache"
    assert resolved("redis://x") == "redis://x"
    embedded = loaded(file, VALID)
    assert (embedded.database_dsn, embedded.redis_url) == ("", "")


SECRET_LINES = (
    "database: postgresql://me:hunter2@db:99999/x",
    "database: postgresql://me:hunter2/@:@[db/x",
    "redis: rediis://:hunter2@cache",
    "redis: {url: redis://:hunter2@cache}",
    "databse: postgresql://me:hunter2@db/x",
    "mode: postgresql://me:hunter2@db/x",
    "http: {host: 'redis://:hunter2@cache'}",
)


@pytest.mark.parametrize("line", SECRET_LINES)
def test_no_mistake_shows_a_password(file: Path, line: str) -> None:
    """Not even where the address is the mistake, or stands in the wrong place."""
    assert "hunter2" not in "\n".join(mistakes(file, VALID + line + "\n"))


def test_no_view_of_a_configuration_shows_a_password(file: Path) -> None:
    """Its repr (which ends in tracebacks), what is shown of it, and the plan."""
    config = loaded(
        file, VALID + "database: postgresql://me:hunter2@db/x\nredis: 'redis://:hunter2@h/0?password=hunter2'\n"
    )
    seen = f"{config!r} {config} {shown(config)} {plan(config, file)}"
    assert "hunter2" not in seen
    assert seen.count("postgresql://me:***@db/x") == 4


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("postgresql://me:pass@db/x", "postgresql://me:***@db/x"),
        ("postgresql://me:p@ss/w:rd@db:5432/x?y=z", "postgresql://me:***@db:5432/x?y=z"),
        ("redis://:pass@h", "redis://:***@h"),
        ("host=db password='a b' user=me", "host=db password=*** user=me"),
        (
            "postgresql://db/x?user=me&password=abc&sslmode=require",
            "postgresql://db/x?user=me&password=***&sslmode=require",
        ),
        ("api_key=abc, Secret = def", "api_key=***, Secret = ***"),
        ("wss://stream.binance.com:9443/ws", "wss://stream.binance.com:9443/ws"),
        ("nothing here", "nothing here"),
    ],
)
def test_redaction_hides_the_password_and_nothing_else(text: str, safe: str) -> None:
    """So that the line is still of use."""
    assert redacted(text) == safe


def test_the_state_folder_is_beside_the_file_but_never_inside_the_package(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the packaged default it is in the working folder."""
    config = loaded(file, VALID)
    assert state_path(config, file) == file.parent / "state"
    assert backup_path(config, file) == file.parent / "backups"
    (file.parent / "elsewhere").mkdir()
    monkeypatch.chdir(file.parent / "elsewhere")
    assert state_path(config, packaged_config()) == file.parent / "elsewhere" / "state"
    absolute = msgspec.structs.replace(config, state_dir="/var/lib/traderd")
    assert state_path(absolute, file) == Path("/var/lib/traderd")


def test_a_venues_addresses_follow_from_its_endpoint(file: Path) -> None:
    """REST is the websocket's address with http for ws, unless it is given; the simulated exchange has none yet."""
    text = "venues: [{{name: binance, symbols: [A/B], endpoint: '{}'{}}}]"
    own = endpoint(loaded(file, text.format("wss://x:1/", "")).venues[0])
    assert own is not None
    assert (own.websocket, own.rest) == ("wss://x:1", "https://x:1")
    both = endpoint(loaded(file, text.format("ws://x:1", ", rest: 'http://y'")).venues[0])
    assert both is not None
    assert both.rest == "http://y"
    live = endpoint(loaded(file, text.format("live", "")).venues[0])
    assert live is not None
    assert "binance" in live.rest
    assert endpoint(loaded(file, text.format("sim", "")).venues[0]) is None


def test_each_market_of_a_venue_is_told_with_its_own_address(file: Path) -> None:
    """By the names that a running daemon's status has, with the channels that the market offers."""
    symbols, channels = "[BTC/USDT, ETH/USDT, 'BTC/USDT:USDT', 'BTC/USD:BTC']", "[quote, trade, funding]"
    config = loaded(file, f"venues: [{{name: binance, endpoint: live, symbols: {symbols}, channels: {channels}}}]")
    told = {entry["name"]: entry for entry in plan(config, file)["venues"]}
    streams = {"binance": 4, "binance:linear": 3, "binance:inverse": 3}
    assert {name: entry["streams"] for name, entry in told.items()} == streams
    assert told["binance"]["rest"] == "https://api.binance.com"
    assert told["binance:linear"]["rest"] == "https://fapi.binance.com"
    assert told["binance:inverse"]["websocket"] == "wss://dstream.binance.com"
    assert told["binance:linear"]["symbols"] == ["BTC/USDT:USDT"]


def test_the_default_file_holds_the_defaults() -> None:
    """What config.yaml shows is what a key that is left out has."""
    config = load_config(packaged_config())
    assert config == Config(venues=config.venues, strategies=config.strategies)
    assert [venue.endpoint for venue in config.venues] == ["sim"]
    assert len(config.venues[0].symbols) == config.sim.symbols
    assert {strategy.symbol for strategy in config.strategies} <= set(config.venues[0].symbols)


def test_the_default_file_mentions_every_key() -> None:
    """In a section or in a comment: it is the reference that an operator has at hand."""
    words = set(
        "".join(
            c if c in string.ascii_letters + string.digits + "_" else " " for c in packaged_config().read_text()
        ).split()
    )
    assert _keys(inspect.type_info(Config)) <= words


def test_the_default_files_comments_are_valid_too(file: Path) -> None:
    """The Kraken venue and the real Binance are one edit away, and that edit works."""
    text = packaged_config().read_text()
    start = text.index("# - name: kraken")
    kraken = text[start : text.index("\n\n", start)]
    uncommented = "\n".join("  " + line.removeprefix("# ") for line in kraken.splitlines())
    config = loaded(file, text.replace(kraken, uncommented).replace("    endpoint: sim\n", "    endpoint: live\n"))
    assert [(venue.name, venue.endpoint) for venue in config.venues] == [("binance", "live"), ("kraken", "live")]


def _keys(spec: Any) -> set[str]:
    if isinstance(spec, inspect.VarTupleType):
        return _keys(spec.item_type)
    if not isinstance(spec, inspect.StructType):
        return set()
    return {field.name for field in spec.fields}.union(*(_keys(field.type) for field in spec.fields))


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-10, 10**6),
    st.decimals(allow_nan=True).filter(lambda number: not number.is_snan()),
    st.sampled_from(["1s", "sim", "A/B", "", "x"]),
)


def _anything(spec: Any) -> st.SearchStrategy[Any]:
    """Values that are often near to what the schema wants."""
    if isinstance(spec, inspect.StructType):
        known = {field.name: _anything(field.type) for field in spec.fields}
        return st.one_of(st.fixed_dictionaries({}, optional=known), st.just({"nonsense": 1}), SCALARS)
    if isinstance(spec, inspect.VarTupleType):
        return st.one_of(st.lists(_anything(spec.item_type), max_size=3), SCALARS)
    if isinstance(spec, inspect.LiteralType):
        return st.one_of(st.sampled_from(spec.values), SCALARS)
    return SCALARS


@settings(max_examples=200, deadline=None)
@given(_anything(inspect.type_info(Config)))
def test_our_checking_and_msgspecs_agree(raw: Any) -> None:
    """What passes here passes msgspec's strict conversion and gives the same Config; nothing ever raises."""
    told: list[str] = []
    config = checked(inspect.type_info(Config), raw, (), lambda path, what: told.append(what))
    assert isinstance(config, Config)
    if not told:
        plain = msgspec.to_builtins(config, builtin_types=(Decimal,))
        assert msgspec.convert(plain, Config) == config


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_any_text_gives_a_configuration_or_its_mistakes(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    """And nothing else."""
    file = tmp_path_factory.mktemp("any") / "config.yaml"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    assert caught.value.lines


def test_a_dsn_of_several_hosts_is_one_address(file: Path) -> None:
    """Each host is looked at."""
    address = "postgresql://u@one:5432,two:5433/d"
    assert loaded(file, VALID + f"database: {address}\n").database_dsn == address
    (line,) = mistakes(file, VALID + "database: postgresql://u@one:5432,two:x/d\n")
    assert "the port or the host isn't one" in line


def test_a_file_may_hold_the_dsn(file: Path, tmp_path: Path) -> None:
    """Its path is absolute, and what it holds is never told."""
    (tmp_path / "dsn").write_text("postgresql://u:secret@h/d\n")
    assert loaded(file, VALID + f"database: file:{tmp_path}/dsn\n").database_dsn == "postgresql://u:secret@h/d"
    (line,) = mistakes(file, VALID + "database: file:dsn\n")
    assert "its path must begin with /" in line
