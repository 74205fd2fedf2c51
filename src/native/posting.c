/* A quote that is as they all are, onto the board: in one go, so that what it needs of its instrument comes from the memory
 * together and not piece by piece. The twin is in core/posting.py. */

#include "bounds.h"
#include "slots.h"

typedef struct {
    PyObject_HEAD
    PyObject *gates, *quotes, *trade_texts; /* lists by the instrument's index */
} Posting;

static Slot INSTRUMENT = {"instrument"}, INDEX = {"index"}, BID = {"bid"}, ASK = {"ask"}, TEXT = {"text"},
            VENUE_NS = {"time_venue_ns"}, RECEIVED_NS = {"time_received_ns"};

static PyObject *posting_new(PyTypeObject *type, PyObject *args, PyObject *named)
{
    PyObject *gates, *quotes, *trade_texts;

    if (!PyArg_ParseTuple(args, "O!O!O!", &PyList_Type, &gates, &PyList_Type, &quotes, &PyList_Type, &trade_texts))
        return NULL;
    Posting *self = (Posting *)type->tp_alloc(type, 0);
    if (self != NULL) {
        self->gates = Py_NewRef(gates);
        self->quotes = Py_NewRef(quotes);
        self->trade_texts = Py_NewRef(trade_texts);
    }
    return (PyObject *)self;
}

static int posting_traverse(Posting *self, visitproc visit, void *arg)
{
    Py_VISIT(self->gates);
    Py_VISIT(self->quotes);
    Py_VISIT(self->trade_texts);
    return 0;
}

static int posting_clear(Posting *self)
{
    Py_CLEAR(self->gates);
    Py_CLEAR(self->quotes);
    Py_CLEAR(self->trade_texts);
    return 0;
}

static void posting_dealloc(Posting *self)
{
    PyObject_GC_UnTrack(self);
    posting_clear(self);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

/* The place in the lists; -1 with an exception set. */
static Py_ssize_t place_of(Posting *self, PyObject *quote)
{
    PyObject *instrument = slot(quote, &INSTRUMENT), *index = instrument == NULL ? NULL : slot(instrument, &INDEX);
    Py_ssize_t at = index == NULL ? -1 : PyLong_AsSsize_t(index);

    if (at >= 0 && at < PyList_GET_SIZE(self->gates) && at < PyList_GET_SIZE(self->quotes)
        && at < PyList_GET_SIZE(self->trade_texts))
        return at;
    if (!PyErr_Occurred())
        PyErr_SetString(PyExc_IndexError, "an instrument without a place");
    return -1;
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

static PyObject *posting_post(Posting *self, PyObject *quote)
{
    Py_ssize_t at = place_of(self, quote);

    if (at < 0)
        return NULL;
    Bounds *gate = (Bounds *)PyList_GET_ITEM(self->gates, at);
    PyObject *before = PyList_GET_ITEM(self->quotes, at), *last = PyList_GET_ITEM(self->trade_texts, at);
    fetch(gate, before);
    PyObject *bid = slot(quote, &BID), *ask = slot(quote, &ASK), *text = slot(quote, &TEXT),
             *venue = slot(quote, &VENUE_NS), *received = slot(quote, &RECEIVED_NS);
    if (bid == NULL || ask == NULL || text == NULL || venue == NULL || received == NULL)
        return NULL;
    double least = PyFloat_AsDouble(bid), most = PyFloat_AsDouble(ask);
    long long venue_ns = PyLong_AsLongLong(venue), now_ns = PyLong_AsLongLong(received);
    if (PyErr_Occurred())
        return NULL;
    fetch_parts(before);
    if (!PyUnicode_Check(text) || !PyObject_TypeCheck(gate, &BoundsType) || !PyUnicode_Check(gate->key)) {
        PyErr_SetString(PyExc_TypeError, "a quote without a text, or a gate that is none");
        return NULL;
    }
    if (!(least < most) || !bounds_admit(gate, text, least, most, venue_ns, now_ns))
        Py_RETURN_NONE;
    Py_INCREF(last);
    PyList_SET_ITEM(self->quotes, at, Py_NewRef(quote));
    Py_DECREF(before);
    return last;
}

static PyMethodDef METHODS[] = {{"post", (PyCFunction)posting_post, METH_O, NULL}, {NULL, NULL, 0, NULL}};

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
