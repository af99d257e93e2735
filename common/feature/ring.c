#include "feature/ring.h"

#include <string.h>

#include "feature/parts.h"

static int64_t minus(int64_t a, int64_t b)
{
    int64_t d;

    return __builtin_sub_overflow(a, b, &d) ? INT64_MIN : d;
}

/* Up to where a cursor by time has passed. */
static int64_t bound(const struct cursor_def *c, struct moments m)
{
    return minus(c->floor ? m.floor : m.as_of, c->ms);
}

static int32_t ahead(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b);
}

static bool is_gap(int64_t later, int64_t earlier, int64_t gap)
{
    return (uint64_t)later - (uint64_t)earlier > (uint64_t)gap;
}

static uint32_t before(const struct past *p, const struct ring_def *def, uint32_t row)
{
    return row ? ring_prev(p, def, row) : ring_of(p, def)->last_row;
}

static void take(struct past *p, const struct ring_def *def, int part, bool add, const struct event *e, const double *v)
{
    const struct part_def *d = &def->parts[part];
    struct event own = {e->ms, e->pos, d->value < 0 ? 0 : v[d->value]};

    if (add)
        d->kind->add(p, d, &own);
    else
        d->kind->evict(p, d, &own);
}

static void copy_values(const struct past *p, const struct ring_def *def, uint32_t row, double *v)
{
    const struct row *r = row_of(p, row);

    for (size_t i = 0; i < def->n_values; i++)
        v[i] = r->v[i];
}

/* The links' parts take in, or give up, the event that the cursor passes; turned: on its way back. */
static void run_links(struct past *p, const struct ring_def *def, int c, uint32_t row, uint32_t pos, bool turned)
{
    const struct cursor_def *d = &def->cursors[c];
    double v[VALUES_MAX];
    struct event e = {row_of(p, row)->ms, pos, 0};

    copy_values(p, def, row, v); /* a part may move the value */
    for (size_t i = 0; i < d->n_links; i++)
        take(p, def, d->links[i].part, d->links[i].add != turned, &e, v);
}

static void stand_at(struct past *p, const struct ring_def *def, int c, uint32_t row)
{
    struct cursor *s = cursor_of(p, def, c);

    s->next = row;
    s->ms = row ? row_of(p, row)->ms : INT64_MAX;
}

static void pass(struct past *p, const struct ring_def *def, int c)
{
    struct cursor *s = cursor_of(p, def, c);
    uint32_t row = s->next;

    if (def->cursors[c].n_links) {
        run_links(p, def, c, row, s->pos, false);
        s = cursor_of(p, def, c);
    }
    s->pos++;
    s->next = row = ring_next(p, def, row);
    s->ms = row ? row_of(p, row)->ms : INT64_MAX;
}

/* Back to the row before, which it has not passed then. */
static void back(struct past *p, const struct ring_def *def, int c, uint32_t row)
{
    cursor_of(p, def, c)->pos--;
    stand_at(p, def, c, row);
    run_links(p, def, c, row, cursor_of(p, def, c)->pos, /* turned= */ true);
}

typedef void see_fn(struct past *p, const struct part_def *d, const struct event *e);

/* The events from s up to the part's head. */
static void show(struct past *p, const struct ring_def *def, const struct part_def *d, struct spot s, see_fn *see)
{
    for (; s.pos != cursor_of(p, def, d->head)->pos; s.pos++) {
        const struct row *row = row_of(p, s.row);
        struct event e = {row->ms, s.pos, d->value < 0 ? 0 : row->v[d->value]};

        see(p, d, &e);
        s.row = ring_next(p, def, s.row);
    }
}

/* Parts that have given up events which they need again. */
static void show_again(struct past *p, const struct ring_def *def)
{
    for (size_t i = 0; i < def->n_sampled; i++) {
        const struct part_def *d = &def->parts[def->sampled[i]];

        while (d->kind->fall(p, d))
            show(p, def, d, ring_spot(p, def, d->tail), d->kind->again);
    }
}

#define LEAVE_MIN 8 /* events: fewer are as soon taken out one by one */

