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

-- TimescaleDB 2.22 and newer makes Bloom filters of the ids that stand in an index, unless it is told what to note of a batch:
-- two bytes for each trade, as many as its time takes, and whoever looks for a trade knows when it was. It is told to note the
-- times of reception. To note nothing at all is what 2.26 to 2.29 don't survive: the next question for a symbol of a venue
-- ends the server (a Bitmapset that is NULL is freed), and so chunks that were compressed like that are compressed anew.
CREATE OR REPLACE FUNCTION leave_out_bloom_filters(relation regclass) RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
    noted   jsonb := '[{"type": "minmax", "column": "time_received", "source": "config"}]';
    changes text[] := '{}';
    chunk   regclass;
BEGIN
    IF to_regclass('timescaledb_information.hypertable_columnstore_settings') IS NULL
       OR NOT EXISTS (SELECT FROM timescaledb_information.hypertable_columnstore_settings s  -- older ones have no "index"
                      WHERE hypertable = relation AND to_jsonb(s) ? 'index') THEN
        RETURN changes;
    END IF;
    IF NOT EXISTS (SELECT FROM timescaledb_information.hypertable_columnstore_settings s
                   WHERE hypertable = relation AND to_jsonb(s) -> 'index' @> noted) THEN
        EXECUTE format('ALTER TABLE %s SET (timescaledb.sparse_index = ''minmax(time_received)'')', relation);
        changes := changes || format('%s: compressed without Bloom filters', relation);
    END IF;
    FOR chunk IN
        SELECT relid FROM show_chunks(relation) each JOIN _timescaledb_catalog.compression_settings s ON relid = each
        WHERE compress_relid IS NOT NULL
          AND jsonb_path_exists(to_jsonb(s), '$.index[*] ? (@.source == "config" && !exists (@.column))')
    LOOP
        PERFORM compress_chunk(chunk, recompress => true);
        changes := changes || format('%s: compressed anew', chunk);
    END LOOP;
    RETURN changes;
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
