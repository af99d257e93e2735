/*
 * common/model/ubj.c: UBJSON as XGBoost writes it, token by token.
 *
 * A value is a type byte and what follows, numbers big-endian: i U int8 uint8, I l L int16 int32 int64, d D float32
 * float64, T F Z, S + length + bytes, `{` (length + key, value)* `}`, and arrays in three forms: `[` value* `]`,
 * `[#` length value*, `[$` type `#` length packed numbers. A length is `L` and an int64, always: that is what libxgboost's
 * reader takes too, so both read the same thing out of the same bytes. ubj_model.c says what the keys mean.
 */
#include "model/ubj_walk.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>

bool walk_fail(struct walk *w, const char *fmt, ...)
{
    char text[256];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    err_set(w->err, ERR_RECORD, "model bytes: byte %zu: %s", (size_t)(w->p - w->begin), text);
    return false;
}

static uint64_t big_endian(const uint8_t *p, size_t n)
{
    uint64_t v = 0;

    for (size_t i = 0; i < n; i++)
        v = v << 8 | p[i];
    return v;
}

size_t walk_type_bytes(uint8_t type)
{
    switch (type) {
    case 'i': case 'U': return 1;
    case 'I': return 2;
    case 'l': case 'd': return 4;
    case 'L': case 'D': return 8;
    default: return 0;
    }
}

int64_t walk_int_at(const uint8_t *p, uint8_t type)
{
    uint64_t v = big_endian(p, walk_type_bytes(type));

    switch (type) {
    case 'i': return (int8_t)v;
    case 'I': return (int16_t)v;
    case 'l': return (int32_t)v;
    default: return (int64_t)v; /* U and L */
    }
}

float walk_float_at(const uint8_t *p)
{
    uint32_t bits = (uint32_t)big_endian(p, 4);
    float v;

    memcpy(&v, &bits, sizeof(v));
    return v;
}

static bool left(struct walk *w, size_t n, const char *what)
{
    if ((size_t)(w->end - w->p) >= n)
        return true;
    return walk_fail(w, "expected %s, got the end", what);
}

bool walk_type(struct walk *w, uint8_t *ret_type)
{
    if (!left(w, 1, "a value"))
        return false;
    *ret_type = *w->p++;
    return true;
}

bool walk_mark(struct walk *w, char mark, const char *what)
{
    if (!left(w, 1, what))
        return false;
    if (*w->p != (uint8_t)mark)
        return walk_fail(w, "expected '%c' (%s), got byte 0x%02x", mark, what, *w->p);
    w->p++;
    return true;
}

/* `L` and an int64 that is within [0, max]. */
static bool length(struct walk *w, uint64_t max, const char *what, size_t *ret_n)
{
    uint64_t n;

    if (!walk_mark(w, 'L', what) || !left(w, 8, what))
        return false;
    n = big_endian(w->p, 8);
    if (n > max)
        return walk_fail(w, "%s: expected at most %llu, got %llu", what, (unsigned long long)max, (unsigned long long)n);
    w->p += 8;
    *ret_n = (size_t)n;
    return true;
}

/* Items of untyped arrays and of objects cost libxgboost far more than their bytes here. */
static bool count_item(struct walk *w)
{
    return ++w->n_items <= WALK_ITEMS_MAX || walk_fail(w, "more than %d items", WALK_ITEMS_MAX);
}

static bool deeper(struct walk *w)
{
    return ++w->depth <= UBJ_NESTING_MAX || walk_fail(w, "nested deeper than %d", UBJ_NESTING_MAX);
}

/* A string without its type byte. */
static bool chars(struct walk *w, struct view *ret_text)
{
    size_t n = 0;

    if (!length(w, (uint64_t)(w->end - w->p), "a length within the bytes left", &n) || !left(w, n, "a string"))
        return false;
    *ret_text = view_of(w->p, n);
    w->p += n;
    return true;
}

bool walk_text(struct walk *w, struct view *ret_text)
{
    return walk_mark(w, 'S', "a string") && chars(w, ret_text);
}

/* A decimal number in a string: what *_param objects hold. */
bool walk_count(struct walk *w, int64_t max, int64_t *ret)
{
    struct view text;
    int64_t v = 0;

    if (!walk_text(w, &text))
        return false;
    for (size_t i = 0; i < text.n; i++) {
        if (!isdigit(text.data[i]) || (v = v * 10 + (text.data[i] - '0')) > max)
            return walk_fail(w, "expected a decimal number of at most %lld", (long long)max);
    }
    if (text.n == 0)
        return walk_fail(w, "expected a decimal number, got an empty string");
    *ret = v;
    return true;
}

