/* A gate's bounds, for who asks them in C. */

#ifndef TRADERD_BOUNDS_H
#define TRADERD_BOUNDS_H

#include "native.h"

typedef struct {
    double alpha, floor, floor_factor, sigmas;
    long long sample_ns, warmup;
} Terms;

typedef struct {
    PyObject_HEAD
    double low, high;
    long long behind_ns, ahead_ns, due_ns;
    PyObject *key;
    double reference, variance;
    long long sampled_ns, samples;
    Terms terms;
} Bounds;

/* Whether a tick is within them; its key is kept then, and what is due is learned. The key and the bounds' own are str. */
int bounds_admit(Bounds *self, PyObject *key, double least, double most, long long venue_ns, long long now_ns);

#endif
