/* A tick that is as they all are, onto the board: in one go, so that what it needs of its instrument comes from the memory
 * together and not piece by piece. The twin is in core/posting.py. */

#include "bounds.h"
#include "slots.h"

typedef struct {
    PyObject_HEAD
    PyObject *gates, *quotes, *trade_gates, *trades, *trade_texts; /* lists by the instrument's index */
    PyObject *waiting, *waits; /* trades, and which instruments' may wait: a byte for each */
} Posting;

static Slot INSTRUMENT = {"instrument"}, BID = {"bid"}, ASK = {"ask"}, TEXT = {"text"},
            VENUE_NS = {"time_venue_ns"}, RECEIVED_NS = {"time_received_ns"};
static Slot TRADED = {"instrument"}, TRADE_ID = {"trade_id"}, PRICE = {"price"}, TRADE_TEXT = {"text"},
            TRADE_VENUE_NS = {"time_venue_ns"}, TRADE_RECEIVED_NS = {"time_received_ns"};
static Slot *const OF_QUOTE[] = {&BID, &ASK, &TEXT, &VENUE_NS, &RECEIVED_NS};
static Slot *const OF_TRADE[] = {&TRADE_ID, &PRICE, &TRADE_TEXT, &TRADE_VENUE_NS, &TRADE_RECEIVED_NS};

static PyObject *posting_new(PyTypeObject *type, PyObject *args, PyObject *named)
{
    PyObject *given[7];
    PyTypeObject *list = &PyList_Type;

    if (!PyArg_ParseTuple(args, "O!O!O!O!O!O!S", list, &given[0], list, &given[1], list, &given[2], list, &given[3], list,
                          &given[4], list, &given[5], &given[6]))
        return NULL;
    Posting *self = (Posting *)type->tp_alloc(type, 0);
    if (self != NULL) {
        self->gates = Py_NewRef(given[0]);
        self->quotes = Py_NewRef(given[1]);
        self->trade_gates = Py_NewRef(given[2]);
        self->trades = Py_NewRef(given[3]);
        self->trade_texts = Py_NewRef(given[4]);
        self->waiting = Py_NewRef(given[5]);
        self->waits = Py_NewRef(given[6]);
    }
    return (PyObject *)self;
}

static int posting_traverse(Posting *self, visitproc visit, void *arg)
{
    Py_VISIT(self->gates);
    Py_VISIT(self->quotes);
    Py_VISIT(self->trade_gates);
    Py_VISIT(self->trades);
    Py_VISIT(self->trade_texts);
    Py_VISIT(self->waiting);
    return 0;
}

static int posting_clear(Posting *self)
{
    Py_CLEAR(self->gates);
    Py_CLEAR(self->quotes);
    Py_CLEAR(self->trade_gates);
    Py_CLEAR(self->trades);
    Py_CLEAR(self->trade_texts);
    Py_CLEAR(self->waiting);
    Py_CLEAR(self->waits);
    return 0;
}

