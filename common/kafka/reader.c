/* A plain consumer over ranges of one topic's partitions: no group is joined, nothing is committed. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/mutant.h"
#include "kafka/conf.h"
#include "kafka/kafka.h"

#define BATCH 1024
#define ANSWER_MS 10000

struct range {
    int partition;
    int64_t next;   /* the offset that is read next */
    int64_t to;     /* -1: without end */
    int64_t end_at_start; /* what was there at the first reader_next; -1: not asked yet */
    bool done;
};

struct reader {
    char *brokers;
    rd_kafka_t *client;
    rd_kafka_queue_t *queue;
    char *topic;
    struct range *ranges;
    size_t n_ranges;
    bool changed; /* ranges were added: assign anew */
    bool down;
    rd_kafka_message_t *batch[BATCH];
    size_t n_batch, at;
    rd_kafka_message_t *lent[BATCH]; /* their views are with the caller */
    size_t n_lent;
};

static void on_error(rd_kafka_t *client, int code, const char *reason, void *opaque)
{
    (void)client;
    (void)reason;
    if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN)
        ((struct reader *)opaque)->down = true;
}

enum status reader_new(const char *brokers, const struct pipeline *p, struct reader **ret_reader, struct error *err)
{
    static const struct setting settings[] = {
        {"group.id", "millrace.reader"}, /* must be given, is never joined */
        {"enable.auto.commit", "false"},
        {"enable.auto.offset.store", "false"},
        {"enable.partition.eof", "true"},
        {"isolation.level", "read_committed"},
        {"auto.offset.reset", "error"},
    };
    static const struct setting limits[] = {
        {"queued.max.messages.kbytes", "16384"},
        {"fetch.max.bytes", "16777216"},
        {"fetch.queue.backoff.ms", "5"},
        {"fetch.wait.max.ms", "25"}, /* how long an end that lies behind a transaction's marker takes to be seen */
    };
    struct reader *r = xcalloc(1, sizeof(*r));
    struct conf c;
    enum status s;

    conf_begin(&c, CONF_CONSUMER, brokers);
    for (size_t i = 0; i < ARRAY_LEN(limits); i++)
        conf_try(&c, limits[i].name, limits[i].value);
    conf_given(&c, p);
    for (size_t i = 0; i < ARRAY_LEN(settings); i++)
        conf_set(&c, settings[i].name, settings[i].value);
    if (!SAFE(M_RESTORE_COMMITTED))
        conf_set(&c, "isolation.level", "read_uncommitted");
    rd_kafka_conf_set_error_cb(c.conf, on_error);
    rd_kafka_conf_set_opaque(c.conf, r);
    r->brokers = xstrdup(brokers);
    s = conf_client(&c, CONF_CONSUMER, &r->client, err);
    if (s != OK) {
        reader_free(r);
        return s;
    }
    (void)rd_kafka_poll_set_consumer(r->client);
    r->queue = rd_kafka_queue_get_consumer(r->client);
    *ret_reader = r;
    return OK;
}

static void take_back(struct reader *r)
{
    while (r->n_lent)
        rd_kafka_message_destroy(r->lent[--r->n_lent]);
}

static void drop_batch(struct reader *r)
{
    take_back(r);
    while (r->at < r->n_batch)
        rd_kafka_message_destroy(r->batch[r->at++]);
    r->at = r->n_batch = 0;
}

void reader_free(struct reader *r)
{
    if (r == NULL)
        return;
    drop_batch(r);
    if (r->queue != NULL)
        rd_kafka_queue_destroy(r->queue);
    if (r->client != NULL) {
        (void)rd_kafka_consumer_close(r->client);
        rd_kafka_destroy(r->client);
    }
    free(r->ranges);
    free(r->topic);
    free(r->brokers);
    free(r);
}

enum status reader_partitions(struct reader *r, const char *topic, int *ret_n, struct error *err)
{
    return conf_partitions(r->client, r->brokers, topic, ANSWER_MS, ret_n, err);
}

enum status reader_bounds(struct reader *r, const char *topic, int partition, int64_t *ret_low, int64_t *ret_high,
                          struct error *err)
{
    int64_t deadline = clock_mono_ms() + START_TIMEOUT_MS;
    rd_kafka_resp_err_t code;
    char what[300];

    do
        code = rd_kafka_query_watermark_offsets(r->client, topic, partition, ret_low, ret_high, START_TIMEOUT_MS);
    while (conf_again(r->client, r->brokers, topic, code, deadline));
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
        return OK;
    snprintf(what, sizeof(what), "the bounds of %s/%d", topic, partition);
    return conf_explain(err, code, r->brokers, what);
}

enum status reader_at_time(struct reader *r, const char *topic, int partition, int64_t arrival_ms, int64_t *ret_offset,
                           struct error *err)
{
    AUTO(tplist) list = rd_kafka_topic_partition_list_new(1);
    int64_t low, deadline = clock_mono_ms() + START_TIMEOUT_MS;
    rd_kafka_resp_err_t code;
    char what[300];

