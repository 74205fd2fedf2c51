/* A frame of the form that nearly all of a stream have -> a quote or a trade. Its twin is the dialect's own decoder, which
 * reads any JSON: what isn't just so is left to it. See venues/forms.py. */

#include "decimals.h"

#define PIECES_MAX 32
#define ID_DIGITS_MAX 18 /* a number of so many digits fits into 64 bits */
#define MS_MAX (INT64_MAX / 1000000)

typedef enum {
    LITERAL, NAME, NUMBER, SYMBOL, SEQUENCE, TRADE_ID, TIME_MS, BUYER_IS_MAKER,
    BID, BID_SIZE, ASK, ASK_SIZE, PRICE, QUANTITY, KINDS
} Kind;

static const char *const KIND_NAMES[KINDS] = {
    "", "name", "number", "symbol", "sequence", "trade_id", "time_ms", "buyer_is_maker",
    "bid", "bid_size", "ask", "ask_size", "price", "quantity"};
#define BIT(kind) (1u << (kind))
static const unsigned QUOTES = BIT(SYMBOL) | BIT(SEQUENCE) | BIT(BID) | BIT(BID_SIZE) | BIT(ASK) | BIT(ASK_SIZE);
static const unsigned TRADES = BIT(SYMBOL) | BIT(TRADE_ID) | BIT(TIME_MS) | BIT(BUYER_IS_MAKER) | BIT(PRICE) | BIT(QUANTITY);

typedef struct {
    Kind kind;
    const char *text; /* of a literal; it lies in the form's `pieces` */
    Py_ssize_t size;
} Piece;

#define NEAR_BYTES 16 /* of a symbol, padded with zeros; longer ones are looked up in the dict each time */

/* An instrument by its symbol, in one place of the memory: a dict has its parts in three. */
typedef struct {
    uint64_t symbol[NEAR_BYTES / 8];
    PyObject *instrument;
} Near;

typedef struct {
    PyObject_HEAD
    PyObject *pieces;      /* a tuple of bytes and str, the latter naming values */
    PyObject *instruments; /* by the venue's symbol: a dict to which others may be added */
    Near *near;            /* those that were met; a table with open addresses, at least half of them free */
    size_t near_size, near_count;
    PyObject *make;        /* Quote or Trade */
    PyObject *sides[2];    /* of the taker: where the buyer isn't the maker, and where it is */
    int count, is_trade;
    Piece piece[PIECES_MAX];
} Form;

typedef struct {
    const char *text;
    Py_ssize_t size;
} Span;

typedef struct {
    Span symbol, trade_id;
    uint64_t near[NEAR_BYTES / 8]; /* the symbol as in a Near; zeros for a longer one */
    long long sequence, time_ms;
    int buyer_is_maker;
    Decimal decimal[4];
} Told;

static int is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
}

/* How many bytes of a name, of digits or of a decimal there are, up to the end. */
static Py_ssize_t length(const char *at, const char *end, Kind kind)
{
    const char *begin = at;

    if (kind == NAME || kind == SYMBOL)
        while (at < end && is_name(*at))
            at++;
    else
        while (at < end && ((*at >= '0' && *at <= '9') || (kind >= BID && *at == '.')))
            at++;
    return at - begin;
}

/* A number as JSON writes it, without sign; -1 for what is none, or too long. */
static long long number_of(Span span)
{
    long long number = 0;

    if (!span.size || span.size > ID_DIGITS_MAX || (span.text[0] == '0' && span.size > 1))
        return -1;
    for (Py_ssize_t at = 0; at < span.size; at++)
        number = number * 10 + (span.text[at] - '0');
    return number;
}

/* One value into what is told; the bytes that it took, or -1. */
static Py_ssize_t read_value(Kind kind, const char *at, const char *end, Told *told)
{
    if (kind == BUYER_IS_MAKER) {
        told->buyer_is_maker = end - at >= 4 && !memcmp(at, "true", 4);
        return told->buyer_is_maker ? 4 : end - at >= 5 && !memcmp(at, "false", 5) ? 5 : -1;
    }
    Span span = {at, length(at, end, kind)};
    if (!span.size)
        return -1;
    if (kind >= BID) {
        int n = kind >= PRICE ? kind - PRICE : kind - BID;
        Decimal *decimal = &told->decimal[n];
        if (!read_decimal(span.text, span.size, decimal) || decimal->whole > TOLD_DIGITS_MAX
            || decimal->places > TOLD_DIGITS_MAX)
            return -1;
        if (n % 2 == 0 && (!decimal->positive || decimal->whole + decimal->places > EXACT_DIGITS_MAX))
            return -1;
        return span.size;
    }
    long long number = kind >= SEQUENCE || kind == NUMBER ? number_of(span) : 0;
    if (number < 0)
        return -1;
    if (kind == SYMBOL)
        told->symbol = span;
    else if (kind == SEQUENCE)
        told->sequence = number;
    else if (kind == TRADE_ID)
        told->trade_id = span;
    else if (kind == TIME_MS) {
        told->time_ms = number;
        return number <= MS_MAX ? span.size : -1;
    }
    return span.size;
}

