/* common/stage/hold.c: records that are held back, waiting for others. */
#include <inttypes.h>

#include "stage/internal.h"

#define PENDING_PAUSE 20000 /* records held back of one partition: stop fetching it */
#define RESUME_PARTS 4      /* goes on at such a part of what stopped it */
#define PLENTY_BATCHES 2    /* records at hand: nothing more is taken */

/* A task's part of what the process has. */
static size_t part_of(const struct stage *s, size_t bytes)
{
    return bytes / (s->n_assigned ? s->n_assigned : 1);
}

static bool has_much(const struct stage *s, const struct merge *m, size_t parts)
{
    return m->n_pending > PENDING_PAUSE / parts || m->pending_bytes > part_of(s, s->pipeline->memory.held) / s->n_inputs / parts;
}

/* What the records wait for comes in the same partition, or from a file in which it lies too far behind others. */
static enum status too_many(const struct stage *s, const struct task *t, size_t input, struct error *err)
{
    const char *topic = s->inputs[input].topic->broker_name;
    const struct merge *m = &t->inputs[input].merge;
    const struct stage_def *writer = pipeline_orders(s->pipeline, s->inputs[input].topic);
    size_t mib = m->pending_bytes >> 20;
    int waits_for;
    int64_t at;

    if (writer == NULL || !merge_waits(m, &waits_for, &at))
        return err_set(err, ERR_FATAL, "%s partition %d: %zu records, %zu MiB, are held back, which is all that there is room for, and what they "
                       "wait for is not among as many of the other inputs; sort files by event time, or give the stage more \"memory\"",
                       topic, t->id, m->n_pending, mib);
    return err_set(err, ERR_FATAL, "%s partition %d: %zu records, %zu MiB, are held back, which is all that there is room for, the first of "
                   "event time %" PRId64 ", and wait for task %d of stage %s.%s: start that stage, or look why it does not go on",
                   topic, t->id, m->n_pending, mib, at, waits_for, s->pipeline->name, writer->name);
}

/*
 * Records that wait for each other cannot be held back at the log: what they wait for comes behind them. They may take what the state
 * leaves. (In a file the partitions of an input are held back together, or not at all.)
 */
static enum status check_room(const struct stage *s, struct task *t, struct error *err)
{
    size_t room = part_of(s, s->pipeline->memory.held) + part_of(s, s->pipeline->memory.state), taken = state_bytes(t->state), most = 0;

    for (size_t k = 0; k < s->n_inputs; k++) {
        struct merge *m = &t->inputs[k].merge;

        if (merge_head(m) == NULL || s->finite)
            taken += m->pending_bytes;
        if (m->pending_bytes > t->inputs[most].merge.pending_bytes)
            most = k;
    }
    return taken > room && t->inputs[most].merge.n_pending ? too_many(s, t, most, err) : OK;
}

enum status hold_regulate(struct stage *s, struct error *err)
{
    for (size_t i = 0; i < s->n_tasks; i++) {
        if (check_room(s, s->tasks[i], err) != OK)
            return err->status;
        for (size_t k = 0; k < s->n_inputs; k++) {
            struct task_input *ti = &s->tasks[i]->inputs[k];
            bool pause = merge_head(&ti->merge) != NULL && has_much(s, &ti->merge, ti->paused ? RESUME_PARTS : 1);

            if (pause == ti->paused)
                continue;
            ti->paused = pause;
            if (s->log->ops->pause(s->log, (int)k, s->tasks[i]->id, pause, err) != OK)
                return err->status;
        }
    }
    return OK;
}

bool hold_has_plenty(const struct stage *s)
{
    size_t n = 0;

    for (size_t i = 0; i < s->n_tasks; i++)
        for (size_t k = 0; k < s->n_inputs; k++)
            n += s->tasks[i]->inputs[k].merge.n_pending;
    return n >= PLENTY_BATCHES * s->opt.batch;
}
