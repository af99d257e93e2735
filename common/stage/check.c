/* common/stage/check.c: whether the broker has what a stage needs, before it begins. */
#include "base/arena.h"
#include "stage/internal.h"

enum status check_topics(struct stage *s, struct error *err)
{
    struct topic_spec specs[2 * INPUTS_MAX + 2];
    size_t n = 0;

    for (size_t i = 0; i < s->n_inputs; i++)
        specs[n++] = (struct topic_spec){s->inputs[i].topic->broker_name, s->inputs[i].topic->partitions, false};
    for (size_t o = 0; o < s->n_outputs; o++)
        specs[n++] = (struct topic_spec){s->outputs[o].topic->broker_name, s->outputs[o].partitions, false};
    if (s->n_inputs)
        specs[n++] = (struct topic_spec){s->dead_letters, 1, false};
    if (s->stateful)
        specs[n++] = (struct topic_spec){s->changelog, s->n_tasks_all, true};
    return kafka_topics_check(s->opt.brokers, s->pipeline, specs, n, err);
}
