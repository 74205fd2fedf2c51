-- What we decide, own and owe. Primary keys are UUIDs derived from the natural text keys, which are stored beside them.
-- Money is NUMERIC without precision: nothing is rounded on its way in, so cash comes back exact.
-- Times are kept to the microsecond; where the newest state wins, its nanoseconds are kept as well.
CREATE TABLE strategies (
    id            uuid PRIMARY KEY,
    name          text COLLATE "C" NOT NULL UNIQUE,
    strategy_type text,
    parameters    jsonb NOT NULL DEFAULT '{}',
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now()
);
CREATE TRIGGER strategies_updated_at BEFORE UPDATE ON strategies FOR EACH ROW EXECUTE FUNCTION set_updated_at();

-- The newest state of each portfolio. Cash follows every fill, also between two equity rows. The columns of value are
-- NULL until the portfolio's first equity row, environment until an order or an equity row tells it.
CREATE TABLE portfolios (
    id              uuid PRIMARY KEY,
    name            text COLLATE "C" NOT NULL UNIQUE,
    environment     text CHECK (environment IN ('paper', 'live')),
    base_currency   text COLLATE "C",
    initial_balance numeric,
    cash_balance    numeric,
    positions_value numeric,
    total_value     numeric,
    unrealized_pnl  numeric,
    realized_pnl    numeric,
    fees            numeric,
    peak_equity     numeric,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now()
);
CREATE TRIGGER portfolios_updated_at BEFORE UPDATE ON portfolios FOR EACH ROW EXECUTE FUNCTION set_updated_at();

CREATE TABLE signals (
    id          uuid PRIMARY KEY,
    signal_key  text COLLATE "C" NOT NULL UNIQUE,
    time        timestamptz NOT NULL,
    strategy_id uuid REFERENCES strategies,
    exchange    text COLLATE "C" NOT NULL,
    symbol      text COLLATE "C" NOT NULL,
    signal_type text NOT NULL CHECK (signal_type IN ('LONG', 'SHORT', 'EXIT_LONG', 'EXIT_SHORT')),
    strength    double precision NOT NULL CHECK (strength BETWEEN 0 AND 1),
    confidence  double precision NOT NULL CHECK (confidence BETWEEN 0 AND 1),
    price       numeric NOT NULL CHECK (price > 0 AND price < 'Infinity'),
    reason      text NOT NULL DEFAULT '',
    created_at  timestamptz NOT NULL DEFAULT now()
);

-- signal_key stays also where the signal itself could not be stored: signal_id is then NULL.
CREATE TABLE orders (
    id                 uuid PRIMARY KEY,
    client_order_id    text COLLATE "C" NOT NULL UNIQUE,
    portfolio_id       uuid NOT NULL REFERENCES portfolios,
    strategy_id        uuid REFERENCES strategies,
    signal_id          uuid REFERENCES signals,
    signal_key         text COLLATE "C",
    exchange           text COLLATE "C" NOT NULL,
    symbol             text COLLATE "C" NOT NULL,
    side               text NOT NULL CHECK (side IN ('buy', 'sell')),
    order_type         text NOT NULL CHECK (order_type IN ('market', 'limit')),
    quantity           numeric NOT NULL CHECK (quantity > 0 AND quantity < 'Infinity'),
    price              numeric CHECK (price > 0 AND price < 'Infinity'),
    status             text NOT NULL CHECK (status IN ('pending', 'open', 'partially_filled', 'filled', 'cancelled',
                                                       'rejected', 'expired', 'unknown')),
    environment        text NOT NULL CHECK (environment IN ('paper', 'live')),
    exchange_order_id  text COLLATE "C",
    filled_quantity    numeric NOT NULL DEFAULT 0 CHECK (filled_quantity >= 0 AND filled_quantity < 'Infinity'),
    average_fill_price numeric CHECK (average_fill_price < 'Infinity'),
    commission         numeric NOT NULL DEFAULT 0 CHECK (commission < 'Infinity'),
    commission_asset   text COLLATE "C",
    reason             text NOT NULL DEFAULT '',
    created_at         timestamptz NOT NULL,
    updated_at         timestamptz NOT NULL,
    updated_ns         bigint NOT NULL,
    submitted_at       timestamptz,
    filled_at          timestamptz,
    cancelled_at       timestamptz
);
-- What must be asked about at start.
CREATE INDEX orders_open ON orders (portfolio_id) WHERE status IN ('pending', 'open', 'partially_filled', 'unknown');

