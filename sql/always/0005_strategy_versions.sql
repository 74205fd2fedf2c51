-- A strategy whose rules change gets a new version, and every version stays readable.
CREATE OR REPLACE FUNCTION number_strategy_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (OLD.parameters, OLD.entry_rules, OLD.exit_rules, OLD.risk_parameters)
       IS DISTINCT FROM (NEW.parameters, NEW.entry_rules, NEW.exit_rules, NEW.risk_parameters) THEN
        NEW.version := OLD.version + 1;
    END IF;
    RETURN NEW;
END
$$;
CREATE OR REPLACE TRIGGER strategies_version BEFORE UPDATE ON strategies
    FOR EACH ROW EXECUTE FUNCTION number_strategy_version();

CREATE OR REPLACE FUNCTION keep_strategy_version() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changed text;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF OLD.version = NEW.version THEN
            RETURN NULL;
        END IF;
        changed := 'changed: ' || array_to_string(ARRAY[
            CASE WHEN OLD.parameters <> NEW.parameters THEN 'parameters' END,
            CASE WHEN OLD.entry_rules <> NEW.entry_rules THEN 'entry rules' END,
            CASE WHEN OLD.exit_rules <> NEW.exit_rules THEN 'exit rules' END,
            CASE WHEN OLD.risk_parameters <> NEW.risk_parameters THEN 'risk parameters' END], ', ');
    END IF;
    INSERT INTO strategy_versions (strategy_id, version, parameters, entry_rules, exit_rules, risk_parameters,
                                   change_description, created_by)
    VALUES (NEW.id, NEW.version, NEW.parameters, NEW.entry_rules, NEW.exit_rules, NEW.risk_parameters,
            changed, NEW.created_by);
    RETURN NULL;
END
$$;
CREATE OR REPLACE TRIGGER strategies_keep_version AFTER INSERT OR UPDATE ON strategies
    FOR EACH ROW EXECUTE FUNCTION keep_strategy_version();
