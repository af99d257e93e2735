#include "kafka/log_kafka.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/fail.h"
#include "base/log.h"
#include "base/mutant.h"
#include "kafka/kafka.h"
#include "kafka/lanes.h"
#include "kafka/topics.h"

#define PROBE_MS 1000
#define HEADER_BYTES_MAX ((size_t)8 * 1024)

static struct log_kafka *of(struct log *l)
{
    return (struct log_kafka *)l;
}

struct lane *lanes_at(struct log_kafka *k, int input, int partition)
{
    if (input < 0 || (size_t)input >= k->n_inputs || partition < 0 || partition >= k->inputs[input].n_lanes)
        return NULL;
    return &k->inputs[input].lanes[partition];
}

int lanes_input(const struct log_kafka *k, const char *topic)
{
    for (size_t i = 0; i < k->n_inputs; i++)
        if (strcmp(k->inputs[i].topic->broker_name, topic) == 0)
            return (int)i;
    return -1;
}

static int lanes_max(const struct log_kafka *k)
{
    int n = 0;

    for (size_t i = 0; i < k->n_inputs; i++)
        if (k->inputs[i].n_lanes > n)
            n = k->inputs[i].n_lanes;
    return n;
}

/* ---- the assignment ---- */

static void forget_assignment(struct log_kafka *k)
{
    for (size_t i = 0; i < k->n_inputs; i++)
        for (int p = 0; p < k->inputs[i].n_lanes; p++)
            k->inputs[i].lanes[p] = (struct lane){.committed = -1};
    k->n_tasks = 0;
    k->revoking = k->repointed = false;
    k->stale = k->txn != NULL && txn_is_open(k->txn) && SAFE(M_STALE_ABORTED);
}

static void take_assignment(struct log_kafka *k, const rd_kafka_topic_partition_list_t *list)
{
    forget_assignment(k);
    for (int i = 0; i < list->cnt; i++) {
        struct lane *lane = lanes_at(k, lanes_input(k, list->elems[i].topic), list->elems[i].partition);

        if (lane != NULL)
            lane->assigned = true;
    }
    for (int p = 0; p < lanes_max(k); p++) {
        size_t have = 0, exist = 0;

        for (size_t i = 0; i < k->n_inputs; i++) {
            exist += p < k->inputs[i].n_lanes;
            have += p < k->inputs[i].n_lanes && k->inputs[i].lanes[p].assigned;
        }
        if (have == exist && exist > 0)
            k->tasks[k->n_tasks++] = p;
        else if (have > 0)
            (void)err_set(&k->fault, ERR_FATAL,
                          "group %s: partition %d came for %zu of %zu inputs: the inputs of a stage must have equal "
                          "partition counts, and every member the assignor `range`",
                          k->group, p, have, exist);
    }
}

/* Runs inside take: the consumer's queue serves it. */
static void on_rebalance(rd_kafka_t *consumer, rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t *list,
                         void *opaque)
{
    struct log_kafka *k = opaque;

    k->changed = true;
    if (code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        AUTO(tplist) none = rd_kafka_topic_partition_list_new(0);

        slot_joined(k);
        take_assignment(k, list);
        (void)rd_kafka_assign(consumer, none); /* lanes are assigned as the loop says where they begin */
    } else if (code == RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS && !rd_kafka_assignment_lost(consumer)) {
        k->revoking = true;
        k->n_tasks = 0;
        (void)FAIL("log.revoking", &k->fault);
    } else {
        forget_assignment(k);
        k->lost = true;
    }
}

static void give_back(struct log_kafka *k)
{
    forget_assignment(k);
    (void)rd_kafka_assign(k->consumer, NULL);
}

/* Once it is given back, librdkafka joins again; after a session that was over it does so as nobody it knows, and would put out
 * who has our name meanwhile: this process was stopped, and another took its place. */
static enum status give_back_lost(struct log_kafka *k, struct error *err)
{
    if (SAFE(M_NAME_LEFT) && slot_is_left(k, err) != OK)
        return err->status;
    k->lost = false;
    give_back(k);
    return OK;
}

static enum status repoint(struct log_kafka *k, struct error *err)
{
    AUTO(tplist) list = rd_kafka_topic_partition_list_new(8);
    AUTO(tplist) paused = rd_kafka_topic_partition_list_new(8);
    AUTO(tplist) others = rd_kafka_topic_partition_list_new(8);
    rd_kafka_resp_err_t code;