/* A cursor that only takes events out and leaves no more behind than stays_max: its parts see these anew, and however many leave, none is looked at. */
static bool leave(struct past *p, const struct ring_def *def, int c, int64_t until, uint32_t stays_max)
{
    const struct cursor_def *d = &def->cursors[c];
    const struct ring *r = ring_of(p, def);
    struct spot stays = {r->end_pos, 0};

    for (uint32_t row = r->last_row; row != 0 && row_of(p, row)->ms > until; row = ring_prev(p, def, row)) {
        if (r->end_pos - stays.pos == stays_max)
            return false;
        stays = (struct spot){stays.pos - 1, row};
    }
    for (size_t i = 0; i < d->n_links; i++)
        if (d->links[i].add)
            return false;
    cursor_of(p, def, c)->pos = stays.pos;
    stand_at(p, def, c, stays.row);
    for (size_t i = 0; i < d->n_links; i++) {
        const struct part_def *part = &def->parts[d->links[i].part];

        part_clear(p, part);
        show(p, def, part, stays, part->kind->add);
    }
    return true;
}

/* Takes out what a window has lost: one by one, until those that stay are no more than those that it took out. */
static void pass_until(struct past *p, const struct ring_def *def, int c, int64_t until)
{
    const struct cursor *s = cursor_of(p, def, c);

    for (uint32_t n = 0; s->ms <= until && s->next; n++, s = cursor_of(p, def, c)) {
        if (n >= LEAVE_MIN && (n & (n - 1)) == 0 && leave(p, def, c, until, n))
            return;
        pass(p, def, c);
    }
}

/* Where the chain begins that ends at the head. Events before `known` were chained already. */
static uint32_t chain_begins(const struct past *p, const struct ring_def *def, int c, uint32_t known, int64_t until)
{
    const struct cursor *s = cursor_of(p, def, c), *h = cursor_of(p, def, def->cursors[c].head);
    uint32_t row = h->next, pos = h->pos;

    for (; pos != s->pos; pos--) {
        row = before(p, def, row);
        if (is_gap(until, row_of(p, row)->ms, def->cursors[c].ms))
            return pos;
        if (pos == known)
            break;
        until = row_of(p, row)->ms;
    }
    return s->pos;
}

bool ring_seek(struct past *p, const struct ring_def *def, struct moments m)
{
    const int64_t now[] = {m.as_of, m.floor};
    uint32_t was[CURSORS_MAX]; /* for those that follow a head */
    bool moved = false;

    for (size_t i = 0; i < def->n_tiled; i++) {
        const struct part_def *d = &def->parts[def->tiled[i]];

        moved |= part_tiles_expire(p, d, def->cursors[d->head].floor ? m.floor : m.as_of);
    }
    if (ring_of(p, def)->last_row == 0)
        return moved;
    for (size_t i = 0; i < def->n_cursors && def->n_by_time < def->n_cursors; i++)
        was[i] = cursor_of(p, def, (int)i)->pos;
    for (size_t i = 0; i < def->n_by_time; i++) {
        const struct time_cursor *t = &def->by_time[i];
        const struct cursor *s = (const struct cursor *)(const void *)(p->base + t->at);
        int64_t until = minus(now[t->floor], t->ms);

        if (s->ms <= until && s->next) {
            pass_until(p, def, t->cursor, until);
            moved = true;
        }
    }
    for (size_t i = def->n_by_time; i < def->n_cursors; i++) {
        int c = def->order[i];
        const struct cursor_def *d = &def->cursors[c];
        uint32_t begin = cursor_of(p, def, d->head)->pos - d->n;

        if (d->kind == CURSOR_GAP)
            begin = chain_begins(p, def, c, was[d->head], bound(&def->cursors[d->head], m));
        for (; ahead(begin, cursor_of(p, def, c)->pos) > 0; moved = true)
            pass(p, def, c);
    }
    show_again(p, def);
    return moved;
}

/* The row that a cursor will look at, and the next one. Behind a page lies mostly the one that was taken next. */
static void expect_row(const uint8_t *value, const struct plan *plan, const struct ring_def *def, uint32_t row)
{
    uint32_t word = plan_word_of(plan, row);

    __builtin_prefetch(value + (size_t)row * 8);
    __builtin_prefetch(value + ((size_t)row + def->row_words) * 8);
    if (word >= def->last_word)
        __builtin_prefetch(value + (size_t)(row - word) * 8);
}

