/* common/feature/features.c: definitions compiled into aggregates over rings and expressions over columns. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "crypto/hash.h"
#include "feature/features_made.h"
#include "feature/past_check.h"
#include "feature/tumbling.h"

/* Names in an expression: input columns and earlier features; a family stands for its column of one window. */
struct scope {
    struct features *f;
    const char *over;   /* the window compiled for, or NULL */
    const char *family; /* the last family met, or NULL */
};

static const struct feature_col *scope_resolve(void *ctx, const char *name)
{
    struct scope *s = ctx;
    struct features *f = s->f;

    for (size_t i = 0; i < f->n_made; i++)
        if (strcmp(f->made[i].col.name, name) == 0)
            return arena_copy(&f->arena, &f->made[i].col, sizeof(f->made[i].col)); /* `made` still grows */
    for (size_t i = 0; i < f->n_made; i++) {
        const struct made *m = &f->made[i];

        if (m->over == NULL || strcmp(m->family, name) != 0)
            continue;
        s->family = m->family;
        if (s->over == NULL || strcmp(s->over, m->over) == 0)
            return arena_copy(&f->arena, &m->col, sizeof(m->col));
    }
    for (size_t i = 0; i < f->inputs[f->emit].n_cols; i++)
        if (strcmp(f->inputs[f->emit].cols[i].name, name) == 0)
            return &f->inputs[f->emit].cols[i];
    return NULL;
}

static const char *scope_nearest(void *ctx, const char *name)
{
    const struct features *f = ((struct scope *)ctx)->f;
    const char *found = expr_nearest(name, f->cols, f->n_made);

    return found ? found : expr_nearest(name, f->inputs[f->emit].cols, f->inputs[f->emit].n_cols);
}

struct made *features_add_made(struct features *f, const char *name, const char *over, enum col_type type)
{
    struct made *m;

    f->made = xrealloc(f->made, (f->n_made + 1) * sizeof(*f->made));
    f->cols = xrealloc(f->cols, (f->n_made + 1) * sizeof(*f->cols));
    m = &f->made[f->n_made];
    *m = (struct made){.family = name, .over = over};
    m->col = (struct feature_col){over ? arena_printf(&f->arena, "%s_%s", name, over) : arena_strdup(&f->arena, name), type,
                                  false, -1};
    f->cols[f->n_made++] = m->col;
    return m;
}

static const struct feature_col *input_col(const struct features *f, const char *name)
{
    for (size_t i = 0; i < f->inputs[f->emit].n_cols; i++)
        if (strcmp(f->inputs[f->emit].cols[i].name, name) == 0)
            return &f->inputs[f->emit].cols[i];
    return NULL;
}

static enum status add_expr(struct features *f, const struct feature_def *d, const char *over, struct scope *scope,
                            struct error *err)
{
    const struct feature_col *input = input_col(f, d->name);
    struct expr *e;
    enum col_type type;
    struct made *m;
    size_t width;

    scope->over = over;
    if (expr_compile(d->expr, scope_resolve, scope_nearest, scope, &e, &type, err) != OK)
        return err_wrap(err, "feature '%s'", d->name);
    if (input && (expr_column(e) == NULL || strcmp(expr_column(e)->name, input->name) != 0)) {
        expr_free(e);
        return err_set(err, ERR_FATAL, "feature '%s': the topic has a field of that name; choose another name", d->name);
    }
    if (type == COL_STRING && !input) {
        expr_free(e);
        return err_set(err, ERR_FATAL, "feature '%s': a feature is a number or a condition, this is text; hash, words and ngrams make numbers of it",
                       d->name);
    }
    width = expr_width(e);
    if (width > 1 && over) {
        expr_free(e);
        return err_set(err, ERR_FATAL, "feature '%s': what makes several columns cannot rest on a family of windows", d->name);
    }
    for (size_t i = 0; i < width; i++) {
        m = features_add_made(f, d->name, width > 1 ? arena_printf(&f->arena, "%zu", i) : over, type);
        m->col.is_time = expr_is_time(e);
        m->is_input = input != NULL;
        m->expr = i == 0 ? e : NULL;
        m->width = width;
        f->cols[f->n_made - 1] = m->col;
    }
    return OK;
}

/* An expression over a family of windows makes a family of the same windows. */
static enum status add_exprs(struct features *f, const struct feature_def *d, struct error *err)
{
    struct scope scope = {.f = f};
    struct expr *e;
    enum col_type type;
    const char **windows = arena_alloc(&f->arena, (f->n_made + 1) * sizeof(*windows));
    size_t n = 0;

