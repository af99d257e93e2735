/* The reader on a real broker: ranges that begin and end anywhere, also on control markers and in aborted transactions, one
 * after another by one reader, as a bisection asks for them. MILLRACE_BROKERS, or the local one of `make kafka`. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/rand.h"
#include "kafka/conf.h"
#include "kafka/kafka.h"

#define PARTITIONS 4
#define TRANSACTIONS 40
#define RECORDS_MAX 60000
#define ROUNDS 60
#define SPANS 10
#define SLACK_MS 100000
#define SECONDS_MAX 300
#define SEED 7

/* What is committed, by a partition's order. */
static struct {
    int32_t seq[RECORDS_MAX];
    int64_t offset[RECORDS_MAX];
    size_t n;
    int64_t low, high;
} there[PARTITIONS];

static char topic[64];

static void must(enum status s, const struct error *err)
{
    if (s != OK)
        fail_msg("%s", err->text);
}

/* How much lies in the topic, of open and aborted transactions too. */
static int64_t written(void)
{
    static const int partitions[PARTITIONS] = {0, 1, 2, 3};
    int64_t end[PARTITIONS], n = 0;
    rd_kafka_t *client = NULL;
    struct error err;

    must(conf_asker(kafka_brokers(NULL), NULL, NULL, &client, &err), &err);
    must(conf_ends(client, kafka_brokers(NULL), topic, partitions, PARTITIONS, end, &err), &err);
    rd_kafka_destroy(client);
    for (int p = 0; p < PARTITIONS; p++)
        n += end[p];
    return n;
}

/* Aborts once all of it lies in the topic: a record that was not sent yet would leave no gap. */
static void abort_written(struct writer **w, int64_t n)
{
    time_t deadline = time(NULL) + 30;
    struct error err;

    while (written() < n)
        if (time(NULL) > deadline)
            fail_msg("%ld records did not arrive in 30 s", (long)n);
    writer_free(*w);
    must(writer_new(kafka_brokers(NULL), NULL, topic, w, &err), &err);
}

/* A transaction over some of the partitions; every fourth is aborted. */
static void write_some(struct writer **w, struct rand *r, int k)
{
    static int32_t seq;
    bool aborts = k % 4 == 3;
    int64_t before = aborts ? written() : 0, n_all = 0;
    struct error err;
    char value[600];

    memset(value, 'x', sizeof(value));
    for (int p = 0; p < PARTITIONS; p++) {
        size_t n = rand_below(r, 3) ? (size_t)rand_below(r, 1000) : 0;

        n_all += (int64_t)n;
        for (size_t i = 0; i < n; i++, seq++) {
            memcpy(value, &seq, sizeof(seq));
            must(writer_put(*w, topic, p, view_of(NULL, 0), view_of(value, 4 + (size_t)rand_below(r, 590)), &err), &err);
            if (!aborts)
                there[p].seq[there[p].n++] = seq;
        }
    }
    if (aborts)
        abort_written(w, before + n_all);
    else
        must(writer_commit(*w, &err), &err);
}

static void check_offsets(struct reader *r)
{
    size_t got[PARTITIONS] = {0};
    struct error err;
    bool end = false;

    for (int p = 0; p < PARTITIONS; p++) {
        must(reader_bounds(r, topic, p, &there[p].low, &there[p].high, &err), &err);
        must(reader_add(r, topic, p, there[p].low, there[p].high, &err), &err);
    }
    for (;;) {
        struct reader_msg m;
        int32_t seq;
        size_t i;

        must(reader_next(r, -1, &m, &end, &err), &err);
        if (end)
            break;
        i = got[m.partition]++;
        memcpy(&seq, m.value.data, sizeof(seq));
        assert_true(i < there[m.partition].n && seq == there[m.partition].seq[i]);
        assert_true(i == 0 || m.offset > there[m.partition].offset[i - 1]);
        there[m.partition].offset[i] = m.offset;
    }
    for (int p = 0; p < PARTITIONS; p++)
        assert_int_equal(got[p], there[p].n);
}

static int setup(void **state)
{
    struct error err;
    struct topic_spec spec = {topic, PARTITIONS, false, 0};
    struct writer *w = NULL;
    struct rand r;

    (void)state;
    rand_seed(&r, SEED);
    snprintf(topic, sizeof(topic), "reader%ld_%d", (long)time(NULL), (int)getpid());
    must(kafka_topics_ensure(kafka_brokers(NULL), NULL, &spec, 1, &err), &err);
    must(writer_new(kafka_brokers(NULL), NULL, topic, &w, &err), &err);
    for (int k = 0; k < TRANSACTIONS; k++)
        write_some(&w, &r, k);
    writer_free(w);
    return 0;
}

/* Offsets beside a gap between two records lie on or beside a marker or in an aborted transaction. */
static int64_t some_offset(struct rand *r, int p)
{
    int64_t size = there[p].high - there[p].low;
    size_t i = there[p].n > 1 ? 1 + (size_t)rand_below(r, there[p].n - 1) : 0;

    if (rand_below(r, 2) == 0)
        return there[p].low + (int64_t)rand_below(r, (uint64_t)size + 1);
    if (rand_below(r, 4) == 0)
        return there[p].high - (int64_t)rand_below(r, 3);
    while (i > 1 && there[p].offset[i] == there[p].offset[i - 1] + 1)
        i--;
    return there[p].offset[i] - (int64_t)rand_below(r, 3);
}

