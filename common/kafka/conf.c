#define _GNU_SOURCE
#include "kafka/conf.h"

#include <ctype.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "kafka/kafka.h"

#define ENV_PREFIX "MILLRACE_KAFKA_"
#define LEVEL_ERROR 3

/* What failed last, below the calls: whoever says that no Kafka answers says this too. */
static pthread_mutex_t why_lock = PTHREAD_MUTEX_INITIALIZER;
static char why_last[160];

/* "[thrd:a:1/bootstrap]: a:1/bootstrap: Connect to ipv4#1.2.3.4:1 failed: Connection refused (after 0ms in state CONNECT)" */
static void keep_why(const char *text)
{
    const char *begin = strstr(text, "]: "), *colon;

    begin = begin == NULL ? text : begin + 3;
    colon = strstr(begin, ": ");
    begin = colon == NULL ? begin : colon + 2;
    pthread_mutex_lock(&why_lock);
    snprintf(why_last, sizeof(why_last), "%.*s", (int)strcspn(begin, "("), begin);
    for (size_t n = strlen(why_last); n > 0 && why_last[n - 1] == ' '; n--)
        why_last[n - 1] = '\0';
    pthread_mutex_unlock(&why_lock);
}

void conf_why(char ret_text[CONF_WHY_CHARS])
{
    pthread_mutex_lock(&why_lock);
    snprintf(ret_text, CONF_WHY_CHARS, "%s", why_last[0] ? why_last : "no answer");
    pthread_mutex_unlock(&why_lock);
}

/* librdkafka says "connection refused" each second on its threads: we say it in our own words, once. */
static void on_log(const rd_kafka_t *client, int level, const char *facility, const char *text)
{
    static _Atomic int64_t last = INT64_MIN / 2;
    int64_t now = clock_mono_ms(), before = atomic_load(&last);

    (void)client;
    if (strstr(text, "not attempted") != NULL || strstr(text, "brokers are down") != NULL)
        return; /* another partition, or connection, has a line of its own that says why */
    if (strcmp(facility, "FAIL") == 0 || strcmp(facility, "ERROR") == 0 || strcmp(facility, "ADDPARTS") == 0)
        keep_why(text);
    else if (strcmp(facility, "TXNERR") == 0 || strcmp(facility, "FATAL") == 0)
        return; /* the call that it is about says it */
    else if (level > LEVEL_ERROR) /* only when "debug" was asked for */
        log_info("kafka", "facility=%s text=\"%s\"", facility, text);
    else if (now - before >= 60000 && atomic_compare_exchange_strong(&last, &before, now))
        log_warn("kafka", "facility=%s text=\"%s\"", facility, text);
}

void conf_set(struct conf *c, const char *property, const char *value)
{
    char why[256];

    if (rd_kafka_conf_set(c->conf, property, value, why, sizeof(why)) != RD_KAFKA_CONF_OK && c->fault[0] == '\0')
        snprintf(c->fault, sizeof(c->fault), "kafka property '%s': %s", property, why);
}

void conf_try(struct conf *c, const char *property, const char *value)
{
    char why[256];

    (void)rd_kafka_conf_set(c->conf, property, value, why, sizeof(why));
}

/* A property of the other kind of client is not a fault: one "kafka" object serves both. */
static void set_given(struct conf *c, const char *property, const char *value)
{
    char why[256];

    switch (rd_kafka_conf_set(c->conf, property, value, why, sizeof(why))) {
    case RD_KAFKA_CONF_OK:
        break;
    case RD_KAFKA_CONF_UNKNOWN:
        if (c->fault[0] == '\0')
            snprintf(c->fault, sizeof(c->fault), "there is no kafka property '%s' (librdkafka's names are meant)",
                     property);
        break;
    case RD_KAFKA_CONF_INVALID: /* the text may hold the value, which may be a secret */
        if (c->fault[0] == '\0')
            snprintf(c->fault, sizeof(c->fault), "kafka property '%s': its value is not valid", property);
        break;
    }
}

