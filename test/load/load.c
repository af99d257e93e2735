/* test/load/load.c: what the benches on a real Kafka need beside the programs that they measure. */
/*
 * load fill FROM TO SHARE            puts the last SHARE (0 to 1) of FROM's records into TO: as they are, partition by partition
 * load await GROUP TOPIC PID         until GROUP, of which process PID is the only member, has committed all of TOPIC; prints
 *                                    FIRST LEFT SECONDS ALL: what the first commit that is seen held, what came after it, in
 *                                    which time, and both
 * load drain TOPIC                   reads all that is committed of TOPIC, as fast as a bare consumer can; prints RECORDS BYTES (of keys and
 *                                    values)
 * load first TOPIC                   prints `ready`, then the monotonic clock's seconds when a record is there that was not before
 * load latency IN OUT RATE S WARM_S BODIES SKIP
 *                                    puts RATE records a second into IN and reads OUT; prints N P50 P99 P999 MAX (ms) of what was
 *                                    put after WARM_S seconds. BODIES: a topic whose records are put, but for its first SKIP (a
 *                                    stage drops what it has had before); or - for card transactions, the first of event time
 *                                    SKIP; or hot for the same, each second one of one card, which do not count
 *
 * Readers see committed records only. A record's time is the moment before it is handed to the producer; it travels in the
 * header traceparent, which every stage passes on.
 */
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"
#include "base/clock.h"
#include "kafka/conf.h"
#include "kafka/kafka.h"
#include "wire/avro.h"
#include "wire/frame.h"

#define PARTITIONS_MAX 64
#define ANSWER_MS 10000
#define STILL_MS 60000
#define POLL_MS 20
#define BATCH 1024
#define QUIET_MS 5000 /* nothing came for so long: that was all */
#define HOT "hot"     /* a card */

struct record {
    int partition;
    int64_t offset;
    struct view key, value;
};

struct records {
    struct arena arena;
    struct record *r;
    size_t n, cap;
};

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "load: %s: %s\n", what, why);
    exit(1);
}

static void check(enum status st, const struct error *err)
{
    if (st != OK)
        fail("failed", err->text);
}

/* One of each partition in turn: how the partitions came is chance. */
static int by_place(const void *a, const void *b)
{
    const struct record *x = a, *y = b;

    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    return (x->partition > y->partition) - (x->partition < y->partition);
}

/* The last `share` of each partition. */
static void read_records(const char *topic, double share, struct records *ret)
{
    struct reader *reader;
    struct reader_msg m;
    struct error err;
    bool end = false;
    int n;

    check(reader_new(kafka_brokers(NULL), NULL, &reader, &err), &err);
    check(reader_partitions(reader, topic, &n, &err), &err);
    for (int p = 0; p < n; p++) {
        int64_t low, high;

        check(reader_bounds(reader, topic, p, &low, &high, &err), &err);
        check(reader_add(reader, topic, p, low + (int64_t)((1 - share) * (double)(high - low)), high, &err), &err);
    }
    for (;;) {
        check(reader_next(reader, -1, &m, &end, &err), &err);
        if (end)
            break;
        if (m.mark.data || m.value.data == NULL)
            continue;
        if (ret->n == ret->cap) {
            ret->cap = ret->cap ? ret->cap * 2 : 1024;
            ret->r = xrealloc(ret->r, ret->cap * sizeof(*ret->r));
        }
        ret->r[ret->n++] = (struct record){m.partition, m.offset, view_of(arena_copy(&ret->arena, m.key.data, m.key.n), m.key.n),
                                           view_of(arena_copy(&ret->arena, m.value.data, m.value.n), m.value.n)};
    }
    reader_free(reader);
    if (ret->n == 0)
        fail(topic, "it has no records");
    qsort(ret->r, ret->n, sizeof(*ret->r), by_place);
}

static rd_kafka_t *open_client(enum conf_kind kind, const char *group, const char *isolation)
{
    rd_kafka_t *client;
    struct error err;
    struct conf c;

    conf_begin(&c, kind, kafka_brokers(NULL));
    if (kind == CONF_PRODUCER) {
        conf_set(&c, "linger.ms", "0");
        conf_set(&c, "compression.codec", "lz4");
    } else {
        conf_set(&c, "group.id", group);
        conf_set(&c, "enable.auto.commit", "false");
        conf_set(&c, "auto.offset.reset", "earliest");
        conf_set(&c, "isolation.level", isolation);
        conf_set(&c, "enable.partition.eof", "true");
    }
    check(conf_client(&c, kind, &client, &err), &err);
    if (kind == CONF_CONSUMER)
        (void)rd_kafka_poll_set_consumer(client);
    return client;
}

