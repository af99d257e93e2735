#include "kafka/producer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"

#define BATCH_BYTES 1000000
#define RUN_MAX 256
#define OVERHEAD_BYTES 512 /* more than librdkafka counts a record's frame */

static void on_error(rd_kafka_t *client, int code, const char *reason, void *opaque)
{
    struct producer *p = opaque;

    (void)client;
    (void)reason;
    if (code == RD_KAFKA_RESP_ERR__TRANSPORT || code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN ||
        code == RD_KAFKA_RESP_ERR__TIMED_OUT)
        p->lost = true;
}

static bool is_alone(const struct producer *p, const rd_kafka_message_t *m)
{
    return m->len + m->key_len >= p->batch_bytes || p->batch_bytes == 1;
}

static void on_delivery(rd_kafka_t *client, const rd_kafka_message_t *m, void *opaque)
{
    struct producer *p = opaque;

    (void)client;
    if (m->err == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE && is_alone(p, m)) {
        p->too_large = xrealloc(p->too_large, (p->n_too_large + 1) * sizeof(*p->too_large));
        p->too_large[p->n_too_large++] = (size_t)(uintptr_t)m->_private;
    }
    if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR || p->refused != RD_KAFKA_RESP_ERR_NO_ERROR ||
        m->err == RD_KAFKA_RESP_ERR__PURGE_QUEUE || m->err == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT)
        return;
    p->refused = m->err;
    snprintf(p->refused_topic, sizeof(p->refused_topic), "%s", rd_kafka_topic_name(m->rkt));
}

enum status producer_open(struct producer *p, struct error *err)
{
    static const struct setting in_transactions[] = {
        {"transaction.timeout.ms", "10000"}, /* a dead writer's transaction holds up every reader until then */
        {"message.timeout.ms", "10000"},
    };
    static const struct setting plain[] = {
        {"message.timeout.ms", "0"}, /* one that is given up would let later ones overtake it: whoever waits gives up all */
        {"enable.gapless.guarantee", "true"},
        {"acks", "all"},
    };
    const struct setting *guarantees = p->id ? in_transactions : plain;
    size_t n = p->id ? ARRAY_LEN(in_transactions) : ARRAY_LEN(plain);
    const struct memory memory = memory_split(MEMORY_BYTES);
    struct conf c;
    char batch[24], bytes[24];
    size_t n_bytes = sizeof(bytes);

    p->batch_bytes = p->batch_bytes ? p->batch_bytes : BATCH_BYTES;
    conf_begin(&c, CONF_PRODUCER, p->brokers);
    conf_stage(&c, CONF_PRODUCER, p->p ? &p->p->memory : &memory);
    if (p->id == NULL)
        conf_try(&c, "linger.ms", "5"); /* no commit gathers them: at 0 each record is a request, and one more for every reader */
    conf_given(&c, p->p);
    snprintf(batch, sizeof(batch), "%zu", p->batch_bytes);
    conf_set(&c, "batch.size", batch);
    conf_set(&c, "enable.idempotence", "true");
    if (p->id)
        conf_set(&c, "transactional.id", p->id);
    for (size_t i = 0; i < n; i++)
        conf_set(&c, guarantees[i].name, guarantees[i].value);
    conf_set(&c, "delivery.report.only.error", "true"); /* else each record comes back to this thread to be freed */
    rd_kafka_conf_set_dr_msg_cb(c.conf, on_delivery);
    rd_kafka_conf_set_error_cb(c.conf, on_error);
    p->message_bytes = rd_kafka_conf_get(c.conf, "message.max.bytes", bytes, &n_bytes) == RD_KAFKA_CONF_OK
                           ? strtoul(bytes, NULL, 10) : 0;
    rd_kafka_conf_set_opaque(c.conf, p);
    p->refused = RD_KAFKA_RESP_ERR_NO_ERROR;
    return conf_client(&c, CONF_PRODUCER, &p->client, err);
}

void producer_clear(struct producer *p)
{
    p->refused = RD_KAFKA_RESP_ERR_NO_ERROR;
    p->n_too_large = 0;
}