void ring_expect(const uint8_t *value, const struct plan *plan, const struct ring_def *def, int64_t as_of)
{
    uint32_t last = ((const struct ring *)(const void *)(value + def->at))->last_row;

    if (last == 0)
        return;
    expect_row(value, plan, def, last);
    for (size_t i = 0; i < def->n_by_time; i++) {
        const struct cursor *s = (const struct cursor *)(const void *)(value + def->by_time[i].at);

        if (s->ms <= minus(as_of, def->by_time[i].ms))
            expect_row(value, plan, def, s->next);
    }
    for (size_t i = def->n_by_time; i < def->n_cursors; i++)
        expect_row(value, plan, def, ((const struct cursor *)(const void *)(value + def->cursors_at))[def->order[i]].next);
    for (size_t i = 0; i < def->n_far; i++) {
        const struct part_def *d = &def->parts[def->far[i]];

        if (d->kind->expect)
            d->kind->expect(value, plan, d);
        else
            __builtin_prefetch(value + (size_t)*(const uint32_t *)(const void *)(value + d->at + d->kind->run_at[0]) * 8);
    }
    if (plan_word_of(plan, last) == def->last_word)
        past_expect(value, plan);
}

/* An event came in at s, and the cursor stands there or beyond: has it passed it? It stands where it stood among the others. */
static bool settle(struct past *p, const struct ring_def *def, int c, struct spot s, int64_t ms, struct moments m, const bool *passed)
{
    const struct cursor_def *d = &def->cursors[c];
    struct cursor *own = cursor_of(p, def, c);
    bool here = own->pos == s.pos, has = !here;

    if (here)
        has = d->kind == CURSOR_TIME ? ms <= bound(d, m) : d->kind == CURSOR_GAP && passed[d->head];
    if (has) {
        own->pos++;
        if (own->next)
            own->next = ring_next(p, def, own->next);
    } else {
        own->next = s.row;
        own->ms = ms;
    }
    return has;
}

/* A chain that the event has made longer at its beginning. */
static void reach_back(struct past *p, const struct ring_def *def, int c, struct moments m)
{
    const struct cursor_def *d = &def->cursors[c];

    for (;;) {
        const struct cursor *s = cursor_of(p, def, c), *h = cursor_of(p, def, d->head);
        int64_t until = s->pos == h->pos ? bound(&def->cursors[d->head], m) : s->ms;
        uint32_t row = before(p, def, s->next);

        if (row == 0 || is_gap(until, row_of(p, row)->ms, d->ms))
            return;
        back(p, def, c, row);
    }
}

/* A part sees its events again: those since its tail, or, behind what its like has as of the floor, those since then. */
static void anew(struct past *p, const struct ring_def *def, const struct part_def *d)
{
    const struct part_def *base = d->base < 0 ? NULL : &def->parts[d->base];
    struct spot s = ring_spot(p, def, base ? base->head : d->tail);

    part_clear(p, d);
    if (base && d->kind->merge)
        d->kind->merge(p, d, p, base);
    else if (base)
        memcpy(part_of(p, d), part_of(p, base), d->kind->bytes);
    show(p, def, d, s, d->kind->add);
}

void ring_put(struct past *p, const struct ring_def *def, struct moments m, int64_t ms, const double *v)
{
    bool passed[CURSORS_MAX], at_end;
    struct spot s = ring_insert(p, def, ms, v);
    struct event e = {ms, s.pos, 0};

    if (s.row == 0)
        return;
    at_end = s.row == ring_of(p, def)->last_row;
    for (size_t i = 0; i < def->n_cursors; i++) {
        int c = def->order[i];

        passed[c] = ahead(cursor_of(p, def, c)->pos, s.pos) >= 0 && settle(p, def, c, s, ms, m, passed);
    }
    for (size_t i = 0; i < def->n_parts; i++) {
        const struct part_def *d = &def->parts[i];

        if (!at_end && d->kind->shift)
            d->kind->shift(p, d, s.pos);
        if (!passed[d->head] || (d->tail >= 0 && passed[d->tail]))
            continue;
        if (d->kind->is_ordered && d->base >= 0 && ahead(cursor_of(p, def, d->head)->pos, s.pos) > 1)
            anew(p, def, d);
        else
            take(p, def, (int)i, true, &e, v);
    }
    for (size_t i = def->n_by_time; i < def->n_cursors; i++) {
        int c = def->order[i];
        const struct cursor_def *d = &def->cursors[c];

        if (d->kind == CURSOR_LAST)
            while (ahead(cursor_of(p, def, d->head)->pos, cursor_of(p, def, c)->pos) > (int32_t)d->n)
                pass(p, def, c);
        else if (d->kind == CURSOR_GAP && passed[c] && cursor_of(p, def, c)->pos == s.pos + 1)
            reach_back(p, def, c, m);
    }
    show_again(p, def);
}

