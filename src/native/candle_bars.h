/* The bars of all instruments as they lie in the memory, and what is done to one instrument's. */

#ifndef TRADERD_CANDLE_BARS_H
#define TRADERD_CANDLE_BARS_H

#include "sums.h"

#define NEVER_NS INT64_MAX

typedef struct {
    Sum sum;
    long long open_ns, unused;
} Closed;

/* Of one instrument and timeframe; behind it lie `kept` Closed, a ring of which `next` is the oldest. */
typedef struct {
    Sum part; /* in progress */
    long long open_ns, end_ns, closed_to_ns, next;
} Bar;

/* Of one instrument. */
typedef struct {
    long long deadline_ns, floor_ns, now_ns, grace_ns, kept_from_ns; /* see core/candles.py */
} Head;

/* What stays as it is. */
typedef struct {
    PyObject *exchange, *symbol;
} Names;

typedef struct {
    long long length_ns;
    Py_ssize_t source; /* the timeframe that feeds it; -1: trades */
    PyObject *name;
    long long late; /* trades that were too late for it, since somebody asked */
} Interval;

typedef struct {
    PyObject_HEAD
    Py_ssize_t instruments, intervals, kept;
    size_t bar_size;
    Head *heads;
    Names *names;
    char *bars, *lent; /* lent: nothing is done to it until it comes back */
    Interval *interval;
    Bar *trial; /* one for each timeframe: what comes of closing, before it is done */
    PyObject *quotes, *make;
    long long late; /* trades that were too late, since somebody asked */
} Candles;

static inline Bar *bar_of(const Candles *self, Py_ssize_t at, Py_ssize_t n)
{
    return (Bar *)(self->bars + (at * self->intervals + n) * self->bar_size);
}

/* What is over by then is told: 1, 0 if it is for the twin, and then nothing was done, -1 with an exception set. */
int close_until(Candles *self, Py_ssize_t at, long long horizon_ns, PyObject *told);

/* A trade into the bars that trades are fed to: 1, or 0 if it is for the twin, and then nothing was done. */
int fold(Candles *self, Py_ssize_t at, const Sum *single);

/* Whether a trade that is before its floor is too late for any bar: it is counted then. */
int is_too_late(Candles *self, Py_ssize_t at, long long time_ns, long long received_ns);

#endif
