"""Every dialect that is spoken, with a frame and an answer of each kind: what noise is made of, and what is measured.

A new dialect adds one `Spoken` to `ALL`; `test_fuzz` fails until every dialect of the registry is in it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import test_binance
import test_binance_futures
import test_bybit
import test_bybit_rest
import test_coinbase
import test_history
import test_kraken
import test_okx

from traderd.core.market import Instrument
from traderd.venues.dialect import Dialect
from traderd.venues.registry import dialect


@dataclass(frozen=True)
class Spoken:
    """One dialect."""

    venue: str
    market: str
    instrument: Instrument
    """What every frame is about."""
    frames: list[bytes]
    """Each of them is understood."""
    answers: list[bytes]
    """Of REST: each is understood by one of the dialect's readers."""

    @property
    def name(self) -> str:
        return f"{self.venue} {self.market}"

    def make(self) -> Dialect:
        """A fresh dialect that knows the instrument."""
        made = dialect(self.venue, 10, self.market)
        made.bind([self.instrument])
        return made

    def readers(self) -> list[Callable[[bytes], object]]:
        """Everything that reads an answer of REST."""
        made, each = self.make(), self.instrument
        calls: dict[str, Callable[..., Callable[[bytes], object]]] = {
            "decode_snapshot": lambda read: lambda body: read(body, each, 1),
            "decode_instruments": lambda read: lambda body: read(body, [each.symbol]),
            "decode_time": lambda read: read,
            "decode_trades": lambda read: lambda body: read(body, each, 1),
            "decode_candles": lambda read: lambda body: read(body, each, "1m", 1),
            "decode_open_interest": lambda read: lambda body: read(body, each, 1),
        }
        return [call(getattr(made, name)) for name, call in calls.items() if hasattr(made, name)]


_BINANCE_ACKS = [b'{"result":null,"id":1}', b'{"error":{"code":2,"msg":"x"},"id":1}', b'{"result":true,"id":0}']
_BINANCE_ANSWERS = [
    b'{"lastUpdateId":160,"bids":[["0.0024","10"]],"asks":[["0.0026","100"]]}',
    b'{"serverTime":1633998511098}',
    b'[[1586987400000,"6733.55","6737.79","6726.61","6727.14","121.2",1586987699999,"815.4",2208,"56.1","37.7","0"]]',
]
_AGG_TRADES = b'[{"a":4773826,"p":"19099.6","q":"70","f":7857138,"l":7857138,"T":1607294296787,"m":true}]'
_FUTURES_FRAMES = [
    test_binance_futures.TICKER,
    test_binance_futures.TRADE,
    test_binance_futures.AGG_TRADE,
    test_binance_futures.DEPTH,
    test_binance_futures.KLINE,
    test_binance_futures.MARK,
    test_binance_futures.LIQUIDATION,
]

ALL = [
    Spoken(
        "binance",
        "spot",
        test_binance.ETH,
        [
            test_binance.TICKER,
            test_binance.TRADE,
            test_binance.AGG_TRADE,
            test_binance.DEPTH,
            test_binance.KLINE,
            *_BINANCE_ACKS,
        ],
        [
            *_BINANCE_ANSWERS,
            b'[{"id":870281750,"price":"38172.1","qty":"0.15","quoteQty":"5725.8","time":1621933655947,'
            b'"isBuyerMaker":true,"isBestMatch":true}]',
            b'{"symbols":[{"symbol":"ETHUSDT","status":"TRADING","baseAsset":"ETH","quoteAsset":"USDT","filters":'
            b'[{"filterType":"PRICE_FILTER","tickSize":"0.01"},{"filterType":"NOTIONAL","minNotional":"5"}]}]}',
        ],
    ),
    Spoken(
        "binance",
        "linear",
        test_binance_futures.ETH,
        [*_FUTURES_FRAMES, *_BINANCE_ACKS],
        [
            *_BINANCE_ANSWERS,
            _AGG_TRADES,
            b'{"openInterest":"10659.509","symbol":"ETHUSDT","time":1589437530011}',
            b'{"symbols":[{"symbol":"ETHUSDT","status":"TRADING","contractType":"PERPETUAL","baseAsset":"ETH",'
            b'"deliveryDate":4133404800000,"quoteAsset":"USDT","marginAsset":"USDT","filters":'
            b'[{"filterType":"LOT_SIZE","stepSize":"0.01"},{"filterType":"MIN_NOTIONAL","notional":"5"}]}]}',
        ],
    ),
    Spoken(
        "binance",
        "inverse",
        test_binance_futures.BTC,
        test_binance_futures.COIN_FRAMES,
        [
            _AGG_TRADES,
            b'{"openInterest":"10659","pair":"BTCUSD","symbol":"BTCUSD_PERP","time":1589437530011}',
            b'{"symbols":[{"symbol":"BTCUSD_PERP","contractStatus":"TRADING","contractType":"PERPETUAL",'
            b'"deliveryDate":4133404800000,"baseAsset":"BTC","quoteAsset":"USD","marginAsset":"BTC",'
            b'"contractSize":100,"filters":[{"filterType":"PRICE_FILTER","tickSize":"0.1"}]}]}',
        ],
    ),
    Spoken(
        "bybit",
        "spot",
        test_bybit.SPOT,
        test_bybit.SPOT_FRAMES,
        [test_bybit_rest.SPOT_LISTED, *test_bybit_rest.ANSWERS],
    ),
    Spoken(
        "bybit", "linear", test_bybit.BTC, test_bybit.LINEAR_FRAMES, [test_bybit_rest.LISTED, *test_bybit_rest.ANSWERS]
    ),
    Spoken("bybit", "inverse", test_bybit.COIN, test_bybit.INVERSE_FRAMES, test_bybit_rest.INVERSE_ANSWERS),
    Spoken(
        "coinbase",
        "spot",
        test_coinbase.ETH,
        [
            test_coinbase.TICKER,
            test_coinbase.TRADES,
            test_coinbase.SNAPSHOT,
            test_coinbase.BOOK,
            test_coinbase.CANDLES,
            test_coinbase.HEARTBEAT,
            test_coinbase.SUBSCRIBED,
            test_coinbase.REFUSED,
        ],
        [
            test_coinbase.REST_TIME,
            test_coinbase.REST_PRODUCTS,
            test_coinbase.REST_TRADES,
            test_coinbase.REST_CANDLES,
        ],
    ),
    Spoken(
        "kraken",
        "spot",
        test_kraken.ETH,
        [
            test_kraken.TICKER,
            test_kraken.TRADES,
            test_kraken.BOOK,
            test_kraken.SNAPSHOT,
            test_kraken.CANDLE,
            test_kraken.SUBSCRIBED,
            test_kraken.STATUS,
            b'{"channel":"heartbeat"}',
        ],
        [
            b'{"error":[],"result":{"unixtime":1616336594}}',
            b'{"error":[],"result":{"XETHZUSD":{"wsname":"ETH/USD","pair_decimals":2,"lot_decimals":8,'
            b'"tick_size":"0.01"}}}',
            test_history.KRAKEN_TRADES,
            test_history.KRAKEN_CANDLES,
        ],
    ),
    Spoken("okx", "spot", test_okx.BTC, test_okx.SPOT_FRAMES, test_okx.SPOT_ANSWERS),
    Spoken("okx", "linear", test_okx.SWAP, test_okx.FRAMES, test_okx.ANSWERS),
    Spoken("okx", "inverse", test_okx.COIN, test_okx.COIN_FRAMES, test_okx.COIN_ANSWERS),
]
