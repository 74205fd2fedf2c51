"""config.yaml → one frozen, validated Config.

Every key has a default except `venues`; a key that isn't here is an error that names the nearest one that is.
Refuses impossible values before anything is started: all mistakes are told at once, one line each.
"""

from decimal import Decimal
from typing import Literal

from msgspec import Struct

from traderd.venues.dialect import Channel


class Http(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """/metrics, /healthz, /readyz and /status, on loopback."""

    host: str = "127.0.0.1"
    port: int = 9465
    """0 takes any free port; `traderd status` finds it."""


class Log(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"
    """auto: readable lines on a terminal, JSON elsewhere."""


class Venue(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    name: Literal["binance", "kraken"]
    endpoint: str = "live"
    """`sim`: the simulated exchange inside this daemon; `live`: the real one; or a ws:// or wss:// base address."""
    rest: str = ""
    """REST base address, where `endpoint` is an address; "" derives it by ws→http."""
    symbols: tuple[str, ...]
    channels: tuple[Channel, ...] = ("quote", "trade", "book")
    book_depth: Literal[10, 25, 100, 500, 1000] = 10
    """Kraken's subscribed depth; Binance's diff stream has no depth of its own."""


class Sim(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The simulated exchange."""

    seed: int = 1
    symbols: int = 10
    ticks_per_second: float = 200.0
    """All symbols together."""
    host: str = "127.0.0.1"
    port: int = 0
    """0 takes any free port (inside the daemon); `traderd sim` prints it."""


class Journal(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    segment_bytes_max: int = 64 * 1024 * 1024
    disk_bytes_max: int = 4 * 1024 * 1024 * 1024
    """Ticks past this are counted as lost and a gap is recorded; facts past this stop trading."""
    sync_interval_ms: int = 200
    """How often ticks are forced to the disk. Order intents are forced at once, always."""


class Store(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    flush_age_ms_max: int = 50
    """The oldest tick in memory is at most this old before it is journalled."""
    flush_rows_max: int = 5_000
    transaction_bytes_max: int = 4 * 1024 * 1024
    """How much journal one database transaction takes."""
    statement_timeout_s: float = 30.0


class Engine(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    timeframes: tuple[str, ...] = ("1s", "1m")
    candle_grace_ms: int = 500
    """A bar without a later trade is closed this long after its end."""
    equity_interval_s: float = 1.0


class EmaCross(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="type", tag="ema_cross"):
    """Long while the fast average is above the slow one, flat otherwise."""

    name: str
    exchange: str
    symbol: str
    timeframe: str = "1s"
    fast: int = 9
    slow: int = 21
    order_notional: Decimal = Decimal(1000)
    """In the quote currency."""
    allow_short: bool = False


Strategy = EmaCross  # a tagged union as soon as there is a second one


class Risk(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    order_notional_max: Decimal = Decimal(5_000)
    position_notional_max: Decimal = Decimal(20_000)
    price_collar_bps_max: Decimal = Decimal(100)
    """A limit price further from the quote's mid than this is refused."""
    quote_age_ms_max: int = 2_000
    """An order against an older quote is refused."""


class Breaker(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    drawdown_pct_max: Decimal = Decimal(10)
    """Trading halts when equity, unrealised included, is this far below its peak."""


class Paper(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    portfolio: str = "paper"
    cash: Decimal = Decimal(100_000)
    base_currency: str = "USDT"
    fee_bps: Decimal = Decimal(10)
    slippage_bps: Decimal = Decimal(0)
    latency_ms: int = 20


class Config(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    mode: Literal["paper"] = "paper"
    state_dir: str = "state"
    """Relative to the config file."""
    database: str = "embedded"
    """`embedded`, or a postgresql:// DSN, or `env:NAME` to read the DSN from an environment variable."""
    redis: str = "embedded"
    """`embedded`, `off`, a redis://, rediss:// or unix:// URL, or `env:NAME`."""
    http: Http = Http()
    log: Log = Log()
    venues: tuple[Venue, ...]
    sim: Sim = Sim()
    journal: Journal = Journal()
    store: Store = Store()
    engine: Engine = Engine()
    strategies: tuple[Strategy, ...] = ()
    risk: Risk = Risk()
    breaker: Breaker = Breaker()
    paper: Paper = Paper()
