-- Bars whose figures aren't those of the venue's own candle, though nothing is known to be missing in them.
ALTER TABLE ohlcv ADD COLUMN differs boolean NOT NULL DEFAULT false;
