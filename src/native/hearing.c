/* The frames of one read, as far as they are quotes and trades of streams that flow: read, noted as heard, and handed on.
 * The twin is in core/hearing.py. */

#include "slots.h"

typedef struct {
    PyObject_HEAD
    Py_buffer quote_slots, trade_slots, heard_ns, last; /* arrays, which are somebody else's too; `last` may be missing */
    PyObject *behind, *quote, *trade; /* a dict, if there is `last`; the two types */
} Hearing;

static Slot OF_QUOTE = {"instrument"}, OF_TRADE = {"instrument"}, TRADE_ID = {"trade_id"};

static int view(PyObject *array, Py_buffer *buffer, Py_ssize_t itemsize, int flags)
{
    if (PyObject_GetBuffer(array, buffer, PyBUF_FORMAT | PyBUF_ND | flags) < 0)
        return 0;
    if (buffer->itemsize == itemsize)
        return 1;
    PyErr_SetString(PyExc_TypeError, "an array of other numbers");
    return 0;
}

static int view_numbers(Hearing *self, PyObject *numbers)
{
    PyObject *last = PyObject_GetAttrString(numbers, "last");
    int viewed = last != NULL && view(last, &self->last, sizeof(long long), PyBUF_WRITABLE);

    Py_XDECREF(last);
    self->behind = viewed ? PyObject_GetAttrString(numbers, "behind") : NULL;
    if (self->behind != NULL && !PyDict_Check(self->behind))
        PyErr_SetString(PyExc_TypeError, "numbers without a dict of those behind");
    return !PyErr_Occurred();
}

