#include "feature/ahead.h"

#include "feature/fields.h"

#define FLOOR 0 /* the ring's one cursor */

static double own_time(const struct past *p, const struct ring_def *def, uint32_t row)
{
    return row_of(p, row)->v[def->n_values + 1];
}

/* A version of that time which no row can ask for, as another one of it holds for all that may still come. */
static struct spot superseded(const struct past *p, const struct ring_def *def, int64_t valid_ms, double until)
{
    struct spot s = ring_find(p, def, valid_ms), last = {0, 0};

    for (; s.row && row_of(p, s.row)->ms == valid_ms; s = (struct spot){s.pos + 1, ring_next(p, def, s.row)}) {
        if (own_time(p, def, s.row) > until)
            continue;
        if (last.row)
            return own_time(p, def, s.row) >= own_time(p, def, last.row) ? last : s;
        last = s;
    }
    return (struct spot){0, 0};
}

void ahead_put(struct past *p, const struct ring_def *def, struct moments m, int64_t valid_ms, const double *v)
{
    struct spot s;

    ring_put(p, def, m, valid_ms, v);
    while (p->st == OK && m.floor != INT64_MIN && (s = superseded(p, def, valid_ms, (double)m.floor - (double)def->keep_ms)).row)
        ring_remove_at(p, def, m, s);
}

bool ahead_remove(struct past *p, const struct ring_def *def, struct moments m, int64_t own_ms)
{
    struct spot s = ring_spot(p, def, FLOOR);

    while (s.row && own_time(p, def, s.row) != (double)own_ms)
        s = (struct spot){s.pos + 1, ring_next(p, def, s.row)};
    if (s.row)
        ring_remove_at(p, def, m, s);
    return s.row != 0;
}

static bool is_better(const struct past *p, const struct ring_def *def, uint32_t row, uint32_t than)
{
    return than == 0 || row_of(p, row)->ms > row_of(p, than)->ms || own_time(p, def, row) >= own_time(p, def, than);
}

/* The row of each step; 0: none. */
static void find(const struct past *p, const struct ahead *a, int64_t event_ms, uint32_t *ret_rows)
{
    int64_t times[AHEAD_MAX];
    double until = (double)(event_ms - a->delay_ms);
    size_t k = 0;

    borders_steps(&a->borders, event_ms, a->n_steps, times);
    for (uint32_t row = cursor_of(p, a->ring, FLOOR)->next; row; row = ring_next(p, a->ring, row)) {
        double own = own_time(p, a->ring, row);

        if (row_of(p, row)->ms <= event_ms)
            continue;
        while (k < a->n_steps && times[k] < row_of(p, row)->ms)
            k++;
        if (k == a->n_steps)
            return;
        if (own <= until && (a->within_ms == 0 || until - own < (double)a->within_ms) && is_better(p, a->ring, row, ret_rows[k]))
            ret_rows[k] = row;
    }
}

void ahead_get(const struct past *p, const struct ahead *a, int64_t event_ms, struct arena *arena, struct col *cols, size_t r)
{
    uint32_t rows[AHEAD_MAX] = {0};

    find(p, a, event_ms, rows);
    for (size_t i = 0; i < a->n_fields; i++)
        for (size_t k = 0; k < a->n_steps; k++, cols++)
            if (rows[k])
                fields_get(p, a->ring, (uint32_t)row_of(p, rows[k])->v[a->ring->n_values], (size_t)a->fields[i], arena, cols, r);
            else
                cols->null[r] = 1;
}
