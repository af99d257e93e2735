#include "feature/fields.h"

#include <assert.h>

#include "feature/past_check.h"
#include "wire/avro.h"

struct packed {
    uint32_t n_bytes;
    uint32_t nulls; /* a bit for each field */
    union {
        int64_t i64;
        double f64;
        struct {
            uint32_t at, n; /* bytes from the beginning */
        } text;
    } words[];
};

_Static_assert(FIELDS_MAX <= 32, "a bit for each field");
_Static_assert((size_t)128 << (FIELDS_ORDERS - 1) >= FIELDS_BYTES_MAX, "the largest event has a run");

static bool is_text(enum col_type type)
{
    return type == COL_STRING || type == COL_BYTES;
}

size_t fields_bytes(const struct ring_def *def, const struct col *const *cols, size_t r)
{
    size_t n = sizeof(struct packed) + def->n_fields * sizeof(((struct packed *)NULL)->words[0]);

    for (size_t i = 0; i < def->n_fields; i++)
        if (is_text(cols[i]->type) && !cols[i]->null[r])
            n += cols[i]->view[r].n;
    return n;
}

static unsigned order_of(const struct past *p, size_t n_bytes)
{
    unsigned order = 0;

    while (run_bytes(p->plan, order) < n_bytes)
        order++;
    return order;
}

uint32_t fields_put(struct past *p, const struct ring_def *def, const struct col *const *cols, size_t r)
{
    size_t n_bytes = fields_bytes(def, cols, r), at = sizeof(struct packed) + def->n_fields * sizeof(((struct packed *)NULL)->words[0]);
    uint32_t place = past_take(p, order_of(p, n_bytes));
    struct packed *to = past_at(p, place);

    assert(n_bytes <= FIELDS_BYTES_MAX);
    if (place == 0)
        return 0;
    to->n_bytes = (uint32_t)n_bytes;
    for (size_t i = 0; i < def->n_fields; i++) {
        const struct col *c = cols[i];

        if (c->null[r]) {
            to->nulls |= UINT32_C(1) << i;
        } else if (c->type == COL_DOUBLE) {
            to->words[i].f64 = c->f64[r];
        } else if (!is_text(c->type)) {
            to->words[i].i64 = c->i64[r];
        } else {
            to->words[i].text.at = (uint32_t)at;
            to->words[i].text.n = (uint32_t)c->view[r].n;
            if (c->view[r].n)
                memcpy((uint8_t *)to + at, c->view[r].data, c->view[r].n);
            at += c->view[r].n;
        }
    }
    return place;
}

void fields_give(struct past *p, uint32_t place)
{
    past_give(p, place, order_of(p, ((const struct packed *)past_at(p, place))->n_bytes));
}

bool fields_check(const struct past *p, const struct ring_def *def, uint32_t place, struct claims *c)
{
    const struct packed *from = past_at(p, place);
    size_t least = sizeof(*from) + def->n_fields * sizeof(from->words[0]);

    if (!past_has(c, place) || from->n_bytes < least || from->n_bytes > FIELDS_BYTES_MAX ||
        !past_claim(c, place, order_of(p, from->n_bytes)))
        return false;
    for (size_t i = 0; i < def->n_fields; i++) {
        uint32_t at = from->words[i].text.at, n = from->words[i].text.n;

        if (!is_text(def->fields[i].type) || from->nulls >> i & 1)
            continue;
        if (at > from->n_bytes || n > from->n_bytes - at)
            return false;
        if (def->fields[i].type == COL_STRING && !avro_is_text(view_of((const uint8_t *)from + at, n)))
            return false;
    }
    return true;
}

void fields_get(const struct past *p, const struct ring_def *def, uint32_t place, size_t field, struct arena *arena, struct col *col, size_t r)
{
    const struct packed *from = past_at(p, place);

    if (from->nulls >> field & 1)
        col->null[r] = 1;
    else if (col->type == COL_DOUBLE)
        col->f64[r] = from->words[field].f64;
    else if (!is_text(def->fields[field].type))
        col->i64[r] = from->words[field].i64;
    else
        col->view[r] = view_of(arena_copy(arena, (const uint8_t *)from + from->words[field].text.at, from->words[field].text.n),
                               from->words[field].text.n);
}