static void set_from_env(struct conf *c)
{
    for (char **e = environ; *e != NULL; e++) {
        char property[128];
        const char *name = *e + strlen(ENV_PREFIX), *eq;
        size_t n;

        if (strncmp(*e, ENV_PREFIX, strlen(ENV_PREFIX)) != 0 || (eq = strchr(name, '=')) == NULL)
            continue;
        n = (size_t)(eq - name);
        if (n == 0 || n >= sizeof(property))
            continue;
        for (size_t i = 0; i < n; i++)
            property[i] = name[i] == '_' ? '.' : (char)tolower((unsigned char)name[i]);
        property[n] = '\0';
        set_given(c, property, eq + 1);
    }
}

void conf_begin(struct conf *c, enum conf_kind kind, const char *brokers)
{
    static const struct setting both[] = {
        {"client.id", "millrace"},
        {"log_level", "3"},
        {"enable.metrics.push", "false"}, /* asserts in some versions, and nobody reads it */
        {"socket.nagle.disable", "true"},
        {"reconnect.backoff.ms", "100"},
        {"reconnect.backoff.max.ms", "2000"},
        {"topic.metadata.refresh.interval.ms", "60000"},
        {"allow.auto.create.topics", "false"},
        {"broker.address.family", "any"},
        /* else the client forgets a broker that it cannot reach, but not that this one coordinates a group: to send offsets
         * to a transaction then waits for ever (librdkafka 5511) */
        {"metadata.recovery.strategy", "none"},
    };

    *c = (struct conf){.conf = rd_kafka_conf_new()};
    rd_kafka_conf_set_log_cb(c->conf, on_log);
    for (size_t i = 0; i < ARRAY_LEN(both); i++) {
        if (kind == CONF_PRODUCER && strcmp(both[i].name, "allow.auto.create.topics") == 0)
            continue;
        conf_try(c, both[i].name, both[i].value);
    }
    conf_set(c, "bootstrap.servers", brokers);
}

static void set_kib(struct conf *c, const char *property, size_t bytes)
{
    char text[24];

    snprintf(text, sizeof(text), "%zu", bytes / 1024);
    conf_try(c, property, text);
}

void conf_stage(struct conf *c, enum conf_kind kind, const struct memory *memory)
{
    static const struct setting consumer[] = {
        {"session.timeout.ms", "10000"},
        {"heartbeat.interval.ms", "1000"},
        {"queued.min.messages", "1500"}, /* what librdkafka keeps of a small record besides is ten times its bytes */
        {"fetch.max.bytes", "1048576"},
        {"fetch.message.max.bytes", "131072"}, /* of a partition: however many records that is, all lie apart in memory at once */
        {"fetch.queue.backoff.ms", "2"}, /* the default stalls a second whenever the queue is full */
        {"fetch.wait.max.ms", "100"},
    };
    static const struct setting producer[] = {
        {"linger.ms", "20"}, /* a commit flushes, and before it nobody sees them; at 1 each record woke the sending thread */
        {"retry.backoff.ms", "10"}, /* doubled each time: while the former transaction is being ended, the next one's requests are asked again */
        {"queue.buffering.max.messages", "500000"},
        {"compression.codec", "lz4"},
    };
    const struct setting *of = kind == CONF_CONSUMER ? consumer : producer;
    size_t n = kind == CONF_CONSUMER ? ARRAY_LEN(consumer) : ARRAY_LEN(producer);

    for (size_t i = 0; i < n; i++)
        conf_try(c, of[i].name, of[i].value);
    if (kind == CONF_CONSUMER)
        set_kib(c, "queued.max.messages.kbytes", memory->fetch);
    else
        set_kib(c, "queue.buffering.max.kbytes", memory->producer);
}

void conf_given(struct conf *c, const struct pipeline *p)
{
    for (size_t i = 0; p != NULL && i < p->n_kafka; i++)
        set_given(c, p->kafka[i].name, p->kafka[i].value);
    set_from_env(c);
}

