"""What a start with this configuration would do, as plain values. Starts nothing, and shows no secret."""

from pathlib import Path
from typing import Any

import msgspec

from traderd.config.addresses import redacted_values
from traderd.config.ccxt_venues import THROUGH_CCXT, reach
from traderd.config.loading import state_path
from traderd.config.schema import Config, Venue
from traderd.venues.dialect import Endpoint
from traderd.venues.registry import dialect


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
        "venues": [_venue(venue) for venue in config.venues],
        "strategies": [msgspec.to_builtins(strategy) for strategy in config.strategies],
        "limits": {
            section: msgspec.to_builtins(getattr(config, section))
            for section in ("risk", "breaker", "journal", "store")
        },
        "paper": msgspec.to_builtins(config.paper),
    }
    shown: dict[str, Any] = redacted_values(outline)
    return shown


def endpoint(venue: Venue) -> Endpoint | None:
    """The venue's addresses; None for the simulated exchange, which has some only once it runs, and for ccxt's own."""
    if venue.endpoint == "sim":
        return None
    if venue.endpoint == "live":
        return None if venue.through_ccxt else dialect(venue.name, venue.book_depth).live
    websocket = venue.endpoint.rstrip("/")
    return Endpoint(websocket, venue.rest.rstrip("/") or "http" + websocket.removeprefix("ws"))


def _venue(venue: Venue) -> dict[str, Any]:
    address = endpoint(venue)
    elsewhere = "simulated, inside the daemon" if venue.endpoint == "sim" else "where ccxt knows it to be"
    channels = [channel for channel in venue.channels if not venue.through_ccxt or channel in THROUGH_CCXT]
    return {
        "name": venue.name,
        "path": _path(venue),
        "endpoint": venue.endpoint,
        "websocket": address.websocket if address else elsewhere,
        "rest": address.rest if address else elsewhere,
        "symbols": list(venue.symbols),
        "channels": channels,
        "streams": len(venue.symbols) * len(channels),
    }


def _path(venue: Venue) -> str:
    if not venue.through_ccxt:
        return "native"
    how = "its websockets" if reach(venue.name) == "websocket" else "polled REST, as it has no websockets"
    return f"through ccxt, the slower path: {how}, trades checked against REST each {venue.tape_check_s:g} s, no books"
