/*
 * Avro to JSON text. The order of the schema's fields, no spaces; a number of type double is the
 * shortest text that reads back as the same double, with ".0" when it is whole; NaN and the infinities
 * are "NaN", "Infinity", "-Infinity". A union's value stands as itself. Bytes and fixed are text as they
 * are when they are UTF-8 without control characters, else "base64:" and their base64 (also when the
 * text itself begins with "base64:"): so reading back gives the same bytes. A timestamp is a number of
 * milliseconds, with `iso` and between the years 0 and 9999 ISO 8601 in UTC; microseconds are cut off.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "wire/avro.h"
#include "wire/skip.h"
#include "wire/text.h"
#include "wire/text_bytes.h"

struct writer {
    struct skip s;
    bool iso;
    struct bytes *out;
};

static bool write_value(struct writer *w, const struct schema *s);

static void put_json_text(struct bytes *out, struct view v)
{
    bytes_append(out, "\"", 1);
    for (size_t i = 0; i < v.n; i++) {
        uint8_t c = v.data[i];

        if (c == '"' || c == '\\')
            bytes_printf(out, "\\%c", c);
        else if (c == '\n')
            bytes_append(out, "\\n", 2);
        else if (c == '\t')
            bytes_append(out, "\\t", 2);
        else if (c < 0x20 || c == 0x7f)
            bytes_printf(out, "\\u%04x", c);
        else
            bytes_append(out, &c, 1);
    }
    bytes_append(out, "\"", 1);
}

bool text_is_plain(struct view v)
{
    for (size_t i = 0; i < v.n; i++)
        if (v.data[i] < 0x20 || v.data[i] == 0x7f)
            return false;
    return avro_is_text(v) && !(v.n >= TEXT_BASE64_N && memcmp(v.data, TEXT_BASE64, TEXT_BASE64_N) == 0);
}

static void put_json_bytes(struct bytes *out, struct view v)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    if (text_is_plain(v)) {
        put_json_text(out, v);
        return;
    }
    bytes_printf(out, "\"%s", TEXT_BASE64);
    for (size_t i = 0; i < v.n; i += 3) {
        uint32_t x = (uint32_t)v.data[i] << 16;
        char four[4] = {'=', '=', '=', '='};

        if (i + 1 < v.n)
            x |= (uint32_t)v.data[i + 1] << 8;
        if (i + 2 < v.n)
            x |= v.data[i + 2];
        four[0] = digits[x >> 18];
        four[1] = digits[(x >> 12) & 63];
        if (i + 1 < v.n)
            four[2] = digits[(x >> 6) & 63];
        if (i + 2 < v.n)
            four[3] = digits[x & 63];
        bytes_append(out, four, 4);
    }
    bytes_append(out, "\"", 1);
}

static bool reads_back(const char *text, double v, bool is_float)
{
    return is_float ? strtof(text, NULL) == (float)v : strtod(text, NULL) == v;
}

/* A denormal may need fewer digits than 15 (6 of a float), a normal number reads back from its own. */
static void put_json_double(struct bytes *out, double v, bool is_float)
{
    int digits = is_float ? (fabs(v) < 1.2e-38 ? 1 : 6) : fabs(v) < 2.3e-308 ? 1 : 15;
    char text[40];

    if (isnan(v) || isinf(v)) {
        bytes_printf(out, "\"%s\"", isnan(v) ? "NaN" : v > 0 ? "Infinity" : "-Infinity");
        return;
    }
    do {
        snprintf(text, sizeof(text), "%.*g", digits, v);
    } while (digits++ < 17 && !reads_back(text, v, is_float));
    bytes_printf(out, "%s%s", text, strpbrk(text, ".e") ? "" : ".0");
}

static bool write_long(struct writer *w, const struct schema *s)
{
    int64_t v;
    char text[32];
    int64_t ms;

    if (!skip_long(&w->s, &v))
        return false;
    if (s->type == SCHEMA_INT && v != (int32_t)v)
        return skip_fail(&w->s, BAD_INT, 0, 0);
    ms = text_time_unit(s) != 0 ? v / text_time_unit(s) - (v % text_time_unit(s) < 0) : v;
    text_format_time(ms, text);
    if (w->iso && text_time_unit(s) != 0 && strchr(text, 'T') != NULL)
        bytes_printf(w->out, "\"%s\"", text);
    else
        bytes_printf(w->out, "%" PRId64, ms);
    return true;
}

static bool write_float(struct writer *w, bool is_float)
{
    struct avro_reader r = {w->s.p, w->s.end};
    double v = 0;
    uint32_t bits;
    float f;

    if (w->s.end - w->s.p < (is_float ? 4 : 8))
        return skip_fail(&w->s, BAD_END, 0, 0);
    if (is_float) {
        memcpy(&bits, w->s.p, sizeof(bits));
        bits = le32toh(bits);
        memcpy(&f, &bits, sizeof(f));
        v = (double)f;
    } else {
        (void)avro_get_double(&r, &v);
    }
    w->s.p += is_float ? 4 : 8;
    put_json_double(w->out, v, is_float);
    return true;
}

