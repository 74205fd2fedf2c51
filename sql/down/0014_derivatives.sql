DROP TABLE funding_rates;
DROP TABLE mark_prices;
DROP TABLE open_interest;
DROP TABLE liquidations;
DELETE FROM time_partitioning WHERE table_name IN ('funding_rates', 'mark_prices', 'open_interest', 'liquidations');
ALTER TABLE instruments
    DROP COLUMN market, DROP COLUMN settle, DROP COLUMN contract_size, DROP COLUMN expiry, DROP COLUMN feed;
