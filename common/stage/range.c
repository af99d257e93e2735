/* common/stage/range.c: the log as a replay: past records of the inputs once more, outputs into another topic. */
/*
 * Reads every partition of the inputs as it is at the start, up to where all lies behind the range, from its beginning
 * (a stateful stage needs what lies before the range) or, for a stateless stage, from where the range begins (bisected on
 * `at`); writes to the one topic given by --into in transactions, commits no offsets, keeps no state. The loop lets only
 * rows with event time in [from, to) out.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "base/log.h"
#include "kafka/kafka.h"
#include "stage/finite.h"

struct range_input {
    struct reader *reader;
    int64_t *to; /* end of what is read, per partition */
};

struct log_range {
    struct finite finite;
    struct range_input in[INPUTS_MAX];
    struct writer *writer;
    bool put;
    int64_t n_put;
    int into_partitions;
};

/* One allocation holds key and value: the reader's views die at its next read. */
static void copy_record(const struct reader_msg *m, int input, struct log_record *r)
{
    uint8_t *p = xmalloc(m->key.n + m->value.n + m->mark.n + 1);

    *r = (struct log_record){.input = input, .partition = m->partition, .offset = m->offset, .arrival_ms = m->arrival_ms,
                             .handle = p};
    if (m->key.data)
        r->key = view_of(memcpy(p, m->key.data, m->key.n), m->key.n);
    if (m->value.data)
        r->value = view_of(memcpy(p + m->key.n, m->value.data, m->value.n), m->value.n);
    if (m->mark.data)
        r->mark = view_of(memcpy(p + m->key.n + m->value.n, m->mark.data, m->mark.n), m->mark.n);
}

static enum status range_take(struct log *log, int timeout_ms, struct log_record *ret, size_t cap, size_t *ret_n,
                              struct log_assignment *a, struct error *err)
{
    struct log_range *l = (struct log_range *)log;
    struct stage *s = l->finite.stage;
    size_t n = 0;

    finite_take(&l->finite, a);
    for (size_t i = 0; i < s->n_inputs; i++) {
        size_t share = n + (cap - n) / (s->n_inputs - i);
        struct range_input *in = &l->in[i];

        while (finite_open(&l->finite, i) && n < share) {
            struct reader_msg m;

            if (reader_next(in->reader, timeout_ms, &m, &l->finite.in[i].ended, err) != OK)
                return err->status;
            if (l->finite.in[i].ended || m.partition < 0)
                break;
            copy_record(&m, (int)i, &ret[n++]);
        }
        for (; n < share && finite_next_end(&l->finite, i, &ret[n]); n++)
            ret[n].offset = in->to[ret[n].partition];
    }
    *ret_n = n;
    return OK;
}

static void range_release(struct log *log, struct log_record *r)
{
    finite_moved((struct finite *)log);
    free(r->handle);
    r->handle = NULL;
}

static enum status range_put(struct log *log, const struct log_put *put, struct error *err)
{
    struct log_range *l = (struct log_range *)log;

    if (put->value.data == NULL || strcmp(put->topic, l->finite.stage->dead_letters) == 0)
        return OK; /* its dead letters were written when it ran the first time */
    l->put = true;
    l->n_put++;
    return writer_put(l->writer, l->finite.stage->opt.into, put->partition % l->into_partitions, put->key, put->value, err);
}

static enum status range_commit(struct log *log, const struct log_position *at, size_t n, bool *ret_unmoved, struct error *err)
{
    struct log_range *l = (struct log_range *)log;

    (void)at, (void)n;
    *ret_unmoved = false;
    if (!l->put)
        return OK;
    l->put = false;
    /* A replay that fails half-way is started again by hand into an empty topic. */
    if (writer_commit(l->writer, err) == OK)
        return OK;
    err->status = ERR_FATAL;
    return err_wrap(err, "replay into %s", l->finite.stage->opt.into);
}

static enum status range_partitions(struct log *log, const char *topic, int *ret_n, struct error *err)
{
    struct log_range *l = (struct log_range *)log;

    return reader_partitions(l->in[0].reader, topic, ret_n, err);
}

static enum status range_finish(struct log *log, struct error *err)
{
    const struct log_range *l = (struct log_range *)log;

    (void)err;
    log_info("replayed", "into=%s records=%" PRId64, l->finite.stage->opt.into, l->n_put);
    return OK;
}

static void range_close(struct log *log)
{
    struct log_range *l = (struct log_range *)log;

    for (size_t i = 0; i < l->finite.stage->n_inputs; i++)
        if (l->in[i].reader)
            reader_free(l->in[i].reader);
    if (l->writer)
        writer_free(l->writer);
    finite_done(&l->finite);
    free(l);
}

static const struct log_ops ops = {
    .take = range_take, .release = range_release, .committed = finite_committed, .seek = finite_seek,
    .pause = finite_pause, .put = range_put, .commit = range_commit, .abort = finite_abort, .restore = finite_restore,
    .partitions = range_partitions, .finish = range_finish, .close = range_close,
};

struct probing {
    struct stage *stage;
    int input;
};

static bool at_of(void *ctx, const struct reader_msg *m, int64_t *ret_at)
{
    const struct probing *p = ctx;
    struct log_record r = {.input = p->input, .partition = m->partition, .value = m->value, .mark = m->mark};
    int task;

    return intake_at(p->stage, &r, ret_at, &task);
}

static enum status open_input(struct log_range *l, size_t i, struct error *err)
{
    struct stage *s = l->finite.stage;
    const struct topic *t = s->inputs[i].topic;
    const struct reader_span span = {s->worker->stateless_order ? s->opt.from_ms : INT64_MIN, s->opt.to_ms,
                                     pipeline_drift(s->pipeline, t) + t->lateness_ms};
    struct probing probing = {s, (int)i};
    int n = s->n_tasks_all;
    int64_t *from = arena_alloc(s->pipeline->arena, (size_t)n * sizeof(*from));
    int64_t *to = l->in[i].to = arena_alloc(s->pipeline->arena, (size_t)n * sizeof(*to));

    if (reader_new(s->opt.brokers, s->pipeline, &l->in[i].reader, err) != OK ||
        reader_between(l->in[i].reader, t->broker_name, n, &span, at_of, &probing, from, to, err) != OK)
        return err->status;
    for (int p = 0; p < n; p++)
        if (reader_add(l->in[i].reader, t->broker_name, p, from[p], to[p], err) != OK)
            return err->status;
    return OK;
}

enum status log_range_open(struct stage *s, struct log **ret_log, struct error *err)
{
    struct log_range *l = xcalloc(1, sizeof(*l));
    char *id = arena_printf(s->pipeline->arena, "%s.%s.replay.%s", s->pipeline->name, s->def->name, s->opt.into);
    enum status st = OK;

    finite_init(&l->finite, s, &ops);
    for (size_t i = 0; i < s->n_inputs && st == OK; i++)
        st = open_input(l, i, err);
    if (st == OK)
        st = reader_partitions(l->in[0].reader, s->opt.into, &l->into_partitions, err);
    if (st == OK && l->into_partitions == 0)
        st = err_set(err, ERR_FATAL, "there is no topic %s to replay into: `millrace replay` makes it", s->opt.into);
    if (st == OK)
        st = writer_new(s->opt.brokers, s->pipeline, id, &l->writer, err);
    if (st != OK) {
        range_close(&l->finite.log);
        return st;
    }
    *ret_log = &l->finite.log;
    return OK;
}
