"""Binance spot's public REST, answered from the simulated market. Pure: an address in, a status and a body out.

Refusals have Binance's codes and words (https://developers.binance.com/docs/binance-spot-api-docs/errors).
"""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from traderd.sim.klines import INTERVAL_MS, Kline, merged
from traderd.sim.market import Market
from traderd.sim.pit import Pit, Traded
from traderd.sim.prices import Listing
from traderd.sim.wire import decimal_text, level_texts

Params = dict[str, str]
Answer = tuple[int, bytes]
"""HTTP status and JSON body."""


def answer(market: Market, target: str) -> Answer:
    """The answer to one GET request target (path and query)."""
    parts = urlsplit(target)
    route = _ROUTES.get(parts.path)
    if route is None:
        return 404, _refusal(-1000, f"No such route: {parts.path}")
    params = {key: values[-1] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
    try:
        return 200, msgspec.json.encode(route(market, params))
    except _RefusedError as refused:
        return 400, _refusal(refused.code, str(refused))


class _RefusedError(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def _ping(market: Market, params: Params) -> Any:
    return {}


def _time(market: Market, params: Params) -> Any:
    return {"serverTime": market.time_ms}


def _exchange_info(market: Market, params: Params) -> Any:
    return {
        "timezone": "UTC",
        "serverTime": market.time_ms,
        "rateLimits": [{"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000}],
        "exchangeFilters": [],
        "symbols": [_describe(pit.listing) for pit in _chosen(market, params)],
    }


def _depth(market: Market, params: Params) -> Any:
    pit, limit = _pit(market, params), _limit(params, default=100, most=5_000)
    return {
        "lastUpdateId": pit.book.update_id,
        "bids": level_texts(pit.book.bids.levels(limit), pit.listing),
        "asks": level_texts(pit.book.asks.levels(limit), pit.listing),
    }


def _trades(market: Market, params: Params) -> Any:
    pit, limit = _pit(market, params), _limit(params, default=500, most=1_000)
    return [_describe_trade(trade) for trade in list(pit.trades)[-limit:]]


def _historical_trades(market: Market, params: Params) -> Any:
    return [_describe_trade(trade) for trade in _told_from(market, params)]


def _agg_trades(market: Market, params: Params) -> Any:
    """Here every trade is an aggregate of its own, under its own id."""
    return [_describe_aggregate(trade) for trade in _told_from(market, params)]


def _klines(market: Market, params: Params) -> Any:
    pit, limit = _pit(market, params), _limit(params, default=500, most=1_000)
    interval_ms = INTERVAL_MS.get(_needed(params, "interval"))
    if interval_ms is None:
        raise _RefusedError(-1120, "Invalid interval.")
    source = pit.klines["1s" if interval_ms < 60_000 else "1m"]
    source.roll(market.time_ms)
    first, last = _integer(params, "startTime", 0), _integer(params, "endTime", market.time_ms)
    bars = [bar for bar in merged(source.bars, interval_ms) if first <= bar.open_ms <= last]
    chosen = bars[:limit] if "startTime" in params else bars[-limit:]
    return [_describe_kline(bar, interval_ms, pit.listing) for bar in chosen]


_ROUTES: dict[str, Callable[[Market, Params], Any]] = {
    "/api/v3/ping": _ping,
    "/api/v3/time": _time,
    "/api/v3/exchangeInfo": _exchange_info,
    "/api/v3/depth": _depth,
    "/api/v3/trades": _trades,
    "/api/v3/historicalTrades": _historical_trades,
    "/api/v3/aggTrades": _agg_trades,
    "/api/v3/klines": _klines,
}
_WEIGHTS = {
    **{"/api/v3/exchangeInfo": 20, "/api/v3/trades": 25, "/api/v3/historicalTrades": 25},
    **{"/api/v3/aggTrades": 4, "/api/v3/klines": 2, "/api/v3/depth": 5},
}


def weight(target: str) -> int:
    """What a request counts against the limit, in the venue's units; a depth of more than 100 levels counts more."""
    parts = urlsplit(target)
    levels = parse_qs(parts.query).get("limit", ["100"])[-1]
    if parts.path == "/api/v3/depth" and levels.isdecimal() and int(levels) > 100:
        return 25 if int(levels) <= 500 else 50 if int(levels) <= 1_000 else 250
    return _WEIGHTS.get(parts.path, 1)


def _refusal(code: int, message: str) -> bytes:
    return msgspec.json.encode({"code": code, "msg": message})


def _needed(params: Params, name: str) -> str:
    if not params.get(name):
        raise _RefusedError(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
    return params[name]


def _named(market: Market, symbol: str, parameter: str) -> Pit:
    if not re.fullmatch(r"[A-Z0-9_.-]{1,20}", symbol):
        legal = "^[A-Z0-9-_.]{1,20}$"
        raise _RefusedError(-1100, f"Illegal characters found in parameter '{parameter}'; legal range is '{legal}'.")
    if symbol not in market.pits or symbol in market.delisted:
        raise _RefusedError(-1121, "Invalid symbol.")
    return market.pits[symbol]


def _pit(market: Market, params: Params) -> Pit:
    return _named(market, _needed(params, "symbol"), "symbol")


def _chosen(market: Market, params: Params) -> list[Pit]:
    if "symbol" in params and "symbols" in params:
        raise _RefusedError(-1128, "Combination of optional parameters invalid.")
    if "symbols" in params:
        try:
            symbols = msgspec.json.decode(params["symbols"], type=list[str])
        except msgspec.DecodeError:
            message = "Illegal characters found in parameter 'symbols'; a list such as [\"BTCUSDT\"] was expected."
            raise _RefusedError(-1100, message) from None
        return [_named(market, symbol, "symbols") for symbol in symbols]
    if "symbol" in params:
        return [_pit(market, params)]
    return [pit for name, pit in market.pits.items() if name not in market.delisted]


def _integer(params: Params, name: str, default: int) -> int:
    text = params.get(name)
    if text is None:
        return default
    if not re.fullmatch(r"[0-9]{1,20}", text, re.ASCII):
        message = f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'."
        raise _RefusedError(-1100, message)
    return int(text)


def _told_from(market: Market, params: Params) -> list[Traded]:
    """`fromId` and on, or of a span of time its oldest; else the newest. Oldest first."""
    pit, limit = _pit(market, params), _limit(params, default=500, most=1_000)
    first_ms, last_ms = _integer(params, "startTime", 0), _integer(params, "endTime", 2**63)
    trades = [trade for trade in pit.trades if first_ms <= trade.time_ms <= last_ms]
    if "fromId" in params:
        first = _integer(params, "fromId", 0)
        return [trade for trade in trades if trade.trade_id >= first][:limit]
    return trades[:limit] if "startTime" in params else trades[-limit:]


def _limit(params: Params, default: int, most: int) -> int:
    """As Binance does, more than the most is the most."""
    limit = _integer(params, "limit", default)
    if limit == 0:
        raise _RefusedError(-1130, "Data sent for parameter 'limit' is not valid.")
    return min(limit, most)


def _describe(listing: Listing) -> dict[str, Any]:
    lot_most = decimal_text(listing.lot * 900_000_000)
    return {
        "symbol": listing.venue_symbol,
        "status": "TRADING",
        "baseAsset": listing.base,
        "baseAssetPrecision": 8,
        "quoteAsset": listing.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET"],
        "icebergAllowed": False,
        "ocoAllowed": False,
        "otoAllowed": False,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": False,
        "cancelReplaceAllowed": False,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": decimal_text(listing.tick),
                "maxPrice": decimal_text(listing.tick * 1_000_000_000),
                "tickSize": decimal_text(listing.tick),
            },
            {
                "filterType": "LOT_SIZE",
                "minQty": decimal_text(listing.lot),
                "maxQty": lot_most,
                "stepSize": decimal_text(listing.lot),
            },
            {"filterType": "MARKET_LOT_SIZE", "minQty": "0.00000000", "maxQty": lot_most, "stepSize": "0.00000000"},
            {
                "filterType": "NOTIONAL",
                "minNotional": "5.00000000",
                "applyMinToMarket": True,
                "maxNotional": "9000000.00000000",
                "applyMaxToMarket": False,
                "avgPriceMins": 5,
            },
        ],
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
        "allowedSelfTradePreventionModes": ["EXPIRE_MAKER"],
    }


def _describe_trade(trade: Traded) -> dict[str, Any]:
    listing = trade.listing
    return {
        "id": trade.trade_id,
        "price": decimal_text(trade.price * listing.tick),
        "qty": decimal_text(trade.lots * listing.lot),
        "quoteQty": decimal_text(trade.price * trade.lots * listing.notional_step),
        "time": trade.time_ms,
        "isBuyerMaker": trade.buyer_is_maker,
        "isBestMatch": True,
    }


def _describe_aggregate(trade: Traded) -> dict[str, Any]:
    listing = trade.listing
    return {
        "a": trade.trade_id,
        "p": decimal_text(trade.price * listing.tick),
        "q": decimal_text(trade.lots * listing.lot),
        "f": trade.trade_id,
        "l": trade.trade_id,
        "T": trade.time_ms,
        "m": trade.buyer_is_maker,
        "M": True,
    }


def _describe_kline(bar: Kline, interval_ms: int, listing: Listing) -> list[Any]:
    return [
        bar.open_ms,
        *(decimal_text(price * listing.tick) for price in (bar.open, bar.high, bar.low, bar.close)),
        decimal_text(bar.lots * listing.lot),
        bar.open_ms + interval_ms - 1,
        decimal_text(bar.notional),
        bar.trades,
        decimal_text(bar.taker_buy_lots * listing.lot),
        decimal_text(bar.taker_buy_notional),
        "0",
    ]
