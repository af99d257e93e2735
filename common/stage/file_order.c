#include "stage/file_order.h"

#include <assert.h>
#include <stdlib.h>

#include "base/arena.h"

#define SLOTS_MIN 1024

struct file_slot {
    struct bytes body;
    struct bytes parked; /* struct parked, value; again and again */
    bool ended;
};

struct parked {
    int out;
    size_t n;
};

static struct file_slot *slot_of(const struct file_order *o, uint64_t number)
{
    assert(number >= o->begin && number < o->end);
    return &o->slots[number & (o->cap - 1)];
}

void file_order_done(struct file_order *o)
{
    for (size_t i = 0; i < o->cap; i++) {
        bytes_done(&o->slots[i].body);
        bytes_done(&o->slots[i].parked);
    }
    free(o->slots);
    *o = (struct file_order){0};
}

static void grow(struct file_order *o)
{
    size_t cap = o->cap ? o->cap * 2 : SLOTS_MIN;
    struct file_slot *slots = xcalloc(cap, sizeof(*slots));

    for (uint64_t n = o->begin; n < o->end; n++)
        slots[n & (cap - 1)] = o->slots[n & (o->cap - 1)];
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
    s->ended = false;
    bytes_clear(&s->parked);
    bytes_clear(&s->body);
    (void)bytes_reserve(&s->body, 1); /* an empty body is not null */
    bytes_append(&s->body, body.data, body.n);
    return view_of(s->body.data, s->body.n);
}

void file_order_park(struct file_order *o, uint64_t number, int out, struct view value)
{
    struct bytes *to = &slot_of(o, number)->parked;
    struct parked head = {out, value.n};

    bytes_append(to, &head, sizeof(head));
    bytes_append(to, value.data, value.n);
}

void file_order_end(struct file_order *o, uint64_t number)
{
    slot_of(o, number)->ended = true;
}

enum status file_order_flush(struct file_order *o, file_order_fn *each, void *ctx, struct error *err)
{
    for (; o->begin < o->end && slot_of(o, o->begin)->ended; o->begin++) {
        const struct bytes *from = &slot_of(o, o->begin)->parked;

        for (size_t at = 0; at < from->n;) {
            struct parked head;

            memcpy(&head, from->data + at, sizeof(head));
            at += sizeof(head);
            if (each(ctx, head.out, view_of(from->data + at, head.n), err) != OK)
                return err->status;
            at += head.n;
        }
    }
    return OK;
}