    rd_kafka_topic_partition_list_add(list, topic, partition);
    do {
        list->elems[0].offset = arrival_ms;
        code = rd_kafka_offsets_for_times(r->client, list, START_TIMEOUT_MS);
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
            code = list->elems[0].err;
    } while (conf_again(r->client, r->brokers, topic, code, deadline));
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        snprintf(what, sizeof(what), "look for a time in %s/%d", topic, partition);
        return conf_explain(err, code, r->brokers, what);
    }
    if (list->elems[0].offset < 0)
        return reader_bounds(r, topic, partition, &low, ret_offset, err);
    *ret_offset = list->elems[0].offset;
    return OK;
}

enum status reader_add(struct reader *r, const char *topic, int partition, int64_t from, int64_t to, struct error *err)
{
    if (r->topic == NULL)
        r->topic = xstrdup(topic);
    else if (strcmp(r->topic, topic) != 0)
        return err_set(err, ERR_FATAL, "a reader of %s cannot read %s too", r->topic, topic);
    r->ranges = xrealloc(r->ranges, (r->n_ranges + 1) * sizeof(*r->ranges));
    for (size_t i = 0; i < r->n_ranges; i++) {
        if (r->ranges[i].partition != partition)
            continue;
        if (!r->ranges[i].done)
            return err_set(err, ERR_FATAL, "%s/%d is being read: add its next range after that", topic, partition);
        r->ranges[i] = r->ranges[--r->n_ranges]; /* one range per partition: the former is read */
        break;
    }
    r->ranges[r->n_ranges++] = (struct range){
        .partition = partition,
        .next = from < 0 ? 0 : from,
        .to = to,
        .end_at_start = -1,
        .done = to >= 0 && from >= to,
    };
    r->changed = true;
    return OK;
}

/* A range that begins before what retention kept begins there. */
static enum status begin_ranges(struct reader *r, struct error *err)
{
    AUTO(tplist) list = rd_kafka_topic_partition_list_new((int)r->n_ranges);
    rd_kafka_resp_err_t code;
    char what[300];

    for (size_t i = 0; i < r->n_ranges; i++) {
        struct range *g = &r->ranges[i];
        int64_t low, high;
        enum status s;

        if (g->done)
            continue;
        if (g->end_at_start < 0) {
            s = reader_bounds(r, r->topic, g->partition, &low, &high, err);
            if (s != OK)
                return s;
            g->end_at_start = high;
            if (g->next < low)
                g->next = low;
            if (g->to >= 0 && g->next >= g->to) {
                g->done = true;
                continue;
            }
        }
        rd_kafka_topic_partition_list_add(list, r->topic, g->partition)->offset = g->next;
    }
    drop_batch(r);
    code = rd_kafka_assign(r->client, list);
    r->changed = false;
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
        return OK;
    snprintf(what, sizeof(what), "read %s", r->topic);
    return conf_explain(err, code, r->brokers, what);
}

static struct range *range_of(struct reader *r, int partition)
{
    for (size_t i = 0; i < r->n_ranges; i++)
        if (r->ranges[i].partition == partition)
            return &r->ranges[i];
    return NULL;
}

static void finish(struct reader *r, struct range *g)
{
    AUTO(tplist) list = rd_kafka_topic_partition_list_new(1);

    g->done = true;
    rd_kafka_topic_partition_list_add(list, r->topic, g->partition);
    rd_kafka_error_destroy(rd_kafka_incremental_unassign(r->client, list)); /* a pause would outlive the next assignment */
}

/* Why nothing comes: the first range that is not done says it. */
static enum status no_progress(struct reader *r, struct error *err)
{
    for (size_t i = 0; i < r->n_ranges; i++) {
        const struct range *g = &r->ranges[i];
        int64_t end = -1;

        if (g->done)
            continue;
        if (conf_ends(r->client, r->brokers, r->topic, &g->partition, 1, &end, err) != OK)
            return err_wrap(err, "read %s/%d from %" PRId64, r->topic, g->partition, g->next);
        if (end < g->to)
            return err_set(err, ERR_FATAL,
                           "read %s/%d: the topic was truncated: it ends at %" PRId64 ", expected %" PRId64
                           ": records were lost at the broker",
                           r->topic, g->partition, end, g->to);
        return err_set(err, ERR_FATAL,
                       "read %s/%d: no progress for %d s at offset %" PRId64 " of %" PRId64
                       ": an open transaction holds it up; find its producer with kafka-transactions.sh find-hanging",
                       r->topic, g->partition, PROGRESS_TIMEOUT_MS / 1000, g->next, g->to);
    }
    return err_set(err, ERR_FATAL, "read %s: no progress", r->topic);
}

static bool all_done(const struct reader *r)
{
    for (size_t i = 0; i < r->n_ranges; i++)
        if (!r->ranges[i].done)
            return false;
    return true;
}

static struct view header(const rd_kafka_headers_t *headers, const char *name)
{
    const void *value;
    size_t n;

