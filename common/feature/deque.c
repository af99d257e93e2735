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

static uint32_t cap_of(const struct plan *plan, const struct part_deque *d)
{
    return (uint32_t)(run_bytes(plan, d->run.order) / sizeof(struct candidate));
}

static struct candidate *at(const struct past *p, const struct part_deque *d, uint32_t i)
{
    return (struct candidate *)past_at(p, d->run.place) + ((d->first + i) & (cap_of(p->plan, d) - 1));
}

/* Into a run of that order; the candidates then begin at its beginning. */
static bool move(struct past *p, const struct part_def *def, unsigned order)
{
    uint32_t place = past_take(p, order);
    struct part_deque *d = part_of(p, def), old = *d;

    if (place == 0)
        return false;
    *d = (struct part_deque){{place, order}, 0, old.n};
    for (uint32_t i = 0; i < old.n; i++)
        *at(p, d, i) = *at(p, &old, i);
    past_give_run(p, &old.run);
    return true;
}

/* Room for one more. */
static bool make_room(struct past *p, const struct part_def *def)
{
    const struct part_deque *d = part_of(p, def);

    if (d->run.place && d->n < cap_of(p->plan, d))
        return true;
    return move(p, def, d->run.place ? d->run.order + 1 : 0);
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
    d->first = (d->first + 1) & (cap_of(p->plan, d) - 1);
    d->n--;
    if (d->run.order && d->n < cap_of(p->plan, d) / 8)
        (void)move(p, def, d->run.order - 1);
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
    uint32_t cap = cap_of(plan, d);

    __builtin_prefetch(value + (size_t)d->run.place * 8 + (d->first & (cap - 1)) * sizeof(struct candidate));
    __builtin_prefetch(value + (size_t)d->run.place * 8 + ((d->first + d->n) & (cap - 1)) * sizeof(struct candidate));
}

double part_deque_best(const struct past *p, const struct part_def *def)
{
    const struct part_deque *d = part_of(p, def);

    return d->n ? at(p, d, 0)->v : NAN;
}

static bool check(const struct past *p, const struct part_def *def)
{
    const struct part_deque *d = part_of(p, def);

    return d->run.place ? d->first < cap_of(p->plan, d) && d->n <= cap_of(p->plan, d) : d->n == 0;
}

#define CANDIDATES .n_runs = 1, .item_bytes = sizeof(struct candidate), .item = "value that no later one beats"
const struct part_kind PART_MIN = {.name = "min", .bytes = sizeof(struct part_deque), CANDIDATES, .add = min_add,
                                   .evict = evict, .shift = shift, .check = check, .expect = expect};
const struct part_kind PART_MAX = {.name = "max", .bytes = sizeof(struct part_deque), CANDIDATES, .add = max_add,
                                   .evict = evict, .shift = shift, .check = check, .expect = expect};
