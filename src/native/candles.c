/* The bars of all instruments, as far as trades come in the order of their times: what each needs lies in one place, and
 * of the next ones it is fetched meanwhile. Whatever else there is (a late trade, more digits than 128 bits hold, bars
 * that may be amended for longer than they are kept here) is for the twin in core/candles.py, which is lent the state. */

#include "candle_bars.h"
#include "slots.h"

#define AHEAD 6 /* so many trades, or instruments, ahead of that which is looked at */

static Slot INSTRUMENT = {"instrument"}, TEXT = {"text"}, VENUE_NS = {"time_venue_ns"},
            RECEIVED_NS = {"time_received_ns"}, EXCHANGE = {"exchange"}, SYMBOL = {"symbol"};
static Slot *const OF_TRADE[] = {&TEXT, &VENUE_NS, &RECEIVED_NS};

static void candles_dealloc(Candles *self)
{
    for (Py_ssize_t at = 0; self->names != NULL && at < self->instruments; at++) {
        Py_XDECREF(self->names[at].exchange);
        Py_XDECREF(self->names[at].symbol);
    }
    for (Py_ssize_t n = 0; self->interval != NULL && n < self->intervals; n++)
        Py_XDECREF(self->interval[n].name);
    PyMem_Free(self->heads);
    PyMem_Free(self->names);
    PyMem_Free(self->bars);
    PyMem_Free(self->lent);
    PyMem_Free(self->interval);
    PyMem_Free(self->trial);
    Py_XDECREF(self->quotes);
    Py_XDECREF(self->make);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static int read_intervals(Candles *self, PyObject *intervals)
{
    for (Py_ssize_t n = 0; n < self->intervals; n++) {
        Interval *interval = &self->interval[n];
        PyObject *name;
        if (!PyArg_ParseTuple(PyTuple_GET_ITEM(intervals, n), "ULn", &name, &interval->length_ns, &interval->source))
            return 0;
        interval->name = Py_NewRef(name);
        if (interval->length_ns <= 0 || interval->source < -1 || interval->source >= n) {
            PyErr_SetString(PyExc_ValueError, "a timeframe without a length, or fed by a later one");
            return 0;
        }
    }
    return 1;
}

static int read_names(Candles *self, PyObject *instruments, long long grace_ns)
{
    for (Py_ssize_t at = 0; at < self->instruments; at++) {
        PyObject *exchange = slot(PyList_GET_ITEM(instruments, at), &EXCHANGE);
        PyObject *symbol = exchange == NULL ? NULL : slot(PyList_GET_ITEM(instruments, at), &SYMBOL);
        if (symbol == NULL)
            return 0;
        self->names[at] = (Names){Py_NewRef(exchange), Py_NewRef(symbol)};
        self->heads[at] = (Head){NEVER_NS, 0, 0, grace_ns, 0};
    }
    return 1;
}

static PyObject *candles_new(PyTypeObject *type, PyObject *args, PyObject *named)
{
    PyObject *instruments, *intervals, *quotes, *make;
    long long grace_ns;
    Py_ssize_t kept;

    if (!PyArg_ParseTuple(args, "O!O!LnO!O", &PyList_Type, &instruments, &PyTuple_Type, &intervals, &grace_ns, &kept,
                          &PyList_Type, &quotes, &make))
        return NULL;
    Py_ssize_t count = PyList_GET_SIZE(instruments), timeframes = PyTuple_GET_SIZE(intervals);
    if (kept < 1 || kept > 1000 || PyList_GET_SIZE(quotes) != count) {
        PyErr_SetString(PyExc_ValueError, "nothing kept, or too much, or no quote for each instrument");
        return NULL;
    }
    Candles *self = (Candles *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->instruments = count;
    self->intervals = timeframes;
    self->kept = kept;
    self->bar_size = sizeof(Bar) + kept * sizeof(Closed);
    self->quotes = Py_NewRef(quotes);
    self->make = Py_NewRef(make);
    self->heads = PyMem_Calloc(count + 1, sizeof(Head));
    self->names = PyMem_Calloc(count + 1, sizeof(Names));
    self->lent = PyMem_Calloc(count + 1, 1);
    self->bars = PyMem_Calloc(count * timeframes + 1, self->bar_size);
    self->interval = PyMem_Calloc(timeframes + 1, sizeof(Interval));
    self->trial = PyMem_Calloc(timeframes + 1, sizeof(Bar));
    if (self->heads == NULL || self->names == NULL || self->lent == NULL || self->bars == NULL || self->interval == NULL
        || self->trial == NULL)
        PyErr_NoMemory();
    else if (read_intervals(self, intervals) && read_names(self, instruments, grace_ns))
        return (PyObject *)self;
    Py_DECREF(self);
    return NULL;
}

/* 1, 0 if it is for the twin, -1 with an exception set. */
static int take_one(Candles *self, PyObject *trade, PyObject *told)
{
    Py_ssize_t at = place_of(trade, &INSTRUMENT, self->instruments);
    PyObject *said[3];
    Sum single;

    if (at < 0 || !slots(trade, OF_TRADE, 3, said))
        return -1;
    long long venue_ns = PyLong_AsLongLong(said[1]), received_ns = PyLong_AsLongLong(said[2]);
    if (PyErr_Occurred())
        return -1;
    if (!sum_of(said[0], venue_ns ? venue_ns : received_ns, &single))
        return 0;
    Head *head = &self->heads[at];
    if (self->lent[at] || single.first_ns > NEVER_NS / 2)
        return 0;
    if (single.first_ns < head->floor_ns)
        return is_too_late(self, at, single.first_ns, received_ns);
    if (single.first_ns >= head->deadline_ns) {
        int closed = close_until(self, at, single.first_ns, told);
        if (closed < 1)
            return closed;
    }
    if (!fold(self, at, &single))
        return 0;
    if (received_ns > head->now_ns)
        head->now_ns = received_ns;
    return 1;
}

static void prefetch_bars(const Candles *self, Py_ssize_t at)
{
    __builtin_prefetch(&self->heads[at]);
    for (Py_ssize_t n = 0; n < self->intervals; n++)
        for (size_t byte = 0; byte < sizeof(Bar); byte += 64)
            __builtin_prefetch((const char *)bar_of(self, at, n) + byte);
}

/* What the next but few will need, if it is what it seems to be. */
static void prefetch_trade(const Candles *self, PyObject *trade)
{
    Py_ssize_t at = likely_place_of(trade, &INSTRUMENT, self->instruments);

    if (at >= 0)
        prefetch_bars(self, at);
    if (Py_TYPE(trade) == TEXT.type && TEXT.offset >= 0)
        __builtin_prefetch(*(void **)((char *)trade + TEXT.offset));
}

static PyObject *candles_take(Candles *self, PyObject *args)
{
    PyObject *trades, *told;
    Py_ssize_t from;

    if (!PyArg_ParseTuple(args, "O!nO!", &PyList_Type, &trades, &from, &PyList_Type, &told))
        return NULL;
    for (; from >= 0 && from < PyList_GET_SIZE(trades); from++) {
        if (from + AHEAD < PyList_GET_SIZE(trades))
            prefetch_trade(self, PyList_GET_ITEM(trades, from + AHEAD));
        int taken = take_one(self, PyList_GET_ITEM(trades, from), told);
        if (taken < 0)
            return NULL;
        if (!taken)
            break;
    }
    return PyLong_FromSsize_t(from);
}

static void prefetch_closing(const Candles *self, Py_ssize_t at)
{
    prefetch_bars(self, at);
    __builtin_prefetch(&self->names[at]);
    if (at < PyList_GET_SIZE(self->quotes))
        __builtin_prefetch(PyList_GET_ITEM(self->quotes, at));
}

static int is_due(const Candles *self, Py_ssize_t at, long long now_ns)
{
    return !self->lent[at] && now_ns - self->heads[at].grace_ns >= self->heads[at].deadline_ns;
}

static PyObject *candles_beat(Candles *self, PyObject *args)
{
    PyObject *told, *left;
    long long now_ns;

    if (!PyArg_ParseTuple(args, "LO!", &now_ns, &PyList_Type, &told) || (left = PyList_New(0)) == NULL)
        return NULL;
    Py_ssize_t ahead = 0;
    for (Py_ssize_t at = 0; at < self->instruments; at++) {
        Head *head = &self->heads[at];
        if (now_ns > head->now_ns)
            head->now_ns = now_ns;
        if (!is_due(self, at, now_ns))
            continue;
        for (; ahead < self->instruments && ahead <= at + AHEAD; ahead++)
            if (is_due(self, ahead, now_ns))
                prefetch_closing(self, ahead);
        int closed = close_until(self, at, now_ns - head->grace_ns, told);
        PyObject *index = closed ? NULL : PyLong_FromSsize_t(at);
        int noted = closed || (index != NULL && PyList_Append(left, index) == 0);
        Py_XDECREF(index);
        if (closed < 0 || !noted) {
            Py_DECREF(left);
            return NULL;
        }
    }
    return left;
}

static int has_place(const Candles *self, Py_ssize_t at)
{
    if (at >= 0 && at < self->instruments)
        return 1;
    PyErr_SetString(PyExc_IndexError, "no such instrument");
    return 0;
}

static PyObject *candles_set_grace(Candles *self, PyObject *args)
{
    Py_ssize_t at;
    long long grace_ns;

    if (!PyArg_ParseTuple(args, "nL", &at, &grace_ns) || !has_place(self, at))
        return NULL;
    self->heads[at].grace_ns = grace_ns;
    Py_RETURN_NONE;
}

/* One instrument's head and bars as they lie in memory. */
static PyObject *candles_lend(Candles *self, PyObject *index)
{
    Py_ssize_t at = PyLong_AsSsize_t(index), size = self->intervals * self->bar_size;

    if (PyErr_Occurred() || !has_place(self, at))
        return NULL;
    PyObject *state = PyBytes_FromStringAndSize(NULL, sizeof(Head) + size);
    if (state != NULL) {
        memcpy(PyBytes_AS_STRING(state), &self->heads[at], sizeof(Head));
        memcpy(PyBytes_AS_STRING(state) + sizeof(Head), bar_of(self, at, 0), size);
        self->lent[at] = 1;
    }
    return state;
}

static int is_sound(const Sum *sum)
{
    return sum->count >= 0 && sum->price_places >= 0 && sum->price_places < DIGITS_MAX && sum->quantity_places >= 0
        && sum->quantity_places < DIGITS_MAX;
}

/* Whether bars as somebody else laid them out are such as they could be here. */
static int fits(const Candles *self, const char *bars)
{
    Bar bar;
    Closed closed;

    for (Py_ssize_t n = 0; n < self->intervals; n++, bars += self->bar_size) {
        memcpy(&bar, bars, sizeof bar);
        if (!is_sound(&bar.part) || bar.next < 0 || bar.next >= self->kept)
            return 0;
        for (Py_ssize_t k = 0; k < self->kept; k++) {
            memcpy(&closed, bars + sizeof bar + k * sizeof closed, sizeof closed);
            if (!is_sound(&closed.sum))
                return 0;
        }
    }
    return 1;
}

static PyObject *candles_take_back(Candles *self, PyObject *args)
{
    Py_ssize_t at, given;
    const char *state;

    if (!PyArg_ParseTuple(args, "ny#", &at, &state, &given) || !has_place(self, at))
        return NULL;
    size_t size = self->intervals * self->bar_size;
    if ((size_t)given != sizeof(Head) + size) {
        PyErr_SetString(PyExc_ValueError, "not the state of an instrument");
        return NULL;
    }
    if (!fits(self, state + sizeof(Head))) {
        PyErr_SetString(PyExc_OverflowError, "more digits than are kept here");
        return NULL;
    }
    memcpy(&self->heads[at], state, sizeof(Head));
    memcpy(bar_of(self, at, 0), state + sizeof(Head), size);
    self->lent[at] = 0;
    Py_RETURN_NONE;
}

/* Trades that were too late since it was asked last, and of each timeframe. */
static PyObject *candles_late(Candles *self, PyObject *unused)
{
    PyObject *counts = PyTuple_New(self->intervals);

    for (Py_ssize_t n = 0; counts != NULL && n < self->intervals; n++) {
        PyObject *count = PyLong_FromLongLong(self->interval[n].late);
        if (count == NULL)
            Py_CLEAR(counts);
        else
            PyTuple_SET_ITEM(counts, n, count);
    }
    PyObject *late = counts == NULL ? NULL : Py_BuildValue("LN", self->late, counts);
    if (late != NULL) {
        self->late = 0;
        for (Py_ssize_t n = 0; n < self->intervals; n++)
            self->interval[n].late = 0;
    }
    return late;
}

static PyMethodDef METHODS[] = {
    {"take", (PyCFunction)candles_take, METH_VARARGS, NULL},
    {"beat", (PyCFunction)candles_beat, METH_VARARGS, NULL},
    {"late", (PyCFunction)candles_late, METH_NOARGS, NULL},
    {"set_grace", (PyCFunction)candles_set_grace, METH_VARARGS, NULL},
    {"lend", (PyCFunction)candles_lend, METH_O, NULL},
    {"take_back", (PyCFunction)candles_take_back, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL}};

PyTypeObject CandlesType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "traderd.native.Candles",
    .tp_basicsize = sizeof(Candles),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = candles_new,
    .tp_dealloc = (destructor)candles_dealloc,
    .tp_methods = METHODS,
};