static void posting_dealloc(Posting *self)
{
    PyObject_GC_UnTrack(self);
    posting_clear(self);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

/* How many instruments have a place in each list. */
static Py_ssize_t places(const Posting *self)
{
    PyObject *lists[] = {self->gates, self->quotes, self->trade_gates, self->trades, self->trade_texts};
    Py_ssize_t least = PyBytes_GET_SIZE(self->waits);

    for (size_t n = 0; n < sizeof lists / sizeof lists[0]; n++)
        if (PyList_GET_SIZE(lists[n]) < least)
            least = PyList_GET_SIZE(lists[n]);
    return least;
}

/* What will be looked at, or freed, in a moment. */
static void fetch(const Bounds *gate, PyObject *before)
{
    __builtin_prefetch(gate);
    __builtin_prefetch((const char *)gate + 64);
    __builtin_prefetch((const char *)gate + 128);
    __builtin_prefetch(before);
    __builtin_prefetch((char *)before + 64);
}

static void fetch_parts(PyObject *before)
{
    Slot *parts[] = {&BID, &ASK, &TEXT, &RECEIVED_NS};

    for (size_t n = 0; n < sizeof parts / sizeof parts[0]; n++) {
        if (Py_TYPE(before) == parts[n]->type && parts[n]->offset >= 0)
            __builtin_prefetch(*(void **)((char *)before + parts[n]->offset));
    }
}

/* In place of what was there. */
static void put(PyObject *list, Py_ssize_t at, PyObject *what)
{
    PyObject *before = PyList_GET_ITEM(list, at);

    PyList_SET_ITEM(list, at, Py_NewRef(what));
    Py_DECREF(before);
}

static PyObject *posting_post(Posting *self, PyObject *quote)
{
    Py_ssize_t at = place_of(quote, &INSTRUMENT, places(self));

    if (at < 0)
        return NULL;
    Bounds *gate = (Bounds *)PyList_GET_ITEM(self->gates, at);
    PyObject *before = PyList_GET_ITEM(self->quotes, at), *last = PyList_GET_ITEM(self->trade_texts, at);
    fetch(gate, before);
    PyObject *told[5]; /* bid, ask, text, both times */
    if (!slots(quote, OF_QUOTE, 5, told))
        return NULL;
    double least = PyFloat_AsDouble(told[0]), most = PyFloat_AsDouble(told[1]);
    long long venue_ns = PyLong_AsLongLong(told[3]), now_ns = PyLong_AsLongLong(told[4]);
    if (PyErr_Occurred())
        return NULL;
    fetch_parts(before);
    if (!PyUnicode_Check(told[2]) || !PyObject_TypeCheck(gate, &BoundsType) || !PyUnicode_Check(gate->key)) {
        PyErr_SetString(PyExc_TypeError, "a quote without a text, or a gate that is none");
        return NULL;
    }
    if (!(least < most) || !bounds_admit(gate, told[2], least, most, venue_ns, now_ns))
        Py_RETURN_NONE;
    Py_INCREF(last);
    put(self->quotes, at, quote);
    return last;
}

static PyObject *posting_post_trade(Posting *self, PyObject *trade)
{
    Py_ssize_t at = place_of(trade, &TRADED, places(self));

    if (at < 0)
        return NULL;
    Bounds *gate = (Bounds *)PyList_GET_ITEM(self->trade_gates, at);
    fetch(gate, PyList_GET_ITEM(self->trades, at));
    PyObject *told[5]; /* id, price, text, both times */
    if (!slots(trade, OF_TRADE, 5, told))
        return NULL;
    double paid = PyFloat_AsDouble(told[1]);
    long long venue_ns = PyLong_AsLongLong(told[3]), now_ns = PyLong_AsLongLong(told[4]);
    if (PyErr_Occurred())
        return NULL;
    if (!PyUnicode_Check(told[0]) || !PyObject_TypeCheck(gate, &BoundsType) || !PyUnicode_Check(gate->key)) {
        PyErr_SetString(PyExc_TypeError, "a trade without an id, or a gate that is none");
        return NULL;
    }
    if (!bounds_admit(gate, told[0], paid, paid, venue_ns, now_ns))
        Py_RETURN_NONE;
    int waits = PyBytes_AS_STRING(self->waits)[at];
    if (waits && PyList_Append(self->waiting, trade) < 0)
        return NULL;
    put(self->trades, at, trade);
    put(self->trade_texts, at, told[2]);
    return PyBool_FromLong(waits);
}

static PyMethodDef METHODS[] = {
    {"post", (PyCFunction)posting_post, METH_O, NULL},
    {"post_trade", (PyCFunction)posting_post_trade, METH_O, NULL},
    {NULL, NULL, 0, NULL}};

PyTypeObject PostingType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "traderd.native.Posting",
    .tp_basicsize = sizeof(Posting),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_new = posting_new,
    .tp_dealloc = (destructor)posting_dealloc,
    .tp_traverse = (traverseproc)posting_traverse,
    .tp_clear = (inquiry)posting_clear,
    .tp_methods = METHODS,
};
