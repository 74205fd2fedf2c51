ALTER TABLE positions
    DROP CONSTRAINT positions_portfolio_fkey,
    ADD CONSTRAINT positions_portfolio_id_fkey FOREIGN KEY (portfolio_id) REFERENCES portfolios;
ALTER TABLE trades
    DROP CONSTRAINT trades_portfolio_fkey,
    ADD CONSTRAINT trades_portfolio_id_fkey FOREIGN KEY (portfolio_id) REFERENCES portfolios;
ALTER TABLE executions
    DROP CONSTRAINT executions_portfolio_fkey,
    ADD CONSTRAINT executions_portfolio_id_fkey FOREIGN KEY (portfolio_id) REFERENCES portfolios;
ALTER TABLE orders
    DROP CONSTRAINT orders_portfolio_fkey,
    ADD CONSTRAINT orders_portfolio_id_fkey FOREIGN KEY (portfolio_id) REFERENCES portfolios;
ALTER TABLE portfolios DROP CONSTRAINT portfolios_owner;
DROP INDEX alert_suppressions_user, positions_user;
ALTER TABLE alert_suppressions ALTER COLUMN user_id DROP NOT NULL;
ALTER TABLE executions DROP COLUMN user_id;
