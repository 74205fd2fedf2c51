/* Attributes of objects with slots, read where they lie: a method call for each would cost ten times as much. */

#ifndef TRADERD_SLOTS_H
#define TRADERD_SLOTS_H

#include "native.h"

/* One attribute's name, and where the newest type that was met keeps it. */
typedef struct {
    const char *name;
    PyTypeObject *type; /* a reference of ours, or NULL */
    Py_ssize_t offset;
} Slot;

/* Where a type keeps an attribute; -1 if that isn't in a slot. */
Py_ssize_t slot_offset(PyTypeObject *type, PyObject *name);

/* Borrowed from the object; NULL with an exception set where it has no such slot, or nothing in it. */
PyObject *slot(PyObject *object, Slot *of);

/* Several at once; 0 with an exception set where there isn't each of them. */
int slots(PyObject *object, Slot *const *of, int count, PyObject **values);

/* The index of an event's instrument, if it is below `count`; -1 with an exception set. `of` names the instrument. */
Py_ssize_t place_of(PyObject *event, Slot *of, Py_ssize_t count);

/* The same ahead of time: -1 without an exception for what isn't of the types that were met last. */
Py_ssize_t likely_place_of(PyObject *event, const Slot *of, Py_ssize_t count);

#endif
