/* common/kafka/log_kafka.c: the driver's clients, what is put, its start and end. */
#include "kafka/log_kafka.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "kafka/kafka.h"
#include "kafka/lanes.h"
#include "kafka/topics.h"

/* ---- the consumer ---- */

static enum status open_consumer(struct log_kafka *k, struct error *err)
{
    const struct setting guarantees[] = {
        {"group.id", k->group},
        {"group.instance.id", k->id},
        {"group.protocol", "classic"},
        {"partition.assignment.strategy", "range"}, /* equal partition numbers stay together */
        {"enable.partition.eof", "true"},
        {"isolation.level", "read_committed"},
        {"enable.auto.commit", "false"},
        {"enable.auto.offset.store", "false"},
        {"auto.offset.reset", "error"}, /* never `earliest` in silence */
    };
    char session[24] = "";
    size_t n_session = sizeof(session);
    struct conf c;
    enum status s;

    conf_begin(&c, CONF_CONSUMER, k->brokers);
    conf_stage(&c, CONF_CONSUMER, &k->pipeline->memory);
    conf_given(&c, k->pipeline);
    for (size_t i = 0; i < ARRAY_LEN(guarantees); i++)
        conf_set(&c, guarantees[i].name, guarantees[i].value);
    rd_kafka_conf_set_rebalance_cb(c.conf, lanes_rebalance);
    rd_kafka_conf_set_error_cb(c.conf, take_error);
    rd_kafka_conf_set_opaque(c.conf, k);
    (void)rd_kafka_conf_get(c.conf, "session.timeout.ms", session, &n_session);
    k->session_ms = atoi(session);
    s = conf_client(&c, CONF_CONSUMER, &k->consumer, err);
    if (s != OK)
        return s;
    (void)rd_kafka_poll_set_consumer(k->consumer);
    k->queue = rd_kafka_queue_get_consumer(k->consumer);
    return OK;
}

static enum status subscribe(struct log_kafka *k, struct error *err)
{
    AUTO(tplist) topics = rd_kafka_topic_partition_list_new((int)k->n_inputs);
    rd_kafka_resp_err_t code;

    for (size_t i = 0; i < k->n_inputs; i++)
        rd_kafka_topic_partition_list_add(topics, k->inputs[i].topic->broker_name, RD_KAFKA_PARTITION_UA);
    code = rd_kafka_subscribe(k->consumer, topics);
    return code == RD_KAFKA_RESP_ERR_NO_ERROR ? OK : conf_explain(err, code, k->brokers, "subscribe");
}

/* Without a word to the group: a static member does not leave, its slot waits for it. A close would wait for a lost assignment to be
 * given back. */
