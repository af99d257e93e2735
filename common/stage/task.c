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
    t->due.at = t->due.replay_at = INT64_MIN;
    t->state = state_new(s->pipeline->memory.state / (s->n_assigned ? s->n_assigned : 1));
    for (size_t i = 0; i < s->n_inputs; i++) {
        merge_init(&t->inputs[i].merge, s->inputs[i].marked ? s->inputs[i].tasks : 1);
        t->inputs[i].merge.repeats = s->inputs[i].repeats && SAFE(M_REPEATS_ASLEEP);
        t->inputs[i].merge.unordered = !s->inputs[i].outside && !s->inputs[i].marked;
        t->inputs[i].merge.keeps_known = s->timed && !s->is_file; /* files have no marks */
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
    if (p->page)
        page_let_go(p->page);
    p->page = NULL;
}

static void moment_done(struct moment *m)
{
    free(m->said[0]);
    *m = (struct moment){0};
}

void task_free(struct stage *s, struct task *t)
{
    for (size_t i = 0; i < s->n_inputs; i++) {
        merge_done(&t->inputs[i].merge, task_release, s);
        origins_done(&t->inputs[i].origins);
        dropped_done(&t->inputs[i].dropped);
        page_close(&t->inputs[i].page);
    }
    changelog_forget(t);
    for (size_t m = 0; m < t->n_moments; m++)
        moment_done(&t->moments[m]);
    free(t->moments);
    moment_done(&t->present);
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

int64_t task_input_at(const struct stage *s, const struct task *t, size_t i, int64_t now_ms)
{
    const struct merge *m = &t->inputs[i].merge;

    if (at_rest(s, t, i, now_ms))
        return INT64_MAX;
    return merge_idle(m) && !m->ended ? merge_said(m) : merge_at(m); /* all rested as of here, but the log goes on */
}

/* In any order: state depends on what was taken of each input, not on how they interleave. */
static struct pending *next_replay(const struct stage *s, struct task *t, int *ret_input)
{
    for (size_t i = 0; i < s->n_inputs; i++) {
        struct pending *p = merge_head(&t->inputs[i].merge);

        *ret_input = (int)i;
        if (p && p->replay)
            return p;
    }
    return NULL;
}

struct pending *task_head(const struct stage *s, struct task *t, int64_t now_ms, int *ret_input)
{
    struct pending *best = NULL;

    if (t->anew && task_replays(t, s->n_inputs))
        return next_replay(s, t, ret_input);

    for (size_t i = 0; i < s->n_inputs; i++) {
        struct pending *p = merge_head(&t->inputs[i].merge);

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
        at = task_input_at(s, t, i, now_ms);
        if (at < best->at || (at == best->at && (int)i < *ret_input))
            return NULL;
    }
    return best;
}

int64_t task_awaits(const struct stage *s, const struct task *t, int64_t now_ms)
{
    int64_t at = INT64_MAX;

    for (size_t i = 0; i < s->n_inputs; i++) {
        int64_t its = task_input_at(s, t, i, now_ms);

        at = its < at ? its : at;
    }
    return at == INT64_MAX || at < t->at ? t->at : at; /* where all rest, nothing is known */
}

int64_t task_progress(const struct stage *s, const struct task *t, int64_t now_ms)
{
    int64_t at = task_awaits(s, t, now_ms), due = due_next(s, t);

    return at < due ? at : due;
}

int64_t task_furthest(const struct stage *s, const struct task *t)
{
    int64_t at = t->at;

    for (size_t i = 0; i < s->n_inputs; i++) {
        int64_t its = merge_furthest(&t->inputs[i].merge);

        at = its > at ? its : at;
    }
    return at;
}

/* Below what was taken before a restore the verdict stands as it was: the cursors are already beyond. Where the state is built
 * anew they begin with it. */
static bool is_repeat(const struct task *t, struct task_input *in, const struct pending *p, bool taken_before)
{
    bool stands = taken_before && !(t->anew && SAFE(M_ANEW_ORIGINS));

    if (p->origin.channel < 0)
        return false;
    return (stands ? dropped_has(&in->dropped, p->rec.offset) : !origins_pass(&in->origins, &p->origin)) && SAFE(M_REPEATS_DROPPED);
}

bool task_take(struct stage *s, struct task *t, int input, struct pending *ret)
{
    struct task_input *in = &t->inputs[input];
    const struct pending *head = merge_head(&in->merge);
    bool taken_before = head->rec.offset < merge_channel(&in->merge, head->task)->next_offset;

    *ret = merge_pop(&in->merge);
    if (!is_repeat(t, in, ret, taken_before))
        return true;
    t->changed = true;
    if (!taken_before) {
        metrics_add(&s->metrics, METRIC_RECORDS, OUTCOME_REPEAT, 1);
        s->n_repeats++;
        if (log_every_ms(&s->repeats_logged_ms, 60000))
            log_info("repeat", "topic=%s partition=%d offset=%" PRId64 " so_far=%" PRId64, s->inputs[input].topic->broker_name,
                     t->id, ret->rec.offset, s->n_repeats);
    }
    if (s->stateful && (!taken_before || t->anew))
        dropped_add(&in->dropped, ret->rec.offset);
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
    return merge_low(&t->inputs[input].merge, t->inputs[input].next_offset);
}

bool task_replays(const struct task *t, size_t n_inputs)
{
    for (size_t i = 0; i < n_inputs; i++)
        if (t->inputs[i].next_offset < t->inputs[i].replay_to || merge_replays(&t->inputs[i].merge))
            return true;
    return false;
}

static struct said said_below(const struct merge *m, const struct channel *c)
{
    bool safe = SAFE(M_AT_PENDING) && (SAFE(M_LOW_AT) || m->tasks != 1);
    struct said said = {safe ? c->low.at : c->now.at, c->low.record_at, SAFE(M_IDLE_BEHIND) ? c->low.idle : c->now.idle};

    return said;
}

static struct moment moment_now(const struct task *t, int64_t commit, size_t n_inputs)
{
    /* Amid a replay rows are judged by its own progress (due_at), and so are those that are replayed once more. */
    struct moment m = {.commit = commit, .at = task_replays(t, n_inputs) && SAFE(M_REPLAY_AT) ? t->due.replay_at : due_time(t)};
    size_t n = 0;

    for (size_t i = 0; i < n_inputs; i++)
        n += (size_t)t->inputs[i].merge.tasks;
    m.said[0] = xmalloc(n * sizeof(*m.said[0]));
    n = 0;
    for (size_t i = 0; i < n_inputs; i++) {
        const struct merge *in = &t->inputs[i].merge;

        m.low[i] = task_low(t, i);
        m.epoch[i] = in->low_epoch;
        m.said[i] = m.said[0] + n;
        for (size_t c = 0; c < in->n_channels; c++)
            if (in->channels[c].task >= 0 && in->channels[c].task < in->tasks)
                m.said[i][in->channels[c].task] = said_below(in, &in->channels[c]);
        n += (size_t)in->tasks;
    }
    return m;
}

void task_moment(struct task *t, int64_t commit, size_t n_inputs)
{
    int64_t since = state_since_min(t->state);
    size_t drop = 0;

    while (drop < t->n_moments && t->moments[drop].commit < since)
        moment_done(&t->moments[drop++]);
    t->n_moments -= drop;
    if (drop)
        memmove(t->moments, t->moments + drop, t->n_moments * sizeof(*t->moments));
    if (t->n_moments == t->cap_moments) {
        t->cap_moments = t->cap_moments ? t->cap_moments * 2 : 16;
        t->moments = xrealloc(t->moments, t->cap_moments * sizeof(*t->moments));
    }
    t->moments[t->n_moments++] = moment_now(t, commit, n_inputs);
}

const struct moment *task_need(struct task *t, size_t n_inputs)
{
    int64_t since = state_since_min(t->state);

    for (size_t m = 0; m < t->n_moments && SAFE(M_LOW_OLDEST); m++)
        if (t->moments[m].commit >= since)
            return &t->moments[m];
    moment_done(&t->present);
    t->present = moment_now(t, 0, n_inputs);
    return &t->present;
}
