/*
 * counts: how often each value of a window occurs; of so many values that there is no room for all, of a share of them.
 *
 * Table    (value, count) by linear probing in one run, at most 3/4 full; what leaves is closed by moving the next ones back.
 * Sample   a value's rank is how many zeros its hash begins with: one of 2^L values has rank L or more. c(L) is how many different values of
 *          those a window has, and L* the least L with c(L) at most `exact` of the kind: a window has about c(L*) 2^L* values, and just so many
 *          where L* is 0. The standard error is 1 / sqrt(c(L*)), and c(L*) more than about exact / 2.
 * Level    the table has the values of rank `level` and more, which is L*, L* - 1 or L* - 2: so that a window whose values go over a bound to and fro
 *          changes nothing. It rises when c(level + 2) exceeds `exact`, and then gives up the values below; it falls when c(level) does not,
 *          for which the ring shows the window's events again (ring.c).
 * Top      beyond `exact` values the most frequent is what heavy.c says, which is made of the table when it first has more than those.
 * So what is said depends on the window's events alone, not on those before them nor on the order in which they came.
 */
#include "feature/heavy.h"
#include "feature/parts.h"

#include <math.h>
#include <string.h>

uint64_t part_bits(double v)
{
    uint64_t b;

    memcpy(&b, &v, sizeof(b));
    return b;
}

uint64_t part_mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

uint64_t part_hash(double v)
{
    return part_mix(part_bits(v));
}

/* ---- the table ---- */
uint32_t table_slots(const struct past *p, const struct part_table *t)
{
    return t->run.place ? (uint32_t)(run_bytes(p->plan, t->run.order) / sizeof(struct counted)) : 0;
}

static struct counted *slot_of(const struct past *p, const struct part_table *t, double v)
{
    struct counted *slots = past_at(p, t->run.place);
    uint32_t mask = table_slots(p, t) - 1, i = (uint32_t)part_hash(v) & mask;

    while (slots[i].n && slots[i].v != v)
        i = (i + 1) & mask;
    return &slots[i];
}

static void mark(struct past *p, const struct counted *slot)
{
    past_dirty(p, (uint32_t)(((const uint8_t *)slot - p->base) / 8), sizeof(*slot));
}

static uint32_t rank_of(double v)
{
    uint64_t h = part_hash(v);

    return h ? (uint32_t)__builtin_clzll(h) : 64;
}

/* Into a run of that order, those of that rank and more. */
static bool move(struct past *p, const struct part_def *def, unsigned order, uint32_t rank)
{
    uint32_t place = past_take(p, order);
    struct part_table *t = part_of(p, def), old = *t;

    if (place == 0)
        return false;
    *t = (struct part_table){{place, order}, 0};
    for (uint32_t i = 0; i < table_slots(p, &old); i++) {
        const struct counted *from = (struct counted *)past_at(p, old.run.place) + i;

        if (from->n == 0 || rank_of(from->v) < rank)
            continue;
        *slot_of(p, t, from->v) = *from;
        t->n++;
    }
    past_give_run(p, &old.run);
    return true;
}

static bool make_room(struct past *p, const struct part_def *def)
{
    const struct part_table *t = part_of(p, def);
    unsigned order = t->run.place ? t->run.order + 1 : 0;

    if ((t->n + 1) * 4 <= table_slots(p, t) * 3)
        return true;
    return order < p->plan->n_orders && move(p, def, order, 0); /* no honest hashes need more: those would be left out */
}

bool table_add(struct past *p, const struct part_def *def, double v)
{
    struct part_table *t;
    struct counted *slot;

    if (!make_room(p, def))
        return false;
    t = part_of(p, def);
    slot = slot_of(p, t, v);
    slot->v = v;
    t->n += slot->n++ == 0;
    mark(p, slot);
    return slot->n == 1;
}

