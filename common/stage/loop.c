/* common/stage/loop.c: take, the worker's transform, put, commit; tasks and their restore. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/fail.h"
#include "base/log.h"
#include "base/mutant.h"
#include "kafka/kafka.h"
#include "ops/signals.h"
#include "stage/internal.h"

#define PENDING_PAUSE 20000  /* records held back of one partition: stop fetching it */
#define PENDING_RESUME 5000
#define PENDING_MAX 1000000
#define PLENTY_BATCHES 2     /* records at hand: nothing more is taken */
#define TAKE_EVERY_MS 100    /* but the log must be asked: its answer may be that partitions go */
#define LAG_EVERY_MS 200
#define OTHERS_EVERY_MS 100
#define MARKS_EVERY_MS 10  /* at least once, as soon as they leave: readers behind a re-key wait for them */
#define KEY_BYTES_MAX ((size_t)64 * 1024)
#define NO_KEY "key: none; send the topic's key field as UTF-8 text"
#define KEPT_PARTS 4 /* of the memory for batches: with so much to put out, commit early */

/* ---- tasks ---- */

void loop_drop_tasks(struct stage *s)
{
    for (size_t i = 0; i < s->n_tasks; i++)
        task_free(s, s->tasks[i]);
    s->n_tasks = 0;
    output_forget(s);
}

/* What was not committed is dropped with the old tasks; the assigned ones are restored from the log. */
static enum status restore_tasks(struct stage *s, struct error *err)
{
    loop_drop_tasks(s);
    if (SAFE(M_STALE_ABORTED) && s->log->ops->abort(s->log, err) != OK)
        return err->status;
    if (s->n_assigned)
        ops_ready(s->ops, false, "restoring %zu tasks", s->n_assigned);
    for (size_t i = 0; i < s->n_assigned; i++)
        s->tasks[s->n_tasks++] = task_new(s, s->assigned[i]);
    if (changelog_restore(s, err) != OK)
        return err->status;
    for (size_t i = 0; i < s->n_tasks; i++)
        task_moment(s->tasks[i], s->commit, s->n_inputs);
    if (s->n_assigned)
        ops_ready(s->ops, true, "processing %zu tasks", s->n_assigned);
    else
        ops_ready(s->ops, false, "no partition is assigned: more instances than partitions, or a rebalance");
    return OK;
}

static enum status assign(struct stage *s, const struct log_assignment *a, struct error *err)
{
    loop_drop_tasks(s);
    metrics_add(&s->metrics, METRIC_REBALANCES, 0, 1);
    metrics_set(&s->metrics, METRIC_TASKS, (int64_t)a->n_tasks);
    metrics_unset(&s->metrics, METRIC_LAG); /* of other tasks; without any it says nothing, and not that all is done */
    s->n_assigned = a->n_tasks;
    s->others_at = a->n_tasks < (size_t)s->n_tasks_all ? INT64_MIN : INT64_MAX;
    s->others_ms = 0;
    s->assigned = xrealloc(s->assigned, (a->n_tasks + 1) * sizeof(*s->assigned));
    s->tasks = xrealloc(s->tasks, (a->n_tasks + 1) * sizeof(*s->tasks));
    if (a->n_tasks)
        memcpy(s->assigned, a->tasks, a->n_tasks * sizeof(*s->assigned));
    return restore_tasks(s, err);
}

/* ---- a batch ---- */

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
static enum status work(struct stage *s, int64_t now_ms, size_t *ret_n, struct error *err)
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

/* ---- commit ---- */

static void tell_progress(struct stage *s)
{
    int64_t at = INT64_MAX, furthest = INT64_MIN;
    size_t bytes = 0, keys = 0;

    for (size_t i = 0; i < s->n_tasks; i++) {
        int64_t its = task_furthest(s, s->tasks[i]);

        if (!s->tasks[i]->idle && s->tasks[i]->next_at < at)
            at = s->tasks[i]->next_at;
        furthest = its > furthest ? its : furthest;
        bytes += state_bytes(s->tasks[i]->state);
        keys += state_n_keys(s->tasks[i]->state);
    }
    metrics_set(&s->metrics, METRIC_STATE_BYTES, (int64_t)bytes);
    metrics_set(&s->metrics, METRIC_STATE_KEYS, (int64_t)keys);
    if (at == INT64_MAX)
        at = furthest; /* all are idle: nobody is behind */
    if (at == INT64_MIN)
        return;
    metrics_set(&s->metrics, METRIC_EVENT_TIME, at);
    if (s->worker->progress && at > s->at_min_told) {
        s->at_min_told = at;
        s->worker->progress(s->ctx, at);
    }
}

