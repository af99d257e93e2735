/* common/feature/features_apply.c: rows through what the definitions became: state, aggregates, then expressions. */
#include <math.h>
#include <string.h>

#include "feature/features_made.h"
#include "feature/fields.h"

/* So many rows ahead keys are looked up, that their memory is near when they are computed. */
#define GROUP 16

/* What a batch needs besides its rows. */
struct run {
    const struct features *f;
    struct past past;
    const struct batch *in;
    struct col *out; /* of f->made, when they come out */
    int64_t **counts[2]; /* their values, of f->counts */
    size_t rings[RINGS_MAX], n_rings; /* the input's, of which is: */
    struct col *values[RINGS_MAX], where[RINGS_MAX], valid[RINGS_MAX];
    const struct col **fields[RINGS_MAX];
    double *rows[RINGS_MAX]; /* its values by row; behind a row's the place of its fields, and its time */
    double *v[RINGS_MAX];    /* of the row in hand */
    size_t input;
    bool emits;
    bool judges; /* a row may be none that can be taken */
};

/* Text stands as its hash, of 53 bits that a number holds. */
static double text_number(struct view text)
{
    return (double)(text_hash(text) >> 11);
}

bool features_value(const struct value *value, const struct col *c, size_t r, double *ret)
{
    if (c->null[r]) {
        *ret = NAN;
        return true;
    }
    if (value->is_text) {
        *ret = text_number(c->view[r]);
        return true;
    }
    *ret = (c->type == COL_DOUBLE ? c->f64[r] : (double)c->i64[r]) + 0.0; /* -0.0 becomes 0.0 */
    return fabs(*ret * value->factor) < 1e30;
}

/* Of what cannot be summed exactly, or has too many bytes of fields. */
static bool row_fits(const struct run *run, size_t r, struct error *err)
{
    for (size_t i = 0; i < run->n_rings; i++) {
        const struct ring_def *def = &run->f->plan.rings[run->rings[i]];
        const struct col **fields = run->fields[run->rings[i]];
        double v;

        for (size_t k = 0; k < def->n_values; k++)
            if (!features_value(&def->values[k], &run->values[run->rings[i]][k], r, &v)) {
                err_set(err, ERR_RECORD, "range: '%s' is not finite, or too large to be summed exactly", def->values[k].text);
                return false;
            }
        if (def->n_fields && fields_bytes(def, fields, r) > FIELDS_BYTES_MAX) {
            err_set(err, ERR_RECORD, "range: the fields that are joined have %zu bytes; %zu is the most", fields_bytes(def, fields, r),
                    FIELDS_BYTES_MAX);
            return false;
        }
    }
    return true;
}

/* The field as the last event has it. */
static void put_field(const struct run *run, const struct asked *a, int64_t event_ms, size_t r)
{
    const struct question *q = a->of;
    struct col *col = &run->out[q->made];
    const struct row *row = asked_last(a);

    if (row == NULL || (q->within_ms && event_ms - q->delay_ms - row->ms >= q->within_ms))
        col->null[r] = 1;
    else
        fields_get(a->rows, q->ring, (uint32_t)row->v[q->ring->n_values], (size_t)q->value, run->in->arena, col, r);
}

static void put_value(const struct run *run, struct asked *a, int64_t event_ms, size_t r)
{
    const struct question *q = a->of;
    struct col *col = &run->out[q->made];
    double v;

    if (q->aggregate == NULL) {
        put_field(run, a, event_ms, r);
        return;
    }
    a->as_of = event_ms - q->delay_ms;
    a->own = q->aggregate->is_own ? run->v[q->window.ring][q->value] : NAN;
    v = q->aggregate->value(a);
    if (isnan(v))
        col->null[r] = 1;
    else if (col->type == COL_INT)
        col->i64[r] = (int64_t)v;
    else
        col->f64[r] = v;
}