static void put(rd_kafka_t *producer, rd_kafka_topic_t *topic, const struct record *r, const char *traceparent)
{
    rd_kafka_vu_t vu[] = {
        {.vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = topic},
        {.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = r->partition},
        {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
        {.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {conf_unconst(r->key.data), r->key.n}},
        {.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {conf_unconst(r->value.data), r->value.n}},
        {.vtype = RD_KAFKA_VTYPE_HEADER,
         .u.header = {.name = "traceparent", .val = traceparent, .size = traceparent ? (ssize_t)strlen(traceparent) : 0}},
    };
    rd_kafka_error_t *e;

    while ((e = rd_kafka_produceva(producer, vu, ARRAY_LEN(vu) - (traceparent == NULL))) != NULL) {
        if (rd_kafka_error_code(e) != RD_KAFKA_RESP_ERR__QUEUE_FULL)
            fail("produce", rd_kafka_error_string(e));
        rd_kafka_error_destroy(e);
        (void)rd_kafka_poll(producer, 100);
    }
}

static int fill(char **argv)
{
    rd_kafka_t *producer = open_client(CONF_PRODUCER, NULL, NULL);
    rd_kafka_topic_t *topic = rd_kafka_topic_new(producer, argv[1], NULL);
    struct records records = {0};

    read_records(argv[0], atof(argv[2]), &records);
    for (size_t i = 0; i < records.n; i++)
        put(producer, topic, &records.r[i], NULL);
    if (rd_kafka_flush(producer, STILL_MS) != RD_KAFKA_RESP_ERR_NO_ERROR)
        fail(argv[1], "not everything was taken");
    rd_kafka_topic_destroy(topic);
    rd_kafka_destroy(producer);
    arena_done(&records.arena);
    free(records.r);
    return 0;
}

/* ---- await ---- */

static int64_t committed(rd_kafka_t *client, rd_kafka_topic_partition_list_t *list)
{
    int64_t sum = 0;

    if (rd_kafka_committed(client, list, ANSWER_MS) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return 0;
    for (int i = 0; i < list->cnt; i++)
        sum += list->elems[i].offset > 0 ? list->elems[i].offset : 0;
    return sum;
}

static int await(char **argv)
{
    rd_kafka_t *client = open_client(CONF_CONSUMER, argv[0], "read_uncommitted");
    AUTO(tplist) list = rd_kafka_topic_partition_list_new(PARTITIONS_MAX);
    int64_t end = 0, now = 0, first = 0, moved_us = clock_mono_us(), began_us = 0;
    struct error err;
    int n;

    check(conf_partitions(client, kafka_brokers(NULL), argv[1], ANSWER_MS, &n, &err), &err);
    for (int p = 0; p < n; p++) {
        int64_t low, high = 0;

        if (rd_kafka_query_watermark_offsets(client, argv[1], p, &low, &high, ANSWER_MS) != RD_KAFKA_RESP_ERR_NO_ERROR)
            fail(argv[1], "its end is not known");
        rd_kafka_topic_partition_list_add(list, argv[1], p);
        end += high;
    }
    while (now < end) {
        int64_t before = now;

        clock_nap_ms(POLL_MS);
        now = committed(client, list);
        if (now != before)
            moved_us = clock_mono_us();
        if (now != 0 && first == 0) {
            first = now;
            began_us = moved_us;
        }
        if (clock_mono_us() - moved_us > STILL_MS * (int64_t)1000)
            fail(argv[0], "it commits nothing");
        if (kill((pid_t)atol(argv[2]), 0) != 0)
            fail(argv[0], "its process has gone");
    }
    printf("%" PRId64 " %" PRId64 " %.6f %" PRId64 "\n", first, now - first, (double)(moved_us - began_us) / 1e6, now);
    rd_kafka_destroy(client);
    return 0;
}

/* ---- readers ---- */

/* librdkafka's defaults, and no thought for memory. */
static int drain(char **argv)
{
    rd_kafka_t *consumer = open_client(CONF_CONSUMER, "load", "read_committed");
    AUTO(tplist) list = rd_kafka_topic_partition_list_new(PARTITIONS_MAX);
    rd_kafka_queue_t *queue = rd_kafka_queue_get_consumer(consumer);
    int64_t ends[PARTITIONS_MAX], records = 0, bytes = 0, low;
    rd_kafka_message_t *batch[BATCH];
    struct error err;
    int n, left;

    check(conf_partitions(consumer, kafka_brokers(NULL), argv[0], ANSWER_MS, &n, &err), &err);
    for (int p = 0; p < n; p++) {
        if (rd_kafka_query_watermark_offsets(consumer, argv[0], p, &low, &ends[p], ANSWER_MS) != RD_KAFKA_RESP_ERR_NO_ERROR)
            fail(argv[0], "its end is not known");
        rd_kafka_topic_partition_list_add(list, argv[0], p)->offset = low;
    }
    (void)rd_kafka_assign(consumer, list);
    for (left = n; left > 0;) {
        ssize_t got = rd_kafka_consume_batch_queue(queue, POLL_MS, batch, BATCH);

        for (ssize_t i = 0; i < got; i++) {
            rd_kafka_message_t *m = batch[i];

            if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF && m->offset >= ends[m->partition])
                left--;
            if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
                records++;
                bytes += (int64_t)(m->key_len + m->len);
            }
            rd_kafka_message_destroy(m);
        }
    }
    printf("%" PRId64 " %" PRId64 "\n", records, bytes);
    rd_kafka_queue_destroy(queue);
    rd_kafka_destroy(consumer);
    return 0;
}