static void tell_lag(struct stage *s, int64_t now_ms)
{
    int64_t lag = 0;

    if (s->log->ops->end == NULL || s->n_tasks == 0 || now_ms - s->lag_told_ms < LAG_EVERY_MS)
        return;
    s->lag_told_ms = now_ms;
    for (size_t i = 0; i < s->n_tasks; i++)
        for (size_t k = 0; k < s->n_inputs; k++) {
            int64_t from = s->tasks[i]->inputs[k].committed, end = s->log->ops->end(s->log, (int)k, s->tasks[i]->id);

            if (end < 0)
                return; /* too early to say */
            from = from < 0 ? 0 : from;
            lag += end > from ? end - from : 0;
        }
    metrics_set(&s->metrics, METRIC_LAG, lag);
}

static size_t collect_positions(struct stage *s, struct log_position *at, int64_t now_ms)
{
    size_t n = 0;

    for (size_t i = 0; i < s->n_tasks; i++) {
        struct task *t = s->tasks[i];

        t->next_at = task_progress(s, t, now_ms);
        for (size_t k = 0; k < s->n_inputs && !t->anew; k++) {
            struct task_input *ti = &t->inputs[k];
            int64_t low = task_low(t, k);

            if (low < ti->committed || low < 0 || (low == ti->committed && t->next_at == ti->committed_at))
                continue; /* replayed records lie below what is committed */
            at[n] = (struct log_position){.input = (int)k, .partition = t->id, .offset = low};
            snprintf(at[n].metadata, sizeof(at[n].metadata), "{\"taken\":%" PRId64 ",\"at\":%" PRId64 "}", ti->n_taken,
                     t->next_at);
            n++;
        }
    }
    return n;
}

static void committed(struct stage *s, const struct log_position *at, size_t n, int64_t now_ms)
{
    for (size_t i = 0; i < n; i++) {
        struct task *t = task_of(s, at[i].partition);

        t->inputs[at[i].input].committed = at[i].offset;
        t->inputs[at[i].input].committed_at = t->next_at;
    }
    output_forget(s);
    s->commit++;
    s->committed_ms = now_ms;
    s->turn_changed = false;
    for (size_t i = 0; i < s->n_tasks; i++) {
        s->tasks[i]->changed = s->tasks[i]->woken = false;
        if (s->tasks[i]->n_restored && !task_replays(s->tasks[i], s->n_inputs))
            changelog_forget(s->tasks[i]);
        task_moment(s->tasks[i], s->commit, s->n_inputs);
    }
}

/* Also where nothing comes any more: the records that a restore would need grow old, and the log forgets them. */
static bool has_to_write(const struct stage *s, const struct task *t)
{
    return s->stateful && state_since_min(t->state) != INT64_MAX && !task_replays(t, s->n_inputs);
}

static enum status commit(struct stage *s, int64_t now_ms, struct error *err)
{
    struct log_position *at;
    int64_t begun_us;
    enum status st;
    bool unmoved = false;
    size_t n;