static const struct cursor *cursor_at(const struct past *p, uint32_t at)
{
    return (const struct cursor *)(const void *)(p->base + at);
}

/* The values as the cursors stand. */
static void put_values(const struct run *run, size_t r, int64_t event_ms, bool others)
{
    const struct features *f = run->f;
    const struct past *p = &run->past;
    const struct count_asked *c = f->counts[others];
    struct asked a = {.past = p, .rows = p, .of = f->asked[others] + f->n_counts[others]};

    for (size_t i = 0; i < f->n_counts[others]; i++)
        run->counts[others][i][r] = cursor_at(p, c[i].head_at)->pos - cursor_at(p, c[i].tail_at)->pos;
    for (const struct question *end = f->asked[others] + f->n_asked[others]; a.of < end; a.of++) {
        const struct cursor *head = cursor_at(p, a.of->head_at), *tail = cursor_at(p, a.of->tail_at);

        a.head = (struct spot){head->pos, head->next};
        a.tail = a.of->tail_at ? (struct spot){tail->pos, tail->next} : (struct spot){0, 0};
        put_value(run, &a, event_ms, r);
    }
}

/* ---- a late row: its values are made beside the state (docs/adr/0007) ---- */
static void walk(struct past *to, const struct past *p, const struct ring_def *def, const struct part_def *part, struct spot from,
                 uint32_t to_pos, bool add)
{
    for (; (int32_t)(to_pos - from.pos) > 0; from = (struct spot){from.pos + 1, ring_next(p, def, from.row)}) {
        const struct row *row = row_of(p, from.row);
        struct event e = {row->ms, from.pos, part->value < 0 ? 0 : row->v[part->value]};

        if (add)
            part->kind->add(to, part, &e);
        else
            part->kind->evict(to, part, &e);
    }
}

static void part_then(struct past *to, const struct past *p, const struct ring_def *def, const struct part_def *part, const struct spot *then,
                      int64_t event_ms)
{
    struct spot head = ring_spot(p, def, part->head);
    const struct part_def *base = part->base < 0 ? NULL : &def->parts[part->base];

    if (part->inner)
        part_tiles_expire(to, part, event_ms);
    if (part->kind->takes_back) {
        memcpy(part_of(to, part), part_of(p, part), part->kind->bytes);
        walk(to, p, def, part, then[part->head], head.pos, /* add= */ false);
        if (part->tail >= 0)
            walk(to, p, def, part, then[part->tail], ring_spot(p, def, part->tail).pos, /* add= */ true);
    } else if (base == NULL) {
        if (part->tail >= 0)
            walk(to, p, def, part, then[part->tail], then[part->head].pos, /* add= */ true);
    } else {
        if (part->kind->merge)
            part->kind->merge(to, part, p, base);
        else
            memcpy(part_of(to, part), part_of(p, base), part->kind->bytes);
        walk(to, p, def, part, ring_spot(p, def, base->head), then[part->head].pos, /* add= */ true);
    }
}

static void put_late(const struct run *run, size_t r, int64_t event_ms, bool others)
{
    const struct plan *plan = &run->f->plan;
    struct spot *then[RINGS_MAX];
    struct past scratch;
    struct asked a = {.past = &scratch, .rows = &run->past};

    past_scratch(&scratch, &run->past);
    for (size_t i = 0; i < plan->n_rings; i++) {
        const struct ring_def *def = &plan->rings[i];

        then[i] = arena_alloc(run->past.arena, def->n_cursors * sizeof(**then));
        for (size_t k = 0; k < def->n_cursors; k++) {
            int c = def->order[k];

            then[i][c] = def->cursors[c].floor ? ring_spot(&run->past, def, c) : ring_back(&run->past, def, c, event_ms, then[i]);
        }
        for (size_t k = 0; k < def->n_parts; k++)
            if (!def->cursors[def->parts[k].head].floor)
                part_then(&scratch, &run->past, def, &def->parts[k], then[i], event_ms);
    }
    for (size_t k = 0; k < run->f->n_asked[others]; k++) {
        const struct window *w = &run->f->asked[others][k].window;

        a.of = &run->f->asked[others][k];
        a.head = then[w->ring][w->head];
        a.tail = w->tail >= 0 ? then[w->ring][w->tail] : (struct spot){0, 0};
        put_value(run, &a, event_ms, r);
    }
}

