#include "stage/kafka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stage/conf.h"

#define BOOTSTRAP_FILE "build/kafka/bootstrap"

const char *kafka_brokers(const char *given)
{
    static char line[256];
    const char *env = getenv("MILLRACE_BROKERS");
    FILE *f;

    if (given != NULL)
        return given;
    if (env != NULL && env[0] != '\0')
        return env;
    f = fopen(BOOTSTRAP_FILE, "r");
    if (f != NULL) {
        bool read = fgets(line, sizeof(line), f) != NULL;

        fclose(f);
        line[strcspn(line, "\r\n")] = '\0';
        if (read && line[0] != '\0')
            return line;
    }
    return "localhost:9092";
}

/* MurmurHash2, 32 bit, seed 0x9747b28c, as org.apache.kafka.common.utils.Utils.murmur2. */
static uint32_t murmur2(struct view key)
{
    const uint32_t m = 0x5bd1e995;
    uint32_t h = 0x9747b28c ^ (uint32_t)key.n;
    size_t i;

    for (i = 0; i + 4 <= key.n; i += 4) {
        uint32_t k = (uint32_t)key.data[i] | (uint32_t)key.data[i + 1] << 8 | (uint32_t)key.data[i + 2] << 16 |
                     (uint32_t)key.data[i + 3] << 24;

        k *= m;
        k ^= k >> 24;
        k *= m;
        h *= m;
        h ^= k;
    }
    if (key.n - i >= 3)
        h ^= (uint32_t)key.data[i + 2] << 16;
    if (key.n - i >= 2)
        h ^= (uint32_t)key.data[i + 1] << 8;
    if (key.n - i >= 1) {
        h ^= key.data[i];
        h *= m;
    }
    h ^= h >> 13;
    h *= m;
    h ^= h >> 15;
    return h;
}

int kafka_partition(struct view key, int n_partitions)
{
    return (int)((murmur2(key) & 0x7fffffff) % (uint32_t)n_partitions);
}

enum status kafka_topics(const char *brokers, const struct pipeline *p, struct arena *arena, const char ***ret_names,
                         struct error *err)
{
    const struct rd_kafka_metadata *meta = NULL;
    rd_kafka_t *client = NULL;
    const char **names;
    rd_kafka_resp_err_t code;
    enum status s = conf_asker(brokers, p, &client, err);

    if (s != OK)
        return s;
    code = rd_kafka_metadata(client, /* all_topics= */ 1, NULL, &meta, START_TIMEOUT_MS);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        rd_kafka_destroy(client);
        return conf_explain(err, code, brokers, "list the topics");
    }
    names = arena_alloc(arena, ((size_t)meta->topic_cnt + 1) * sizeof(*names));
    for (int i = 0; i < meta->topic_cnt; i++)
        names[i] = arena_strdup(arena, meta->topics[i].topic);
    names[meta->topic_cnt] = NULL;
    rd_kafka_metadata_destroy(meta);
    rd_kafka_destroy(client);
    *ret_names = names;
    return OK;
}

static enum status group_offsets(rd_kafka_t *client, const char *brokers, const char *group, const char *topic, int n,
                                 int64_t *ret_committed, struct error *err)
{
    AUTO(tplist) list = rd_kafka_topic_partition_list_new(n);
    AUTO(koptions) options = rd_kafka_AdminOptions_new(client, RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS);
    AUTO(kqueue) queue = rd_kafka_queue_new(client);
    AUTO(kevent) event = NULL;
    rd_kafka_ListConsumerGroupOffsets_t *ask;
    const rd_kafka_group_result_t **groups;
    size_t n_groups = 0;
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR__TIMED_OUT;
    char what[300];

    for (int i = 0; i < n; i++) {
        ret_committed[i] = -1;
        rd_kafka_topic_partition_list_add(list, topic, i);
    }
    (void)rd_kafka_AdminOptions_set_request_timeout(options, START_TIMEOUT_MS, NULL, 0);
    ask = rd_kafka_ListConsumerGroupOffsets_new(group, list);
    rd_kafka_ListConsumerGroupOffsets(client, &ask, 1, options, queue);
    rd_kafka_ListConsumerGroupOffsets_destroy(ask);
    event = rd_kafka_queue_poll(queue, START_TIMEOUT_MS + 1000);
    if (event != NULL && (code = rd_kafka_event_error(event)) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        groups = rd_kafka_ListConsumerGroupOffsets_result_groups(
            rd_kafka_event_ListConsumerGroupOffsets_result(event), &n_groups);
        const rd_kafka_topic_partition_list_t *got =
            n_groups == 1 ? rd_kafka_group_result_partitions(groups[0]) : NULL;

        for (int i = 0; got != NULL && i < got->cnt; i++)
            if (got->elems[i].partition >= 0 && got->elems[i].partition < n && got->elems[i].offset >= 0)
                ret_committed[got->elems[i].partition] = got->elems[i].offset;
        return OK;
    }
    snprintf(what, sizeof(what), "committed offsets of group %s", group);
    return conf_explain(err, code, brokers, what);
}

enum status kafka_lag(const char *brokers, const struct pipeline *p, const char *group, const char *topic, int n,
                      int64_t *ret_committed, int64_t *ret_end, struct error *err)
{
    rd_kafka_t *client = NULL;
    int *partitions;
    enum status s = conf_asker(brokers, p, &client, err);

    if (s != OK)
        return s;
    partitions = xcalloc((size_t)n + 1, sizeof(*partitions));
    for (int i = 0; i < n; i++)
        partitions[i] = i;
    s = group_offsets(client, brokers, group, topic, n, ret_committed, err);
    if (s == OK)
        s = conf_ends(client, brokers, topic, partitions, (size_t)n, ret_end, err);
    free(partitions);
    rd_kafka_destroy(client);
    return s;
}
