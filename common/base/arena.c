#include "base/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_BYTES_MIN ((size_t)4 * 1024) /* most arenas hold one schema or one expression */

struct arena_block {
    struct arena_block *next;
    size_t size;
    _Alignas(16) unsigned char bytes[];
};

static void *or_die(void *p, size_t n_bytes)
{
    if (p == NULL && n_bytes != 0) {
        fprintf(stderr, "error event=out_of_memory wanted_bytes=%zu hint=\"raise the memory limit\"\n",
                n_bytes);
        exit(70);
    }
    return p;
}

void *xmalloc(size_t n_bytes)
{
    return or_die(malloc(n_bytes), n_bytes);
}

void *xcalloc(size_t n, size_t size)
{
    return or_die(calloc(n, size), n == 0 ? 0 : size);
}

void *xrealloc(void *p, size_t n_bytes)
{
    return or_die(realloc(p, n_bytes), n_bytes);
}

char *xstrdup(const char *s)
{
    size_t n = strlen(s) + 1;

    return memcpy(xmalloc(n), s, n);
}

/* Moves to the next kept block that fits, else puts a new one behind the present one. */
static void next_block(struct arena *a, size_t n_bytes)
{
    struct arena_block **link = a->now ? &a->now->next : &a->first;

    if (*link == NULL || (*link)->size < n_bytes) {
        size_t size = n_bytes > BLOCK_BYTES_MIN ? n_bytes : BLOCK_BYTES_MIN;
        struct arena_block *b;

        if (size < a->held_bytes)
            size = a->held_bytes; /* doubling keeps the list short */
        b = xmalloc(sizeof(*b) + size);
        b->size = size;
        b->next = *link;
        *link = b;
        a->held_bytes += size;
    }
    a->now = *link;
    a->used = 0;
}

void *arena_alloc(struct arena *a, size_t n_bytes)
{
    void *p;

    if (n_bytes > SIZE_MAX / 4)
        or_die(NULL, n_bytes);
    n_bytes = (n_bytes + 15) & ~(size_t)15;
    if (a->now == NULL || a->now->size - a->used < n_bytes)
        next_block(a, n_bytes);
    p = a->now->bytes + a->used;
    a->used += n_bytes;
    return p;
}

void *arena_zalloc(struct arena *a, size_t n_bytes)
{
    return memset(arena_alloc(a, n_bytes), 0, n_bytes);
}

void *arena_copy(struct arena *a, const void *p, size_t n_bytes)
{
    void *q = arena_alloc(a, n_bytes);

    if (n_bytes != 0)
        memcpy(q, p, n_bytes);
    return q;
}

char *arena_strdup(struct arena *a, const char *s)
{
    return arena_copy(a, s, strlen(s) + 1);
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap;
    char *s;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    s = arena_alloc(a, (size_t)n + 1);
    va_start(ap, fmt);
    vsnprintf(s, (size_t)n + 1, fmt, ap);
    va_end(ap);
    return s;
}

void arena_reset(struct arena *a)
{
    a->now = NULL;
    a->used = 0;
}

void arena_done(struct arena *a)
{
    struct arena_block *b = a->first;

    while (b) {
        struct arena_block *next = b->next;

        free(b);
        b = next;
    }
    *a = ARENA_EMPTY;
}