    for (size_t i = 0; i < k->n_inputs; i++)
        for (int p = 0; p < k->inputs[i].n_lanes; p++) {
            const struct lane *lane = &k->inputs[i].lanes[p];
            const char *topic = k->inputs[i].topic->broker_name;

            if (!lane->flowing)
                continue;
            rd_kafka_topic_partition_list_add(list, topic, p)->offset =
                lane->next < 0 ? RD_KAFKA_OFFSET_BEGINNING : lane->next;
            rd_kafka_topic_partition_list_add(lane->paused ? paused : others, topic, p);
        }
    code = rd_kafka_assign(k->consumer, list);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR && paused->cnt > 0)
        code = rd_kafka_pause_partitions(k->consumer, paused);
    /* librdkafka remembers a pause beyond the assignment that it was made in. */
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR && others->cnt > 0)
        code = rd_kafka_resume_partitions(k->consumer, others);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return conf_explain(err, code, k->brokers, "assign partitions");
    k->repointed = false;
    return OK;
}

static enum status lk_seek(struct log *l, int input, int partition, int64_t offset, struct error *err)
{
    struct log_kafka *k = of(l);
    struct lane *lane = lanes_at(k, input, partition);

    if (lane == NULL || !lane->assigned)
        return err_set(err, ERR_RETRY, "seek: partition %d of input %d is not assigned here (any more)", partition,
                       input);
    lane->flowing = true;
    lane->paused = false;
    lane->next = offset < 0 ? -1 : offset;
    k->repointed = true;
    return OK;
}

static enum status lk_pause(struct log *l, int input, int partition, bool paused, struct error *err)
{
    struct log_kafka *k = of(l);
    struct lane *lane = lanes_at(k, input, partition);
    AUTO(tplist) list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_resp_err_t code;

    if (lane == NULL || !lane->assigned || lane->paused == paused)
        return OK;
    lane->paused = paused;
    if (!lane->flowing || k->repointed)
        return OK; /* repoint does it */
    rd_kafka_topic_partition_list_add(list, k->inputs[input].topic->broker_name, partition);
    code = paused ? rd_kafka_pause_partitions(k->consumer, list) : rd_kafka_resume_partitions(k->consumer, list);
    return code == RD_KAFKA_RESP_ERR_NO_ERROR ? OK : conf_explain(err, code, k->brokers, "pause a partition");
}

/* ---- taking ---- */

static void on_error(rd_kafka_t *client, int code, const char *reason, void *opaque)
{
    struct log_kafka *k = opaque;
    char text[256];

    (void)reason;
    if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN)
        k->down = true;
    else if (code == RD_KAFKA_RESP_ERR__FATAL && k->fault.status == OK) {
        rd_kafka_resp_err_t fatal = rd_kafka_fatal_error(client, text, sizeof(text));

        (void)err_set(&k->fault, ERR_FATAL, "consumer %s: %s (%s)", k->id, text, rd_kafka_err2str(fatal));
    }
}

/* All connections are gone: is the broker back? */
static enum status probe(struct log_kafka *k, int timeout_ms, struct error *err)
{
    const struct rd_kafka_metadata *meta;
    int64_t now = clock_mono_ms();
    char why[CONF_WHY_CHARS];

    if (now - k->probed_ms >= PROBE_MS) {
        int wait_ms = timeout_ms < 50 ? 50 : timeout_ms;

        k->probed_ms = now;
        if (rd_kafka_metadata(k->consumer, 0, NULL, &meta, wait_ms) == RD_KAFKA_RESP_ERR_NO_ERROR) {
            rd_kafka_metadata_destroy(meta);
            k->down = false;
            return OK;
        }
    }
    conf_why(why);
    if (log_every_ms(&k->said_ms, 60000))
        log_warn("broker_away", "brokers=%s group=%s reason=\"%s\"", k->brokers, k->group, why);
    return err_set(err, ERR_RETRY, "no Kafka answers at %s (%s)", k->brokers, why);
}

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
    struct conf c;
    enum status s;

    conf_begin(&c, CONF_CONSUMER, k->brokers);
    conf_stage(&c, CONF_CONSUMER, &k->pipeline->memory);
    conf_given(&c, k->pipeline);
    for (size_t i = 0; i < ARRAY_LEN(guarantees); i++)
        conf_set(&c, guarantees[i].name, guarantees[i].value);
    rd_kafka_conf_set_rebalance_cb(c.conf, on_rebalance);
    rd_kafka_conf_set_error_cb(c.conf, on_error);
    rd_kafka_conf_set_opaque(c.conf, k);
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

