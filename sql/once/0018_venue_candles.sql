-- Where the trades of a hole can't be had, the venue's own candles take the place of the bars over it, and say so.
ALTER TABLE ohlcv ADD COLUMN backfilled boolean NOT NULL DEFAULT false;

ALTER TABLE data_gaps
    ADD COLUMN unfetched   jsonb NOT NULL DEFAULT '[]',
    ADD COLUMN candles     text NOT NULL DEFAULT '',
    ADD COLUMN candles_due timestamptz;
COMMENT ON COLUMN data_gaps.unfetched IS 'whose trades are still missing, from when to when';
COMMENT ON COLUMN data_gaps.candles IS 'which of the bars over it are the venue''s candles now';
COMMENT ON COLUMN data_gaps.candles_due IS 'when the next of its bars have ended and may be asked for; NULL: none are awaited';
CREATE INDEX data_gaps_without_candles ON data_gaps (exchange, candles_due) WHERE candles_due IS NOT NULL;
