/* common/stage/run.c: the next records of a task, through the worker, to what is put. */
#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "base/mutant.h"
#include "stage/internal.h"

#define OTHERS_EVERY_MS 100
#define KEY_BYTES_MAX ((size_t)64 * 1024)
#define NO_KEY "key: none; send the topic's key field as UTF-8 text"

/* A key that lies in a partition where Java clients would not look for it makes every join silently empty. */
static const char *stray(const struct stage *s, const struct pending *p)
{
    if (p->rec.bare || !s->inputs[p->rec.input].outside || s->inputs[p->rec.input].topic->key == NULL)
        return NULL;
    if (p->rec.key.data == NULL || p->rec.key.n == 0)
        return NO_KEY;
    if (kafka_partition(p->rec.key, s->n_tasks_all) != p->rec.partition)
        return "key: lies in another partition than murmur2 gives; set the producer's partitioner to murmur2_random";
    return NULL;
}

/* State is kept by key: on the changelog an empty one is the checkpoint's, and each chunk carries it. */
static const char *not_by_key(const struct stage *s, const struct pending *p, struct view key)
{
    if (!s->by_key || (p->rec.bare && s->inputs[p->rec.input].topic->keyed_by == NULL))
        return NULL;
    return key.n == 0 ? NO_KEY : key.n > KEY_BYTES_MAX ? "key: more than 64 KiB" : NULL;
}

static void fill_row(struct stage *s, struct task *t, struct rows *rows, struct view *keys, int64_t *event_ms, int64_t *at,
                     const struct pending *p, size_t r)
{
    struct error err;

    t->at = p->at > t->at ? p->at : t->at;
    if (p->rec.input == s->def->emit && p->at > t->emit_at)
        t->emit_at = p->at;
    keys[r] = p->rec.key;
    event_ms[r] = p->event_ms;
    at[r] = due_at(s, t, p);
    rows->bad[r] = p->bad ? p->bad : stray(s, p);
    if (rows->bad[r] == NULL && p->page == NULL && intake_decode(s, p, rows->cols, r, &err) != OK)
        rows->bad[r] = arena_strdup(&s->batch, err.text);
    if (rows->bad[r])
        return;
    if (p->rec.bare && s->inputs[p->rec.input].topic->keyed_by) {
        const struct col *c = batch_col(rows->cols, s->inputs[p->rec.input].topic->keyed_by);

        keys[r] = c->null[r]             ? view_of(NULL, 0)
                  : c->type >= COL_STRING ? c->view[r]
                                          : view_str(arena_printf(&s->batch, "%" PRId64, c->i64[r]));
    }
    rows->bad[r] = not_by_key(s, p, keys[r]);
    if (p->replay && rows->bad[r] == NULL) {
        const struct entry *e = state_find(t->state, keys[r]);

        if (e && SAFE(M_REFLECTS) && changelog_reflects(t, e, p->rec.input, p->task, p->rec.offset))
            rows->bad[r] = ROW_SKIP;
    }
}

/* What was decoded when it was taken, by stretches of a page. */
static void copy_rows(const struct pending *pending, size_t n, struct batch *cols)
{
    for (size_t r = 0, k; r < n; r += k) {
        for (k = 1; r + k < n && pending[r + k].page == pending[r].page && pending[r + k].row == pending[r].row + k; k++)
            ;
        if (pending[r].page)
            page_copy(pending[r].page, pending[r].row, k, cols, r);
    }
}

static enum status put_rows(struct stage *s, struct task *t, struct rows *rows, const struct pending *pending, struct out *outs,
                            struct error *err)
{
    int *n_outs = arena_zalloc(&s->batch, rows->cols->n_rows * sizeof(*n_outs));

    for (size_t r = 0; r < rows->cols->n_rows; r++) {
        if (rows->bad[r] == NULL || rows->replay)
            continue;
        if (rows->bad[r] == ROW_SKIP)
            metrics_add(&s->metrics, METRIC_RECORDS, OUTCOME_REPEAT, 1);
        else if (output_dead(s, &pending[r], rows->bad[r], err) != OK)
            return err->status;
    }
    for (size_t o = 0; o < s->n_outputs && !(rows->replay && SAFE(M_REPLAY_SILENT)); o++)
        if (outs[o].cols.n_rows != 0 && output_rows(s, t, rows, pending, o, &outs[o], n_outs, err) != OK)
            return err->status;
    for (size_t o = 0; o < s->n_outputs && rows->replay; o++)
        for (size_t r = 0; r < outs[o].cols.n_rows; r++)
            n_outs[outs[o].parent[r]]++;
    due_behind(s, t, rows, pending, n_outs);
    return OK;
}

/* A mark goes through behind the records that it speaks of. */
static enum status pass_mark(struct stage *s, struct task *t, int input, struct error *err)
{
    struct pending p = merge_pop(&t->inputs[input].merge);
    enum status st = output_mark_through(s, t->id, p.rec.mark, err);

    t->changed = true;
    task_release(s, &p);
    return st;
}

/* How far the task may go: `drift` beyond the stage's slowest that is not idle, so that readers need not hold back more. */
static int64_t drift_limit(const struct stage *s, const struct task *t, int64_t now_ms)
{
    int64_t slowest = s->others_at;

    if (!s->rekeys)
        return INT64_MAX;
    for (size_t i = 0; i < s->n_tasks; i++) {
        struct task *other = s->tasks[i];

        if (other != t && other->at < slowest && !task_idle(s, other, now_ms)) {
            int64_t at = task_progress(s, other, now_ms);

            slowest = at < slowest ? at : slowest;
        }
    }
    if (slowest == INT64_MIN || slowest > INT64_MAX - s->def->drift_ms)
        return slowest;
    return slowest + s->def->drift_ms;
}

