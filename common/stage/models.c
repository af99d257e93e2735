#include "stage/models.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "stage/kafka.h"
#include "wire/frame.h"

struct models {
    struct sign_keys *trusted;
    struct model_store *store;
    struct reader *reader;
};

void models_key_path(const char *file, char *ret_path, size_t cap)
{
    const char *given = getenv("MILLRACE_KEYS"), *home = getenv("HOME");

    if (given && given[0])
        snprintf(ret_path, cap, "%s/%s", given, file);
    else
        snprintf(ret_path, cap, "%s/.millrace/keys/%s", home ? home : ".", file);
}

static void take(struct models *m, const struct reader_msg *msg)
{
    struct error err = {0};
    struct frame f = {0};
    enum status st = OK;

    if (msg->mark.data)
        return;
    if (msg->value.data)
        st = frame_parse(msg->value, &f, &err);
    if (st == OK)
        st = model_store_add(m->store, msg->key, f.body, &err);
    if (st != OK)
        log_warn("model_refused", "topic=%s partition=%d offset=%" PRId64 " reason=\"%s\"", MODELS_TOPIC, msg->partition,
                 msg->offset, err.text);
}

/* Until nothing comes within timeout_ms and, when to_end, all that was there has come. */
static enum status follow(struct models *m, bool to_end, size_t *ret_n, struct error *err)
{
    struct reader_msg msg;
    bool end = false;

    for (*ret_n = 0;; (*ret_n)++) {
        if (to_end && reader_caught_up(m->reader))
            return OK;
        if (reader_next(m->reader, to_end ? 100 : 0, &msg, &end, err) != OK)
            return err_wrap(err, "follow %s", MODELS_TOPIC);
        if (end || (msg.partition < 0 && !to_end))
            return OK;
        if (msg.partition >= 0)
            take(m, &msg);
    }
}

enum status models_open(const char *brokers, const struct pipeline *p, const char *name, const char *feature_set,
                        struct models **ret_models, struct error *err)
{
    struct models *m = xcalloc(1, sizeof(*m));
    char path[4096];
    size_t taken;
    int n = 0;

    models_key_path("trusted", path, sizeof(path));
    if (sign_keys_load(path, &m->trusted, err) != OK || reader_new(brokers, p, &m->reader, err) != OK ||
        reader_partitions(m->reader, MODELS_TOPIC, &n, err) != OK)
        goto failed;
    if (n == 0) {
        err_set(err, ERR_FATAL, "no topic %s: 'millrace up' makes it", MODELS_TOPIC);
        goto failed;
    }
    m->store = model_store_new(m->trusted);
    if (feature_set)
        model_store_expect(m->store, name, feature_set);
    for (int i = 0; i < n; i++) {
        int64_t low, high;

        if (reader_bounds(m->reader, MODELS_TOPIC, i, &low, &high, err) != OK ||
            reader_add(m->reader, MODELS_TOPIC, i, low, -1, err) != OK)
            goto failed;
    }
    if (follow(m, true, &taken, err) != OK)
        goto failed;
    *ret_models = m;
    return OK;
failed:
    models_free(m);
    return err->status;
}

enum status models_turn(struct models *m, size_t *ret_n, struct error *err)
{
    return follow(m, false, ret_n, err);
}

const struct model_store *models_store(const struct models *m)
{
    return m->store;
}

void models_free(struct models *m)
{
    if (m == NULL)
        return;
    reader_free(m->reader);
    model_store_free(m->store);
    sign_keys_free(m->trusted);
    free(m);
}
