-- What venues tell. Prices and quantities are NUMERIC without precision: stored exactly as sent.
-- In a NUMERIC comparison NaN is above Infinity: "< 'Infinity'" keeps both out.
CREATE TABLE instruments (
    id            uuid PRIMARY KEY,
    exchange      text COLLATE "C" NOT NULL,
    symbol        text COLLATE "C" NOT NULL,
    venue_symbol  text COLLATE "C" NOT NULL,
    base          text COLLATE "C" NOT NULL,
    quote         text COLLATE "C" NOT NULL,
    price_tick    numeric NOT NULL CHECK (price_tick > 0 AND price_tick < 'Infinity'),
    quantity_step numeric NOT NULL CHECK (quantity_step > 0 AND quantity_step < 'Infinity'),
    notional_min  numeric NOT NULL CHECK (notional_min >= 0 AND notional_min < 'Infinity'),
    status        text NOT NULL DEFAULT 'trading' CHECK (status IN ('trading', 'halted', 'delisted')),
    first_seen    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    UNIQUE (exchange, symbol)
);
CREATE TRIGGER instruments_updated_at BEFORE UPDATE ON instruments FOR EACH ROW EXECUTE FUNCTION set_updated_at();

-- Quotes and last trades. "time" is when we received it. Written by binary COPY: the order of the columns is a contract.
SELECT create_time_partitioned('tick_data', $$
    time        timestamptz NOT NULL,
    symbol      text COLLATE "C" NOT NULL,
    exchange    text COLLATE "C" NOT NULL,
    bid         numeric,
    ask         numeric,
    bid_size    numeric,
    ask_size    numeric,
    last_price  numeric,
    last_volume numeric,
    sequence    bigint NOT NULL,
    time_venue  timestamptz
$$, '1 day');
CREATE INDEX tick_data_symbol_time ON tick_data (symbol, time DESC);

-- Every public trade. "time" is the venue's: the same trade sent twice has the same key.
SELECT create_time_partitioned('public_trades', $$
    time          timestamptz NOT NULL,
    symbol        text COLLATE "C" NOT NULL,
    exchange      text COLLATE "C" NOT NULL,
    trade_id      text COLLATE "C" NOT NULL,
    side          text COLLATE "C" NOT NULL CHECK (side IN ('buy', 'sell')),
    price         numeric NOT NULL,
    quantity      numeric NOT NULL,
    time_received timestamptz NOT NULL,
    PRIMARY KEY (symbol, time, exchange, trade_id)
$$, '1 day');

-- What could not be understood or stored, and why.
SELECT create_time_partitioned('quarantine', $$
    time     timestamptz NOT NULL,
    exchange text COLLATE "C" NOT NULL,
    channel  text COLLATE "C" NOT NULL,
    reason   text NOT NULL,
    payload  text NOT NULL
$$, '7 days');
CREATE INDEX quarantine_time ON quarantine (time);

-- Closed bars. vwap is derived, so it can't disagree with what it comes from.
SELECT create_time_partitioned('ohlcv', $$
    time         timestamptz NOT NULL,
    symbol       text COLLATE "C" NOT NULL,
    exchange     text COLLATE "C" NOT NULL,
    timeframe    text COLLATE "C" NOT NULL,
    open         numeric NOT NULL,
    high         numeric NOT NULL,
    low          numeric NOT NULL,
    close        numeric NOT NULL,
    volume       numeric NOT NULL,
    quote_volume numeric NOT NULL,
    vwap         numeric GENERATED ALWAYS AS (CASE WHEN volume > 0 THEN quote_volume / volume END) STORED,
    trades_count bigint NOT NULL CHECK (trades_count >= 0),
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (symbol, timeframe, time, exchange),
    CHECK (low > 0 AND high >= low AND high >= open AND high >= close AND low <= open AND low <= close
           AND high < 'Infinity'),
    CHECK (volume >= 0 AND volume < 'Infinity' AND quote_volume >= 0 AND quote_volume < 'Infinity')
$$, '7 days');

-- Every hole in the data: from when to when, why, and what it cost. time_to is NULL while it is open.
CREATE TABLE data_gaps (
    id         uuid PRIMARY KEY,
    gap_key    text COLLATE "C" NOT NULL UNIQUE,
    exchange   text COLLATE "C" NOT NULL,
    symbol     text COLLATE "C",
    channel    text COLLATE "C",
    reason     text NOT NULL,
    time_from  timestamptz NOT NULL,
    time_to    timestamptz,
    rows_lost  bigint NOT NULL DEFAULT 0 CHECK (rows_lost >= 0),
    detail     text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE TRIGGER data_gaps_updated_at BEFORE UPDATE ON data_gaps FOR EACH ROW EXECUTE FUNCTION set_updated_at();
