/* Objects -> lists of their attributes. The twin is in adapters/columns.py. */

#include "slots.h"

#define NAMES_MAX 4 /* of one path: instrument.index has two */

/* One attribute's name, and where the newest type that was met keeps it. */
typedef struct {
    PyObject *name;
    PyTypeObject *type; /* borrowed: the object at hand keeps it alive */
    Py_ssize_t offset;  /* -1: not in a slot */
} Name;

/* A new reference. A slot is read where it lies: a method call for each would cost ten times as much. */
static PyObject *attribute(PyObject *object, Name *name)
{
    if (Py_TYPE(object) != name->type) {
        name->type = Py_TYPE(object);
        name->offset = slot_offset(name->type, name->name);
    }
    if (name->offset >= 0) {
        PyObject *value = *(PyObject **)((char *)object + name->offset);
        if (value != NULL)
            return Py_NewRef(value);
    }
    return PyObject_GetAttr(object, name->name);
}

static PyObject *followed(PyObject *object, Name *names, int count)
{
    PyObject *value = Py_NewRef(object);

    for (int n = 0; n < count && value != NULL; n++) {
        PyObject *next = attribute(value, &names[n]);
        Py_DECREF(value);
        value = next;
    }
    return value;
}

static PyObject *column(PyObject *objects, Name *names, int count)
{
    Py_ssize_t size = PyList_GET_SIZE(objects);
    PyObject *values = PyList_New(size);

    for (Py_ssize_t at = 0; values != NULL && at < size; at++) {
        PyObject *value = at < PyList_GET_SIZE(objects) ? followed(PyList_GET_ITEM(objects, at), names, count) : NULL;
        if (value != NULL)
            PyList_SET_ITEM(values, at, value);
        else {
            if (!PyErr_Occurred()) /* somebody's code ran meanwhile */
                PyErr_SetString(PyExc_RuntimeError, "the list became shorter");
            Py_CLEAR(values);
        }
    }
    return values;
}

/* A path's column: its names are parted by dots. */
static PyObject *column_of(PyObject *objects, PyObject *path)
{
    PyObject *parts = PyUnicode_Check(path) ? PyObject_CallMethod(path, "split", "s", ".") : NULL;
    Name names[NAMES_MAX] = {{0}};

    if (parts == NULL || PyList_GET_SIZE(parts) > NAMES_MAX) {
        Py_XDECREF(parts);
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_ValueError, "a path is a str of at most four names");
        return NULL;
    }
    int count = (int)PyList_GET_SIZE(parts);
    for (int n = 0; n < count; n++)
        names[n].name = PyList_GET_ITEM(parts, n);
    PyObject *values = column(objects, names, count);
    Py_DECREF(parts);
    return values;
}

PyObject *columns_of(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    if (count != 2 || !PyList_Check(args[0]) || !PyTuple_Check(args[1])) {
        PyErr_SetString(PyExc_TypeError, "columns_of takes a list of objects and a tuple of paths");
        return NULL;
    }
    PyObject *columns = PyList_New(0);
    for (Py_ssize_t n = 0; columns != NULL && n < PyTuple_GET_SIZE(args[1]); n++) {
        PyObject *values = column_of(args[0], PyTuple_GET_ITEM(args[1], n));
        if (values == NULL || PyList_Append(columns, values) < 0)
            Py_CLEAR(columns);
        Py_XDECREF(values);
    }
    return columns;
}