/* ---- a row ---- */
static bool takes(const struct run *run, size_t ring, size_t r)
{
    const struct ring_def *def = &run->f->plan.rings[ring];

    return (def->where == NULL || (!run->where[ring].null[r] && run->where[ring].i64[r])) && (def->valid == NULL || !run->valid[ring].null[r]);
}

/* The row whose place this one takes. */
static bool remove_former(struct run *run, struct moments m, int64_t event_ms)
{
    bool removed = false;

    for (size_t i = 0; i < run->n_rings; i++) {
        const struct ring_def *def = &run->f->plan.rings[run->rings[i]];

        if (def->replaces)
            removed |= (def->valid ? ahead_remove : ring_remove)(&run->past, def, m, event_ms);
    }
    return removed;
}

static bool put_event(struct run *run, struct moments m, int64_t event_ms, size_t r)
{
    uint32_t place = 0;
    bool put = false;

    for (size_t k = 0; k < run->n_rings; k++) {
        size_t i = run->rings[k];
        const struct ring_def *def = &run->f->plan.rings[i];
        int64_t ms = event_ms;

        if (!takes(run, i, r))
            continue;
        if (def->valid)
            ms = run->valid[i].i64[r];
        if (!def->keeps_all && m.floor != INT64_MIN && ms <= m.floor - def->horizon_ms) /* what no row can ask for any more */
            continue;
        if (def->n_fields && (place = fields_put(&run->past, def, run->fields[i], r)) == 0)
            break;
        run->v[i][def->n_values] = place;
        run->v[i][def->n_values + 1] = (double)event_ms;
        (def->valid ? ahead_put : ring_put)(&run->past, def, m, ms, run->v[i]);
        put = true;
    }
    return put;
}

static enum status apply_row(struct run *run, int64_t event_ms, int64_t floor, size_t r)
{
    struct past *p = &run->past;
    int64_t as_of = past_head(p)->as_of;
    struct moments m = {as_of > floor ? as_of : floor, floor};
    const struct plan *plan = &run->f->plan;
    bool late, moved = false;

    for (size_t i = 0; i < run->n_rings; i++)
        run->v[run->rings[i]] = run->rows[run->rings[i]] + r * (plan->rings[run->rings[i]].n_values + 2);
    if (run->emits && event_ms > m.as_of)
        m.as_of = event_ms;
    late = run->emits && event_ms < m.as_of;
    for (size_t i = 0; i < plan->n_rings; i++)
        moved |= ring_seek(p, &plan->rings[i], m);
    if (run->f->replaces_ms)
        moved |= remove_former(run, m, event_ms);
    if (run->emits && run->f->n_asked[1])
        (late ? put_late : put_values)(run, r, event_ms, /* others= */ true);
    moved |= put_event(run, m, event_ms, r);
    if (p->st == OK && moved) {
        for (size_t i = 0; i < plan->n_rings; i++)
            ring_trim(p, &plan->rings[i]);
        past_pack(p);
        past_head(p)->as_of = m.as_of;
        state_dirty(p->state, p->entry, 0, 1, p->commit);
    }
    if (run->emits)
        (late ? put_late : put_values)(run, r, event_ms, /* others= */ false);
    for (size_t i = 0; run->emits && i < run->f->n_aheads; i++)
        ahead_get(p, &run->f->aheads[i], event_ms, run->in->arena, &run->out[run->f->aheads[i].made], r);
    return p->st;
}

