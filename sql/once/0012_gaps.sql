-- What became of a hole in the data: still open, closed (the stream is whole again), healed (what was missing in it was
-- fetched) or unhealable, and why. Trades that were fetched afterwards, and bars that were made over a hole, say so.
ALTER TABLE data_gaps
    ADD COLUMN status      text NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'closed', 'healed', 'unhealable')),
    ADD COLUMN healed_at   timestamptz,
    ADD COLUMN healed_by   text,
    ADD COLUMN rows_healed bigint NOT NULL DEFAULT 0 CHECK (rows_healed >= 0),
    ADD COLUMN why_not     text NOT NULL DEFAULT '',
    ADD COLUMN after_id    text COLLATE "C",
    ADD COLUMN before_id   text COLLATE "C";
UPDATE data_gaps SET status = 'closed' WHERE time_to IS NOT NULL;
ALTER TABLE data_gaps ADD CONSTRAINT data_gaps_open_has_no_end CHECK ((status = 'open') = (time_to IS NULL));
COMMENT ON COLUMN data_gaps.after_id IS 'the newest trade before the hole';
COMMENT ON COLUMN data_gaps.before_id IS 'the oldest trade after it';
-- What is to be healed is asked for every few seconds, among the gaps of years.
CREATE INDEX data_gaps_unhealed ON data_gaps (exchange, time_to DESC) WHERE status = 'closed';

ALTER TABLE public_trades ADD COLUMN backfilled boolean NOT NULL DEFAULT false;
ALTER TABLE ohlcv ADD COLUMN has_gap boolean NOT NULL DEFAULT false;
