-- What is known about a user, and its end (GDPR, articles 15, 17 and 20). Both follow the catalogue, so that a table which
-- is added later is exported without a word here; erasing it needs a rule, and is refused without one.
-- They act for the subject, because row security binds their owner too.

CREATE OR REPLACE FUNCTION our_tables() RETURNS SETOF pg_class LANGUAGE sql STABLE AS $$
    SELECT c.* FROM pg_class c
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
      AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e')
$$;

CREATE OR REPLACE FUNCTION columns_that_name_users() RETURNS TABLE (table_name text, column_name text, column_type text)
LANGUAGE sql STABLE AS $$
    SELECT c.relname::text, a.attname::text, format_type(a.atttypid, NULL)
    FROM our_tables() c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE a.attname = 'user_id'
       OR (c.relname = 'users' AND a.attname = 'id')
       OR (NOT c.relrowsecurity AND c.relname <> 'users' AND (a.attname = 'resource_id' OR a.attname ~ '^(created|updated|resolved|acknowledged|approved)_by$'))
$$;

-- From tables that name no owner themselves.
CREATE OR REPLACE FUNCTION links_to_owned_rows()
RETURNS TABLE (child text, child_column text, parent text, parent_column text) LANGUAGE sql STABLE AS $$
    SELECT child.relname::text, c.attname::text, parent.relname::text, p.attname::text
    FROM our_tables() child
    JOIN pg_constraint f ON f.conrelid = child.oid AND f.contype = 'f' AND cardinality(f.conkey) = 1
    JOIN pg_class parent ON parent.oid = f.confrelid
    JOIN pg_attribute c ON c.attrelid = child.oid AND c.attnum = f.conkey[1]
    JOIN pg_attribute p ON p.attrelid = parent.oid AND p.attnum = f.confkey[1]
    UNION
    SELECT series.relname::text, c.attname::text, 'portfolios', 'id'
    FROM our_tables() series JOIN pg_attribute c ON c.attrelid = series.oid AND c.attname = 'portfolio_id'
    WHERE NOT EXISTS (SELECT FROM pg_attribute o WHERE o.attrelid = series.oid AND o.attname = 'user_id')
$$;

-- Where a user is named: for each table the condition on its rows, and the query that exports them, without secrets.
--   * the rows that the user owns (user_id), and of users the account itself;
--   * rows of tables that name no owner, and hang on such rows by a foreign key or, as series have none, by portfolio_id;
--   * where no row security says whose a row is: also those that tell by whom (…_by) or about whom (resource_id) it is.
CREATE OR REPLACE FUNCTION user_data_scope(subject uuid)
RETURNS TABLE (table_name text, condition text, query text, withheld text[]) LANGUAGE plpgsql AS $$
DECLARE
    account users;
    scope   jsonb;
    found   jsonb;
BEGIN
    SELECT * INTO account FROM users WHERE id = subject;
    IF account.id IS NULL THEN
        RAISE EXCEPTION 'there is no user %', subject;
    END IF;
    SELECT jsonb_object_agg(c.table_name, c.conditions) INTO scope FROM (
        SELECT n.table_name, string_agg(format('%I = %L', n.column_name, CASE
                   WHEN n.column_type = 'uuid' OR n.column_name = 'resource_id' THEN subject::text
                   ELSE account.username END), ' OR ' ORDER BY n.column_name) AS conditions
        FROM columns_that_name_users() n GROUP BY n.table_name) c;
    LOOP
        SELECT jsonb_object_agg(h.table_name, h.conditions) INTO found FROM (
            SELECT l.child AS table_name,
                   string_agg(format('%I IN (SELECT %I FROM %I WHERE %s)', l.child_column, l.parent_column, l.parent,
                                     scope ->> l.parent), ' OR ' ORDER BY l.child_column) AS conditions
            FROM links_to_owned_rows() l WHERE scope ? l.parent AND NOT scope ? l.child GROUP BY l.child) h;
        EXIT WHEN found IS NULL;
        scope := scope || found;
    END LOOP;
    RETURN QUERY
        SELECT s.key, s.value, format('SELECT to_jsonb(t) - %L::text[] FROM %I t WHERE %s', secret.names, s.key, s.value),
               secret.names
        FROM jsonb_each_text(scope) s
        CROSS JOIN LATERAL (
            SELECT coalesce(array_agg(attname::text ORDER BY attnum), '{}') AS names FROM pg_attribute
            WHERE attrelid = format('public.%I', s.key)::regclass AND attnum > 0 AND NOT attisdropped
              AND attname ~ '(_secret|_encrypted|^hash|_hash)$') secret
        ORDER BY s.key;
