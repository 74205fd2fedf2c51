DROP TABLE order_book_snapshots;
DELETE FROM time_partitioning WHERE table_name = 'order_book_snapshots';
ALTER TABLE tick_data DROP COLUMN flags;
ALTER TABLE public_trades DROP COLUMN flags;
