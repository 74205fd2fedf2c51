-- Bars over a gap are made anew of all the trades that are stored by then, once they have ended: a day's is hours later.
-- Until then the gap says so, that the next run does it when this one doesn't live so long.
ALTER TABLE data_gaps ADD COLUMN hurt_bars jsonb NOT NULL DEFAULT '[]';
COMMENT ON COLUMN data_gaps.hurt_bars IS 'whose bars, from when to when, are still to be made anew of the stored trades';
