#include "feature/past.h"

/* A value grows by more than it needs, or a hot key would be moved for each page, and a warm one whenever it has a few events more than ever. */
static size_t room_for(size_t need, size_t page_bytes)
{
    return need + (1 + need / 8 / page_bytes) * page_bytes;
}

static bool grow(struct past *p, size_t need)
{
    if (p->state == NULL) {
        uint8_t *base = arena_zalloc(p->arena, need * 2);

        memcpy(base, p->base, p->n_bytes);
        p->base = base;
        p->n_bytes = need * 2;
        return true;
    }
    if (state_resize(p->state, p->entry, room_for(need, p->plan->page_bytes), p->err) != OK) {
        p->st = ERR_FATAL;
        return false;
    }
    p->base = p->entry->value;
    return true;
}

void past_open(struct past *p, struct entry *e)
{
    p->entry = e;
    p->st = OK;
    if (e->n_bytes == 0) {
        if (state_resize(p->state, e, p->plan->head_bytes, p->err) != OK) {
            p->st = ERR_FATAL;
            return;
        }
        memcpy(e->value, p->plan->empty, p->plan->head_bytes);
    }
    p->base = e->value;
}

void past_begin(struct past *p)
{
    struct past_head *h = past_head(p);

    h->end = p->plan->head_bytes / 8;
    h->used = 0;
    memset(h->free, 0, p->plan->n_orders * sizeof(*h->free));
}

void past_replace(struct past *p, const struct past *by)
{
    size_t n_bytes = (size_t)past_head(by)->end * 8;

    if (state_resize(p->state, p->entry, n_bytes, p->err) != OK) {
        p->st = ERR_FATAL;
        return;
    }
    p->base = memcpy(p->entry->value, by->base, n_bytes);
    state_dirty(p->state, p->entry, 0, n_bytes, p->commit);
}

void past_scratch(struct past *p, const struct past *of)
{
    *p = *of;
    p->state = NULL;
    p->n_bytes = p->plan->head_bytes;
    p->base = arena_copy(p->arena, p->plan->empty, p->n_bytes);
}

void past_expect(const uint8_t *value, const struct plan *plan)
{
    const struct past_head *h = (const struct past_head *)(const void *)value;
    size_t place = h->free[0] ? h->free[0] : h->end;

    for (size_t at = 0; at < plan->page_bytes; at += 64)
        __builtin_prefetch(value + place * 8 + at, /* rw= */ 1);
}

uint32_t past_take(struct past *p, unsigned order)
{
    struct past_head *h = past_head(p);
    size_t size = run_bytes(p->plan, order), n_bytes = p->state ? p->entry->n_bytes : p->n_bytes;
    uint32_t place;

    if (order >= p->plan->n_orders) {
        p->st = err_set(p->err, ERR_FATAL, "one key has more than %zu bytes of different values in a window",
                        run_bytes(p->plan, p->plan->n_orders - 1));
        return 0;
    }
    place = h->free[order];
    if (place) {
        memcpy(&h->free[order], past_at(p, place), sizeof(h->free[order]));
    } else {
        place = h->end;
        if ((size_t)place * 8 + size > n_bytes && !grow(p, (size_t)place * 8 + size))
            return 0;
        past_head(p)->end += (uint32_t)(size / 8);
    }
    past_head(p)->used += 1U << order;
    memset(past_at(p, place), 0, size);
    past_dirty(p, place, size);
    return place;
}

void past_give(struct past *p, uint32_t place, unsigned order)
{
    struct past_head *h = past_head(p);

    memcpy(past_at(p, place), &h->free[order], sizeof(h->free[order]));
    past_dirty(p, place, sizeof(h->free[order]));
    h->free[order] = place;
    h->used -= 1U << order;
}

void past_give_run(struct past *p, struct part_run *run)
{
    if (run->place)
        past_give(p, run->place, run->order);
    *run = (struct part_run){0, 0};
}

void past_dirty(struct past *p, uint32_t place, size_t n_bytes)
{
    if (p->state && p->entry->n_bytes > STATE_CHUNK_BYTES)
        state_dirty(p->state, p->entry, (size_t)place * 8, n_bytes, p->commit);
}
