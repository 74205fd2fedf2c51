/* One instrument's bars: trades in, candles out. See candle_bars.h; the twin is in core/candles.py. */

#include "candle_bars.h"
#include "slots.h"

static Slot QUOTE_TEXT = {"text"};

static Closed *ring_of(Bar *bar)
{
    return (Closed *)(bar + 1);
}

static void begin(Bar *bar, const Interval *interval, long long time_ns)
{
    bar->open_ns = time_ns - time_ns % interval->length_ns;
    bar->end_ns = bar->open_ns + interval->length_ns;
}

/* The part of a bar that feeds it, which is over; 0 if it doesn't fit. */
static int feed(Bar *bar, const Interval *interval, const Sum *part)
{
    if (bar->part.count)
        return sum_merge(&bar->part, part);
    begin(bar, interval, part->first_ns);
    bar->part = *part;
    return 1;
}

static long long larger(long long one, long long other)
{
    return one > other ? one : other;
}

/* What was over before can't be amended any more. */
static long long kept_from(const Head *head)
{
    return larger(head->kept_from_ns, head->now_ns - head->grace_ns);
}

/* What closing comes to, on trial; 0 if it is for the twin. */
static int try_closing(Candles *self, Py_ssize_t at, long long horizon_ns)
{
    const Head *head = &self->heads[at];

    for (Py_ssize_t n = 0; n < self->intervals; n++)
        self->trial[n] = *bar_of(self, at, n);
    for (Py_ssize_t n = 0; n < self->intervals; n++) { /* ascending: what feeds a bar comes before it */
        const Bar *bar = &self->trial[n];
        if (!bar->part.count || bar->end_ns > horizon_ns)
            continue;
        const Closed *oldest = &ring_of(bar_of(self, at, n))[bar->next];
        if (oldest->sum.count && oldest->open_ns + self->interval[n].length_ns >= kept_from(head))
            return 0;
        for (Py_ssize_t larger = n + 1; larger < self->intervals; larger++)
            if (self->interval[larger].source == n && !feed(&self->trial[larger], &self->interval[larger], &bar->part))
                return 0;
    }
    return 1;
}

/* Bid, ask, and their sizes, of the quote's text, where each size follows its price; None where there is no quote. */
static int read_quote(PyObject *quote, PyObject **told)
{
    static const int PLACES[] = {0, 2, 1, 3};

    for (int n = 0; quote == Py_None && n < 4; n++)
        told[n] = Py_NewRef(Py_None);
    if (quote == Py_None)
        return 1;
    PyObject *text = slot(quote, &QUOTE_TEXT);
    if (text == NULL)
        return 0;
    if (!PyUnicode_Check(text) || !PyUnicode_IS_COMPACT_ASCII(text)) {
        PyErr_SetString(PyExc_TypeError, "a quote without a text");
        return 0;
    }
    const char *from = (const char *)PyUnicode_1BYTE_DATA(text), *end = from + PyUnicode_GET_LENGTH(text);
    for (int n = 0; n < 4; n++) {
        const char *comma = n < 3 ? memchr(from, ',', end - from) : end;
        if (comma == NULL) {
            PyErr_SetString(PyExc_ValueError, "a quote's text of fewer than four parts");
            return 0;
        }
        PyObject *part = told[PLACES[n]] = PyUnicode_FromStringAndSize(from, comma - from);
        if (part == NULL)
            return 0;
        from = comma + 1;
    }
    return 1;
}

