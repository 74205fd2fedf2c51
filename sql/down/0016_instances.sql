-- Of settings only those of the daemon without a name have a place in the schema before.
DELETE FROM configurations WHERE instance <> '';
ALTER TABLE configurations DROP CONSTRAINT configurations_pkey, ADD PRIMARY KEY (key);
ALTER TABLE configurations DROP COLUMN instance;
ALTER TABLE portfolios DROP COLUMN instance;
ALTER TABLE strategies DROP COLUMN instance;
ALTER TABLE data_gaps DROP COLUMN instance;
DROP FUNCTION current_instance();
