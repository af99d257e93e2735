#include "stage/models.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "kafka/kafka.h"
#include "wire/container.h"
#include "wire/frame.h"
#include "wire/keyed.h"

struct models {
    struct sign_keys *trusted;
    struct model_store *store;
    struct reader *reader; /* NULL: from a file, which does not grow */
};

void models_key_path(const char *file, char *ret_path, size_t cap)
{
    const char *given = getenv("MILLRACE_KEYS"), *home = getenv("HOME");

    if (given && given[0])
        snprintf(ret_path, cap, "%s/%s", given, file);
    else
        snprintf(ret_path, cap, "%s/.millrace/keys/%s", home ? home : ".", file);
}

/* mkdir -p, private. */
static enum status make_folder(const char *path, struct error *err)
{
    char part[PATH_MAX];

    snprintf(part, sizeof(part), "%s", path);
    for (char *c = part + 1;; c++) {
        bool end = *c == '\0';

        if (!end && *c != '/')
            continue;
        *c = '\0';
        if (mkdir(part, 0700) != 0 && errno != EEXIST)
            return err_set(err, ERR_FATAL, "make the folder %s: %s", part, strerror(errno));
        if (end)
            return OK;
        *c = '/';
    }
}

enum status models_keys_make(struct error *err)
{
    char folder[PATH_MAX], secret[PATH_MAX], trusted[PATH_MAX];
    enum status st = OK;
    int lock;

    models_key_path("", folder, sizeof(folder));
    models_key_path("secret", secret, sizeof(secret));
    models_key_path("trusted", trusted, sizeof(trusted));
    if (make_folder(folder, err) != OK)
        return err->status;
    lock = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* two commands at once make one key, and both see it whole */
    if (lock < 0 || flock(lock, LOCK_EX) != 0)
        st = err_set(err, ERR_FATAL, "lock the folder %s: %s", folder, strerror(errno));
    else if (access(secret, F_OK) != 0)
        st = sign_key_make(secret, trusted, err);
    if (lock >= 0)
        close(lock);
    return st;
}

static enum status add_framed(struct models *m, struct view key, struct view value, struct error *err)
{
    struct frame f = {0};

    if (value.data && frame_parse(value, &f, err) != OK)
        return err->status;
    return model_store_add(m->store, key, f.body, err);
}

static void take(struct models *m, const struct reader_msg *msg)
{
    struct error err = {0};

    if (msg->mark.data == NULL && add_framed(m, msg->key, msg->value, &err) != OK)
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

static enum status open_store(struct models *m, const char *name, const char *feature_set, struct error *err)
{
    char path[4096];

    models_key_path("trusted", path, sizeof(path));
    if (sign_keys_load(path, &m->trusted, err) != OK)
        return err->status;
    m->store = model_store_new(m->trusted);
    if (feature_set)
        model_store_expect(m->store, name, feature_set);
    return OK;
}

static enum status read_file(struct models *m, struct container_reader *file, const char *path, struct error *err)
{
    for (int64_t n = 0;; n++) {
        struct view body, key, value;
        struct error why;

        if (container_next(file, &body, err) != OK)
            return err->status;
        if (body.data == NULL)
            return OK;
        if (keyed_get(body, &key, &value, &why) != OK || add_framed(m, key, value, &why) != OK)
            log_warn("model_refused", "file=%s record=%" PRId64 " reason=\"%s\"", path, n, why.text);
    }
}

/* Any other file of Avro records is not what was meant. */
static enum status check_keyed(const struct container_reader *file, const char *path, struct error *err)
{
    struct schema *keyed = NULL;
    enum status st = schema_parse(view_str(KEYED_SCHEMA), NULL, NULL, &keyed, err);

    if (st == OK && schema_fingerprint(keyed) != schema_fingerprint(container_schema(file)))
        st = err_set(err, ERR_FATAL, "%s: expected records of %s with their keys, as `train --out` and `millrace tail %s "
                     "--output avro` write them", path, MODELS_TOPIC, MODELS_TOPIC);
    schema_free(keyed);
    return st;
}

enum status models_open_file(const char *path, const char *name, const char *feature_set, struct models **ret_models,
                             struct error *err)
{
    struct models *m = xcalloc(1, sizeof(*m));
    struct container_reader *file = NULL;
    enum status st = open_store(m, name, feature_set, err);

    if (st == OK && path)
        st = container_open(path, &file, err);
    if (st == OK && path)
        st = check_keyed(file, path, err);
    if (st == OK && path)
        st = read_file(m, file, path, err);
    container_close(file);
    if (st == OK)
        *ret_models = m;
    else
        models_free(m);
    return st;
}

enum status models_open(const char *brokers, const struct pipeline *p, const char *name, const char *feature_set,
                        struct models **ret_models, struct error *err)
{
    struct models *m = xcalloc(1, sizeof(*m));
    size_t taken;
    int n = 0;

    if (open_store(m, name, feature_set, err) != OK || reader_new(brokers, p, &m->reader, err) != OK ||
        reader_partitions(m->reader, MODELS_TOPIC, &n, err) != OK)
        goto failed;
    if (n == 0) {
        err_set(err, ERR_FATAL, "no topic %s: 'millrace up' makes it", MODELS_TOPIC);
        goto failed;
    }
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
    *ret_n = 0;
    return m->reader ? follow(m, false, ret_n, err) : OK;
}

enum status models_add(struct models *m, struct view key, struct view body, struct error *err)
{
    return model_store_add(m->store, key, body, err);
}

const struct model_store *models_store(const struct models *m)
{
    return m->store;
}

enum status models_check_owner(const struct models *m, const struct pipeline *p, const char *name, struct error *err)
{
    size_t n, prefix = strlen(p->name);
    const struct model_version *versions = model_store_versions(m->store, name, &n);

    for (size_t i = 0; i < n; i++) {
        const struct model_record *r = versions[i].record;
        const char *topic = r->n_lineage ? r->lineage[0].topic : NULL;

        if (topic && (strncmp(topic, p->name, prefix) != 0 || topic[prefix] != '.'))
            return err_set(err, ERR_FATAL, "model '%s' is another pipeline's, %s/%d was trained on %s: a model's name belongs to the pipeline that "
                           "trains it, give this one's stages another \"model\"", name, name, r->version, topic);
    }
    return OK;
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