/* The row at s goes: cursors beyond it stand one less beyond the beginning, those that stood at it before the next. */
static void step_over(struct past *p, const struct ring_def *def, struct spot s, bool *passed)
{
    for (size_t i = 0; i < def->n_cursors; i++) {
        struct cursor *c = cursor_of(p, def, (int)i);

        passed[i] = ahead(c->pos, s.pos) > 0;
        c->pos -= passed[i];
        if (passed[i] && c->next)
            c->next = ring_prev(p, def, c->next);
    }
    ring_close(p, def, s);
    for (size_t i = 0; i < def->n_cursors; i++)
        if (!passed[i] && cursor_of(p, def, (int)i)->pos == s.pos)
            stand_at(p, def, (int)i, s.pos == ring_of(p, def)->end_pos ? 0 : s.row);
}

/* Tails that follow a head, behind which there is one event less: the last n reach further back, a chain may be torn. */
static void follow(struct past *p, const struct ring_def *def, struct moments m, const bool *passed)
{
    for (size_t i = def->n_by_time; i < def->n_cursors; i++) {
        int c = def->order[i];
        const struct cursor_def *d = &def->cursors[c];
        uint32_t begin, row;

        if (!passed[d->head])
            continue;
        begin = d->kind == CURSOR_GAP ? chain_begins(p, def, c, cursor_of(p, def, c)->pos, bound(&def->cursors[d->head], m))
                                      : cursor_of(p, def, d->head)->pos - d->n;
        while (ahead(begin, cursor_of(p, def, c)->pos) > 0)
            pass(p, def, c);
        while (d->kind == CURSOR_LAST && ahead(cursor_of(p, def, c)->pos, begin) > 0 && (row = before(p, def, cursor_of(p, def, c)->next)) != 0)
            back(p, def, c, row);
    }
}

void ring_remove_at(struct past *p, const struct ring_def *def, struct moments m, struct spot s)
{
    struct event e = {row_of(p, s.row)->ms, s.pos, 0};
    bool passed[CURSORS_MAX];
    double v[VALUES_MAX];

    copy_values(p, def, s.row, v);
    step_over(p, def, s, passed);
    for (size_t i = 0; i < def->n_parts; i++) {
        const struct part_def *d = &def->parts[i];
        bool has = passed[d->head] && !(d->tail >= 0 && passed[d->tail]);

        if (d->kind->takes_back ? !has : !passed[d->head] || (d->tail < 0 && d->base < 0) || !(has || d->kind->shift))
            continue;
        if (d->kind->takes_back)
            take(p, def, (int)i, false, &e, v);
        else
            anew(p, def, d);
    }
    follow(p, def, m, passed);
    show_again(p, def);
}

bool ring_remove(struct past *p, const struct ring_def *def, struct moments m, int64_t ms)
{
    struct spot s = ring_find(p, def, ms);

    if (s.row)
        ring_remove_at(p, def, m, s);
    return s.row != 0;
}

struct spot ring_back(const struct past *p, const struct ring_def *def, int c, int64_t as_of, const struct spot *spots)
{
    const struct cursor_def *d = &def->cursors[c];
    struct spot s = d->kind == CURSOR_GAP ? spots[d->head] : ring_spot(p, def, c);
    int64_t until = d->kind == CURSOR_TIME ? minus(as_of, d->ms) : d->kind == CURSOR_GAP ? minus(as_of, def->cursors[d->head].ms) : 0;

    for (uint32_t row = before(p, def, s.row); row != 0; row = before(p, def, row)) {
        int64_t ms = row_of(p, row)->ms;

        if (d->kind == CURSOR_TIME ? ms <= until
            : d->kind == CURSOR_LAST ? ahead(spots[d->head].pos, s.pos) >= (int32_t)d->n
                                     : is_gap(until, ms, d->ms))
            return s;
        until = d->kind == CURSOR_GAP ? ms : until;
        s = (struct spot){s.pos - 1, row};
    }
    return s;
}