static void close_consumer(struct log_kafka *k)
{
    if (k->queue != NULL)
        rd_kafka_queue_destroy(k->queue);
    if (k->consumer != NULL)
        rd_kafka_destroy_flags(k->consumer, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    k->queue = NULL;
    k->consumer = NULL;
}

enum status log_kafka_renew(struct log_kafka *k, struct error *err)
{
    close_consumer(k);
    k->fenced = k->lost = false;
    return open_consumer(k, err) == OK ? subscribe(k, err) : err->status;
}

/* ---- putting ---- */

static size_t lk_refused(struct log *l, const size_t **ret_puts)
{
    struct log_kafka *k = log_kafka_of(l);
    size_t n = outbox_refused(k->outbox, ret_puts);

    return n ? n : txn_refused(k->txn, ret_puts);
}

static enum status lk_put(struct log *l, const struct log_put *put, struct error *err)
{
    struct log_kafka *k = log_kafka_of(l);
    enum status s;

    if (k->stale)
        return err_set(err, ERR_RETRY, "the open transaction of %s belongs to an assignment that has gone: abort it",
                       k->group);
    s = k->outbox && !put->atomic ? outbox_put(k->outbox, put, k->n_put, err) : txn_put(k->txn, put, k->n_put, err);
    k->n_put += s == OK;
    return s;
}

/* In runs only within a transaction: what stands in a run behind a record that fails may have left. */
static enum status lk_put_all(struct log *l, const struct log_put *puts, size_t n, size_t *ret_n, struct error *err)
{
    struct log_kafka *k = log_kafka_of(l);
    enum status s = OK;

    for (*ret_n = 0; *ret_n < n && s == OK;) {
        size_t run = k->outbox || k->stale ? 0 : txn_run(k->txn, puts + *ret_n, n - *ret_n), put = 0;

        if (run > 1) {
            s = txn_put_run(k->txn, puts + *ret_n, run, k->n_put, &put, err);
            k->n_put += put;
        } else {
            s = lk_put(l, puts + *ret_n, err);
            put = s == OK;
        }
        *ret_n += put;
    }
    return s;
}

/* ---- partitions, open, close ---- */

static enum status lk_partitions(struct log *l, const char *topic, int *ret_n, struct error *err)
{
    struct log_kafka *k = log_kafka_of(l);
    int n = 0;
    enum status s = conf_partitions(k->asker, k->brokers, topic, START_TIMEOUT_MS, &n, err);

    if (s != OK)
        return s;
    if (n == 0)
        return err_set(err, ERR_FATAL, "topic %s does not exist at %s: make it with `millrace up`", topic, k->brokers);
    *ret_n = n;
    return OK;
}

static int64_t lk_end(struct log *l, int input, int partition)
{
    struct log_kafka *k = log_kafka_of(l);
    int64_t low, high;

    if (rd_kafka_get_watermark_offsets(k->consumer, k->inputs[input].topic->broker_name, partition, &low, &high) !=
        RD_KAFKA_RESP_ERR_NO_ERROR)
        return -1;
    return high < 0 ? -1 : high;
}

static void lk_close(struct log *l)
{
    struct log_kafka *k = log_kafka_of(l);

    txn_free(k->txn);
    k->txn = NULL;
    outbox_free(k->outbox);
    k->outbox = NULL;
    close_consumer(k);
    reader_free(k->restorer);
    if (k->asker != NULL)
        rd_kafka_destroy(k->asker);
    for (size_t i = 0; i < k->n_inputs; i++)
        free(k->inputs[i].lanes);
    free(k->inputs);
    free(k->tasks);
    slot_forget(k);
    free(k->brokers);
    free(k->group);
    free(k->id);
    free(k);
}

static enum status open_inputs(struct log_kafka *k, struct error *err)
{
    for (size_t i = 0; i < k->def->n_from; i++) {
        struct input *in = &k->inputs[i];
        enum status s;

        in->topic = &k->pipeline->topics[k->def->from[i]];
        s = lk_partitions(&k->log, in->topic->broker_name, &in->n_lanes, err);
        if (s != OK)
            return s;
        k->n_inputs = i + 1;
        in->lanes = xcalloc((size_t)in->n_lanes, sizeof(*in->lanes));
        if (in->topic->partitions > 0 && in->topic->partitions != in->n_lanes)
            return err_set(err, ERR_FATAL, "topic %s has %d partitions at %s, the pipeline says %d",
                           in->topic->broker_name, in->n_lanes, k->brokers, in->topic->partitions);
    }
    k->tasks = xcalloc((size_t)lanes_max(k) + 1, sizeof(*k->tasks));
    return OK;
}

enum status log_kafka_new(const struct pipeline *p, const struct stage_def *def, const char *brokers, const char *instance,
                          bool restores, struct log **ret_log, struct error *err)
{
    static const struct log_ops ops = {
        .take = log_kafka_take,
        .release = log_kafka_release,
        .headers = log_kafka_headers,
        .committed = log_kafka_committed,
        .seek = log_kafka_seek,
        .pause = log_kafka_pause,
        .put = lk_put,
        .put_all = lk_put_all,
        .commit = log_kafka_commit,
        .refused = lk_refused,
        .abort = log_kafka_abort,
        .restore = log_kafka_restore,
        .partitions = lk_partitions,
        .end = lk_end,
        .others = log_kafka_others,
        .close = lk_close,
    };
    struct log_kafka *k = xcalloc(1, sizeof(*k));
    char name[256];
    enum status s;

    k->log.ops = &ops;
    k->pipeline = p;
    k->def = def;
    k->brokers = xstrdup(brokers);
    snprintf(name, sizeof(name), "%s.%s", p->name, def->name);
    k->group = xstrdup(name);
    snprintf(name, sizeof(name), "%s.%s.%s", p->name, def->name, instance);
    k->id = xstrdup(name);
    k->inputs = xcalloc(def->n_from + 1, sizeof(*k->inputs));
    s = conf_asker(brokers, p, k->group, &k->asker, err);
    if (s == OK)
        s = txn_new(k->brokers, p, k->id, &k->txn, err);
    if (s == OK && def->at_least_once)
        s = outbox_new(k->brokers, p, &k->outbox, err);
    if (s == OK && def->n_from > 0)
        s = open_consumer(k, err);
    if (s == OK && restores)
        s = reader_new(k->brokers, p, &k->restorer, err);
    if (s != OK) {
        lk_close(&k->log);
        return err->status = ERR_FATAL;
    }
    *ret_log = &k->log;
    return OK;
}

enum status log_kafka_begin(struct log *l, const struct topic_spec *needed, size_t n, struct error *err)
{
    struct log_kafka *k = log_kafka_of(l);
    enum status s = topics_check(k->asker, k->brokers, needed, n, err);

    if (s == OK)
        s = open_inputs(k, err);
    if (s == OK)
        s = txn_start(k->txn, err);
    if (s == OK && k->n_inputs > 0)
        s = subscribe(k, err);
    if (s != OK)
        return err->status = ERR_FATAL;
    if (k->n_inputs > 0) {
        txn_claim(k->txn, slot_is_ours, k);
    } else {
        k->tasks[k->n_tasks++] = 0;
        k->changed = true;
    }
    return OK;
}
