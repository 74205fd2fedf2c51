/* What some trades come to, as an object: the twin, which knows no bounds, is in core/traded.py. What doesn't fit is an
 * OverflowError, and as it was. */

#include "slots.h"
#include "sums.h"
#include <structmember.h>

typedef struct {
    PyObject_HEAD
    Sum sum;
} Traded;

static Slot TEXT = {"text"}, VENUE_NS = {"time_venue_ns"}, RECEIVED_NS = {"time_received_ns"};
static Slot *const OF_TRADE[] = {&TEXT, &VENUE_NS, &RECEIVED_NS};

/* 1, or 0 if it doesn't fit, or with an exception set. */
static int sum_of_trade(PyObject *trade, Sum *sum)
{
    PyObject *told[3];

    if (!slots(trade, OF_TRADE, 3, told))
        return 0;
    long long venue_ns = PyLong_AsLongLong(told[1]), received_ns = PyLong_AsLongLong(told[2]);
    return !PyErr_Occurred() && sum_of(told[0], venue_ns ? venue_ns : received_ns, sum);
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

    if (!PyArg_ParseTuple(args, "O!", &PyList_Type, &trades))
        return NULL;
    if (!PyList_GET_SIZE(trades)) {
        PyErr_SetString(PyExc_ValueError, "no trades");
        return NULL;
    }
    if (!sum_of_trade(PyList_GET_ITEM(trades, 0), &sum))
        return does_not_fit();
    for (Py_ssize_t n = 1; n < PyList_GET_SIZE(trades); n++)
        if (!sum_of_trade(PyList_GET_ITEM(trades, n), &later) || !sum_merge(&sum, &later))
            return does_not_fit();
    Traded *self = (Traded *)type->tp_alloc(type, 0);
    if (self != NULL)
        self->sum = sum;
    return (PyObject *)self;
}

static PyObject *traded_merge(Traded *self, PyObject *later)
{
    Sum sum = self->sum;

    if (!Py_IS_TYPE(later, &TradedType) || !sum_merge(&sum, &((Traded *)later)->sum))
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

static PyObject *traded_texts(Traded *self, PyObject *unused)
{
    const Sum *sum = &self->sum;
    int places = sum->price_places, quantity_places = sum->quantity_places;

    return Py_BuildValue(
        "NNNNNN", text_of(sum->open, places), text_of(sum->high, places), text_of(sum->low, places),
        text_of(sum->close, places), text_of(sum->volume, quantity_places),
        text_of(sum->quote_volume, places + quantity_places));
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
        "LLNNNNNNiin", sum->first_ns, sum->last_ns, integer(sum->open), integer(sum->high), integer(sum->low),
        integer(sum->close), integer(sum->volume), integer(sum->quote_volume), sum->price_places,
        sum->quantity_places, sum->count);
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
