/* common/feature/features_columns.c: columns that hold what fields do: of joins (docs/adr/0009, 0012), and of lists. */
#include <string.h>

#include "feature/features_made.h"

/* Of equal times the input before comes first: so the table stands before what it is joined to, whose record then finds it. */
static enum status find_table(struct features *f, const struct feature_def *d, size_t *ret_input, struct error *err)
{
    if (features_find_topic(f, d, "join", d->join, ret_input, err) != OK)
        return err->status;
    if (*ret_input == f->emit)
        return err_set(err, ERR_FATAL, "feature '%s': join needs another topic than '%s', which comes out; previous is of its own past", d->name,
                       d->join);
    if (*ret_input > f->emit)
        return err_set(err, ERR_FATAL, "feature '%s': join needs '%s' before '%s' in \"from\": of equal times the first comes first", d->name,
                       d->join, f->inputs[f->emit].name);
    return OK;
}

static enum status find_field(struct features *f, const struct feature_def *d, const struct feature_input *from, int ring, const char *name,
                              const struct feature_col **ret_col, int *ret_field, struct error *err)
{
    const char *near = expr_nearest(name, from->cols, from->n_cols);

    *ret_col = NULL;
    for (size_t i = 0; i < from->n_cols && *ret_col == NULL; i++)
        if (strcmp(from->cols[i].name, name) == 0)
            *ret_col = &from->cols[i];
    if (*ret_col == NULL)
        return err_set(err, ERR_FATAL, "feature '%s': '%s' has no field '%s' of one value%s%s%s", d->name, from->name, name,
                       near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    *ret_field = plan_field(&f->plan, ring, *ret_col, &f->arena);
    if (*ret_field < 0)
        return err_set(err, ERR_FATAL, "feature '%s': more than %d different fields of one topic", d->name, FIELDS_MAX);
    return OK;
}

/* A column that holds what a field does. */
static struct made *add_copy(struct features *f, const char *name, const char *over, const struct feature_col *col)
{
    struct made *m = features_add_made(f, name, over, col->type);

    m->col.is_time = col->is_time;
    m->col.scale = col->scale;
    m->parts[0] = m->parts[1] = -1;
    f->cols[f->n_made - 1] = m->col;
    return m;
}

/* The latest record's fields. */
static enum status add_latest(struct features *f, const struct feature_def *d, const struct feature_input *from, int ring, int64_t delay_ms,
                              int64_t within_ms, struct error *err)
{
    struct window window;

    if (!features_last_event(&f->plan, ring, delay_ms, &window))
        return err_set(err, ERR_FATAL, "feature '%s': more than %d different ends of windows over one input and condition", d->name,
                       CURSORS_MAX - 1);
    for (size_t i = 0; i < d->n_fields; i++) {
        const struct feature_col *col;
        struct made *m;
        int field;

        if (find_field(f, d, from, ring, d->fields[i], &col, &field, err) != OK)
            return err->status;
        m = add_copy(f, d->name, d->fields[i], col);
        m->over = NULL; /* no window: its name alone stands for no family */
        m->is_join = true;
        m->window = window;
        m->within_ms = within_ms;
        m->value = field;
    }
    return OK;
}

static enum status read_steps(struct features *f, const struct feature_def *d, struct ahead *a, struct error *err)
{
    if (!features_duration(d->every, &a->borders.every_ms) || a->borders.every_ms == 0)
        return err_set(err, ERR_FATAL, "feature '%s': every '%s' is no duration; examples: 1d, 1h, 15m", d->name, d->every);
    if (d->ahead < 1 || d->ahead > AHEAD_MAX)
        return err_set(err, ERR_FATAL, "feature '%s': ahead is from 1 to %d, got %zu", d->name, AHEAD_MAX, d->ahead);
    if (d->zone && (zone_load(d->zone, &f->arena, &a->borders.zone, err) != OK || zone_version(&f->arena, &f->zone_data, err) != OK))
        return err_wrap(err, "feature '%s'", d->name);
    return OK;
}

/* The fields of what is known of each step ahead: each a family. */
static enum status add_ahead(struct features *f, const struct feature_def *d, const struct feature_input *from, int ring, int64_t delay_ms,
                             int64_t within_ms, struct error *err)
{
    struct ahead *all = arena_zalloc(&f->arena, (f->n_aheads + 1) * sizeof(*all)), *a = all + f->n_aheads;
    int *fields = arena_alloc(&f->arena, d->n_fields * sizeof(*fields));
    struct ring_def *r = &f->plan.rings[ring];

    if (f->n_aheads)
        memcpy(all, f->aheads, f->n_aheads * sizeof(*all));
    *a = (struct ahead){.ring = r, .made = f->n_made, .fields = fields, .n_fields = d->n_fields, .n_steps = d->ahead,
                        .delay_ms = delay_ms, .within_ms = within_ms};
    if (read_steps(f, d, a, err) != OK)
        return err->status;
    for (size_t i = 0; i < d->n_fields; i++) {
        const char *family = arena_printf(&f->arena, "%s_%s", d->name, d->fields[i]);
        const struct feature_col *col;

        if (find_field(f, d, from, ring, d->fields[i], &col, &fields[i], err) != OK)
            return err->status;
        for (size_t k = 1; k <= d->ahead; k++)
            add_copy(f, family, arena_printf(&f->arena, "ahead%zu", k), col)->is_filled = true;
    }
    r->keep_ms = delay_ms > r->keep_ms ? delay_ms : r->keep_ms;
    f->aheads = all;
    f->n_aheads++;
    return OK;
}

enum status features_add_join(struct features *f, const struct feature_def *d, struct error *err)
{
    int64_t delay_ms = 0, within_ms = 0;
    size_t input = 0;
    int ring = -1;

    if (find_table(f, d, &input, err) != OK || features_find_ring(f, d, input, &ring, err) != OK)
        return err->status;
    if (d->delay && !features_duration(d->delay, &delay_ms))
        return err_set(err, ERR_FATAL, "feature '%s': delay '%s' is no duration; examples: 7d, 12h, 30s", d->name, d->delay);
    if (d->within && (!features_duration(d->within, &within_ms) || within_ms == 0))
        return err_set(err, ERR_FATAL, "feature '%s': within '%s' is no duration; examples: 30d, 12h, 30s", d->name, d->within);
    return (d->valid ? add_ahead : add_latest)(f, d, &f->inputs[input], ring, delay_ms, within_ms, err);
}

static enum status want_fields(struct features *f, const struct feature_def *d, struct want *wants, struct error *err)
{
    for (size_t i = 0; i < d->n_fields; i++) {
        const struct schema *type = d->item->type == SCHEMA_RECORD ? schema_at(d->item, d->fields[i]) : NULL;

        if (type == NULL || schema_col_type(schema_unwrap(type)) == COL_AVRO)
            return err_set(err, ERR_FATAL, "feature '%s': an item of '%s' has no field '%s' of one value", d->name, d->list, d->fields[i]);
        wants[i] = (struct want){arena_strdup(&f->arena, d->fields[i]), schema_col_type(schema_unwrap(type))};
    }
    return OK;
}

enum status features_add_list(struct features *f, const struct feature_def *d, struct error *err)
{
    struct items *all = arena_zalloc(&f->arena, (f->n_items + 1) * sizeof(*all)), *it = all + f->n_items;
    struct want *wants = arena_alloc(&f->arena, d->n_fields * sizeof(*wants));

    if (f->n_items)
        memcpy(all, f->items, f->n_items * sizeof(*all));
    *it = (struct items){.list = arena_strdup(&f->arena, d->list), .wants = wants, .n_fields = d->n_fields, .n_items = d->n_items, .made = f->n_made};
    if (want_fields(f, d, wants, err) != OK)
        return err->status;
    if (decode_plan_new(d->item, d->item, wants, d->n_fields, &it->plan, err) != OK)
        return err_wrap(err, "feature '%s'", d->name);
    f->items = all;
    f->n_items++;
    for (size_t i = 0; i < d->n_fields; i++)
        for (size_t k = 1; k <= d->n_items; k++) {
            const struct feature_col col = {.type = wants[i].type, .is_time = schema_is_time(schema_at(d->item, wants[i].path)), .scale = -1};

            add_copy(f, arena_printf(&f->arena, "%s_%s", d->name, wants[i].path), arena_printf(&f->arena, "%zu", k), &col)->is_filled = true;
        }
    return OK;
}