enum status conf_client(struct conf *c, enum conf_kind kind, rd_kafka_t **ret_client, struct error *err)
{
    char why[256];
    rd_kafka_t *client;

    if (c->fault[0] != '\0') {
        rd_kafka_conf_destroy(c->conf);
        return err_set(err, ERR_FATAL, "%s", c->fault);
    }
    client = rd_kafka_new(kind == CONF_CONSUMER ? RD_KAFKA_CONSUMER : RD_KAFKA_PRODUCER, c->conf, why, sizeof(why));
    if (client == NULL) {
        rd_kafka_conf_destroy(c->conf);
        return err_set(err, ERR_FATAL, "make a Kafka client: %s", why);
    }
    *ret_client = client;
    return OK;
}

enum status conf_asker(const char *brokers, const struct pipeline *p, const char *group, rd_kafka_t **ret_client, struct error *err)
{
    struct conf c;

    conf_begin(&c, CONF_CONSUMER, brokers); /* a producer's questions make topics, where the broker does so by itself */
    conf_given(&c, p);
    if (group) {
        conf_set(&c, "group.id", group);
        conf_set(&c, "isolation.level", "read_uncommitted");
    }
    return conf_client(&c, CONF_CONSUMER, ret_client, err);
}

static enum status not_ours(struct error *err, const char *what, const char *brokers, const char *why)
{
    return err_set(err, ERR_FATAL,
                   "%s: Kafka at %s does not accept who we are (%s): look at the pipeline's \"kafka\" settings and "
                   "MILLRACE_KAFKA_SASL_PASSWORD",
                   what, brokers, why);
}

/* No entry, or unknown partition: librdkafka's words for a partition that is there and that nobody leads. */
static bool is_old_news(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR__NOENT || code == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION ||
           code == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE || code == RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION ||
           code == RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH || code == RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH;
}

enum status conf_explain(struct error *err, rd_kafka_resp_err_t code, const char *brokers, const char *what)
{
    char why[CONF_WHY_CHARS];

    switch (code) {
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__RESOLVE:
        conf_why(why);
        if (strstr(why, "uthentication") != NULL) /* librdkafka tries again for ever, all the same */
            return not_ours(err, what, brokers, why);
        return err_set(err, ERR_RETRY,
                       "%s: no Kafka answers at %s within 10 s (%s): start one (`make kafka`) or give --brokers", what,
                       brokers, why);
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
        return not_ours(err, what, brokers, rd_kafka_err2str(code));
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
        return err_set(err, ERR_FATAL, "%s: Kafka at %s does not allow it: this principal lacks an ACL of that topic: Read of "
                       "inputs, %s and its changelog; Write of outputs, dead letters and its changelog", what, brokers,
                       SCHEMAS_TOPIC);
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
        return err_set(err, ERR_FATAL, "%s: Kafka at %s does not allow it: this principal lacks the ACL Read of that group", what,
                       brokers);
    case RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
        return err_set(err, ERR_FATAL, "%s: Kafka at %s does not allow it: this principal lacks the ACL Write of that "
                       "transactional id", what, brokers);
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
        return err_set(err, ERR_FATAL, "%s: Kafka at %s does not allow it: this principal lacks an ACL of the cluster", what,
                       brokers);
    default:
        return err_set(err, is_old_news(code) ? ERR_RETRY : ERR_FATAL, "%s: %s (Kafka at %s)", what,
                       rd_kafka_err2str(code), brokers);
    }
}

enum status conf_partitions(rd_kafka_t *client, const char *brokers, const char *topic, int timeout_ms, int *ret_n,
                            struct error *err)
{
    const struct rd_kafka_metadata *meta = NULL;
    rd_kafka_resp_err_t code;
    int64_t deadline = clock_mono_ms() + timeout_ms;
    int n = -1;

