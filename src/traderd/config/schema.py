"""What may stand in config.yaml: every key, its type, its unit, its limits and its default.

Every key has a default except `venues` and what names a venue's or a strategy's own things. Limits on one value stand
here; what can't be true together stands in `rules`. The Structs refuse nothing when Python code makes them.
"""

from decimal import Decimal
from typing import Annotated, Literal

from msgspec import Meta, Struct

from traderd.config.addresses import redacted, resolved
from traderd.config.quality import Bars, Quality
from traderd.config.storage import Storage
from traderd.venues.dialect import AnyChannel
from traderd.venues.registry import is_spoken

Port = Annotated[int, Meta(ge=0, le=65_535)]
Milliseconds = Annotated[int, Meta(ge=0, le=3_600_000)]
MillisecondsAboveZero = Annotated[int, Meta(ge=1, le=3_600_000)]
SecondsAboveZero = Annotated[float, Meta(gt=0, le=3_600)]
Bytes = Annotated[int, Meta(ge=4_096, le=2**50)]
Name = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z",
        description="a name of at most 64 letters, digits, `_`, `.` or `-`",
    ),
]
InstanceName = Annotated[
    str,
    Meta(
        pattern=r"^([A-Za-z0-9][A-Za-z0-9_.-]{0,63})?\Z",
        description="a name of at most 64 letters, digits, `_`, `.` or `-`, or nothing",
    ),
]
VenueName = Annotated[
    str,
    Meta(pattern=r"^[a-z][a-z0-9_]{1,31}\Z", description="a venue as ccxt spells it, like binance or bitfinex"),
]
TapeCheckSeconds = Annotated[float, Meta(ge=5, le=3_600)]
Symbol = Annotated[
    str,
    Meta(
        pattern=r"^[^\s/:a-z]{1,32}/[^\s/:a-z]{1,32}(:[^\s/:a-z-]{1,32}(-[0-9]{6})?)?\Z",
        description="a symbol as BASE/QUOTE in capitals, like BTC/USDT, or with a contract's settlement, BTC/USDT:USDT",
    ),
]
Timeframe = Annotated[
    str,
    Meta(pattern=r"^[1-9][0-9]{0,3}[smhd]\Z", description="a timeframe: a number and s, m, h or d, like 1s, 5m or 4h"),
]
CandleName = Annotated[
    str,
    Meta(
        pattern=r"^([1-9][0-9]{0,3}[smhd]|[0-9]{1,13}(\.[0-9]{1,8})?-(ticks|units|dollars))\Z",
        description="a timeframe like 1s, 5m or 4h, or bars like 500-ticks, 10-units or 100000-dollars",
    ),
]
# msgspec sets limits on int and float only, so those of a Decimal travel in `extra`; `checking` reads both.
Money = Annotated[Decimal, Meta(extra={"gt": 0, "le": 10**15})]
BasisPoints = Annotated[Decimal, Meta(extra={"ge": 0, "le": 10_000})]
BasisPointsAboveZero = Annotated[Decimal, Meta(extra={"gt": 0, "le": 10_000})]
PercentAboveZero = Annotated[Decimal, Meta(extra={"gt": 0, "le": 100})]
AverageLength = Annotated[int, Meta(ge=1, le=10_000)]


