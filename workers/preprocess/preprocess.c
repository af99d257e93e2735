#include "workers/preprocess/preprocess.h"

#include <stdlib.h>

#include "workers/preprocess/windows.h"

struct preprocess {
    const struct stage_def *def;
    const struct topic *from; /* the emitting input */
    const struct features *features;
    size_t emit, n_out;
};

/* Every column that a feature needs, from the topic that brings it. */
static void want_columns(struct stage *s, const struct features *f, size_t input, const struct schema *schema)
{
    struct want leaves[512];
    size_t n = schema_wants(schema, leaves, ARRAY_LEN(leaves));

    for (size_t i = 0; i < n && i < ARRAY_LEN(leaves); i++)
        if (features_needs(f, input, leaves[i].path))
            stage_want(s, input, leaves[i].path, leaves[i].type);
}

enum status preprocess_open(struct stage *s, void **ret_ctx, struct error *err)
{
    const struct stage_def *def = stage_def(s);
    struct preprocess *p = xcalloc(1, sizeof(*p));

    (void)err;
    *p = (struct preprocess){def, &stage_pipeline(s)->topics[def->from[def->emit]], def->compiled, (size_t)def->emit, def->n_to};
    for (size_t i = 0; i < def->n_from; i++)
        want_columns(s, p->features, i, stage_pipeline(s)->topics[def->from[i]].schema);
    *ret_ctx = p;
    return OK;
}

/* A correction, and the rows that rest on it: more than came, each with all of its fields. */
static enum status transform_again(const struct preprocess *p, struct rows *in, struct out *outs, struct error *err)
{
    struct features_rows rows;

    if (features_again(p->features, in->state, in->cols, in->keys, in->event_ms, in->bad, in->emit_at, in->lateness_ms, in->commit, &rows,
                       err) != OK ||
        features_apply(p->features, in->state, in->input, &rows.cols, rows.keys, rows.event_ms, rows.bad, in->emit_at, in->lateness_ms,
                       in->commit, err) != OK)
        return err->status;
    for (size_t o = 0; o < p->n_out && rows.cols.n_rows; o++) {
        out_begin(&outs[o], in->cols->arena, rows.cols.n_rows);
        outs[o].cols.n_rows = rows.cols.n_rows;
        outs[o].key = rows.keys;
        outs[o].at = arena_alloc(in->cols->arena, rows.cols.n_rows * sizeof(*outs[o].at));
        for (size_t r = 0; r < rows.cols.n_rows; r++) {
            outs[o].parent[r] = rows.parent[r];
            outs[o].at[r] = in->at[rows.parent[r]];
        }
        for (size_t i = 0; i < rows.cols.n_cols; i++)
            batch_share_col(&outs[o].cols, &rows.cols.cols[i]);
    }
    return OK;
}

enum status preprocess_transform(void *ctx, struct rows *in, struct out *outs, struct error *err)
{
    const struct preprocess *p = ctx;

    if (p->def->tumbling)
        return windows_transform(p->def, p->from, in, outs, err);
    if (in->input == p->emit && features_has_again(p->features))
        return transform_again(p, in, outs, err);
    if (features_apply(p->features, in->state, in->input, in->cols, in->keys, in->event_ms, in->bad, in->emit_at,
                       in->lateness_ms, in->commit, err) != OK)
        return err->status;
    for (size_t o = 0; in->input == p->emit && o < p->n_out; o++) {
        out_begin(&outs[o], in->cols->arena, in->cols->n_rows);
        for (uint32_t r = 0; r < in->cols->n_rows; r++)
            if (in->bad[r] == NULL)
                outs[o].parent[outs[o].cols.n_rows++] = r; /* the loop takes the columns over by name */
    }
    return OK;
}

enum status preprocess_check(void *ctx, struct view value, struct error *err)
{
    return features_check(((const struct preprocess *)ctx)->features, value, err);
}

int64_t preprocess_due(void *ctx, int64_t after_ms)
{
    const struct preprocess *p = ctx;

    return p->def->tumbling ? tumbling_next(p->features, after_ms) : INT64_MAX;
}

enum status preprocess_make_due(void *ctx, struct rows *last, int64_t due_ms, size_t n, size_t *from, struct out *outs, bool *ret_all,
                                struct error *err)
{
    const struct preprocess *p = ctx;

    return windows_close(p->def, p->from, last, due_ms, n, from, outs, ret_all, err);
}

void preprocess_close(void *ctx)
{
    free(ctx);
}
