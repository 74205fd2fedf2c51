-- How TimescaleDB's community edition compresses; apply_storage_settings() calls these. Each tells what it has changed.

-- How the rows of a chunk are laid out when it is compressed from now on.
CREATE OR REPLACE FUNCTION compress_by(relation regclass, enabled boolean, segment_by text, order_by text) RETURNS text[]
LANGUAGE plpgsql AS $$
BEGIN
    IF enabled AND EXISTS (SELECT FROM timescaledb_information.hypertable_compression_settings s
                           WHERE s.hypertable = relation AND coalesce(s.segmentby, '') = segment_by
                             AND replace(s.orderby, '"', '') = order_by) THEN
        RETURN '{}';
    END IF;
    EXECUTE format('ALTER TABLE %s SET (timescaledb.compress, timescaledb.compress_segmentby = %L, '
                   'timescaledb.compress_orderby = %L)', relation, segment_by, order_by);
    RETURN ARRAY[format('%s: compressed by (%s) in the order of %s', relation, segment_by, order_by)];
END
$$;

-- TimescaleDB 2.22 and newer makes Bloom filters of the ids that stand in an index: two bytes for each trade, as many as its
-- time takes. Whoever looks for a trade knows when it was.
CREATE OR REPLACE FUNCTION leave_out_bloom_filters(relation regclass) RETURNS text[] LANGUAGE plpgsql AS $$
BEGIN
    IF to_regclass('timescaledb_information.hypertable_columnstore_settings') IS NULL
       OR NOT EXISTS (SELECT FROM timescaledb_information.hypertable_columnstore_settings s  -- older ones have no "index"
                      WHERE hypertable = relation AND to_jsonb(s) ? 'index'
                        AND NOT coalesce(to_jsonb(s) -> 'index' @> '[{"source": "config"}]', false)) THEN
        RETURN '{}';
    END IF;
    EXECUTE format('ALTER TABLE %s SET (timescaledb.sparse_index = '''')', relation);
    RETURN ARRAY[format('%s: compressed without Bloom filters', relation)];
END
$$;

-- Four times TimescaleDB's own number of rows take a tenth less when they are compressed together, and a look-up hardly
-- longer. The jobs are their owner's sessions, so it is a setting of that role in this database; one that is there stays.
CREATE OR REPLACE FUNCTION compress_in_batches_of(batch_rows integer) RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
    parameter text := 'timescaledb.compression_batch_size_limit';
BEGIN
    IF NOT EXISTS (SELECT FROM pg_settings WHERE name = parameter AND max_val::bigint >= batch_rows)  -- an older version
       OR EXISTS (SELECT FROM pg_db_role_setting, unnest(setconfig) configured
                  WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
                    AND setrole = current_user::regrole AND starts_with(configured, parameter || '=')) THEN
        RETURN '{}';
    END IF;
    EXECUTE format('ALTER ROLE CURRENT_USER IN DATABASE %I SET %s = %s', current_database(), parameter, batch_rows);
    RETURN ARRAY[format('compressed in batches of %s rows', batch_rows)];
END
$$;
