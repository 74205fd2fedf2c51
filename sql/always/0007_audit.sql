-- The audit log: rows that can only be appended, each chained to the one before, and the triggers that append them in the
-- same transaction as the act.

-- What a row's hash is taken of, besides the hash of the row before. `traderd audit verify` builds the same text by itself
-- and doesn't trust this function. A change of the text is a new format: rows keep the one that they were written in.
CREATE OR REPLACE FUNCTION audit_text(entry audit_logs) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT CASE entry.format WHEN 1 THEN
        jsonb_build_array(entry.format, entry.sequence, entry.id, (extract(epoch FROM entry.time) * 1000000)::bigint,
                          entry.user_id, entry.action, entry.resource_type, entry.resource_id, entry.old_values,
                          entry.new_values, entry.ip_address::text, entry.user_agent, entry.session_id,
                          entry.metadata)::text
    END
$$;

-- Who appends holds the chain's one row until the end of the transaction, so that numbers have no gaps and no two rows
-- follow the same one. With the owner's rights, because nobody else may write the chain's end. What the row itself says
-- about its place, time and hash is overridden. An operator who has signed (adapters/audit.py) is named in metadata.
CREATE OR REPLACE FUNCTION append_to_audit_chain() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    operator text := current_setting('app.operator', true);
BEGIN
    SELECT sequence + 1, hash INTO STRICT NEW.sequence, NEW.previous_hash FROM audit_chain FOR UPDATE;
    NEW.format := 1;
    NEW.time := clock_timestamp();
    IF operator <> '' THEN
        NEW.metadata := coalesce(NEW.metadata, '{}') || jsonb_build_object('operator', operator::jsonb);
    END IF;
    NEW.hash := sha256(NEW.previous_hash || convert_to(audit_text(NEW), 'UTF8'));
    UPDATE audit_chain SET sequence = NEW.sequence, hash = NEW.hash;
    RETURN NEW;
END
$$;
CREATE OR REPLACE TRIGGER audit_logs_append BEFORE INSERT ON audit_logs
    FOR EACH ROW EXECUTE FUNCTION append_to_audit_chain();

CREATE OR REPLACE FUNCTION refuse_change_of_audit_logs() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit logs can only be appended: % is refused', TG_OP USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE OR REPLACE TRIGGER audit_logs_unchangeable BEFORE UPDATE OR DELETE ON audit_logs
    FOR EACH ROW EXECUTE FUNCTION refuse_change_of_audit_logs();
CREATE OR REPLACE TRIGGER audit_logs_untruncatable BEFORE TRUNCATE ON audit_logs
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_audit_logs();

-- Orders: placed, each change of status, and a change of what was ordered. An order that is first stored when it is done
-- already was placed all the same: two rows. Fills are in executions.
CREATE OR REPLACE FUNCTION audit_order() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    done boolean;
BEGIN
    IF TG_OP = 'INSERT' THEN
        done := NEW.status NOT IN ('pending', 'open', 'unknown');
        INSERT INTO audit_logs (action, resource_type, resource_id, new_values)
        VALUES ('order_placed', 'order', NEW.id, jsonb_build_object(
            'client_order_id', NEW.client_order_id, 'portfolio_id', NEW.portfolio_id, 'strategy_id', NEW.strategy_id,
            'exchange', NEW.exchange, 'symbol', NEW.symbol, 'side', NEW.side, 'order_type', NEW.order_type,
            'quantity', NEW.quantity, 'price', NEW.price, 'environment', NEW.environment,
            'status', CASE WHEN done THEN 'pending' ELSE NEW.status END));
        IF NOT done THEN
            RETURN NULL;
        END IF;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO audit_logs (action, resource_type, resource_id, old_values)
        VALUES ('order_deleted', 'order', OLD.id, to_jsonb(OLD));
        RETURN NULL;
    END IF;
    INSERT INTO audit_logs (action, resource_type, resource_id, old_values, new_values)
    VALUES (CASE WHEN TG_OP = 'UPDATE' AND OLD.status = NEW.status THEN 'order_changed'
                 WHEN NEW.status = 'open' THEN 'order_opened' ELSE 'order_' || NEW.status END,
            'order', NEW.id,
            CASE WHEN TG_OP = 'UPDATE' THEN
                jsonb_build_object('status', OLD.status, 'quantity', OLD.quantity, 'price', OLD.price,
                                   'filled_quantity', OLD.filled_quantity) END,
            jsonb_build_object('status', NEW.status, 'quantity', NEW.quantity, 'price', NEW.price,
                               'filled_quantity', NEW.filled_quantity, 'average_fill_price', NEW.average_fill_price,
                               'commission', NEW.commission, 'exchange_order_id', NEW.exchange_order_id,
                               'reason', NEW.reason));
    RETURN NULL;
END
$$;
CREATE OR REPLACE TRIGGER orders_audit AFTER INSERT OR DELETE ON orders FOR EACH ROW EXECUTE FUNCTION audit_order();
CREATE OR REPLACE TRIGGER orders_audit_update AFTER UPDATE ON orders FOR EACH ROW
    WHEN (OLD.status <> NEW.status OR OLD.quantity <> NEW.quantity OR OLD.price IS DISTINCT FROM NEW.price)
    EXECUTE FUNCTION audit_order();

