/*
 * common/kafka/log_kafka_take.c: messages -> records and end marks of lanes that flow; what the consumer says besides is a fault
 * for the loop, is passed over, or means that the broker is away.
 */

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mutant.h"
#include "kafka/lanes.h"

#define PROBE_MS 1000
#define HEADER_BYTES_MAX ((size_t)8 * 1024)

void take_error(rd_kafka_t *client, int code, const char *reason, void *opaque)
{
    struct log_kafka *k = opaque;
    char text[256];

    (void)reason;
    if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN)
        k->down = true;
    else if (code == RD_KAFKA_RESP_ERR__FATAL && k->fault.status == OK) {
        rd_kafka_resp_err_t fatal = rd_kafka_fatal_error(client, text, sizeof(text));

        (void)err_set(&k->fault, ERR_FATAL, "consumer %s: %s (%s)", k->id, text, rd_kafka_err2str(fatal));
    }
}

/* All connections are gone: is the broker back? */
static enum status probe(struct log_kafka *k, int timeout_ms, struct error *err)
{
    const struct rd_kafka_metadata *meta;
    int64_t now = clock_mono_ms();
    char why[CONF_WHY_CHARS];

    if (now - k->probed_ms >= PROBE_MS) {
        int wait_ms = timeout_ms < 50 ? 50 : timeout_ms;

        k->probed_ms = now;
        if (rd_kafka_metadata(k->consumer, 0, NULL, &meta, wait_ms) == RD_KAFKA_RESP_ERR_NO_ERROR) {
            rd_kafka_metadata_destroy(meta);
            k->down = false;
            return OK;
        }
    }
    conf_why(why);
    if (log_every_ms(&k->said_ms, 60000))
        log_warn("broker_away", "brokers=%s group=%s reason=\"%s\"", k->brokers, k->group, why);
    return err_set(err, ERR_RETRY, "no Kafka answers at %s (%s)", k->brokers, why);
}

static struct view header(rd_kafka_headers_t *headers, const char *name)
{
    const void *value;
    size_t n;

    if (rd_kafka_header_get_last(headers, name, &value, &n) != RD_KAFKA_RESP_ERR_NO_ERROR || n > HEADER_BYTES_MAX)
        return view_of(NULL, 0);
    return view_of(value == NULL ? "" : value, n);
}

static void fill(struct log_record *r, rd_kafka_message_t *m, int input)
{
    rd_kafka_headers_t *headers;
    rd_kafka_timestamp_type_t kind;
    int64_t time_ms = rd_kafka_message_timestamp(m, &kind);

    *r = (struct log_record){
        .input = input,
        .partition = m->partition,
        .offset = m->offset,
        .arrival_ms = kind == RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME ? time_ms : -1,
        .key = view_of(m->key, m->key_len),
        .value = view_of(m->payload, m->len),
        .handle = m,
    };
    if (rd_kafka_message_headers(m, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        r->traceparent = header(headers, "traceparent");
        r->mark = header(headers, "millrace.mark");
    }
}

static void fault_of(struct log_kafka *k, const rd_kafka_message_t *m)
{
    char what[300];
    struct error e;

    if (k->fault.status != OK)
        return;
    switch (m->err) {
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
        (void)err_set(&k->fault, ERR_FATAL,
                      "%s/%d: the offset to go on from is gone. Where records were deleted before they were taken "
                      "(retention), give a stage with state one \"epoch\" more, and of one without reset the offsets of "
                      "group %s (kafka-consumer-groups.sh); where the topic was made anew, make the pipeline under a new name",
                      m->rkt == NULL ? k->group : rd_kafka_topic_name(m->rkt), m->partition, k->group);
        return;
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
    case RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID:
    case RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED:
        snprintf(what, sizeof(what), "group %s", k->group);
        (void)conf_explain(&e, m->err, k->brokers, what);
        (void)err_set(&k->fault, ERR_FATAL, "%s", e.text);
        return;
    case RD_KAFKA_RESP_ERR__FATAL:
        take_error(k->consumer, m->err, NULL, k);
        return;
    default: /* librdkafka goes on by itself */
        if (log_every_ms(&k->said_ms, 60000))
            log_warn("consumer", "group=%s reason=\"%s\"", k->group, rd_kafka_err2str(m->err));
    }
}

/* True: *r is a record or an end mark, and m belongs to it or is destroyed. */
static bool take_message(struct log_kafka *k, rd_kafka_message_t *m, struct log_record *r)
{
    int input = m->rkt == NULL ? -1 : lanes_input(k, rd_kafka_topic_name(m->rkt));
    struct lane *lane = lanes_at(k, input, m->partition);
    bool wanted = !k->revoking && lane != NULL && lane->flowing && !k->repointed;

    if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR && wanted && m->offset >= lane->next) {
        lane->next = m->offset + 1;
        fill(r, m, input);
        return true;
    }
    if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF && wanted && m->offset >= lane->next) {
        lane->next = m->offset; /* markers and aborted records may lie before it */
        *r = (struct log_record){.input = input, .partition = m->partition, .offset = m->offset, .at_end = true};
        rd_kafka_message_destroy(m);
        return true;
    }
    if (m->err != RD_KAFKA_RESP_ERR_NO_ERROR && m->err != RD_KAFKA_RESP_ERR__PARTITION_EOF)
        fault_of(k, m);
    rd_kafka_message_destroy(m);
    return false;
}

