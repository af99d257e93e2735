#include "stage/origin.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"

#define INPUTS_MAX 64

enum { TASK, INPUT, CHANNEL, OFFSET, INDEX };

const char *const origin_cols[ORIGIN_COLS] = {
    [TASK] = "lineage.task",     [INPUT] = "lineage.input", [CHANNEL] = "lineage.channel",
    [OFFSET] = "lineage.offset", [INDEX] = "lineage.index",
};

static bool within(const struct col *c, int64_t least, int64_t most)
{
    return !c->null[0] && c->i64[0] >= least && c->i64[0] <= most;
}

enum status origin_get(const struct col *cols, struct origin *ret_origin, struct error *err)
{
    if (!within(&cols[TASK], 0, ORIGIN_TASKS_MAX - 1) || !within(&cols[INPUT], 0, INPUTS_MAX - 1) ||
        !within(&cols[CHANNEL], -1, ORIGIN_TASKS_MAX - 1) || !within(&cols[OFFSET], 0, INT64_MAX) ||
        !within(&cols[INDEX], 0, INT32_MAX))
        return err_set(err, ERR_RECORD,
                       "lineage: task %" PRId64 ", input %" PRId64 ", channel %" PRId64 ", offset %" PRId64 ", index %" PRId64
                       " cannot be", cols[TASK].i64[0], cols[INPUT].i64[0], cols[CHANNEL].i64[0], cols[OFFSET].i64[0],
                       cols[INDEX].i64[0]);
    *ret_origin = (struct origin){(int)cols[TASK].i64[0], (int)cols[INPUT].i64[0], (int)cols[CHANNEL].i64[0],
                                  cols[OFFSET].i64[0], (int)cols[INDEX].i64[0]};
    return OK;
}

static int by_origin(const struct origin *a, const struct origin *b)
{
    if (a->task != b->task)
        return a->task < b->task ? -1 : 1;
    if (a->input != b->input)
        return a->input < b->input ? -1 : 1;
    return a->channel < b->channel ? -1 : a->channel > b->channel;
}

/* Where it is, or belongs. */
static size_t place_of(const struct origins *all, const struct origin *o)
{
    size_t low = 0, high = all->n;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (by_origin(&all->last[mid], o) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

bool origins_pass(struct origins *all, const struct origin *o)
{
    size_t i = place_of(all, o);

    if (i < all->n && by_origin(&all->last[i], o) == 0) {
        struct origin *last = &all->last[i];

        if (o->offset < last->offset || (o->offset == last->offset && o->index <= last->index))
            return false;
        *last = *o;
        return true;
    }
    if (all->n == all->cap) {
        all->cap = all->cap ? all->cap * 2 : 16;
        all->last = xrealloc(all->last, all->cap * sizeof(*all->last));
    }
    memmove(&all->last[i + 1], &all->last[i], (all->n - i) * sizeof(*all->last));
    all->last[i] = *o;
    all->n++;
    return true;
}

bool origins_next(struct origins *all, const struct origin *o)
{
    return (all->n == 0 || by_origin(&all->last[all->n - 1], o) < 0) && origins_pass(all, o);
}

void origins_done(struct origins *all)
{
    free(all->last);
    *all = (struct origins){0};
}

static size_t offset_place(const struct dropped *d, int64_t offset)
{
    size_t low = 0, high = d->n;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (d->offsets[mid] < offset)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

void dropped_add(struct dropped *d, int64_t offset)
{
    size_t i = offset_place(d, offset);

    if (d->n == d->cap) {
        d->cap = d->cap ? d->cap * 2 : 16;
        d->offsets = xrealloc(d->offsets, d->cap * sizeof(*d->offsets));
    }
    memmove(&d->offsets[i + 1], &d->offsets[i], (d->n - i) * sizeof(*d->offsets));
    d->offsets[i] = offset;
    d->n++;
}

bool dropped_has(const struct dropped *d, int64_t offset)
{
    size_t i = offset_place(d, offset);

    return i < d->n && d->offsets[i] == offset;
}

void dropped_trim(struct dropped *d, int64_t low)
{
    size_t drop = offset_place(d, low);

    if (drop == 0)
        return;
    d->n -= drop;
    memmove(d->offsets, d->offsets + drop, d->n * sizeof(*d->offsets));
}

void dropped_done(struct dropped *d)
{
    free(d->offsets);
    *d = (struct dropped){0};
}