END
$$;

-- Everything that is known about a user in one value. A user with more than 256 MB of it, years of equity, is exported row by
-- row: `traderd users export`.
CREATE OR REPLACE FUNCTION export_user_data(subject uuid) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    part   record;
    held   jsonb;
    tables jsonb := '{}';
    actor  text := current_setting('app.current_user_id', true);
BEGIN
    PERFORM set_config('app.current_user_id', subject::text, true);
    FOR part IN SELECT * FROM user_data_scope(subject) LOOP
        EXECUTE format('SELECT coalesce(jsonb_agg(r), ''[]'') FROM (%s) AS rows(r)', part.query) INTO held;
        tables := tables || jsonb_build_object(part.table_name, jsonb_build_object('withheld', part.withheld, 'rows', held));
    END LOOP;
    PERFORM set_config('app.current_user_id', coalesce(actor, ''), true);
    RETURN jsonb_build_object('user', subject, 'exported_at', now(), 'tables', tables);
EXCEPTION WHEN program_limit_exceeded THEN
    RAISE EXCEPTION 'there is too much about user % for one value: traderd users export writes it row by row', subject;
END
$$;

-- What becomes of the rows of each table when their user is erased, in the order in which it is done.
CREATE OR REPLACE FUNCTION erasure_rules() RETURNS TABLE (number integer, table_name text, rule text, why text)
LANGUAGE sql IMMUTABLE AS $$
    SELECT row_number() OVER ()::integer, r.* FROM (VALUES
        ('api_keys', 'erased', 'a key of nobody opens nothing'),
        ('exchange_credentials', 'erased', 'a secret of the user'),
        ('alert_rules', 'erased', 'wishes of the user'),
        ('alert_suppressions', 'erased', 'wishes of the user'),
        ('alert_history', 'erased', 'addresses of the user'),
        ('alerts', 'erased', 'notices to the user; what halted trading is in circuit_breaker_events'),
        ('backtest_trades', 'erased', 'experiments of the user'),
        ('backtests', 'erased', 'experiments of the user'),
        ('goal_adjustments', 'erased', 'wishes of the user'),
        ('goal_progress', 'erased', 'wishes of the user'),
        ('financial_goals', 'erased', 'wishes of the user'),
        ('users', 'anonymised', 'what is kept refers to it'),
        ('strategies', 'anonymised', 'orders refer to them: archived, without description and author'),
        ('strategy_versions', 'anonymised', 'the rules by which orders were given; without author'),
        ('portfolios', 'anonymised', 'orders refer to them: closed, without description and the broker''s account number'),
        ('configurations', 'anonymised', 'settings of the daemon; without author'),
        ('security_events', 'anonymised', 'needed to trace misuse; without the address'),
        ('orders', 'kept', 'records of trading must be kept for 10 years'),
        ('executions', 'kept', 'records of trading must be kept for 10 years'),
        ('trades', 'kept', 'records of trading must be kept for 10 years'),
        ('positions', 'kept', 'records of trading must be kept for 10 years'),
        ('signals', 'kept', 'why an order was given belongs to the records of trading'),
        ('circuit_breaker_events', 'kept', 'why trading was halted belongs to the records of trading'),
        ('equity_history', 'kept', 'records of trading must be kept for 10 years'),
        ('portfolio_balances', 'kept', 'records of trading must be kept for 10 years'),
        ('risk_metrics', 'kept', 'records of trading must be kept for 10 years'),
        ('audit_logs', 'kept', 'must be kept for 7 years and cannot be changed; holds the account''s number, no personal data')
    ) AS r (table_name, rule, why)
$$;

