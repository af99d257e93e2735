/* common/stage/commit.c: outputs, state and positions together; and what is told of the progress. */
#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mutant.h"
#include "stage/internal.h"

#define LAG_EVERY_MS 200
#define MARKS_EVERY_MS 10  /* at least once, as soon as they leave: readers behind a re-key wait for them */
#define KEPT_PARTS 4 /* of the memory for batches: with so much to put out, commit early */

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

void commit_lag(struct stage *s, int64_t now_ms)
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

enum status commit_all(struct stage *s, int64_t now_ms, struct error *err)
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
        if (s->has_changelog && (s->stateful || SAFE(M_POSITIONS_KEPT)) && (t->changed || has_to_write(s, t)) &&
            changelog_write(s, t, err) != OK)
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

enum status commit_marks(struct stage *s, int64_t now_ms, struct error *err)
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

bool commit_is_due(const struct stage *s, int64_t now_ms)
{
    bool changed = s->turn_changed;

    if (now_ms - s->committed_ms < s->def->commit_interval_ms && s->kept_bytes.n < s->pipeline->memory.batches / KEPT_PARTS)
        return false;
    for (size_t i = 0; i < s->n_tasks; i++)
        changed |= s->tasks[i]->changed || has_to_write(s, s->tasks[i]) || (task_idle(s, s->tasks[i], now_ms) != s->tasks[i]->idle);
    return changed;
}
