/* What some trades come to, exactly: the twin, which knows no bounds, is in core/traded.py. What doesn't fit is an
 * OverflowError, and as it was. */

#include "decimals.h"
#include <structmember.h>

#define DIGITS_MAX 38 /* so many fit into 127 bits */
#define EIGHTEEN 1000000000000000000u /* so many digits fit into 64 */

typedef unsigned __int128 Wide;

typedef struct {
    Wide digits;
    int places;
} Exact;

typedef struct {
    long long first_ns, last_ns;
    Exact open, high, low, close, volume, quote_volume; /* all prices with as many places */
    Py_ssize_t count;
} Sum;

typedef struct {
    PyObject_HEAD
    Sum sum;
} Traded;

static PyObject *TEXT, *VENUE_NS, *RECEIVED_NS;

/* The digits as an integer; 0 if they are too many. */
static int exact_of(const Decimal *decimal, Exact *exact)
{
    exact->digits = 0;
    exact->places = (int)decimal->places;
    for (Py_ssize_t at = 0; at < decimal->size; at++)
        if (decimal->text[at] != '.')
            exact->digits = exact->digits * 10 + (decimal->text[at] - '0');
    return decimal->whole + decimal->places <= DIGITS_MAX;
}

/* With more places; 0 if it doesn't fit any more. */
static int widened(Exact *exact, int places)
{
    for (; exact->places < places; exact->places++)
        if (__builtin_mul_overflow(exact->digits, (Wide)10, &exact->digits))
            return 0;
    return 1;
}

static int add(Exact *sum, Exact more)
{
    return widened(sum, more.places) && widened(&more, sum->places)
        && !__builtin_add_overflow(sum->digits, more.digits, &sum->digits);
}

/* So that all prices have as many places. */
static int widen_prices(Sum *sum, int places)
{
    return widened(&sum->open, places) && widened(&sum->high, places) && widened(&sum->low, places)
        && widened(&sum->close, places);
}

/* Those of another as well, which came later; 0 if it doesn't fit, and then nothing of it is any good. */
static int merge(Sum *sum, Sum later)
{
    if (!widen_prices(sum, later.open.places) || !widen_prices(&later, sum->open.places))
        return 0;
    if (later.first_ns < sum->first_ns) {
        sum->first_ns = later.first_ns;
        sum->open = later.open;
    }
    if (later.last_ns >= sum->last_ns) {
        sum->last_ns = later.last_ns;
        sum->close = later.close;
    }
    if (later.high.digits > sum->high.digits)
        sum->high = later.high;
    if (later.low.digits < sum->low.digits)
        sum->low = later.low;
    sum->count += later.count;
    return add(&sum->volume, later.volume) && add(&sum->quote_volume, later.quote_volume)
        && widened(&sum->quote_volume, sum->open.places + sum->volume.places);
}

/* One trade. */
static int single(Sum *sum, long long time_ns, Exact price, Exact quantity)
{
    Exact traded = {0, price.places + quantity.places};

    if (__builtin_mul_overflow(price.digits, quantity.digits, &traded.digits))
        return 0;
    *sum = (Sum){time_ns, time_ns, price, price, price, price, quantity, traded, 1};
    return 1;
}

static int named_once(void)
{
    if (TEXT == NULL) {
        TEXT = PyUnicode_InternFromString("text");
        VENUE_NS = PyUnicode_InternFromString("time_venue_ns");
        RECEIVED_NS = PyUnicode_InternFromString("time_received_ns");
    }
    return TEXT != NULL && VENUE_NS != NULL && RECEIVED_NS != NULL;
}

static int time_of(PyObject *trade, PyObject *name, long long *time_ns)
{
    PyObject *value = PyObject_GetAttr(trade, name);

    if (value == NULL)
        return 0;
    *time_ns = PyLong_AsLongLong(value);
    Py_DECREF(value);
    return !PyErr_Occurred();
}

/* 1, or 0 if it doesn't fit, or has set an exception. */
static int read_trade(PyObject *trade, Sum *sum)
{
    long long time_ns;
    Decimal price, quantity;
    Exact at, of;

    if (!time_of(trade, VENUE_NS, &time_ns) || (!time_ns && !time_of(trade, RECEIVED_NS, &time_ns)))
        return 0;
    PyObject *text = PyObject_GetAttr(trade, TEXT);
    if (text == NULL)
        return 0;
    int whole = PyUnicode_Check(text) && PyUnicode_IS_COMPACT_ASCII(text);
    if (whole) {
        const char *begin = (const char *)PyUnicode_1BYTE_DATA(text);
        const char *end = begin + PyUnicode_GET_LENGTH(text), *comma = memchr(begin, ',', end - begin);
        whole = comma != NULL && read_decimal(begin, comma - begin, &price)
            && read_decimal(comma + 1, end - comma - 1, &quantity) && exact_of(&price, &at)
            && exact_of(&quantity, &of) && single(sum, time_ns, at, of);
    }
    Py_DECREF(text);
    return whole;
}

