/* The three steps that every tick takes and that cost most in Python, once more in C.
 *
 *   whole_texts   a websocket's bytes -> its frames
 *   quote_told, trade_told   a venue's decimals -> checked, joined, and floats
 *   copy_rows     columns -> rows of PostgreSQL's binary COPY format
 *
 * Each has a twin in Python, which says in full what it does (adapters/websocket_frames.py, venues/told.py,
 * adapters/copy_columns.py); it serves where no C compiler was at hand, and the tests hold the two against each other.
 * Everything read here comes from outside: no length is believed that isn't checked against what is there.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

/* --- Decimals --------------------------------------------------------------------------------------------------- */

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
static int read_decimal(const char *text, Py_ssize_t size, Decimal *decimal)
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
static int read_told(PyObject *told, Decimal *decimal)
{
    if (!PyUnicode_Check(told) || !PyUnicode_IS_COMPACT_ASCII(told))
        return 0;
    return read_decimal((const char *)PyUnicode_1BYTE_DATA(told), PyUnicode_GET_LENGTH(told), decimal)
        && decimal->whole <= TOLD_DIGITS_MAX && decimal->places <= TOLD_DIGITS_MAX;
}

/* What float(text) gives; -1.0 with an exception set where that fails. */
static double as_double(const Decimal *decimal)
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

static PyObject *joined(const Decimal *decimals, int count)
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

static PyObject *quote_told(PyObject *module, PyObject *const *told, Py_ssize_t count)
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

static PyObject *trade_told(PyObject *module, PyObject *const *told, Py_ssize_t count)
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

/* --- Frames ------------------------------------------------------------------------------------------------------ */

#define WHOLE_TEXT 0x81 /* RFC 6455, section 5.2: the final part, which is the only one, of a text */

static PyObject *whole_texts(PyObject *module, PyObject *args)
{
    PyObject *data;
    Py_ssize_t at, most;

    if (!PyArg_ParseTuple(args, "Snn", &data, &at, &most))
        return NULL;
    const unsigned char *bytes = (const unsigned char *)PyBytes_AS_STRING(data);
    Py_ssize_t end = PyBytes_GET_SIZE(data);
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
    return Py_BuildValue("Nn", frames, at);
}

/* --- Rows of COPY ------------------------------------------------------------------------------------------------ */

#define EPOCH_US 946684800000000LL /* 2000-01-01, PostgreSQL's own epoch, in microseconds since 1970 */
#define WHOLE_DIGITS_MAX 28 /* as in adapters/copy_columns.py */
#define PLACES_MAX 20
#define NUMERICS_MAX 8 /* decimals in one text */

typedef struct {
    char *bytes;
    Py_ssize_t size, room;
} Buffer;

