-- What row-level security stands on (sql/always/0011_row_security.sql): every row of trading names its owner, and hangs on
-- a portfolio of that same owner. The last is a foreign key, because foreign keys themselves look past row security:
-- without it one user's order could name another's portfolio.
ALTER TABLE executions ADD COLUMN user_id uuid NOT NULL DEFAULT '00000000-0000-4000-8000-000000000001' REFERENCES users;
ALTER TABLE executions ALTER COLUMN user_id SET DEFAULT current_user_id();
CREATE INDEX executions_user ON executions (user_id, time DESC);
CREATE INDEX positions_user ON positions (user_id);
ALTER TABLE alert_suppressions ALTER COLUMN user_id SET NOT NULL;
CREATE INDEX alert_suppressions_user ON alert_suppressions (user_id);

ALTER TABLE portfolios ADD CONSTRAINT portfolios_owner UNIQUE (id, user_id);
ALTER TABLE orders
    DROP CONSTRAINT orders_portfolio_id_fkey,
    ADD CONSTRAINT orders_portfolio_fkey FOREIGN KEY (portfolio_id, user_id) REFERENCES portfolios (id, user_id);
ALTER TABLE executions
    DROP CONSTRAINT executions_portfolio_id_fkey,
    ADD CONSTRAINT executions_portfolio_fkey FOREIGN KEY (portfolio_id, user_id) REFERENCES portfolios (id, user_id);
ALTER TABLE trades
    DROP CONSTRAINT trades_portfolio_id_fkey,
    ADD CONSTRAINT trades_portfolio_fkey FOREIGN KEY (portfolio_id, user_id) REFERENCES portfolios (id, user_id);
ALTER TABLE positions
    DROP CONSTRAINT positions_portfolio_id_fkey,
    ADD CONSTRAINT positions_portfolio_fkey FOREIGN KEY (portfolio_id, user_id) REFERENCES portfolios (id, user_id);
