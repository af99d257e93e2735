/* common/stage/loop.c: tasks and their restore; turn after turn: take, run, commit. */
#include <string.h>

#include "base/clock.h"
#include "base/fail.h"
#include "base/log.h"
#include "base/mutant.h"
#include "ops/signals.h"
#include "stage/internal.h"

#define TAKE_EVERY_MS 100    /* but the log must be asked: its answer may be that partitions go */

/* ---- tasks ---- */

void loop_drop_tasks(struct stage *s)
{
    for (size_t i = 0; i < s->n_tasks; i++)
        task_free(s, s->tasks[i]);
    s->n_tasks = 0;
    output_forget(s);
}

/* What does not fit together is looked at twice: of tasks that are another process's by now, as this one may not have heard, that one writes newer records, and the log
 * drops older ones amid the reading. */
static enum status restore_twice(struct stage *s, struct error *err)
{
    enum status st = changelog_restore(s, err);
    bool again = st == ERR_FATAL && s->contradicted && !s->doubted && SAFE(M_RESTORE_DOUBTED);

    s->doubted = again;
    return again ? (err->status = ERR_RETRY) : st;
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
    if (restore_twice(s, err) != OK)
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

/* ---- the loop ---- */

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
    return hold_regulate(s, err);
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
    if ((*n == 0 || !hold_has_plenty(s) || now_ms - s->taken_ms >= TAKE_EVERY_MS) && take(s, *n ? 0 : 10, err) != OK)
        return err->status;
    now_ms = clock_wall_ms();
    if (s->worker->turn && s->worker->turn(s->ctx, s, err) != OK)
        return err->status;
    *n = 0;
    if (run_next(s, now_ms, n, err) != OK)
        return err->status;
    commit_lag(s, now_ms);
    waits_look(s, now_ms);
    if (commit_is_due(s, now_ms))
        return commit_all(s, now_ms, err);
    return commit_marks(s, now_ms, err);
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
    if (commit_all(s, clock_wall_ms(), err) != OK)
        return err->status;
    if (s->is_file && s->worker->finish && all_ended(s) && s->worker->finish(s->ctx, s, err) != OK)
        return err->status;
    return s->log->ops->finish ? s->log->ops->finish(s->log, err) : OK;
}
