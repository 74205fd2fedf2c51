ALTER TABLE data_gaps DROP COLUMN hurt_bars;
