/* See sums.h. */

#include "decimals.h"
#include "sums.h"

#define EIGHTEEN 1000000000000000000u /* so many digits fit into 64 */

/* The digits as an integer; 0 if they are too many. */
static int digits_of(const Decimal *decimal, Wide *digits)
{
    *digits = 0;
    for (Py_ssize_t at = 0; at < decimal->size; at++)
        if (decimal->text[at] != '.')
            *digits = *digits * 10 + (decimal->text[at] - '0');
    return decimal->whole + decimal->places <= DIGITS_MAX;
}

static int power_of_ten(int exponent, Wide *power)
{
    for (*power = 1; exponent > 0; exponent--)
        if (__builtin_mul_overflow(*power, (Wide)10, power))
            return 0;
    return 1;
}

/* With so many places, or more where it has them. */
static int widen(Sum *sum, int price_places, int quantity_places)
{
    Wide prices, quantities, *figures[] = {&sum->open, &sum->high, &sum->low, &sum->close};

    if (price_places <= sum->price_places && quantity_places <= sum->quantity_places)
        return 1;
    if (!power_of_ten(price_places - sum->price_places, &prices)
        || !power_of_ten(quantity_places - sum->quantity_places, &quantities))
        return 0;
    for (int n = 0; n < 4; n++)
        if (__builtin_mul_overflow(*figures[n], prices, figures[n]))
            return 0;
    if (price_places > sum->price_places)
        sum->price_places = price_places;
    if (quantity_places > sum->quantity_places)
        sum->quantity_places = quantity_places;
    return !__builtin_mul_overflow(sum->volume, quantities, &sum->volume)
        && !__builtin_mul_overflow(sum->quote_volume, quantities, &sum->quote_volume)
        && !__builtin_mul_overflow(sum->quote_volume, prices, &sum->quote_volume);
}

int sum_merge(Sum *sum, const Sum *more)
{
    Sum later = *more;

    if (!widen(sum, later.price_places, later.quantity_places)
        || !widen(&later, sum->price_places, sum->quantity_places))
        return 0;
    if (later.first_ns < sum->first_ns) {
        sum->first_ns = later.first_ns;
        sum->open = later.open;
    }
    if (later.last_ns >= sum->last_ns) {
        sum->last_ns = later.last_ns;
        sum->close = later.close;
    }
    if (later.high > sum->high)
        sum->high = later.high;
    if (later.low < sum->low)
        sum->low = later.low;
    sum->count += later.count;
    return !__builtin_add_overflow(sum->volume, later.volume, &sum->volume)
        && !__builtin_add_overflow(sum->quote_volume, later.quote_volume, &sum->quote_volume);
}

int sum_of(PyObject *text, long long time_ns, Sum *sum)
{
    Decimal price, quantity;
    Wide at, of, worth;

    if (!PyUnicode_Check(text) || !PyUnicode_IS_COMPACT_ASCII(text))
        return 0;
    const char *begin = (const char *)PyUnicode_1BYTE_DATA(text);
    const char *end = begin + PyUnicode_GET_LENGTH(text), *comma = memchr(begin, ',', end - begin);
    if (comma == NULL || !read_decimal(begin, comma - begin, &price)
        || !read_decimal(comma + 1, end - comma - 1, &quantity) || !digits_of(&price, &at) || !digits_of(&quantity, &of) || __builtin_mul_overflow(at, of, &worth))
        return 0;
    *sum = (Sum){at, at, at, at, of, worth, time_ns, time_ns, 1, (int)price.places, (int)quantity.places};
    return 1;
}

PyObject *text_of(Wide digits, int places)
{
    char room[80], *at = room + sizeof room; /* 39 digits, or 77 zeros and a dot */
    Wide high = digits < EIGHTEEN ? 0 : digits / EIGHTEEN; /* to divide 128 bits takes long */
    uint64_t low = (uint64_t)(digits - high * EIGHTEEN);

    for (int n = 0; n <= places || low || high; n++) {
        if (n && n == places)
            *--at = '.';
        if (n && n % 18 == 0) {
            low = (uint64_t)(high % EIGHTEEN);
            high /= EIGHTEEN;
        }
        *--at = (char)('0' + (int)(low % 10));
        low /= 10;
    }
    Py_ssize_t size = room + sizeof room - at;
    PyObject *text = PyUnicode_New(size, 127);
    if (text != NULL)
        memcpy(PyUnicode_1BYTE_DATA(text), at, size);
    return text;
}
