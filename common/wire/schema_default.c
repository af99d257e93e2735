/* A default value (JSON in the schema) as Avro bytes: Avro specification 1.11, "Complex types: Records". */
#include <math.h>

#include "wire/avro.h"
#include "wire/schema_doc.h"

#define STEPS_MAX 100000

struct walk {
    struct bytes *out;
    struct error *err;
    size_t n_steps;
};

static enum status encode(struct walk *w, const struct schema *s, const json_t *v);

static const char *json_type_name(const json_t *v)
{
    static const char *const names[] = {"an object", "a list", "text",  "an integer",
                                        "a number",  "true",   "false", "null"};

    return names[json_typeof(v)];
}

static enum status differs(struct walk *w, const struct schema *s, const json_t *v)
{
    return err_set(w->err, ERR_FATAL, "expected %s, got %s", schema_type_name(s), json_type_name(v));
}

/* In JSON, bytes are text whose characters U+0000 to U+00FF stand for a byte each. */
static bool latin1_to_bytes(const char *s, size_t n, struct bytes *ret)
{
    const uint8_t *p = (const uint8_t *)s;

    for (size_t i = 0; i < n; i++) {
        uint8_t byte = p[i];

        if (byte >= 0x80) {
            if (byte > 0xc3 || i + 1 >= n)
                return false;
            byte = (uint8_t)(byte << 6 | (p[++i] & 0x3f));
        }
        bytes_append(ret, &byte, 1);
    }
    return true;
}

static enum status encode_bytes(struct walk *w, const struct schema *s, const json_t *v)
{
    struct bytes raw = BYTES_EMPTY;
    bool ok = json_is_string(v) && latin1_to_bytes(json_string_value(v), json_string_length(v), &raw) &&
              (s->type == SCHEMA_BYTES || raw.n == s->fixed_bytes);

    if (ok && s->type == SCHEMA_BYTES)
        avro_put_long(w->out, (int64_t)raw.n);
    if (ok)
        bytes_append(w->out, raw.data, raw.n);
    bytes_done(&raw);
    return ok ? OK : differs(w, s, v);
}

static enum status encode_number(struct walk *w, const struct schema *s, const json_t *v)
{
    double d = json_number_value(v);
    float f = (float)d;
    uint32_t bits;

    if (s->type == SCHEMA_INT || s->type == SCHEMA_LONG) {
        json_int_t i = json_integer_value(v);

        if (!json_is_integer(v) || (s->type == SCHEMA_INT && (i < INT32_MIN || i > INT32_MAX)))
            return differs(w, s, v);
        avro_put_long(w->out, i);
        return OK;
    }
    if (!json_is_number(v) || (s->type == SCHEMA_FLOAT && !isfinite(f)))
        return differs(w, s, v);
    if (s->type == SCHEMA_DOUBLE) {
        avro_put_double(w->out, d);
    } else {
        memcpy(&bits, &f, sizeof(bits));
        bits = htole32(bits);
        bytes_append(w->out, &bits, sizeof(bits));
    }
    return OK;
}

static enum status encode_record(struct walk *w, const struct schema *s, const json_t *v)
{
    if (!json_is_object(v))
        return differs(w, s, v);
    for (size_t i = 0; i < s->n; i++) {
        const json_t *f = json_object_get(v, s->fields[i].name);

        if (f == NULL)
            f = s->fields[i].deflt;
        if (f == NULL)
            return err_set(w->err, ERR_FATAL, "field '%s' is missing and has no default", s->fields[i].name);
        if (encode(w, s->fields[i].type, f) != OK)
            return err_wrap(w->err, "field '%s'", s->fields[i].name);
    }
    return OK;
}

static enum status encode_items(struct walk *w, const struct schema *s, const json_t *v)
{
    const char *key;
    json_t *item;
    size_t i;

    if (s->type == SCHEMA_ARRAY ? !json_is_array(v) : !json_is_object(v))
        return differs(w, s, v);
    if (json_array_size(v) + json_object_size(v) != 0)
        avro_put_long(w->out, (int64_t)(json_array_size(v) + json_object_size(v)));
    json_array_foreach (v, i, item)
        if (encode(w, s->items, item) != OK)
            return w->err->status;
    json_object_foreach ((json_t *)(uintptr_t)v, key, item) {
        avro_put_str(w->out, key);
        if (encode(w, s->items, item) != OK)
            return w->err->status;
    }
    avro_put_long(w->out, 0);
    return OK;
}

static enum status encode_union(struct walk *w, const struct schema *s, const json_t *v)
{
    size_t before = w->out->n;

    for (size_t i = 0; i < s->n; i++) {
        avro_put_long(w->out, (int64_t)i);
        if (encode(w, s->branches[i], v) == OK)
            return OK;
        w->out->n = before;
        if (w->n_steps > STEPS_MAX)
            return w->err->status;
    }
    return err_set(w->err, ERR_FATAL, "no branch of the union takes %s", json_type_name(v));
}

static enum status encode_enum(struct walk *w, const struct schema *s, const json_t *v)
{
    for (size_t i = 0; json_is_string(v) && i < s->n; i++) {
        if (strcmp(s->symbols[i], json_string_value(v)) == 0) {
            avro_put_long(w->out, (int64_t)i);
            return OK;
        }
    }
    return err_set(w->err, ERR_FATAL, "expected a symbol of %s, got %s", s->name, json_type_name(v));
}

static enum status encode(struct walk *w, const struct schema *s, const json_t *v)
{
    if (++w->n_steps > STEPS_MAX || w->out->n > JSON_BYTES_MAX)
        return err_set(w->err, ERR_FATAL, "a default of more than %d values", STEPS_MAX);
    switch (s->type) {
    case SCHEMA_NULL:
        return json_is_null(v) ? OK : differs(w, s, v);
    case SCHEMA_BOOLEAN:
        if (!json_is_boolean(v))
            return differs(w, s, v);
        avro_put_bool(w->out, json_is_true(v));
        return OK;
    case SCHEMA_INT:
    case SCHEMA_LONG:
    case SCHEMA_FLOAT:
    case SCHEMA_DOUBLE:
        return encode_number(w, s, v);
    case SCHEMA_STRING:
        if (!json_is_string(v))
            return differs(w, s, v);
        avro_put_bytes(w->out, view_of(json_string_value(v), json_string_length(v)));
        return OK;
    case SCHEMA_BYTES:
    case SCHEMA_FIXED:
        return encode_bytes(w, s, v);
    case SCHEMA_ENUM:
        return encode_enum(w, s, v);
    case SCHEMA_RECORD:
        return encode_record(w, s, v);
    case SCHEMA_ARRAY:
    case SCHEMA_MAP:
        return encode_items(w, s, v);
    case SCHEMA_UNION:
        return encode_union(w, s, v);
    }
    return err_set(w->err, ERR_FATAL, "unknown type");
}

enum status schema_encode_default(const struct schema *s, const json_t *value, struct bytes *out, struct error *err)
{
    struct walk w = {.out = out, .err = err};
    size_t before = out->n;

    if (encode(&w, s, value) == OK)
        return OK;
    out->n = before;
    return err->status;
}
