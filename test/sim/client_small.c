/* test/sim/client_small.c: librdkafka's lists, errors, topics, headers; and what is linked but never called here. */
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "test/sim/client.h"

/* ---- lists of partitions ---- */

rd_kafka_topic_partition_list_t *rd_kafka_topic_partition_list_new(int size)
{
    rd_kafka_topic_partition_list_t *l = xcalloc(1, sizeof(*l));

    l->size = size < 4 ? 4 : size;
    l->elems = xcalloc((size_t)l->size, sizeof(*l->elems));
    return l;
}

void rd_kafka_topic_partition_list_destroy(rd_kafka_topic_partition_list_t *l)
{
    for (int i = 0; i < l->cnt; i++)
        free(l->elems[i].metadata);
    free(l->elems);
    free(l);
}

rd_kafka_topic_partition_t *rd_kafka_topic_partition_list_add(rd_kafka_topic_partition_list_t *l, const char *topic,
                                                              int32_t partition)
{
    int t = broker_topic(sim.broker, topic);
    union {
        const char *in;
        char *out;
    } name = {.in = t < 0 ? topic : sim.broker->topics[t].name};

    if (l->cnt == l->size) {
        l->size *= 2;
        l->elems = xrealloc(l->elems, (size_t)l->size * sizeof(*l->elems));
    }
    l->elems[l->cnt] = (rd_kafka_topic_partition_t){.topic = name.out, .partition = partition, .offset = RD_KAFKA_OFFSET_INVALID};
    return &l->elems[l->cnt++];
}

/* ---- errors ---- */

rd_kafka_error_t *client_error(rd_kafka_resp_err_t code, bool fatal, bool retriable, bool abortable, const char *text)
{
    rd_kafka_error_t *e = xcalloc(1, sizeof(*e));

    *e = (struct rd_kafka_error_s){.code = code, .fatal = fatal, .retriable = retriable, .abortable = abortable};
    snprintf(e->text, sizeof(e->text), "%s", text ? text : rd_kafka_err2str(code));
    return e;
}

void rd_kafka_error_destroy(rd_kafka_error_t *e)
{
    free(e);
}

rd_kafka_resp_err_t rd_kafka_error_code(const rd_kafka_error_t *e)
{
    return e ? e->code : RD_KAFKA_RESP_ERR_NO_ERROR;
}

const char *rd_kafka_error_string(const rd_kafka_error_t *e)
{
    return e->text;
}

int rd_kafka_error_is_fatal(const rd_kafka_error_t *e)
{
    return e && e->fatal;
}

int rd_kafka_error_is_retriable(const rd_kafka_error_t *e)
{
    return e && e->retriable;
}

int rd_kafka_error_txn_requires_abort(const rd_kafka_error_t *e)
{
    return e && e->abortable;
}

const char *rd_kafka_err2str(rd_kafka_resp_err_t code)
{
    static const struct {
        rd_kafka_resp_err_t code;
        const char *text;
    } texts[] = {
        {RD_KAFKA_RESP_ERR_NO_ERROR, "ok"},
        {RD_KAFKA_RESP_ERR__TRANSPORT, "connection lost"},
        {RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN, "all brokers down"},
        {RD_KAFKA_RESP_ERR__TIMED_OUT, "timed out"},
        {RD_KAFKA_RESP_ERR__FENCED, "fenced"},
        {RD_KAFKA_RESP_ERR__STATE, "wrong state"},
        {RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, "old epoch"},
        {RD_KAFKA_RESP_ERR_INVALID_TXN_STATE, "invalid transaction state"},
        {RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS, "concurrent transactions"},
        {RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION, "illegal generation"},
        {RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID, "unknown member"},
        {RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID, "fenced instance"},
        {RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS, "rebalance in progress"},
        {RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT, "unstable offset"},
        {RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, "out of order sequence"},
    };
    static char other[32];

    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (texts[i].code == code)
            return texts[i].text;
    snprintf(other, sizeof(other), "error %d", code);
    return other;
}

rd_kafka_resp_err_t rd_kafka_fatal_error(rd_kafka_t *rk, char *text, size_t n)
{
    if (rk->fatal != RD_KAFKA_RESP_ERR_NO_ERROR && text)
        snprintf(text, n, "%s", rd_kafka_err2str(rk->fatal));
    return rk->fatal;
}

/* ---- topics, messages, headers ---- */

rd_kafka_topic_t *rd_kafka_topic_new(rd_kafka_t *rk, const char *name, rd_kafka_topic_conf_t *conf)
{
    rd_kafka_topic_t *t = xcalloc(1, sizeof(*t));

    (void)conf;
    t->rk = rk;
    t->topic = broker_topic(sim.broker, name);
    snprintf(t->name, sizeof(t->name), "%s", name);
    return t;
}

void rd_kafka_topic_destroy(rd_kafka_topic_t *t)
{
    free(t);
}

const char *rd_kafka_topic_name(const rd_kafka_topic_t *t)
{
    return t->name;
}

static rd_kafka_topic_t *handle_of(int topic)
{
    static struct rd_kafka_topic_s handles[TOPICS_MAX];

    handles[topic].topic = topic;
    snprintf(handles[topic].name, sizeof(handles[topic].name), "%s", sim.broker->topics[topic].name);
    return &handles[topic];
}

static void *unconst(const void *p)
{
    union {
        const void *in;
        void *out;
    } u = {.in = p};

    return u.out;
}

