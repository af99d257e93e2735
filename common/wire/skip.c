#include "wire/skip.h"

#include <inttypes.h>
#include <stdio.h>

#include "wire/avro.h"

static bool skip_bytes(struct skip *s, bool text)
{
    int64_t n;

    if (!skip_length(s, &n))
        return false;
    if (text && !avro_is_text(view_of(s->p, (size_t)n)))
        return skip_fail(s, BAD_TEXT, 0, 0);
    s->p += n;
    return true;
}

static bool skip_fixed(struct skip *s, size_t n)
{
    if ((size_t)(s->end - s->p) < n)
        return skip_fail(s, BAD_END, 0, 0);
    s->p += n;
    return true;
}

bool skip_block(struct skip *s, int64_t *ret_n, const uint8_t **ret_end)
{
    int64_t n_bytes;

    *ret_end = NULL;
    if (!skip_long(s, ret_n))
        return false;
    if (*ret_n >= 0)
        return true;
    if (*ret_n == INT64_MIN)
        return skip_fail(s, BAD_COUNT, *ret_n, 0);
    *ret_n = -*ret_n;
    if (!skip_length(s, &n_bytes))
        return false;
    *ret_end = s->p + n_bytes;
    return true;
}

/* A block's size is walked, not believed: else two readers see different values in the same bytes. */
static bool skip_items(struct skip *s, const struct schema *type)
{
    const uint8_t *block_end;
    int64_t n;

    for (;;) {
        if (!skip_block(s, &n, &block_end))
            return false;
        if (n == 0)
            break;
        for (; n > 0; n--) {
            const uint8_t *before = s->p;

            if (type->type == SCHEMA_MAP && !skip_bytes(s, s->text))
                return false;
            if (!skip_value(s, type->items))
                return false;
            if (s->p == before && ++s->n_empty > SKIP_EMPTY_ITEMS_MAX)
                return skip_fail(s, BAD_EMPTY_ITEMS, 0, 0);
        }
        if (block_end != NULL && s->p != block_end)
            return skip_fail(s, BAD_BLOCK, s->p - block_end, 0);
    }
    return true;
}

static bool skip_enum(struct skip *s, const struct schema *type)
{
    int64_t i;

    if (!skip_long(s, &i))
        return false;
    if (i < 0 || (uint64_t)i >= type->n)
        return skip_fail(s, BAD_ENUM, i, (int64_t)type->n);
    return true;
}

bool skip_value(struct skip *s, const struct schema *type)
{
    int64_t v;

    switch (type->type) {
    case SCHEMA_NULL:
        return true;
    case SCHEMA_BOOLEAN:
        if (s->p == s->end)
            return skip_fail(s, BAD_END, 0, 0);
        if (*s->p > 1)
            return skip_fail(s, BAD_BOOLEAN, *s->p, 0);
        s->p++;
        return true;
    case SCHEMA_INT:
        return skip_long(s, &v) && (v == (int32_t)v || skip_fail(s, BAD_INT, 0, 0));
    case SCHEMA_LONG:
        return skip_long(s, &v);
    case SCHEMA_FLOAT:
        return skip_fixed(s, 4);
    case SCHEMA_DOUBLE:
        return skip_fixed(s, 8);
    case SCHEMA_FIXED:
        return skip_fixed(s, type->fixed_bytes);
    case SCHEMA_BYTES:
        return skip_bytes(s, false);
    case SCHEMA_STRING:
        return skip_bytes(s, s->text);
    case SCHEMA_ENUM:
        return skip_enum(s, type);
    case SCHEMA_RECORD:
        for (size_t i = 0; i < type->n; i++)
            if (!skip_value(s, type->fields[i].type))
                return false;
        return true;
    case SCHEMA_ARRAY:
    case SCHEMA_MAP:
        return skip_items(s, type);
    case SCHEMA_UNION:
        if (!skip_long(s, &v))
            return false;
        if (v < 0 || (uint64_t)v >= type->n)
            return skip_fail(s, BAD_UNION, v, (int64_t)type->n);
        return skip_value(s, type->branches[v]);
    }
    return false;
}

void skip_why(const struct skip *s, char *text, size_t n)
{
    switch (s->bad) {
    case BAD_NONE:
        snprintf(text, n, "no fault");
        break;
    case BAD_END:
        snprintf(text, n, "the record ends here");
        break;
    case BAD_VARINT:
        snprintf(text, n, "a number longer than 64 bits");
        break;
    case BAD_INT:
        snprintf(text, n, "a number beyond 32 bits in an int");
        break;
    case BAD_NEGATIVE:
        snprintf(text, n, "length %" PRId64, s->got);
        break;
    case BAD_LENGTH:
        snprintf(text, n, "length %" PRId64 " beyond the %" PRId64 " bytes left", s->got, s->of);
        break;
    case BAD_BOOLEAN:
        snprintf(text, n, "boolean byte %" PRId64 ", expected 0 or 1", s->got);
        break;
    case BAD_UNION:
        snprintf(text, n, "union branch %" PRId64 " of %" PRId64, s->got, s->of);
        break;
    case BAD_ENUM:
        snprintf(text, n, "enum symbol %" PRId64 " of %" PRId64, s->got, s->of);
        break;
    case BAD_TEXT:
        snprintf(text, n, "not UTF-8, or with a NUL");
        break;
    case BAD_COUNT:
        snprintf(text, n, "block count %" PRId64, s->got);
        break;
    case BAD_BLOCK:
        snprintf(text, n, "a block that is %" PRId64 " bytes longer than its size says", s->got);
        break;
    case BAD_EMPTY_ITEMS:
        snprintf(text, n, "more than %d items without a byte", SKIP_EMPTY_ITEMS_MAX);
        break;
    }
}
