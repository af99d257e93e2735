/* common/feature/heavy.h: the most frequent of very many values, in a run of fixed size that an event is added to and taken off (heavy.c). */
#ifndef FEATURE_HEAVY_H
#define FEATURE_HEAVY_H

#include "feature/parts.h"

#define HEAVY_RANK_MAX 16

size_t heavy_bytes(void); /* of the run, zeroed at first */
/* `by` events of that value more; (uint32_t)-1: one less. */
void heavy_change(struct past *p, uint32_t place, double v, uint32_t by);
/* The rank-th most frequent value; NaN: so many do not stand out. */
double heavy_top(const struct past *p, uint32_t place, unsigned rank);

#endif