/* The bar as a Candle, in `told` with the instrument's index; 0 with an exception set. */
static int tell(Candles *self, Py_ssize_t at, Py_ssize_t n, const Bar *bar, PyObject *told)
{
    const Sum *sum = &bar->part;
    int places = sum->price_places, quantity_places = sum->quantity_places, made = 0;
    PyObject *argument[15] = {
        Py_NewRef(self->names[at].exchange), Py_NewRef(self->names[at].symbol), Py_NewRef(self->interval[n].name),
        PyLong_FromLongLong(bar->open_ns), text_of(sum->open, places), text_of(sum->high, places),
        text_of(sum->low, places), text_of(sum->close, places), text_of(sum->volume, quantity_places),
        text_of(sum->quote_volume, places + quantity_places), PyLong_FromSsize_t(sum->count)};
    PyObject *quote = at < PyList_GET_SIZE(self->quotes) ? PyList_GET_ITEM(self->quotes, at) : Py_None;
    int whole = read_quote(quote, argument + 11);

    for (int i = 0; i < 15; i++)
        whole = whole && argument[i] != NULL;
    PyObject *candle = whole ? PyObject_Vectorcall(self->make, argument, 15, NULL) : NULL;
    PyObject *pair = candle == NULL ? NULL : Py_BuildValue("nN", at, candle);
    made = pair != NULL && PyList_Append(told, pair) == 0;
    Py_XDECREF(pair);
    for (int i = 0; i < 15; i++)
        Py_XDECREF(argument[i]);
    return made;
}

static void keep(Candles *self, Bar *bar)
{
    ring_of(bar)[bar->next] = (Closed){bar->part, bar->open_ns, 0};
    bar->next = (bar->next + 1) % self->kept;
    bar->closed_to_ns = bar->end_ns;
    bar->part.count = 0;
}

int close_until(Candles *self, Py_ssize_t at, long long horizon_ns, PyObject *told)
{
    Head *head = &self->heads[at];
    long long deadline_ns = NEVER_NS;

    if (!try_closing(self, at, horizon_ns))
        return 0;
    for (Py_ssize_t n = 0; n < self->intervals; n++)
        if (self->trial[n].part.count && self->trial[n].end_ns <= horizon_ns && !tell(self, at, n, &self->trial[n], told))
            return -1;
    for (Py_ssize_t n = 0; n < self->intervals; n++) {
        Bar *bar = bar_of(self, at, n);
        *bar = self->trial[n];
        if (bar->part.count && bar->end_ns <= horizon_ns) {
            head->floor_ns = larger(head->floor_ns, bar->end_ns);
            keep(self, bar);
        } else if (bar->part.count && bar->end_ns < deadline_ns)
            deadline_ns = bar->end_ns;
    }
    head->deadline_ns = deadline_ns;
    head->kept_from_ns = kept_from(head);
    return 1;
}

int fold(Candles *self, Py_ssize_t at, const Sum *single)
{
    Head *head = &self->heads[at];

    for (Py_ssize_t n = 0; n < self->intervals; n++) {
        if (self->interval[n].source >= 0)
            continue;
        self->trial[n].part = bar_of(self, at, n)->part;
        if (self->trial[n].part.count && !sum_merge(&self->trial[n].part, single))
            return 0;
    }
    for (Py_ssize_t n = 0; n < self->intervals; n++) {
        Bar *bar = bar_of(self, at, n);
        if (self->interval[n].source >= 0)
            continue;
        if (bar->part.count) {
            bar->part = self->trial[n].part;
            continue;
        }
        begin(bar, &self->interval[n], single->first_ns);
        bar->part = *single;
        head->floor_ns = larger(head->floor_ns, bar->open_ns);
        if (bar->end_ns < head->deadline_ns)
            head->deadline_ns = bar->end_ns;
    }
    return 1;
}

int is_too_late(Candles *self, Py_ssize_t at, long long time_ns, long long received_ns)
{
    Head head = self->heads[at];
    int found = 0;

    head.now_ns = larger(head.now_ns, received_ns);
    head.kept_from_ns = kept_from(&head);
    for (Py_ssize_t n = 0; time_ns >= 0 && n < self->intervals; n++) {
        const Bar *bar = bar_of(self, at, n);
        Interval *interval = &self->interval[n];
        int is_closed = time_ns < bar->closed_to_ns || (bar->part.count && time_ns < bar->open_ns);
        if (is_closed && time_ns - time_ns % interval->length_ns + interval->length_ns < head.kept_from_ns) {
            interval->late++;
            found = 1;
        }
    }
    if (found)
        self->heads[at] = head;
    self->late += found;
    return found;
}
