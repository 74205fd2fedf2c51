"""What each value may be alone and yet can't be together: the second half of checking a configuration.

A rule yields (the keys it is about, what is wrong); that is told at the first of them, and only if none of them was
wrong already.
"""

import ipaddress
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from traderd.config.addresses import AddressError, hosts_of, resolved
from traderd.config.ccxt_venues import THROUGH_CCXT, ccxt_names, reach
from traderd.config.checking import display, suggestion
from traderd.config.document import KeyPath
from traderd.config.quality import bar_settings
from traderd.config.schema import Config, Strategy, Venue
from traderd.config.storage import storage_contradictions
from traderd.core.bars import names_of_bars
from traderd.venues.registry import dialect, is_spoken
from traderd.venues.roster import market_of

Contradiction = tuple[tuple[KeyPath, ...], str]
_DATABASE_SCHEMES = ("postgresql", "postgres")
_REDIS_SCHEMES = ("redis", "rediss", "unix", "redis+cluster", "rediss+cluster")

_REDIS_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_REDIS_OPTIONS = ("db", "username", "password", *_REDIS_FILES, "ssl_cert_reqs", "ssl_check_hostname")
"""As redis-py spells them."""


def contradictions(config: Config) -> Iterator[Contradiction]:
    """Everything in a well-formed configuration that can't be meant."""
    for rule in _RULES:
        yield from rule(config)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _services(config: Config) -> Iterator[Contradiction]:
    """The message never holds the value: it may hold a password."""
    database = "expected `embedded`, a postgresql:// DSN, `env:NAME`, `credential:NAME` or `file:/PATH`"
    redis = (
        "expected `embedded`, `off`, a redis://, rediss:// or unix:// URL (redis+cluster:// and rediss+cluster:// for "
        "a cluster), `env:NAME`, `credential:NAME` or `file:/PATH`"
    )
    if config.database != "embedded" and (wrong := _address_fault(config.database, _DATABASE_SCHEMES)):
        yield (("database",),), f"{database}: {wrong}{suggestion(config.database, ['embedded'])}"
    if config.redis not in ("embedded", "off") and (wrong := _address_fault(config.redis, _REDIS_SCHEMES)):
        yield (("redis",),), f"{redis}: {wrong}{suggestion(config.redis, ['embedded', 'off'])}"
    elif wrong := _option_fault(config.redis_url):
        yield (("redis",),), wrong


def _address_fault(address: str, schemes: tuple[str, ...]) -> str:
    try:
        where = resolved(address)
        hosts = [urlsplit(host) for host in (hosts_of(where) if schemes == _DATABASE_SCHEMES else [where])]
        _ = [url.port for url in hosts]  # raises ValueError when one isn't
        url = hosts[0]
    except AddressError as fault:
        return str(fault)
    except ValueError:
        return "the port or the host isn't one"
    if url.scheme not in schemes:
        return "this is none of them"
    if url.scheme == "unix" and not url.path:
        return "there is no path to the socket"
    return ""


def _option_fault(redis: str) -> str:
    """What follows the question mark of a Redis URL."""
    url = urlsplit(redis)
    for name, value in parse_qsl(url.query, keep_blank_values=True):
        if name not in _REDIS_OPTIONS:
            return f"unknown option{suggestion(name, _REDIS_OPTIONS)} (there are {', '.join(_REDIS_OPTIONS)})"
        if name.startswith("ssl_") and not url.scheme.startswith("rediss"):
            return f"{name} needs rediss:// (TLS)"
        if name in _REDIS_FILES and not Path(value).is_file():
            return f"{name}: there is no file {value!r}"
    return ""


def _bars(config: Config) -> Iterator[Contradiction]:
    known = {symbol for venue in config.venues for symbol in venue.symbols}
    seen: set[tuple[str, Decimal]] = set()
    for i, bars in enumerate(config.engine.bars):
        at: KeyPath = ("engine", "bars", i)
        if not isinstance(bars.size, Decimal):  # wrong by itself, and told as such
            continue
        if bars.kind == "tick" and bars.size % 1:
            yield ((*at, "size"),), f"must be a whole number of trades, got {bars.size}"
        if (bars.kind, bars.size.normalize()) in seen:
            yield ((*at, "size"),), "such bars are there twice"
        seen.add((bars.kind, bars.size.normalize()))
        for j, symbol in enumerate(bars.symbols):
            if symbol not in known:
                yield ((*at, "symbols", j),), f"no venue is asked for {symbol!r}{suggestion(symbol, sorted(known))}"