/* Empties a slot; who was pushed beyond it moves back. */
static void close_slot(struct past *p, struct part_table *t, struct counted *slot)
{
    struct counted *slots = past_at(p, t->run.place);
    uint32_t mask = table_slots(p, t) - 1, hole = (uint32_t)(slot - slots);

    t->n--;
    for (uint32_t i = (hole + 1) & mask; slots[i].n; i = (i + 1) & mask) {
        uint32_t home = (uint32_t)part_hash(slots[i].v) & mask;

        if (((i - home) & mask) < ((i - hole) & mask))
            continue;
        slots[hole] = slots[i];
        mark(p, &slots[hole]);
        hole = i;
    }
    slots[hole] = (struct counted){0, 0};
    mark(p, &slots[hole]);
}

/* Whether the value is not there any more. */
static bool table_evict(struct past *p, const struct part_def *def, double v)
{
    struct part_table *t = part_of(p, def);
    struct counted *slot;

    if (t->run.place == 0 || (slot = slot_of(p, t, v))->n == 0)
        return false;
    if (--slot->n) {
        mark(p, slot);
        return false;
    }
    close_slot(p, t, slot);
    if (t->run.order && t->n < table_slots(p, t) / 8)
        (void)move(p, def, t->run.order - 1, 0);
    return true;
}

/* A full table would be searched for ever. */
bool table_check(const struct past *p, const struct part_table *t)
{
    const struct counted *slots = past_at(p, t->run.place);
    uint32_t n_slots = table_slots(p, t), n = 0;

    for (uint32_t i = 0; i < n_slots; i++)
        n += slots[i].n != 0;
    return n == t->n && (n < n_slots || n == 0);
}

/* ---- the sample ---- */
static void count_rank(struct part_counts *c, double v, uint32_t by)
{
    uint32_t rank = rank_of(v);

    c->above[0] += rank > c->level ? by : 0;
    c->above[1] += rank > c->level + 1 ? by : 0;
}

static void rise(struct past *p, const struct part_def *def)
{
    struct part_counts *c = part_of(p, def);

    if (!move(p, def, c->table.run.order, c->level + 1))
        return;
    c = part_of(p, def);
    c->level++;
    c->above[0] = c->above[1] = 0;
    for (uint32_t i = 0; i < table_slots(p, &c->table); i++) {
        const struct counted *slot = (struct counted *)past_at(p, c->table.run.place) + i;

        if (slot->n)
            count_rank(c, slot->v, 1);
    }
}

static void sample_add(struct past *p, const struct part_def *def, const struct event *e)
{
    struct part_counts *c = part_of(p, def);

    if (isnan(e->v) || rank_of(e->v) < c->level || !table_add(p, def, e->v))
        return;
    c = part_of(p, def);
    count_rank(c, e->v, 1);
    if (c->above[1] > def->kind->exact)
        rise(p, def);
}

static void sample_evict(struct past *p, const struct part_def *def, const struct event *e)
{
    struct part_counts *c = part_of(p, def);

    if (!isnan(e->v) && rank_of(e->v) >= c->level && table_evict(p, def, e->v))
        count_rank(part_of(p, def), e->v, (uint32_t)-1);
}

static bool fall(struct past *p, const struct part_def *def)
{
    struct part_counts *c = part_of(p, def);

    if (c->level == 0 || c->table.n > def->kind->exact)
        return false;
    past_give_run(p, &c->table.run);
    c->table.n = c->above[0] = c->above[1] = 0;
    c->level--;
    return true;
}

double part_distinct(const struct past *p, const struct part_def *def)
{
    const struct part_counts *c = part_of(p, def);

    if (c->table.n <= def->kind->exact)
        return ldexp(c->table.n, (int)c->level);
    return c->above[0] <= def->kind->exact ? ldexp(c->above[0], (int)c->level + 1) : ldexp(c->above[1], (int)c->level + 2);
}

