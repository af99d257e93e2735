/* test/unit/stage_make.h: a worker's stage of a pipeline that a test writes down, without a loop: its callbacks alone. */
#ifndef TEST_STAGE_MAKE_H
#define TEST_STAGE_MAKE_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "stage/internal.h"

/* A stage and what its callbacks are called with, from one batch to the next. */
struct bench {
    struct stage *s;
    void *ctx;
    struct state *state;
    struct arena arena;
    struct batch cols;
    struct rows in;
    struct out out;
    int64_t at; /* the task's progress, where a test keeps it */
};

/* json: the pipeline's inside, without its braces. Its schemas are the project's. */
static struct stage *stage_make(const char *json, const char *stage)
{
    char path[] = "/tmp/test-stage-XXXXXX", folder[4096];
    struct bytes faults = BYTES_EMPTY;
    struct stage *s = xcalloc(1, sizeof(*s));
    FILE *f = fdopen(mkstemp(path), "w");
    struct error err;
    enum status st;

    assert_non_null(f);
    assert_non_null(getcwd(folder, sizeof(folder)));
    fprintf(f, "{\"pipeline\": \"p\", \"schemas\": \"%s/schemas\", %s}", folder, json);
    fclose(f);
    st = pipeline_load(path, &s->pipeline, &faults, &err);
    unlink(path);
    if (st != OK)
        fail_msg("%.*s", (int)faults.n, (const char *)faults.data);
    bytes_done(&faults);
    s->def = pipeline_stage(s->pipeline, stage);
    assert_non_null(s->def);
    s->n_inputs = s->def->n_from;
    for (size_t i = 0; i < s->n_inputs; i++)
        s->inputs[i].topic = &s->pipeline->topics[s->def->from[i]];
    return s;
}

static void stage_unmake(struct stage *s)
{
    pipeline_free(s->pipeline);
    free(s);
}

/* n rows of input i, event time and `at` by the caller; columns are those that the worker wanted, all null. */
static struct rows rows_make(struct stage *s, size_t i, size_t n, struct state *state, struct arena *a, struct batch *cols)
{
    struct rows r = {.input = i, .cols = cols, .state = state, .emit_at = INT64_MIN, .commit = 1};

    batch_init(cols, a, n);
    cols->n_rows = n;
    for (size_t w = 0; w < s->inputs[i].n_wants; w++)
        memset(batch_add_col(cols, s->inputs[i].wants[w].path, s->inputs[i].wants[w].type)->null, 1, n);
    r.keys = arena_zalloc(a, n * sizeof(*r.keys));
    r.event_ms = arena_zalloc(a, n * sizeof(*r.event_ms));
    r.at = r.event_ms;
    r.bad = arena_zalloc(a, n * sizeof(*r.bad));
    return r;
}

static void set_number(struct rows *r, const char *name, size_t row, double v)
{
    struct col *c = batch_col(r->cols, name);

    assert_non_null(c);
    c->null[row] = 0;
    if (c->type == COL_DOUBLE)
        c->f64[row] = v;
    else
        c->i64[row] = (int64_t)v;
}

__attribute__((unused)) static void set_text(struct rows *r, const char *name, size_t row, const char *v)
{
    struct col *c = batch_col(r->cols, name);

    assert_non_null(c);
    c->null[row] = 0;
    c->view[row] = view_str(v);
}

static void set_row(struct rows *r, size_t row, const char *key, int64_t event_ms)
{
    ((struct view *)(uintptr_t)r->keys)[row] = view_str(key);
    ((int64_t *)(uintptr_t)r->event_ms)[row] = event_ms;
}

#endif
