/* common/feature/reference.c: what docs/features.md holds, from the tables of the code. */
#include "feature/aggregates.h"
#include "feature/expr_tree.h"
#include "feature/features_made.h"
#include "feature/fields.h"
#include "feature/tumbling.h"

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

static void put_tile(struct bytes *out, const struct aggregate *a)
{
    const struct part_kind *const *kinds = a->ever[0] ? a->ever : a->parts;
    size_t n_bytes = 0;

    for (int i = 0; i < 2 && kinds[i] && features_tiled(a) && a->tiled == NULL; i++)
        n_bytes += PART_TILES.item_bytes + kinds[i]->bytes;
    if (a->tiled)
        bytes_printf(out, "none: %zu a value, see below | ", a->tiled->item_bytes);
    else
        bytes_printf(out, n_bytes ? "%zu | " : "- | ", n_bytes);
}

static void put_costs(struct bytes *out)
{
    bytes_printf(out, "| aggregate | an event costs | bytes of a window | bytes since ever | bytes of a tile | bytes of a tumbling window |\n"
                      "|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < n_aggregates; i++) {
        const struct aggregate *a = &aggregates[i];

        bytes_printf(out, "| `%s` | %s | ", a->name, or_else(a->cost, "one step when it comes, one when it leaves"));
        if (!a->only_ever)
            put_bytes(out, a->parts, /* ever= */ false);
        bytes_printf(out, "%s | ", a->only_ever ? "-" : "");
        if (!a->not_ever)
            put_bytes(out, a->ever[0] ? a->ever : a->parts, /* ever= */ true);
        bytes_printf(out, "%s | ", a->not_ever ? "-" : "");
        put_tile(out, a);
        if (tumbling_takes(a))
            bytes_printf(out, "%zu |\n", tumbling_value_bytes(a));
        else
            bytes_printf(out, "- |\n");
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
        {"each record that a join may still ask for", sizeof(int64_t) + fields_bytes(&(struct ring_def){0}, NULL, 0),
         ", 8 for its place, 8 for its time in one with `for`, 8 for each field and its texts; from the fields on in runs of 128, 256, ... 16,384"},
        {"each part of a window with `resolution`", 2 * PART_TILES.bytes, ", and its tiles, twice"},
        {"of a stage with `tumbling`, instead of all that but the first row", tumbling_key_bytes(), ""},
        {"there, each window that may still change", tumbling_window_bytes(), ", and 8 for each different `where` of its values, also none"},
    };

    bytes_printf(out, "| of a key | bytes |\n|---|---|\n");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        bytes_printf(out, "| %s | %zu%s |\n", rows[i].what, rows[i].n_bytes, rows[i].more);
}

/* How a past is cut: which records count for a row of time t, and how exactly its ends are kept. */
static void put_windows(struct bytes *out)
{
    static const char *const rows[][4] = {
        {"`\"7d\"`, w", "in (t - w, t]", "to the millisecond", "each passes both ends once"},
        {"the same with `\"resolution\"`, r", "in (b, t], b the last multiple of r since 1970 at or before t - w",
         "its beginning is up to r early, so it holds up to r / w more of its length; its end is to the millisecond",
         "it goes into its tile and into the total, twice; a tile leaves whole"},
        {"`\"last10\"`", "the latest 10", "to the record", "each passes both ends once"},
        {"`\"gap30m\"`", "back to the first silence of more than 30 minutes", "to the millisecond", "each passes both ends once"},
        {"`\"ever\"`", "all", "none is left out", "each comes once"},
        {"`join`, the latest record of another topic", "the last one in (t - `within`, t], or up to t",
         "to the millisecond; one that comes later, for an earlier time, changes no row that is out",
         "a version is passed once; a row copies the fields that it takes"},
        {"`join` with `for`, of step k", "those for a time in (t + (k - 1) x `every`, t + k x `every`], of their own time up to t: for the latest time the latest",
         "to the millisecond; one that comes later, for an earlier time, changes no row that is out",
         "it and a row look through what is kept of the times ahead; a row copies the fields that it takes"},
        {"`tumbling`, `every` e", "in [start, start + e), once for all of them", "to the millisecond; a late one makes a further revision",
         "it is looked for among the key's windows that may still change, from the last on; a closing window costs a row for each key"},
    };

    bytes_printf(out, "| window | records that count | its ends | what a record costs |\n|---|---|---|---|\n");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        bytes_printf(out, "| %s | %s | %s | %s |\n", rows[i][0], rows[i][1], rows[i][2], rows[i][3]);
}

void features_reference(struct bytes *out)
{
    put_windows(out);
    bytes_printf(out, "\n");
    put_meanings(out);
    bytes_printf(out, "\n");
    put_costs(out);
    bytes_printf(out, "\n");
    put_key(out);
    bytes_printf(out, "\n");
    expr_reference(out);
}