static void tell(struct log_kafka *k, struct log_assignment *ret)
{
    *ret = (struct log_assignment){.changed = k->changed, .tasks = k->tasks, .n_tasks = k->n_tasks};
    k->changed = false;
}

/* Without an assignment the loop gives back all records, before the next take makes another consumer. */
static enum status judge_fault(struct log_kafka *k, struct error *err)
{
    *err = k->fault;
    if (rd_kafka_fatal_error(k->consumer, NULL, 0) != RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID || !SAFE(M_CONSUMER_RENEWED) ||
        slot_is_ours(k, err) != OK)
        return err->status;
    log_warn("consumer_renewed", "id=%s reason=\"%s\"", k->id, k->fault.text);
    lanes_forget(k);
    k->fault = (struct error){.status = OK};
    k->changed = k->fenced = true;
    return OK;
}

enum status log_kafka_take(struct log *l, int timeout_ms, struct log_record *ret, size_t cap, size_t *ret_n,
                           struct log_assignment *ret_assignment, struct error *err)
{
    struct log_kafka *k = log_kafka_of(l);
    enum status s;
    ssize_t n;

    *ret_n = 0;
    k->undecided_ms = 0;
    txn_poll(k->txn);
    outbox_poll(k->outbox);
    if (k->consumer == NULL) {
        tell(k, ret_assignment);
        return OK;
    }
    if (k->fenced && log_kafka_renew(k, err) != OK)
        return err->status;
    if (k->lost && lanes_give_back_lost(k, err) != OK)
        return err->status;
    if (k->revoking)
        lanes_give_back(k);
    if (k->repointed && (s = lanes_repoint(k, err)) != OK)
        return s;
    if (cap > LANES_BATCH)
        cap = LANES_BATCH;
    n = rd_kafka_consume_batch_queue(k->queue, 0, k->batch, cap);
    if (n <= 0 && timeout_ms > 0 && !k->changed) { /* it fills a batch until the time is over: wait for one, take what is there */
        n = rd_kafka_consume_batch_queue(k->queue, timeout_ms, k->batch, 1);
        if (n == 1 && cap > 1) {
            ssize_t more = rd_kafka_consume_batch_queue(k->queue, 0, k->batch + 1, cap - 1);

            n += more > 0 ? more : 0;
        }
    }
    for (ssize_t i = 0; i < n; i++)
        if (take_message(k, k->batch[i], &ret[*ret_n]))
            ++*ret_n;
    if (k->fault.status != OK && !k->changed) { /* a loop that knows of no change would restore tasks that are not here */
        for (size_t i = 0; i < *ret_n; i++)
            l->ops->release(l, &ret[i]);
        *ret_n = 0;
        if (judge_fault(k, err) != OK)
            return err->status;
    }
    tell(k, ret_assignment);
    if (*ret_n > 0)
        k->down = false;
    else if (k->down && !ret_assignment->changed)
        return probe(k, timeout_ms, err);
    return OK;
}

void log_kafka_release(struct log *l, struct log_record *r)
{
    (void)l;
    if (r->handle != NULL)
        rd_kafka_message_destroy(r->handle);
    r->handle = NULL;
}

size_t log_kafka_headers(struct log *l, const struct log_record *r, struct log_header *ret, size_t cap)
{
    rd_kafka_headers_t *headers;
    const void *value;
    const char *name;
    size_t n = 0, size, left = HEADER_BYTES_MAX;

    (void)l;
    if (rd_kafka_message_headers(r->handle, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return 0;
    while (n < cap && rd_kafka_header_get_all(headers, n, &name, &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        if (strlen(name) + size > left)
            break;
        left -= strlen(name) + size;
        ret[n++] = (struct log_header){name, view_of(value == NULL ? "" : value, size)};
    }
    return n;
}
