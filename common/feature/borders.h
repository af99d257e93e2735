/* common/feature/borders.h */
/*
 * borders: where windows that follow one another without a gap begin and end.
 *
 * Shape    [start, end): every_ms long, at multiples of every_ms since 1970 in UTC; whole weeks begin on Mondays. In a zone,
 *          every_ms is whole days, which begin at the first instant whose local date is that day: a window may be 23 or 25
 *          hours long. A local day that a zone left out is no window.
 * Units    event time, UTC epoch milliseconds.
 * Source   test/unit/test_tumbling.c compares with a walk through all minutes.
 */
#ifndef FEATURE_BORDERS_H
#define FEATURE_BORDERS_H

#include "feature/zone.h"

struct borders {
    int64_t every_ms;        /* > 0 */
    const struct zone *zone; /* NULL: UTC */
};

struct period {
    int64_t start, end;
};

/* The window that holds ms; the next one is that of its end. */
struct period borders_find(const struct borders *b, int64_t ms);

/* The n times behind t, each every_ms after the one before; in a zone, where t is the beginning of a window, the ends of the windows from there on. */
void borders_steps(const struct borders *b, int64_t t, size_t n, int64_t *ret_times);

#endif
