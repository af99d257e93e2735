/* common/feature/expr_functions.c: the table of functions: what each takes and gives, for the check, the messages and docs/features.md. */
#include <inttypes.h>

#include "feature/expr_tree.h"
#include "feature/zone.h"
#include "wire/text.h"

#define K_MAX 256            /* columns of a text: a stage has 512 fields at most */
#define HASH_K_MAX INT32_MAX
#define NGRAM_MAX 8
#define DIGITS_MAX 15

struct function;
typedef struct node *make_fn(struct parser *s, const struct function *f, struct node **args, size_t n, const char *at);

struct function {
    const char *name, *takes, *gives, *meaning, *error, *cost; /* error NULL: none; cost NULL: one step a row */
    size_t args_min, args_max;
    make_fn *make;
    kernel *whole, *number, *text; /* what it runs, by type */
};

#define MANY SIZE_MAX

static struct node *wrong(struct parser *s, const struct function *f, const struct node *arg, const char *want)
{
    return expr_fail(s, arg->at, "%s needs %s, got %s", f->name, want, type_name(arg->type));
}

/* Two at a time: coalesce(a, b, c) is coalesce(coalesce(a, b), c). */
static struct node *chain(struct parser *s, kernel *run, enum type type, struct node **args, size_t n, const char *at)
{
    struct node *pair[2] = {node_as(s, args[0], type), NULL};

    for (size_t i = 1; i < n; i++) {
        pair[1] = node_as(s, args[i], type);
        pair[0] = node_step(s, at, type, run, NULL, pair, 2);
    }
    return pair[0];
}

static bool unite(struct parser *s, struct node **args, size_t from, size_t n, enum type *ret)
{
    *ret = TYPE_NULL;
    for (size_t i = from; i < n; i++)
        if (!types_unite(s, args[i]->at, "the values need one type", *ret, args[i]->type, ret))
            return false;
    if (*ret == TYPE_NULL) /* all null */
        *ret = TYPE_BOOL;
    return true;
}

static kernel *kernel_of(const struct function *f, enum type type)
{
    return type == TYPE_TEXT ? f->text : type == TYPE_NUMBER && f->number ? f->number : f->whole;
}

static struct node *make_coalesce(struct parser *s, const struct function *f, struct node **args, size_t n, const char *at)
{
    enum type type;

    return unite(s, args, 0, n, &type) ? chain(s, kernel_of(f, type), type, args, n, at) : NULL;
}

static struct node *make_if(struct parser *s, const struct function *f, struct node **args, size_t n, const char *at)
{
    enum type type;

    if (args[0]->type > TYPE_BOOL)
        return wrong(s, f, args[0], "a condition first");
    if (!unite(s, args, 1, n, &type))
        return NULL;
    args[0] = node_as(s, args[0], TYPE_BOOL);
    args[1] = node_as(s, args[1], type);
    args[2] = node_as(s, args[2], type);
    return node_step(s, at, type, kernel_of(f, type), NULL, args, 3);
}

static struct node *make_pick(struct parser *s, const struct function *f, struct node **args, size_t n, const char *at)
{
    size_t *n_values = arena_alloc(&s->e->arena, sizeof(*n_values));
    enum type type;

    if (args[0]->type > TYPE_INT)
        return wrong(s, f, args[0], "an integer first");
    if (!unite(s, args, 1, n, &type))
        return NULL;
    args[0] = node_as(s, args[0], TYPE_INT);
    for (size_t i = 1; i < n; i++)
        args[i] = node_as(s, args[i], type);
    *n_values = n - 1;
    return node_step(s, at, type, kernel_of(f, type), n_values, args, n);
}

static struct node *make_is_null(struct parser *s, const struct function *f, struct node **args, size_t n, const char *at)
{
    args[0] = args[0]->type == TYPE_NULL ? node_as(s, args[0], TYPE_BOOL) : args[0];
    return node_step(s, at, TYPE_BOOL, f->whole, NULL, args, n);
}

/* min, max: numbers, or times. */
static struct node *make_extreme(struct parser *s, const struct function *f, struct node **args, size_t n, const char *at)
{
    enum type type;

    for (size_t i = 0; i < n; i++)
        if (args[i]->type == TYPE_TEXT)
            return wrong(s, f, args[i], "a number or a time");
    return unite(s, args, 0, n, &type) ? chain(s, kernel_of(f, type), type, args, n, at) : NULL;
}

static struct node *make_clip(struct parser *s, const struct function *f, struct node **args, size_t n, const char *at)
{
    enum type type;
    struct node *pair[2], *above;

