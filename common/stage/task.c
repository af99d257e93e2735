/* common/stage/task.c: a task's pending records in order, its progress and positions. */
#include <stdlib.h>

#include "base/arena.h"
#include "stage/internal.h"

struct task *task_new(const struct stage *s, int id)
{
    struct task *t = xcalloc(1, sizeof(*t));

    t->id = id;
    t->at = t->next_at = t->marked_at = INT64_MIN;
    t->state = state_new((size_t)1 << 32);
    for (size_t i = 0; i < s->n_inputs; i++) {
        merge_init(&t->inputs[i].merge, s->inputs[i].outside || s->worker->stateless_order ? 1 : 0);
        t->inputs[i].merge.unordered = !s->inputs[i].outside && !s->inputs[i].marked;
        t->inputs[i].fetched_at = INT64_MIN;
        t->inputs[i].committed = -1;
        t->inputs[i].committed_at = INT64_MIN;
    }
    return t;
}

void task_release(void *stage, struct pending *p)
{
    struct stage *s = stage;

    s->log->ops->release(s->log, &p->rec);
    free(p->bad);
    p->bad = NULL;
}

void task_free(struct stage *s, struct task *t)
{
    for (size_t i = 0; i < s->n_inputs; i++)
        merge_done(&t->inputs[i].merge, task_release, s);
    for (size_t i = 0; i < t->n_restored; i++)
        free(t->restored[i].cursors);
    free(t->restored);
    free(t->moments);
    state_free(t->state);
    free(t);
}

struct task *task_of(const struct stage *s, int id)
{
    for (size_t i = 0; i < s->n_tasks; i++)
        if (s->tasks[i]->id == id)
            return s->tasks[i];
    return NULL;
}

/*
 * Whether nothing is known to come on an input for now. Its channels' marks say so; of a topic without marks the clock does: the
 * named exception. The end that a reader of committed records sees is no end while records of an open transaction lie behind it:
 * their writer may be dead or stopped.
 */
static bool at_rest(const struct stage *s, const struct task *t, size_t i, int64_t now_ms)
{
    const struct task_input *in = &t->inputs[i];

    if (in->merge.n_pending != 0 || in->end_since_ms == 0)
        return false;
    if (s->inputs[i].marked ? !merge_idle(&in->merge) : now_ms - in->end_since_ms < IDLE_AFTER_MS)
        return false;
    return s->log->ops->end == NULL || in->next_offset >= s->log->ops->end(s->log, (int)i, t->id);
}

/* How far input i is: the least `at` that it may still bring. */
static int64_t input_at(const struct stage *s, const struct task *t, size_t i, int64_t now_ms)
{
    const struct merge *m = &t->inputs[i].merge;

    if (at_rest(s, t, i, now_ms))
        return INT64_MAX;
    return merge_idle(m) && !m->ended ? merge_said(m) : merge_at(m); /* all rested as of here, but the log goes on */
}

struct pending *task_head(const struct stage *s, struct task *t, int64_t now_ms, int *ret_input)
{
    struct pending *best = NULL;
    int waits_for;

    for (size_t i = 0; i < s->n_inputs; i++) {
        struct pending *p = merge_head(&t->inputs[i].merge, &waits_for);

        if (p && p->task == CHANNEL_FOREIGN) {
            *ret_input = (int)i;
            return p;
        }
        if (p && (best == NULL || p->at < best->at)) {
            best = p;
            *ret_input = (int)i;
        }
    }
    if (best == NULL || s->worker->stateless_order || s->def->arrival_order)
        return best;
    for (size_t i = 0; i < s->n_inputs; i++) {
        int64_t at;

        if ((int)i == *ret_input)
            continue;
        at = input_at(s, t, i, now_ms);
        if (at < best->at || (at == best->at && (int)i < *ret_input))
            return NULL;
    }
    return best;
}

bool task_idle(const struct stage *s, const struct task *t, int64_t now_ms)
{
    for (size_t i = 0; i < s->n_inputs; i++) {
        if (t->inputs[i].merge.ended && t->inputs[i].merge.n_pending == 0)
            continue;
        if (!at_rest(s, t, i, now_ms))
            return false;
    }
    return true;
}

int64_t task_low(const struct task *t, size_t input)
{
    return merge_lowest(&t->inputs[input].merge, t->inputs[input].next_offset);
}

static struct moment moment_now(struct task *t, int64_t commit, size_t n_inputs)
{
    struct moment m = {.commit = commit};

    for (size_t i = 0; i < n_inputs; i++) {
        m.low[i] = task_low(t, i);
        m.at[i] = merge_channel(&t->inputs[i].merge, 0)->taken_at;
    }
    return m;
}

void task_moment(struct task *t, int64_t commit, size_t n_inputs)
{
    int64_t since = state_since_min(t->state);
    size_t drop = 0;

    while (drop < t->n_moments && t->moments[drop].commit < since)
        drop++;
    t->n_moments -= drop;
    if (drop)
        memmove(t->moments, t->moments + drop, t->n_moments * sizeof(*t->moments));
    if (t->n_moments == t->cap_moments) {
        t->cap_moments = t->cap_moments ? t->cap_moments * 2 : 16;
        t->moments = xrealloc(t->moments, t->cap_moments * sizeof(*t->moments));
    }
    t->moments[t->n_moments++] = moment_now(t, commit, n_inputs);
}

void task_need(struct task *t, size_t n_inputs, struct moment *ret_need)
{
    int64_t since = state_since_min(t->state);

    *ret_need = moment_now(t, 0, n_inputs);
    for (size_t m = 0; m < t->n_moments; m++)
        if (t->moments[m].commit >= since) {
            *ret_need = t->moments[m];
            return;
        }
}