static size_t near_hash(const uint64_t symbol[2])
{
    return (size_t)(((symbol[0] ^ symbol[1] * 0x9e3779b97f4a7c15u) * 0xff51afd7ed558ccdu) >> 32);
}

/* Where a symbol's instrument is, or may be put. */
static Near *near_place(Near *near, size_t size, const uint64_t symbol[2])
{
    size_t at = near_hash(symbol) & (size - 1);

    while (near[at].instrument != NULL && (near[at].symbol[0] != symbol[0] || near[at].symbol[1] != symbol[1]))
        at = (at + 1) & (size - 1);
    return &near[at];
}

/* The symbol will be looked up when the rest of the frame was read: its place is fetched meanwhile. */
static void fetch_near(const Form *self, Told *told)
{
    if (told->symbol.size > NEAR_BYTES)
        return;
    memcpy(told->near, told->symbol.text, told->symbol.size);
    if (self->near_size)
        __builtin_prefetch(&self->near[near_hash(told->near) & (self->near_size - 1)]);
}

/* Whether the frame has the form. */
static int read_frame(const Form *self, const char *at, const char *end, Told *told)
{
    for (int n = 0; n < self->count; n++) {
        const Piece *piece = &self->piece[n];
        Py_ssize_t size = piece->size;
        if (piece->kind == LITERAL)
            size = end - at >= size && !memcmp(at, piece->text, size) ? size : -1;
        else
            size = read_value(piece->kind, at, end, told);
        if (size < 0)
            return 0;
        if (piece->kind == SYMBOL)
            fetch_near(self, told);
        at += size;
    }
    return at == end;
}

static PyObject *ascii(Span span)
{
    PyObject *text = PyUnicode_New(span.size, 127);

    if (text != NULL)
        memcpy(PyUnicode_1BYTE_DATA(text), span.text, span.size);
    return text;
}

static PyObject *made(const Form *self, const Told *told, PyObject *instrument, PyObject *received_ns)
{
    PyObject *parts[8] = {NULL}, *event = NULL;
    int count = 0, whole = 1;
#define ADD(part) (whole = whole && (parts[count++] = (part)) != NULL)

    __builtin_prefetch(instrument, 1);
    parts[count++] = instrument; /* it is referred to last: by then it has come */
    if (self->is_trade) {
        ADD(ascii(told->trade_id));
        ADD(Py_NewRef(self->sides[told->buyer_is_maker]));
        ADD(PyFloat_FromDouble(as_double(&told->decimal[0])));
        ADD(joined(told->decimal, 2));
    }
    else {
        ADD(PyFloat_FromDouble(as_double(&told->decimal[0])));
        ADD(PyFloat_FromDouble(as_double(&told->decimal[2])));
        ADD(joined(told->decimal, 4));
        ADD(PyLong_FromLongLong(told->sequence));
    }
    ADD(PyLong_FromLongLong(told->time_ms * 1000000));
    ADD(Py_NewRef(received_ns));
    Py_INCREF(instrument);
    if (whole)
        event = PyObject_Vectorcall(self->make, parts, count, NULL);
    for (int n = 0; n < count; n++)
        Py_XDECREF(parts[n]);
    return event;
}

