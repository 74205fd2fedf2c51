-- Why a tick is doubtful, as bits: 1 the price jumped, 2 crossed for too long, 4 repeated, 8 the quote was old when it came,
-- 16 the venue's time can't be right ("time" is then when we received it). 0: clean.
ALTER TABLE tick_data ADD COLUMN flags smallint NOT NULL DEFAULT 0;
ALTER TABLE public_trades ADD COLUMN flags smallint NOT NULL DEFAULT 0;

-- The best levels of our own order books, now and then: [["price", "quantity"], …], best first, as the venue sent them.
SELECT create_time_partitioned('order_book_snapshots', $$
    time       timestamptz NOT NULL,
    exchange   text COLLATE "C" NOT NULL,
    symbol     text COLLATE "C" NOT NULL,
    sequence   bigint NOT NULL,
    bids       jsonb NOT NULL,
    asks       jsonb NOT NULL,
    imbalance  double precision NOT NULL CHECK (imbalance BETWEEN -1 AND 1),
    microprice double precision NOT NULL,
    spread     numeric NOT NULL,
    PRIMARY KEY (symbol, time, exchange)
$$, '1 day');
UPDATE time_partitioning SET compress_after = '2 days', keep_for = '7 days', segment_by = '{symbol}'
WHERE table_name = 'order_book_snapshots';