static bool write_text(struct writer *w, bool is_string)
{
    struct view v;
    int64_t n;

    if (!skip_length(&w->s, &n))
        return false;
    v = view_of(w->s.p, (size_t)n);
    w->s.p += n;
    if (!is_string) {
        put_json_bytes(w->out, v);
        return true;
    }
    if (!avro_is_text(v))
        return skip_fail(&w->s, BAD_TEXT, 0, 0);
    put_json_text(w->out, v);
    return true;
}

static bool write_items(struct writer *w, const struct schema *s)
{
    bool map = s->type == SCHEMA_MAP;
    bool first = true;
    const uint8_t *block_end;
    int64_t n;

    bytes_append(w->out, map ? "{" : "[", 1);
    for (;;) {
        if (!skip_block(&w->s, &n, &block_end))
            return false;
        if (n == 0)
            break;
        for (; n > 0; n--, first = false) {
            const uint8_t *before = w->s.p;

            if (!first)
                bytes_append(w->out, ",", 1);
            if (map && !write_text(w, true))
                return false;
            if (map)
                bytes_append(w->out, ":", 1);
            if (!write_value(w, s->items))
                return false;
            if (w->s.p == before && ++w->s.n_empty > SKIP_EMPTY_ITEMS_MAX)
                return skip_fail(&w->s, BAD_EMPTY_ITEMS, 0, 0);
        }
        if (block_end != NULL && w->s.p != block_end)
            return skip_fail(&w->s, BAD_BLOCK, w->s.p - block_end, 0);
    }
    bytes_append(w->out, map ? "}" : "]", 1);
    return true;
}

static bool write_record(struct writer *w, const struct schema *s)
{
    bytes_append(w->out, "{", 1);
    for (size_t i = 0; i < s->n; i++) {
        bytes_printf(w->out, "%s\"%s\":", i > 0 ? "," : "", s->fields[i].name);
        if (!write_value(w, s->fields[i].type))
            return false;
    }
    bytes_append(w->out, "}", 1);
    return true;
}

static bool write_value(struct writer *w, const struct schema *s)
{
    int64_t v;

    switch (s->type) {
    case SCHEMA_NULL:
        bytes_append(w->out, "null", 4);
        return true;
    case SCHEMA_BOOLEAN:
        v = w->s.p < w->s.end ? *w->s.p : 0;
        if (!skip_value(&w->s, s))
            return false;
        bytes_printf(w->out, "%s", v ? "true" : "false");
        return true;
    case SCHEMA_INT:
    case SCHEMA_LONG:
        return write_long(w, s);
    case SCHEMA_FLOAT:
    case SCHEMA_DOUBLE:
        return write_float(w, s->type == SCHEMA_FLOAT);
    case SCHEMA_BYTES:
    case SCHEMA_STRING:
        return write_text(w, s->type == SCHEMA_STRING);
    case SCHEMA_FIXED:
        if ((size_t)(w->s.end - w->s.p) < s->fixed_bytes)
            return skip_fail(&w->s, BAD_END, 0, 0);
        put_json_bytes(w->out, view_of(w->s.p, s->fixed_bytes));
        w->s.p += s->fixed_bytes;
        return true;
    case SCHEMA_ENUM:
        if (!skip_long(&w->s, &v))
            return false;
        if (v < 0 || (uint64_t)v >= s->n)
            return skip_fail(&w->s, BAD_ENUM, v, (int64_t)s->n);
        bytes_printf(w->out, "\"%s\"", s->symbols[v]);
        return true;
    case SCHEMA_RECORD:
        return write_record(w, s);
    case SCHEMA_ARRAY:
    case SCHEMA_MAP:
        return write_items(w, s);
    case SCHEMA_UNION:
        if (!skip_long(&w->s, &v))
            return false;
        if (v < 0 || (uint64_t)v >= s->n)
            return skip_fail(&w->s, BAD_UNION, v, (int64_t)s->n);
        return write_value(w, s->branches[v]);
    }
    return false;
}

enum status text_from_avro(const struct schema *s, struct view body, bool iso, struct bytes *ret_json, struct error *err)
{
    struct writer w = {.s = {.p = body.data, .end = body.data + body.n}, .iso = iso, .out = ret_json};
    size_t before = ret_json->n;
    char why[128];

    if (!write_value(&w, s)) {
        ret_json->n = before;
        skip_why(&w.s, why, sizeof(why));
        return err_set(err, ERR_RECORD, "avro: byte %td: %s", w.s.p - body.data, why);
    }
    if (w.s.p != w.s.end) {
        ret_json->n = before;
        return err_set(err, ERR_RECORD, "avro: %td bytes left over after the last field", w.s.end - w.s.p);
    }
    return OK;
}