void producer_close(struct producer *p)
{
    for (size_t i = 0; i < p->n_topics; i++)
        rd_kafka_topic_destroy(p->topics[i]);
    p->n_topics = 0;
    if (p->client == NULL)
        return;
    (void)rd_kafka_purge(p->client, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    rd_kafka_destroy(p->client);
    p->client = NULL;
}

void producer_done(struct producer *p)
{
    producer_close(p);
    free(p->too_large);
    p->too_large = NULL;
}

void producer_poll(struct producer *p)
{
    if (p->client != NULL)
        (void)rd_kafka_poll(p->client, 0);
}

/* Nothing wakes a flush but a report, and what arrives well has none: a long one looks each 10 ms, so it begins with short ones. */
bool producer_settle(struct producer *p)
{
    int64_t deadline = clock_mono_ms() + PRODUCER_CALL_MS;

    for (int ms = 1; p->refused == RD_KAFKA_RESP_ERR_NO_ERROR && rd_kafka_outq_len(p->client) > 0; ms = ms < 32 ? 2 * ms : ms) {
        if (clock_mono_ms() >= deadline)
            return false;
        (void)rd_kafka_flush(p->client, ms);
    }
    return true;
}

bool producer_is_refusal(rd_kafka_resp_err_t code)
{
    switch (code) {
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE:
    case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_INVALID_RECORD:
    case RD_KAFKA_RESP_ERR_INVALID_MSG:
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
        return true;
    default:
        return false;
    }
}

static enum status too_large(const char *topic, enum status s, struct error *err)
{
    return err_set(err, s, "a record for %s is larger than the broker takes: raise max.message.bytes of the topic, or "
                   "message.max.bytes under \"kafka\"", topic);
}

enum status producer_refusal(struct producer *p, rd_kafka_resp_err_t code, const char *topic, struct error *err)
{
    char what[300];

    p->code = code;
    if (code == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE)
        return too_large(topic, ERR_RETRY, err);
    if (code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART || code == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC ||
        code == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION)
        return err_set(err, ERR_FATAL, "topic %s or its partition does not exist at %s: make it with `millrace up`",
                       topic, p->brokers);
    if (!producer_is_refusal(code))
        return err_set(err, ERR_RETRY, "write to %s: %s (Kafka at %s)", topic, rd_kafka_err2str(code), p->brokers);
    snprintf(what, sizeof(what), "write to %s", topic);
    return conf_explain(err, code, p->brokers, what);
}

void producer_shrink(struct producer *p)
{
    p->batch_bytes = p->batch_bytes > 8 ? p->batch_bytes / 8 : 1;
}

/* ---- a record ---- */

static rd_kafka_topic_t *topic_of(struct producer *p, const char *name)
{
    rd_kafka_topic_t *topic;

    for (size_t i = 0; i < p->n_topics; i++)
        if (strcmp(rd_kafka_topic_name(p->topics[i]), name) == 0)
            return p->topics[i];
    if (p->n_topics == PRODUCER_TOPICS_MAX || (topic = rd_kafka_topic_new(p->client, name, NULL)) == NULL)
        return NULL;
    return p->topics[p->n_topics++] = topic;
}

static void add_header(rd_kafka_vu_t *vu, size_t *n, const char *name, struct view v)
{
    if (v.data == NULL)
        return;
    vu[*n].vtype = RD_KAFKA_VTYPE_HEADER;
    vu[*n].u.header.name = name;
    vu[*n].u.header.val = v.data;
    vu[*n].u.header.size = (ssize_t)v.n;
    ++*n;
}

/* NULL: it is queued. Waits while the queue is full. */
static rd_kafka_error_t *produce(struct producer *p, const rd_kafka_vu_t *vu, size_t n)
{
    int64_t deadline = 0;

    for (;;) {
        rd_kafka_error_t *e = rd_kafka_produceva(p->client, vu, n);

        if (e == NULL || rd_kafka_error_code(e) != RD_KAFKA_RESP_ERR__QUEUE_FULL)
            return e;
        if (deadline == 0)
            deadline = clock_mono_ms() + PRODUCER_DEADLINE_MS;
        if (clock_mono_ms() >= deadline)
            return e;
        rd_kafka_error_destroy(e);
        (void)rd_kafka_poll(p->client, 100);
    }
}

/* What a record that is not queued means. */
static enum status not_queued(struct producer *p, rd_kafka_resp_err_t code, const char *why, const char *topic, struct error *err)
{
    p->code = code;
    if (code == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE)
        return too_large(topic, ERR_RECORD, err);
    producer_poll(p); /* after a refused batch nothing is taken any more: its reports say so */
    if (p->refused == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE)
        return OK;
    if (producer_is_refusal(code))
        return producer_refusal(p, code, topic, err);
    return err_set(err, p->id && rd_kafka_fatal_error(p->client, NULL, 0) ? ERR_FATAL : ERR_RETRY, "write to %s as %s: %s", topic,
                   p->id ? p->id : "nobody in particular", why);
}

static enum status no_topic(const char *topic, struct error *err)
{
    return err_set(err, ERR_FATAL, "write to '%s': not a topic's name, or more than %d topics", topic, PRODUCER_TOPICS_MAX);
}

enum status producer_put(struct producer *p, const struct log_put *put, size_t number, const char *header, struct view value,
                         struct error *err)
{
    rd_kafka_topic_t *topic = topic_of(p, put->topic);
    rd_kafka_vu_t vu[10];
    size_t n = 0;

    if (p->refused == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE)
        return OK; /* the commit says so, and all is put again */
    if (topic == NULL)
        return no_topic(put->topic, err);
    vu[n++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = topic};
    vu[n++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = put->partition};
    vu[n++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY};
    vu[n++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = (void *)(uintptr_t)number};
    vu[n++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {conf_unconst(put->key.data), put->key.n}};
    vu[n++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {conf_unconst(put->value.data), put->value.n}};
    add_header(vu, &n, "traceparent", put->traceparent);
    add_header(vu, &n, "millrace.mark", put->mark);
    add_header(vu, &n, header, value);
    {
        AUTO(kerror) e = produce(p, vu, n);

        return e == NULL ? OK : not_queued(p, rd_kafka_error_code(e), rd_kafka_error_string(e), put->topic, err);
    }
}

/*
 * A run of records. Of one partition: where each record has its own (RD_KAFKA_MSG_F_PARTITION) and the topic's are not known yet,
 * librdkafka 2.16 adds partition -1 to the transaction, and not those of the records, which then time out.
 */

size_t producer_run(const struct producer *p, const struct log_put *puts, size_t n)
{
    size_t i = 0;

    for (; i < n && i < RUN_MAX; i++) {
        const struct log_put *put = &puts[i];

        if (put->traceparent.data || put->mark.data || put->key.n + put->value.n + OVERHEAD_BYTES > p->message_bytes)
            break;
        if (put->partition != puts[0].partition || (put->topic != puts[0].topic && strcmp(put->topic, puts[0].topic) != 0))
            break;
    }
    return i;
}

enum status producer_put_run(struct producer *p, const struct log_put *puts, size_t n, size_t number, size_t *ret_n,
                             struct error *err)
{
    rd_kafka_topic_t *topic = topic_of(p, puts[0].topic);
    rd_kafka_message_t messages[RUN_MAX];
    int64_t deadline = 0;

    *ret_n = n;
    if (p->refused == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE)
        return OK; /* the commit says so, and all is put again */
    *ret_n = 0;
    if (topic == NULL)
        return no_topic(puts[0].topic, err);
    for (size_t i = 0; i < n; i++)
        messages[i] = (rd_kafka_message_t){
            .payload = conf_unconst(puts[i].value.data), .len = puts[i].value.n,
            .key = conf_unconst(puts[i].key.data), .key_len = puts[i].key.n, ._private = (void *)(uintptr_t)(number + i)};
    for (;;) {
        rd_kafka_resp_err_t code;

        (void)rd_kafka_produce_batch(topic, puts[0].partition, RD_KAFKA_MSG_F_COPY, messages + *ret_n, (int)(n - *ret_n));
        while (*ret_n < n && messages[*ret_n].err == RD_KAFKA_RESP_ERR_NO_ERROR)
            ++*ret_n;
        if (*ret_n == n)
            return OK;
        code = messages[*ret_n].err;
        if (deadline == 0)
            deadline = clock_mono_ms() + PRODUCER_DEADLINE_MS;
        if (code == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE) /* producer_run left it out: what is behind it is queued already */
            return too_large(puts[0].topic, ERR_FATAL, err);
        if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL || clock_mono_ms() >= deadline) {
            enum status st = not_queued(p, code, rd_kafka_err2str(code), puts[0].topic, err);

            *ret_n = st == OK ? n : *ret_n;
            return st;
        }
        (void)rd_kafka_poll(p->client, 100); /* behind a full queue none is taken: it goes on with the first */
    }
}
