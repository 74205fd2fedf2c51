/* What some trades come to, exactly, as far as 128 bits reach. The twin, which knows no bounds, is in core/traded.py. */

#ifndef TRADERD_SUMS_H
#define TRADERD_SUMS_H

#include "native.h"

#define DIGITS_MAX 38 /* so many fit into 127 bits: of a price, and of a quantity */

typedef unsigned __int128 Wide;

/* In units of the last of so many decimal places: prices, quantities, and the quote volume with as many as both. */
typedef struct {
    Wide open, high, low, close, volume, quote_volume;
    long long first_ns, last_ns;
    Py_ssize_t count; /* 0: nothing yet, and no other field says anything */
    int price_places, quantity_places;
} Sum;

/* Others as well, which came later; 0 if it doesn't fit, and then nothing of `sum` is any good. */
int sum_merge(Sum *sum, const Sum *more);

/* A trade's price and quantity, parted by a comma; 0 if it doesn't fit, or is anything else. */
int sum_of(PyObject *text, long long time_ns, Sum *sum);

/* As a plain decimal. */
PyObject *text_of(Wide digits, int places);

#endif
