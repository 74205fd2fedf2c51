-- A connection sees and changes the rows of the user for whom it acts (app.current_user_id), and no others; one that acts
-- for nobody sees none. What hangs on such a row, and names no owner itself, is seen with it. Forced: the tables' owner is
-- bound as well, only superusers and roles with BYPASSRLS (traderd_backup) aren't.
-- Not here: series over time (TimescaleDB neither compresses nor aggregates tables with row security), users (whoever logs
-- in must be found), audit_logs and security_events (they tell of everybody; nobody may change the first).
-- current_user_id() stands in a SELECT of its own so that it is evaluated once for a statement, not once for a row.
DO $$
DECLARE
    secured text;
    rule    text;
BEGIN
    FOR secured, rule IN
        SELECT owned, 'user_id = (SELECT current_user_id())'
        FROM unnest('{portfolios, positions, orders, executions, trades, strategies, alerts, alert_rules,
                      alert_suppressions, backtests, financial_goals, api_keys, exchange_credentials}'::text[]) owned
        UNION ALL VALUES
            ('strategy_versions', 'EXISTS (SELECT FROM strategies s WHERE s.id = strategy_id)'),
            ('signals', 'strategy_id IS NULL OR EXISTS (SELECT FROM strategies s WHERE s.id = strategy_id)'),
            ('circuit_breaker_events', 'portfolio_id IS NULL OR EXISTS (SELECT FROM portfolios p WHERE p.id = portfolio_id)'),
            ('alert_history', 'EXISTS (SELECT FROM alerts a WHERE a.id = alert_id)'),
            ('backtest_trades', 'EXISTS (SELECT FROM backtests b WHERE b.id = backtest_id)'),
            ('goal_progress', 'EXISTS (SELECT FROM financial_goals g WHERE g.id = goal_id)'),
            ('goal_adjustments', 'EXISTS (SELECT FROM financial_goals g WHERE g.id = goal_id)')
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', secured);
        IF EXISTS (SELECT FROM pg_policy WHERE polrelid = secured::regclass AND polname = 'own_rows') THEN
            EXECUTE format('DROP POLICY own_rows ON %I', secured);
        END IF;
        EXECUTE format('CREATE POLICY own_rows ON %I USING (%s) WITH CHECK (%2$s)', secured, rule);
    END LOOP;
END
$$;
