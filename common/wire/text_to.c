/*
 * JSON text to Avro: the reverse of text_from.c. Of a union the first branch that takes
 * such a value; Avro's own form {"string": "x"} is read as well where nothing else can be meant.
 */
#include <math.h>

#include "wire/avro.h"
#include "wire/schema_doc.h"
#include "wire/text.h"
#include "wire/text_read.h"

int64_t text_time_unit(const struct schema *s)
{
    const char *l = s->type == SCHEMA_LONG ? s->logical : NULL;

    if (l == NULL)
        return 0;
    if (strncmp(l, "local-", 6) == 0)
        l += 6;
    return strcmp(l, "timestamp-millis") == 0 ? 1 : strcmp(l, "timestamp-micros") == 0 ? 1000 : 0;
}

static const char *got(const json_t *v)
{
    static const char *const names[] = {"an object", "a list", "text",    "an integer",
                                        "a number",  "a boolean", "a boolean", "null"};

    return names[json_typeof(v)];
}

enum status text_differs(struct text_reader *r, const struct schema *s, const char *what)
{
    return err_set(r->err, ERR_RECORD, "expected %s%s, got %s", schema_type_name(s),
                   text_time_unit(s) != 0 ? " milliseconds or ISO 8601 text" : "", what);
}

static struct view text_of(const json_t *v)
{
    return view_of(json_string_value(v), json_string_length(v));
}

enum status text_put_long(struct text_reader *r, const struct schema *s, int64_t v)
{
    if (s->type == SCHEMA_INT && v != (int32_t)v)
        return text_differs(r, s, "a number beyond 32 bits");
    avro_put_long(r->out, v);
    return OK;
}

enum status text_put_time(struct text_reader *r, const struct schema *s, int64_t ms)
{
    int64_t v;

    if (__builtin_mul_overflow(ms, text_time_unit(s), &v))
        return text_differs(r, s, "a time beyond 64 bits");
    avro_put_long(r->out, v);
    return OK;
}

enum status text_put_double(struct text_reader *r, const struct schema *s, double v)
{
    float f = (float)v;
    uint32_t bits;

    if (s->type == SCHEMA_DOUBLE) {
        avro_put_double(r->out, v);
        return OK;
    }
    if (isfinite(v) && !isfinite(f))
        return text_differs(r, s, "a number beyond its range");
    memcpy(&bits, &f, sizeof(bits));
    bits = htole32(bits);
    bytes_append(r->out, &bits, sizeof(bits));
    return OK;
}

static int base64_digit(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static bool base64_read(struct view v, struct bytes *ret)
{
    uint32_t x = 0;
    int n_bits = 0;

    while (v.n != 0 && v.data[v.n - 1] == '=')
        v.n--;
    for (size_t i = 0; i < v.n; i++) {
        int d = base64_digit(v.data[i]);
        uint8_t byte;

        if (d < 0)
            return false;
        x = x << 6 | (uint32_t)d;
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            byte = (uint8_t)(x >> n_bits);
            bytes_append(ret, &byte, 1);
        }
    }
    return n_bits < 6;
}

static enum status put_bytes(struct text_reader *r, const struct schema *s, struct view v)
{
    struct bytes raw = BYTES_EMPTY;
    enum status st = OK;

    if (v.n >= TEXT_BASE64_N && memcmp(v.data, TEXT_BASE64, TEXT_BASE64_N) == 0) {
        if (!base64_read(view_of(v.data + TEXT_BASE64_N, v.n - TEXT_BASE64_N), &raw))
            st = text_differs(r, s, "text that is not base64");
        v = view_of(raw.data, raw.n);
    }
    if (st == OK && s->type == SCHEMA_FIXED && v.n != s->fixed_bytes)
        st = err_set(r->err, ERR_RECORD, "expected %zu bytes of %s, got %zu", s->fixed_bytes, s->name, v.n);
    if (st == OK && s->type == SCHEMA_BYTES)
        avro_put_long(r->out, (int64_t)v.n);
    if (st == OK)
        bytes_append(r->out, v.data, v.n);
    bytes_done(&raw);
    return st;
}

static long symbol_at(const struct schema *s, struct view v)
{
    for (size_t i = 0; i < s->n; i++)
        if (view_eq(view_str(s->symbols[i]), v))
            return (long)i;
    return -1;
}

