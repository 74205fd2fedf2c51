/* Decimals as texts: what a venue sends and what is stored, read without rounding. */

#ifndef TRADERD_DECIMALS_H
#define TRADERD_DECIMALS_H

#include "native.h"

#define TOLD_DIGITS_MAX 32 /* on either side of the dot, as in venues/numbers.py */
#define EXACT_DIGITS_MAX 15 /* so many digits are an integer that a double holds exactly */
#define EXACT_PLACES_MAX 22 /* and so is the power of ten: then their quotient is the nearest double */

static const double POWERS[EXACT_PLACES_MAX + 1] = {
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

typedef struct {
    const char *text;
    Py_ssize_t size;
    Py_ssize_t whole;   /* digits before the dot */
    Py_ssize_t places;  /* digits behind it */
    int positive;       /* whether any digit isn't 0 */
} Decimal;

/* Plain digits with at most one dot between them; 0 if it is anything else. */
static inline int read_decimal(const char *text, Py_ssize_t size, Decimal *decimal)
{
    Py_ssize_t dot = -1;
    char any = 0;

    for (Py_ssize_t at = 0; at < size; at++) {
        unsigned char digit = (unsigned char)text[at] - '0';
        if (digit <= 9)
            any |= digit;
        else if (text[at] == '.' && dot < 0)
            dot = at;
        else
            return 0;
    }
    decimal->text = text;
    decimal->size = size;
    decimal->whole = dot < 0 ? size : dot;
    decimal->places = dot < 0 ? 0 : size - dot - 1;
    decimal->positive = any != 0;
    return decimal->whole > 0 && (dot < 0 || decimal->places > 0);
}

/* The same of a str, within the digits that a venue may send. */
static inline int read_told(PyObject *told, Decimal *decimal)
{
    if (!PyUnicode_Check(told) || !PyUnicode_IS_COMPACT_ASCII(told))
        return 0;
    return read_decimal((const char *)PyUnicode_1BYTE_DATA(told), PyUnicode_GET_LENGTH(told), decimal)
        && decimal->whole <= TOLD_DIGITS_MAX && decimal->places <= TOLD_DIGITS_MAX;
}

/* What float(text) gives; -1.0 with an exception set where that fails. */
static inline double as_double(const Decimal *decimal)
{
    if (decimal->whole + decimal->places <= EXACT_DIGITS_MAX) {
        int64_t digits = 0;
        for (Py_ssize_t at = 0; at < decimal->size; at++)
            if (decimal->text[at] != '.')
                digits = digits * 10 + (decimal->text[at] - '0');
        return (double)digits / POWERS[decimal->places];
    }
    return PyOS_string_to_double(decimal->text, NULL, NULL); /* a str's bytes end in a NUL */
}

static inline PyObject *joined(const Decimal *decimals, int count)
{
    Py_ssize_t size = count - 1;
    for (int n = 0; n < count; n++)
        size += decimals[n].size;
    PyObject *text = PyUnicode_New(size, 127);
    if (text == NULL)
        return NULL;
    char *to = (char *)PyUnicode_1BYTE_DATA(text);
    for (int n = 0; n < count; n++) {
        if (n)
            *to++ = ',';
        memcpy(to, decimals[n].text, decimals[n].size);
        to += decimals[n].size;
    }
    return text;
}

#endif