/* No record of the former is out: the loop was told that it has no task. */
static enum status renew_consumer(struct log_kafka *k, struct error *err)
{
    close_consumer(k);
    k->fenced = k->lost = false;
    return open_consumer(k, err) == OK ? subscribe(k, err) : err->status;
}

/* ---- a record ---- */

static struct view header(rd_kafka_headers_t *headers, const char *name)
{
    const void *value;
    size_t n;

    if (rd_kafka_header_get_last(headers, name, &value, &n) != RD_KAFKA_RESP_ERR_NO_ERROR || n > HEADER_BYTES_MAX)
        return view_of(NULL, 0);
    return view_of(value == NULL ? "" : value, n);
}

static void fill(struct log_record *r, rd_kafka_message_t *m, int input)
{
    rd_kafka_headers_t *headers;
    rd_kafka_timestamp_type_t kind;
    int64_t time_ms = rd_kafka_message_timestamp(m, &kind);

    *r = (struct log_record){
        .input = input,
        .partition = m->partition,
        .offset = m->offset,
        .arrival_ms = kind == RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME ? time_ms : -1,
        .key = view_of(m->key, m->key_len),
        .value = view_of(m->payload, m->len),
        .handle = m,
    };
    if (rd_kafka_message_headers(m, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        r->traceparent = header(headers, "traceparent");
        r->mark = header(headers, "millrace.mark");
    }
}

static void fault_of(struct log_kafka *k, const rd_kafka_message_t *m)
{
    char what[300];
    struct error e;

    if (k->fault.status != OK)
        return;
    switch (m->err) {
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
        (void)err_set(&k->fault, ERR_FATAL,
                      "%s/%d: the offset to go on from is gone. Where records were deleted before they were taken "
                      "(retention), give a stage with state one \"epoch\" more, and of one without reset the offsets of "
                      "group %s (kafka-consumer-groups.sh); where the topic was made anew, make the pipeline under a new name",
                      m->rkt == NULL ? k->group : rd_kafka_topic_name(m->rkt), m->partition, k->group);
        return;
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
    case RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID:
    case RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED:
        snprintf(what, sizeof(what), "group %s", k->group);
        (void)conf_explain(&e, m->err, k->brokers, what);
        (void)err_set(&k->fault, ERR_FATAL, "%s", e.text);
        return;
    case RD_KAFKA_RESP_ERR__FATAL:
        on_error(k->consumer, m->err, NULL, k);
        return;
    default: /* librdkafka goes on by itself */
        if (log_every_ms(&k->said_ms, 60000))
            log_warn("consumer", "group=%s reason=\"%s\"", k->group, rd_kafka_err2str(m->err));
    }
}

/* True: *r is a record or an end mark, and m belongs to it or is destroyed. */
static bool take_message(struct log_kafka *k, rd_kafka_message_t *m, struct log_record *r)
{
    int input = m->rkt == NULL ? -1 : lanes_input(k, rd_kafka_topic_name(m->rkt));
    struct lane *lane = lanes_at(k, input, m->partition);
    bool wanted = !k->revoking && lane != NULL && lane->flowing && !k->repointed;

    if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR && wanted && m->offset >= lane->next) {
        lane->next = m->offset + 1;
        fill(r, m, input);
        return true;
    }
    if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF && wanted && m->offset >= lane->next) {
        lane->next = m->offset; /* markers and aborted records may lie before it */
        *r = (struct log_record){.input = input, .partition = m->partition, .offset = m->offset, .at_end = true};
        rd_kafka_message_destroy(m);
        return true;
    }
    if (m->err != RD_KAFKA_RESP_ERR_NO_ERROR && m->err != RD_KAFKA_RESP_ERR__PARTITION_EOF)
        fault_of(k, m);
    rd_kafka_message_destroy(m);
    return false;
}

static void tell(struct log_kafka *k, struct log_assignment *ret)
{
    *ret = (struct log_assignment){.changed = k->changed, .tasks = k->tasks, .n_tasks = k->n_tasks};
    k->changed = false;
}

