/* common/feature/ahead.h */
/*
 * ahead: records of another input joined at times ahead of the row: what was known, as of the row, of each of the steps behind it.
 *
 * Shape    a ring whose rows lie by the time that they are for (`valid`), not by their own. Step k of a row at t ends at T(k), k x every after t
 *          (borders_steps). Its record is, of those for a time in (T(k-1), T(k)], the one for the latest time; of those for the same time the
 *          latest by its own time up to t - delay, which is none as old as within_ms; of those of one time the one that came last.
 * State    versions of a time that some row may still ask for: all that came less than the lateness and the longest delay before the emitting
 *          input's progress, and the one before them. Of times that no row can have before it any more, nothing.
 * Cost     a record and a row each walk what is kept of the times ahead.
 * Source   docs/adr/0012; test/unit/test_ahead.c has the slow oracle.
 */
#ifndef FEATURE_AHEAD_H
#define FEATURE_AHEAD_H

#include "feature/borders.h"
#include "feature/ring.h"

#define AHEAD_MAX 256 /* steps */

/* One definition: a column for each field and step, those of one field side by side. */
struct ahead {
    const struct ring_def *ring;
    size_t made; /* its first column */
    const int *fields; /* of the ring */
    size_t n_fields;
    struct borders borders;
    size_t n_steps;
    int64_t delay_ms, within_ms; /* within 0: however old */
};

/* v: the place of the row's fields, and the row's own time. */
void ahead_put(struct past *p, const struct ring_def *def, struct moments m, int64_t valid_ms, const double *v);
/* Takes out the row of this own time; false: there is none. */
bool ahead_remove(struct past *p, const struct ring_def *def, struct moments m, int64_t own_ms);
/* Into row r of the columns, which are cleared; cols: the definition's first one. */
void ahead_get(const struct past *p, const struct ahead *a, int64_t event_ms, struct arena *arena, struct col *cols, size_t r);

#endif