/* All partitions from their present ends. */
static rd_kafka_t *follow(const char *topic)
{
    rd_kafka_t *consumer = open_client(CONF_CONSUMER, "load", "read_committed");
    AUTO(tplist) list = rd_kafka_topic_partition_list_new(PARTITIONS_MAX);
    struct error err;
    int n;

    check(conf_partitions(consumer, kafka_brokers(NULL), topic, ANSWER_MS, &n, &err), &err);
    for (int p = 0; p < n; p++) {
        int64_t low, high = 0;

        if (rd_kafka_query_watermark_offsets(consumer, topic, p, &low, &high, ANSWER_MS) != RD_KAFKA_RESP_ERR_NO_ERROR)
            fail(topic, "its end is not known");
        rd_kafka_topic_partition_list_add(list, topic, p)->offset = high;
    }
    (void)rd_kafka_assign(consumer, list);
    return consumer;
}

static rd_kafka_message_t *next(rd_kafka_t *consumer, int timeout_ms)
{
    rd_kafka_message_t *m = rd_kafka_consumer_poll(consumer, timeout_ms);

    if (m != NULL && m->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        rd_kafka_message_destroy(m);
        return NULL;
    }
    return m;
}

static int first(char **argv)
{
    rd_kafka_t *consumer = follow(argv[0]);
    int64_t until_ms = clock_mono_ms() + STILL_MS;
    rd_kafka_message_t *m = NULL;

    (void)next(consumer, 100); /* its first fetch is on its way */
    printf("ready\n");
    fflush(stdout);
    while (m == NULL && clock_mono_ms() < until_ms)
        m = next(consumer, 100);
    if (m == NULL)
        fail(argv[0], "no record came");
    printf("%.6f\n", (double)clock_mono_us() / 1e6);
    rd_kafka_message_destroy(m);
    (void)rd_kafka_consumer_close(consumer);
    rd_kafka_destroy(consumer);
    return 0;
}

/* ---- latency ---- */

struct latency {
    rd_kafka_t *producer, *consumer;
    rd_kafka_topic_t *topic;
    int n_partitions;
    struct records records; /* none: transactions, */
    bool is_hot;            /* each second one of one card */
    size_t skip;
    uint32_t transaction_id;
    int64_t put_from_us; /* what was put before is not counted */
    double *ms;
    size_t n, cap;
};

static void open_latency(struct latency *l, const char *in, const char *out, const char *bodies)
{
    struct registry *reg = registry_new();
    const struct schema *schema;
    char subject[300];
    struct error err;

    l->producer = open_client(CONF_PRODUCER, NULL, NULL);
    l->topic = rd_kafka_topic_new(l->producer, in, NULL);
    check(conf_partitions(l->producer, kafka_brokers(NULL), in, ANSWER_MS, &l->n_partitions, &err), &err);
    l->consumer = follow(out);
    l->is_hot = strcmp(bodies, "hot") == 0;
    if (!l->is_hot && strcmp(bodies, "-") != 0) {
        read_records(bodies, 1, &l->records);
        registry_free(reg);
        return;
    }
    check(kafka_schemas_load(kafka_brokers(NULL), NULL, reg, &err), &err);
    snprintf(subject, sizeof(subject), "%s-value", in);
    schema = registry_latest(reg, subject);
    if (schema == NULL)
        fail(in, "its schema is not published");
    l->transaction_id = schema_id(schema);
    registry_free(reg);
}

