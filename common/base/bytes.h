/* common/base/bytes.h */
/*
 * bytes: a growing byte buffer, and a view into bytes that somebody else owns.
 *
 * Owner    struct bytes owns its memory (bytes_done frees it); bytes_clear keeps it for the next use.
 *          struct view owns nothing: whoever hands one out says how long it lives.
 * Errors   out of memory ends the process (see arena.h).
 */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct view {
    const uint8_t *data;
    size_t n;
};

struct bytes {
    uint8_t *data;
    size_t n;
    size_t cap;
};

#define BYTES_EMPTY ((struct bytes){0})

uint8_t *bytes_grow(struct bytes *b, size_t n_bytes);
void bytes_printf(struct bytes *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void bytes_clear(struct bytes *b);
void bytes_done(struct bytes *b);

/* Room for n_bytes more; returns where they go. The caller adds what it wrote to b->n. */
static inline uint8_t *bytes_reserve(struct bytes *b, size_t n_bytes)
{
    return b->cap - b->n < n_bytes ? bytes_grow(b, n_bytes) : b->data + b->n;
}

static inline void bytes_append(struct bytes *b, const void *p, size_t n_bytes)
{
    if (n_bytes == 0)
        return;
    memcpy(bytes_reserve(b, n_bytes), p, n_bytes);
    b->n += n_bytes;
}

static inline struct view view_of(const void *p, size_t n)
{
    return (struct view){.data = p, .n = n};
}

static inline struct view view_str(const char *s)
{
    return (struct view){.data = (const uint8_t *)s, .n = strlen(s)};
}

static inline bool view_eq(struct view a, struct view b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.data, b.data, a.n) == 0);
}

#endif
