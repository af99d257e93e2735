/*
 * deque: the minimum or maximum of a window.
 *
 * Candidates (position, value) in the order of their positions, in a ring of a power of two in one run. A candidate is better than every one
 * behind it, so the first is the best of all; an event that comes makes those before it that are no better pointless. Of equal
 * values the latest stays, for it stays longest.
 */
#include "feature/parts.h"

#include <math.h>

struct candidate {
    uint64_t pos;
    double v;
};

static struct candidate *at(const struct past *p, const struct part_deque *d, uint32_t i)
{
    uint32_t cap = (uint32_t)(run_bytes(p->plan, d->order) / sizeof(struct candidate));

    return (struct candidate *)past_at(p, d->run) + ((d->first + i) & (cap - 1));
}

/* Room for one more; the candidates then begin at the run's beginning. */
static bool make_room(struct past *p, const struct part_def *def)
{
    struct part_deque *d = part_of(p, def), old = *d;
    uint32_t run;

    if (d->run && d->n < run_bytes(p->plan, d->order) / sizeof(struct candidate))
        return true;
    run = past_take(p, old.run ? old.order + 1 : 0);
    if (run == 0)
        return false;
    d = part_of(p, def);
    *d = (struct part_deque){run, 0, old.n, old.run ? old.order + 1 : 0};
    for (uint32_t i = 0; i < old.n; i++)
        *at(p, d, i) = *at(p, &old, i);
    if (old.run)
        past_give(p, old.run, old.order);
    return true;
}

static void mark(struct past *p, const struct part_deque *d, uint32_t from)
{
    for (; from < d->n; from++)
        past_dirty(p, (uint32_t)(((uint8_t *)at(p, d, from) - p->base) / 8), sizeof(struct candidate));
}

static bool before(uint64_t a, uint32_t b)
{
    return (int32_t)((uint32_t)a - b) < 0;
}

static void put(struct past *p, const struct part_def *def, const struct event *e, bool least)
{
    struct part_deque *d;
    uint32_t i, from;

    if (isnan(e->v) || !make_room(p, def))
        return;
    d = part_of(p, def);
    for (i = d->n; i > 0 && !before(at(p, d, i - 1)->pos, e->pos); i--)
        ;
    if (i < d->n && (least ? at(p, d, i)->v <= e->v : at(p, d, i)->v >= e->v))
        return; /* a later one is no worse */
    for (from = i; from > 0 && (least ? at(p, d, from - 1)->v >= e->v : at(p, d, from - 1)->v <= e->v); from--)
        ;
    if (from == i) { /* those behind move by one */
        for (uint32_t k = d->n; k > i; k--)
            *at(p, d, k) = *at(p, d, k - 1);
        d->n++;
    } else { /* [from, i) give way to one */
        for (uint32_t k = i; k < d->n; k++)
            *at(p, d, from + 1 + k - i) = *at(p, d, k);
        d->n -= i - from - 1;
    }
    *at(p, d, from) = (struct candidate){e->pos, e->v};
    mark(p, d, from);
}

static void min_add(struct past *p, const struct part_def *def, const struct event *e)
{
    put(p, def, e, true);
}

static void max_add(struct past *p, const struct part_def *def, const struct event *e)
{
    put(p, def, e, false);
}

static void evict(struct past *p, const struct part_def *def, const struct event *e)
{
    struct part_deque *d = part_of(p, def);

    if (d->n == 0 || (uint32_t)at(p, d, 0)->pos != e->pos)
        return;
    d->first = (d->first + 1) & (uint32_t)(run_bytes(p->plan, d->order) / sizeof(struct candidate) - 1);
    d->n--;
}

static void give_run(struct past *p, const struct part_def *def)
{
    const struct part_deque *d = part_of(p, def);

    if (d->run)
        past_give(p, d->run, d->order);
}

static void shift(struct past *p, const struct part_def *def, uint32_t pos)
{
    struct part_deque *d = part_of(p, def);

    uint32_t i = d->n;

    for (; i > 0 && !before(at(p, d, i - 1)->pos, pos); i--)
        at(p, d, i - 1)->pos = (uint32_t)at(p, d, i - 1)->pos + 1;
    mark(p, d, i);
}

static void expect(const uint8_t *value, const struct plan *plan, const struct part_def *def)
{
    const struct part_deque *d = (const struct part_deque *)(const void *)(value + def->at);
    uint32_t cap = (uint32_t)(run_bytes(plan, d->order) / sizeof(struct candidate));

    __builtin_prefetch(value + (size_t)d->run * 8 + (d->first & (cap - 1)) * sizeof(struct candidate));
    __builtin_prefetch(value + (size_t)d->run * 8 + ((d->first + d->n) & (cap - 1)) * sizeof(struct candidate));
}

double part_deque_best(const struct past *p, const struct part_def *def)
{
    const struct part_deque *d = part_of(p, def);

    return d->n ? at(p, d, 0)->v : NAN;
}

static bool check(const struct past *p, const struct part_def *def, struct claims *c)
{
    const struct part_deque *d = part_of(p, def);
    size_t cap;

    if (d->run == 0)
        return d->n == 0;
    if (!past_claim(c, d->run, d->order))
        return false;
    cap = run_bytes(p->plan, d->order) / sizeof(struct candidate);
    return d->first < cap && d->n <= cap;
}

#define CANDIDATES .item_bytes = sizeof(struct candidate), .item = "value that no later one beats"
const struct part_kind PART_MIN = {.name = "min", .bytes = sizeof(struct part_deque), CANDIDATES, .add = min_add,
                                   .evict = evict, .give_run = give_run, .shift = shift, .check = check, .expect = expect};
const struct part_kind PART_MAX = {.name = "max", .bytes = sizeof(struct part_deque), CANDIDATES, .add = max_add,
                                   .evict = evict, .give_run = give_run, .shift = shift, .check = check, .expect = expect};
