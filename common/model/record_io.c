#include "model/record_io.h"

#include <math.h>

struct take take_from(struct view body, struct arena *arena, const char *record, struct error *err)
{
    return (struct take){
        .in = {body.data, body.data + body.n}, .arena = arena, .err = err, .record = record};
}

void take_fail(struct take *t, const char *field, const char *why)
{
    if (!t->failed)
        err_set(t->err, ERR_RECORD, "%s: %s: %s", t->record, field, why);
    t->failed = true;
}

int64_t take_long(struct take *t, const char *field, int64_t min, int64_t max)
{
    int64_t v;

    if (t->failed)
        return min;
    if (!avro_get_long(&t->in, &v)) {
        take_fail(t, field, "expected an integer");
        return min;
    }
    if (v < min || v > max) {
        err_set(t->err, ERR_RECORD, "%s: %s: expected %lld to %lld, got %lld", t->record, field, (long long)min, (long long)max,
                (long long)v);
        t->failed = true;
        return min;
    }
    return v;
}

double take_double(struct take *t, const char *field)
{
    double v = 0;

    if (!t->failed && !avro_get_double(&t->in, &v))
        take_fail(t, field, "expected a double");
    return v;
}

struct view take_bytes(struct take *t, const char *field, size_t max)
{
    struct view v = {0};

    if (t->failed)
        return v;
    if (!avro_get_bytes(&t->in, &v)) {
        take_fail(t, field, "expected a length within the bytes left");
        return (struct view){0};
    }
    if (v.n > max) {
        err_set(t->err, ERR_RECORD, "%s: %s: expected at most %zu bytes, got %zu", t->record, field, max, v.n);
        t->failed = true;
        return (struct view){0};
    }
    return v;
}

const char *take_text(struct take *t, const char *field)
{
    struct view v = take_bytes(t, field, RECORD_TEXT_MAX);
    char *s;

    if (v.n != 0 && !avro_is_text(v))
        take_fail(t, field, "expected UTF-8 without a zero byte");
    if (t->failed || v.n == 0)
        return "";
    s = arena_zalloc(t->arena, v.n + 1);
    memcpy(s, v.data, v.n);
    return s;
}

const char *take_name(struct take *t)
{
    const char *name = take_text(t, "name");

    if (!t->failed && !model_name_ok(view_str(name)))
        take_fail(t, "name", "expected 1 to 100 letters, digits, '_', '-', '.'");
    return name;
}

int64_t take_long_or(struct take *t, const char *field, int64_t absent, int64_t min, int64_t max)
{
    return take_long(t, field, 0, 1) == 0 ? absent : take_long(t, field, min, max);
}

double take_double_or_nan(struct take *t, const char *field)
{
    return take_long(t, field, 0, 1) == 0 ? NAN : take_double(t, field);
}

void take_signature(struct take *t, uint8_t ret_signature[SIGN_BYTES])
{
    struct view v = take_bytes(t, "signature", SIGN_BYTES);

    if (!t->failed && v.n != SIGN_BYTES)
        take_fail(t, "signature", "expected 64 bytes");
    if (!t->failed)
        memcpy(ret_signature, v.data, SIGN_BYTES);
}

size_t take_left(const struct take *t)
{
    return (size_t)(t->in.end - t->in.p);
}

enum status take_end(struct take *t)
{
    if (!t->failed && t->in.p != t->in.end)
        take_fail(t, "end", "bytes follow the last field");
    return t->failed ? ERR_RECORD : OK;
}

void *take_item(struct take *t, const char *field, struct take_items *items, size_t item_bytes, size_t max)
{
    void *base;

    if (t->failed)
        return NULL;
    if (items->left == 0 && !avro_get_block(&t->in, &items->left)) {
        take_fail(t, field, "expected an array's count");
        return NULL;
    }
    if (items->left == 0)
        return NULL;
    if (items->n == max) {
        take_fail(t, field, "too many items");
        return NULL;
    }
    if (items->n == items->cap) {
        items->cap = items->cap ? 2 * items->cap : 16;
        base = arena_zalloc(t->arena, items->cap * item_bytes);
        if (items->n != 0)
            memcpy(base, items->base, items->n * item_bytes);
        items->base = base;
    }
    items->left--;
    return (char *)items->base + item_bytes * items->n++;
}

void take_metrics(struct take *t, struct model_metric **ret_metrics, size_t *ret_n)
{
    struct take_items items = {0};
    struct model_metric *m;

    while ((m = take_item(t, "metrics", &items, sizeof(*m), RECORD_ITEMS_MAX)) != NULL) {
        m->name = take_text(t, "metrics.name");
        m->value = take_double(t, "metrics.value");
        m->champion = take_double_or_nan(t, "metrics.champion");
    }
    *ret_metrics = items.base;
    *ret_n = items.n;
}

void put_count(size_t n, struct bytes *out)
{
    if (n != 0)
        avro_put_long(out, (int64_t)n);
}

void put_metrics(const struct model_metric *metrics, size_t n, struct bytes *out)
{
    put_count(n, out);
    for (size_t i = 0; i < n; i++) {
        avro_put_str(out, metrics[i].name);
        avro_put_double(out, metrics[i].value);
        put_double_or_nan(metrics[i].champion, out);
    }
    avro_put_long(out, 0);
}

void put_double_or_nan(double v, struct bytes *out)
{
    avro_put_long(out, isnan(v) ? 0 : 1);
    if (!isnan(v))
        avro_put_double(out, v);
}

void put_long_or(int64_t v, int64_t absent, struct bytes *out)
{
    avro_put_long(out, v == absent ? 0 : 1);
    if (v != absent)
        avro_put_long(out, v);
}

bool signed_part(struct view body, struct view *ret_signed)
{
    static const uint8_t length[] = {0x80, 0x01}; /* 64 */

    if (body.n < SIGNATURE_FIELD_BYTES || memcmp(body.data + body.n - SIGNATURE_FIELD_BYTES, length, 2) != 0)
        return false;
    *ret_signed = view_of(body.data, body.n - SIGNATURE_FIELD_BYTES);
    return true;
}
