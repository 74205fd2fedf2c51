/* What the parts of traderd.native share. */

#ifndef TRADERD_NATIVE_H
#define TRADERD_NATIVE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

PyObject *whole_texts(PyObject *module, PyObject *const *args, Py_ssize_t count);
PyObject *quote_told(PyObject *module, PyObject *const *told, Py_ssize_t count);
PyObject *trade_told(PyObject *module, PyObject *const *told, Py_ssize_t count);
PyObject *are_levels(PyObject *module, PyObject *levels);
PyObject *columns_of(PyObject *module, PyObject *const *args, Py_ssize_t count);
PyObject *copy_rows(PyObject *module, PyObject *args);
extern PyTypeObject FormType, BoundsType, TradedType, CandlesType, HabitsType, HearingType, PostingType;

#endif
