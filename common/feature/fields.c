#include "feature/fields.h"

#include <assert.h>

#include "feature/past_check.h"
#include "wire/avro.h"

/* The null bits, up to a whole word, then a word for each field. */
struct packed {
    uint32_t n_bytes;
    uint8_t nulls[];
};

union word {
    int64_t i64;
    double f64;
    struct {
        uint32_t at, n; /* bytes from the beginning */
    } text;
};

_Static_assert((size_t)128 << (FIELDS_ORDERS - 1) >= FIELDS_BYTES_MAX, "the largest event has a run");

static bool is_view(enum col_type type)
{
    return type >= COL_STRING;
}

static size_t words_at(const struct ring_def *def)
{
    return (sizeof(struct packed) + (def->n_fields + 7) / 8 + 7) / 8 * 8;
}

static size_t texts_at(const struct ring_def *def)
{
    return words_at(def) + def->n_fields * sizeof(union word);
}

static union word *word(const struct ring_def *def, const struct packed *p, size_t field)
{
    return (union word *)(void *)((uint8_t *)(uintptr_t)p + words_at(def)) + field;
}

static bool is_null(const struct packed *p, size_t field)
{
    return p->nulls[field / 8] >> (field % 8) & 1;
}

size_t fields_bytes(const struct ring_def *def, const struct col *const *cols, size_t r)
{
    size_t n = texts_at(def);

    for (size_t i = 0; i < def->n_fields; i++)
        if (is_view(cols[i]->type) && !cols[i]->null[r])
            n += cols[i]->view[r].n;
    return n;
}

uint32_t fields_put(struct past *p, const struct ring_def *def, const struct col *const *cols, size_t r)
{
    size_t n_bytes = fields_bytes(def, cols, r), at = texts_at(def);
    uint32_t place = past_take(p, run_order(p->plan, n_bytes));
    struct packed *to = past_at(p, place);

    assert(n_bytes <= FIELDS_BYTES_MAX);
    if (place == 0)
        return 0;
    to->n_bytes = (uint32_t)n_bytes;
    for (size_t i = 0; i < def->n_fields; i++) {
        const struct col *c = cols[i];

        if (c->null[r]) {
            to->nulls[i / 8] |= (uint8_t)(1 << i % 8);
        } else if (c->type == COL_DOUBLE) {
            word(def, to, i)->f64 = c->f64[r];
        } else if (!is_view(c->type)) {
            word(def, to, i)->i64 = c->i64[r];
        } else {
            word(def, to, i)->text.at = (uint32_t)at;
            word(def, to, i)->text.n = (uint32_t)c->view[r].n;
            if (c->view[r].n)
                memcpy((uint8_t *)to + at, c->view[r].data, c->view[r].n);
            at += c->view[r].n;
        }
    }
    return place;
}

void fields_give(struct past *p, uint32_t place)
{
    past_give(p, place, run_order(p->plan, ((const struct packed *)past_at(p, place))->n_bytes));
}

uint32_t fields_move(struct past *to, const struct past *from, uint32_t place)
{
    const struct packed *packed = past_at(from, place);
    uint32_t now = past_take(to, run_order(to->plan, packed->n_bytes));

    if (now)
        memcpy(past_at(to, now), packed, packed->n_bytes);
    return now;
}

bool fields_check(const struct past *p, const struct ring_def *def, uint32_t place, struct claims *c)
{
    const struct packed *from = past_at(p, place);

    if (!past_has(c, place) || from->n_bytes < texts_at(def) || from->n_bytes > FIELDS_BYTES_MAX ||
        !past_claim(c, place, run_order(p->plan, from->n_bytes)))
        return false;
    for (size_t i = 0; i < def->n_fields; i++) {
        uint32_t at = word(def, from, i)->text.at, n = word(def, from, i)->text.n;

        if (!is_view(def->fields[i].type) || is_null(from, i))
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
    const union word *w = word(def, from, field);

    if (is_null(from, field))
        col->null[r] = 1;
    else if (col->type == COL_DOUBLE)
        col->f64[r] = w->f64;
    else if (!is_view(def->fields[field].type))
        col->i64[r] = w->i64;
    else
        col->view[r] = view_of(arena_copy(arena, (const uint8_t *)from + w->text.at, w->text.n), w->text.n);
}

int64_t fields_int(const struct past *p, const struct ring_def *def, uint32_t place, size_t field)
{
    const struct packed *from = past_at(p, place);

    return is_null(from, field) ? 0 : word(def, from, field)->i64;
}

void fields_set(struct past *p, const struct ring_def *def, uint32_t place, size_t field, int64_t v)
{
    struct packed *to = past_at(p, place);

    to->nulls[field / 8] &= (uint8_t)~(1 << field % 8);
    word(def, to, field)->i64 = v;
    past_dirty(p, place, to->n_bytes);
}
