-- How long each table's rows stay, and in what shape. The values here are the seeds' own, the longest where they differ;
-- `storage` in config.yaml replaces them, but never goes below keep_min. Two terms are compared from 2000 on, where a span of
-- years has the most days that it can have: 10 years are 3653 days, so that 3652 are too few.
ALTER TABLE time_partitioning
    ADD COLUMN compress_after interval CHECK (compress_after > interval '0'),
    ADD COLUMN keep_for       interval CHECK (keep_for > interval '0'),
    ADD COLUMN keep_min       interval,
    ADD COLUMN segment_by     text[] NOT NULL DEFAULT '{}',
    ADD COLUMN order_by       text NOT NULL DEFAULT 'time DESC',
    ADD CONSTRAINT time_partitioning_keep_min
        CHECK (timestamp '2000-01-01' + keep_for >= timestamp '2000-01-01' + keep_min),
    ADD CONSTRAINT time_partitioning_compress_before_drop CHECK (keep_for > compress_after);
COMMENT ON COLUMN time_partitioning.compress_after IS 'NULL: never';
COMMENT ON COLUMN time_partitioning.keep_for IS 'NULL: for ever';
COMMENT ON COLUMN time_partitioning.keep_min IS 'the regulatory floor below keep_for; NULL: none';

UPDATE time_partitioning p
SET compress_after = v.compress_after::interval, keep_for = v.keep_for::interval, segment_by = v.segment_by::text[]
FROM (VALUES
    ('tick_data',            '2 days',  '7 days',   '{symbol}'),
    ('public_trades',        '2 days',  '30 days',  '{symbol}'),
    ('quarantine',           NULL,      '90 days',  '{}'),
    ('ohlcv',                '7 days',  '7 years',  '{symbol,timeframe}'),
    ('equity_history',       '30 days', '10 years', '{portfolio_id}'),
    ('portfolio_balances',   '30 days', '10 years', '{}'),
    ('technical_indicators', '7 days',  '90 days',  '{symbol,timeframe,indicator_name}'),
    ('risk_metrics',         '30 days', '2 years',  '{}'),
    ('options_chains',       '7 days',  '5 years',  '{underlying}'),
    ('heston_parameters',    '30 days', '5 years',  '{}'),
    ('sabr_parameters',      '30 days', '5 years',  '{}'),
    ('ou_parameters',        '30 days', '5 years',  '{}'),
    ('onchain_metrics',      '30 days', '365 days', '{}'),
    ('whale_transactions',   '30 days', '365 days', '{}'),
    ('stock_indices',        '30 days', '365 days', '{}'),
    ('social_sentiment',     '7 days',  '90 days',  '{}'),
    ('predictions',          '90 days', '2 years',  '{}'),  -- their outcome is written later
    ('model_performance',    NULL,      '5 years',  '{}'),
    ('security_events',      NULL,      '2 years',  '{}')
) v (table_name, compress_after, keep_for, segment_by)
WHERE p.table_name = v.table_name;

-- The tables that aren't partitioned by time: their rows are deleted one by one. Trades must stay for 10 years, audit logs
-- for 7; as they come, both stay for ever.
CREATE TABLE row_retention (
    table_name  text PRIMARY KEY,
    time_column text NOT NULL,
    keep_for    interval CHECK (keep_for > interval '0'),
    keep_min    interval,
    swept_at    timestamptz,
    CONSTRAINT row_retention_keep_min CHECK (timestamp '2000-01-01' + keep_for >= timestamp '2000-01-01' + keep_min),
    CHECK (table_name <> 'audit_logs' OR keep_for IS NULL)  -- each row is chained to the one before: none can be taken out
);
INSERT INTO row_retention (table_name, time_column, keep_for, keep_min) VALUES
    ('signals',    'time',        '5 years', NULL),
    ('alerts',     'created_at',  '1 year',  NULL),
    ('data_gaps',  'time_to',     '7 years', NULL),  -- a gap that is open has no time_to, and stays
    ('trades',     'executed_at', NULL,      '10 years'),
    ('executions', 'time',        NULL,      '10 years'),
    ('orders',     'created_at',  NULL,      '10 years'),
    ('audit_logs', 'time',        NULL,      '7 years');

-- While a journal has rows that the database hasn't, nothing at or after the oldest of them is dropped or deleted.
CREATE TABLE retention_holds (
    journal_id text COLLATE "C" PRIMARY KEY,
    oldest     timestamptz NOT NULL,
    since      timestamptz NOT NULL DEFAULT now(),
    renewed_at timestamptz NOT NULL DEFAULT now()
);

-- When maintenance last found nothing left to do.
CREATE TABLE maintenance (
    one     boolean PRIMARY KEY DEFAULT true CHECK (one),
    done_at timestamptz NOT NULL
);
