"""Trading strategies, one to a file: candles and indicators in, a signal or nothing out."""
