#include "kafka/txn.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"

#define CALL_MS 10000     /* one call of librdkafka */
#define DEADLINE_MS 30000 /* a call with its repeats */
#define SLOW_MS 5000      /* beyond it a late EndTxn may still be on its way */
#define RENEW_MS 90000    /* a broker may be away that long before we let the orchestrator restart us */
#define TOPICS_MAX 64
#define BATCH_BYTES 1000000

struct txn {
    const char *brokers;
    const struct pipeline *p;
    char *id;
    rd_kafka_t *producer;
    rd_kafka_topic_t *topics[TOPICS_MAX]; /* handles, so that a record costs no look-up by name under a lock */
    size_t n_topics;
    bool open;
    bool doomed; /* a put failed: the transaction can only be aborted */
    bool lost;   /* a broker's connection broke since it was last cleared */
    rd_kafka_resp_err_t code;
    rd_kafka_resp_err_t refused; /* first delivery error */
    char refused_topic[256];
    size_t n_put;       /* in this transaction */
    size_t batch_bytes; /* a batch is at most that large, but for one of a single record */
    size_t *too_large;  /* records of this transaction that the broker refuses for their own size */
    size_t n_too_large;
};

static void on_error(rd_kafka_t *client, int code, const char *reason, void *opaque)
{
    struct txn *t = opaque;

    (void)client;
    (void)reason;
    if (code == RD_KAFKA_RESP_ERR__TRANSPORT || code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN ||
        code == RD_KAFKA_RESP_ERR__TIMED_OUT)
        t->lost = true;
}

static bool is_alone(const struct txn *t, const rd_kafka_message_t *m)
{
    return m->len + m->key_len >= t->batch_bytes || t->batch_bytes == 1;
}

static void on_delivery(rd_kafka_t *client, const rd_kafka_message_t *m, void *opaque)
{
    struct txn *t = opaque;

    (void)client;
    if (m->err == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE && is_alone(t, m)) {
        t->too_large = xrealloc(t->too_large, (t->n_too_large + 1) * sizeof(*t->too_large));
        t->too_large[t->n_too_large++] = (size_t)(uintptr_t)m->_private;
    }
    if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR || t->refused != RD_KAFKA_RESP_ERR_NO_ERROR ||
        m->err == RD_KAFKA_RESP_ERR__PURGE_QUEUE || m->err == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT)
        return;
    t->refused = m->err;
    snprintf(t->refused_topic, sizeof(t->refused_topic), "%s", rd_kafka_topic_name(m->rkt));
}

static enum status open_producer(struct txn *t, struct error *err)
{
    static const struct setting defaults[] = {
        {"linger.ms", "1"},
        {"queue.buffering.max.kbytes", "65536"},
        {"queue.buffering.max.messages", "500000"},
        {"compression.codec", "lz4"},
    };
    static const struct setting guarantees[] = {
        {"enable.idempotence", "true"},
        {"transaction.timeout.ms", "10000"}, /* a dead writer's transaction holds up every reader until then */
        {"message.timeout.ms", "10000"},
    };
    struct conf c;
    char batch[24];

    conf_begin(&c, CONF_PRODUCER, t->brokers);
    for (size_t i = 0; i < ARRAY_LEN(defaults); i++)
        conf_try(&c, defaults[i].name, defaults[i].value);
    conf_given(&c, t->p);
    snprintf(batch, sizeof(batch), "%zu", t->batch_bytes);
    conf_set(&c, "batch.size", batch);
    conf_set(&c, "transactional.id", t->id);
    for (size_t i = 0; i < ARRAY_LEN(guarantees); i++)
        conf_set(&c, guarantees[i].name, guarantees[i].value);
    rd_kafka_conf_set_dr_msg_cb(c.conf, on_delivery);
    rd_kafka_conf_set_error_cb(c.conf, on_error);
    rd_kafka_conf_set_opaque(c.conf, t);
    t->open = t->doomed = false;
    t->refused = RD_KAFKA_RESP_ERR_NO_ERROR;
    return conf_client(&c, CONF_PRODUCER, &t->producer, err);
}

