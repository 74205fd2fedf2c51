UPDATE time_partitioning SET segment_by = '{symbol}' WHERE table_name IN ('tick_data', 'public_trades');