bool walk_array(struct walk *w, struct walk_array *ret_array)
{
    struct walk_array a = {0};
    uint64_t max;

    if (!walk_mark(w, '[', "an array") || !left(w, 1, "an array"))
        return false;
    if (*w->p == '$') {
        w->p++;
        if (!walk_type(w, &a.type))
            return false;
        if (walk_type_bytes(a.type) == 0)
            return walk_fail(w, "a typed array of 0x%02x; expected numbers", a.type);
    }
    if (a.type == 0 && *w->p != '#') {
        a.open = true;
    } else {
        max = (uint64_t)(w->end - w->p) / (a.type ? walk_type_bytes(a.type) : 1);
        if (!walk_mark(w, '#', "a count") || !length(w, max, "a count within the bytes left", &a.n))
            return false;
    }
    if (a.type != 0) {
        if (!left(w, a.n * walk_type_bytes(a.type), "an array's numbers"))
            return false;
        a.data = w->p;
        w->p += a.n * walk_type_bytes(a.type);
    } else if (!deeper(w)) {
        return false;
    }
    *ret_array = a;
    return true;
}

int walk_next(struct walk *w, struct walk_array *a)
{
    if (a->type == 0 && a->open) {
        if (!left(w, 1, "an item or ']'"))
            return -1;
        if (*w->p != ']')
            return a->n++, count_item(w) ? 1 : -1;
        w->p++;
        w->depth--;
        return 0;
    }
    if (a->i == a->n) {
        w->depth--;
        return 0;
    }
    a->i++;
    return count_item(w) ? 1 : -1;
}

bool walk_int(struct walk *w, int64_t *ret)
{
    uint8_t type;

    if (!walk_type(w, &type))
        return false;
    if (walk_type_bytes(type) == 0 || type == 'd' || type == 'D')
        return walk_fail(w, "expected an integer, got type 0x%02x", type);
    if (!left(w, walk_type_bytes(type), "an integer"))
        return false;
    *ret = walk_int_at(w->p, type);
    w->p += walk_type_bytes(type);
    return true;
}

static bool skip_array(struct walk *w)
{
    struct walk_array a;
    int more;

    if (!walk_array(w, &a))
        return false;
    if (a.type != 0)
        return true;
    while ((more = walk_next(w, &a)) > 0) {
        if (!walk_skip(w))
            return false;
    }
    return more == 0;
}

bool walk_skip(struct walk *w)
{
    struct view text;
    uint8_t type;
    size_t n;

    if (!left(w, 1, "a value"))
        return false;
    type = *w->p;
    if (type == '[')
        return skip_array(w);
    if (type == '{')
        return walk_object(w, NULL, 0, NULL);
    w->p++;
    if (type == 'S')
        return chars(w, &text);
    if (type == 'T' || type == 'F' || type == 'Z')
        return true;
    n = walk_type_bytes(type);
    if (n == 0)
        return walk_fail(w, "unknown type 0x%02x", type);
    if (!left(w, n, "a number"))
        return false;
    w->p += n;
    return true;
}

static bool one_field(struct walk *w, const struct walk_field *fields, size_t n, uint32_t *seen, void *into)
{
    struct view key;

    if (!count_item(w) || !chars(w, &key))
        return false;
    for (size_t i = 0; i < n; i++) {
        if (!view_eq(key, view_str(fields[i].name)))
            continue;
        if (*seen & 1u << i)
            return walk_fail(w, "'%s' twice", fields[i].name);
        *seen |= 1u << i;
        return fields[i].read(w, into);
    }
    return walk_skip(w);
}

bool walk_object(struct walk *w, const struct walk_field *fields, size_t n, void *into)
{
    uint32_t seen = 0;

    if (!walk_mark(w, '{', "an object") || !deeper(w))
        return false;
    while (left(w, 1, "a key or '}'") && *w->p != '}') {
        if (!one_field(w, fields, n, &seen, into))
            return false;
    }
    if (w->p == w->end)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (!fields[i].optional && !(seen & 1u << i))
            return walk_fail(w, "'%s' is missing", fields[i].name);
    }
    w->p++;
    w->depth--;
    return true;
}
