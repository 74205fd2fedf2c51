ALTER TABLE ohlcv DROP COLUMN has_gap;
ALTER TABLE public_trades DROP COLUMN backfilled;
DROP INDEX data_gaps_unhealed;
ALTER TABLE data_gaps
    DROP CONSTRAINT data_gaps_open_has_no_end,
    DROP COLUMN status,
    DROP COLUMN healed_at,
    DROP COLUMN healed_by,
    DROP COLUMN rows_healed,
    DROP COLUMN why_not,
    DROP COLUMN after_id,
    DROP COLUMN before_id;
