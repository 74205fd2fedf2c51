/* The steps that every tick takes and that cost most in Python, once more in C: the module `traderd.native`.
 *
 *   frames.c      a websocket's bytes -> its frames
 *   told.c        a venue's decimals -> checked, joined, and floats; the levels of book messages checked
 *   forms.c       a frame of the form that nearly all have -> a quote or a trade
 *   bounds.c      whether a tick is as they all are
 *   posting.c     a quote that is, onto the board
 *   sums.c        trades -> what they come to, exactly
 *   traded.c      the same as an object
 *   candle_bars.c one instrument's bars, as long as its trades come in order
 *   candles.c     the same of all instruments
 *   hearing.c     the frames of one read -> the quotes and trades of streams that flow
 *   habits.c      which streams have been silent for longer than is usual
 *   columns.c     objects -> lists of their attributes
 *   copy_rows.c   columns -> rows of PostgreSQL's binary COPY format
 *
 * Each has a twin in Python, which says in full what it does and serves where no C compiler was at hand; the tests hold
 * the two against each other. Everything read here comes from outside: no length is believed that isn't checked against
 * what is there.
 */

#include "native.h"

static PyMethodDef FUNCTIONS[] = {
    {"whole_texts", (PyCFunction)(void (*)(void))whole_texts, METH_FASTCALL, NULL},
    {"quote_told", (PyCFunction)(void (*)(void))quote_told, METH_FASTCALL, NULL},
    {"trade_told", (PyCFunction)(void (*)(void))trade_told, METH_FASTCALL, NULL},
    {"are_levels", are_levels, METH_O, NULL},
    {"columns_of", (PyCFunction)(void (*)(void))columns_of, METH_FASTCALL, NULL},
    {"copy_rows", copy_rows, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL}};

static struct PyModuleDef MODULE = {
    PyModuleDef_HEAD_INIT, "traderd.native", "See native.pyi.", -1, FUNCTIONS, NULL, NULL, NULL, NULL};

static PyTypeObject *const TYPES[] = {
    &FormType, &HearingType, &BoundsType, &PostingType, &TradedType, &CandlesType, &HabitsType};

PyMODINIT_FUNC PyInit_native(void)
{
    PyObject *module = PyModule_Create(&MODULE);

    for (size_t n = 0; module != NULL && n < sizeof TYPES / sizeof TYPES[0]; n++)
        if (PyModule_AddType(module, TYPES[n]) < 0)
            Py_CLEAR(module);
    return module;
}