    for (size_t i = 0; i < n; i++)
        if (args[i]->type == TYPE_TEXT)
            return wrong(s, f, args[i], "a number or a time");
    if (!unite(s, args, 0, n, &type))
        return NULL;
    for (size_t i = 0; i < n; i++)
        args[i] = node_as(s, args[i], type);
    if (args[1]->kind == NODE_CONST && args[2]->kind == NODE_CONST && !args[1]->is_null && !args[2]->is_null &&
        (type == TYPE_NUMBER ? args[1]->f64 > args[2]->f64 : args[1]->i64 > args[2]->i64))
        return expr_fail(s, args[1]->at, "clip's least is greater than its greatest");
    pair[0] = args[0];
    pair[1] = args[1];
    above = node_step(s, at, type, type == TYPE_NUMBER ? k_max : k_max_int, NULL, pair, 2);
    pair[0] = above;
    pair[1] = args[2];
    return node_step(s, at, type, type == TYPE_NUMBER ? k_min : k_min_int, NULL, pair, 2);
}

static struct node *make_abs(struct parser *s, const struct function *f, struct node **args, size_t n, const char *at)
{
    enum type type = args[0]->type == TYPE_NUMBER ? TYPE_NUMBER : TYPE_INT;

    if (!type_is_numeric(args[0]->type))
        return wrong(s, f, args[0], "a number");
    args[0] = node_as(s, args[0], type);
    return node_step(s, at, type, kernel_of(f, type), NULL, args, n);
}

static struct node *make_number(struct parser *s, const struct function *f, struct node **args, size_t n, const char *at)
{
    if (!type_is_numeric(args[0]->type))
        return wrong(s, f, args[0], "a number");
    args[0] = node_as(s, args[0], TYPE_NUMBER);
    return node_step(s, at, TYPE_NUMBER, f->number, NULL, args, n);
}

static bool constant(struct parser *s, const struct function *f, const struct node *arg, const char *what, int64_t min, int64_t max)
{
    if (arg->kind == NODE_CONST && arg->type == TYPE_INT && !arg->is_null && arg->i64 >= min && arg->i64 <= max)
        return true;
    return expr_fail(s, arg->at, "%s needs %s: a constant integer from %" PRId64 " to %" PRId64, f->name, what, min, max) != NULL;
}

static struct node *make_round(struct parser *s, const struct function *f, struct node **args, size_t n, const char *at)
{
    struct scale *scale = arena_zalloc(&s->e->arena, sizeof(*scale));

    if (!type_is_numeric(args[0]->type))
        return wrong(s, f, args[0], "a number");
    if (n > 1 && !constant(s, f, args[1], "its digits", -DIGITS_MAX, DIGITS_MAX))
        return NULL;
    scale->power = 1;
    scale->divides = n > 1 && args[1]->i64 < 0;
    for (int64_t i = n > 1 ? args[1]->i64 : 0; i != 0; i += scale->divides ? 1 : -1)
        scale->power *= 10; /* exact up to 10^22 */
    args[0] = node_as(s, args[0], TYPE_NUMBER);
    return node_step(s, at, TYPE_NUMBER, f->number, scale, args, 1);
}

static struct node *make_time(struct parser *s, const struct function *f, struct node **args, size_t n, const char *at)
{
    struct node *time;
    int64_t ms;

    if (args[0]->type == TYPE_INT)
        return node_step(s, at, TYPE_TIME, f->whole, NULL, args, n);
    if (args[0]->type != TYPE_TEXT || args[0]->kind != NODE_CONST)
        return wrong(s, f, args[0], "an integer (milliseconds since 1970), or a constant text");
    if (!text_parse_time(args[0]->view, &ms))
        return expr_fail(s, args[0]->at, "no time of ISO 8601, such as '2018-07-25' or '2018-07-25T10:00:00Z'");
    time = node_new(s, NODE_CONST, TYPE_TIME, at);
    time->i64 = ms;
    return time;
}

static struct node *make_calendar(struct parser *s, const struct function *f, struct node **args, size_t n, const char *at)
{
    enum type type = f->gives[0] == 'c' ? TYPE_BOOL : TYPE_INT;
    const struct zone *zone = NULL;
    struct error why;