static PyObject *does_not_fit(void)
{
    if (!PyErr_Occurred())
        PyErr_SetString(PyExc_OverflowError, "more digits than are kept here");
    return NULL;
}

static PyObject *traded_new(PyTypeObject *type, PyObject *args, PyObject *named)
{
    PyObject *trades;
    Sum sum, later;

    if (!PyArg_ParseTuple(args, "O!", &PyList_Type, &trades) || !named_once())
        return NULL;
    if (!PyList_GET_SIZE(trades)) {
        PyErr_SetString(PyExc_ValueError, "no trades");
        return NULL;
    }
    if (!read_trade(PyList_GET_ITEM(trades, 0), &sum))
        return does_not_fit();
    for (Py_ssize_t n = 1; n < PyList_GET_SIZE(trades); n++)
        if (!read_trade(PyList_GET_ITEM(trades, n), &later) || !merge(&sum, later))
            return does_not_fit();
    Traded *self = (Traded *)type->tp_alloc(type, 0);
    if (self != NULL)
        self->sum = sum;
    return (PyObject *)self;
}

static PyObject *traded_merge(Traded *self, PyObject *later)
{
    Sum sum = self->sum;

    if (!Py_IS_TYPE(later, &TradedType) || !merge(&sum, ((Traded *)later)->sum))
        return does_not_fit();
    self->sum = sum;
    Py_RETURN_NONE;
}

static PyObject *traded_copy(Traded *self, PyObject *unused)
{
    Traded *other = (Traded *)TradedType.tp_alloc(&TradedType, 0);

    if (other != NULL)
        other->sum = self->sum;
    return (PyObject *)other;
}

/* As a plain decimal. */
static PyObject *text_of(Exact exact)
{
    char digits[80], *at = digits + sizeof digits; /* 39 digits, or 77 zeros and a dot */
    Wide high = exact.digits < EIGHTEEN ? 0 : exact.digits / EIGHTEEN; /* to divide 128 bits takes long */
    uint64_t low = (uint64_t)(exact.digits - high * EIGHTEEN);

    for (int n = 0; n <= exact.places || low || high; n++) {
        if (n && n == exact.places)
            *--at = '.';
        if (n && n % 18 == 0) {
            low = (uint64_t)(high % EIGHTEEN);
            high /= EIGHTEEN;
        }
        *--at = (char)('0' + (int)(low % 10));
        low /= 10;
    }
    Py_ssize_t size = digits + sizeof digits - at;
    PyObject *text = PyUnicode_New(size, 127);
    if (text != NULL)
        memcpy(PyUnicode_1BYTE_DATA(text), at, size);
    return text;
}

static PyObject *traded_texts(Traded *self, PyObject *unused)
{
    const Sum *sum = &self->sum;

    return Py_BuildValue(
        "NNNNNN", text_of(sum->open), text_of(sum->high), text_of(sum->low), text_of(sum->close),
        text_of(sum->volume), text_of(sum->quote_volume));
}

static PyObject *integer(Wide digits)
{
    if (digits <= INT64_MAX)
        return PyLong_FromLongLong((long long)digits);
    PyObject *high = PyLong_FromUnsignedLongLong((uint64_t)(digits >> 64)), *low = NULL, *bits = NULL, *whole = NULL;
    PyObject *raised = NULL;
    if (high != NULL && (low = PyLong_FromUnsignedLongLong((uint64_t)digits)) != NULL
        && (bits = PyLong_FromLong(64)) != NULL && (raised = PyNumber_Lshift(high, bits)) != NULL)
        whole = PyNumber_Or(raised, low);
    Py_XDECREF(high);
    Py_XDECREF(low);
    Py_XDECREF(bits);
    Py_XDECREF(raised);
    return whole;
}

static PyObject *traded_figures(Traded *self, PyObject *unused)
{
    const Sum *sum = &self->sum;

    return Py_BuildValue(
        "LLNNNNNNiin", sum->first_ns, sum->last_ns, integer(sum->open.digits), integer(sum->high.digits),
        integer(sum->low.digits), integer(sum->close.digits), integer(sum->volume.digits),
        integer(sum->quote_volume.digits), sum->open.places, sum->volume.places, sum->count);
}

static PyMethodDef METHODS[] = {
    {"merge", (PyCFunction)traded_merge, METH_O, NULL},
    {"copy", (PyCFunction)traded_copy, METH_NOARGS, NULL},
    {"texts", (PyCFunction)traded_texts, METH_NOARGS, NULL},
    {"figures", (PyCFunction)traded_figures, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL}};

static PyMemberDef MEMBERS[] = {
    {"first_ns", T_LONGLONG, offsetof(Traded, sum.first_ns), 0, NULL},
    {"last_ns", T_LONGLONG, offsetof(Traded, sum.last_ns), 0, NULL},
    {"trades_count", T_PYSSIZET, offsetof(Traded, sum.count), READONLY, NULL},
    {NULL, 0, 0, 0, NULL}};

PyTypeObject TradedType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "traderd.native.Traded",
    .tp_basicsize = sizeof(Traded),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = traded_new,
    .tp_methods = METHODS,
    .tp_members = MEMBERS,
};
