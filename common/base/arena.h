/* common/base/arena.h */
/*
 * arena: memory that lives as long as a batch and is released by one reset.
 *
 * Shape    a list of blocks; a reset keeps them, so a warm loop takes nothing from malloc.
 * Units    bytes; every result is aligned to 16.
 * Owner    the arena owns all it gave out; arena_reset and arena_done end it.
 * Errors   out of memory ends the process with a clear line: nothing below can go on without it.
 * Threads  one thread per arena.
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>

struct arena_block;

struct arena {
    struct arena_block *first;
    struct arena_block *now;
    size_t used;       /* bytes used in `now` */
    size_t held_bytes; /* bytes of all blocks */
};

#define ARENA_EMPTY ((struct arena){0})

void *arena_alloc(struct arena *a, size_t n_bytes);  /* not cleared */
void *arena_zalloc(struct arena *a, size_t n_bytes); /* cleared */
void *arena_copy(struct arena *a, const void *p, size_t n_bytes);
char *arena_strdup(struct arena *a, const char *s);
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void arena_reset(struct arena *a);
void arena_done(struct arena *a);

/* malloc and realloc that end the process with a clear line instead of returning NULL. */
void *xmalloc(size_t n_bytes);
void *xcalloc(size_t n, size_t size);
void *xrealloc(void *p, size_t n_bytes);
char *xstrdup(const char *s);

#endif
