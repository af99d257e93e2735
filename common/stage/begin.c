/* common/stage/begin.c: where the data of a topic from inside begins, by its records and marks alone. */
#include <stdlib.h>

#include "base/mutant.h"
#include "kafka/kafka.h"
#include "stage/internal.h"

#define FIRST 64 /* records of a partition that nobody orders: no mark says that there is none smaller */

/* How far each of the writer's tasks is known to be in each partition, and the least `at` of a record so far. */
struct beginning {
    int64_t *said; /* [partition * n_tasks + task]; INT64_MAX: it is idle */
    int n_tasks, n_partitions;
    int64_t at;
};

/* Nothing smaller follows: each task has said more, in each partition, or rests. */
static bool is_known(const struct beginning *b)
{
    for (int i = 0; i < b->n_partitions * b->n_tasks && SAFE(M_BEGINS_KNOWN); i++)
        if (b->said[i] < b->at)
            return false;
    return b->at < INT64_MAX;
}

static void hear(struct stage *s, struct beginning *b, const struct reader_msg *m)
{
    const struct log_record r = {.partition = m->partition, .offset = m->offset, .arrival_ms = m->arrival_ms, .value = m->value,
                                 .mark = m->mark};
    struct mark mark = {.task = -1};

    if (m->mark.data == NULL && intake_at(s, &r, &mark.at, &mark.task))
        b->at = mark.at < b->at ? mark.at : b->at;
    else if (m->mark.data && !mark_get(m->mark, &mark))
        mark.task = -1;
    if (mark.task >= 0 && mark.task < b->n_tasks)
        b->said[m->partition * b->n_tasks + mark.task] = mark.idle ? INT64_MAX : mark.at;
}

static enum status hear_all(struct stage *s, struct reader *r, struct beginning *b, struct error *err)
{
    const char *topic = s->inputs[0].topic->broker_name;

    for (int p = 0; p < b->n_partitions; p++) {
        int64_t low, high;

        if (reader_bounds(r, topic, p, &low, &high, err) != OK)
            return err->status;
        if (b->n_tasks == 0 && high > low + FIRST)
            high = low + FIRST;
        if (reader_add(r, topic, p, low, high, err) != OK)
            return err->status;
    }
    for (bool end = false; !end && !(b->n_tasks && is_known(b));) {
        struct reader_msg m;

        if (reader_next(r, -1, &m, &end, err) != OK)
            return err->status;
        if (!end)
            hear(s, b, &m);
    }
    return OK;
}

enum status stage_begins_at(struct stage *s, int64_t *ret_at, struct error *err)
{
    const struct input *in = &s->inputs[0];
    struct beginning b = {.n_tasks = in->topic->ordered ? in->tasks : 0, .n_partitions = in->topic->partitions, .at = INT64_MAX};
    struct reader *r = NULL;
    enum status st;

    b.said = xmalloc((size_t)(b.n_partitions * b.n_tasks + 1) * sizeof(*b.said));
    for (int i = 0; i < b.n_partitions * b.n_tasks; i++)
        b.said[i] = INT64_MIN;
    st = reader_new(s->opt.brokers, s->pipeline, &r, err);
    if (st == OK)
        st = hear_all(s, r, &b, err);
    if (st == OK)
        *ret_at = is_known(&b) ? b.at : INT64_MIN;
    reader_free(r);
    free(b.said);
    return st == OK ? OK : err_wrap(err, "look where %s begins", in->topic->broker_name);
}
