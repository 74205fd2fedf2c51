-- Accounts and what is noted about them: security events, log-ins, and rules that no command may break.

-- One security event, now.
CREATE OR REPLACE FUNCTION note_security_event(
    event_type text, severity text, subject uuid DEFAULT NULL, ip inet DEFAULT NULL, details jsonb DEFAULT '{}')
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    moment timestamptz := clock_timestamp();
BEGIN
    PERFORM ensure_partitions('security_events', moment, moment);
    INSERT INTO security_events (time, event_type, severity, user_id, ip_address, details)
    VALUES (moment, event_type, severity, subject, ip, details);
END
$$;

-- There is always somebody who may do everything, and always the daemon's own account. One change at a time, or two
-- admins could each be removed while the other one is still there.
CREATE OR REPLACE FUNCTION keep_accounts() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    gone boolean := TG_OP = 'DELETE';
BEGIN
    IF NOT gone THEN
        gone := NOT NEW.is_active OR NEW.erased_at IS NOT NULL OR NEW.id <> OLD.id;
    END IF;
    IF OLD.id = '00000000-0000-4000-8000-000000000001' AND (gone OR NEW.username <> OLD.username) THEN
        RAISE EXCEPTION 'the account % is the daemon''s own: it stays as it is', OLD.username;
    END IF;
    IF OLD.role = 'admin' AND OLD.is_active AND (gone OR NEW.role <> 'admin') THEN
        PERFORM pg_advisory_xact_lock(hashtext('traderd'), hashtext('keep_accounts'));
        IF NOT EXISTS (SELECT FROM users WHERE role = 'admin' AND is_active AND id <> OLD.id) THEN
            RAISE EXCEPTION '% is the last active admin: make another one first', OLD.username;
        END IF;
    END IF;
    RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END
$$;
CREATE OR REPLACE TRIGGER users_keep_accounts BEFORE UPDATE OR DELETE ON users
    FOR EACH ROW EXECUTE FUNCTION keep_accounts();

CREATE OR REPLACE FUNCTION note_account_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM note_security_event('user_created', 'info', NEW.id, NULL, jsonb_build_object('role', NEW.role));
        RETURN NULL;
    END IF;
    IF NEW.erased_at IS NOT NULL AND OLD.erased_at IS NULL THEN
        PERFORM note_security_event('user_erased', 'warning', NEW.id);
        RETURN NULL;
    END IF;
    IF NEW.role <> OLD.role THEN
        PERFORM note_security_event('user_role_changed', 'warning', NEW.id, NULL,
                                    jsonb_build_object('from', OLD.role, 'to', NEW.role));
    END IF;
    IF NEW.is_active <> OLD.is_active THEN
        PERFORM note_security_event(CASE WHEN NEW.is_active THEN 'user_activated' ELSE 'user_deactivated' END,
                                    'warning', NEW.id);
    END IF;
    IF NEW.password_hash <> OLD.password_hash THEN
        PERFORM note_security_event('password_changed', 'info', NEW.id);
    END IF;
    RETURN NULL;
END
$$;
CREATE OR REPLACE TRIGGER users_note_change AFTER INSERT OR UPDATE OF role, is_active, password_hash, erased_at ON users
    FOR EACH ROW EXECUTE FUNCTION note_account_change();

-- An attempt to log in, after the password was compared: whether it lets the user in. Five failures in a row lock the
-- account for a quarter of an hour, in which attempts neither count nor succeed; what they lead to isn't told apart from
-- an unknown name or a wrong password. The name of nobody isn't kept: it might be a password in the wrong field.
CREATE OR REPLACE FUNCTION record_login(name text, ok boolean, ip inet DEFAULT NULL) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    account  users;
    failures integer;
BEGIN
    SELECT * INTO account FROM users WHERE username = name AND erased_at IS NULL FOR UPDATE;
    IF account.id IS NULL OR NOT account.is_active OR account.locked_until > clock_timestamp() THEN
        PERFORM note_security_event('login_refused', 'warning', account.id, ip, jsonb_build_object('why',
            CASE WHEN account.id IS NULL THEN 'unknown' WHEN NOT account.is_active THEN 'inactive' ELSE 'locked' END));
        RETURN false;
    END IF;
    IF ok THEN
        UPDATE users SET failed_login_attempts = 0, locked_until = NULL, last_login_at = clock_timestamp()
        WHERE id = account.id;
        PERFORM note_security_event('login_succeeded', 'info', account.id, ip);
        RETURN true;
    END IF;
    failures := CASE WHEN account.locked_until IS NULL THEN account.failed_login_attempts ELSE 0 END + 1;
    UPDATE users
    SET failed_login_attempts = failures,
        locked_until = CASE WHEN failures >= 5 THEN clock_timestamp() + interval '15 minutes' END
    WHERE id = account.id;
    PERFORM note_security_event('login_failed', 'warning', account.id, ip, jsonb_build_object('failures', failures));
    IF failures >= 5 THEN
        PERFORM note_security_event('account_locked', 'error', account.id, ip);
    END IF;
    RETURN false;
END
$$;

-- The daemon says that it runs, on the connection with which it writes. Answers whether that may do more than it needs:
-- look past row security, or change the schema.
CREATE OR REPLACE FUNCTION note_daemon_start(run text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    owner          oid := (SELECT relowner FROM pg_class WHERE oid = 'audit_logs'::regclass);
    overprivileged boolean := (SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user)
                              OR pg_has_role(current_user, owner, 'MEMBER');
    role           jsonb := jsonb_build_object('run', run, 'role', current_user, 'session_role', session_user);
BEGIN
    PERFORM note_security_event(CASE WHEN overprivileged THEN 'daemon_overprivileged' ELSE 'daemon_started' END,
                                CASE WHEN overprivileged THEN 'warning' ELSE 'info' END, current_user_id(), NULL, role);
    INSERT INTO audit_logs (action, resource_type, resource_id, new_values) VALUES ('daemon_started', 'daemon', run, role);
    RETURN overprivileged;
END
$$;
