/* Making topics: the operator's right alone. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "kafka/topics.h"

/* What a topic must have, and why. */
struct must {
    const char *name, *value, *why;
};
#define MUSTS_MAX 3

/* text holds the retention. */
static size_t musts_of(const struct topic_spec *spec, char text[24], struct must ret[MUSTS_MAX])
{
    size_t n = 0;

    ret[n++] = (struct must){"message.timestamp.type", "LogAppendTime", "with event time as Kafka's timestamp, retention deletes history"};
    if (spec->compact)
        ret[n++] = (struct must){"cleanup.policy", "compact", "retention deletes the last value of a key"};
    if (spec->retention_ms != 0) {
        snprintf(text, 24, "%" PRId64, spec->retention_ms);
        ret[n++] = (struct must){"retention.ms", text, "the pipeline file says how long it is kept"};
    }
    return n;
}

static rd_kafka_NewTopic_t *new_topic(const struct topic_spec *spec, struct error *err)
{
    struct must musts[MUSTS_MAX];
    char why[256], text[24];
    /* replication -1: the broker's default */
    rd_kafka_NewTopic_t *t = rd_kafka_NewTopic_new(spec->name, spec->partitions, -1, why, sizeof(why));

    if (t == NULL) {
        (void)err_set(err, ERR_FATAL, "topic %s with %d partitions: %s", spec->name, spec->partitions, why);
        return NULL;
    }
    for (size_t n = musts_of(spec, text, musts), i = 0; i < n; i++)
        (void)rd_kafka_NewTopic_set_config(t, musts[i].name, musts[i].value);
    return t;
}

static enum status created(rd_kafka_event_t *event, const char *brokers, struct error *err)
{
    rd_kafka_resp_err_t code = event == NULL ? RD_KAFKA_RESP_ERR__TIMED_OUT : rd_kafka_event_error(event);
    const rd_kafka_topic_result_t **results;
    size_t n;

    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return conf_explain(err, code, brokers, "make topics");
    results = rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &n);
    for (size_t i = 0; i < n; i++) {
        char what[600];

        code = rd_kafka_topic_result_error(results[i]);
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR || code == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
            continue;
        snprintf(what, sizeof(what), "make topic %s (%s)", rd_kafka_topic_result_name(results[i]),
                 rd_kafka_topic_result_error_string(results[i]));
        return conf_explain(err, code, brokers, what);
    }
    return OK;
}

static enum status create(rd_kafka_t *client, const char *brokers, const struct topic_spec *const *missing, size_t n,
                          struct error *err)
{
    rd_kafka_NewTopic_t **topics = xcalloc(n, sizeof(*topics));
    enum status s = OK;

    for (size_t i = 0; i < n && s == OK; i++) {
        topics[i] = new_topic(missing[i], err);
        if (topics[i] == NULL)
            s = ERR_FATAL;
    }
    if (s == OK) {
        AUTO(koptions) options = rd_kafka_AdminOptions_new(client, RD_KAFKA_ADMIN_OP_CREATETOPICS);
        AUTO(kqueue) queue = rd_kafka_queue_new(client);
        AUTO(kevent) event = NULL;

        (void)rd_kafka_AdminOptions_set_operation_timeout(options, START_TIMEOUT_MS, NULL, 0);
        (void)rd_kafka_AdminOptions_set_request_timeout(options, 2 * START_TIMEOUT_MS, NULL, 0);
        rd_kafka_CreateTopics(client, topics, n, options, queue);
        event = rd_kafka_queue_poll(queue, 3 * START_TIMEOUT_MS);
        s = created(event, brokers, err);
    }
    for (size_t i = 0; i < n; i++)
        if (topics[i] != NULL)
            rd_kafka_NewTopic_destroy(topics[i]);
    free(topics);
    return s;
}

static bool is_denied(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED || code == RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED;
}

static const struct topic_spec *spec_of(const struct topic_spec *const *specs, size_t n, const char *topic)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(specs[i]->name, topic) == 0)
            return specs[i];
    return NULL;
}

static enum status check_entry(const struct topic_spec *spec, const rd_kafka_ConfigEntry_t *entry, const char *brokers, struct error *err)
{
    const char *name = rd_kafka_ConfigEntry_name(entry), *value = rd_kafka_ConfigEntry_value(entry);
    struct must musts[MUSTS_MAX];
    char text[24];

    for (size_t n = musts_of(spec, text, musts), i = 0; i < n; i++)
        if (strcmp(musts[i].name, name) == 0 && value != NULL && strcmp(value, musts[i].value) != 0)
            return err_set(err, ERR_FATAL,
                           "topic %s at %s has %s=%s, expected %s: %s; change it with kafka-configs.sh --alter --topic %s "
                           "--add-config %s=%s", spec->name, brokers, name, value, musts[i].value, musts[i].why, spec->name, name,
                           musts[i].value);
    return OK;
}

/* A stage's principal need not be allowed to look: the operator's command does. */
static enum status check_config(const rd_kafka_ConfigResource_t *resource, const struct topic_spec *const *specs, size_t n_specs,
                                const char *brokers, struct error *err)
{
    const char *name = rd_kafka_ConfigResource_name(resource);
    const struct topic_spec *spec = spec_of(specs, n_specs, name);
    const rd_kafka_ConfigEntry_t **entries;
    rd_kafka_resp_err_t code = rd_kafka_ConfigResource_error(resource);
    size_t n;

    if (spec == NULL || is_denied(code))
        return OK;
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        char what[300];

        snprintf(what, sizeof(what), "configuration of topic %s", name);
        return conf_explain(err, code, brokers, what);
    }
    entries = rd_kafka_ConfigResource_configs(resource, &n);
    for (size_t i = 0; i < n; i++)
        if (check_entry(spec, entries[i], brokers, err) != OK)
            return err->status;
    return OK;
}

