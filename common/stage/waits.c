/* common/stage/waits.c: who keeps a task waiting, said once it lasts. */
/*
 * A task waits for an upstream task that is neither idle nor beyond its records: that one is slow, or dead. It never goes on
 * without it (the order would be wrong), but after WAIT_WARN_MS it says for whom it waits: a line of the log each minute, not
 * ready, and a gauge. What a worker waits for itself is in the gauge and the readiness too; the line is its own.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/log.h"
#include "stage/internal.h"
#include "wire/text.h"

#define LOOK_EVERY_MS 1000
#define WAIT_WARN_MS 60000

/* The input that keeps the task's first record, of input `first` at `at`, from being taken; -1: none. */
static int keeps_waiting(const struct stage *s, const struct task *t, size_t first, int64_t at, int64_t now_ms)
{
    for (size_t i = 0; i < s->n_inputs; i++)
        if (i != first && task_input_at(s, t, i, now_ms) <= at)
            return (int)i;
    return -1;
}

bool waits_for(const struct stage *s, struct task *t, int64_t now_ms, struct wait *ret)
{
    size_t first = s->n_inputs;
    int64_t at = INT64_MAX;
    int input;

    if (s->n_inputs == 0 || task_head(s, t, now_ms, &input) != NULL)
        return false;
    for (size_t i = 0; i < s->n_inputs; i++) { /* within a partition */
        int task;
        int64_t its_at;

        if (merge_waits(&t->inputs[i].merge, &task, &its_at) && its_at < at) {
            *ret = (struct wait){.input = (int)i, .task = task, .at = its_at};
            at = its_at;
            first = i;
        }
    }
    if (first < s->n_inputs)
        return true;
    for (size_t i = 0; i < s->n_inputs; i++) { /* for another input */
        const struct pending *p = merge_head(&t->inputs[i].merge);

        if (p && p->at < at) {
            at = p->at;
            first = i;
        }
    }
    input = first < s->n_inputs ? keeps_waiting(s, t, first, at, now_ms) : -1;
    if (input < 0)
        return false;
    *ret = (struct wait){.input = input, .task = s->inputs[input].marked ? merge_last(&t->inputs[input].merge) : -1, .at = at};
    return true;
}

static void describe(const struct stage *s, const struct task *t, int64_t now_ms, char *text, size_t n)
{
    const struct wait *w = &t->wait;
    const struct topic *topic = s->inputs[w->input].topic;
    const struct stage_def *writer = pipeline_orders(s->pipeline, topic);
    char at[32];

    text_format_time(w->at, at);
    if (w->task < 0)
        snprintf(text, n, "task %d waits for %s/%d for %" PRId64 " s, with records from %s on: an open transaction of its producer "
                 "hides its end; find it with kafka-transactions.sh find-hanging", t->id, topic->broker_name, t->id,
                 (now_ms - w->since_ms) / 1000, at);
    else
        snprintf(text, n, "task %d waits for task %d of stage %s for %" PRId64 " s, with records from %s on (%s/%d): look whether a "
                 "process of that stage has this task and goes on (its /ready, its log)", t->id, w->task, writer->name,
                 (now_ms - w->since_ms) / 1000, at, topic->broker_name, t->id);
}

static int64_t taken_of(const struct stage *s, const struct task *t)
{
    int64_t n = 0;

    for (size_t i = 0; i < s->n_inputs; i++)
        n += t->inputs[i].n_taken;
    return n;
}

/* Since when the task waits; 0: it does not. */
static int64_t look(const struct stage *s, struct task *t, int64_t now_ms)
{
    int64_t since_ms = t->wait.since_ms, taken = taken_of(s, t);
    struct wait w;

    if (!waits_for(s, t, now_ms, &w))
        return t->wait.since_ms = 0;
    w.since_ms = since_ms && taken == t->wait.taken ? since_ms : now_ms;
    w.taken = taken;
    t->wait = w;
    return w.since_ms;
}

void waits_look(struct stage *s, int64_t now_ms)
{
    const struct task *longest = NULL;
    int64_t longest_ms, workers_ms;
    char text[600], why[600];
    bool long_enough;

    if (now_ms - s->waits_looked_ms < LOOK_EVERY_MS)
        return;
    s->waits_looked_ms = now_ms;
    for (size_t i = 0; i < s->n_tasks; i++) {
        int64_t since_ms = look(s, s->tasks[i], now_ms);

        if (since_ms && (longest == NULL || since_ms < longest->wait.since_ms))
            longest = s->tasks[i];
    }
    workers_ms = s->worker->waits ? s->worker->waits(s->ctx, now_ms, why, sizeof(why)) : 0;
    longest_ms = longest && (workers_ms == 0 || longest->wait.since_ms < workers_ms) ? longest->wait.since_ms : workers_ms;
    metrics_set(&s->metrics, METRIC_WAITING, longest_ms ? now_ms - longest_ms : 0);
    long_enough = longest_ms && now_ms - longest_ms >= WAIT_WARN_MS;
    if (long_enough && longest_ms == workers_ms) {
        ops_ready(s->ops, false, "%s", why);
    } else if (long_enough) {
        describe(s, longest, now_ms, text, sizeof(text));
        ops_ready(s->ops, false, "%s", text);
        if (log_every_ms(&s->waits_logged_ms, WAIT_WARN_MS))
            log_warn("waits_for_upstream", "reason=\"%s\"", text);
    } else if (s->waits) {
        ops_ready(s->ops, true, "processing %zu tasks", s->n_tasks);
        log_info("waits_no_more", "tasks=%zu", s->n_tasks);
        s->waits_logged_ms = 0;
    }
    s->waits = long_enough;
}
