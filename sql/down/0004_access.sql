DELETE FROM time_partitioning WHERE table_name = 'security_events';
DROP TABLE security_events;
DROP TABLE audit_chain, audit_logs, configurations, exchange_credentials, api_keys, permissions;
DROP FUNCTION act_as(text);
DROP TABLE users;
DROP FUNCTION current_user_id();