static enum status check_configs(rd_kafka_t *client, const char *brokers, const struct topic_spec *const *present,
                                 size_t n, struct error *err)
{
    AUTO(koptions) options = rd_kafka_AdminOptions_new(client, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
    AUTO(kqueue) queue = rd_kafka_queue_new(client);
    AUTO(kevent) event = NULL;
    rd_kafka_ConfigResource_t **ask = xcalloc(n, sizeof(*ask));
    const rd_kafka_ConfigResource_t **got;
    rd_kafka_resp_err_t code;
    enum status s = OK;
    size_t n_got;

    for (size_t i = 0; i < n; i++)
        ask[i] = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, present[i]->name);
    (void)rd_kafka_AdminOptions_set_request_timeout(options, START_TIMEOUT_MS, NULL, 0);
    rd_kafka_DescribeConfigs(client, ask, n, options, queue);
    rd_kafka_ConfigResource_destroy_array(ask, n);
    free(ask);
    event = rd_kafka_queue_poll(queue, START_TIMEOUT_MS + 1000);
    code = event == NULL ? RD_KAFKA_RESP_ERR__TIMED_OUT : rd_kafka_event_error(event);
    if (is_denied(code))
        return OK;
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return conf_explain(err, code, brokers, "configuration of topics");
    got = rd_kafka_DescribeConfigs_result_resources(rd_kafka_event_DescribeConfigs_result(event), &n_got);
    for (size_t i = 0; i < n_got && s == OK; i++)
        s = check_config(got[i], present, n, brokers, err);
    return s;
}

/* A topic that was just made is not known to every broker at once. */
static enum status await(rd_kafka_t *client, const char *brokers, const struct topic_spec *spec, struct error *err)
{
    int64_t deadline = clock_mono_ms() + START_TIMEOUT_MS;
    int n = 0;

    while (n == 0) {
        enum status s = conf_partitions(client, brokers, spec->name, START_TIMEOUT_MS, &n, err);

        if (s != OK)
            return s;
        if (n == 0 && clock_mono_ms() > deadline)
            return err_set(err, ERR_FATAL, "topic %s was made but does not appear at %s", spec->name, brokers);
    }
    return OK;
}

/* Which are there, with the partitions that they should have, and which are not. */
static enum status sort_out(rd_kafka_t *client, const char *brokers, const struct topic_spec *specs, size_t n,
                            const struct topic_spec **missing, size_t *ret_n_missing, struct error *err)
{
    const struct topic_spec **present = xcalloc(n + 1, sizeof(*present));
    size_t n_present = 0;
    enum status s = OK;

    *ret_n_missing = 0;
    for (size_t i = 0; s == OK && i < n; i++) {
        int have = 0;

        s = conf_partitions(client, brokers, specs[i].name, START_TIMEOUT_MS, &have, err);
        if (s != OK)
            break;
        if (have == 0)
            missing[(*ret_n_missing)++] = &specs[i];
        else if (have == specs[i].partitions)
            present[n_present++] = &specs[i];
        else
            s = err_set(err, ERR_FATAL,
                        "topic %s has %d partitions at %s, the pipeline says %d: change the pipeline file, or delete the "
                        "topic",
                        specs[i].name, have, brokers, specs[i].partitions);
    }
    if (s == OK && n_present > 0)
        s = check_configs(client, brokers, present, n_present, err);
    free(present);
    return s;
}

static enum status settle(rd_kafka_t *client, const char *brokers, const struct topic_spec *specs, size_t n, bool make,
                          struct error *err)
{
    const struct topic_spec **missing = xcalloc(n + 1, sizeof(*missing));
    size_t n_missing = 0;
    enum status s = sort_out(client, brokers, specs, n, missing, &n_missing, err);

    if (s == OK && n_missing > 0)
        s = make ? create(client, brokers, missing, n_missing, err)
                 : err_set(err, ERR_FATAL, "topic %s does not exist at %s: make it with `millrace up`", missing[0]->name, brokers);
    for (size_t i = 0; s == OK && i < n_missing; i++)
        s = await(client, brokers, missing[i], err);
    free(missing);
    return s;
}

static enum status ask(const char *brokers, const struct pipeline *p, const struct topic_spec *specs, size_t n, bool make,
                       struct error *err)
{
    rd_kafka_t *client = NULL;
    enum status s = conf_asker(brokers, p, /* group= */ NULL, &client, err);

    if (s == OK)
        s = settle(client, brokers, specs, n, make, err);
    if (client != NULL)
        rd_kafka_destroy(client);
    return s;
}

enum status topics_check(rd_kafka_t *client, const char *brokers, const struct topic_spec *specs, size_t n, struct error *err)
{
    return settle(client, brokers, specs, n, /* make= */ false, err);
}

enum status kafka_topics_ensure(const char *brokers, const struct pipeline *p, const struct topic_spec *specs, size_t n,
                                struct error *err)
{
    return ask(brokers, p, specs, n, /* make= */ true, err);
}

enum status kafka_topics_check(const char *brokers, const struct pipeline *p, const struct topic_spec *specs, size_t n,
                               struct error *err)
{
    return ask(brokers, p, specs, n, /* make= */ false, err);
}
