/* common/feature/fields.h */
/*
 * fields: what joins, and rows that come again (again.c), keep of an event: columns with their types, packed in one run of a past.
 *
 * Shape    null bits, a word for each of the ring's fields, then the bytes of texts and lists. The row has the run's place.
 * Bounds   FIELDS_BYTES_MAX for all of an event: what is more is refused before it is put.
 * Owner    the past; ring_trim gives back what no cursor can come back to. fields_get copies bytes into the arena.
 */
#ifndef FEATURE_FIELDS_H
#define FEATURE_FIELDS_H

#include "feature/past.h"

#define FIELDS_BYTES_MAX ((size_t)16 * 1024)
#define FIELDS_ORDERS 8 /* of runs, the least of which has 128 bytes */

/* What row r takes. cols: of the ring's fields, in their order. */
size_t fields_bytes(const struct ring_def *def, const struct col *const *cols, size_t r);
/* The place; 0, and the past says why, where there is no room. */
uint32_t fields_put(struct past *p, const struct ring_def *def, const struct col *const *cols, size_t r);
void fields_give(struct past *p, uint32_t place);
uint32_t fields_move(struct past *to, const struct past *from, uint32_t place); /* a copy's place, in another past of the same plan */
struct claims;
/* Of a row from outside (past_check.h): whether its run, which it claims, is there, and all of the event in it. */
bool fields_check(const struct past *p, const struct ring_def *def, uint32_t place, struct claims *c);
/* Into row r of a column that is cleared. */
void fields_get(const struct past *p, const struct ring_def *def, uint32_t place, size_t field, struct arena *arena, struct col *col, size_t r);
/* An integer; 0 for null. */
int64_t fields_int(const struct past *p, const struct ring_def *def, uint32_t place, size_t field);
/* Another one, which is not null then. */
void fields_set(struct past *p, const struct ring_def *def, uint32_t place, size_t field, int64_t v);

#endif