def _loopback(config: Config) -> Iterator[Contradiction]:
    if not is_loopback(config.http.host):
        wrong = "must be a loopback address such as 127.0.0.1 (nothing there asks who is calling), got"
        yield (("http", "host"),), f"{wrong} {display(config.http.host)}"


def _venues(config: Config) -> Iterator[Contradiction]:
    if not config.venues:
        yield (("venues",),), "there must be at least one venue"
    yield from _twice("venues", "name", (venue.name for venue in config.venues))
    for i, venue in enumerate(config.venues):
        at: KeyPath = ("venues", i)
        yield from _endpoint(venue, at)
        yield from _path(venue, at)
        yield from _markets(venue, at)
        for key, items in (("symbols", venue.symbols), ("channels", venue.channels)):
            if not items:
                yield ((*at, key),), "must not be empty"
            for j, item in enumerate(items):
                if item in items[:j]:
                    yield ((*at, key, j),), f"{item!r} is there twice"


def _endpoint(venue: Venue, at: KeyPath) -> Iterator[Contradiction]:
    endpoint, rest, name = (*at, "endpoint"), (*at, "rest"), (*at, "name")
    address = venue.endpoint not in ("sim", "live")
    if address and not _is_url(venue.endpoint, ("ws", "wss")):
        hint = suggestion(venue.endpoint, ["sim", "live"])
        yield (endpoint,), f"expected `sim`, `live`, or a ws:// or wss:// address, got {display(venue.endpoint)}{hint}"
    elif venue.endpoint == "sim" and venue.name != "binance":
        yield (endpoint, name), f"the simulated exchange speaks binance's protocol, not {venue.name}'s"
    elif venue.rest and not address:
        yield (rest, endpoint), f"may only be given where endpoint is an address, and it is `{venue.endpoint}`"
    if venue.rest and not _is_url(venue.rest, ("http", "https")):
        yield (rest,), f"expected an http:// or https:// address, got {display(venue.rest)}"


def _path(venue: Venue, at: KeyPath) -> Iterator[Contradiction]:
    """Who is heard natively, and who through ccxt."""
    if not is_spoken(venue.name) and not reach(venue.name):
        hint = suggestion(venue.name, ccxt_names())
        yield ((*at, "name"),), f"neither spoken natively nor a venue of ccxt's: {display(venue.name)}{hint}"
    elif venue.via == "ccxt" and not reach(venue.name):
        yield ((*at, "via"), (*at, "name")), f"ccxt has no venue {display(venue.name)}"
    elif venue.through_ccxt and not THROUGH_CCXT.intersection(venue.channels):
        yield ((*at, "channels"), (*at, "via")), f"through ccxt there are only {', '.join(sorted(THROUGH_CCXT))}"


def _markets(venue: Venue, at: KeyPath) -> Iterator[Contradiction]:
    """A channel must be offered by one of the markets that the symbols name, and each of them be spoken here."""
    if venue.through_ccxt or not venue.symbols:
        return
    offered: dict[str, frozenset[str]] = {}
    for j, symbol in enumerate(venue.symbols):
        market = market_of(symbol)
        try:
            offered[market] = frozenset(dialect(venue.name, venue.book_depth, market).channels)
        except KeyError:
            yield ((*at, "symbols", j),), f"{symbol!r} is of {venue.name}'s {market} market, which isn't spoken here"
            return
    for j, channel in enumerate(venue.channels):
        if not any(channel in channels for channels in offered.values()):
            who, choice = " and ".join(offered), ", ".join(sorted(frozenset().union(*offered.values())))
            yield ((*at, "channels", j),), f"{venue.name} {who} doesn't offer {channel!r}, only {choice}"


def _is_url(address: str, schemes: tuple[str, ...]) -> bool:
    try:
        url = urlsplit(address)
        return url.scheme in schemes and bool(url.hostname) and url.port != 0
    except ValueError:
        return False


