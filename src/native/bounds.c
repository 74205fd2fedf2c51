/* Whether a tick is as they all are, of one instrument: all that is asked of it in one place of the memory. The twin is
 * in core/bounds.py. */

#include "bounds.h"
#include <math.h>
#include <structmember.h>

#define EAGER 8
#define LENGTHS_MAX 40

static PyObject *bounds_new(PyTypeObject *type, PyObject *args, PyObject *named)
{
    Bounds *self = (Bounds *)type->tp_alloc(type, 0);

    if (self != NULL && (self->key = PyUnicode_FromString("")) == NULL)
        Py_CLEAR(self);
    return (PyObject *)self;
}

static void bounds_dealloc(Bounds *self)
{
    Py_XDECREF(self->key);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

/* A believed price is due: the twin says why. */
static void learn(Bounds *self, double price, long long now_ns)
{
    const Terms *terms = &self->terms;

    if (self->reference != 0) {
        double move = log(price / self->reference), square = move * move, lengths = 1.0;
        if (0 < self->sampled_ns && self->sampled_ns < now_ns - terms->sample_ns) {
            lengths = (double)(now_ns - self->sampled_ns) / (double)terms->sample_ns;
            square /= lengths;
        }
        double band = terms->sigmas * sqrt(self->variance), most = band > terms->floor ? band : terms->floor;
        if (self->samples >= terms->warmup && square > most * most)
            square = most * most;
        self->samples++;
        double weight = terms->alpha * (lengths < LENGTHS_MAX ? lengths : LENGTHS_MAX), least = 1.0 / self->samples;
        self->variance += (weight > least ? weight : least) * (square - self->variance);
    }
    long long wait_ns = terms->sample_ns;
    if (self->samples >= terms->warmup) {
        double band = terms->sigmas * sqrt(self->variance);
        double factor = band <= terms->floor ? terms->floor_factor : exp(band < 100.0 ? band : 100.0);
        self->low = price / factor;
        self->high = price * factor;
        if (now_ns - self->due_ns >= terms->sample_ns / EAGER)
            wait_ns = LENGTHS_MAX * terms->sample_ns;
    }
    self->reference = price;
    self->sampled_ns = now_ns;
    self->due_ns = now_ns + wait_ns;
}

int bounds_admit(Bounds *self, PyObject *key, double least, double most, long long venue_ns, long long now_ns)
{
    if (!(self->low <= least && most <= self->high) || PyUnicode_Compare(key, self->key) == 0
        || (venue_ns && !(self->behind_ns <= venue_ns - now_ns && venue_ns - now_ns <= self->ahead_ns)))
        return 0;
    PyObject *before = self->key;
    self->key = Py_NewRef(key);
    Py_DECREF(before);
    if (now_ns >= self->due_ns)
        learn(self, (least + most) / 2, now_ns);
    return 1;
}

static PyObject *bounds_admits(Bounds *self, PyObject *const *args, Py_ssize_t count)
{
    if (count != 5 || !PyUnicode_Check(args[0]) || self->key == NULL || !PyUnicode_Check(self->key)) {
        PyErr_SetString(PyExc_TypeError, "admits takes a key, two prices, and the venue's time and ours");
        return NULL;
    }
    double least = PyFloat_AsDouble(args[1]), most = PyFloat_AsDouble(args[2]);
    long long venue_ns = PyLong_AsLongLong(args[3]), now_ns = PyLong_AsLongLong(args[4]);
    if (PyErr_Occurred())
        return NULL;
    return PyBool_FromLong(bounds_admit(self, args[0], least, most, venue_ns, now_ns));
}

static PyObject *bounds_learn(Bounds *self, PyObject *const *args, Py_ssize_t count)
{
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "learn takes a price and a time");
        return NULL;
    }
    double price = PyFloat_AsDouble(args[0]);
    long long now_ns = PyLong_AsLongLong(args[1]);
    if (PyErr_Occurred())
        return NULL;
    learn(self, price, now_ns);
    Py_RETURN_NONE;
}

static PyObject *bounds_set_terms(Bounds *self, PyObject *args)
{
    Terms terms;

    if (!PyArg_ParseTuple(args, "ddddLL", &terms.alpha, &terms.floor, &terms.floor_factor, &terms.sigmas,
                          &terms.sample_ns, &terms.warmup))
        return NULL;
    self->terms = terms;
    Py_RETURN_NONE;
}

static PyMethodDef METHODS[] = {
    {"admits", (PyCFunction)(void (*)(void))bounds_admits, METH_FASTCALL, NULL},
    {"learn", (PyCFunction)(void (*)(void))bounds_learn, METH_FASTCALL, NULL},
    {"set_terms", (PyCFunction)bounds_set_terms, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL}};

static PyMemberDef MEMBERS[] = {
    {"low", T_DOUBLE, offsetof(Bounds, low), 0, NULL},
    {"high", T_DOUBLE, offsetof(Bounds, high), 0, NULL},
    {"behind_ns", T_LONGLONG, offsetof(Bounds, behind_ns), 0, NULL},
    {"ahead_ns", T_LONGLONG, offsetof(Bounds, ahead_ns), 0, NULL},
    {"due_ns", T_LONGLONG, offsetof(Bounds, due_ns), 0, NULL},
    {"key", T_OBJECT_EX, offsetof(Bounds, key), 0, NULL},
    {"reference", T_DOUBLE, offsetof(Bounds, reference), 0, NULL},
    {"variance", T_DOUBLE, offsetof(Bounds, variance), 0, NULL},
    {"sampled_ns", T_LONGLONG, offsetof(Bounds, sampled_ns), 0, NULL},
    {"samples", T_LONGLONG, offsetof(Bounds, samples), 0, NULL},
    {NULL, 0, 0, 0, NULL}};

PyTypeObject BoundsType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "traderd.native.Bounds",
    .tp_basicsize = sizeof(Bounds),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .tp_new = bounds_new,
    .tp_dealloc = (destructor)bounds_dealloc,
    .tp_methods = METHODS,
    .tp_members = MEMBERS,
};