static int near_grow(Form *self)
{
    size_t size = self->near_size ? 2 * self->near_size : 16;
    Near *near = PyMem_Calloc(size, sizeof(Near));

    if (near == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (size_t at = 0; at < self->near_size; at++)
        if (self->near[at].instrument != NULL)
            *near_place(near, size, self->near[at].symbol) = self->near[at];
    PyMem_Free(self->near);
    self->near = near;
    self->near_size = size;
    return 0;
}

/* Borrowed; NULL for an unknown one, or with an exception set. */
static PyObject *from_dict(const Form *self, Span symbol)
{
    PyObject *text = ascii(symbol), *instrument = NULL;

    if (text != NULL)
        instrument = PyDict_GetItemWithError(self->instruments, text);
    Py_XDECREF(text);
    return instrument;
}

static PyObject *instrument_of(Form *self, const Told *told)
{
    if (told->symbol.size > NEAR_BYTES)
        return from_dict(self, told->symbol);
    if (2 * self->near_count >= self->near_size && near_grow(self) < 0)
        return NULL;
    Near *place = near_place(self->near, self->near_size, told->near);
    if (place->instrument == NULL) {
        PyObject *instrument = from_dict(self, told->symbol);
        if (instrument == NULL)
            return NULL;
        *place = (Near){{told->near[0], told->near[1]}, Py_NewRef(instrument)};
        self->near_count++;
    }
    return place->instrument;
}

static PyObject *form_read(Form *self, PyObject *const *args, Py_ssize_t count)
{
    Told told = {0};

    if (count != 2 || !PyBytes_Check(args[0])) {
        PyErr_SetString(PyExc_TypeError, "read takes a frame and when it was received");
        return NULL;
    }
    const char *frame = PyBytes_AS_STRING(args[0]);
    if (!read_frame(self, frame, frame + PyBytes_GET_SIZE(args[0]), &told))
        Py_RETURN_NONE;
    PyObject *instrument = instrument_of(self, &told);
    if (instrument == NULL) {
        if (PyErr_Occurred())
            return NULL;
        Py_RETURN_NONE;
    }
    return made(self, &told, instrument, args[1]);
}

/* One of the tuple's pieces; 0, or -1 with an exception set. */
static int read_piece(PyObject *told, Piece *piece)
{
    if (PyBytes_Check(told)) {
        *piece = (Piece){LITERAL, PyBytes_AS_STRING(told), PyBytes_GET_SIZE(told)};
        return 0;
    }
    for (int kind = NAME; kind < KINDS && PyUnicode_Check(told); kind++)
        if (PyUnicode_CompareWithASCIIString(told, KIND_NAMES[kind]) == 0) {
            piece->kind = (Kind)kind;
            return 0;
        }
    PyErr_Format(PyExc_ValueError, "no piece of a form: %R", told);
    return -1;
}

static PyObject *form_new(PyTypeObject *type, PyObject *args, PyObject *named)
{
    PyObject *pieces, *instruments, *make;
    unsigned found = 0;

    if (!PyArg_ParseTuple(args, "O!O!O", &PyTuple_Type, &pieces, &PyDict_Type, &instruments, &make))
        return NULL;
    Form *self = (Form *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->pieces = Py_NewRef(pieces);
    self->instruments = Py_NewRef(instruments);
    self->make = Py_NewRef(make);
    self->sides[0] = PyUnicode_InternFromString("buy");
    self->sides[1] = PyUnicode_InternFromString("sell");
    self->count = (int)PyTuple_GET_SIZE(pieces);
    if (self->sides[0] == NULL || self->sides[1] == NULL)
        goto failed;
    if (self->count > PIECES_MAX) {
        PyErr_SetString(PyExc_ValueError, "a form of too many pieces");
        goto failed;
    }
    for (int n = 0; n < self->count; n++) {
        if (read_piece(PyTuple_GET_ITEM(pieces, n), &self->piece[n]) < 0)
            goto failed;
        found |= BIT(self->piece[n].kind);
    }
    self->is_trade = (found & BIT(PRICE)) != 0;
    unsigned needed = self->is_trade ? TRADES : QUOTES;
    if ((found & needed) != needed) {
        PyErr_SetString(PyExc_ValueError, "a form lacks some value of a quote or of a trade");
        goto failed;
    }
    return (PyObject *)self;
failed:
    Py_DECREF(self);
    return NULL;
}

static void form_dealloc(Form *self)
{
    for (size_t at = 0; at < self->near_size; at++)
        Py_XDECREF(self->near[at].instrument);
    PyMem_Free(self->near);
    Py_XDECREF(self->pieces);
    Py_XDECREF(self->instruments);
    Py_XDECREF(self->make);
    Py_XDECREF(self->sides[0]);
    Py_XDECREF(self->sides[1]);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static PyMethodDef METHODS[] = {
    {"read", (PyCFunction)(void (*)(void))form_read, METH_FASTCALL, NULL}, {NULL, NULL, 0, NULL}};

PyTypeObject FormType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "traderd.native.Form",
    .tp_basicsize = sizeof(Form),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = form_new,
    .tp_dealloc = (destructor)form_dealloc,
    .tp_methods = METHODS,
};
