-- The extension stays: it isn't ours alone, and bootstrap.sql looks after it.
DROP TABLE journal_cursors, time_partitioning;
DROP FUNCTION create_time_partitioned(text, text, interval);
DROP FUNCTION set_updated_at();
