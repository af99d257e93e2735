/* common/stage/task.c: a task's pending records in order, its progress and positions. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/log.h"
#include "base/mutant.h"
#include "stage/internal.h"

struct task *task_new(const struct stage *s, int id)
{
    struct task *t = xcalloc(1, sizeof(*t));

    t->id = id;
    t->at = t->emit_at = t->next_at = t->marked_at = INT64_MIN;
    t->state = state_new((size_t)1 << 32);
    for (size_t i = 0; i < s->n_inputs; i++) {
        merge_init(&t->inputs[i].merge, s->inputs[i].outside || s->worker->stateless_order ? 1 : 0);
        t->inputs[i].merge.repeats = s->inputs[i].repeats;
        t->inputs[i].merge.unordered = !s->inputs[i].outside && !s->inputs[i].marked;
        t->inputs[i].fetched_at = t->inputs[i].low_at = INT64_MIN;
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
    for (size_t i = 0; i < s->n_inputs; i++) {
        merge_done(&t->inputs[i].merge, task_release, s);
        origins_done(&t->inputs[i].origins);
        dropped_done(&t->inputs[i].dropped);
    }
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

/* Below what was taken before a restore the verdict stands as it was: the cursors are already beyond. */
static bool is_repeat(struct task_input *in, const struct pending *p, bool taken_before)
{
    if (p->origin.channel < 0)
        return false;
    return taken_before ? dropped_has(&in->dropped, p->rec.offset) : !origins_pass(&in->origins, &p->origin);
}

bool task_take(struct stage *s, struct task *t, int input, struct pending *head, struct pending *ret)
{
    struct task_input *in = &t->inputs[input];
    bool taken_before = head->rec.offset < merge_channel(&in->merge, head->task)->next_offset;

    *ret = merge_pop(&in->merge, head);
    in->low_at = ret->at > in->low_at ? ret->at : in->low_at;
    if (!is_repeat(in, ret, taken_before))
        return true;
    t->changed = true;
    if (!taken_before) {
        metrics_add(&s->metrics, METRIC_RECORDS, OUTCOME_REPEAT, 1);
        s->n_repeats++;
        if (log_every_ms(&s->repeats_logged_ms, 60000))
            log_info("repeat", "topic=%s partition=%d offset=%" PRId64 " so_far=%" PRId64, s->inputs[input].topic->broker_name,
                     t->id, ret->rec.offset, s->n_repeats);
        if (s->stateful)
            dropped_add(&in->dropped, ret->rec.offset);
    }
    task_release(s, ret);
    return false;
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

bool task_replays(const struct task *t, size_t n_inputs)
{
    for (size_t i = 0; i < n_inputs; i++) {
        const struct task_input *in = &t->inputs[i];

        if (in->next_offset < in->replay_to)
            return true;
        for (size_t c = 0; c < in->merge.n_channels; c++)
            if (in->merge.channels[c].n != 0 && in->merge.channels[c].ring[in->merge.channels[c].head].replay)
                return true;
    }
    return false;
}

static struct moment moment_now(struct task *t, int64_t commit, size_t n_inputs)
{
    struct moment m = {.commit = commit};

    for (size_t i = 0; i < n_inputs; i++) {
        m.low[i] = task_low(t, i);
        m.at[i] = SAFE(M_LOW_AT) ? t->inputs[i].low_at : merge_channel(&t->inputs[i].merge, 0)->taken_at;
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
    for (size_t m = 0; m < t->n_moments && SAFE(M_LOW_OLDEST); m++)
        if (t->moments[m].commit >= since) {
            *ret_need = t->moments[m];
            return;
        }
}