class Http(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """/metrics, /healthz, /readyz and /status, on loopback: nothing here asks who is calling."""

    host: str = "127.0.0.1"
    port: Port = 9465
    """0 takes any free port; `traderd status` finds it."""


class Log(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Lines on stdout."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"
    """auto: readable lines on a terminal, JSON elsewhere."""


class Venue(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One exchange to listen to."""

    name: VenueName
    """One that is spoken natively, or any other of ccxt's."""
    via: Literal["auto", "ccxt"] = "auto"
    """auto: natively where the venue is spoken, else through ccxt, the slower path; ccxt: that in any case."""
    tape_check_s: TapeCheckSeconds = 30.0
    """Through ccxt: how often the tape is held against the venue's REST trades."""
    endpoint: str = "live"
    """`sim`: the simulated exchange inside this daemon; `live`: the real one; or a ws:// or wss:// base address."""
    rest: str = ""
    """REST base address, where `endpoint` is an address; "" derives it by ws→http."""
    symbols: tuple[Symbol, ...]
    """As in ccxt; the symbol tells the market: BTC/USDT, BTC/USDT:USDT, BTC/USD:BTC, BTC/USDT:USDT-261225."""
    channels: tuple[AnyChannel, ...] = ("quote", "trade", "book", "candle")
    """Each market streams those of them that it offers. Candles aren't stored: ours are held against them."""
    book_depth: Literal[10, 25, 100, 500, 1000] = 10
    """The subscribed depth where the venue's book has one: Kraken's, Bybit's."""
    streams_per_connection_max: Annotated[int, Meta(ge=0, le=100_000)] = 0
    """A stream is one channel of one symbol; 0 leaves it to the venue's own limit, which is never exceeded."""
    connection_age_max_s: Annotated[float, Meta(ge=0, le=31_536_000)] = 0.0
    """A link is exchanged for a new one some time before it is so old; 0 leaves it to the venue's own limit."""

    @property
    def through_ccxt(self) -> bool:
        """Whether it is heard by the slower path."""
        return self.via == "ccxt" or not is_spoken(self.name)


class Sim(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The simulated exchange."""

    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 1
    symbols: Annotated[int, Meta(ge=1, le=1_000)] = 10
    ticks_per_second: Annotated[float, Meta(gt=0, le=1_000_000)] = 200.0
    """All symbols together."""
    host: str = "127.0.0.1"
    port: Port = 0
    """0 takes any free port (inside the daemon); `traderd sim` prints it."""


class Journal(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The local write-ahead journal, one for ticks and one for facts."""

    segment_bytes_max: Bytes = 64 * 1024 * 1024
    disk_bytes_max: Bytes = 4 * 1024 * 1024 * 1024
    """Of each of the two. What the database has goes first; then for ticks `ticks_when_full`; facts stop trading."""
    ticks_when_full: Literal["refuse", "drop_oldest"] = "refuse"
    """`refuse` the newest ticks, or drop the oldest that the database hasn't got: each loss is counted and is a gap."""
    disk_reserve_bytes: Annotated[int, Meta(ge=0, le=2**50)] = 64 * 1024 * 1024
    """Free space on the disk that ticks leave to the facts, whoever else has filled it."""
    sync_interval_ms: MillisecondsAboveZero = 200
    """How often what was journalled is forced to the disk. Order intents are forced at once, always."""


class Store(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How ticks gather on their way into the database."""

    flush_age_ms_max: MillisecondsAboveZero = 50
    """The oldest tick in memory is at most this old before it is journalled."""
    flush_rows_max: Annotated[int, Meta(ge=1, le=1_000_000)] = 5_000
    transaction_bytes_max: Bytes = 4 * 1024 * 1024
    """How much journal one database transaction takes."""
    statement_timeout_s: SecondsAboveZero = 30.0


class Engine(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Candles and the rhythm of the books."""

    timeframes: tuple[Timeframe, ...] = ("1s", "1m")
    candle_grace_ms: Milliseconds = 500
    """A bar without a later trade is closed this long after its end; until then late trades amend a closed one."""
    bars: tuple[Bars, ...] = ()
    """Besides: bars that end when enough was traded."""
    book_snapshot_interval_s: Annotated[float, Meta(ge=0, le=86_400)] = 0.0
    """How often the best 20 levels of every order book are stored; 0: never."""
    equity_interval_s: SecondsAboveZero = 1.0


class EmaCross(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="type", tag="ema_cross"):
    """Long while the fast average is above the slow one, flat otherwise."""

    name: Name
    exchange: str
    symbol: Symbol
    timeframe: CandleName = "1s"
    """One of engine.timeframes, or engine.bars by their name: 500-ticks, 10-units, 100000-dollars."""
    fast: AverageLength = 9
    slow: AverageLength = 21
    order_notional: Money = Decimal(1000)
    """In the quote currency."""
    allow_short: bool = False


Strategy = EmaCross  # a tagged union as soon as there is a second one


class Risk(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What no order may exceed; notionals in the quote currency."""

    order_notional_max: Money = Decimal(5_000)
    position_notional_max: Money = Decimal(20_000)
    price_collar_bps_max: BasisPointsAboveZero = Decimal(100)
    """A limit price further from the quote's mid than this is refused."""
    quote_age_ms_max: MillisecondsAboveZero = 2_000
    """An order against an older quote is refused."""


class Breaker(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What halts all trading."""

    drawdown_pct_max: PercentAboveZero = Decimal(10)
    """Trading halts when equity, unrealised included, is this far below its peak."""


class Paper(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The paper exchange and its portfolio."""

    portfolio: Name = "paper"
    cash: Money = Decimal(100_000)
    base_currency: Annotated[
        str, Meta(pattern=r"^[A-Z0-9]{2,32}\Z", description="a currency in capitals, like USDT")
    ] = "USDT"
    fee_bps: BasisPoints = Decimal(10)
    slippage_bps: BasisPoints = Decimal(0)
    latency_ms: Milliseconds = 20


class Feed(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What Redis is told, where `redis` isn't off."""

    interval_ms: Annotated[int, Meta(ge=10, le=5_000)] = 100
    """How often what gathered is handed over; of a symbol's quotes the newest."""
    tickers: Literal["each", "batch", "both"] = "each"
    """`each` symbol's newest quote in a message of its own, a `batch` of them in one, or both."""
    stream_entries_max: Annotated[int, Meta(ge=0, le=100_000_000)] = 0
    """About how many quotes, and trades, each symbol's Redis streams keep; 0: there are none."""
    timeout_s: Annotated[float, Meta(gt=0, le=60)] = 2.0
    """A Redis that says nothing for so long is away."""


class Backup(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What `traderd db backup` and `traderd db archive` write, and how much of it stays."""

    dir: Annotated[str, Meta(min_length=1)] = "backups"
    """Relative to the config file."""
    encrypt_to: Annotated[
        str, Meta(pattern=r"^(|(age|gpg):[^\s-]\S*)\Z", description="`age:RECIPIENT`, `gpg:RECIPIENT` or nothing")
    ] = ""
    """For whom dumps are encrypted; "" leaves them in clear."""
    keep_daily: Annotated[int, Meta(ge=1, le=3_660)] = 30
    """The newest backup of each of this many days that have one."""
    keep_weekly: Annotated[int, Meta(ge=0, le=520)] = 12
    """The same for ISO weeks."""
    keep_monthly: Annotated[int, Meta(ge=0, le=120)] = 12
    """The same for months."""


class Config(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole of config.yaml."""

    mode: Literal["paper"] = "paper"
    owner: Name = "traderd"
    """The user whom all that is traded belongs to: one of `traderd users`, or the daemon's own account."""
    instance: InstanceName = ""
    """Which of several daemons on one database this is; "" for one that is alone."""
    state_dir: Annotated[str, Meta(min_length=1)] = "state"
    """Relative to the config file."""
    database: str = "embedded"
    """`embedded`, or a postgresql:// DSN, or `env:NAME`, `credential:NAME` or `file:/PATH` that holds one.

    Several hosts (`postgresql://traderd@one,two/traderd`): the first that answers and takes writes.
    """
    redis: str = "embedded"
    """`embedded`, `off`, or a URL, or `env:NAME`, `credential:NAME` or `file:/PATH` that holds one.

    redis://, rediss:// (TLS), unix://, and of a cluster redis+cluster:// and rediss+cluster://.
    """
    feed: Feed = Feed()
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
    quality: Quality = Quality()
    storage: Storage = Storage()
    backup: Backup = Backup()

    @property
    def database_dsn(self) -> str:
        """The DSN, read from where `database` says; "" when it is embedded. Raises AddressError."""
        return "" if self.database == "embedded" else resolved(self.database)

    @property
    def redis_url(self) -> str:
        """The URL, read from where `redis` says; "" when it is embedded or off. Raises AddressError."""
        return "" if self.redis in ("embedded", "off") else resolved(self.redis)

    def __repr__(self) -> str:
        """Without passwords: a Config may end in a log line or a traceback."""
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__struct_fields__)
        return f"Config({redacted(fields)})"