/* Only who is held back asks. */
static enum status hear_others(struct stage *s, int64_t now_ms, struct error *err)
{
    if (now_ms - s->others_ms < OTHERS_EVERY_MS)
        return OK;
    s->others_ms = now_ms;
    return s->log->ops->others(s->log, &s->others_at, err);
}

/* The worker's part: rows of columns in, outputs put. */
static enum status run_rows(struct stage *s, struct task *t, struct rows *rows, struct pending *pending, size_t n, struct error *err)
{
    const struct input *in = &s->inputs[rows->input];
    struct out outs[INPUTS_MAX] = {0};

    batch_init(rows->cols, &s->batch, n);
    decode_begin(in->wants, in->n_wants, rows->cols);
    rows->cols->n_rows = n;
    copy_rows(pending, n, rows->cols);
    rows->bad = arena_zalloc(&s->batch, n * sizeof(*rows->bad));
    rows->lateness_ms = s->inputs[s->def->emit].topic->lateness_ms;
    rows->keys = arena_alloc(&s->batch, n * sizeof(*rows->keys));
    rows->event_ms = arena_alloc(&s->batch, n * sizeof(*rows->event_ms));
    rows->at = arena_alloc(&s->batch, n * sizeof(*rows->at));
    for (size_t r = 0; r < n; r++)
        fill_row(s, t, rows, (struct view *)rows->keys, (int64_t *)rows->event_ms, (int64_t *)rows->at, &pending[r], r);
    if (s->worker->transform(s->ctx, rows, outs, err) != OK)
        return err_wrap(err, "task %d", t->id);
    return put_rows(s, t, rows, pending, outs, err);
}

/* Takes the next run of one input's rows from the task and runs the worker on it; *ret_n rows. */
static enum status run_batch(struct stage *s, struct task *t, int64_t now_ms, size_t *ret_n, struct error *err)
{
    struct pending *pending;
    int64_t limit, together = INT64_MAX;
    struct batch cols;
    struct rows rows = {.task = t->id, .cols = &cols, .state = t->state, .commit = s->commit, .emit_at = t->emit_at};
    enum status st = OK;
    size_t n = 0;
    int input = 0;
    struct pending *p;

    st = due_run(s, t, now_ms, ret_n, err);
    if (st != OK || *ret_n)
        return st;
    limit = drift_limit(s, t, now_ms);
    pending = arena_alloc(&s->batch, s->opt.batch * sizeof(*pending));
    while (n < s->opt.batch && (p = task_head(s, t, now_ms, &input)) != NULL) {
        if (p->rec.mark.data) {
            if (n != 0)
                break;
            if (pass_mark(s, t, input, err) != OK)
                return err->status;
            continue;
        }
        if (n != 0 ? input != (int)rows.input || p->replay != rows.replay || p->at >= together : p->at >= due_before(s, t))
            break; /* due_run looked at what lay before: repeats, the end of a replay */
        if (s->rekeys && t->at == INT64_MIN && n != 0)
            break; /* its first record alone: then the others know where it stands */
        if (!p->replay && t->at != INT64_MIN && p->at > t->at && p->at > limit) {
            s->held = true;
            s->turn_changed |= t->next_at != p->at && s->n_tasks < (size_t)s->n_tasks_all; /* the others must hear of it */
            break;
        }
        if (s->worker->limit && !s->finite && p->task != CHANNEL_FOREIGN && p->at >= s->worker->limit(s->ctx, t->id, p->at))
            break;
        if (!task_take(s, t, input, &pending[n]))
            continue;
        rows.input = (size_t)input;
        rows.replay = pending[n].replay;
        together = rows.replay && !s->opt.into ? INT64_MAX : due_after(s, t, pending[n].at);
        n++;
    }
    *ret_n = n;
    if (n == 0) {
        arena_reset(&s->batch);
        return OK;
    }
    st = run_rows(s, t, &rows, pending, n, err);
    for (size_t r = 0; r < n; r++)
        task_release(s, &pending[r]);
    t->inputs[rows.input].n_taken += rows.replay ? 0 : (int64_t)n;
    t->changed = true;
    metrics_add(&s->metrics, METRIC_RECORDS, OUTCOME_TAKEN, (int64_t)n);
    metrics_observe(&s->metrics, METRIC_BATCH_RECORDS, (int64_t)n);
    arena_reset(&s->batch);
    return st;
}

/* The task that is furthest behind and has something to do goes first. */
enum status run_next(struct stage *s, int64_t now_ms, size_t *ret_n, struct error *err)
{
    bool tried[1024] = {false};

    s->held = false;
    for (size_t k = 0; k < s->n_tasks; k++) {
        size_t best = SIZE_MAX;

        for (size_t i = 0; i < s->n_tasks && i < ARRAY_LEN(tried); i++)
            if (!tried[i] && (best == SIZE_MAX || s->tasks[i]->at < s->tasks[best]->at))
                best = i;
        if (best == SIZE_MAX)
            break;
        tried[best] = true;
        if (run_batch(s, s->tasks[best], now_ms, ret_n, err) != OK)
            return err->status;
        if (*ret_n)
            return OK;
    }
    *ret_n = 0;
    return s->held && s->n_tasks < (size_t)s->n_tasks_all ? hear_others(s, now_ms, err) : OK;
}
