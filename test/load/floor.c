/* test/load/floor.c: floor GROUP FROM TO exactly_once|at_least_once COMMIT_MS: the least that a stage can cost. */
/*
 * A bare copy loop on librdkafka: takes what is there in batches, puts the same keys, values and headers into the same
 * partitions, and commits the input's offsets each COMMIT_MS: in the transaction of the outputs, or after their
 * acknowledgement. Its clients have a stage's settings (conf_stage). No record is looked into, nothing is kept, and what
 * fails ends it: whatever a stage costs beyond this is its own.
 */
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "kafka/conf.h"
#include "kafka/kafka.h"

#define TAKE_MAX 2000
#define PARTITIONS_MAX 64
#define TAKE_MS 10
#define CALL_MS 10000

struct floor {
    const char *group, *from, *to;
    bool exact;
    int commit_ms;
    rd_kafka_t *consumer, *producer;
    rd_kafka_queue_t *queue;
    rd_kafka_topic_t *topic;
    int64_t next[PARTITIONS_MAX], committed[PARTITIONS_MAX]; /* 0: nothing yet */
    rd_kafka_message_t *taken[TAKE_MAX], put[TAKE_MAX];
    bool open; /* a transaction */
};

static volatile sig_atomic_t stopping;

static void on_signal(int signal)
{
    (void)signal;
    stopping = 1;
}

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "floor: %s: %s\n", what, why);
    exit(1);
}

static void must(rd_kafka_error_t *e, const char *what)
{
    if (e != NULL)
        fail(what, rd_kafka_error_string(e));
}

static void open_producer(struct floor *f, const char *brokers)
{
    const struct memory memory = memory_split(MEMORY_BYTES);
    struct error err;
    struct conf c;

    conf_begin(&c, CONF_PRODUCER, brokers);
    conf_stage(&c, CONF_PRODUCER, &memory);
    if (!f->exact)
        conf_set(&c, "linger.ms", "0"); /* as producer.c */
    conf_given(&c, NULL);
    conf_set(&c, "batch.size", "1000000");
    conf_set(&c, "enable.idempotence", "true");
    conf_set(&c, "message.timeout.ms", f->exact ? "10000" : "0");
    if (!f->exact)
        conf_set(&c, "enable.gapless.guarantee", "true");
    if (f->exact)
        conf_set(&c, "transactional.id", f->group);
    if (conf_client(&c, CONF_PRODUCER, &f->producer, &err) != OK)
        fail("producer", err.text);
    if (f->exact)
        must(rd_kafka_init_transactions(f->producer, CALL_MS), "init_transactions");
    f->topic = rd_kafka_topic_new(f->producer, f->to, NULL);
}

static void open_consumer(struct floor *f, const char *brokers)
{
    const struct memory memory = memory_split(MEMORY_BYTES);
    AUTO(tplist) topics = rd_kafka_topic_partition_list_new(1);
    struct error err;
    struct conf c;

    conf_begin(&c, CONF_CONSUMER, brokers);
    conf_stage(&c, CONF_CONSUMER, &memory);
    conf_given(&c, NULL);
    conf_set(&c, "group.id", f->group);
    conf_set(&c, "group.instance.id", f->group);
    conf_set(&c, "partition.assignment.strategy", "range");
    conf_set(&c, "enable.partition.eof", "true");
    conf_set(&c, "isolation.level", "read_committed");
    conf_set(&c, "enable.auto.commit", "false");
    conf_set(&c, "enable.auto.offset.store", "false");
    conf_set(&c, "auto.offset.reset", "earliest");
    if (conf_client(&c, CONF_CONSUMER, &f->consumer, &err) != OK)
        fail("consumer", err.text);
    (void)rd_kafka_poll_set_consumer(f->consumer);
    f->queue = rd_kafka_queue_get_consumer(f->consumer);
    rd_kafka_topic_partition_list_add(topics, f->from, RD_KAFKA_PARTITION_UA);
    if (rd_kafka_subscribe(f->consumer, topics) != RD_KAFKA_RESP_ERR_NO_ERROR)
        fail("subscribe", f->from);
}

static size_t take(struct floor *f)
{
    ssize_t n = rd_kafka_consume_batch_queue(f->queue, 0, f->taken, TAKE_MAX), more;

    if (n <= 0) { /* it fills a batch until the time is over: wait for one, take what is there */
        n = rd_kafka_consume_batch_queue(f->queue, TAKE_MS, f->taken, 1);
        if (n == 1 && (more = rd_kafka_consume_batch_queue(f->queue, 0, f->taken + 1, TAKE_MAX - 1)) > 0)
            n += more;
    }
    return n < 0 ? 0 : (size_t)n;
}