/* Expression columns in the order of definition, so that later ones see earlier ones. They take the place that was kept. */
static enum status put_expressions(const struct features *f, struct batch *in, struct error *err)
{
    size_t first = in->n_cols - f->n_made;
    struct col *cols = arena_alloc(in->arena, f->n_made * sizeof(*cols));

    for (size_t i = 0; i < f->n_made; i++) {
        if (f->made[i].expr == NULL || f->made[i].is_input)
            continue;
        if (expr_eval(f->made[i].expr, in, cols, err) != OK)
            return err_wrap(err, "feature '%s'", f->made[i].col.name);
        for (size_t k = 0; k < f->made[i].width; k++) {
            cols[k].name = f->made[i + k].col.name;
            in->cols[first + i + k] = cols[k];
        }
    }
    return OK;
}

/* By row, as a ring keeps them. */
static void fill_rows(struct run *run, const struct batch *in, size_t ring)
{
    const struct ring_def *def = &run->f->plan.rings[ring];
    size_t width = def->n_values + 2;

    run->rows[ring] = arena_alloc(in->arena, in->n_rows * width * sizeof(double));
    run->judges |= def->n_fields != 0;
    for (size_t v = 0; v < def->n_values; v++)
        for (size_t r = 0; r < in->n_rows; r++)
            run->judges |= !features_value(&def->values[v], &run->values[ring][v], r, &run->rows[ring][r * width + v]);
}

static enum status begin_values(struct run *run, const struct batch *in, struct error *err)
{
    const struct features *f = run->f;

    for (size_t i = 0; i < f->plan.n_rings; i++) {
        const struct ring_def *def = &f->plan.rings[i];

        if (def->input != run->input)
            continue;
        run->rings[run->n_rings++] = i;
        run->values[i] = arena_alloc(in->arena, (def->n_values + 1) * sizeof(**run->values));
        run->fields[i] = arena_alloc(in->arena, (def->n_fields + 1) * sizeof(**run->fields));
        for (size_t v = 0; v < def->n_values; v++)
            if (expr_eval(def->values[v].expr, in, &run->values[i][v], err) != OK)
                return err->status;
        if ((def->where && expr_eval(def->where, in, &run->where[i], err) != OK) ||
            (def->valid && expr_eval(def->valid, in, &run->valid[i], err) != OK))
            return err->status;
        for (size_t k = 0; k < def->n_fields; k++)
            run->fields[i][k] = batch_col(in, def->fields[k].name);
        fill_rows(run, in, i);
    }
    return OK;
}

/* The columns that are made. */
static void begin_cols(struct run *run, struct batch *in)
{
    const struct features *f = run->f;

    for (size_t i = 0; run->emits && i < f->n_made; i++) {
        /* an input column that is a feature keeps its one place; its slot here has a name nobody asks for */
        struct col kept = {.name = f->made[i].is_input ? arena_printf(in->arena, " %zu", i) : f->made[i].col.name,
                           .type = f->made[i].col.type};

        if (f->made[i].aggregate || f->made[i].is_join || f->made[i].is_filled)
            batch_add_col(in, kept.name, kept.type);
        else
            batch_share_col(in, &kept); /* put_expressions puts it in */
    }
    run->out = run->emits ? &in->cols[in->n_cols - f->n_made] : NULL;
    for (size_t others = 0; run->emits && others < 2; others++) {
        run->counts[others] = arena_alloc(in->arena, (f->n_counts[others] + 1) * sizeof(**run->counts));
        for (size_t i = 0; i < f->n_counts[others]; i++)
            run->counts[others][i] = run->out[f->counts[others][i].made].i64;
    }
}

enum status features_judge(const struct features *f, size_t input, const struct batch *in, const char **bad, struct error *err)
{
    struct run run = {.f = f, .input = input, .in = in};