/* Without an assignment the loop gives back all records, before the next take makes another consumer. */
static enum status judge_fault(struct log_kafka *k, struct error *err)
{
    *err = k->fault;
    if (rd_kafka_fatal_error(k->consumer, NULL, 0) != RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID || !SAFE(M_CONSUMER_RENEWED) ||
        slot_is_ours(k, err) != OK)
        return err->status;
    log_warn("consumer_renewed", "id=%s reason=\"%s\"", k->id, k->fault.text);
    forget_assignment(k);
    k->fault = (struct error){.status = OK};
    k->changed = k->fenced = true;
    return OK;
}

static enum status lk_take(struct log *l, int timeout_ms, struct log_record *ret, size_t cap, size_t *ret_n,
                           struct log_assignment *ret_assignment, struct error *err)
{
    struct log_kafka *k = of(l);
    enum status s;
    ssize_t n;

    *ret_n = 0;
    txn_poll(k->txn);
    outbox_poll(k->outbox);
    if (k->consumer == NULL) {
        tell(k, ret_assignment);
        return OK;
    }
    if (k->fenced && renew_consumer(k, err) != OK)
        return err->status;
    if (k->lost && give_back_lost(k, err) != OK)
        return err->status;
    if (k->revoking)
        give_back(k);
    if (k->repointed && (s = repoint(k, err)) != OK)
        return s;
    if (cap > LANES_BATCH)
        cap = LANES_BATCH;
    n = rd_kafka_consume_batch_queue(k->queue, 0, k->batch, cap);
    if (n <= 0 && timeout_ms > 0 && !k->changed) { /* it fills a batch until the time is over: wait for one, take what is there */
        n = rd_kafka_consume_batch_queue(k->queue, timeout_ms, k->batch, 1);
        if (n == 1 && cap > 1) {
            ssize_t more = rd_kafka_consume_batch_queue(k->queue, 0, k->batch + 1, cap - 1);

            n += more > 0 ? more : 0;
        }
    }
    for (ssize_t i = 0; i < n; i++)
        if (take_message(k, k->batch[i], &ret[*ret_n]))
            ++*ret_n;
    if (k->fault.status != OK && !k->changed) { /* a loop that knows of no change would restore tasks that are not here */
        for (size_t i = 0; i < *ret_n; i++)
            l->ops->release(l, &ret[i]);
        *ret_n = 0;
        if (judge_fault(k, err) != OK)
            return err->status;
    }
    tell(k, ret_assignment);
    if (*ret_n > 0)
        k->down = false;
    else if (k->down && !ret_assignment->changed)
        return probe(k, timeout_ms, err);
    return OK;
}

static void lk_release(struct log *l, struct log_record *r)
{
    (void)l;
    if (r->handle != NULL)
        rd_kafka_message_destroy(r->handle);
    r->handle = NULL;
}

static size_t lk_headers(struct log *l, const struct log_record *r, struct log_header *ret, size_t cap)
{
    rd_kafka_headers_t *headers;
    const void *value;
    const char *name;
    size_t n = 0, size, left = HEADER_BYTES_MAX;

    (void)l;
    if (rd_kafka_message_headers(r->handle, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return 0;
    while (n < cap && rd_kafka_header_get_all(headers, n, &name, &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        if (strlen(name) + size > left)
            break;
        left -= strlen(name) + size;
        ret[n++] = (struct log_header){name, view_of(value == NULL ? "" : value, size)};
    }
    return n;
}

static size_t lk_refused(struct log *l, const size_t **ret_puts)
{
    struct log_kafka *k = of(l);
    size_t n = outbox_refused(k->outbox, ret_puts);

    return n ? n : txn_refused(k->txn, ret_puts);
}

static enum status lk_put(struct log *l, const struct log_put *put, struct error *err)
{
    struct log_kafka *k = of(l);
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
    struct log_kafka *k = of(l);
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
    struct log_kafka *k = of(l);
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
    struct log_kafka *k = of(l);
    int64_t low, high;

    if (rd_kafka_get_watermark_offsets(k->consumer, k->inputs[input].topic->broker_name, partition, &low, &high) !=
        RD_KAFKA_RESP_ERR_NO_ERROR)
        return -1;
    return high < 0 ? -1 : high;
}

static void lk_close(struct log *l)
{
    struct log_kafka *k = of(l);

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
        .take = lk_take,
        .release = lk_release,
        .headers = lk_headers,
        .committed = log_kafka_committed,
        .seek = lk_seek,
        .pause = lk_pause,
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
    s = conf_asker(brokers, p, &k->asker, err);
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
    struct log_kafka *k = of(l);
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