static void read_ranges(struct reader *r, const int64_t *from, const int64_t *to, int round)
{
    size_t next[PARTITIONS] = {0};
    struct error err;
    bool end = false;

    for (int p = 0; p < PARTITIONS; p++) {
        while (next[p] < there[p].n && there[p].offset[next[p]] < from[p])
            next[p]++;
        if (to[p] >= 0)
            must(reader_add(r, topic, p, from[p], to[p], &err), &err);
    }
    while (!end) {
        struct reader_msg m;
        size_t i;

        must(reader_next(r, -1, &m, &end, &err), &err);
        if (end)
            break;
        i = next[m.partition]++;
        if (i >= there[m.partition].n || m.offset != there[m.partition].offset[i] || m.offset >= to[m.partition])
            fail_msg("round %d: partition %d in [%ld, %ld): offset %ld came", round, m.partition, (long)from[m.partition],
                     (long)to[m.partition], (long)m.offset);
    }
    for (int p = 0; p < PARTITIONS; p++)
        if (to[p] >= 0 && next[p] < there[p].n && there[p].offset[next[p]] < to[p] && from[p] < to[p])
            fail_msg("round %d: partition %d in [%ld, %ld): offset %ld did not come", round, p, (long)from[p], (long)to[p],
                     (long)there[p].offset[next[p]]);
}

static void ranges_one_after_another_bring_what_lies_in_them(void **state)
{
    struct reader *r = NULL;
    struct error err;
    struct rand rand;
    time_t began = time(NULL);

    (void)state;
    rand_seed(&rand, SEED + 1);
    must(reader_new(kafka_brokers(NULL), NULL, &r, &err), &err);
    check_offsets(r);
    for (int round = 0; round < ROUNDS; round++) {
        int64_t from[PARTITIONS], to[PARTITIONS];

        for (int p = 0; p < PARTITIONS; p++) {
            from[p] = some_offset(&rand, p);
            to[p] = rand_below(&rand, 3) == 0 ? -1 : rand_below(&rand, 2) ? some_offset(&rand, p) : from[p] + 64;
            to[p] = to[p] > there[p].high ? there[p].high : to[p];
        }
        read_ranges(r, from, to, round);
        if (time(NULL) - began > SECONDS_MAX)
            fail_msg("%d of %d rounds in %d s", round + 1, ROUNDS, SECONDS_MAX);
    }
    reader_free(r);
}

/* A record's `at`: 1 s after the one written before it, give or take some, and one in 500 is far out of place. */
static int64_t at_of_seq(int32_t seq)
{
    struct rand r;

    rand_seed(&r, (uint64_t)seq);
    if (rand_below(&r, 500) == 0)
        return (int64_t)rand_below(&r, 2) * INT64_C(1000000000000);
    return INT64_C(1000) * seq + (int64_t)rand_below(&r, SLACK_MS) - SLACK_MS / 2;
}

static bool out_of_place(int32_t seq)
{
    return llabs((long long)(at_of_seq(seq) - INT64_C(1000) * seq)) > SLACK_MS / 2;
}

static bool at_of(void *ctx, const struct reader_msg *m, int64_t *ret_at)
{
    int32_t seq;

    (void)ctx;
    if (m->value.n < sizeof(seq))
        return false;
    memcpy(&seq, m->value.data, sizeof(seq));
    *ret_at = at_of_seq(seq);
    return true;
}

static int64_t check_span(struct reader *r, const struct reader_span *span)
{
    int64_t from[PARTITIONS], to[PARTITIONS], n = 0;
    struct error err;

    must(reader_between(r, topic, PARTITIONS, span, at_of, NULL, from, to, &err), &err);
    for (int p = 0; p < PARTITIONS; p++) {
        assert_true(from[p] >= there[p].low && to[p] <= there[p].high && from[p] <= to[p]);
        n += to[p] - from[p];
        for (size_t i = 0; i < there[p].n; i++) {
            int64_t at = at_of_seq(there[p].seq[i]), offset = there[p].offset[i];

            if (at >= span->from_ms && at < span->to_ms && !out_of_place(there[p].seq[i]) && (offset < from[p] || offset >= to[p]))
                fail_msg("partition %d, [%ld, %ld): offset %ld at %ld lies outside of [%ld, %ld)", p, (long)span->from_ms,
                         (long)span->to_ms, (long)offset, (long)at, (long)from[p], (long)to[p]);
        }
    }
    return n;
}

static void a_span_of_event_time_is_found_by_bisecting(void **state)
{
    int64_t last_ms = INT64_C(1000) * there[0].seq[there[0].n - 1], all = 0, read = 0;
    struct reader *r = NULL;
    struct error err;
    struct rand rand;

    (void)state;
    rand_seed(&rand, SEED + 2);
    must(reader_new(kafka_brokers(NULL), NULL, &r, &err), &err);
    for (int p = 0; p < PARTITIONS; p++)
        all += there[p].high - there[p].low;
    assert_int_equal(check_span(r, &(struct reader_span){INT64_MIN, INT64_MAX, SLACK_MS}), all);
    for (int i = 0; i < SPANS; i++) {
        int64_t from = (int64_t)rand_below(&rand, (uint64_t)last_ms + 1), to = from + (int64_t)rand_below(&rand, (uint64_t)last_ms / 10);

        read += check_span(r, &(struct reader_span){from, to, SLACK_MS});
        (void)check_span(r, &(struct reader_span){from, INT64_MAX, SLACK_MS});
        (void)check_span(r, &(struct reader_span){INT64_MIN, to, SLACK_MS});
    }
    if (read > SPANS * all / 3)
        fail_msg("%ld offsets of %ld to read for a twentieth of the time", (long)read, (long)(SPANS * all));
    print_message("%.1f %% of the offsets for spans of 5 %% of the time\n", (double)read * 100 / (double)(SPANS * all));
    reader_free(r);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_one_after_another_bring_what_lies_in_them), /* fills in `there` */
        cmocka_unit_test(a_span_of_event_time_is_found_by_bisecting),
    };

    return cmocka_run_group_tests_name("reader", tests, setup, NULL);
}