-- Fills as the exchange reported them. order_id is NULL where the order is not ours.
CREATE TABLE executions (
    id               uuid PRIMARY KEY,
    execution_key    text COLLATE "C" NOT NULL UNIQUE,
    order_id         uuid REFERENCES orders,
    client_order_id  text COLLATE "C" NOT NULL,
    portfolio_id     uuid NOT NULL REFERENCES portfolios,
    exchange         text COLLATE "C" NOT NULL,
    symbol           text COLLATE "C" NOT NULL,
    side             text NOT NULL CHECK (side IN ('buy', 'sell')),
    quantity         numeric NOT NULL CHECK (quantity > 0 AND quantity < 'Infinity'),
    price            numeric NOT NULL CHECK (price > 0 AND price < 'Infinity'),
    commission       numeric NOT NULL CHECK (commission < 'Infinity'),
    commission_asset text COLLATE "C",
    environment      text NOT NULL CHECK (environment IN ('paper', 'live')),
    time             timestamptz NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now()
);

-- The same fills as the books see them: for whom, and what each realised (after its fee, in the quote currency).
CREATE TABLE trades (
    id               uuid PRIMARY KEY REFERENCES executions,
    order_id         uuid REFERENCES orders,
    portfolio_id     uuid NOT NULL REFERENCES portfolios,
    strategy_id      uuid REFERENCES strategies,
    exchange         text COLLATE "C" NOT NULL,
    symbol           text COLLATE "C" NOT NULL,
    side             text NOT NULL CHECK (side IN ('buy', 'sell')),
    quantity         numeric NOT NULL,
    price            numeric NOT NULL,
    commission       numeric NOT NULL,
    commission_asset text COLLATE "C",
    realized_pnl     numeric NOT NULL CHECK (realized_pnl < 'Infinity'),
    environment      text NOT NULL,
    executed_at      timestamptz NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now()
);

-- Quantity is signed; a flat position stays, for what it realised.
CREATE TABLE positions (
    id             uuid PRIMARY KEY,
    portfolio_id   uuid NOT NULL REFERENCES portfolios,
    strategy_id    uuid REFERENCES strategies,
    exchange       text COLLATE "C" NOT NULL,
    symbol         text COLLATE "C" NOT NULL,
    quantity       numeric NOT NULL CHECK (quantity < 'Infinity'),
    entry_price    numeric NOT NULL CHECK (entry_price >= 0 AND entry_price < 'Infinity'),
    current_price  numeric NOT NULL CHECK (current_price >= 0 AND current_price < 'Infinity'),
    unrealized_pnl numeric NOT NULL CHECK (unrealized_pnl < 'Infinity'),
    realized_pnl   numeric NOT NULL CHECK (realized_pnl < 'Infinity'),
    opened_at      timestamptz,
    updated_at     timestamptz NOT NULL,
    updated_ns     bigint NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    UNIQUE (portfolio_id, exchange, symbol)
);

SELECT create_time_partitioned('equity_history', $$
    time            timestamptz NOT NULL,
    portfolio_id    uuid NOT NULL,
    equity_value    numeric NOT NULL CHECK (equity_value < 'Infinity'),
    cash_balance    numeric NOT NULL CHECK (cash_balance < 'Infinity'),
    positions_value numeric NOT NULL CHECK (positions_value < 'Infinity'),
    unrealized_pnl  numeric NOT NULL,
    realized_pnl    numeric NOT NULL,
    fees            numeric NOT NULL,
    peak_equity     numeric NOT NULL,
    drawdown        numeric NOT NULL CHECK (drawdown >= 0 AND drawdown < 'Infinity'),
    initial_balance numeric NOT NULL,
    base_currency   text COLLATE "C" NOT NULL,
    environment     text NOT NULL CHECK (environment IN ('paper', 'live')),
    PRIMARY KEY (portfolio_id, time)
$$, '30 days');

-- Notices that the system raised.
CREATE TABLE alerts (
    id          uuid PRIMARY KEY,
    alert_key   text COLLATE "C" NOT NULL UNIQUE,
    time        timestamptz NOT NULL,
    alert_type  text NOT NULL,
    severity    text NOT NULL CHECK (severity IN ('info', 'warning', 'error', 'critical')),
    title       text NOT NULL,
    message     text NOT NULL,
    exchange    text COLLATE "C",
    symbol      text COLLATE "C",
    entity_type text,
    entity_id   text COLLATE "C",
    metadata    jsonb NOT NULL DEFAULT '{}',
    created_at  timestamptz NOT NULL DEFAULT now()
);