CREATE OR REPLACE FUNCTION audit_breaker() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO audit_logs (action, resource_type, resource_id, new_values)
        VALUES ('circuit_breaker_tripped', 'circuit_breaker', NEW.id, jsonb_build_object(
            'portfolio_id', NEW.portfolio_id, 'trigger_type', NEW.trigger_type, 'threshold_value', NEW.threshold_value,
            'actual_value', NEW.actual_value, 'triggered_at', NEW.triggered_at, 'actions_taken', NEW.actions_taken));
    END IF;
    IF NEW.resolved_at IS NOT NULL AND (TG_OP = 'INSERT' OR OLD.resolved_at IS NULL) THEN
        INSERT INTO audit_logs (action, resource_type, resource_id, new_values)
        VALUES ('circuit_breaker_reset', 'circuit_breaker', NEW.id, jsonb_build_object(
            'portfolio_id', NEW.portfolio_id, 'trigger_type', NEW.trigger_type, 'resolved_at', NEW.resolved_at));
    END IF;
    RETURN NULL;
END
$$;
CREATE OR REPLACE TRIGGER circuit_breaker_events_audit AFTER INSERT OR UPDATE ON circuit_breaker_events
    FOR EACH ROW EXECUTE FUNCTION audit_breaker();

-- What people decide. Arguments: the noun; columns that change by themselves, which are not audited; columns whose change
-- is told but not their values, because they are secret or personal and this log can't be erased.
CREATE OR REPLACE FUNCTION audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    figures  text[] := TG_ARGV[1]::text[] || '{updated_at}';
    before   jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) - figures END;
    after    jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) - figures END;
    one      jsonb := coalesce(after, before);
    resource text := coalesce(one ->> 'id', concat_ws('/', nullif(one ->> 'instance', ''), one ->> 'key'));
    changed  text[];
BEGIN
    IF TG_OP = 'UPDATE' THEN
        changed := ARRAY(SELECT key FROM jsonb_each(after) WHERE value IS DISTINCT FROM before -> key);
        IF changed = '{}' THEN
            RETURN NULL;
        END IF;
        before := before - ARRAY(SELECT jsonb_object_keys(before) EXCEPT SELECT unnest(changed));
        after := after - ARRAY(SELECT jsonb_object_keys(after) EXCEPT SELECT unnest(changed));
    END IF;
    INSERT INTO audit_logs (action, resource_type, resource_id, old_values, new_values)
    VALUES (audited_action(TG_ARGV[0], lower(TG_OP), before, after), TG_ARGV[0], resource,
            without_values(before, TG_ARGV[2]::text[]), without_values(after, TG_ARGV[2]::text[]));
    RETURN NULL;
END
$$;

-- Of an update, `before` and `after` hold the columns that changed.
CREATE OR REPLACE FUNCTION audited_action(noun text, operation text, before jsonb, after jsonb) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN noun = 'settings' THEN 'settings_changed'
        WHEN operation = 'insert' THEN noun || '_created'
        WHEN operation = 'delete' THEN noun || '_deleted'
        WHEN noun = 'user' AND after ->> 'erased_at' IS NOT NULL THEN 'user_erased'
        WHEN noun = 'user' AND after ? 'role' THEN 'user_role_changed'
        WHEN noun = 'strategy' AND after ->> 'status' IN ('active', 'paper') THEN 'strategy_activated'
        WHEN noun = 'strategy' AND before ->> 'status' IN ('active', 'paper') THEN 'strategy_deactivated'
        WHEN after ->> 'is_active' = 'true' THEN noun || '_activated'
        WHEN after ->> 'is_active' = 'false' THEN noun || '_deactivated'
        ELSE noun || '_updated'
    END
$$;

CREATE OR REPLACE FUNCTION without_values(columns jsonb, withheld text[]) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT jsonb_object_agg(key, CASE WHEN key = ANY(withheld) AND value <> 'null' THEN '"(withheld)"' ELSE value END)
    FROM jsonb_each(columns)
$$;

CREATE OR REPLACE TRIGGER strategies_audit AFTER INSERT OR UPDATE OR DELETE ON strategies FOR EACH ROW
    EXECUTE FUNCTION audit_change('strategy',
        '{total_pnl, num_trades, win_rate, sharpe_ratio, last_signal_at, activated_at, archived_at, version}',
        '{description, created_by}');
CREATE OR REPLACE TRIGGER users_audit AFTER INSERT OR UPDATE OR DELETE ON users FOR EACH ROW
    EXECUTE FUNCTION audit_change('user', '{failed_login_attempts, locked_until, last_login_at}',
        '{username, email, password_hash, first_name, last_name, timezone, preferred_currency, mfa_secret,
          notification_preferences}');
CREATE OR REPLACE TRIGGER api_keys_audit AFTER INSERT OR UPDATE OR DELETE ON api_keys FOR EACH ROW
    EXECUTE FUNCTION audit_change('api_key', '{last_used_at, total_requests}', '{name, description, key_hash}');
CREATE OR REPLACE TRIGGER exchange_credentials_audit AFTER INSERT OR UPDATE OR DELETE ON exchange_credentials FOR EACH ROW
    EXECUTE FUNCTION audit_change('exchange_credential',
        '{is_valid, validation_error, last_validated_at, last_used_at, request_count}',
        '{name, api_key_encrypted, api_secret_encrypted, passphrase_encrypted}');
CREATE OR REPLACE TRIGGER configurations_audit AFTER INSERT OR UPDATE OR DELETE ON configurations FOR EACH ROW
    EXECUTE FUNCTION audit_change('settings', '{updated_by}', '{}');