bool text_special_double(struct view v, double *ret)
{
    if (view_eq(v, view_str("NaN")))
        *ret = (double)NAN;
    else if (view_eq(v, view_str("Infinity")))
        *ret = (double)INFINITY;
    else if (view_eq(v, view_str("-Infinity")))
        *ret = -(double)INFINITY;
    else
        return false;
    return true;
}

/* A value of a leaf type that is given as text in JSON. */
enum status text_read_text(struct text_reader *r, const struct schema *s, struct view v)
{
    int64_t ms;
    double d;
    long i;

    switch (s->type) {
    case SCHEMA_STRING:
        if (!avro_is_text(v))
            return text_differs(r, s, "bytes that are not UTF-8");
        avro_put_bytes(r->out, v);
        return OK;
    case SCHEMA_BYTES:
    case SCHEMA_FIXED:
        return put_bytes(r, s, v);
    case SCHEMA_ENUM:
        i = symbol_at(s, v);
        if (i < 0)
            return text_differs(r, s, "text that is none of its symbols");
        avro_put_long(r->out, i);
        return OK;
    case SCHEMA_LONG:
        if (text_time_unit(s) != 0 && text_parse_time(v, &ms))
            return text_put_time(r, s, ms);
        return text_differs(r, s, "text");
    case SCHEMA_FLOAT:
    case SCHEMA_DOUBLE:
        return text_special_double(v, &d) ? text_put_double(r, s, d) : text_differs(r, s, "text");
    default:
        return text_differs(r, s, "text");
    }
}

enum status text_unknown_field(struct text_reader *r, const struct schema *s, const char *name)
{
    const char *near = schema_nearest(s, name);

    return err_set(r->err, ERR_RECORD, "field '%.100s': %s has no such field%s%s%s", name, schema_type_name(s),
                   near[0] ? " (nearest: '" : "", near, near[0] ? "')" : "");
}

enum status text_put_missing(struct text_reader *r, const struct schema_field *f)
{
    if (f->deflt != NULL) {
        if (schema_encode_default(f->type, f->deflt, r->out, r->err) == OK)
            return OK;
        r->err->status = ERR_RECORD;
        return ERR_RECORD;
    }
    for (size_t i = 0; f->type->type == SCHEMA_UNION && i < f->type->n; i++) {
        if (f->type->branches[i]->type == SCHEMA_NULL) {
            avro_put_long(r->out, (int64_t)i);
            return OK;
        }
    }
    if (f->type->type == SCHEMA_NULL)
        return OK;
    return err_set(r->err, ERR_RECORD, "field '%s': missing, expected %s", f->name, schema_type_name(f->type));
}

static enum status read_record(struct text_reader *r, const struct schema *s, const json_t *v)
{
    const char *key;
    json_t *value;

    if (!json_is_object(v))
        return text_differs(r, s, got(v));
    json_object_foreach ((json_t *)(uintptr_t)v, key, value)
        if (schema_field(s, key) == NULL)
            return text_unknown_field(r, s, key);
    for (size_t i = 0; i < s->n; i++) {
        const struct schema_field *f = &s->fields[i];
        const json_t *given = json_object_get(v, f->name);

        if (given == NULL) {
            if (text_put_missing(r, f) != OK)
                return r->err->status;
        } else if (text_read_value(r, f->type, given) != OK) {
            return err_wrap(r->err, "field '%s'", f->name);
        }
    }
    return OK;
}

static enum status read_items(struct text_reader *r, const struct schema *s, const json_t *v)
{
    size_t n = json_array_size(v) + json_object_size(v);
    const char *key;
    json_t *item;
    size_t i;

    if (s->type == SCHEMA_ARRAY ? !json_is_array(v) : !json_is_object(v))
        return text_differs(r, s, got(v));
    if (n != 0)
        avro_put_long(r->out, (int64_t)n);
    json_array_foreach (v, i, item)
        if (text_read_value(r, s->items, item) != OK)
            return err_wrap(r->err, "[%zu]", i);
    json_object_foreach ((json_t *)(uintptr_t)v, key, item) {
        avro_put_str(r->out, key);
        if (text_read_value(r, s->items, item) != OK)
            return err_wrap(r->err, "value of a key");
    }
    avro_put_long(r->out, 0);
    return OK;
}

