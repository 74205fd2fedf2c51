/* A venue's numbers: checked, joined, and as floats. The twins are in venues/numbers.py. */

#include "decimals.h"

PyObject *quote_told(PyObject *module, PyObject *const *told, Py_ssize_t count)
{
    Decimal decimals[4];

    if (count != 4) {
        PyErr_SetString(PyExc_TypeError, "quote_told takes bid, bid size, ask and ask size");
        return NULL;
    }
    for (int n = 0; n < 4; n++)
        if (!read_told(told[n], &decimals[n]) || (n % 2 == 0 && !decimals[n].positive))
            Py_RETURN_NONE;
    double bid = as_double(&decimals[0]), ask = as_double(&decimals[2]);
    if (PyErr_Occurred())
        return NULL;
    PyObject *text = joined(decimals, 4);
    return text == NULL ? NULL : Py_BuildValue("Ndd", text, bid, ask);
}

PyObject *trade_told(PyObject *module, PyObject *const *told, Py_ssize_t count)
{
    Decimal decimals[2];

    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "trade_told takes price and quantity");
        return NULL;
    }
    if (!read_told(told[0], &decimals[0]) || !decimals[0].positive || !read_told(told[1], &decimals[1]))
        Py_RETURN_NONE;
    double price = as_double(&decimals[0]);
    if (PyErr_Occurred())
        return NULL;
    PyObject *text = joined(decimals, 2);
    return text == NULL ? NULL : Py_BuildValue("Nd", text, price);
}

PyObject *are_levels(PyObject *module, PyObject *levels)
{
    Decimal price, quantity;

    if (!PyList_Check(levels)) {
        PyErr_SetString(PyExc_TypeError, "levels are a list");
        return NULL;
    }
    for (Py_ssize_t n = 0; n < PyList_GET_SIZE(levels); n++) {
        PyObject *level = PyList_GET_ITEM(levels, n);
        if (!PyTuple_Check(level) || PyTuple_GET_SIZE(level) != 2) {
            PyErr_SetString(PyExc_TypeError, "a level is a price and a quantity");
            return NULL;
        }
        if (!read_told(PyTuple_GET_ITEM(level, 0), &price) || !price.positive
            || !read_told(PyTuple_GET_ITEM(level, 1), &quantity))
            Py_RETURN_FALSE;
    }
    Py_RETURN_TRUE;
}
