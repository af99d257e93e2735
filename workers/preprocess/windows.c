#include "workers/preprocess/windows.h"

#include <math.h>
#include <stdlib.h>

/* The key's field: the key is its text. */
static void put_key(struct batch *cols, const struct topic *from, const struct window_rows *rows)
{
    struct want field = {from->keyed_by, COL_STRING};
    struct col *col;

    for (size_t i = 0; i < from->schema->n; i++)
        if (strcmp(from->schema->fields[i].name, from->keyed_by) == 0)
            field.type = schema_col_type(schema_unwrap(from->schema->fields[i].type));
    col = batch_add_col(cols, field.path, field.type);
    for (size_t r = 0; r < rows->n; r++)
        if (field.type >= COL_STRING)
            col->view[r] = rows->rows[r].key;
        else
            col->i64[r] = strtoll(arena_printf(cols->arena, "%.*s", (int)rows->rows[r].key.n, (const char *)rows->rows[r].key.data), NULL, 10);
}

static void put_value(struct batch *cols, const struct feature_col *value, const struct window_rows *rows, size_t i)
{
    struct col *col = batch_add_col(cols, value->name, value->type);

    for (size_t r = 0; r < rows->n; r++) {
        double v = rows->rows[r].v[i];

        col->null[r] = (uint8_t)isnan(v);
        if (col->type == COL_DOUBLE)
            col->f64[r] = isnan(v) ? 0 : v;
        else
            col->i64[r] = isnan(v) ? 0 : (int64_t)v;
    }
}

/* Columns by name; the rows' `at` are the caller's. */
static void put_rows(const struct stage_def *def, const struct topic *from, struct arena *arena, const struct window_rows *rows,
                     struct out *out)
{
    struct batch *cols = &out->cols;
    struct col *col;

    out_begin(out, arena, rows->n);
    out->key = arena_alloc(arena, rows->n * sizeof(*out->key));
    out->at = arena_alloc(arena, rows->n * sizeof(*out->at));
    cols->n_rows = rows->n;
    for (size_t r = 0; r < rows->n; r++) {
        out->parent[r] = rows->rows[r].parent;
        out->key[r] = rows->rows[r].key;
    }
    put_key(cols, from, rows);
    col = batch_add_col(cols, TUMBLING_START, COL_INT);
    for (size_t r = 0; r < rows->n; r++)
        col->i64[r] = rows->rows[r].window.start;
    col = batch_add_col(cols, TUMBLING_TIME, COL_INT);
    for (size_t r = 0; r < rows->n; r++)
        col->i64[r] = rows->rows[r].window.end;
    col = batch_add_col(cols, TUMBLING_REVISION, COL_INT);
    for (size_t r = 0; r < rows->n; r++)
        col->i64[r] = rows->rows[r].revision;
    for (size_t i = 0; i < features_n_cols(def->compiled); i++)
        put_value(cols, &features_cols(def->compiled)[i], rows, i);
}

enum status windows_transform(const struct stage_def *def, const struct topic *from, struct rows *in, struct out *outs, struct error *err)
{
    struct window_rows rows = {.arena = in->cols->arena};

    for (size_t r = 0; r < in->cols->n_rows; r++)
        if (in->bad[r] == NULL && in->keys[r].data == NULL)
            in->bad[r] = "key: none; a window is one of a key";
    if (tumbling_apply(def->compiled, in->state, in->cols, in->keys, in->event_ms, in->at, in->bad, in->commit, &rows, err) != OK)
        return err->status;
    for (size_t o = 0; o < def->n_to && rows.n; o++) {
        put_rows(def, from, in->cols->arena, &rows, &outs[o]);
        for (size_t r = 0; r < rows.n; r++)
            outs[o].at[r] = in->at[rows.rows[r].parent];
    }
    return OK;
}

enum status windows_close(const struct stage_def *def, const struct topic *from, struct rows *last, int64_t end_ms, size_t n, size_t *p,
                          struct out *outs, bool *ret_all, struct error *err)
{
    struct window_rows rows = {.arena = last->cols->arena};

    (void)err;
    *ret_all = tumbling_close(def->compiled, last->state, end_ms, n, p, &rows);
    for (size_t o = 0; o < def->n_to && rows.n; o++) {
        put_rows(def, from, last->cols->arena, &rows, &outs[o]);
        for (size_t r = 0; r < rows.n; r++)
            outs[o].at[r] = end_ms;
    }
    return OK;
}