static PyObject *hearing_new(PyTypeObject *type, PyObject *args, PyObject *named)
{
    PyObject *quote_slots, *trade_slots, *heard_ns, *numbers, *quote, *trade;

    if (!PyArg_ParseTuple(args, "OOOOOO", &quote_slots, &trade_slots, &heard_ns, &numbers, &quote, &trade))
        return NULL;
    Hearing *self = (Hearing *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->quote = Py_NewRef(quote);
    self->trade = Py_NewRef(trade);
    if (!view(quote_slots, &self->quote_slots, sizeof(int), 0) || !view(trade_slots, &self->trade_slots, sizeof(int), 0)
        || !view(heard_ns, &self->heard_ns, sizeof(long long), PyBUF_WRITABLE)
        || (numbers != Py_None && !view_numbers(self, numbers)))
        Py_CLEAR(self);
    return (PyObject *)self;
}

static int hearing_traverse(Hearing *self, visitproc visit, void *arg)
{
    Py_VISIT(self->behind);
    Py_VISIT(self->quote);
    Py_VISIT(self->trade);
    return 0;
}

static int hearing_clear(Hearing *self)
{
    Py_CLEAR(self->behind);
    Py_CLEAR(self->quote);
    Py_CLEAR(self->trade);
    return 0;
}

static void hearing_dealloc(Hearing *self)
{
    PyObject_GC_UnTrack(self);
    PyBuffer_Release(&self->quote_slots);
    PyBuffer_Release(&self->trade_slots);
    PyBuffer_Release(&self->heard_ns);
    PyBuffer_Release(&self->last);
    hearing_clear(self);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static Py_ssize_t length(const Py_buffer *buffer)
{
    return buffer->len / buffer->itemsize;
}

/* The stream's place in `heard_ns`; -1 for what nobody asked for, -2 with an exception set. */
static Py_ssize_t stream_of(PyObject *event, Slot *of, const Py_buffer *slots)
{
    Py_ssize_t at = place_of(event, of, length(slots));

    return at < 0 ? -2 : ((const int *)slots->buf)[at];
}

/* A number of plain digits; -1 for anything else. */
static long long number_of(PyObject *text)
{
    long long number = 0;

    if (!PyUnicode_Check(text) || !PyUnicode_IS_COMPACT_ASCII(text))
        return -1;
    const Py_UCS1 *digits = PyUnicode_1BYTE_DATA(text);
    Py_ssize_t size = PyUnicode_GET_LENGTH(text);
    for (Py_ssize_t at = 0; at < size; at++) {
        if (digits[at] < '0' || digits[at] > '9')
            return -1;
        number = number * 10 + (digits[at] - '0');
    }
    return size && size <= 18 ? number : -1;
}

/* Whether the trade is the stream's next, which is noted then; -1 with an exception set. */
static int follows(Hearing *self, PyObject *trade, Py_ssize_t at)
{
    if (self->last.buf == NULL)
        return 1;
    PyObject *id = slot(trade, &TRADE_ID);
    if (id == NULL)
        return -1;
    long long number = number_of(id), *last = at < length(&self->last) ? (long long *)self->last.buf + at : NULL;
    if (number < 0 || last == NULL || PyDict_GET_SIZE(self->behind) || (*last >= 0 && number != *last + 1))
        return 0;
    *last = number;
    return 1;
}

/* 1, 0 for what isn't a usual quote or trade of a stream that flows, -1 with an exception set. */
static int hear(Hearing *self, PyObject *event, long long now_ns)
{
    int is_trade = (PyObject *)Py_TYPE(event) == self->trade;

    if (!is_trade && (PyObject *)Py_TYPE(event) != self->quote)
        return 0;
    Py_ssize_t at = is_trade ? stream_of(event, &OF_TRADE, &self->trade_slots)
                             : stream_of(event, &OF_QUOTE, &self->quote_slots);
    if (at < 0)
        return at < -1 ? -1 : 0;
    long long *heard_ns = at < length(&self->heard_ns) ? (long long *)self->heard_ns.buf + at : NULL;
    if (heard_ns == NULL || *heard_ns <= 0)
        return 0;
    int usual = is_trade ? follows(self, event, at) : 1;
    if (usual > 0)
        *heard_ns = now_ns;
    return usual;
}

static PyObject *hearing_hear(Hearing *self, PyObject *const *args, Py_ssize_t count)
{
    long long now_ns = count == 2 ? PyLong_AsLongLong(args[1]) : -1;

    if (count != 2)
        PyErr_SetString(PyExc_TypeError, "hear takes an event and the time");
    int usual = PyErr_Occurred() ? -1 : hear(self, args[0], now_ns);
    return usual < 0 ? NULL : PyBool_FromLong(usual);
}

/* What the first reader that can makes of a frame; None if none can. */
static PyObject *event_of(PyObject *readers, PyObject *frame, PyObject *now_ns)
{
    PyObject *arguments[] = {frame, now_ns};

    for (Py_ssize_t n = 0; n < PyTuple_GET_SIZE(readers); n++) {
        PyObject *event = PyObject_Vectorcall(PyTuple_GET_ITEM(readers, n), arguments, 2, NULL);
        if (event != Py_None)
            return event;
        Py_DECREF(event);
    }
    return Py_NewRef(Py_None);
}

/* As `hear`, of a frame; the event is among those that are ready then. */
static int take_one(Hearing *self, PyObject *frame, long long now_ns, PyObject *readers, PyObject *ready)
{
    PyObject *received = PyLong_FromLongLong(now_ns), *event = received == NULL ? NULL : event_of(readers, frame, received);
    int usual = event == NULL ? -1 : hear(self, event, now_ns);

    if (usual > 0 && PyList_Append(ready, event) < 0)
        usual = -1;
    Py_XDECREF(event);
    Py_XDECREF(received);
    return usual;
}

static PyObject *hearing_take(Hearing *self, PyObject *const *args, Py_ssize_t count)
{
    if (count != 5 || !PyList_Check(args[0]) || !PyTuple_Check(args[3]) || !PyList_Check(args[4])) {
        PyErr_SetString(PyExc_TypeError, "take takes a list of frames, a time, a place, readers, and a list");
        return NULL;
    }
    long long received_ns = PyLong_AsLongLong(args[1]);
    Py_ssize_t at = PyLong_AsSsize_t(args[2]);
    if (PyErr_Occurred())
        return NULL;
    for (; at >= 0 && at < PyList_GET_SIZE(args[0]); at++) {
        PyObject *frame = Py_NewRef(PyList_GET_ITEM(args[0], at));
        int usual = take_one(self, frame, received_ns + at, args[3], args[4]);
        Py_DECREF(frame);
        if (usual < 0)
            return NULL;
        if (!usual)
            break;
    }
    return PyLong_FromSsize_t(at);
}

static PyMethodDef METHODS[] = {
    {"hear", (PyCFunction)(void (*)(void))hearing_hear, METH_FASTCALL, NULL},
    {"take", (PyCFunction)(void (*)(void))hearing_take, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL}};

PyTypeObject HearingType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "traderd.native.Hearing",
    .tp_basicsize = sizeof(Hearing),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_new = hearing_new,
    .tp_dealloc = (destructor)hearing_dealloc,
    .tp_traverse = (traverseproc)hearing_traverse,
    .tp_clear = (inquiry)hearing_clear,
    .tp_methods = METHODS,
};