    if (expr_compile(d->expr, scope_resolve, scope_nearest, &scope, &e, &type, err) != OK)
        return err_wrap(err, "feature '%s'", d->name);
    expr_free(e);
    if (scope.family == NULL)
        return add_expr(f, d, NULL, &scope, err);
    for (size_t i = 0; i < f->n_made; i++)
        if (f->made[i].over && strcmp(f->made[i].family, scope.family) == 0)
            windows[n++] = f->made[i].over;
    for (size_t i = 0; i < n; i++)
        if (add_expr(f, d, windows[i], &scope, err) != OK)
            return err->status;
    return OK;
}

static const struct feature_col *copy_cols(struct features *f, const struct feature_col *cols, size_t n)
{
    struct feature_col *copy = n ? arena_copy(&f->arena, cols, n * sizeof(*copy)) : NULL;

    for (size_t i = 0; i < n; i++)
        copy[i].name = arena_strdup(&f->arena, copy[i].name);
    return copy;
}

struct features *features_begin(const struct feature_input *inputs, size_t n, size_t emit)
{
    struct features *f = xcalloc(1, sizeof(*f));

    f->emit = emit;
    f->kept = f->revision = -1;
    f->plan.arena = &f->arena;
    f->inputs = arena_copy(&f->arena, inputs, n * sizeof(*inputs));
    f->n_inputs = n;
    for (size_t i = 0; i < n; i++) {
        f->inputs[i].name = arena_strdup(&f->arena, inputs[i].name);
        f->inputs[i].cols = copy_cols(f, inputs[i].cols, inputs[i].n_cols);
        f->inputs[i].passed = copy_cols(f, inputs[i].passed, inputs[i].n_passed);
    }
    return f;
}

/* The zone data's version, where an expression names a zone: other rules, other numbers. */
static const char *zone_data(const struct features *f)
{
    const char *version = f->zone_data;

    for (size_t i = 0; i < f->n_made; i++)
        if (f->made[i].expr && expr_zone_data(f->made[i].expr))
            version = expr_zone_data(f->made[i].expr);
    for (size_t i = 0; i < f->plan.n_rings; i++) {
        const struct ring_def *r = &f->plan.rings[i];

        if (r->where && expr_zone_data(r->where))
            version = expr_zone_data(r->where);
        if (r->valid && expr_zone_data(r->valid))
            version = expr_zone_data(r->valid);
        for (size_t v = 0; v < r->n_values; v++)
            if (expr_zone_data(r->values[v].expr))
                version = expr_zone_data(r->values[v].expr);
    }
    return version;
}

/* What the numbers mean: definitions, and the type and scale of every input column. */
void features_set_fingerprint(struct features *f, const char *head, const struct feature_def *defs, size_t n_defs)
{
    struct bytes text = BYTES_EMPTY;
    uint8_t digest[HASH_BYTES];

    bytes_printf(&text, "%s", head);
    if (zone_data(f))
        bytes_printf(&text, "zones %s\n", zone_data(f));
    for (size_t i = 0; i < f->n_inputs; i++)
        if (f->inputs[i].replaces_ms)
            bytes_printf(&text, "rows of %s are replaced for %lld\n", f->inputs[i].name, (long long)f->inputs[i].replaces_ms);
    for (size_t i = 0; i < f->n_inputs; i++)
        for (size_t c = 0; c < f->inputs[i].n_cols; c++)
            if (features_needs(f, i, f->inputs[i].cols[c].name))
                bytes_printf(&text, "col %s.%s %d %d\n", f->inputs[i].name, f->inputs[i].cols[c].name,
                             (int)f->inputs[i].cols[c].type, f->inputs[i].cols[c].scale);
    for (size_t c = 0; f->kept >= 0 && c < f->inputs[f->emit].n_passed; c++)
        bytes_printf(&text, "kept %s %d\n", f->inputs[f->emit].passed[c].name, (int)f->inputs[f->emit].passed[c].type);
    for (size_t i = 0; i < n_defs; i++) {
        const struct feature_def *d = &defs[i];

        bytes_printf(&text, "%s = %s %s %s delay %s over", d->name, d->expr ? d->expr : "", d->aggregate ? d->aggregate : "",
                     d->of ? d->of : "", d->delay ? d->delay : "0");
        for (size_t w = 0; w < d->n_over; w++)
            bytes_printf(&text, " %s", d->over[w]);
        if (d->resolution)
            bytes_printf(&text, " resolution %s", d->resolution);
        if (d->where)
            bytes_printf(&text, " where %s", d->where);
        if (d->others)
            bytes_printf(&text, " others");
        if (d->has_parameter)
            bytes_printf(&text, " parameter %.17g", d->parameter);
        if (d->has_fill)
            bytes_printf(&text, " fill %.17g", d->fill);
        if (d->join)
            bytes_printf(&text, " join %s within %s fields", d->join, d->within ? d->within : "ever");
        if (d->list)
            bytes_printf(&text, " list %s items %zu fields", d->list, d->n_items);
        if (d->valid)
            bytes_printf(&text, " for %s every %s zone %s ahead %zu", d->valid, d->every, d->zone ? d->zone : "UTC", d->ahead);
        for (size_t k = 0; k < d->n_fields; k++)
            bytes_printf(&text, " %s", d->fields[k]);
        bytes_printf(&text, "\n");
    }
    hash_bytes(view_of(text.data, text.n), digest);
    hash_to_hex(digest, 8, f->fingerprint);
    bytes_done(&text);
}

