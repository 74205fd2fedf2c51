-- Several daemons on one database: what each of them was told, runs, holds and has missed is kept apart by the name of its
-- instance; one that is alone needs none. The session says it, as it says for whom it acts.
CREATE FUNCTION current_instance() RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT coalesce(current_setting('traderd.instance', true), '')
$$;

ALTER TABLE portfolios ADD COLUMN instance text COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE strategies ADD COLUMN instance text COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE configurations ADD COLUMN instance text COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE data_gaps ADD COLUMN instance text COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE portfolios ALTER COLUMN instance SET DEFAULT current_instance();
ALTER TABLE strategies ALTER COLUMN instance SET DEFAULT current_instance();
ALTER TABLE configurations ALTER COLUMN instance SET DEFAULT current_instance();
ALTER TABLE data_gaps ALTER COLUMN instance SET DEFAULT current_instance();
ALTER TABLE configurations DROP CONSTRAINT configurations_pkey, ADD PRIMARY KEY (instance, key);
