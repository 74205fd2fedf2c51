DROP INDEX orders_faces, predictions_faces, ohlcv_faces;