/* Whether the branch takes such a value, looked at from outside: no branch is tried and taken back. */
static bool branch_takes(const struct schema *s, const json_t *v)
{
    const char *key;
    json_t *value;
    int64_t ms;
    double d;

    switch (s->type) {
    case SCHEMA_NULL:
        return json_is_null(v);
    case SCHEMA_BOOLEAN:
        return json_is_boolean(v);
    case SCHEMA_INT:
        return json_is_integer(v) && json_integer_value(v) == (int32_t)json_integer_value(v);
    case SCHEMA_LONG:
        return json_is_integer(v) || (json_is_string(v) && text_time_unit(s) != 0 && text_parse_time(text_of(v), &ms));
    case SCHEMA_FLOAT:
    case SCHEMA_DOUBLE:
        return json_is_number(v) || (json_is_string(v) && text_special_double(text_of(v), &d));
    case SCHEMA_ENUM:
        return json_is_string(v) && symbol_at(s, text_of(v)) >= 0;
    case SCHEMA_STRING:
    case SCHEMA_BYTES:
    case SCHEMA_FIXED:
        return json_is_string(v);
    case SCHEMA_ARRAY:
        return json_is_array(v);
    case SCHEMA_MAP:
        return json_is_object(v);
    case SCHEMA_RECORD:
        if (!json_is_object(v))
            return false;
        json_object_foreach ((json_t *)(uintptr_t)v, key, value)
            if (schema_field(s, key) == NULL)
                return false;
        for (size_t i = 0; i < s->n; i++)
            if (s->fields[i].deflt == NULL && s->fields[i].type->type != SCHEMA_UNION &&
                json_object_get(v, s->fields[i].name) == NULL)
                return false;
        return true;
    case SCHEMA_UNION:
        break;
    }
    return false;
}

/* {"long": 5}: its value when the only key is this branch's name, else NULL. */
static const json_t *named_branch(const struct schema *s, const json_t *v)
{
    return json_object_size(v) == 1 ? json_object_get(v, schema_type_name(s)) : NULL;
}

static enum status read_union(struct text_reader *r, const struct schema *s, const json_t *v)
{
    const struct schema *only = schema_unwrap(s);
    long at = -1;

    for (size_t i = 0; i < s->n && at < 0; i++)
        if (branch_takes(s->branches[i], v))
            at = (long)i;
    for (size_t i = 0; i < s->n && at < 0; i++) {
        if (named_branch(s->branches[i], v) != NULL) {
            v = named_branch(s->branches[i], v);
            at = (long)i;
        }
    }
    /* So that the message is that of the branch which was meant. */
    for (size_t i = 0; only != s && i < s->n && at < 0; i++)
        if (s->branches[i] == only)
            at = (long)i;
    if (at < 0)
        return text_differs(r, s, got(v));
    avro_put_long(r->out, at);
    return text_read_value(r, s->branches[at], v);
}

enum status text_read_value(struct text_reader *r, const struct schema *s, const json_t *v)
{
    switch (s->type) {
    case SCHEMA_UNION:
        return read_union(r, s, v);
    case SCHEMA_RECORD:
        return read_record(r, s, v);
    case SCHEMA_ARRAY:
    case SCHEMA_MAP:
        return read_items(r, s, v);
    case SCHEMA_NULL:
        return json_is_null(v) ? OK : text_differs(r, s, got(v));
    case SCHEMA_BOOLEAN:
        if (!json_is_boolean(v))
            return text_differs(r, s, got(v));
        avro_put_bool(r->out, json_is_true(v));
        return OK;
    default:
        break;
    }
    if (json_is_string(v))
        return text_read_text(r, s, text_of(v));
    if (s->type == SCHEMA_INT || s->type == SCHEMA_LONG) {
        if (!json_is_integer(v))
            return text_differs(r, s, got(v));
        return text_time_unit(s) != 0 ? text_put_time(r, s, json_integer_value(v)) : text_put_long(r, s, json_integer_value(v));
    }
    if ((s->type == SCHEMA_FLOAT || s->type == SCHEMA_DOUBLE) && json_is_number(v))
        return text_put_double(r, s, json_number_value(v));
    return text_differs(r, s, got(v));
}

enum status text_to_avro(const struct schema *s, struct view json_line, struct bytes *ret_body, struct error *err)
{
    struct text_reader r = {ret_body, err};
    size_t before = ret_body->n;
    json_t *v;
    enum status st;

    if (json_read(json_line, &v, err) != OK) {
        char *near = strstr(err->text, " near '");

        if (near)
            *near = '\0'; /* what stands there is content */
        err->status = ERR_RECORD;
        return ERR_RECORD;
    }
    st = text_read_value(&r, s, v);
    json_decref(v);
    if (st != OK)
        ret_body->n = before;
    return st;
}