static void close_producer(struct txn *t)
{
    for (size_t i = 0; i < t->n_topics; i++)
        rd_kafka_topic_destroy(t->topics[i]);
    t->n_topics = 0;
    if (t->producer == NULL)
        return;
    (void)rd_kafka_purge(t->producer, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    rd_kafka_destroy(t->producer);
    t->producer = NULL;
}

/* Ends whatever the id's former producer left open, and takes its place. */
static enum status init(struct txn *t, int deadline_ms, struct error *err)
{
    int64_t deadline = clock_mono_ms() + deadline_ms;
    char what[300];

    snprintf(what, sizeof(what), "transactional id %s", t->id);
    for (;;) {
        AUTO(kerror) e = rd_kafka_init_transactions(t->producer, deadline_ms < CALL_MS ? deadline_ms : CALL_MS);
        static int64_t said;

        if (e == NULL)
            break;
        t->code = rd_kafka_error_code(e);
        if (rd_kafka_error_is_fatal(e) || !rd_kafka_error_is_retriable(e) || clock_mono_ms() >= deadline) {
            enum status s = conf_explain(err, t->code, t->brokers, what);

            return s == ERR_RETRY ? (err->status = ERR_FATAL) : s;
        }
        if (log_every_ms(&said, 60000))
            log_warn("broker_away", "brokers=%s id=%s reason=\"%s\"", t->brokers, t->id, rd_kafka_error_string(e));
    }
    t->lost = false;
    return OK;
}

static enum status renew(struct txn *t, const char *why, struct error *err)
{
    enum status s;

    log_warn("producer_renewed", "id=%s reason=\"%s\"", t->id, why);
    close_producer(t);
    s = open_producer(t, err);
    return s == OK ? init(t, RENEW_MS, err) : s;
}

enum status txn_new(const char *brokers, const struct pipeline *p, const char *id, struct txn **ret_txn,
                    struct error *err)
{
    struct txn *t = xcalloc(1, sizeof(*t));
    enum status s;

    t->brokers = brokers;
    t->p = p;
    t->id = xstrdup(id);
    t->batch_bytes = BATCH_BYTES;
    s = open_producer(t, err);
    if (s == OK)
        s = init(t, START_TIMEOUT_MS, err);
    if (s != OK) {
        txn_free(t);
        return s;
    }
    *ret_txn = t;
    return OK;
}

void txn_free(struct txn *t)
{
    struct error ignored;

    if (t == NULL)
        return;
    if (t->open)
        (void)txn_abort(t, &ignored);
    close_producer(t);
    free(t->too_large);
    free(t->id);
    free(t);
}

bool txn_is_open(const struct txn *t)
{
    return t->open;
}

rd_kafka_resp_err_t txn_code(const struct txn *t)
{
    return t->code;
}

size_t txn_refused(const struct txn *t, const size_t **ret_records)
{
    *ret_records = t->too_large;
    return t->n_too_large;
}

void txn_poll(struct txn *t)
{
    if (t->producer != NULL)
        (void)rd_kafka_poll(t->producer, 0);
}

/* A record that the broker will never take: the same bytes would fail for ever. */
static bool is_refusal(rd_kafka_resp_err_t code)
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

/* What a failed call of the transaction API means for the caller; the transaction is not yet aborted. */
static enum status judge(struct txn *t, const rd_kafka_error_t *e, const char *what, struct error *err)
{
    t->code = rd_kafka_error_code(e);
    if (is_refusal(t->code) && t->code != RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE) {
        char why[CONF_WHY_CHARS]; /* names the topic, which e does not */

        conf_why(why);
        return conf_explain(err, t->code, t->brokers, strncmp(why, "Failed to add", 13) == 0 ? why : rd_kafka_error_string(e));
    }
    if (rd_kafka_error_is_fatal(e))
        return err_set(err, ERR_FATAL, "%s as %s: %s: another instance took its place, or the transaction timed out",
                       what, t->id, rd_kafka_error_string(e));
    if (rd_kafka_error_txn_requires_abort(e) || rd_kafka_error_is_retriable(e))
        return err_set(err, ERR_RETRY, "%s as %s: %s", what, t->id, rd_kafka_error_string(e));
    return err_set(err, ERR_FATAL, "%s as %s: %s", what, t->id, rd_kafka_error_string(e));
}

static enum status begin(struct txn *t, struct error *err)
{
    enum status s;

    if (t->open)
        return t->doomed ? err_set(err, ERR_RETRY, "the transaction of %s must be aborted first", t->id) : OK;
    if (t->producer == NULL && (s = renew(t, "the former could not be used", err)) != OK)
        return s;
    t->refused = RD_KAFKA_RESP_ERR_NO_ERROR;
    t->n_put = t->n_too_large = 0;
    {
        AUTO(kerror) e = rd_kafka_begin_transaction(t->producer);

        if (e != NULL)
            return judge(t, e, "begin a transaction", err);
    }
    t->open = true;
    return OK;
}

static rd_kafka_topic_t *topic_of(struct txn *t, const char *name)
{
    rd_kafka_topic_t *topic;

    for (size_t i = 0; i < t->n_topics; i++)
        if (strcmp(rd_kafka_topic_name(t->topics[i]), name) == 0)
            return t->topics[i];
    if (t->n_topics == TOPICS_MAX || (topic = rd_kafka_topic_new(t->producer, name, NULL)) == NULL)
        return NULL;
    return t->topics[t->n_topics++] = topic;
}

static enum status too_large(const char *topic, enum status s, struct error *err)
{
    return err_set(err, s, "a record for %s is larger than the broker takes: raise max.message.bytes of the topic, or "
                   "message.max.bytes under \"kafka\"", topic);
}

static enum status refusal(struct txn *t, rd_kafka_resp_err_t code, const char *topic, struct error *err)
{
    char what[300];

    t->code = code;
    t->doomed = true;
    if (code == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE)
        return too_large(topic, ERR_RETRY, err);
    if (code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART || code == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC ||
        code == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION)
        return err_set(err, ERR_FATAL, "topic %s or its partition does not exist at %s: make it with `millrace up`",
                       topic, t->brokers);
    snprintf(what, sizeof(what), "write to %s", topic);
    return conf_explain(err, code, t->brokers, what);
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

/* rd_kafka_vu_t's pointers are not const; with RD_KAFKA_MSG_F_COPY librdkafka only reads. */
static void *unconst(struct view v)
{
    union {
        const uint8_t *in;
        void *out;
    } u = {.in = v.data};

    return u.out;
}

enum status txn_put(struct txn *t, const struct log_put *put, struct error *err)
{
    return txn_put_with(t, put, NULL, view_of(NULL, 0), err);
}

enum status txn_put_with(struct txn *t, const struct log_put *put, const char *header, struct view value,
                         struct error *err)
{
    rd_kafka_vu_t vu[10];
    size_t n = 0;
    int64_t deadline = 0;
    enum status s = begin(t, err);
    rd_kafka_topic_t *topic = s == OK ? topic_of(t, put->topic) : NULL;

    if (s != OK)
        return s;
    if (t->refused == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE) { /* the commit says so, and all is put again */
        t->n_put++;
        return OK;
    }
    if (topic == NULL)
        return err_set(err, ERR_FATAL, "write to '%s': not a topic's name, or more than %d topics", put->topic,
                       TOPICS_MAX);
    vu[n++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = topic};
    vu[n++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = put->partition};
    vu[n++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY};
    vu[n++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = (void *)(uintptr_t)t->n_put};
    vu[n++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {unconst(put->key), put->key.n}};
    vu[n++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {unconst(put->value), put->value.n}};
    add_header(vu, &n, "traceparent", put->traceparent);
    add_header(vu, &n, "millrace.mark", put->mark);
    add_header(vu, &n, header, value);
    for (;;) {
        AUTO(kerror) e = rd_kafka_produceva(t->producer, vu, n);

        if (e == NULL)
            break;
        t->code = rd_kafka_error_code(e);
        if (t->code == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
            if (deadline == 0)
                deadline = clock_mono_ms() + DEADLINE_MS;
            if (clock_mono_ms() < deadline) {
                (void)rd_kafka_poll(t->producer, 100);
                continue;
            }
        }
        if (t->code == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE)
            return too_large(put->topic, ERR_RECORD, err);
        (void)rd_kafka_poll(t->producer, 0); /* a refused batch ends the transaction: its reports say so */
        if (t->refused == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE)
            break;
        t->doomed = true;
        if (is_refusal(t->code))
            return refusal(t, t->code, put->topic, err);
        if (rd_kafka_fatal_error(t->producer, NULL, 0) != RD_KAFKA_RESP_ERR_NO_ERROR)
            return err_set(err, ERR_FATAL, "write to %s as %s: %s", put->topic, t->id, rd_kafka_error_string(e));
        return err_set(err, ERR_RETRY, "write to %s as %s: %s", put->topic, t->id, rd_kafka_error_string(e));
    }
    t->n_put++;
    return OK;
}

/* What waits behind a refused record is not sent any more, and a commit would wait for it until it times out. */
static void settle(struct txn *t)
{
    int64_t deadline = clock_mono_ms() + CALL_MS;

    while (t->refused == RD_KAFKA_RESP_ERR_NO_ERROR && rd_kafka_outq_len(t->producer) > 0 && clock_mono_ms() < deadline)
        (void)rd_kafka_flush(t->producer, 50);
}

/* Repeats while librdkafka says that the call may be resumed. NULL: done. */
static rd_kafka_error_t *send_offsets(struct txn *t, const rd_kafka_topic_partition_list_t *offsets,
                                      const rd_kafka_consumer_group_metadata_t *group)
{
    int64_t deadline = clock_mono_ms() + DEADLINE_MS;
    rd_kafka_error_t *e;

    while ((e = rd_kafka_send_offsets_to_transaction(t->producer, offsets, group, CALL_MS)) != NULL &&
           rd_kafka_error_is_retriable(e) && !rd_kafka_error_txn_requires_abort(e) && clock_mono_ms() < deadline)
        rd_kafka_error_destroy(e);
    return e;
}

static rd_kafka_error_t *end(struct txn *t, rd_kafka_error_t *(*call)(rd_kafka_t *, int), bool *ret_unknown)
{
    int64_t began = clock_mono_ms();
    rd_kafka_error_t *e;

    t->lost = false;
    while ((e = call(t->producer, CALL_MS)) != NULL && rd_kafka_error_is_retriable(e) &&
           !rd_kafka_error_txn_requires_abort(e) && clock_mono_ms() < began + DEADLINE_MS)
        rd_kafka_error_destroy(e);
    (void)rd_kafka_poll(t->producer, 0); /* error_cb: was a connection lost meanwhile? */
    *ret_unknown = t->lost || clock_mono_ms() - began > SLOW_MS ||
                   (e != NULL && rd_kafka_error_is_retriable(e) && !rd_kafka_error_txn_requires_abort(e));
    return e;
}

enum status txn_abort(struct txn *t, struct error *err)
{
    bool unknown;

    t->doomed = false;
    if (!t->open)
        return OK;
    t->open = false;
    {
        AUTO(kerror) e = end(t, rd_kafka_abort_transaction, &unknown);

        if (e != NULL && rd_kafka_error_is_fatal(e))
            return judge(t, e, "abort", err);
        if (e == NULL && !unknown)
            return OK;
        /* whether or not it came through: a new producer's init ends it */
        return renew(t, e == NULL ? "an abort was slow or lost its coordinator" : rd_kafka_error_string(e), err);
    }
}

/* Batches of several records were refused: smaller ones show which record it was, or pass. */
static enum status shrink(struct txn *t, struct error *err)
{
    t->batch_bytes = t->batch_bytes > 8 ? t->batch_bytes / 8 : 1;
    return renew(t, "the broker refuses batches of the former's size", err);
}

/* After a failure: the transaction is aborted, err keeps the first cause unless the abort is worse. */
static enum status give_up(struct txn *t, enum status s, struct error *err)
{
    struct error worse;
    rd_kafka_resp_err_t code = t->code;
    enum status then = OK;

    (void)rd_kafka_poll(t->producer, 0); /* what failed may be a refused record's doing */
    if (t->refused != RD_KAFKA_RESP_ERR_NO_ERROR && is_refusal(t->refused)) {
        code = t->refused;
        s = refusal(t, t->refused, t->refused_topic, err);
    }
    if (s != ERR_FATAL)
        then = txn_abort(t, &worse);
    if (then == OK && t->refused == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE && t->n_too_large == 0)
        then = shrink(t, &worse);
    if (then != OK)
        *err = worse;
    t->code = code;
    return then == OK ? s : then;
}

enum status txn_commit(struct txn *t, const rd_kafka_topic_partition_list_t *offsets,
                       const rd_kafka_consumer_group_metadata_t *group, enum txn_outcome *ret_outcome,
                       struct error *err)
{
    enum status s = OK;
    bool unknown = false;

    *ret_outcome = TXN_ABORTED;
    if (t->doomed)
        return give_up(t, err_set(err, ERR_RETRY, "a record of this transaction could not be put"), err);
    s = begin(t, err);
    if (s != OK)
        return s;
    if (offsets != NULL && offsets->cnt > 0) {
        AUTO(kerror) e = send_offsets(t, offsets, group);

        if (e != NULL)
            return give_up(t, judge(t, e, "send the input offsets", err), err);
    }
    settle(t);
    if (t->refused != RD_KAFKA_RESP_ERR_NO_ERROR)
        return give_up(t, err_set(err, ERR_RETRY, "a record of this transaction was not taken"), err);
    {
        AUTO(kerror) e = end(t, rd_kafka_commit_transaction, &unknown);

        if (e == NULL && !unknown) {
            t->open = false;
            *ret_outcome = TXN_COMMITTED;
            return OK;
        }
        if (e != NULL && (rd_kafka_error_is_fatal(e) || rd_kafka_error_txn_requires_abort(e)))
            return give_up(t, judge(t, e, "commit", err), err);
        if (e != NULL && !unknown)
            return give_up(t, judge(t, e, "commit", err), err);
        *ret_outcome = e == NULL ? TXN_COMMITTED : TXN_UNKNOWN;
        s = renew(t, e == NULL ? "a commit was slow or lost its coordinator" : rd_kafka_error_string(e), err);
    }
    if (s != OK)
        return s;
    return *ret_outcome == TXN_COMMITTED
               ? OK
               : err_set(err, ERR_RETRY, "the outcome of a commit as %s is to be learned from its offsets", t->id);
}
