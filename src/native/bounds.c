/* Whether a tick is as they all are, of one instrument: all that is asked of it in one place of the memory. The twin is
 * in core/bounds.py. */

#include "native.h"
#include <structmember.h>

typedef struct {
    PyObject_HEAD
    double low, high;
    long long behind_ns, ahead_ns, due_ns;
    PyObject *key;
} Bounds;

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
    if (!(self->low <= least && most <= self->high) || PyUnicode_Compare(args[0], self->key) == 0
        || (venue_ns && !(self->behind_ns <= venue_ns - now_ns && venue_ns - now_ns <= self->ahead_ns)))
        return PyLong_FromLong(0);
    PyObject *before = self->key;
    self->key = Py_NewRef(args[0]);
    Py_DECREF(before);
    return PyLong_FromLong(now_ns >= self->due_ns ? 2 : 1);
}

static PyMethodDef METHODS[] = {
    {"admits", (PyCFunction)(void (*)(void))bounds_admits, METH_FASTCALL, NULL}, {NULL, NULL, 0, NULL}};

static PyMemberDef MEMBERS[] = {
    {"low", T_DOUBLE, offsetof(Bounds, low), 0, NULL},
    {"high", T_DOUBLE, offsetof(Bounds, high), 0, NULL},
    {"behind_ns", T_LONGLONG, offsetof(Bounds, behind_ns), 0, NULL},
    {"ahead_ns", T_LONGLONG, offsetof(Bounds, ahead_ns), 0, NULL},
    {"due_ns", T_LONGLONG, offsetof(Bounds, due_ns), 0, NULL},
    {"key", T_OBJECT_EX, offsetof(Bounds, key), 0, NULL},
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