    if (args[0]->type == TYPE_INT)
        return expr_fail(s, args[0]->at, "%s needs a time, got an integer; time(x) takes one as milliseconds since 1970", f->name);
    if (args[0]->type != TYPE_TIME)
        return wrong(s, f, args[0], "a time");
    if (n == 2) {
        if (args[1]->type != TYPE_TEXT || args[1]->kind != NODE_CONST || args[1]->is_null)
            return expr_fail(s, args[1]->at, "%s needs a time zone as a constant text, such as 'Europe/Berlin'", f->name);
        if (zone_load(arena_printf(&s->e->arena, "%.*s", (int)args[1]->view.n, (const char *)args[1]->view.data), &s->e->arena, &zone, &why) != OK ||
            zone_version(&s->e->arena, &s->e->zone_data, &why) != OK)
            return expr_fail(s, args[1]->at, "%s", why.text);
    }
    return node_step(s, at, type, f->whole, zone, args, 1);
}

static struct node *make_hash(struct parser *s, const struct function *f, struct node **args, size_t n, const char *at)
{
    struct buckets *b = arena_zalloc(&s->e->arena, sizeof(*b));

    (void)n;
    if (args[0]->type != TYPE_TEXT && args[0]->type != TYPE_INT)
        return wrong(s, f, args[0], "text or an integer");
    if (!constant(s, f, args[1], "how many values to map to", 1, HASH_K_MAX))
        return NULL;
    b->k = (uint64_t)args[1]->i64;
    return node_step(s, at, TYPE_INT, kernel_of(f, args[0]->type), b, args, 1);
}

/* k columns: not folded, for a constant has one. */
static struct node *make_columns(struct parser *s, const struct function *f, struct node **args, size_t n, const char *at)
{
    struct buckets *b = arena_zalloc(&s->e->arena, sizeof(*b));
    struct node *made;

    if (args[0]->type != TYPE_TEXT)
        return wrong(s, f, args[0], "text");
    if (args[0]->kind == NODE_CONST)
        return expr_fail(s, args[0]->at, "%s needs a field of text, got a constant", f->name);
    if (!constant(s, f, args[n - 1], "how many columns to make", 1, K_MAX))
        return NULL;
    if (n == 3 && !constant(s, f, args[1], "how many characters to take at a time", 1, NGRAM_MAX))
        return NULL;
    b->k = (uint64_t)args[n - 1]->i64;
    b->n = n == 3 ? (size_t)args[1]->i64 : 0;
    made = node_step(s, at, TYPE_INT, f->text, b, args, 1);
    made->width = (size_t)b->k;
    return made;
}

#define ZONE "time, zone"
#define CALENDAR_COST "one step; with a zone a binary search among its changes besides"
static const struct function functions[] = {
    {"coalesce", "a, b, ...", "the values' type", "The first that is not null.", NULL, "one step for each value after the first", 2, MANY, make_coalesce, k_coalesce, k_coalesce, k_coalesce_text},
    {"if", "condition, a, b", "the values' type", "The second where the condition is true, else (null too) the third.", NULL, NULL, 3, 3, make_if, k_if, k_if, k_if_text},
    {"pick", "index, a, b, ...", "the values' type", "The value at that place, the first at 0; null where there is none.", NULL, NULL, 2, STEP_ARGS_MAX, make_pick, k_pick, NULL, k_pick_text},
    {"is_null", "x", "condition", "Whether it is null. Never null itself.", NULL, NULL, 1, 1, make_is_null, k_is_null, NULL, NULL},
    {"abs", "x", "number or integer", "Without its sign.", NULL, NULL, 1, 1, make_abs, k_abs_int, k_abs, NULL},
    {"min", "a, b, ...", "the values' type", "The least; null if one is null.", NULL, "one step for each value after the first", 2, MANY, make_extreme, k_min_int, k_min, NULL},
    {"max", "a, b, ...", "the values' type", "The greatest; null if one is null.", NULL, "one step for each value after the first", 2, MANY, make_extreme, k_max_int, k_max, NULL},
    {"clip", "x, least, greatest", "the values' type", "Not below the one and not above the other: `min(max(x, least), greatest)`.", NULL, "two steps", 3, 3, make_clip, NULL, NULL, NULL},
    {"log", "x", "number", "The natural logarithm; null of 0 and below.", "2 units in the last place", NULL, 1, 1, make_number, NULL, k_log, NULL},
    {"exp", "x", "number", "e to the power of x.", "2 units in the last place", NULL, 1, 1, make_number, NULL, k_exp, NULL},
    {"floor", "x", "number", "The greatest whole number that is not above it.", NULL, NULL, 1, 1, make_number, NULL, k_floor, NULL},
    {"round", "x, digits", "number", "To so many decimals (default 0; below 0: before the point), half away from zero.", "3 roundings", NULL, 1, 2, make_round, NULL, k_round, NULL},
    {"time", "x", "time", "Of an integer, milliseconds since 1970; of a constant text, a date or ISO 8601 in UTC: `time('2018-07-25')`.", NULL, NULL, 1, 1, make_time, k_copy, NULL, NULL},
    {"minute", ZONE, "integer", "0 to 59.", NULL, CALENDAR_COST, 1, 2, make_calendar, k_minute, NULL, NULL},
    {"hour", ZONE, "integer", "0 to 23.", NULL, CALENDAR_COST, 1, 2, make_calendar, k_hour, NULL, NULL},
    {"weekday", ZONE, "integer", "0 to 6, Monday is 0.", NULL, CALENDAR_COST, 1, 2, make_calendar, k_weekday, NULL, NULL},
    {"is_weekend", ZONE, "condition", "Saturday or Sunday.", NULL, CALENDAR_COST, 1, 2, make_calendar, k_is_weekend, NULL, NULL},
    {"day", ZONE, "integer", "Of the month, 1 to 31.", NULL, CALENDAR_COST, 1, 2, make_calendar, k_day, NULL, NULL},
    {"month", ZONE, "integer", "1 to 12.", NULL, CALENDAR_COST, 1, 2, make_calendar, k_month, NULL, NULL},
    {"year", ZONE, "integer", "Gregorian.", NULL, CALENDAR_COST, 1, 2, make_calendar, k_year, NULL, NULL},
    {"day_of_year", ZONE, "integer", "1 to 366.", NULL, CALENDAR_COST, 1, 2, make_calendar, k_day_of_year, NULL, NULL},
    {"week", ZONE, "integer", "Of ISO 8601, 1 to 53.", NULL, CALENDAR_COST, 1, 2, make_calendar, k_week, NULL, NULL},
    {"hash", "x, k", "integer", "Of text or an integer: the same value from 0 to k - 1 for the same x, everywhere and always.", NULL, "a step; of text, one for every 8 bytes", 2, 2, make_hash, k_hash_int, NULL, k_hash_text},
    {"words", "text, k", "k integers", "How often its words fall into each of k columns by their hash.", NULL, "a step for each byte, then one for each column", 2, 2, make_columns, NULL, NULL, k_words},
    {"ngrams", "text, n, k", "k integers", "The same of each run of n (1 to 8) characters.", NULL, "a step for each byte and n, then one for each column", 3, 3, make_columns, NULL, NULL, k_ngrams},
};

