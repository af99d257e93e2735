#include "feature/rings.h"

#define CAP_MIN 4

/* head..head + n of cap events are valid; totals: the prefix behind the last event. */
struct ring_head {
    uint32_t head, n, cap, unused;
};

struct prefix {
    uint64_t low, high, count;
};

static size_t event_bytes(const struct ring_shape *s)
{
    return sizeof(int64_t) + s->n_values * sizeof(struct prefix);
}

static size_t head_bytes(const struct ring_shape *s)
{
    return sizeof(struct ring_head) + s->n_values * sizeof(struct prefix);
}

static size_t ring_offset(const struct rings *r, size_t ring)
{
    size_t at = 0;

    for (size_t i = 0; i < ring; i++) {
        struct ring_head h;

        memcpy(&h, r->entry->value + at, sizeof(h));
        at += head_bytes(&r->shapes[i]) + h.cap * event_bytes(&r->shapes[i]);
    }
    return at;
}

static struct ring_head *head_of(const struct rings *r, size_t ring)
{
    return (struct ring_head *)(void *)(r->entry->value + ring_offset(r, ring));
}

static struct prefix *totals_of(struct ring_head *h)
{
    return (struct prefix *)(void *)(h + 1);
}

static uint8_t *event_at(struct ring_head *h, const struct ring_shape *s, size_t i)
{
    return (uint8_t *)h + head_bytes(s) + (h->head + i) * event_bytes(s);
}

static int64_t time_at(struct ring_head *h, const struct ring_shape *s, size_t i)
{
    int64_t t;

    memcpy(&t, event_at(h, s, i), sizeof(t));
    return t;
}

static struct prefix *prefix_at(struct ring_head *h, const struct ring_shape *s, size_t i)
{
    return (struct prefix *)(void *)(event_at(h, s, i) + sizeof(int64_t));
}

/* The first of the n events with time > t, searched from the end, where windows begin most often in short rings. */
static size_t first_after(struct ring_head *h, const struct ring_shape *s, int64_t t)
{
    size_t low = 0, high = h->n;

    if (high && time_at(h, s, high - 1) <= t)
        return high;
    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (time_at(h, s, mid) <= t)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static void prefix_add(struct prefix *p, const struct ring_value *v)
{
    uint128 sum = ((uint128)p->high << 64) | p->low;

    if (v->is_null)
        return;
    sum += (uint128)v->scaled;
    p->low = (uint64_t)sum;
    p->high = (uint64_t)(sum >> 64);
    p->count++;
}

/* Room for one more event: dropped ones make it, else the ring doubles and what lies behind it moves. */
static enum status make_room(struct rings *r, size_t ring, struct state *state, struct error *err)
{
    const struct ring_shape *s = &r->shapes[ring];
    struct ring_head *h = head_of(r, ring);
    size_t offset = ring_offset(r, ring);
    size_t cap = h->cap ? (size_t)h->cap * 2 : CAP_MIN;
    size_t more, tail_at, tail;

    if (h->head + h->n < h->cap)
        return OK;
    if (h->head != 0 && h->head >= h->cap / 2) {
        memmove(event_at(h, s, 0) - h->head * event_bytes(s), event_at(h, s, 0), h->n * event_bytes(s));
        h->head = 0;
        return OK;
    }
    if (cap > UINT32_MAX / 2)
        return err_set(err, ERR_RECORD, "range: one key has more than %u events in its windows", UINT32_MAX / 2);
    more = (cap - h->cap) * event_bytes(s);
    tail_at = offset + head_bytes(s) + h->cap * event_bytes(s);
    tail = r->entry->n_bytes - tail_at;
    if (state_resize(state, r->entry, r->entry->n_bytes + more, err) != OK)
        return err->status;
    memmove(r->entry->value + tail_at + more, r->entry->value + tail_at, tail);
    memset(r->entry->value + tail_at, 0, more);
    head_of(r, ring)->cap = (uint32_t)cap;
    return OK;
}

static enum status init(struct rings *r, struct state *s, struct error *err)
{
    size_t size = 0;

    if (r->entry->n_bytes != 0)
        return OK;
    for (size_t i = 0; i < r->n; i++)
        size += head_bytes(&r->shapes[i]);
    return state_resize(s, r->entry, size, err);
}

enum status rings_add(struct rings *r, size_t ring, int64_t event_ms, int64_t expired, const struct ring_value *values,
                      struct state *s, int64_t commit, struct error *err)
{
    const struct ring_shape *shape = &r->shapes[ring];
    struct ring_head *h;
    size_t drop, i;

    if (init(r, s, err) != OK)
        return err->status;
    h = head_of(r, ring);
    drop = first_after(h, shape, expired);
    h->head += (uint32_t)drop;
    h->n -= (uint32_t)drop;
    if (h->n == 0)
        h->head = 0;
    if (make_room(r, ring, s, err) != OK)
        return err->status;
    h = head_of(r, ring);
    i = first_after(h, shape, event_ms);
    memmove(event_at(h, shape, i + 1), event_at(h, shape, i), (h->n - i) * event_bytes(shape));
    memcpy(event_at(h, shape, i), &event_ms, sizeof(event_ms));
    for (size_t v = 0; v < shape->n_values; v++) {
        struct prefix *total = &totals_of(h)[v];

        prefix_at(h, shape, i)[v] = i == h->n ? *total : prefix_at(h, shape, i + 1)[v];
        for (size_t k = i + 1; k <= h->n; k++)
            prefix_add(&prefix_at(h, shape, k)[v], &values[v]);
        prefix_add(total, &values[v]);
    }
    h->n++;
    state_dirty(s, r->entry, 0, r->entry->n_bytes, commit);
    return OK;
}

struct ring_sum rings_sum(const struct rings *r, size_t ring, size_t value, int64_t after, int64_t until)
{
    const struct ring_shape *s = &r->shapes[ring];
    struct ring_sum sum = {0};
    struct ring_head *h;
    const struct prefix *a, *b;
    size_t from, to;

    if (r->entry == NULL || r->entry->n_bytes == 0)
        return sum;
    h = head_of(r, ring);
    to = first_after(h, s, until);
    from = first_after(h, s, after);
    sum.n_events = (int64_t)to - (int64_t)from;
    if (value == SIZE_MAX || to <= from)
        return sum;
    a = &prefix_at(h, s, from)[value];
    b = to == h->n ? &totals_of(h)[value] : &prefix_at(h, s, to)[value];
    sum.n_values = (int64_t)(b->count - a->count);
    sum.sum = (int128)((((uint128)b->high << 64) | b->low) - (((uint128)a->high << 64) | a->low));
    return sum;
}