static int make_room(Buffer *out, Py_ssize_t more)
{
    if (out->size + more <= out->room)
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

static int put_text(Buffer *out, const char *text, Py_ssize_t size)
{
    if (make_room(out, size + 4) < 0)
        return -1;
    put32(out, (uint32_t)size);
    memcpy(out->bytes + out->size, text, size);
    out->size += size;
    return 0;
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

/* One column's value in one row: 1 if written, 0 if it can't be stored, -1 with an exception set. */
static int put_field(Buffer *out, PyObject *column, Py_ssize_t row, int *fields)
{
    const char *kind = PyUnicode_AsUTF8(PyTuple_GET_ITEM(column, 0));
    PyObject *value = PyList_GetItem(PyTuple_GET_ITEM(column, 1), row); /* borrowed; checks the bounds */
    if (kind == NULL || value == NULL)
        return -1;
    *fields = 1;
    if (kind[0] == 'n') {
        long places[NUMERICS_MAX];
        *fields = read_places(PyTuple_GET_ITEM(column, 2), places);
        return *fields < 0 ? -1 : put_numerics(out, value, places, *fields);
    }
    if (kind[0] == 't') { /* text */
        Py_ssize_t size;
        const char *text = PyUnicode_AsUTF8AndSize(value, &size);
        return text == NULL || put_text(out, text, size) < 0 ? -1 : 1;
    }
    if (kind[0] == 'c') { /* choice */
        Py_ssize_t code = PyLong_AsSsize_t(value);
        if (code == -1 && PyErr_Occurred())
            return -1;
        PyObject *choice = PyList_GetItem(PyTuple_GET_ITEM(column, 2), code);
        char *text;
        Py_ssize_t size;
        if (choice == NULL || PyBytes_AsStringAndSize(choice, &text, &size) < 0)
            return -1;
        return put_text(out, text, size) < 0 ? -1 : 1;
    }
    long long number = PyLong_AsLongLong(value);
    if ((number == -1 && PyErr_Occurred()) || make_room(out, FIELD_MAX) < 0)
        return -1;
    if (kind[0] == 'm' || (kind[0] == 'z' && number)) { /* moment, or one that may be unknown */
        put32(out, 8);
        put64(out, (uint64_t)((number - (number % 1000 + 1000) % 1000) / 1000 - EPOCH_US));
    }
    else if (kind[0] == 'z')
        put32(out, (uint32_t)-1);
    else if (kind[0] == 'b') { /* bigint */
        put32(out, 8);
        put64(out, (uint64_t)number);
    }
    else if (kind[0] == 's' && number >= INT16_MIN && number <= INT16_MAX) { /* smallint */
        put32(out, 2);
        put16(out, (uint16_t)number);
    }
    else {
        PyErr_SetString(PyExc_ValueError, "no kind of column, or a number that it can't hold");
        return -1;
    }
    return 1;
}

static int check_columns(PyObject *columns)
{
    if (PyList_Check(columns))
        for (Py_ssize_t n = 0; n < PyList_GET_SIZE(columns); n++) {
            PyObject *column = PyList_GET_ITEM(columns, n);
            if (!PyTuple_Check(column) || PyTuple_GET_SIZE(column) != 3
                || !PyUnicode_Check(PyTuple_GET_ITEM(column, 0)) || !PyList_Check(PyTuple_GET_ITEM(column, 1)))
                goto wrong;
        }
    else
        goto wrong;
    return 0;
wrong:
    PyErr_SetString(PyExc_TypeError, "columns are a list of (kind, list of values, what the kind needs)");
    return -1;
}

static PyObject *copy_rows(PyObject *module, PyObject *args)
{
    PyObject *columns;
    Py_ssize_t count;

    if (!PyArg_ParseTuple(args, "On", &columns, &count) || check_columns(columns) < 0)
        return NULL;
    Buffer out = {NULL, 0, 0};
    PyObject *bad = PyList_New(0);
    if (bad == NULL)
        return NULL;
    for (Py_ssize_t row = 0; row < count; row++) {
        Py_ssize_t begin = out.size;
        int fields = 0, written = make_room(&out, 2) < 0 ? -1 : 1;
        out.size += written > 0 ? 2 : 0;
        for (Py_ssize_t n = 0; written > 0 && n < PyList_GET_SIZE(columns); n++) {
            int more = 0;
            written = put_field(&out, PyList_GET_ITEM(columns, n), row, &more);
            fields += more;
        }
        if (written > 0) {
            Py_ssize_t end = out.size;
            out.size = begin;
            put16(&out, (uint16_t)fields);
            out.size = end;
            continue;
        }
        out.size = begin;
        PyObject *number = written < 0 ? NULL : PyLong_FromSsize_t(row);
        if (number == NULL || PyList_Append(bad, number) < 0) {
            Py_XDECREF(number);
            Py_DECREF(bad);
            PyMem_Free(out.bytes);
            return NULL;
        }
        Py_DECREF(number);
    }
    PyObject *rows = PyBytes_FromStringAndSize(out.bytes, out.size);
    PyMem_Free(out.bytes);
    if (rows == NULL) {
        Py_DECREF(bad);
        return NULL;
    }
    return Py_BuildValue("NN", rows, bad);
}

static PyMethodDef FUNCTIONS[] = {
    {"whole_texts", whole_texts, METH_VARARGS, NULL},
    {"quote_told", (PyCFunction)(void (*)(void))quote_told, METH_FASTCALL, NULL},
    {"trade_told", (PyCFunction)(void (*)(void))trade_told, METH_FASTCALL, NULL},
    {"copy_rows", copy_rows, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL}};

static struct PyModuleDef MODULE = {
    PyModuleDef_HEAD_INIT, "traderd.native", "See native.pyi.", -1, FUNCTIONS, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_native(void)
{
    return PyModule_Create(&MODULE);
}