    if (begin_values(&run, in, err) != OK)
        return err->status;
    for (size_t r = 0; r < in->n_rows; r++)
        if (bad[r] == NULL && run.judges && !row_fits(&run, r, err))
            bad[r] = arena_strdup(in->arena, err->text);
    return OK;
}

/* The entries of a group of rows. One look at memory far away after the other would take longer than all the rest. */
static void expect_group(const struct run *run, const struct view *keys, const int64_t *event_ms, const char **bad, size_t n,
                         uint64_t *hashes, struct entry **entries)
{
    const struct plan *plan = &run->f->plan;

    for (size_t r = 0; r < n; r++) {
        hashes[r] = bad[r] ? 0 : state_hash(run->past.state, keys[r]);
        state_expect(run->past.state, hashes[r]);
    }
    for (size_t r = 0; r < n; r++)
        state_expect_entry(run->past.state, hashes[r]);
    for (size_t r = 0; r < n; r++) {
        entries[r] = bad[r] ? NULL : state_find_hashed(run->past.state, keys[r], hashes[r]);
        for (size_t at = 0; entries[r] && at < plan->head_bytes; at += 64)
            __builtin_prefetch(entries[r]->value + at);
    }
    for (size_t r = 0; r < n; r++)
        for (size_t i = 0; entries[r] && entries[r]->n_bytes && i < plan->n_rings; i++)
            ring_expect(entries[r]->value, plan, &plan->rings[i], event_ms[r]);
}

/* A key without a past is as one whose rings are empty. */
static enum status open_past(struct run *run, struct view key, uint64_t hash, struct entry *e, bool makes, struct error *err)
{
    run->past.st = OK;
    if (e == NULL && makes)
        e = state_get_hashed(run->past.state, key, hash, err);
    if (e == NULL && makes)
        return err->status;
    if (e == NULL) {
        run->past.entry = NULL;
        run->past.base = run->f->plan.empty;
        return OK;
    }
    past_open(&run->past, e);
    return run->past.st;
}

enum status features_apply(const struct features *f, struct state *s, size_t input, struct batch *in, const struct view *keys,
                           const int64_t *event_ms, const char **bad, int64_t at, int64_t lateness_ms, int64_t commit,
                           struct error *err)
{
    struct run run = {.f = f, .input = input, .emits = input == f->emit, .in = in,
                      .past = {.plan = &f->plan, .state = s, .arena = in->arena, .commit = commit, .err = err}};
    uint64_t hashes[GROUP];
    struct entry *entries[GROUP];
    bool makes;

    if (begin_values(&run, in, err) != OK)
        return err->status;
    makes = run.n_rings > 0;
    begin_cols(&run, in);
    for (size_t i = 0; run.emits && i < f->n_items; i++)
        items_put(&f->items[i], in, bad, &run.out[f->items[i].made]);
    lateness_ms = lateness_ms > f->replaces_ms ? lateness_ms : f->replaces_ms;
    for (size_t r = 0; r < in->n_rows && (makes || (run.emits && f->plan.n_rings)); r++) {
        struct entry *e;

        if (r % GROUP == 0)
            expect_group(&run, keys + r, event_ms + r, bad + r, in->n_rows - r < GROUP ? in->n_rows - r : GROUP, hashes, entries);
        if (bad[r])
            continue;
        at = run.emits && event_ms[r] > at ? event_ms[r] : at;
        e = entries[r % GROUP] ? entries[r % GROUP] : state_find_hashed(s, keys[r], hashes[r % GROUP]);
        if (run.judges && !row_fits(&run, r, err)) {
            bad[r] = arena_strdup(in->arena, err->text);
            continue;
        }
        if (open_past(&run, keys[r], hashes[r % GROUP], e, makes, err) != OK ||
            apply_row(&run, event_ms[r], at > INT64_MIN + lateness_ms ? at - lateness_ms : INT64_MIN, r) != OK)
            return err->status;
    }
    return run.emits ? put_expressions(f, in, err) : OK;
}
