/* How often each of a number of streams has something to say, all of one stream in one place of the memory. The twin is
 * in core/staleness.py, which says why. */

#include "native.h"

#define CAP_NS 600e9
#define SAMPLES_MIN 8
#define WEIGHT 0.03
#define FADING 0.99
#define MEANS 10.0
#define PEAKS 3.0

typedef struct {
    long long newest_ns, age_ns, limit_ns, samples;
    double floor_ns, mean_ns, peak_ns;
} Habit;

typedef struct {
    PyObject_HEAD
    Py_ssize_t count;
    Habit *of;
} Habits;

static double larger(double one, double other)
{
    return one > other ? one : other;
}

static PyObject *habits_new(PyTypeObject *type, PyObject *args, PyObject *named)
{
    PyObject *told, *floors = NULL;
    Habits *self = NULL;

    if (!PyArg_ParseTuple(args, "O", &told) || (floors = PySequence_Tuple(told)) == NULL)
        return NULL;
    self = (Habits *)type->tp_alloc(type, 0);
    if (self == NULL)
        goto failed;
    self->count = PyTuple_GET_SIZE(floors);
    self->of = PyMem_Calloc(self->count ? self->count : 1, sizeof(Habit));
    if (self->of == NULL) {
        PyErr_NoMemory();
        goto failed;
    }
    for (Py_ssize_t at = 0; at < self->count; at++) {
        self->of[at].floor_ns = PyFloat_AsDouble(PyTuple_GET_ITEM(floors, at)) * 1e9;
        self->of[at].limit_ns = INT64_MAX;
    }
    if (PyErr_Occurred())
        goto failed;
    Py_DECREF(floors);
    return (PyObject *)self;
failed:
    Py_XDECREF(self);
    Py_DECREF(floors);
    return NULL;
}

static void habits_dealloc(Habits *self)
{
    PyMem_Free(self->of);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

/* A silence is over, which was as long as it was when it was looked at last. */
static void learn(Habit *of)
{
    double age_ns = (double)of->age_ns, least = 1.0 / ++of->samples;

    of->mean_ns += (age_ns - of->mean_ns) * larger(WEIGHT, least);
    of->peak_ns = larger(age_ns, of->peak_ns * FADING);
    double suspicious = larger(of->mean_ns * MEANS, of->peak_ns * PEAKS);
    if (of->samples >= SAMPLES_MIN)
        of->limit_ns = suspicious < CAP_NS ? (long long)larger(of->floor_ns, suspicious) : INT64_MAX;
}

/* Whether it is silent for too long. */
static int look(Habit *of, long long now_ns, long long heard_ns)
{
    int is_silent = 0;

    if (heard_ns > 0 && heard_ns == of->newest_ns)
        is_silent = now_ns - heard_ns > of->limit_ns;
    else if (heard_ns > 0 && of->newest_ns > 0)
        learn(of);
    of->newest_ns = heard_ns > 0 ? heard_ns : 0;
    of->age_ns = now_ns - heard_ns;
    return is_silent;
}

static PyObject *habits_look(Habits *self, PyObject *args)
{
    long long now_ns;
    Py_buffer heard;

    if (!PyArg_ParseTuple(args, "Ly*", &now_ns, &heard))
        return NULL;
    PyObject *silent = NULL;
    if (heard.len < self->count * (Py_ssize_t)sizeof(long long))
        PyErr_SetString(PyExc_ValueError, "each stream needs the time at which it was heard");
    else
        silent = PyList_New(0);
    for (Py_ssize_t at = 0; silent != NULL && at < self->count; at++) {
        long long heard_ns;
        memcpy(&heard_ns, (char *)heard.buf + at * sizeof(heard_ns), sizeof(heard_ns));
        if (!look(&self->of[at], now_ns, heard_ns))
            continue;
        PyObject *place = PyLong_FromSsize_t(at);
        if (place == NULL || PyList_Append(silent, place) < 0)
            Py_CLEAR(silent);
        Py_XDECREF(place);
    }
    PyBuffer_Release(&heard);
    return silent;
}

/* A stream by its place, or NULL with an exception set. */
static Habit *habit_at(Habits *self, PyObject *place)
{
    Py_ssize_t at = PyLong_AsSsize_t(place);

    if (at == -1 && PyErr_Occurred())
        return NULL;
    if (at < 0 || at >= self->count) {
        PyErr_SetString(PyExc_IndexError, "no such stream");
        return NULL;
    }
    return &self->of[at];
}

static PyObject *habits_interrupted(Habits *self, PyObject *told)
{
    PyObject *places = PySequence_Tuple(told);

    for (Py_ssize_t n = 0; places != NULL && n < PyTuple_GET_SIZE(places); n++) {
        Habit *of = habit_at(self, PyTuple_GET_ITEM(places, n));
        if (of == NULL)
            Py_CLEAR(places);
        else
            of->newest_ns = 0;
    }
    if (places == NULL)
        return NULL;
    Py_DECREF(places);
    Py_RETURN_NONE;
}

static PyObject *habits_limit_ns(Habits *self, PyObject *place)
{
    Habit *of = habit_at(self, place);

    return of == NULL ? NULL : PyLong_FromLongLong(of->limit_ns);
}

static PyMethodDef METHODS[] = {
    {"look", (PyCFunction)habits_look, METH_VARARGS, NULL},
    {"interrupted", (PyCFunction)habits_interrupted, METH_O, NULL},
    {"limit_ns", (PyCFunction)habits_limit_ns, METH_O, NULL},
    {NULL, NULL, 0, NULL}};

PyTypeObject HabitsType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "traderd.native.Habits",
    .tp_basicsize = sizeof(Habits),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = habits_new,
    .tp_dealloc = (destructor)habits_dealloc,
    .tp_methods = METHODS,
};
