/* Columns -> rows of PostgreSQL's binary COPY format. The twin is in adapters/copy_rows.py. */

#include "decimals.h"

#define EPOCH_US 946684800000000LL /* 2000-01-01, PostgreSQL's own epoch, in microseconds since 1970 */
#define WHOLE_DIGITS_MAX 28 /* as in adapters/copy_rows.py */
#define PLACES_MAX 20
#define NUMERICS_MAX 8 /* decimals in one text */
#define COLUMNS_MAX 64

typedef struct {
    char *bytes;
    Py_ssize_t size, room;
} Buffer;

static int make_room(Buffer *out, Py_ssize_t more)
{
    if (more <= out->room - out->size)
        return 0;
    Py_ssize_t room = (out->size + more) * 2;
    char *bytes = PyMem_Realloc(out->bytes, room);
    if (bytes == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    out->bytes = bytes;
    out->room = room;
    return 0;
}

/* Big-endian, as all of COPY is. Callers have made room. */
static void put16(Buffer *out, uint16_t value)
{
    out->bytes[out->size++] = (char)(value >> 8);
    out->bytes[out->size++] = (char)value;
}

static void put32(Buffer *out, uint32_t value)
{
    put16(out, (uint16_t)(value >> 16));
    put16(out, (uint16_t)value);
}

static void put64(Buffer *out, uint64_t value)
{
    put32(out, (uint32_t)(value >> 32));
    put32(out, (uint32_t)value);
}

#define FIELD_MAX 64 /* bytes of any field but a text, its length included */

static int put_bytes(Buffer *out, const char *bytes, Py_ssize_t size)
{
    if (make_room(out, size) < 0)
        return -1;
    memcpy(out->bytes + out->size, bytes, size);
    out->size += size;
    return 0;
}

static int put_text(Buffer *out, const char *text, Py_ssize_t size)
{
    if (make_room(out, 4) < 0)
        return -1;
    put32(out, (uint32_t)size);
    return put_bytes(out, text, size);
}

/* numeric_send's form (numeric.c): number of base-10000 digits, weight of the first, sign, display scale, digits.
 * Zeros at both ends are left out. */
static void put_numeric(Buffer *out, const Decimal *decimal)
{
    uint16_t digits[(WHOLE_DIGITS_MAX + 3) / 4 + (PLACES_MAX + 3) / 4];
    int count = 0, first = -1, last = -1;
    const char *text = decimal->text;
    Py_ssize_t whole = decimal->whole, groups = (whole + 3) / 4;

    for (Py_ssize_t group = 0; group < groups; group++) {
        Py_ssize_t to = whole - 4 * (groups - 1 - group), from = to < 4 ? 0 : to - 4;
        uint16_t digit = 0;
        for (Py_ssize_t at = from; at < to; at++)
            digit = digit * 10 + (text[at] - '0');
        digits[count++] = digit;
    }
    text += whole + 1;
    for (Py_ssize_t from = 0; from < decimal->places; from += 4) {
        uint16_t digit = 0;
        for (Py_ssize_t at = from; at < from + 4; at++)
            digit = digit * 10 + (at < decimal->places ? text[at] - '0' : 0);
        digits[count++] = digit;
    }
    for (int n = 0; n < count; n++)
        if (digits[n]) {
            first = first < 0 ? n : first;
            last = n;
        }
    int kept = first < 0 ? 0 : last - first + 1;
    put32(out, (uint32_t)(8 + 2 * kept));
    put16(out, (uint16_t)kept);
    put16(out, (uint16_t)(kept ? groups - 1 - first : 0));
    put16(out, 0);
    put16(out, (uint16_t)decimal->places);
    for (int n = 0; n < kept; n++)
        put16(out, digits[first + n]);
}

/* Decimals parted by commas, in the order of `places`, or nothing: then all are NULL. 1 if written, 0 if they can't be
 * stored. */
static int put_numerics(Buffer *out, PyObject *told, const long *places, int fields)
{
    if (!PyUnicode_Check(told) || !PyUnicode_IS_COMPACT_ASCII(told))
        return 0;
    const char *text = (const char *)PyUnicode_1BYTE_DATA(told);
    Py_ssize_t size = PyUnicode_GET_LENGTH(told);
    Decimal decimals[NUMERICS_MAX];

    if (make_room(out, (Py_ssize_t)fields * FIELD_MAX) < 0)
        return -1;
    if (!size) {
        for (int n = 0; n < fields; n++)
            put32(out, (uint32_t)-1);
        return 1;
    }
    for (int n = 0; n < fields; n++) {
        const char *comma = n < fields - 1 ? memchr(text, ',', size) : text + size;
        if (comma == NULL || !read_decimal(text, comma - text, &decimals[n])
            || decimals[n].whole > WHOLE_DIGITS_MAX || decimals[n].places > PLACES_MAX)
            return 0;
        size -= comma - text + 1;
        text = comma + 1;
    }
    for (int n = 0; n < fields; n++)
        put_numeric(out, &decimals[places[n]]);
    return 1;
}

/* A tuple of the places from 0 on, in any order; how many, or -1 with an exception set. */
static int read_places(PyObject *told, long *places)
{
    int fields = PyTuple_Check(told) ? (int)PyTuple_GET_SIZE(told) : 0;

    for (int n = 0; n < fields && fields <= NUMERICS_MAX; n++) {
        places[n] = PyLong_AsLong(PyTuple_GET_ITEM(told, n));
        if (places[n] < 0 || places[n] >= fields)
            fields = 0;
    }
    if (fields >= 1 && fields <= NUMERICS_MAX)
        return fields;
    PyErr_SetString(PyExc_ValueError, "NUMERICs need the places of one to eight decimals");
    return -1;
}

typedef struct {
    char kind;
    PyObject *values; /* a list, as long as there are rows */
    PyObject *choices; /* of a choice: a list of bytes, all fields of a place as they stand in a row */
    long places[NUMERICS_MAX];
    int fields;
} Column;

/* What choices_of made. */
static int read_choices(Column *column)
{
    PyObject *told = column->choices;

    if (!PyTuple_Check(told) || PyTuple_GET_SIZE(told) != 2 || !PyList_Check(PyTuple_GET_ITEM(told, 0))
        || !PyTuple_Check(PyTuple_GET_ITEM(told, 1))) {
        PyErr_SetString(PyExc_TypeError, "a choice needs its places as bytes, and a tuple of their fields");
        return -1;
    }
    column->choices = PyTuple_GET_ITEM(told, 0);
    column->fields = (int)PyTuple_GET_SIZE(PyTuple_GET_ITEM(told, 1));
    return 0;
}

/* One of Python's (kind, values, what the kind needs). All references are borrowed from it. */
static int read_column(PyObject *told, Py_ssize_t count, Column *column)
{
    if (!PyTuple_Check(told) || PyTuple_GET_SIZE(told) != 3 || !PyUnicode_Check(PyTuple_GET_ITEM(told, 0))
        || !PyList_Check(PyTuple_GET_ITEM(told, 1)) || PyUnicode_GET_LENGTH(PyTuple_GET_ITEM(told, 0)) != 1) {
        PyErr_SetString(PyExc_TypeError, "a column is (kind, list of values, what the kind needs)");
        return -1;
    }
    column->kind = (char)PyUnicode_READ_CHAR(PyTuple_GET_ITEM(told, 0), 0);
    column->values = PyTuple_GET_ITEM(told, 1);
    column->choices = PyTuple_GET_ITEM(told, 2);
    column->fields = 1;
    if (PyList_GET_SIZE(column->values) != count) {
        PyErr_SetString(PyExc_ValueError, "each column needs a value for each row");
        return -1;
    }
    if (column->kind == 'n' && (column->fields = read_places(column->choices, column->places)) < 0)
        return -1;
    return column->kind == 'c' ? read_choices(column) : 0;
}

static int put_number(Buffer *out, char kind, long long number)
{
    switch (kind) {
    case 'z': /* a moment that may be unknown */
        if (!number) {
            put32(out, (uint32_t)-1);
            return 1;
        }
        /* fall through */
    case 'm': /* a moment; what lies below a microsecond is cut off, towards the past */
        put32(out, 8);
        put64(out, (uint64_t)((number - (number % 1000 + 1000) % 1000) / 1000 - EPOCH_US));
        return 1;
    case 'b': /* bigint */
        put32(out, 8);
        put64(out, (uint64_t)number);
        return 1;
    case 's': /* smallint */
        if (number < INT16_MIN || number > INT16_MAX)
            break;
        put32(out, 2);
        put16(out, (uint16_t)number);
        return 1;
    }
    PyErr_SetString(PyExc_ValueError, "no kind of column, or a number that it can't hold");
    return -1;
}

/* One column's value in one row: 1 if written, 0 if it can't be stored, -1 with an exception set. */
static int put_field(Buffer *out, const Column *column, PyObject *value)
{
    char *text;
    Py_ssize_t size;

    switch (column->kind) {
    case 'n':
        return put_numerics(out, value, column->places, column->fields);
    case 't':
        text = (char *)PyUnicode_AsUTF8AndSize(value, &size);
        return text == NULL || put_text(out, text, size) < 0 ? -1 : 1;
    case 'c': {
        Py_ssize_t code = PyLong_AsSsize_t(value);
        PyObject *choice = code == -1 && PyErr_Occurred() ? NULL : PyList_GetItem(column->choices, code);
        if (choice == NULL || PyBytes_AsStringAndSize(choice, &text, &size) < 0)
            return -1;
        return put_bytes(out, text, size) < 0 ? -1 : 1;
    }
    default: {
        long long number = PyLong_AsLongLong(value);
        if ((number == -1 && PyErr_Occurred()) || make_room(out, FIELD_MAX) < 0)
            return -1;
        return put_number(out, column->kind, number);
    }
    }
}

/* As put_field, for all columns; what a row that can't be stored has written so far is taken back. */
static int put_row(Buffer *out, const Column *columns, Py_ssize_t width, int fields, Py_ssize_t row)
{
    Py_ssize_t begin = out->size;
    int written = make_room(out, 2) < 0 ? -1 : 1;

    if (written > 0)
        put16(out, (uint16_t)fields);
    for (Py_ssize_t n = 0; written > 0 && n < width; n++) {
        if (row >= PyList_GET_SIZE(columns[n].values)) { /* somebody's code ran meanwhile, and took some away */
            PyErr_SetString(PyExc_RuntimeError, "a column became shorter");
            return -1;
        }
        written = put_field(out, &columns[n], PyList_GET_ITEM(columns[n].values, row));
    }
    if (written <= 0)
        out->size = begin;
    return written;
}

PyObject *copy_rows(PyObject *module, PyObject *args)
{
    PyObject *told, *rows = NULL;
    Py_ssize_t count, width;
    Column columns[COLUMNS_MAX];
    Buffer out = {NULL, 0, 0};
    int fields = 0;

    if (!PyArg_ParseTuple(args, "O!n", &PyList_Type, &told, &count))
        return NULL;
    width = PyList_GET_SIZE(told);
    if (width > COLUMNS_MAX) {
        PyErr_SetString(PyExc_ValueError, "too many columns");
        return NULL;
    }
    for (Py_ssize_t n = 0; n < width; n++) {
        if (read_column(PyList_GET_ITEM(told, n), count, &columns[n]) < 0)
            return NULL;
        fields += columns[n].fields;
    }
    PyObject *bad = PyList_New(0);
    if (bad == NULL)
        return NULL;
    for (Py_ssize_t row = 0; row < count; row++) {
        int written = put_row(&out, columns, width, fields, row);
        if (written > 0)
            continue;
        PyObject *number = written < 0 ? NULL : PyLong_FromSsize_t(row);
        if (number == NULL || PyList_Append(bad, number) < 0) {
            Py_XDECREF(number);
            goto failed;
        }
        Py_DECREF(number);
    }
    rows = PyBytes_FromStringAndSize(out.bytes, out.size);
failed:
    PyMem_Free(out.bytes);
    if (rows == NULL) {
        Py_DECREF(bad);
        return NULL;
    }
    return Py_BuildValue("NN", rows, bad);
}
