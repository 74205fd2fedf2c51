"""What a start with this configuration would do, as plain values. Starts nothing, and shows no secret."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from traderd.config.addresses import redacted_values
from traderd.config.ccxt_venues import reach, ways_of
from traderd.config.loading import state_path
from traderd.config.schema import Config, Venue
from traderd.core.market import Market
from traderd.venues.dialect import AnyChannel, Endpoint
from traderd.venues.registry import dialect
from traderd.venues.roster import Seat, seats


def plan(config: Config, config_path: Path) -> dict[str, Any]:
    """Services, venues with their addresses, strategies and limits."""
    state_dir = state_path(config, config_path)
    outline: dict[str, Any] = {
        "config": str(config_path.resolve()),
        "mode": config.mode,
        "instance": config.instance or "alone",
        "state_dir": str(state_dir),
        "database": "PostgreSQL of our own" if config.database == "embedded" else config.database,
        "redis": "Redis of our own" if config.redis == "embedded" else config.redis,
        "http": f"http://{config.http.host}:{config.http.port or '(any free port)'}",
        "venues": [entry for venue in config.venues for entry in _venue(venue)],
        "strategies": [msgspec.to_builtins(strategy) for strategy in config.strategies],
        "limits": {
            section: msgspec.to_builtins(getattr(config, section))
            for section in ("risk", "breaker", "journal", "store")
        },
        "paper": msgspec.to_builtins(config.paper),
    }
    shown: dict[str, Any] = redacted_values(outline)
    return shown


def endpoint(venue: Venue, market: Market = "spot") -> Endpoint | None:
    """Where a market of the venue is; None for the simulated exchange, which must run first, and for ccxt's own."""
    if venue.endpoint == "sim":
        return None
    if venue.endpoint == "live":
        return None if venue.through_ccxt else dialect(venue.name, venue.book_depth, market).live
    websocket = venue.endpoint.rstrip("/")
    return Endpoint(websocket, venue.rest.rstrip("/") or "http" + websocket.removeprefix("ws"))


def seats_of(venue: Venue) -> list[Seat]:
    """Its markets, each by the name that `traderd status` shows; none where it is heard through ccxt."""
    if venue.through_ccxt:
        return []
    return seats([(venue.name, venue.symbols, venue.channels, venue.book_depth)])


def _venue(venue: Venue) -> Iterator[dict[str, Any]]:
    """An entry for each of its markets."""
    if venue.through_ccxt:
        how = ways_of(venue.name, venue.channels)
        channels = [channel for channel, way in how.items() if way != "unavailable"]
        entry = _entry(venue, venue.name, endpoint(venue), venue.symbols, channels)
        yield entry | {
            "channels": [f"{channel} ({how[channel]})" for channel in channels],
            "unavailable": [channel for channel, way in how.items() if way == "unavailable"],
        }
    for seat in seats_of(venue):
        symbols = [instrument.symbol for instrument in seat.instruments]
        yield _entry(venue, seat.name, endpoint(venue, seat.market), symbols, seat.channels)


def _entry(
    venue: Venue, name: str, address: Endpoint | None, symbols: Sequence[str], channels: Sequence[AnyChannel]
) -> dict[str, Any]:
    elsewhere = "simulated, inside the daemon" if venue.endpoint == "sim" else "where ccxt knows it to be"
    return {
        "name": name,
        "path": _path(venue),
        "endpoint": venue.endpoint,
        "websocket": address.websocket if address else elsewhere,
        "rest": address.rest if address else elsewhere,
        "symbols": list(symbols),
        "channels": list(channels),
        "streams": len(symbols) * len(channels),
    }


def _path(venue: Venue) -> str:
    if not venue.through_ccxt:
        return "native"
    how = "its websockets" if reach(venue.name) == "websocket" else "polled REST, as it has no websockets"
    return f"through ccxt, the slower path: {how}, trades checked against REST each {venue.tape_check_s:g} s"
