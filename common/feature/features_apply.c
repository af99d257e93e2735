/* common/feature/features_apply.c: rows through what the definitions became: state, aggregates, then expressions. */
#include <math.h>

#include "feature/features_made.h"

/* Rounded once, to an integer at the column's scale: sums of integers know no order. False beyond 10^30. */
static bool scale_value(const struct col *c, size_t r, double factor, struct ring_value *ret)
{
    double v;

    *ret = (struct ring_value){0, c->null[r]};
    if (c->null[r])
        return true;
    v = (c->type == COL_DOUBLE ? c->f64[r] : (double)c->i64[r]) * factor;
    if (!(fabs(v) < 1e30))
        return false;
    ret->scaled = fabs(v) < 9e18 ? (int128)llrint(v) : (int128)v;
    return true;
}

static void put_aggregates(const struct features *f, const struct rings *rings, const struct batch *in, size_t r,
                           int64_t event_ms)
{
    for (size_t i = 0, c = in->n_cols - f->n_made; i < f->n_made; i++, c++) {
        const struct made *m = &f->made[i];
        struct col *col = &in->cols[c];
        int64_t until = event_ms - m->delay_ms;
        struct ring_sum s;

        if (m->kind == KIND_EXPR)
            continue;
        s = rings_sum(rings, m->ring, m->value, until - m->window_ms, until);
        if (m->kind == KIND_COUNT) {
            col->i64[r] = s.n_events;
        } else if (m->kind == KIND_MEAN && s.n_values == 0) {
            col->null[r] = 1;
        } else {
            double factor = f->rings[m->ring].values[m->value].factor;

            col->f64[r] = (double)s.sum / (m->kind == KIND_MEAN ? factor * (double)s.n_values : factor);
        }
    }
}

static enum status apply_row(const struct features *f, struct state *s, const struct ring_of *ring, size_t ring_i,
                             const struct col *values, struct view key, int64_t event_ms, int64_t expired, size_t r,
                             int64_t commit, struct rings *rings, struct error *err)
{
    struct ring_value v[RING_VALUES_MAX];

    rings->entry = ring ? state_get(s, key, err) : state_find(s, key);
    if (ring == NULL)
        return OK;
    if (rings->entry == NULL)
        return err->status;
    for (size_t i = 0; i < f->shapes[ring_i].n_values; i++)
        if (!scale_value(&values[i], r, ring->values[i].factor, &v[i]))
            return err_set(err, ERR_RECORD, "range: '%s' is not finite, or too large to be summed exactly", ring->values[i].text);
    return rings_add(rings, ring_i, event_ms, expired, v, s, commit, err);
}

/* Expression columns in the order of definition, so that later ones see earlier ones. They take the place that was kept. */
static enum status put_expressions(const struct features *f, struct batch *in, struct error *err)
{
    size_t first = in->n_cols - f->n_made;

    for (size_t i = 0; i < f->n_made; i++) {
        struct col c;

        if (f->made[i].kind != KIND_EXPR || f->made[i].is_input)
            continue;
        if (expr_eval(f->made[i].expr, in, &c, err) != OK)
            return err_wrap(err, "feature '%s'", f->made[i].col.name);
        c.name = f->made[i].col.name;
        in->cols[first + i] = c;
    }
    return OK;
}

enum status features_apply(const struct features *f, struct state *s, size_t input, struct batch *in, const struct view *keys,
                           const int64_t *event_ms, const char **bad, int64_t at, int64_t lateness_ms, int64_t commit,
                           struct error *err)
{
    const struct ring_of *ring = NULL;
    struct col values[RING_VALUES_MAX];
    struct rings rings = {.shapes = f->shapes, .n = f->n_rings};
    size_t ring_i = 0;

    for (size_t i = 0; i < f->n_rings; i++)
        if (f->rings[i].input == input) {
            ring = &f->rings[i];
            ring_i = i;
        }
    for (size_t v = 0; ring && v < f->shapes[ring_i].n_values; v++)
        if (expr_eval(ring->values[v].expr, in, &values[v], err) != OK)
            return err->status;
    for (size_t i = 0; input == f->emit && i < f->n_made; i++) {
        /* an input column that is a feature keeps its one place; its slot here has a name nobody asks for */
        const char *name = f->made[i].is_input ? "" : f->made[i].col.name;

        batch_add_col(in, name[0] ? name : arena_printf(in->arena, " %zu", i), f->made[i].col.type);
    }
    for (size_t r = 0; r < in->n_rows && (f->n_rings || input == f->emit); r++) {
        int64_t expired;
        enum status st;

        if (bad[r])
            continue;
        at = input == f->emit && event_ms[r] > at ? event_ms[r] : at;
        expired = ring && at > INT64_MIN + ring->horizon_ms + lateness_ms ? at - ring->horizon_ms - lateness_ms : INT64_MIN;
        st = apply_row(f, s, ring, ring_i, values, keys[r], event_ms[r], expired, r, commit, &rings, err);
        if (st == ERR_RECORD)
            bad[r] = arena_strdup(in->arena, err->text);
        else if (st != OK)
            return st;
        else if (input == f->emit)
            put_aggregates(f, &rings, in, r, event_ms[r]);
    }
    return input == f->emit ? put_expressions(f, in, err) : OK;
}