/* A card transaction, a millisecond after the one before. Each tenth is a large one of a card that was never seen: a rule fires for it. */
static void make_transaction(struct latency *l, int64_t i, char key[24], struct bytes *b, struct record *ret)
{
    bool large = i % 10 == 0;
    char terminal[24];

    snprintf(key, 24, "%" PRId64, large ? 1000000 + i : i * 7919 % 5000);
    if (l->is_hot && i % 2)
        snprintf(key, 24, HOT);
    snprintf(terminal, sizeof(terminal), "%" PRId64, i * 104729 % 10000);
    bytes_clear(b);
    frame_put(b, l->transaction_id);
    avro_put_long(b, 1000000000 + i);
    avro_put_long(b, (int64_t)l->skip + i);
    avro_put_str(b, key);
    avro_put_str(b, terminal);
    avro_put_double(b, large ? 250.0 : 5.0 + (double)(i % 90));
    ret->key = view_str(key);
    ret->value = view_of(b->data, b->n);
    ret->partition = kafka_partition(ret->key, l->n_partitions);
}

static void put_next(struct latency *l, int64_t i, struct bytes *b)
{
    char traceparent[64], key[24];
    struct record r;

    if (l->records.n != 0 && l->skip + (size_t)i >= l->records.n)
        fail("latency", "there are not so many records");
    if (l->records.n != 0)
        r = l->records.r[l->skip + (size_t)i];
    else
        make_transaction(l, i, key, b, &r);
    snprintf(traceparent, sizeof(traceparent), "00-%032" PRIx64 "-%016" PRIx64 "-01", (uint64_t)i + 1, (uint64_t)clock_mono_us());
    put(l->producer, l->topic, &r, traceparent);
    (void)rd_kafka_poll(l->producer, 0);
}

static void see(struct latency *l, rd_kafka_message_t *m)
{
    int64_t now_us = clock_mono_us();
    rd_kafka_headers_t *headers;
    const void *value;
    uint64_t put_us;
    size_t n;

    if (l->is_hot && view_eq(view_of(m->key, m->key_len), view_str(HOT))) {
        rd_kafka_message_destroy(m);
        return;
    }
    if (rd_kafka_message_headers(m, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR &&
        rd_kafka_header_get_last(headers, "traceparent", &value, &n) == RD_KAFKA_RESP_ERR_NO_ERROR && n == 55 &&
        sscanf((const char *)value + 36, "%16" SCNx64, &put_us) == 1 && (int64_t)put_us >= l->put_from_us) {
        if (l->n == l->cap) {
            l->cap = l->cap ? l->cap * 2 : 4096;
            l->ms = xrealloc(l->ms, l->cap * sizeof(*l->ms));
        }
        l->ms[l->n++] = (double)(now_us - (int64_t)put_us) / 1000;
    }
    rd_kafka_message_destroy(m);
}

static int by_value(const void *a, const void *b)
{
    const double *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

static double quantile(const struct latency *l, double q)
{
    size_t i = (size_t)ceil(q * (double)l->n);

    return l->ms[i == 0 ? 0 : i - 1];
}

static int latency(char **argv)
{
    struct latency l = {.skip = (size_t)atol(argv[6])};
    int64_t rate = atol(argv[2]), began_us, n = 0, n_all = (int64_t)(atof(argv[3]) * (double)rate), quiet_ms;
    struct bytes b = BYTES_EMPTY;
    rd_kafka_message_t *m;

    open_latency(&l, argv[0], argv[1], argv[5]);
    began_us = clock_mono_us();
    l.put_from_us = began_us + (int64_t)(atof(argv[4]) * 1e6);
    for (quiet_ms = clock_mono_ms(); n < n_all || clock_mono_ms() - quiet_ms < QUIET_MS;) {
        int64_t due = (clock_mono_us() - began_us) * rate / 1000000;

        for (; n < n_all && n <= due; n++)
            put_next(&l, n, &b);
        m = next(l.consumer, 1);
        if (m != NULL || n < n_all)
            quiet_ms = clock_mono_ms();
        if (m != NULL)
            see(&l, m);
    }
    if (l.n == 0)
        fail(argv[1], "nothing came out");
    qsort(l.ms, l.n, sizeof(*l.ms), by_value);
    printf("%zu %.3f %.3f %.3f %.3f\n", l.n, quantile(&l, 0.5), quantile(&l, 0.99), quantile(&l, 0.999), l.ms[l.n - 1]);
    free(l.ms);
    bytes_done(&b);
    arena_done(&l.records.arena);
    free(l.records.r);
    rd_kafka_topic_destroy(l.topic);
    rd_kafka_destroy(l.producer);
    (void)rd_kafka_consumer_close(l.consumer);
    rd_kafka_destroy(l.consumer);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int n_args;
        int (*run)(char **argv);
    } commands[] = {{"fill", 3, fill}, {"await", 3, await}, {"drain", 1, drain}, {"first", 1, first}, {"latency", 7, latency}};

    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if (argc == commands[i].n_args + 2 && strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argv + 2);
    fail("use", "load fill|await|drain|first|latency ...: see the head of its source");
}
