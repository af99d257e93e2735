/* common/stage/hold.c: records that are held back, waiting for others. */
#include <inttypes.h>

#include "stage/internal.h"

#define PENDING_PAUSE 20000  /* records held back of one partition: stop fetching it */
#define PENDING_RESUME 5000
#define PENDING_MAX 1000000
#define PLENTY_BATCHES 2     /* records at hand: nothing more is taken */

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

enum status hold_regulate(struct stage *s, struct error *err)
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

bool hold_has_plenty(const struct stage *s)
{
    size_t n = 0;

    for (size_t i = 0; i < s->n_tasks; i++)
        for (size_t k = 0; k < s->n_inputs; k++)
            n += s->tasks[i]->inputs[k].merge.n_pending;
    return n >= PLENTY_BATCHES * s->opt.batch;
}
