#include "base/bytes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"

uint8_t *bytes_grow(struct bytes *b, size_t n_bytes)
{
    size_t cap = b->cap ? b->cap : 64;

    while (cap - b->n < n_bytes)
        cap *= 2;
    b->data = xrealloc(b->data, cap);
    b->cap = cap;
    return b->data + b->n;
}

void bytes_printf(struct bytes *b, const char *fmt, ...)
{
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    va_start(ap, fmt);
    vsnprintf((char *)bytes_reserve(b, (size_t)n + 1), (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->n += (size_t)n;
}

void bytes_clear(struct bytes *b)
{
    b->n = 0;
}

void bytes_done(struct bytes *b)
{
    free(b->data);
    *b = BYTES_EMPTY;
}