    if (rd_kafka_header_get_last(headers, name, &value, &n) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return view_of(NULL, 0);
    return view_of(value == NULL ? "" : value, n);
}

/* True: *ret is a record of a range. */
static bool take_record(struct reader *r, rd_kafka_message_t *m, struct reader_msg *ret)
{
    struct range *g = range_of(r, m->partition);
    rd_kafka_timestamp_type_t kind;

    if (g == NULL || g->done || m->offset < g->next)
        return false;
    if (g->to >= 0 && m->offset >= g->to) {
        g->next = g->to;
        finish(r, g);
        return false;
    }
    g->next = m->offset + 1;
    if (g->next == g->to)
        finish(r, g);
    *ret = (struct reader_msg){
        .partition = m->partition,
        .offset = m->offset,
        .arrival_ms = rd_kafka_message_timestamp(m, &kind),
        .key = view_of(m->key, m->key_len),
        .value = view_of(m->payload, m->len),
    };
    return true;
}

static enum status event(struct reader *r, const rd_kafka_message_t *m, struct error *err)
{
    struct range *g = m->rkt == NULL ? NULL : range_of(r, m->partition);
    char what[300];

    switch (m->err) {
    case RD_KAFKA_RESP_ERR__PARTITION_EOF:
        if (g == NULL || g->done)
            return OK;
        if (m->offset > g->next)
            g->next = m->offset; /* markers and aborted records lie between */
        if (g->to >= 0 && g->next >= g->to)
            finish(r, g);
        return OK;
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
        return err_set(err, ERR_FATAL, "read %s/%d at %" PRId64 ": that offset is gone (retention or truncation)",
                       r->topic, m->partition, g == NULL ? -1 : g->next);
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
    case RD_KAFKA_RESP_ERR__FATAL:
        snprintf(what, sizeof(what), "read %s", r->topic);
        return conf_explain(err, m->err, r->brokers, what);
    default: /* transport: librdkafka goes on by itself; the group: we are not in one */
        return OK;
    }
}

static void fill(struct reader *r, int timeout_ms)
{
    ssize_t n;

    r->at = r->n_batch = 0;
    n = rd_kafka_consume_batch_queue(r->queue, 0, r->batch, BATCH);
    if (n <= 0 && timeout_ms > 0)
        n = rd_kafka_consume_batch_queue(r->queue, timeout_ms, r->batch, 1);
    r->n_batch = n > 0 ? (size_t)n : 0;
}

/* What of the batch at hand are records of ranges. */
static enum status take_batch(struct reader *r, struct reader_msg *ret, size_t cap, size_t *n, struct error *err)
{
    while (r->at < r->n_batch && *n < cap) {
        rd_kafka_message_t *m = r->batch[r->at++];
        enum status s = OK;

        if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR && take_record(r, m, &ret[*n])) {
            r->lent[r->n_lent++] = m;
            ++*n;
            continue;
        }
        if (m->err != RD_KAFKA_RESP_ERR_NO_ERROR)
            s = event(r, m, err);
        rd_kafka_message_destroy(m);
        if (s != OK)
            return s;
    }
    return OK;
}

enum status reader_take(struct reader *r, int timeout_ms, struct reader_msg *ret, size_t cap, size_t *ret_n, bool *ret_end,
                        struct error *err)
{
    int64_t deadline = INT64_MIN;
    enum status s;

    take_back(r);
    *ret_end = false;
    *ret_n = 0;
    if (cap > BATCH)
        cap = BATCH;
    if (r->changed && (s = begin_ranges(r, err)) != OK)
        return s;
    for (;;) {
        int64_t left;

        if ((s = take_batch(r, ret, cap, ret_n, err)) != OK || *ret_n != 0)
            return s;
        if (all_done(r)) {
            *ret_end = true;
            return OK;
        }
        if (deadline == INT64_MIN)
            deadline = clock_mono_ms() + (timeout_ms < 0 ? PROGRESS_TIMEOUT_MS : timeout_ms);
        left = deadline - clock_mono_ms();
        if (left <= 0 && timeout_ms < 0 && r->down) { /* a time in which no record could come counts for nothing */
            r->down = false;
            deadline = clock_mono_ms() + PROGRESS_TIMEOUT_MS;
            continue;
        }
        if (left <= 0 && timeout_ms < 0)
            return no_progress(r, err);
        fill(r, left <= 0 ? 0 : left > 100 ? 100 : (int)left);
        if (left <= 0 && r->n_batch == 0)
            return OK;
    }
}

enum status reader_next(struct reader *r, int timeout_ms, struct reader_msg *ret_msg, bool *ret_end, struct error *err)
{
    rd_kafka_headers_t *headers;
    size_t n;

    *ret_msg = (struct reader_msg){.partition = -1};
    if (reader_take(r, timeout_ms, ret_msg, 1, &n, ret_end, err) != OK)
        return err->status;
    if (n && rd_kafka_message_headers(r->lent[0], &headers) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        ret_msg->mark = header(headers, "millrace.mark");
        ret_msg->subject = header(headers, "subject");
    }
    return OK;
}

bool reader_caught_up(const struct reader *r)
{
    if (r->changed)
        return false;
    for (size_t i = 0; i < r->n_ranges; i++) {
        const struct range *g = &r->ranges[i];

        if (!g->done && g->next < g->end_at_start)
            return false;
    }
    return true;
}
