-- What the faces share. A face is a schema in which the tables of one of the five seed documents are views with that
-- document's names, order and types. All are read only, and security_invoker: row-level security holds for the reader.
CREATE SCHEMA IF NOT EXISTS trading_ai;
CREATE SCHEMA IF NOT EXISTS apextrade;
CREATE SCHEMA IF NOT EXISTS mastertrade;
CREATE SCHEMA IF NOT EXISTS octopus;
CREATE SCHEMA IF NOT EXISTS quant;

-- Who reads a face has it first in search_path, and acts for somebody all the same: the users are ours, not the face's.
ALTER FUNCTION act_as(text) SET search_path = pg_catalog, public, pg_temp;

-- Our numbers have no bounds, those of the faces do: what doesn't fit is NULL, so that one value never makes a whole query
-- fail. NaN and the infinities fit nowhere. The planner puts these functions' bodies in the place of their calls.

-- Fit for the cast to numeric(digits, scale) that stands behind it, which rounds.
CREATE OR REPLACE FUNCTION fit(value numeric, digits integer, scale integer) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN value < power(10::numeric, digits - scale) - 5 * power(10::numeric, -1 - scale)
                 AND value > 5 * power(10::numeric, -1 - scale) - power(10::numeric, digits - scale) THEN value END
$$;

CREATE OR REPLACE FUNCTION fit_integer(value numeric) RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN value > -2147483648.5 AND value < 2147483647.5 THEN value::integer END
$$;

CREATE OR REPLACE FUNCTION fit_bigint(value numeric) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN value > -9223372036854775808.5 AND value < 9223372036854775807.5 THEN value::bigint END
$$;

-- The server refuses also what is too near to 0 for a double: that is 0 here.
CREATE OR REPLACE FUNCTION fit_float(value numeric) RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN value > 1e-300 AND value < 1e300 OR value < -1e-300 AND value > -1e300 THEN value::double precision
                WHEN value >= -1e-300 AND value <= 1e-300 THEN 0 END
$$;

-- A number in JSON, also where it is written as a string; NULL for anything else.
CREATE OR REPLACE FUNCTION json_number(value jsonb) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN jsonb_typeof(value) = 'number' THEN value::numeric
                WHEN value #>> '{}' ~ '^-?[0-9]{1,30}(\.[0-9]{1,30})?$' THEN (value #>> '{}')::numeric END
$$;

-- A face that promises one candle for each symbol and time lets one exchange speak for a symbol: the one on which it was
-- seen first. These are the others. A view leaves them out by
--     WHERE (o.symbol, o.exchange) NOT IN (SELECT symbol, exchange FROM second_voices)
-- which is hashed once for each query and a filter on whatever index the query uses; a join would lose the index's order.
CREATE OR REPLACE VIEW second_voices WITH (security_invoker = true) AS
SELECT i.symbol, i.exchange
FROM instruments i
WHERE EXISTS (SELECT FROM instruments earlier
              WHERE earlier.symbol = i.symbol
                AND (earlier.first_seen, earlier.exchange) < (i.first_seen, i.exchange));

-- The equity from which a day's profit counts, in UTC: the last of the day before, or else the day's first. Two look-ups in
-- the primary key. In FROM, as CROSS JOIN LATERAL, the planner makes them only for a query that asks for the result.
-- Its body is bound when it is made: a caller whose search_path begins with a face means another equity_history.
CREATE OR REPLACE FUNCTION opening_equity(portfolio uuid, at timestamptz) RETURNS TABLE (equity numeric)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT coalesce(
        (SELECT h.equity_value FROM equity_history h
         WHERE h.portfolio_id = portfolio AND h.time > start.day - interval '1 day' AND h.time <= start.day
         ORDER BY h.time DESC LIMIT 1),
        (SELECT h.equity_value FROM equity_history h
         WHERE h.portfolio_id = portfolio AND h.time > start.day AND h.time <= at
         ORDER BY h.time LIMIT 1))
    FROM (SELECT date_trunc('day', at, 'UTC') AS day) start;
END;
