/* common/feature/reference.c: what docs/features.md holds, from the tables of the code. */
#include "feature/aggregates.h"
#include "feature/expr_tree.h"
#include "feature/features_made.h"

static const char *or_else(const char *text, const char *otherwise)
{
    return text ? text : otherwise;
}

static void put_meanings(struct bytes *out)
{
    static const char *const takes[] = {"a topic", "numbers", "numbers or texts"};

    bytes_printf(out, "| aggregate | of | meaning | formula | unit | error |\n|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < n_aggregates; i++) {
        const struct aggregate *a = &aggregates[i];

        bytes_printf(out, "| `%s` | %s | %s | %s | %s | %s |\n", a->name, takes[a->takes], a->about, a->formula,
                     or_else(a->unit, "the value's"), or_else(a->error, "none"));
    }
}

/* What parts take in a key; since ever those that cannot take back stand there twice, once as of the floor. */
static void put_bytes(struct bytes *out, const struct part_kind *const kinds[2], bool ever)
{
    const struct part_kind *item = NULL;
    size_t n_bytes = 0, times = 1;

    for (int i = 0; i < 2 && kinds[i]; i++) {
        times = ever && !kinds[i]->takes_back ? 2 : 1;
        n_bytes += times * kinds[i]->bytes;
        if (kinds[i]->item_bytes)
            item = kinds[i];
    }
    bytes_printf(out, "%zu", n_bytes);
    if (item)
        bytes_printf(out, ", and %zu for each %s", times * item->item_bytes, item->item);
}

static void put_costs(struct bytes *out)
{
    bytes_printf(out, "| aggregate | an event costs | bytes of a window | bytes since ever |\n|---|---|---|---|\n");
    for (size_t i = 0; i < n_aggregates; i++) {
        const struct aggregate *a = &aggregates[i];

        bytes_printf(out, "| `%s` | %s | ", a->name, or_else(a->cost, "one step when it comes, one when it leaves"));
        if (!a->only_ever)
            put_bytes(out, a->parts, /* ever= */ false);
        bytes_printf(out, "%s | ", a->only_ever ? "-" : "");
        if (!a->not_ever)
            put_bytes(out, a->ever[0] ? a->ever : a->parts, /* ever= */ true);
        bytes_printf(out, "%s |\n", a->not_ever ? "-" : "");
    }
}

/* A key's memory besides its parts. */
static void put_key(struct bytes *out)
{
    const struct {
        const char *what;
        size_t n_bytes;
        const char *more;
    } rows[] = {
        {"itself, in the table of keys", sizeof(struct entry), ", and its text"},
        {"itself, of features", past_head_bytes(1), ""},
        {"the same where something above has items", past_head_bytes(ORDERS_MAX), ""},
        {"each topic, and each topic under another `where`", sizeof(struct ring) + sizeof(struct cursor), ""},
        {"each different end of a window by time: now, `delay` ago, the window's length before that", sizeof(struct cursor), ""},
        {"once for each `delay`, where a window of it is `last`, `gap` or `ever`", sizeof(struct cursor), ""},
        {"each `last` and `gap` window", 2 * sizeof(struct cursor), ""},
        {"each event that a window may still ask for", sizeof(int64_t), ", and 8 for each different expression over it"},
    };

    bytes_printf(out, "| of a key | bytes |\n|---|---|\n");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        bytes_printf(out, "| %s | %zu%s |\n", rows[i].what, rows[i].n_bytes, rows[i].more);
}

void features_reference(struct bytes *out)
{
    put_meanings(out);
    bytes_printf(out, "\n");
    put_costs(out);
    bytes_printf(out, "\n");
    put_key(out);
    bytes_printf(out, "\n");
    expr_reference(out);
}
