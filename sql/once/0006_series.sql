-- Further series over time. What is owned or owed, and prices, are NUMERIC; parameters of models are floats, as they are
-- estimates. Where a tool knows rows by an integer, "number" counts them, starting again when the integers are used up.
--
-- time_utc is for tools that know times without a zone: asked by an expression on "time", TimescaleDB would have to unpack
-- every compressed chunk of the symbol (2 to 4 ms each); of a column it keeps the bounds of each piece.
CREATE SEQUENCE ohlcv_number_seq AS integer CYCLE;
ALTER TABLE ohlcv
    ADD COLUMN bid      numeric,
    ADD COLUMN ask      numeric,
    ADD COLUMN bid_size numeric,
    ADD COLUMN ask_size numeric,
    ADD COLUMN number   integer NOT NULL DEFAULT nextval('ohlcv_number_seq'),
    ADD COLUMN time_utc timestamp GENERATED ALWAYS AS (time AT TIME ZONE 'UTC') STORED;
ALTER SEQUENCE ohlcv_number_seq OWNED BY ohlcv.number;

-- The indicators that strategies used, one row for each closed candle.
CREATE SEQUENCE technical_indicators_number_seq AS integer CYCLE;
SELECT create_time_partitioned('technical_indicators', $$
    time           timestamptz NOT NULL,
    symbol         text COLLATE "C" NOT NULL,
    exchange       text COLLATE "C" NOT NULL,
    timeframe      text COLLATE "C" NOT NULL,
    indicator_name text COLLATE "C" NOT NULL,
    value          numeric CHECK (value < 'Infinity'),
    metadata       jsonb,
    number         integer NOT NULL DEFAULT nextval('technical_indicators_number_seq'),
    created_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (symbol, timeframe, indicator_name, time, exchange)
$$, '7 days');
ALTER SEQUENCE technical_indicators_number_seq OWNED BY technical_indicators.number;

SELECT create_time_partitioned('options_chains', $$
    time          timestamptz NOT NULL,
    underlying    text COLLATE "C" NOT NULL,
    expiration    date NOT NULL,
    strike        numeric NOT NULL CHECK (strike > 0 AND strike < 'Infinity'),
    option_type   text NOT NULL CHECK (option_type IN ('call', 'put')),
    exchange      text COLLATE "C" NOT NULL DEFAULT '',
    bid           numeric,
    ask           numeric,
    last_price    numeric,
    volume        numeric,
    open_interest numeric,
    implied_vol   double precision,
    delta         double precision,
    gamma         double precision,
    theta         double precision,
    vega          double precision,
    rho           double precision,
    PRIMARY KEY (underlying, time, expiration, strike, option_type, exchange)
$$, '7 days');
CREATE INDEX options_chains_expiration ON options_chains (expiration);

-- dv = kappa (theta - v) dt + sigma sqrt(v) dW; feller_satisfied: 2 kappa theta > sigma².
SELECT create_time_partitioned('heston_parameters', $$
    time                timestamptz NOT NULL,
    symbol              text COLLATE "C" NOT NULL,
    kappa               double precision NOT NULL,
    theta               double precision NOT NULL,
    sigma               double precision NOT NULL,
    rho                 double precision NOT NULL CHECK (rho BETWEEN -1 AND 1),
    v0                  double precision NOT NULL,
    feller_satisfied    boolean NOT NULL,
    rmse                double precision,
    r_squared           double precision,
    n_options           integer,
    calibration_time_ms integer,
    PRIMARY KEY (symbol, time)
$$, '30 days');

-- maturity in years.
SELECT create_time_partitioned('sabr_parameters', $$
    time      timestamptz NOT NULL,
    symbol    text COLLATE "C" NOT NULL,
    maturity  double precision NOT NULL CHECK (maturity > 0),
    alpha     double precision NOT NULL,
    beta      double precision NOT NULL CHECK (beta BETWEEN 0 AND 1),
    rho       double precision NOT NULL CHECK (rho BETWEEN -1 AND 1),
    nu        double precision NOT NULL,
    rmse      double precision,
    n_options integer,
    PRIMARY KEY (symbol, time, maturity)
$$, '30 days');

-- dx = theta (mu - x) dt + sigma dW, of the spread asset1 - hedge_ratio asset2.
SELECT create_time_partitioned('ou_parameters', $$
    time          timestamptz NOT NULL,
    pair_id       text COLLATE "C" NOT NULL,
    asset1        text COLLATE "C" NOT NULL,
    asset2        text COLLATE "C" NOT NULL,
    hedge_ratio   double precision NOT NULL,
    theta         double precision NOT NULL,
    mu            double precision NOT NULL,
    sigma         double precision NOT NULL,
    half_life     double precision NOT NULL,
    adf_statistic double precision,
    adf_pvalue    double precision CHECK (adf_pvalue BETWEEN 0 AND 1),
    entry_lower   double precision,
    entry_upper   double precision,
    exit_target   double precision,
    stop_loss     double precision,
    PRIMARY KEY (pair_id, time)
$$, '30 days');