rd_kafka_message_t *client_message(int topic, int partition, int64_t offset, rd_kafka_resp_err_t code, const struct record *r)
{
    rd_kafka_message_t *m = xcalloc(1, sizeof(*m));

    *m = (rd_kafka_message_t){.err = code, .rkt = handle_of(topic), .partition = partition, .offset = offset};
    if (r) {
        m->payload = unconst(r->value.data);
        m->len = r->value.n;
        m->key = unconst(r->key.data);
        m->key_len = r->key.n;
        m->_private = unconst(r);
    }
    return m;
}

void rd_kafka_message_destroy(rd_kafka_message_t *m)
{
    free(m);
}

int64_t rd_kafka_message_timestamp(const rd_kafka_message_t *m, rd_kafka_timestamp_type_t *kind)
{
    const struct record *r = m->_private;

    *kind = r ? RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME : RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
    return r ? r->arrival_ms : -1;
}

struct rd_kafka_headers_s {
    struct record record;
};

rd_kafka_resp_err_t rd_kafka_message_headers(const rd_kafka_message_t *m, rd_kafka_headers_t **ret)
{
    const struct record *r = m->_private;

    if (r == NULL || r->n_headers == 0)
        return RD_KAFKA_RESP_ERR__NOENT;
    *ret = unconst(r);
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

rd_kafka_resp_err_t rd_kafka_header_get_last(const rd_kafka_headers_t *h, const char *name, const void **value, size_t *n)
{
    for (size_t i = h->record.n_headers; i-- > 0;)
        if (strcmp(h->record.headers[i].name, name) == 0) {
            *value = h->record.headers[i].value.data;
            *n = h->record.headers[i].value.n;
            return RD_KAFKA_RESP_ERR_NO_ERROR;
        }
    return RD_KAFKA_RESP_ERR__NOENT;
}

rd_kafka_resp_err_t rd_kafka_header_get_all(const rd_kafka_headers_t *h, size_t i, const char **name, const void **value,
                                            size_t *n)
{
    if (i >= h->record.n_headers)
        return RD_KAFKA_RESP_ERR__NOENT;
    *name = h->record.headers[i].name;
    *value = h->record.headers[i].value.data;
    *n = h->record.headers[i].value.n;
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

void rd_kafka_headers_destroy(rd_kafka_headers_t *h)
{
    (void)h;
}

/* ---- topics.c makes topics: nobody does here ---- */

#define NEVER(what) do { fprintf(stderr, "sim: %s is not modelled\n", what); abort(); } while (0)

rd_kafka_resp_err_t rd_kafka_AdminOptions_set_operation_timeout(rd_kafka_AdminOptions_t *o, int ms, char *text, size_t n)
{
    (void)o, (void)ms, (void)text, (void)n;
    NEVER("CreateTopics");
}

void rd_kafka_CreateTopics(rd_kafka_t *rk, rd_kafka_NewTopic_t **topics, size_t n, const rd_kafka_AdminOptions_t *o,
                           rd_kafka_queue_t *q)
{
    (void)rk, (void)topics, (void)n, (void)o, (void)q;
    NEVER("CreateTopics");
}

const rd_kafka_topic_result_t **rd_kafka_CreateTopics_result_topics(const rd_kafka_CreateTopics_result_t *r, size_t *n)
{
    (void)r, (void)n;
    NEVER("CreateTopics");
}

const rd_kafka_CreateTopics_result_t *rd_kafka_event_CreateTopics_result(rd_kafka_event_t *e)
{
    (void)e;
    NEVER("CreateTopics");
}

rd_kafka_NewTopic_t *rd_kafka_NewTopic_new(const char *name, int n, int replication, char *text, size_t size)
{
    (void)name, (void)n, (void)replication, (void)text, (void)size;
    NEVER("CreateTopics");
}

void rd_kafka_NewTopic_destroy(rd_kafka_NewTopic_t *t)
{
    (void)t;
}

rd_kafka_resp_err_t rd_kafka_NewTopic_set_config(rd_kafka_NewTopic_t *t, const char *name, const char *value)
{
    (void)t, (void)name, (void)value;
    NEVER("CreateTopics");
}

rd_kafka_resp_err_t rd_kafka_topic_result_error(const rd_kafka_topic_result_t *r)
{
    (void)r;
    NEVER("CreateTopics");
}

const char *rd_kafka_topic_result_error_string(const rd_kafka_topic_result_t *r)
{
    (void)r;
    NEVER("CreateTopics");
}

const char *rd_kafka_topic_result_name(const rd_kafka_topic_result_t *r)
{
    (void)r;
    NEVER("CreateTopics");
}

const char *rd_kafka_ConfigEntry_name(const rd_kafka_ConfigEntry_t *e)
{
    (void)e;
    NEVER("configurations");
}

const char *rd_kafka_ConfigEntry_value(const rd_kafka_ConfigEntry_t *e)
{
    (void)e;
    NEVER("configurations");
}

const rd_kafka_ConfigEntry_t **rd_kafka_ConfigResource_configs(const rd_kafka_ConfigResource_t *c, size_t *n)
{
    (void)c, (void)n;
    NEVER("configurations");
}

rd_kafka_resp_err_t rd_kafka_ConfigResource_error(const rd_kafka_ConfigResource_t *c)
{
    (void)c;
    NEVER("configurations");
}

const char *rd_kafka_ConfigResource_name(const rd_kafka_ConfigResource_t *c)
{
    (void)c;
    NEVER("configurations");
}