static void put_batch(struct floor *f, int partition, size_t n)
{
    for (size_t done = 0; done < n;) {
        done += (size_t)rd_kafka_produce_batch(f->topic, partition, RD_KAFKA_MSG_F_COPY, f->put + done, (int)(n - done));
        if (done < n && f->put[done].err != RD_KAFKA_RESP_ERR__QUEUE_FULL)
            fail("produce", rd_kafka_err2str(f->put[done].err));
        if (done < n)
            (void)rd_kafka_poll(f->producer, 10);
    }
}

/* The batch call takes no headers. */
static void put_one(struct floor *f, const rd_kafka_message_t *m, rd_kafka_headers_t *headers)
{
    rd_kafka_vu_t vu[] = {
        {.vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = f->topic},
        {.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = m->partition},
        {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
        {.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {m->key, m->key_len}},
        {.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {m->payload, m->len}},
        {.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = rd_kafka_headers_copy(headers)},
    };
    AUTO(kerror) e = rd_kafka_produceva(f->producer, vu, ARRAY_LEN(vu));

    must(e, "produce");
}

static void begin(struct floor *f)
{
    if (f->exact && !f->open)
        must(rd_kafka_begin_transaction(f->producer), "begin");
    f->open = true;
}

static void copy(struct floor *f, size_t n)
{
    size_t n_put = 0;
    int partition = -1;

    for (size_t i = 0; i < n; i++) {
        const rd_kafka_message_t *m = f->taken[i];
        rd_kafka_headers_t *headers;

        if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF || m->err == RD_KAFKA_RESP_ERR_NO_ERROR)
            f->next[m->partition] = m->offset + (m->err == RD_KAFKA_RESP_ERR_NO_ERROR);
        if (m->err != RD_KAFKA_RESP_ERR_NO_ERROR)
            continue;
        begin(f);
        if (n_put != 0 && partition != m->partition) {
            put_batch(f, partition, n_put);
            n_put = 0;
        }
        partition = m->partition;
        if (rd_kafka_message_headers(m, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR)
            put_one(f, m, headers);
        else
            f->put[n_put++] = (rd_kafka_message_t){.payload = m->payload, .len = m->len, .key = m->key, .key_len = m->key_len};
    }
    if (n_put != 0)
        put_batch(f, partition, n_put);
    for (size_t i = 0; i < n; i++)
        rd_kafka_message_destroy(f->taken[i]);
}

static void commit(struct floor *f)
{
    AUTO(tplist) list = rd_kafka_topic_partition_list_new(PARTITIONS_MAX);
    AUTO(kgroup) group = NULL;

    for (int p = 0; p < PARTITIONS_MAX; p++)
        if (f->next[p] != f->committed[p])
            rd_kafka_topic_partition_list_add(list, f->from, p)->offset = f->committed[p] = f->next[p];
    if (list->cnt == 0)
        return;
    if (!f->exact) {
        if (rd_kafka_flush(f->producer, CALL_MS) != RD_KAFKA_RESP_ERR_NO_ERROR ||
            rd_kafka_commit(f->consumer, list, /* async= */ 0) != RD_KAFKA_RESP_ERR_NO_ERROR)
            fail("commit", "it was not taken");
        return;
    }
    begin(f);
    group = rd_kafka_consumer_group_metadata(f->consumer);
    must(rd_kafka_send_offsets_to_transaction(f->producer, list, group, CALL_MS), "send offsets");
    must(rd_kafka_commit_transaction(f->producer, CALL_MS), "commit");
    f->open = false;
}

int main(int argc, char **argv)
{
    struct floor *f = calloc(1, sizeof(*f));
    int64_t committed_ms = clock_mono_ms();

    (void)mallopt(M_ARENA_MAX, 1); /* as a stage */
    if (argc != 6 || f == NULL)
        fail("use", "floor GROUP FROM TO exactly_once|at_least_once COMMIT_MS");
    f->group = argv[1];
    f->from = argv[2];
    f->to = argv[3];
    f->exact = strcmp(argv[4], "exactly_once") == 0;
    f->commit_ms = atoi(argv[5]);
    signal(SIGTERM, on_signal);
    open_producer(f, kafka_brokers(NULL));
    open_consumer(f, kafka_brokers(NULL));
    while (!stopping) {
        copy(f, take(f));
        (void)rd_kafka_poll(f->producer, 0);
        if (clock_mono_ms() - committed_ms >= f->commit_ms) {
            commit(f);
            committed_ms = clock_mono_ms();
        }
    }
    commit(f);
    rd_kafka_topic_destroy(f->topic);
    rd_kafka_destroy(f->producer);
    rd_kafka_queue_destroy(f->queue);
    (void)rd_kafka_consumer_close(f->consumer);
    rd_kafka_destroy(f->consumer);
    free(f);
    return 0;
}
