/*
 * counts: how often each value occurs.
 *
 * PART_COUNTS    a hash table of (value, count) by linear probing in one run, at most 3/4 full; what leaves is closed by moving the
 *                next ones back, so the table is as if it had never been in.
 * PART_DISTINCT  since ever: the same up to DISTINCT_EXACT values; then 2^12 registers (HyperLogLog: the longest row of zeros
 *                among the hashes of a register; standard error 1.04 / sqrt(2^12) = 1.6 %). It only takes in.
 * PART_BUCKETS   (bucket, count) sorted by bucket: a value's sign, exponent and 7 bits of its mantissa, so its width is at most 1/128 of the
 *                value, and the bucket's middle within 0.4 % of any value in it.
 */
#include "feature/parts.h"

#include <math.h>
#include <string.h>

#define REGISTER_BITS 12
#define REGISTERS ((uint32_t)1 << REGISTER_BITS)

static uint64_t bits_of(double v)
{
    uint64_t b;

    memcpy(&b, &v, sizeof(b));
    return b;
}

/* Of the value alone: the same in every process (splitmix64). */
uint64_t part_hash(double v)
{
    uint64_t x = bits_of(v) + 0x9e3779b97f4a7c15u;

    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* ---- the hash table ---- */
static uint32_t slots_of(const struct past *p, const struct part_counts *c)
{
    return (uint32_t)(run_bytes(p->plan, c->order) / sizeof(struct counted));
}

static uint32_t slot_of(const struct counted *slots, uint32_t n_slots, double v)
{
    uint32_t i = (uint32_t)part_hash(v) & (n_slots - 1);

    while (slots[i].n && slots[i].v != v)
        i = (i + 1) & (n_slots - 1);
    return i;
}

static bool table_room(struct past *p, const struct part_def *def)
{
    struct part_counts *c = part_of(p, def), old = *c;
    uint32_t run, n_slots;

    if (c->run && (c->n + 1) * 4 <= slots_of(p, c) * 3)
        return true;
    run = past_take(p, old.run ? old.order + 1 : 0);
    if (run == 0)
        return false;
    c = part_of(p, def);
    *c = (struct part_counts){run, old.run ? old.order + 1 : 0, old.n, 0};
    if (old.run == 0)
        return true;
    n_slots = slots_of(p, c);
    for (uint32_t i = 0; i < slots_of(p, &old); i++) {
        const struct counted *from = (struct counted *)past_at(p, old.run) + i;
        struct counted *to = past_at(p, run);

        if (from->n)
            to[slot_of(to, n_slots, from->v)] = *from;
    }
    past_give(p, old.run, old.order);
    return true;
}

static void table_mark(struct past *p, const struct part_counts *c, uint32_t slot)
{
    past_dirty(p, c->run + slot * (uint32_t)(sizeof(struct counted) / 8), sizeof(struct counted));
}

static void counts_add(struct past *p, const struct part_def *def, const struct event *e)
{
    struct part_counts *c;
    struct counted *slots;
    uint32_t i;

    if (isnan(e->v) || !table_room(p, def))
        return;
    c = part_of(p, def);
    slots = past_at(p, c->run);
    i = slot_of(slots, slots_of(p, c), e->v);
    c->n += slots[i].n == 0;
    slots[i].v = e->v;
    slots[i].n++;
    table_mark(p, c, i);
}

/* Empties a slot; who was pushed beyond it moves back. */
static void close_slot(struct past *p, struct part_counts *c, uint32_t hole)
{
    struct counted *slots = past_at(p, c->run);
    uint32_t mask = slots_of(p, c) - 1;

    c->n--;
    for (uint32_t i = (hole + 1) & mask; slots[i].n; i = (i + 1) & mask) {
        uint32_t home = (uint32_t)part_hash(slots[i].v) & mask;

        if (((i - home) & mask) < ((i - hole) & mask))
            continue;
        slots[hole] = slots[i];
        table_mark(p, c, hole);
        hole = i;
    }
    slots[hole] = (struct counted){0, 0};
    table_mark(p, c, hole);
}

static void counts_evict(struct past *p, const struct part_def *def, const struct event *e)
{
    struct part_counts *c = part_of(p, def);
    struct counted *slots;
    uint32_t i;

    if (isnan(e->v) || c->run == 0)
        return;
    slots = past_at(p, c->run);
    i = slot_of(slots, slots_of(p, c), e->v);
    if (slots[i].n > 1)
        slots[i].n--;
    else if (slots[i].n == 1)
        close_slot(p, c, i);
    table_mark(p, c, i);
}

static void counts_give_run(struct past *p, const struct part_def *def)
{
    const struct part_counts *c = part_of(p, def);

    if (c->run)
        past_give(p, c->run, c->order);
}

double part_top(const struct past *p, const struct part_def *def, unsigned rank)
{
    const struct part_counts *c = part_of(p, def);
    const struct counted *slots = past_at(p, c->run);
    uint32_t n_slots = c->run ? slots_of(p, c) : 0;
    struct counted last = {NAN, UINT64_MAX}, best = {NAN, 0};

    for (unsigned k = 0; k < rank; k++) { /* the best behind the last one */
        best = (struct counted){NAN, 0};
        for (uint32_t i = 0; i < n_slots; i++) {
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

/* ---- distinct since ever ---- */
static void registers_add(uint8_t *registers, double v)
{
    uint64_t h = part_hash(v);
    uint64_t rest = h << REGISTER_BITS;
    uint8_t rank = rest ? (uint8_t)(__builtin_clzll(rest) + 1) : 64 - REGISTER_BITS + 1;
    uint8_t *r = &registers[h >> (64 - REGISTER_BITS)];

    *r = rank > *r ? rank : *r;
}

static void to_sketch(struct past *p, const struct part_def *def)
{
    struct part_counts *c = part_of(p, def), old = *c;
    unsigned order = run_order(p->plan, REGISTERS);
    uint32_t run = past_take(p, order);

    if (run == 0)
        return;
    for (uint32_t i = 0; old.run && i < slots_of(p, &old); i++) {
        const struct counted *s = (struct counted *)past_at(p, old.run) + i;

        if (s->n)
            registers_add(past_at(p, run), s->v);
    }
    c = part_of(p, def);
    *c = (struct part_counts){run, order, old.n, 1};
    if (old.run)
        past_give(p, old.run, old.order);
}

static void distinct_add(struct past *p, const struct part_def *def, const struct event *e)
{
    struct part_counts *c = part_of(p, def);

    if (isnan(e->v))
        return;
    if (!c->is_sketch) {
        counts_add(p, def, e);
        c = part_of(p, def);
        if (c->n > DISTINCT_EXACT)
            to_sketch(p, def);
        return;
    }
    registers_add(past_at(p, c->run), e->v);
    past_dirty(p, c->run, REGISTERS);
}

static void distinct_merge(struct past *p, const struct part_def *def, const struct past *from, const struct part_def *base)
{
    const struct part_counts was = *(const struct part_counts *)part_of(from, base), *f = &was; /* which may move, where it is p's */
    struct part_counts *c = part_of(p, def);

    if (f->is_sketch && !c->is_sketch)
        to_sketch(p, def);
    c = part_of(p, def);
    for (uint32_t i = 0; f->is_sketch && i < REGISTERS; i++) {
        const uint8_t *theirs = past_at(from, f->run);
        uint8_t *ours = past_at(p, c->run);

        ours[i] = theirs[i] > ours[i] ? theirs[i] : ours[i];
    }
    for (uint32_t i = 0; !f->is_sketch && f->run && i < slots_of(from, f); i++) {
        const struct counted *s = (struct counted *)past_at(from, f->run) + i;

        if (s->n)
            distinct_add(p, def, &(struct event){.v = s->v});
    }
}

/* by_rank: how many of m registers have each rank. */
double part_estimate(const uint32_t *by_rank, unsigned rank_max, uint32_t m)
{
    double sum = 0, estimate;

    for (unsigned rank = rank_max + 1; rank-- > 0;)
        sum += ldexp(by_rank[rank], -(int)rank);
    estimate = 0.7213 / (1 + 1.079 / m) * m * m / sum;
    if (estimate <= 2.5 * m && by_rank[0])
        estimate = m * log((double)m / by_rank[0]);
    return floor(estimate + 0.5);
}

double part_distinct(const struct past *p, const struct part_def *def)
{
    const struct part_counts *c = part_of(p, def);
    const uint8_t *registers = past_at(p, c->run);
    uint32_t by_rank[256] = {0};

    if (!c->is_sketch)
        return c->n;
    for (uint32_t i = 0; i < REGISTERS; i++)
        by_rank[registers[i]]++;
    return part_estimate(by_rank, 64, REGISTERS);
}

/* ---- buckets ---- */
#define MANTISSA_BITS 7

/* Rising with the value: negative ones below zero's. */
static uint32_t bucket_of(double v)
{
    uint64_t b = bits_of(v);
    uint32_t size = (uint32_t)(b >> (52 - MANTISSA_BITS)) & 0x3ffff;

    return b >> 63 ? 0x80000 - size : 0x80000 + size;
}

static double middle_of(uint32_t id)
{
    uint64_t size = id < 0x80000 ? 0x80000 - id : id - 0x80000, b = size << (52 - MANTISSA_BITS);
    double low, v;

    b += size ? (uint64_t)1 << (51 - MANTISSA_BITS) : 0;
    memcpy(&low, &b, sizeof(low));
    v = size ? low : 0;
    return id < 0x80000 ? -v : v;
}

static uint32_t find_bucket(const struct bucket *b, uint32_t n, uint32_t id)
{
    uint32_t low = 0;

    while (low < n) {
        uint32_t mid = low + (n - low) / 2;

        if (b[mid].id < id)
            low = mid + 1;
        else
            n = mid;
    }
    return low;
}

static bool bucket_room(struct past *p, const struct part_def *def)
{
    struct part_buckets *b = part_of(p, def);
    size_t used = b->n * sizeof(struct bucket);
    unsigned order = b->run ? b->order + 1 : 0;
    uint32_t run;

    if (b->run && used + sizeof(struct bucket) <= run_bytes(p->plan, b->order))
        return true;
    run = past_take(p, order);
    if (run == 0)
        return false;
    b = part_of(p, def);
    if (b->run) {
        memcpy(past_at(p, run), past_at(p, b->run), used);
        past_give(p, b->run, b->order);
    }
    b->run = run;
    b->order = order;
    return true;
}

static void bucket_more(struct past *p, const struct part_def *def, uint32_t id, uint32_t n)
{
    struct part_buckets *b;
    struct bucket *all;
    uint32_t i;

    if (!bucket_room(p, def))
        return;
    b = part_of(p, def);
    all = past_at(p, b->run);
    i = find_bucket(all, b->n, id);
    if (i == b->n || all[i].id != id) {
        memmove(&all[i + 1], &all[i], (b->n++ - i) * sizeof(*all));
        all[i] = (struct bucket){id, 0};
    }
    all[i].n += n;
    b->n_events += n;
    past_dirty(p, b->run, b->n * sizeof(*all));
}

static void buckets_add(struct past *p, const struct part_def *def, const struct event *e)
{
    if (!isnan(e->v))
        bucket_more(p, def, bucket_of(e->v), 1);
}

static void buckets_merge(struct past *p, const struct part_def *def, const struct past *from, const struct part_def *base)
{
    const struct part_buckets was = *(const struct part_buckets *)part_of(from, base), *f = &was; /* which may move, where it is p's */

    for (uint32_t i = 0; f->run && i < f->n; i++) {
        const struct bucket *b = (struct bucket *)past_at(from, f->run) + i;

        bucket_more(p, def, b->id, b->n);
    }
}

static void buckets_evict(struct past *p, const struct part_def *def, const struct event *e)
{
    struct part_buckets *b = part_of(p, def);
    struct bucket *all = past_at(p, b->run);
    uint32_t i;

    if (isnan(e->v) || b->run == 0)
        return;
    i = find_bucket(all, b->n, bucket_of(e->v));
    if (i == b->n)
        return; /* from outside, and never there */
    b->n_events--;
    if (--all[i].n == 0)
        memmove(&all[i], &all[i + 1], (--b->n - i) * sizeof(*all));
    past_dirty(p, b->run, (b->n + 1) * sizeof(*all));
}

static void buckets_give_run(struct past *p, const struct part_def *def)
{
    const struct part_buckets *b = part_of(p, def);

    if (b->run)
        past_give(p, b->run, b->order);
}

double part_quantile(const struct past *p, const struct part_def *def, double share)
{
    const struct part_buckets *b = part_of(p, def);
    const struct bucket *all = past_at(p, b->run);
    uint64_t rank = (uint64_t)ceil(share * (double)b->n_events), seen = 0;

    for (uint32_t i = 0; b->run && i < b->n; i++) {
        seen += all[i].n;
        if (seen >= rank)
            return middle_of(all[i].id);
    }
    return NAN;
}

/* ---- from outside ---- */

/* A full table would be searched for ever. */
static bool table_check(const struct past *p, const struct part_counts *c)
{
    const struct counted *slots = past_at(p, c->run);
    uint32_t n_slots = slots_of(p, c), n = 0;

    for (uint32_t i = 0; i < n_slots; i++)
        n += slots[i].n != 0;
    return n == c->n && n < n_slots;
}

static bool counts_check(const struct past *p, const struct part_def *def, struct claims *claims)
{
    const struct part_counts *c = part_of(p, def);

    if (c->run == 0)
        return c->n == 0 && c->is_sketch == 0;
    return past_claim(claims, c->run, c->order) && c->is_sketch == 0 && table_check(p, c);
}

static bool distinct_check(const struct past *p, const struct part_def *def, struct claims *claims)
{
    const struct part_counts *c = part_of(p, def);

    if (c->is_sketch == 0)
        return counts_check(p, def, claims);
    return c->is_sketch == 1 && past_claim(claims, c->run, c->order) && run_bytes(p->plan, c->order) >= REGISTERS;
}

static bool buckets_check(const struct past *p, const struct part_def *def, struct claims *claims)
{
    const struct part_buckets *b = part_of(p, def);

    if (b->run == 0)
        return b->n == 0;
    return past_claim(claims, b->run, b->order) && b->n <= run_bytes(p->plan, b->order) / sizeof(struct bucket);
}

#define VALUES .item_bytes = sizeof(struct counted), .item = "different value"
const struct part_kind PART_COUNTS = {.name = "counts", .bytes = sizeof(struct part_counts), VALUES,
                                      .add = counts_add, .evict = counts_evict, .give_run = counts_give_run, .check = counts_check};
const struct part_kind PART_DISTINCT = {.name = "distinct", .bytes = sizeof(struct part_counts), VALUES,
                                        .add = distinct_add, .give_run = counts_give_run, .merge = distinct_merge, .check = distinct_check};
const struct part_kind PART_BUCKETS = {.name = "buckets", .bytes = sizeof(struct part_buckets), .item_bytes = sizeof(struct bucket), .item = "bucket in use",
                                       .add = buckets_add, .evict = buckets_evict, .give_run = buckets_give_run, .merge = buckets_merge, .check = buckets_check};
