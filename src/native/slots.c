/* See slots.h. */

#include "slots.h"
#include <structmember.h>

Py_ssize_t slot_offset(PyTypeObject *type, PyObject *name)
{
    PyObject *found = PyObject_GetAttr((PyObject *)type, name);
    Py_ssize_t offset = -1;

    if (found == NULL)
        PyErr_Clear();
    else if (Py_IS_TYPE(found, &PyMemberDescr_Type)) {
        PyMemberDef *member = ((PyMemberDescrObject *)found)->d_member;
        if (member->type == T_OBJECT_EX)
            offset = member->offset;
    }
    Py_XDECREF(found);
    return offset;
}

static int look_up(Slot *of, PyTypeObject *type)
{
    PyObject *name = PyUnicode_InternFromString(of->name);

    if (name == NULL)
        return 0;
    Py_XSETREF(of->type, (PyTypeObject *)Py_NewRef(type));
    of->offset = slot_offset(type, name);
    Py_DECREF(name);
    return 1;
}

PyObject *slot(PyObject *object, Slot *of)
{
    if (Py_TYPE(object) != of->type && !look_up(of, Py_TYPE(object)))
        return NULL;
    PyObject *value = of->offset < 0 ? NULL : *(PyObject **)((char *)object + of->offset);
    if (value == NULL)
        PyErr_Format(PyExc_TypeError, "%s has no %s", Py_TYPE(object)->tp_name, of->name);
    return value;
}

int slots(PyObject *object, Slot *const *of, int count, PyObject **values)
{
    for (int n = 0; n < count; n++)
        if ((values[n] = slot(object, of[n])) == NULL)
            return 0;
    return 1;
}

static Slot INDEX = {"index"};

Py_ssize_t place_of(PyObject *event, Slot *of, Py_ssize_t count)
{
    PyObject *instrument = slot(event, of), *index = instrument == NULL ? NULL : slot(instrument, &INDEX);
    Py_ssize_t at = index == NULL ? -1 : PyLong_AsSsize_t(index);

    if (at >= 0 && at < count)
        return at;
    if (!PyErr_Occurred())
        PyErr_SetString(PyExc_IndexError, "an instrument without a place");
    return -1;
}

static PyObject *likely(PyObject *object, const Slot *of)
{
    return object == NULL || Py_TYPE(object) != of->type || of->offset < 0 ? NULL
                                                                          : *(PyObject **)((char *)object + of->offset);
}

Py_ssize_t likely_place_of(PyObject *event, const Slot *of, Py_ssize_t count)
{
    PyObject *index = likely(likely(event, of), &INDEX);
    Py_ssize_t at = index != NULL && PyLong_CheckExact(index) && Py_ABS(Py_SIZE(index)) <= 1 ? PyLong_AsSsize_t(index) : -1;

    return at < count ? at : -1;
}