static uint32_t cursor_at(const struct ring_def *ring, int c)
{
    return c < 0 ? 0 : ring->cursors_at + (uint32_t)c * (uint32_t)sizeof(struct cursor);
}

static bool is_count(const struct made *m)
{
    return m->aggregate && m->window.tail >= 0 && strcmp(m->aggregate->name, "count") == 0;
}

static void ask(struct features *f, size_t i)
{
    const struct made *m = &f->made[i];
    const struct ring_def *ring = &f->plan.rings[m->window.ring];
    struct question q = {.made = i, .aggregate = m->aggregate, .ring = ring, .window = m->window,
                         .head_at = cursor_at(ring, m->window.head), .tail_at = cursor_at(ring, m->window.tail),
                         .parts = {m->parts[0] < 0 ? NULL : &ring->parts[m->parts[0]],
                                   m->parts[1] < 0 ? NULL : &ring->parts[m->parts[1]]},
                         .delay_ms = ring->cursors[m->window.head].ms, .value = m->value, .parameter = m->parameter,
                         .within_ms = m->within_ms};

    f->asked[m->others][f->n_asked[m->others]++] = q;
    if (is_count(m))
        f->counts[m->others][f->n_counts[m->others]++] = (struct count_asked){i, q.head_at, q.tail_at};
}

static void list_asked(struct features *f)
{
    for (int others = 0; others < 2; others++) {
        f->asked[others] = arena_alloc(&f->arena, (f->n_made + 1) * sizeof(*f->asked[others]));
        f->counts[others] = arena_alloc(&f->arena, (f->n_made + 1) * sizeof(*f->counts[others]));
    }
    for (int counts = 1; counts >= 0; counts--)
        for (size_t i = 0; i < f->n_made; i++)
            if ((f->made[i].aggregate || f->made[i].is_join) && is_count(&f->made[i]) == counts)
                ask(f, i);
}

/* A family's column may have the name of a column before it. */
static enum status check_names(const struct features *f, size_t from, struct error *err)
{
    for (size_t i = from; i < f->n_made; i++)
        for (size_t k = 0; k < i; k++)
            if (strcmp(f->cols[k].name, f->cols[i].name) == 0)
                return err_set(err, ERR_FATAL, "feature '%s': feature '%s' makes the column '%s' already; choose another name",
                               f->made[i].family, f->made[k].family, f->cols[i].name);
    return OK;
}

static bool in_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static bool is_called(const char *behind_name)
{
    while (isspace((unsigned char)*behind_name))
        behind_name++;
    return *behind_name == '(';
}

/* Whether an expression names it, outside its texts; with a bracket behind it a name is a function's. */
static bool names(const char *expr, const char *name)
{
    size_t n = strlen(name);
    char quote = '\0';

    for (const char *p = expr; *p; p++) {
        if (quote || *p == '\'' || *p == '"')
            quote = quote == *p ? '\0' : quote ? quote : *p;
        else if ((p == expr || !in_name(p[-1])) && strncmp(p, name, n) == 0 && !in_name(p[n]) && !is_called(p + n))
            return true;
    }
    return false;
}

/* Whether definition `from` rests on `to`, over whatever lies between; seen: those looked at. */
static bool rests_on(const struct feature_def *defs, size_t n, size_t from, size_t to, bool *seen)
{
    if (seen[from] || defs[from].expr == NULL)
        return false;
    seen[from] = true;
    for (size_t i = 0; i < n; i++)
        if (names(defs[from].expr, defs[i].name) && (i == to || rests_on(defs, n, i, to, seen)))
            return true;
    return false;
}

/* A feature names those before it; a name of the input is the input's. */
static enum status check_order(struct features *f, const struct feature_def *defs, size_t n, size_t i, struct error *err)
{
    bool *seen;