    begun_us = clock_mono_us();
    arena_reset(&s->scratch);
    at = arena_alloc(&s->scratch, (s->n_tasks * s->n_inputs + 1) * sizeof(*at));
    for (size_t i = 0; i < s->n_tasks; i++) {
        struct task *t = s->tasks[i];

        t->anew = t->anew && task_replays(t, s->n_inputs);
        if (t->anew)
            continue; /* after a restart it begins with that again */
        t->idle = task_idle(s, t, now_ms);
        if (!s->def->at_least_once && output_marks(s, t, task_progress(s, t, now_ms), t->idle, err) != OK)
            return err->status;
        if (s->stateful && (t->changed || has_to_write(s, t)) && changelog_write(s, t, err) != OK)
            return err->status;
    }
    n = collect_positions(s, at, now_ms);
    while ((st = s->log->ops->commit(s->log, at, n, &unmoved, err)) == ERR_RETRY && unmoved) {
        metrics_add(&s->metrics, METRIC_COMMITS, COMMIT_ABORTED, 1);
        log_warn("commit_again", "reason=\"%s\" records=%zu", err->text, s->n_kept);
        if (output_again(s, err) != OK)
            return err->status;
    }
    if (st != OK)
        return st;
    metrics_add(&s->metrics, METRIC_COMMITS, COMMIT_COMMITTED, 1);
    metrics_observe(&s->metrics, METRIC_COMMIT_DURATION, clock_mono_us() - begun_us);
    committed(s, at, n, now_ms);
    tell_progress(s);
    /* At least once nothing holds back what is said too early: only who could commit may say that nobody need wait for it. */
    for (size_t i = 0; i < s->n_tasks && s->def->at_least_once; i++)
        if (!s->tasks[i]->anew && output_marks(s, s->tasks[i], s->tasks[i]->next_at, s->tasks[i]->idle, err) != OK)
            return err->status;
    return OK;
}

/* Between commits: how far the tasks are. Each says it in every partition: with many of them, less often. */
static enum status mark_progress(struct stage *s, int64_t now_ms, struct error *err)
{
    if (!s->def->at_least_once || now_ms - s->marked_ms < (s->n_tasks_all < MARKS_EVERY_MS ? MARKS_EVERY_MS : s->n_tasks_all))
        return OK;
    s->marked_ms = now_ms;
    for (size_t i = 0; i < s->n_tasks; i++) {
        struct task *t = s->tasks[i];
        int64_t at = task_progress(s, t, now_ms);

        if (at > t->marked_at && !t->anew && output_marks(s, t, at, /* idle= */ false, err) != OK)
            return err->status;
    }
    return OK;
}

static bool commit_due(const struct stage *s, int64_t now_ms)
{
    bool changed = s->turn_changed;

    if (now_ms - s->committed_ms < s->def->commit_interval_ms && s->kept_bytes.n < s->pipeline->memory.batches / KEPT_PARTS)
        return false;
    for (size_t i = 0; i < s->n_tasks; i++)
        changed |= s->tasks[i]->changed || has_to_write(s, s->tasks[i]) || (task_idle(s, s->tasks[i], now_ms) != s->tasks[i]->idle);
    return changed;
}

/* ---- the loop ---- */

/* What the records wait for comes in the same partition, or from a file in which it lies too far behind others. */
static enum status too_many(const struct stage *s, const struct task *t, size_t input, struct error *err)
{
    const char *topic = s->inputs[input].topic->broker_name;
    const struct merge *m = &t->inputs[input].merge;
    const struct stage_def *writer = pipeline_orders(s->pipeline, s->inputs[input].topic);
    int waits_for;
    int64_t at;

    if (writer == NULL || !merge_waits(m, &waits_for, &at))
        return err_set(err, ERR_FATAL, "%s partition %d: %zu records are held back, and what they wait for is not among as many of "
                       "the other inputs; sort files by event time", topic, t->id, m->n_pending);
    return err_set(err, ERR_FATAL, "%s partition %d: %zu records are held back, the first of event time %" PRId64
                   ", and wait for task %d of stage %s.%s: start that stage, or look why it does not go on",
                   topic, t->id, m->n_pending, at, waits_for, s->pipeline->name, writer->name);
}

/* Holds a partition back when its records wait for another input; never when they wait for each other. */
static enum status regulate(struct stage *s, struct error *err)
{
    for (size_t i = 0; i < s->n_tasks; i++)
        for (size_t k = 0; k < s->n_inputs; k++) {
            struct task_input *ti = &s->tasks[i]->inputs[k];
            bool pause = ti->paused ? ti->merge.n_pending > PENDING_RESUME : ti->merge.n_pending > PENDING_PAUSE;

            pause = pause && merge_head(&ti->merge) != NULL;
            if (ti->merge.n_pending > PENDING_MAX)
                return too_many(s, s->tasks[i], k, err);
            if (pause == ti->paused)
                continue;
            ti->paused = pause;
            if (s->log->ops->pause(s->log, (int)k, s->tasks[i]->id, pause, err) != OK)
                return err->status;
        }
    return OK;
}

