/* common/stage/check.c: what the broker must have before a stage begins. */
#include "stage/internal.h"

size_t check_topics(const struct stage *s, struct topic_spec ret_specs[CHECK_MAX])
{
    size_t n = 0;

    for (size_t i = 0; i < s->n_inputs; i++)
        ret_specs[n++] = (struct topic_spec){s->inputs[i].topic->broker_name, s->inputs[i].topic->partitions, false, 0};
    for (size_t o = 0; o < s->n_outputs; o++)
        ret_specs[n++] = (struct topic_spec){s->outputs[o].topic->broker_name, s->outputs[o].partitions, false, 0};
    if (s->n_inputs)
        ret_specs[n++] = (struct topic_spec){s->dead_letters, 1, false, 0};
    if (s->has_changelog)
        ret_specs[n++] = (struct topic_spec){s->changelog, s->n_tasks_all, true, 0};
    return n;
}