CREATE SEQUENCE onchain_metrics_number_seq AS integer CYCLE;
SELECT create_time_partitioned('onchain_metrics', $$
    time        timestamptz NOT NULL,
    symbol      text COLLATE "C" NOT NULL,
    metric_name text COLLATE "C" NOT NULL,
    value       numeric NOT NULL CHECK (value < 'Infinity'),
    source      text COLLATE "C",
    number      integer NOT NULL DEFAULT nextval('onchain_metrics_number_seq'),
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (symbol, metric_name, time)
$$, '30 days');
ALTER SEQUENCE onchain_metrics_number_seq OWNED BY onchain_metrics.number;

-- A transaction has one time, its block's, so the key with the time in it still lets each in once.
CREATE SEQUENCE whale_transactions_number_seq AS integer CYCLE;
SELECT create_time_partitioned('whale_transactions', $$
    time             timestamptz NOT NULL,
    transaction_hash text COLLATE "C" NOT NULL,
    blockchain       text COLLATE "C" NOT NULL,
    token_symbol     text COLLATE "C" NOT NULL,
    from_address     text COLLATE "C" NOT NULL,
    to_address       text COLLATE "C" NOT NULL,
    from_label       text,
    to_label         text,
    amount_token     numeric NOT NULL CHECK (amount_token >= 0 AND amount_token < 'Infinity'),
    amount_usd       numeric NOT NULL CHECK (amount_usd >= 0 AND amount_usd < 'Infinity'),
    alert_level      text CHECK (alert_level IN ('low', 'medium', 'high', 'critical')),
    number           integer NOT NULL DEFAULT nextval('whale_transactions_number_seq'),
    created_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (transaction_hash, time)
$$, '30 days');
ALTER SEQUENCE whale_transactions_number_seq OWNED BY whale_transactions.number;

CREATE SEQUENCE social_sentiment_number_seq AS integer CYCLE;
SELECT create_time_partitioned('social_sentiment', $$
    time             timestamptz NOT NULL,
    symbol           text COLLATE "C" NOT NULL,
    platform         text COLLATE "C" NOT NULL,
    post_id          text COLLATE "C" NOT NULL,
    post_text        text,
    sentiment_score  numeric CHECK (sentiment_score BETWEEN -1 AND 1),
    sentiment_label  text CHECK (sentiment_label IN ('positive', 'neutral', 'negative')),
    author           text,
    engagement_score integer,
    number           integer NOT NULL DEFAULT nextval('social_sentiment_number_seq'),
    created_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (post_id, platform, time)
$$, '7 days');
ALTER SEQUENCE social_sentiment_number_seq OWNED BY social_sentiment.number;

CREATE SEQUENCE stock_indices_number_seq AS integer CYCLE;
SELECT create_time_partitioned('stock_indices', $$
    time       timestamptz NOT NULL,
    index_name text COLLATE "C" NOT NULL,
    open       numeric,
    high       numeric,
    low        numeric,
    close      numeric,
    volume     bigint,
    number     integer NOT NULL DEFAULT nextval('stock_indices_number_seq'),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (index_name, time)
$$, '30 days');
ALTER SEQUENCE stock_indices_number_seq OWNED BY stock_indices.number;

-- What a model said, and later what came: "time" is when it was said, the last four columns are filled when it is known.
CREATE SEQUENCE predictions_number_seq AS integer CYCLE;
SELECT create_time_partitioned('predictions', $$
    time                timestamptz NOT NULL DEFAULT now(),
    id                  uuid NOT NULL DEFAULT gen_random_uuid(),
    number              integer NOT NULL DEFAULT nextval('predictions_number_seq'),
    symbol              text COLLATE "C" NOT NULL,
    model_name          text COLLATE "C" NOT NULL,
    model_version       text COLLATE "C",
    prediction_type     text COLLATE "C" NOT NULL DEFAULT 'price',
    predicted_value     numeric CHECK (predicted_value < 'Infinity'),
    predicted_direction text CHECK (predicted_direction IN ('up', 'down', 'neutral')),
    confidence          double precision CHECK (confidence BETWEEN 0 AND 1),
    horizon             interval,
    target_time         timestamptz,
    features            jsonb,
    feature_importance  jsonb,
    actual_value        numeric CHECK (actual_value < 'Infinity'),
    prediction_error    numeric,
    was_correct         boolean,
    outcome_at          timestamptz,
    PRIMARY KEY (id, time)
$$, '30 days');
ALTER SEQUENCE predictions_number_seq OWNED BY predictions.number;

SELECT create_time_partitioned('model_performance', $$
    time         timestamptz NOT NULL,
    id           uuid NOT NULL DEFAULT gen_random_uuid(),
    model_name   text COLLATE "C" NOT NULL,
    symbol       text COLLATE "C",
    metric_name  text COLLATE "C" NOT NULL,
    metric_value numeric,
    data_period  text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (id, time)
$$, '30 days');
