#include "kafka/kafka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kafka/conf.h"

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
    enum status s = conf_asker(brokers, p, /* group= */ NULL, &client, err);

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