/* ---- the most frequent ---- */
static bool is_exact(const struct part_counts *c, const struct part_def *def)
{
    return c->level == 0 && c->table.n <= def->kind->exact;
}

static void begin_heavy(struct past *p, const struct part_def *def)
{
    unsigned order = run_order(p->plan, heavy_bytes());
    uint32_t place = past_take(p, order);
    struct part_counts *c = part_of(p, def);

    if (place == 0)
        return;
    c->heavy = (struct part_run){place, order};
    for (uint32_t i = 0; i < table_slots(p, &c->table); i++) {
        const struct counted *slot = (struct counted *)past_at(p, c->table.run.place) + i;

        if (slot->n)
            heavy_change(p, place, slot->v, (uint32_t)slot->n);
    }
}

static void top_add(struct past *p, const struct part_def *def, const struct event *e)
{
    const struct part_counts *c = part_of(p, def);

    if (c->heavy.place && !isnan(e->v))
        heavy_change(p, c->heavy.place, e->v, 1);
    sample_add(p, def, e);
    c = part_of(p, def);
    if (c->heavy.place == 0 && !is_exact(c, def))
        begin_heavy(p, def);
}

static void top_evict(struct past *p, const struct part_def *def, const struct event *e)
{
    struct part_counts *c = part_of(p, def);

    if (c->heavy.place && !isnan(e->v))
        heavy_change(p, c->heavy.place, e->v, (uint32_t)-1);
    sample_evict(p, def, e);
    c = part_of(p, def);
    if (c->heavy.place && c->level == 0 && c->table.n <= def->kind->exact / 2)
        past_give_run(p, &c->heavy);
}

static double exact_top(const struct past *p, const struct part_table *t, unsigned rank)
{
    const struct counted *slots = past_at(p, t->run.place);
    struct counted last = {NAN, UINT64_MAX}, best = {NAN, 0};

    for (unsigned k = 0; k < rank; k++) { /* the best behind the last one */
        best = (struct counted){NAN, 0};
        for (uint32_t i = 0; i < table_slots(p, t); i++) {
            const struct counted *s = &slots[i];
            bool behind = s->n < last.n || (s->n == last.n && s->v > last.v);

            if (s->n && behind && (s->n > best.n || (s->n == best.n && s->v < best.v)))
                best = *s;
        }
        if (best.n == 0)
            return NAN;
        last = best;
    }
    return best.v;
}

double part_top(const struct past *p, const struct part_def *def, unsigned rank)
{
    const struct part_counts *c = part_of(p, def);

    if (is_exact(c, def))
        return exact_top(p, &c->table, rank);
    return c->heavy.place ? heavy_top(p, c->heavy.place, rank) : NAN; /* there was no memory, and the past says so */
}

/* ---- from outside ---- */
static bool check(const struct past *p, const struct part_def *def)
{
    const struct part_counts *c = part_of(p, def);

    return c->level < 64 && c->heavy.place == 0 && table_check(p, &c->table);
}

static bool check_top(const struct past *p, const struct part_def *def)
{
    const struct part_counts *c = part_of(p, def);

    if (c->heavy.place ? c->heavy.order != run_order(p->plan, heavy_bytes()) : !is_exact(c, def))
        return false;
    return c->level < 64 && table_check(p, &c->table);
}

#define COUNTS .bytes = sizeof(struct part_counts), .item_bytes = sizeof(struct counted), .item = "different value", .n_runs = 2, \
               .run_at = {offsetof(struct part_counts, table.run), offsetof(struct part_counts, heavy)}, .fall = fall, .again = sample_add
const struct part_kind PART_COUNTS = {.name = "counts", .exact = WINDOW_EXACT, COUNTS, .add = sample_add, .evict = sample_evict, .check = check};
const struct part_kind PART_TOP = {.name = "top", .exact = TOP_EXACT, COUNTS, .add = top_add, .evict = top_evict, .check = check_top};
