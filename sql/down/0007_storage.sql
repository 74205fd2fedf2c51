-- The tables as TimescaleDB's community edition made them without these settings: no policy, nothing compressed.
DO $$
DECLARE
    extension text := (SELECT quote_ident(nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
                       WHERE extname = 'timescaledb');
    t         record;
BEGIN
    IF extension IS NULL OR current_setting('timescaledb.license', true) = 'apache' THEN
        RETURN;
    END IF;
    PERFORM set_config('search_path', 'pg_catalog, public, ' || extension, true);
    FOR t IN SELECT quote_ident(table_name)::regclass AS relation FROM time_partitioning LOOP
        PERFORM remove_retention_policy(t.relation, if_exists => true);
        PERFORM remove_compression_policy(t.relation, if_exists => true);
        IF EXISTS (SELECT FROM timescaledb_information.hypertables
                   WHERE format('%I.%I', hypertable_schema, hypertable_name)::regclass = t.relation AND compression_enabled) THEN
            PERFORM decompress_chunk(chunk, if_compressed => true) FROM show_chunks(t.relation) AS chunk;
            EXECUTE format('ALTER TABLE %s SET (timescaledb.compress = false)', t.relation);
        END IF;
    END LOOP;
END
$$;
DROP TABLE maintenance, retention_holds, row_retention;
ALTER TABLE time_partitioning
    DROP COLUMN compress_after, DROP COLUMN keep_for, DROP COLUMN keep_min, DROP COLUMN segment_by, DROP COLUMN order_by;
