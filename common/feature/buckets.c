/*
 * buckets: how many events have values of about one size.
 *
 * PART_BUCKETS   (bucket, count) sorted by bucket: a value's sign, exponent and 7 bits of its mantissa, so its width is at most 1/128 of the
 *                value, and the bucket's middle within 0.4 % of any value in it.
 */
#include "feature/parts.h"

#include <math.h>
#include <string.h>

#define MANTISSA_BITS 7

/* Rising with the value: negative ones below zero's. */
static uint32_t bucket_of(double v)
{
    uint64_t b = part_bits(v);
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
    unsigned order = b->run.place ? b->run.order + 1 : 0;
    uint32_t place;

    if (b->run.place && used + sizeof(struct bucket) <= run_bytes(p->plan, b->run.order))
        return true;
    place = past_take(p, order);
    if (place == 0)
        return false;
    b = part_of(p, def);
    memcpy(past_at(p, place), past_at(p, b->run.place), used);
    past_give_run(p, &b->run);
    b->run = (struct part_run){place, order};
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
    all = past_at(p, b->run.place);
    i = find_bucket(all, b->n, id);
    if (i == b->n || all[i].id != id) {
        memmove(&all[i + 1], &all[i], (b->n++ - i) * sizeof(*all));
        all[i] = (struct bucket){id, 0};
    }
    all[i].n += n;
    b->n_events += n;
    past_dirty(p, b->run.place, b->n * sizeof(*all));
}

static void buckets_add(struct past *p, const struct part_def *def, const struct event *e)
{
    if (!isnan(e->v))
        bucket_more(p, def, bucket_of(e->v), 1);
}

static void buckets_merge(struct past *p, const struct part_def *def, const struct past *from, const struct part_def *base)
{
    const struct part_buckets was = *(const struct part_buckets *)part_of(from, base), *f = &was; /* which may move, where it is p's */

    for (uint32_t i = 0; i < f->n; i++) {
        const struct bucket *b = (struct bucket *)past_at(from, f->run.place) + i;

        bucket_more(p, def, b->id, b->n);
    }
}

static void buckets_evict(struct past *p, const struct part_def *def, const struct event *e)
{
    struct part_buckets *b = part_of(p, def);
    struct bucket *all = past_at(p, b->run.place);
    uint32_t i;

    if (isnan(e->v) || b->run.place == 0)
        return;
    i = find_bucket(all, b->n, bucket_of(e->v));
    if (i == b->n)
        return; /* from outside, and never there */
    b->n_events--;
    if (--all[i].n == 0)
        memmove(&all[i], &all[i + 1], (--b->n - i) * sizeof(*all));
    past_dirty(p, b->run.place, (b->n + 1) * sizeof(*all));
}

double part_quantile(const struct past *p, const struct part_def *def, double share)
{
    const struct part_buckets *b = part_of(p, def);
    const struct bucket *all = past_at(p, b->run.place);
    uint64_t rank = (uint64_t)ceil(share * (double)b->n_events), seen = 0;

    for (uint32_t i = 0; i < b->n; i++) {
        seen += all[i].n;
        if (seen >= rank)
            return middle_of(all[i].id);
    }
    return NAN;
}

static bool buckets_check(const struct past *p, const struct part_def *def)
{
    const struct part_buckets *b = part_of(p, def);

    return b->run.place ? b->n <= run_bytes(p->plan, b->run.order) / sizeof(struct bucket) : b->n == 0;
}

const struct part_kind PART_BUCKETS = {.name = "buckets", .bytes = sizeof(struct part_buckets), .item_bytes = sizeof(struct bucket), .item = "bucket in use",
                                       .n_runs = 1, .add = buckets_add, .evict = buckets_evict, .merge = buckets_merge, .check = buckets_check};
