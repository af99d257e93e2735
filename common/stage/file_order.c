#include "stage/file_order.h"

#include <assert.h>
#include <stdlib.h>

#include "base/arena.h"

#define SLOTS_MIN 1024
#define BLOCK_BYTES ((size_t)256 * 1024)

struct file_block {
    struct file_block *next;
    size_t size, used;
    size_t n_pieces; /* that are in flight */
    _Alignas(16) uint8_t bytes[];
};

/* A record's body, or an output of it. */
struct piece {
    struct file_block *block;
    struct piece *next; /* the record's next output */
    int out;
    size_t n;
    uint8_t bytes[];
};

struct file_slot {
    struct piece *body;
    struct piece *first, **last; /* outputs in the order in which they were parked */
    bool ended;
};

static struct file_slot *slot_of(const struct file_order *o, uint64_t number)
{
    assert(number >= o->begin && number < o->end);
    return &o->slots[number & (o->cap - 1)];
}

/* ---- blocks ---- */

static void next_block(struct file_order *o, size_t n_bytes)
{
    struct file_block **link = &o->free, *b;

    while (*link && (*link)->size < n_bytes)
        link = &(*link)->next;
    b = *link;
    if (b == NULL) {
        size_t size = n_bytes > BLOCK_BYTES ? n_bytes : BLOCK_BYTES;

        b = xmalloc(sizeof(*b) + size);
        b->size = size;
    } else {
        *link = b->next;
    }
    b->used = 0;
    b->n_pieces = 0;
    o->now = b;
}

static struct piece *piece_new(struct file_order *o, int out, struct view v)
{
    size_t n_bytes = (sizeof(struct piece) + v.n + 15) & ~(size_t)15;
    struct piece *p;

    if (o->now == NULL || o->now->size - o->now->used < n_bytes) {
        struct file_block *full = o->now;

        next_block(o, n_bytes);
        if (full && full->n_pieces == 0) {
            full->next = o->free;
            o->free = full;
        }
    }
    p = (struct piece *)(void *)(o->now->bytes + o->now->used);
    o->now->used += n_bytes;
    o->now->n_pieces++;
    *p = (struct piece){.block = o->now, .out = out, .n = v.n};
    if (v.n)
        memcpy(p->bytes, v.data, v.n);
    return p;
}

static void piece_free(struct file_order *o, const struct piece *p)
{
    struct file_block *b = p->block;

    if (--b->n_pieces != 0 || b == o->now)
        return;
    b->next = o->free;
    o->free = b;
}

/* ---- records ---- */

static void grow(struct file_order *o)
{
    size_t cap = o->cap ? o->cap * 2 : SLOTS_MIN;
    struct file_slot *slots = xcalloc(cap, sizeof(*slots));

    for (uint64_t n = o->begin; n < o->end; n++) {
        struct file_slot *to = &slots[n & (cap - 1)];

        *to = o->slots[n & (o->cap - 1)];
        if (to->first == NULL)
            to->last = &to->first;
    }
    free(o->slots);
    o->slots = slots;
    o->cap = cap;
}

struct view file_order_begin(struct file_order *o, struct view body, uint64_t *ret_number)
{
    struct file_slot *s;

    if (o->end - o->begin == o->cap)
        grow(o);
    *ret_number = o->end++;
    s = slot_of(o, *ret_number);
    *s = (struct file_slot){.body = piece_new(o, 0, body), .last = &s->first};
    return view_of(s->body->bytes, s->body->n);
}

void file_order_park(struct file_order *o, uint64_t number, int out, struct view value)
{
    struct file_slot *s = slot_of(o, number);
    struct piece *p = piece_new(o, out, value);

    *s->last = p;
    s->last = &p->next;
}

void file_order_end(struct file_order *o, uint64_t number)
{
    slot_of(o, number)->ended = true;
}

static void leave(struct file_order *o)
{
    const struct file_slot *s = slot_of(o, o->begin);

    for (const struct piece *p = s->first, *next; p; p = next) {
        next = p->next;
        piece_free(o, p);
    }
    piece_free(o, s->body);
    o->begin++;
}

enum status file_order_flush(struct file_order *o, file_order_fn *each, void *ctx, struct error *err)
{
    while (o->begin < o->end && slot_of(o, o->begin)->ended) {
        for (const struct piece *p = slot_of(o, o->begin)->first; p; p = p->next)
            if (each(ctx, p->out, view_of(p->bytes, p->n), err) != OK)
                return err->status;
        leave(o);
    }
    return OK;
}

void file_order_done(struct file_order *o)
{
    while (o->begin < o->end)
        leave(o);
    free(o->now);
    while (o->free) {
        struct file_block *next = o->free->next;

        free(o->free);
        o->free = next;
    }
    free(o->slots);
    *o = (struct file_order){0};
}