-- Erases what is the user's alone, takes the person out of the rest, and answers what became of how many rows, and why.
-- The account stays under a name that says nothing, since what must be kept refers to it.
CREATE OR REPLACE FUNCTION delete_user_data(subject uuid) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    former users;
    part   record;
    held   bigint;
    report jsonb := '{}';
    actor  text := current_setting('app.current_user_id', true);
    signed text := current_setting('app.operator', true);
BEGIN
    PERFORM set_config('app.current_user_id', subject::text, true);
    SELECT * INTO former FROM users WHERE id = subject FOR UPDATE;
    PERFORM refuse_erasure(former);
    IF actor <> '' AND actor <> subject::text THEN
        PERFORM set_config('app.operator', (coalesce(nullif(signed, ''), '{}')::jsonb
                                            || jsonb_build_object('acting_user', actor))::text, true);
    END IF;
    FOR part IN
        SELECT s.table_name, s.condition, r.rule, r.why
        FROM user_data_scope(subject) s LEFT JOIN erasure_rules() r USING (table_name) ORDER BY r.number
    LOOP
        IF part.rule IS NULL THEN
            RAISE EXCEPTION 'nothing is said about what becomes of %: add it to erasure_rules()', part.table_name;
        ELSIF part.rule = 'erased' THEN
            EXECUTE format('DELETE FROM %I WHERE %s', part.table_name, part.condition);
            GET DIAGNOSTICS held = ROW_COUNT;
        ELSE
            EXECUTE format('SELECT count(*) FROM %I WHERE %s', part.table_name, part.condition) INTO held;
        END IF;
        report := report || jsonb_build_object(part.table_name,
                                               jsonb_build_object('rule', part.rule, 'rows', held, 'why', part.why));
    END LOOP;
    PERFORM anonymise_user(former);
    PERFORM set_config('app.current_user_id', coalesce(actor, ''), true);
    PERFORM set_config('app.operator', coalesce(signed, ''), true);
    RETURN jsonb_build_object('user', subject, 'erased_at', now(), 'tables', report);
END
$$;

CREATE OR REPLACE FUNCTION refuse_erasure(account users) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF account.id IS NULL THEN
        RAISE EXCEPTION 'there is no such user';
    ELSIF account.erased_at IS NOT NULL THEN
        RAISE EXCEPTION '% is erased already', account.username;
    ELSIF EXISTS (SELECT FROM orders WHERE user_id = account.id
                  AND status IN ('pending', 'open', 'partially_filled', 'unknown'))
       OR EXISTS (SELECT FROM positions WHERE user_id = account.id AND quantity <> 0) THEN
        RAISE EXCEPTION '% has open orders or positions: close them first', account.username;
    END IF;
END
$$;

-- Names that others' rows hold as text ("created by") are reached by acting for each user in turn; the last is the user.
CREATE OR REPLACE FUNCTION anonymise_user(former users) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    alias text := 'erased-' || former.id;
    owner uuid;
BEGIN
    FOR owner IN SELECT id FROM users LOOP
        PERFORM set_config('app.current_user_id', owner::text, true);
        UPDATE strategies SET created_by = alias WHERE created_by = former.username;
        UPDATE strategy_versions SET created_by = alias WHERE created_by = former.username;
        UPDATE alert_suppressions SET created_by = alias WHERE created_by = former.username;
    END LOOP;
    PERFORM set_config('app.current_user_id', former.id::text, true);
    UPDATE strategies SET description = NULL, status = 'archived', archived_at = coalesce(archived_at, now())
    WHERE user_id = former.id;
    UPDATE portfolios SET description = NULL, broker_account_id = NULL, is_active = false WHERE user_id = former.id;
    UPDATE configurations SET updated_by = alias WHERE updated_by = former.username;
    UPDATE security_events SET ip_address = NULL WHERE user_id = former.id;
    UPDATE users
    SET username = alias, email = alias || '@invalid.localdomain', password_hash = '!', first_name = NULL, last_name = NULL,
        timezone = DEFAULT, preferred_currency = DEFAULT, is_active = false, is_verified = false, mfa_enabled = false,
        mfa_secret = NULL, permissions = '{}', notification_preferences = '{}', failed_login_attempts = 0,
        locked_until = NULL, last_login_at = NULL, verified_at = NULL, erased_at = now()
    WHERE id = former.id;
END
$$;
