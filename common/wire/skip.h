/* common/wire/skip.h */
/*
 * skip: a cursor over one record's bytes that cannot pass its end; for common/wire alone.
 *
 * Errors   the first thing that is wrong stays in `bad` with two numbers; skip_why puts it in words.
 * Bounds   recursion by the schema's depth (<= 32); items without a byte <= 1,000 per record in total.
 */
#ifndef WIRE_SKIP_H
#define WIRE_SKIP_H

#include "wire/schema.h"
#include "wire/varint.h"

#define SKIP_EMPTY_ITEMS_MAX 1000

enum skip_bad {
    BAD_NONE,
    BAD_END,
    BAD_VARINT,
    BAD_INT,
    BAD_NEGATIVE,
    BAD_LENGTH,
    BAD_BOOLEAN,
    BAD_UNION,
    BAD_ENUM,
    BAD_TEXT,
    BAD_COUNT,
    BAD_BLOCK,
    BAD_EMPTY_ITEMS,
};

struct skip {
    const uint8_t *p;
    const uint8_t *end;
    size_t n_empty; /* items without a byte so far */
    bool text;      /* also look whether strings are text */
    enum skip_bad bad;
    int64_t got;
    int64_t of;
};

static inline bool skip_fail(struct skip *s, enum skip_bad bad, int64_t got, int64_t of)
{
    s->bad = bad;
    s->got = got;
    s->of = of;
    return false;
}

static inline bool skip_long(struct skip *s, int64_t *ret)
{
    const uint8_t *p = varint_read_long(s->p, s->end, ret);

    if (__builtin_expect(p == NULL, 0))
        return skip_fail(s, s->end - s->p >= VARINT_BYTES_MAX ? BAD_VARINT : BAD_END, 0, 0);
    s->p = p;
    return true;
}

/* A length that the bytes left can hold. */
static inline bool skip_length(struct skip *s, int64_t *ret)
{
    if (!skip_long(s, ret))
        return false;
    if (__builtin_expect(*ret < 0, 0))
        return skip_fail(s, BAD_NEGATIVE, *ret, 0);
    if (__builtin_expect(*ret > s->end - s->p, 0))
        return skip_fail(s, BAD_LENGTH, *ret, s->end - s->p);
    return true;
}

/* Past one value of the type. */
bool skip_value(struct skip *s, const struct schema *type);

/* The next block of an array or map: its count, 0 at the end. ret_end is where the block says that it
 * ends, or NULL when it does not say. */
bool skip_block(struct skip *s, int64_t *ret_n, const uint8_t **ret_end);

/* "length 9 beyond the 3 bytes left" */
void skip_why(const struct skip *s, char *text, size_t n_bytes);

#endif