/* What waits here costs memory, and more of it than what waits at the log. */
static bool has_plenty(const struct stage *s)
{
    size_t n = 0;

    for (size_t i = 0; i < s->n_tasks; i++)
        for (size_t k = 0; k < s->n_inputs; k++)
            n += s->tasks[i]->inputs[k].merge.n_pending;
    return n >= PLENTY_BATCHES * s->opt.batch;
}

static enum status take(struct stage *s, int timeout_ms, struct error *err)
{
    struct log_assignment a = {0};
    size_t n = 0;
    int64_t now_ms;

    if (s->log->ops->take(s->log, timeout_ms, s->taken, TAKE_MAX, &n, &a, err) != OK)
        return err->status;
    if (a.changed && assign(s, &a, err) != OK)
        return err->status;
    now_ms = s->taken_ms = clock_wall_ms();
    for (size_t i = 0; i < n; i++)
        if (intake_record(s, &s->taken[i], now_ms, err) != OK) {
            for (size_t k = i; k < n; k++) /* the log does not close while records are out */
                s->log->ops->release(s->log, &s->taken[k]);
            return err->status;
        }
    if (FAIL("stage.after_take", err) != OK)
        return err->status;
    return regulate(s, err);
}

static bool all_ended(const struct stage *s)
{
    for (size_t i = 0; i < s->n_tasks; i++)
        for (size_t k = 0; k < s->n_inputs; k++)
            if (!s->tasks[i]->inputs[k].merge.ended || s->tasks[i]->inputs[k].merge.n_pending != 0)
                return false;
    return s->finite && s->n_tasks != 0;
}

static enum status turn(struct stage *s, size_t *n, struct error *err)
{
    int64_t now_ms = clock_wall_ms();

    ops_beat(s->ops);
    /* With work at hand only look; else wait for records, at most until the next commit may be due. */
    if ((*n == 0 || !has_plenty(s) || now_ms - s->taken_ms >= TAKE_EVERY_MS) && take(s, *n ? 0 : 10, err) != OK)
        return err->status;
    now_ms = clock_wall_ms();
    if (s->worker->turn && s->worker->turn(s->ctx, s, err) != OK)
        return err->status;
    *n = 0;
    if (work(s, now_ms, n, err) != OK)
        return err->status;
    tell_lag(s, now_ms);
    waits_look(s, now_ms);
    if (commit_due(s, now_ms))
        return commit(s, now_ms, err);
    return mark_progress(s, now_ms, err);
}

/*
 * A restore may fail because the group took the tasks away, or gave the consumer up: only a take hears of that. What comes with it is
 * of no task, and is sought again.
 */
static enum status restore_or_hear(struct stage *s, struct error *err)
{
    enum status st = restore_tasks(s, err);

    if (st != ERR_RETRY || !SAFE(M_HEARS_IN_RESTORE))
        return st;
    loop_drop_tasks(s);
    st = take(s, 0, err);
    return st == OK && s->n_tasks != s->n_assigned ? ERR_RETRY : st;
}

/* From the log again, as after a restart: memory may be ahead of what was committed. */
static enum status recover(struct stage *s, struct error *err)
{
    enum status st;

    do {
        log_warn("retry", "reason=\"%s\"", err->text);
        ops_ready(s->ops, false, "%s", err->text);
        ops_beat(s->ops);
        clock_nap_ms(200);
        st = SAFE(M_ROLLBACK) ? restore_or_hear(s, err) : s->log->ops->abort(s->log, err);
    } while (st == ERR_RETRY && !signals_stopping());
    return st;
}

enum status loop_run(struct stage *s, struct error *err)
{
    size_t n = 0;

    while (!signals_stopping() && !(n == 0 && all_ended(s))) {
        enum status st = turn(s, &n, err);

        if (st == ERR_RETRY) {
            st = recover(s, err);
            n = 0;
        }
        if (st != OK)
            return st;
    }
    if (commit(s, clock_wall_ms(), err) != OK)
        return err->status;
    if (s->is_file && s->worker->finish && all_ended(s) && s->worker->finish(s->ctx, s, err) != OK)
        return err->status;
    return s->log->ops->finish ? s->log->ops->finish(s->log, err) : OK;
}
