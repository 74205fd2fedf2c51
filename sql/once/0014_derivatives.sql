-- What contracts tell besides quotes and trades, and what an instrument is: spot or contract, and by which path it is heard.
-- A row of market data shows its path by its instrument: (exchange, symbol) is its key, and a venue is heard by one path.
ALTER TABLE instruments
    ADD COLUMN market        text NOT NULL DEFAULT 'spot' CHECK (market IN ('spot', 'linear', 'inverse')),
    ADD COLUMN settle        text COLLATE "C",
    ADD COLUMN contract_size numeric NOT NULL DEFAULT 1 CHECK (contract_size > 0 AND contract_size < 'Infinity'),
    ADD COLUMN expiry        timestamptz,
    ADD COLUMN feed          text NOT NULL DEFAULT 'native' CHECK (feed IN ('native', 'ccxt'));
COMMENT ON COLUMN instruments.settle IS 'the currency that a contract is settled in; NULL for spot';
COMMENT ON COLUMN instruments.contract_size IS 'one contract: units of the base currency if linear, of the quote currency if inverse';
COMMENT ON COLUMN instruments.expiry IS 'NULL: never';
COMMENT ON COLUMN instruments.feed IS 'native: our own dialect; ccxt: the slower path, checked against REST at intervals';

-- "time" is the venue's; when we received it where the venue tells none.
SELECT create_time_partitioned('funding_rates', $$
    time          timestamptz NOT NULL,
    symbol        text COLLATE "C" NOT NULL,
    exchange      text COLLATE "C" NOT NULL,
    rate          numeric NOT NULL CHECK (rate > '-Infinity' AND rate < 'Infinity'),
    next_time     timestamptz,
    time_received timestamptz NOT NULL,
    PRIMARY KEY (symbol, time, exchange)
$$, '30 days');
COMMENT ON COLUMN funding_rates.rate IS 'what longs pay to shorts at next_time, as a fraction of the position''s value';

-- At most one row for each instrument and second.
SELECT create_time_partitioned('mark_prices', $$
    time          timestamptz NOT NULL,
    symbol        text COLLATE "C" NOT NULL,
    exchange      text COLLATE "C" NOT NULL,
    mark_price    numeric CHECK (mark_price > 0 AND mark_price < 'Infinity'),
    index_price   numeric CHECK (index_price > 0 AND index_price < 'Infinity'),
    time_received timestamptz NOT NULL,
    PRIMARY KEY (symbol, time, exchange),
    CHECK (mark_price IS NOT NULL OR index_price IS NOT NULL)
$$, '7 days');

SELECT create_time_partitioned('open_interest', $$
    time          timestamptz NOT NULL,
    symbol        text COLLATE "C" NOT NULL,
    exchange      text COLLATE "C" NOT NULL,
    quantity      numeric NOT NULL CHECK (quantity >= 0 AND quantity < 'Infinity'),
    time_received timestamptz NOT NULL,
    PRIMARY KEY (symbol, time, exchange)
$$, '30 days');
COMMENT ON COLUMN open_interest.quantity IS 'contracts, or units of the base currency where the venue counts those';

SELECT create_time_partitioned('liquidations', $$
    time          timestamptz NOT NULL,
    symbol        text COLLATE "C" NOT NULL,
    exchange      text COLLATE "C" NOT NULL,
    side          text COLLATE "C" NOT NULL CHECK (side IN ('buy', 'sell')),
    price         numeric NOT NULL CHECK (price > 0 AND price < 'Infinity'),
    quantity      numeric NOT NULL CHECK (quantity >= 0 AND quantity < 'Infinity'),
    time_received timestamptz NOT NULL,
    PRIMARY KEY (symbol, time, exchange, side, price, quantity, time_received)
$$, '30 days');
COMMENT ON COLUMN liquidations.side IS 'of the closing order: sell closes a long';

UPDATE time_partitioning p
SET compress_after = v.compress_after::interval, keep_for = v.keep_for::interval, segment_by = '{symbol}'
FROM (VALUES
    ('funding_rates', '30 days', '5 years'),
    ('mark_prices',   '7 days',  '90 days'),
    ('open_interest', '30 days', '2 years'),
    ('liquidations',  '30 days', '2 years')
) v (table_name, compress_after, keep_for)
WHERE p.table_name = v.table_name;