def _limits(config: Config) -> Iterator[Contradiction]:
    order, position = config.risk.order_notional_max, config.risk.position_notional_max
    if order > position:
        yield (
            (("risk", "order_notional_max"), ("risk", "position_notional_max")),
            f"{order} is more than position_notional_max, {position}: such an order could never pass",
        )
    if config.journal.segment_bytes_max > config.journal.disk_bytes_max:
        yield (
            (("journal", "segment_bytes_max"), ("journal", "disk_bytes_max")),
            f"{config.journal.segment_bytes_max} is more than disk_bytes_max, {config.journal.disk_bytes_max}",
        )
    if config.risk.quote_age_ms_max <= config.paper.latency_ms:
        yield (
            (("risk", "quote_age_ms_max"), ("paper", "latency_ms")),
            f"{config.risk.quote_age_ms_max} isn't above paper.latency_ms, {config.paper.latency_ms}: "
            "every quote would be stale when its order arrives",
        )
    yield from _twice("engine", "", config.engine.timeframes, ("engine", "timeframes"))


def _strategies(config: Config) -> Iterator[Contradiction]:
    yield from _twice("strategies", "name", (strategy.name for strategy in config.strategies))
    venues: dict[str, tuple[int, Venue]] = {venue.name: (i, venue) for i, venue in enumerate(config.venues)}
    for i, strategy in enumerate(config.strategies):
        at: KeyPath = ("strategies", i)
        yield from _one_strategy(config, strategy, at)
        if venue := venues.get(strategy.exchange):
            yield from _its_venue(strategy, at, *venue)
        elif venues:
            keys = ((*at, "exchange"), *(("venues", index, "name") for index, _ in venues.values()))
            yield keys, f"no venue is called {display(strategy.exchange)}{suggestion(strategy.exchange, list(venues))}"


def _one_strategy(config: Config, strategy: Strategy, at: KeyPath) -> Iterator[Contradiction]:
    if strategy.fast >= strategy.slow:
        keys = ((*at, "fast"), (*at, "slow"))
        yield keys, f"{strategy.fast} must be below slow, which is {strategy.slow}"
    whole = [each for each in config.engine.bars if each.kind and isinstance(each.size, Decimal)]  # others are told of
    bars = names_of_bars(bar_settings(whole), strategy.symbol)
    if strategy.timeframe not in (*config.engine.timeframes, *bars):
        keys = ((*at, "timeframe"), ("engine", "timeframes"))
        kept = f"engine.timeframes: {', '.join(config.engine.timeframes)}"
        made = f"; nor among engine.bars of {strategy.symbol}: {', '.join(bars)}" if bars else ""
        yield keys, f"{strategy.timeframe!r} isn't in {kept}{made}"
    if strategy.order_notional > config.risk.order_notional_max:
        keys = ((*at, "order_notional"), ("risk", "order_notional_max"))
        yield keys, f"{strategy.order_notional} is more than risk.order_notional_max, {config.risk.order_notional_max}"
    if strategy.symbol.partition("/")[2] != config.paper.base_currency:
        keys = ((*at, "symbol"), ("paper", "base_currency"))
        yield keys, f"{strategy.symbol!r} isn't quoted in paper.base_currency, {config.paper.base_currency}"


def _its_venue(strategy: Strategy, at: KeyPath, index: int, venue: Venue) -> Iterator[Contradiction]:
    if strategy.symbol not in venue.symbols:
        hint = suggestion(strategy.symbol, list(venue.symbols))
        keys = ((*at, "symbol"), ("venues", index, "symbols"))
        yield keys, f"venue {venue.name} doesn't stream {strategy.symbol!r}{hint}"
    # Candles are made of trades, and orders are checked and filled against quotes.
    missing = [channel for channel in ("quote", "trade") if channel not in venue.channels]
    if missing:
        keys = ((*at, "exchange"), ("venues", index, "channels"))
        yield keys, f"a strategy needs quotes and trades, and venue {venue.name} doesn't stream {', '.join(missing)}"


def _storage(config: Config) -> Iterator[Contradiction]:
    return storage_contradictions(config.storage)


def _twice(section: str, key: str, names: Iterable[str], at: KeyPath = ()) -> Iterator[Contradiction]:
    seen: set[str] = set()
    for i, name in enumerate(names):
        if name in seen:
            yield ((*at, i) if at else (section, i, key),), f"{name!r} is there twice"
        seen.add(name)


_RULES: tuple[Callable[[Config], Iterator[Contradiction]], ...] = (
    _services,
    _loopback,
    _venues,
    _limits,
    _strategies,
    _storage,
    _bars,
)