    do {
        rd_kafka_topic_t *handle = rd_kafka_topic_new(client, topic, NULL);

        if (handle == NULL)
            return err_set(err, ERR_FATAL, "'%s' is not a topic's name", topic);
        code = rd_kafka_metadata(client, /* all_topics= */ 0, handle, &meta, timeout_ms);
        rd_kafka_topic_destroy(handle);
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
            code = meta->topic_cnt == 1 ? meta->topics[0].err : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
            n = meta->topic_cnt == 1 ? meta->topics[0].partition_cnt : 0;
            rd_kafka_metadata_destroy(meta);
        }
    } while (code == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE && clock_mono_ms() < deadline);
    if (code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART || code == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC)
        n = 0;
    else if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        char what[300];

        snprintf(what, sizeof(what), "topic %s", topic);
        return conf_explain(err, code, brokers, what);
    }
    *ret_n = n;
    return OK;
}

bool conf_again(rd_kafka_t *client, const char *brokers, const char *topic, rd_kafka_resp_err_t code, int64_t deadline_ms)
{
    struct error ignored;
    int known;

    return is_old_news(code) && clock_mono_ms() < deadline_ms &&
           conf_partitions(client, brokers, topic, START_TIMEOUT_MS, &known, &ignored) == OK;
}

static enum status take_ends(rd_kafka_event_t *event, const int *partitions, size_t n, int64_t *ret_ends,
                             rd_kafka_resp_err_t *ret_code)
{
    const rd_kafka_ListOffsetsResultInfo_t **infos;
    size_t n_infos;

    *ret_code = rd_kafka_event_error(event);
    if (*ret_code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return ERR_RETRY;
    infos = rd_kafka_ListOffsets_result_infos(rd_kafka_event_ListOffsets_result(event), &n_infos);
    for (size_t i = 0; i < n; i++)
        ret_ends[i] = -1;
    for (size_t i = 0; i < n_infos; i++) {
        const rd_kafka_topic_partition_t *tp = rd_kafka_ListOffsetsResultInfo_topic_partition(infos[i]);

        if (tp->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            *ret_code = tp->err;
            return ERR_RETRY;
        }
        for (size_t j = 0; j < n; j++)
            if (partitions[j] == tp->partition)
                ret_ends[j] = tp->offset;
    }
    *ret_code = RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE; /* who is left out of the answer had nobody who could be asked */
    for (size_t i = 0; i < n; i++)
        if (ret_ends[i] < 0)
            return ERR_RETRY;
    return OK;
}

enum status conf_ends(rd_kafka_t *client, const char *brokers, const char *topic, const int *partitions, size_t n,
                      int64_t *ret_ends, struct error *err)
{
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR__TIMED_OUT;
    int64_t deadline = clock_mono_ms() + START_TIMEOUT_MS;
    char what[300];

    do {
        AUTO(tplist) list = rd_kafka_topic_partition_list_new((int)n);
        AUTO(koptions) options = rd_kafka_AdminOptions_new(client, RD_KAFKA_ADMIN_OP_ANY);
        AUTO(kqueue) queue = rd_kafka_queue_new(client);
        AUTO(kevent) event = NULL;

        /* read_uncommitted is the API's default isolation: that is what is meant */
        (void)rd_kafka_AdminOptions_set_request_timeout(options, START_TIMEOUT_MS, NULL, 0);
        for (size_t i = 0; i < n; i++)
            rd_kafka_topic_partition_list_add(list, topic, partitions[i])->offset = RD_KAFKA_OFFSET_SPEC_LATEST;
        rd_kafka_ListOffsets(client, list, options, queue);
        event = rd_kafka_queue_poll(queue, START_TIMEOUT_MS + 1000);
        if (event != NULL && take_ends(event, partitions, n, ret_ends, &code) == OK)
            return OK;
    } while (conf_again(client, brokers, topic, code, deadline));
    snprintf(what, sizeof(what), "the end of topic %s", topic);
    return conf_explain(err, code, brokers, what);
}