    for (size_t k = i; k < n && defs[i].expr; k++) {
        if (input_col(f, defs[k].name) || !names(defs[i].expr, defs[k].name))
            continue;
        if (k == i)
            return err_set(err, ERR_FATAL, "feature '%s': it rests on itself", defs[i].name);
        seen = arena_zalloc(&f->arena, n * sizeof(*seen));
        if (rests_on(defs, n, k, i, seen))
            return err_set(err, ERR_FATAL, "feature '%s': it rests on '%s', and that on it: a cycle", defs[i].name, defs[k].name);
        return err_set(err, ERR_FATAL, "feature '%s': '%s' is defined behind it; put it before", defs[i].name, defs[k].name);
    }
    return OK;
}

enum status features_new(const struct feature_input *inputs, size_t n_inputs, size_t emit, const struct feature_def *defs,
                         size_t n_defs, struct features **ret_features, struct error *err)
{
    struct features *f = features_begin(inputs, n_inputs, emit);
    enum status st = OK;

    for (size_t i = 0; i < n_defs && st == OK; i++) {
        size_t before = f->n_made;

        for (size_t k = 0; k < i && st == OK; k++)
            if (strcmp(defs[k].name, defs[i].name) == 0)
                st = err_set(err, ERR_FATAL, "feature '%s' is defined twice", defs[i].name);
        if (st == OK)
            st = check_order(f, defs, n_defs, i, err);
        if (st == OK)
            st = defs[i].expr   ? add_exprs(f, &defs[i], err)
                 : defs[i].join ? features_add_join(f, &defs[i], err)
                 : defs[i].list ? features_add_list(f, &defs[i], err)
                                : features_add_aggregate(f, &defs[i], err);
        if (st == OK)
            st = check_names(f, before, err);
    }
    if (st != OK || features_keep_rows(f, err) != OK) {
        features_free(f);
        return ERR_FATAL;
    }
    plan_layout(&f->plan, &f->arena);
    list_asked(f);
    features_set_fingerprint(f, "", defs, n_defs);
    *ret_features = f;
    return OK;
}

void features_free(struct features *f)
{
    if (f == NULL)
        return;
    for (size_t i = 0; i < f->n_made; i++)
        expr_free(f->made[i].expr);
    for (size_t i = 0; i < f->plan.n_rings; i++) {
        expr_free(f->plan.rings[i].where);
        expr_free(f->plan.rings[i].valid);
        for (size_t v = 0; v < f->plan.rings[i].n_values; v++)
            expr_free(f->plan.rings[i].values[v].expr);
    }
    for (size_t i = 0; i < f->n_items; i++)
        decode_plan_free(f->items[i].plan);
    free(f->made);
    free(f->cols);
    arena_done(&f->arena);
    free(f);
}

size_t features_n_cols(const struct features *f)
{
    return f->n_made;
}

const struct feature_col *features_cols(const struct features *f)
{
    return f->cols;
}

bool features_needs(const struct features *f, size_t input, const char *col)
{
    for (size_t i = 0; i < f->n_made; i++)
        if (input == f->emit && f->made[i].expr && expr_needs(f->made[i].expr, col))
            return true;
    for (size_t i = 0; input == f->emit && i < f->n_items; i++)
        if (strcmp(f->items[i].list, col) == 0)
            return true;
    for (size_t i = 0; i < f->plan.n_rings; i++) {
        const struct ring_def *r = &f->plan.rings[i];

        if (r->input == input && r->where && expr_needs(r->where, col))
            return true;
        if (r->input == input && r->valid && expr_needs(r->valid, col))
            return true;
        for (size_t v = 0; r->input == input && v < r->n_values; v++)
            if (expr_needs(r->values[v].expr, col))
                return true;
        for (size_t k = 0; (r->input == input || (r->input == KEPT && input == f->emit)) && k < r->n_fields; k++)
            if (strcmp(r->fields[k].name, col) == 0)
                return true;
    }
    return false;
}

const char *features_family(const struct features *f, size_t i)
{
    return f->made[i].family;
}

int64_t features_reach(const struct features *f, size_t i, size_t *ret_input)
{
    const struct made *m = &f->made[i];
    const struct ring_def *ring = &f->plan.rings[m->window.ring];

    if (m->aggregate == NULL && !m->is_join)
        return 0;
    *ret_input = ring->input;
    if (m->window.tail >= 0 && ring->cursors[m->window.tail].kind == CURSOR_TIME)
        return ring->cursors[m->window.tail].ms;
    return ring->cursors[m->window.head].ms + (m->is_tiled ? m->window.ms : m->within_ms);
}

const char *features_fingerprint(const struct features *f)
{
    return f->fingerprint;
}

bool features_has_state(const struct features *f)
{
    return f->plan.n_rings != 0;
}

enum status features_check(const struct features *f, struct view value, struct error *err)
{
    return f->tumbling ? tumbling_check(f, value, err) : past_check(&f->plan, value, err);
}
