/* A websocket's bytes -> its frames. The twin is in adapters/websocket_frames.py. */

#include "native.h"

#define WHOLE_TEXT 0x81 /* RFC 6455, section 5.2: the final part, which is the only one, of a text */

PyObject *whole_texts(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    if (count != 3 || !PyBytes_Check(args[0])) {
        PyErr_SetString(PyExc_TypeError, "whole_texts takes bytes, a place in them, and the most that a frame may have");
        return NULL;
    }
    const unsigned char *bytes = (const unsigned char *)PyBytes_AS_STRING(args[0]);
    Py_ssize_t end = PyBytes_GET_SIZE(args[0]);
    Py_ssize_t at = PyLong_AsSsize_t(args[1]), most = PyLong_AsSsize_t(args[2]);
    if (PyErr_Occurred())
        return NULL;
    if (at < 0) {
        PyErr_SetString(PyExc_ValueError, "a place before the beginning");
        return NULL;
    }
    PyObject *frames = PyList_New(0);
    if (frames == NULL)
        return NULL;
    while (end - at >= 2 && bytes[at] == WHOLE_TEXT) {
        Py_ssize_t size = bytes[at + 1], begin = at + 2;
        if (size == 126) {
            begin = at + 4;
            if (begin > end)
                break;
            size = (Py_ssize_t)bytes[at + 2] << 8 | bytes[at + 3];
        }
        else if (size > 126) /* longer, or masked: not nearly every frame */
            break;
        if (size > most || size > end - begin)
            break;
        PyObject *frame = PyBytes_FromStringAndSize((const char *)bytes + begin, size);
        if (frame == NULL || PyList_Append(frames, frame) < 0) {
            Py_XDECREF(frame);
            Py_DECREF(frames);
            return NULL;
        }
        Py_DECREF(frame);
        at = begin + size;
    }
    PyObject *place = PyLong_FromSsize_t(at);
    PyObject *cut = place == NULL ? NULL : PyTuple_Pack(2, frames, place);
    Py_XDECREF(place);
    Py_DECREF(frames);
    return cut;
}