static struct node *unknown(struct parser *s, const char *name, size_t len, const char *at)
{
    struct feature_col names[ARRAY_LEN(functions)] = {0};
    char copy[64];
    const char *near;

    if (len >= sizeof(copy))
        return expr_fail(s, at, "no such function");
    memcpy(copy, name, len);
    copy[len] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(functions); i++)
        names[i].name = functions[i].name;
    near = expr_nearest(copy, names, ARRAY_LEN(functions));
    return expr_fail(s, at, "no such function '%s'%s%s%s", copy, near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static struct node *wrong_count(struct parser *s, const struct function *f, size_t n_args, const char *at)
{
    char most[32] = "";

    if (f->args_max == MANY)
        snprintf(most, sizeof(most), " or more");
    else if (f->args_max > f->args_min)
        snprintf(most, sizeof(most), " %s %zu", f->args_max == f->args_min + 1 ? "or" : "to", f->args_max);
    return expr_fail(s, at, "%s(%s) takes %zu%s arguments, got %zu", f->name, f->takes, f->args_min, most, n_args);
}

struct node *function_call(struct parser *s, const char *name, size_t len, struct node *const *args, size_t n_args, const char *at)
{
    const struct function *f = NULL;

    for (size_t i = 0; i < ARRAY_LEN(functions); i++)
        if (strlen(functions[i].name) == len && memcmp(functions[i].name, name, len) == 0)
            f = &functions[i];
    if (f == NULL)
        return unknown(s, name, len, at);
    if (n_args < f->args_min || n_args > f->args_max)
        return wrong_count(s, f, n_args, at);
    for (size_t i = 0; i < n_args; i++)
        if (!node_is_single(s, args[i]))
            return NULL;
    return f->make(s, f, arena_copy(&s->e->arena, args, n_args * sizeof(*args)), n_args, at);
}

void expr_reference(struct bytes *out)
{
    bytes_printf(out, "| function | gives | meaning | error | cost |\n|---|---|---|---|---|\n");
    for (size_t i = 0; i < ARRAY_LEN(functions); i++) {
        const struct function *f = &functions[i];

        bytes_printf(out, "| `%s(%s)` | %s | %s | %s | %s |\n", f->name, f->takes, f->gives, f->meaning, f->error ? f->error : "none",
                     f->cost ? f->cost : "one step");
    }
}
