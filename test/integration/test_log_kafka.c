/* The Kafka driver on a real broker: MILLRACE_BROKERS, or the local one of `make kafka`. Fresh topic names each run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "kafka/kafka.h"
#include "kafka/log_kafka.h"
#include "kafka/txn.h"

#define N 1000
#define PARTITIONS 2
#define TASKS_MAX 8

static char name[64], in_topic[96], out_topic[96], changelog[96];
static struct topic topics[2];
static int from[] = {0}, to[] = {1};
static struct stage_def stage = {.name = "copy", .from = from, .n_from = 1, .to = to, .n_to = 1};
static struct pipeline pipeline = {.name = name, .topics = topics, .n_topics = 2, .stages = &stage, .n_stages = 1};

static void must(enum status s, const struct error *err)
{
    if (s != OK)
        fail_msg("%s", err->text);
}

static void fill_input(int first, int n)
{
    struct error err;
    struct writer *w = NULL;
    char id[96];

    snprintf(id, sizeof(id), "%s.fill", name);
    must(writer_new(kafka_brokers(NULL), NULL, id, &w, &err), &err);
    for (int i = first; i < first + n; i++) {
        char key[16];

        snprintf(key, sizeof(key), "%d", i);
        must(writer_put(w, in_topic, kafka_partition(view_str(key), PARTITIONS), view_str(key), view_str(key), &err), &err);
    }
    must(writer_commit(w, &err), &err);
    writer_free(w);
}

static int setup(void **state)
{
    struct error err;
    struct topic_spec specs[] = {{in_topic, PARTITIONS, false, 0}, {out_topic, PARTITIONS, false, 0}, {changelog, 1, true, 0}};

    (void)state;
    snprintf(name, sizeof(name), "it%ld_%d", (long)time(NULL), (int)getpid());
    snprintf(in_topic, sizeof(in_topic), "%s.in", name);
    snprintf(out_topic, sizeof(out_topic), "%s.out", name);
    snprintf(changelog, sizeof(changelog), "%s.copy.changelog", name);
    topics[0] = (struct topic){.name = "in", .broker_name = in_topic, .partitions = PARTITIONS};
    topics[1] = (struct topic){.name = "out", .broker_name = out_topic, .partitions = PARTITIONS};
    must(kafka_topics_ensure(kafka_brokers(NULL), NULL, specs, ARRAY_LEN(specs), &err), &err);
    must(kafka_topics_ensure(kafka_brokers(NULL), NULL, specs, ARRAY_LEN(specs), &err), &err); /* again: nothing to do */
    fill_input(0, N);
    return 0;
}

static void other_partitions_are_refused(void **state)
{
    struct error err;
    struct topic_spec spec = {in_topic, PARTITIONS + 1, false, 0};

    (void)state;
    assert_int_equal(kafka_topics_ensure(kafka_brokers(NULL), NULL, &spec, 1, &err), ERR_FATAL);
    assert_non_null(strstr(err.text, "has 2 partitions"));
}

static void a_retention_is_set_and_another_is_refused(void **state)
{
    char kept[80];
    struct topic_spec spec = {kept, 1, false, 2 * 86400000};
    struct error err;

    (void)state;
    snprintf(kept, sizeof(kept), "%s.kept", name);
    must(kafka_topics_ensure(kafka_brokers(NULL), NULL, &spec, 1, &err), &err);
    must(kafka_topics_ensure(kafka_brokers(NULL), NULL, &spec, 1, &err), &err);
    spec.retention_ms = 0; /* nothing is said of it */
    must(kafka_topics_ensure(kafka_brokers(NULL), NULL, &spec, 1, &err), &err);
    spec.retention_ms = -1;
    assert_int_equal(kafka_topics_ensure(kafka_brokers(NULL), NULL, &spec, 1, &err), ERR_FATAL);
    assert_non_null(strstr(err.text, "has retention.ms=172800000, expected -1"));
}

struct run {
    struct log *log;
    int tasks[TASKS_MAX];
    size_t n_tasks, n_records, n_ends;
    struct log_position at[PARTITIONS];
};

static void open_run(struct run *r, const char *instance)
{
    struct error err;

    *r = (struct run){0};
    must(log_kafka_new(&pipeline, &stage, kafka_brokers(NULL), instance, /* restores= */ true, &r->log, &err), &err);
    must(log_kafka_begin(r->log, NULL, 0, &err), &err);
}

static void turn(struct run *r, bool copy)
{
    static struct log_record records[512];
    struct log_assignment a;
    struct error err;
    size_t n;

    must(r->log->ops->take(r->log, 100, records, 512, &n, &a, &err), &err);
    if (a.changed) {
        r->n_tasks = a.n_tasks;
        for (size_t i = 0; i < a.n_tasks; i++) {
            int task = r->tasks[i] = a.tasks[i];

            must(r->log->ops->committed(r->log, task, &r->at[task], &err), &err);
            must(r->log->ops->seek(r->log, 0, task, r->at[task].offset, &err), &err);
        }
    }
    for (size_t i = 0; i < n; i++) {
        struct log_position *at = &r->at[records[i].partition];
        struct log_put put = {.topic = out_topic, .partition = records[i].partition, .key = records[i].key,
                              .value = records[i].value};

        at->offset = records[i].offset + (records[i].at_end ? 0 : 1);
        r->n_ends += records[i].at_end;
        r->n_records += !records[i].at_end;
        if (copy && !records[i].at_end)
            must(r->log->ops->put(r->log, &put, &err), &err);
        if (!records[i].at_end)
            assert_true(records[i].arrival_ms > 1500000000000);
        r->log->ops->release(r->log, &records[i]);
    }
}

static void read_until(struct run *r, size_t n_records, size_t n_ends, bool copy)
{
    time_t deadline = time(NULL) + 40;

    while (r->n_records < n_records || r->n_ends < n_ends) {
        if (time(NULL) > deadline)
            fail_msg("waited for %zu records and %zu ends, got %zu and %zu", n_records, n_ends, r->n_records, r->n_ends);
        turn(r, copy);
    }
    assert_int_equal(r->n_records, n_records);
}

static void commit_all(struct run *r)
{
    struct error err;
    bool unmoved;

    for (int p = 0; p < PARTITIONS; p++)
        snprintf(r->at[p].metadata, sizeof(r->at[p].metadata), "{\"taken\":%d,\"at\":7}", p);
    for (int p = 0; p < PARTITIONS; p++)
        r->at[p].partition = p;
    must(r->log->ops->commit(r->log, r->at, PARTITIONS, &unmoved, &err), &err);
}

static void ends_of(const char *topic, size_t n, int64_t *ret_ends)
{
    static const int partitions[PARTITIONS] = {0, 1};
    struct error err;
    rd_kafka_t *asker;

    must(conf_asker(kafka_brokers(NULL), NULL, NULL, &asker, &err), &err);
    must(conf_ends(asker, kafka_brokers(NULL), topic, partitions, n, ret_ends, &err), &err);
    rd_kafka_destroy(asker);
}

static void count_one(void *ctx, const struct reader_msg *m)
{
    (void)m;
    ++*(int *)ctx;
}

/* Every committed record of the output, partition by partition in order. */
static void each_out(void (*each)(void *ctx, const struct reader_msg *m), void *ctx)
{
    struct error err;
    struct reader *r = NULL;
    struct reader_msg m;
    bool end = false;

    must(reader_new(kafka_brokers(NULL), NULL, &r, &err), &err);
    for (int p = 0; p < PARTITIONS; p++) {
        int64_t low, high;

        must(reader_bounds(r, out_topic, p, &low, &high, &err), &err);
        must(reader_add(r, out_topic, p, low, high, &err), &err);
    }
    for (;;) {
        must(reader_next(r, -1, &m, &end, &err), &err);
        if (end)
            break;
        each(ctx, &m);
    }
    reader_free(r);
}

static int count_out(void)
{
    int n = 0;

    each_out(count_one, &n);
    return n;
}

static void a_copy_aborted_and_done_again_is_there_once(void **state)
{
    struct run r;
    struct error err;

    (void)state;
    open_run(&r, "0");
    read_until(&r, N, PARTITIONS, true);
    must(r.log->ops->abort(r.log, &err), &err);
    r.n_records = r.n_ends = 0;
    for (int p = 0; p < PARTITIONS; p++)
        must(r.log->ops->seek(r.log, 0, p, -1, &err), &err);
    read_until(&r, N, PARTITIONS, true);
    commit_all(&r);
    r.log->ops->close(r.log);
    assert_int_equal(count_out(), N);
}

static void a_restarted_slot_goes_on_where_it_committed(void **state)
{
    struct run r;
    struct error err;
    int64_t ends[PARTITIONS];
    time_t deadline = time(NULL) + 40;

    (void)state;
    open_run(&r, "0");
    read_until(&r, 0, PARTITIONS, true);
    assert_int_equal(r.n_tasks, PARTITIONS);
    assert_string_equal(r.at[1].metadata, "{\"taken\":1,\"at\":7}");
    fill_input(N, 10);
    ends_of(in_topic, PARTITIONS, ends);
    while (r.at[0].offset < ends[0] || r.at[1].offset < ends[1]) {
        if (time(NULL) > deadline)
            fail_msg("waited in vain for the ends of both partitions");
        turn(&r, true);
    }
    commit_all(&r);
    r.log->ops->close(r.log);
    assert_int_equal(count_out(), N + 10);
    open_run(&r, "0");
    read_until(&r, 0, PARTITIONS, false);
    for (int p = 0; p < PARTITIONS; p++) { /* markers are behind us too: a lag of 0, or autoscalers never rest */
        struct log_position committed;

        must(r.log->ops->committed(r.log, p, &committed, &err), &err);
        assert_int_equal(committed.offset, ends[p]);
    }
    r.log->ops->close(r.log);
}

static enum status keep(void *ctx, const struct log_kept *kept, size_t n, struct error *err)
{
    (void)err;
    for (size_t i = 0; i < n; i++)
        if (kept[i].key.n == 1 && kept[i].value.n < 16)
            memcpy(ctx, kept[i].value.data, kept[i].value.n);
    return OK;
}

/* A dead writer's open transaction holds the last stable offset below a newer committed checkpoint. */
static void a_restore_reads_past_a_dead_writers_open_transaction(void **state)
{
    struct run r;
    struct error err;
    struct txn *dead = NULL, *live = NULL;
    struct log_put put = {.topic = changelog, .key = view_str("k"), .value = view_str("dead")};
    enum txn_outcome outcome;
    char got[16] = "", id[96];
    int partition = 0;

    (void)state;
    snprintf(id, sizeof(id), "%s.dead", name);
    must(txn_new(kafka_brokers(NULL), NULL, id, &dead, &err), &err);
    must(txn_start(dead, &err), &err);
    snprintf(id, sizeof(id), "%s.live", name);
    must(txn_new(kafka_brokers(NULL), NULL, id, &live, &err), &err);
    must(txn_start(live, &err), &err);
    must(txn_put(dead, &put, 0, &err), &err);
    {   /* the record must be at the broker, not only queued: a second one is awaited by its size in the end offset */
        int64_t end = 0, deadline = clock_mono_ms() + 8000;

        while (end < 1 && clock_mono_ms() < deadline)
            ends_of(changelog, 1, &end);
        assert_int_equal(end, 1);
    }
    put.value = view_str("newer");
    must(txn_put(live, &put, 0, &err), &err);
    must(txn_commit(live, NULL, NULL, &outcome, &err), &err);
    open_run(&r, "1");
    must(r.log->ops->restore(r.log, changelog, &partition, 1, keep, got, &err), &err); /* until the broker ends the dead one: 10 to 20 s */
    r.log->ops->close(r.log);
    assert_string_equal(got, "newer");
    txn_free(live);
    txn_free(dead);
}

static void a_second_member_shares_and_the_old_assignment_cannot_commit(void **state)
{
    struct run a, b;
    struct error err;
    bool unmoved;
    time_t deadline = time(NULL) + 40;

    (void)state;
    open_run(&a, "a");
    read_until(&a, 0, PARTITIONS, false);
    open_run(&b, "b");
    while (a.n_tasks + b.n_tasks != PARTITIONS || a.n_tasks == 0 || b.n_tasks == 0) {
        if (time(NULL) > deadline)
            fail_msg("no two members after 40 s: %zu and %zu", a.n_tasks, b.n_tasks);
        turn(&a, false);
        turn(&b, false);
    }
    {
        struct log_position foreign = b.at[b.tasks[0]];

        foreign.partition = b.tasks[0];
        foreign.offset = 5;
        assert_int_equal(a.log->ops->commit(a.log, &foreign, 1, &unmoved, &err), ERR_RETRY);
        assert_false(unmoved);
    }
    a.log->ops->close(a.log);
    b.log->ops->close(b.log);
}

static void pause_all(struct run *r)
{
    struct error err;

    for (size_t i = 0; i < r->n_tasks; i++)
        must(r->log->ops->pause(r->log, 0, r->tasks[i], true, &err), &err);
}

/* Who seeks begins anew: what it had paused flows, in the same assignment and in the next. */
static void a_paused_partition_flows_after_a_seek(void **state)
{
    struct run a, b;
    struct error err;
    time_t deadline = time(NULL) + 40;

    (void)state;
    open_run(&a, "c");
    read_until(&a, 0, PARTITIONS, false);
    pause_all(&a);
    for (int p = 0; p < PARTITIONS; p++)
        must(a.log->ops->seek(a.log, 0, p, -1, &err), &err);
    read_until(&a, N + 10, PARTITIONS, false);
    pause_all(&a);
    open_run(&b, "d");
    while (a.n_tasks + b.n_tasks != PARTITIONS || a.n_tasks == 0 || b.n_tasks == 0) {
        if (time(NULL) > deadline)
            fail_msg("no two members after 40 s: %zu and %zu", a.n_tasks, b.n_tasks);
        turn(&a, false);
        turn(&b, false);
    }
    a.n_ends = 0;
    must(a.log->ops->seek(a.log, 0, a.tasks[0], -1, &err), &err);
    while (a.n_ends == 0) {
        if (time(NULL) > deadline)
            fail_msg("a partition that was paused before the assignment does not flow after it");
        turn(&a, false);
        turn(&b, false);
    }
    a.log->ops->close(a.log);
    b.log->ops->close(b.log);
}

/* What comes is let go. */
static enum status take_some(struct run *r, struct error *err)
{
    static struct log_record records[512];
    struct log_assignment a;
    size_t n = 0;
    enum status s = r->log->ops->take(r->log, 100, records, 512, &n, &a, err);

    for (size_t i = 0; i < n; i++)
        r->log->ops->release(r->log, &records[i]);
    return s;
}

static void a_second_of_the_same_name_fences_the_first(void **state)
{
    struct run a, b;
    struct error err = {0};
    bool unmoved;
    struct log_put put = {.topic = out_topic, .partition = 0, .value = view_str("zombie")};
    time_t deadline = time(NULL) + 40;
    enum status s;

    (void)state;
    open_run(&a, "z");
    read_until(&a, 0, PARTITIONS, false);
    open_run(&b, "z");
    do { /* as the loop does: the second may not have joined yet, or has, and the group says so rather than the producer */
        s = a.log->ops->put(a.log, &put, &err);
        if (s == OK)
            s = a.log->ops->commit(a.log, NULL, 0, &unmoved, &err);
        if (s == ERR_RETRY && a.log->ops->abort(a.log, &err) == OK && take_some(&a, &err) == ERR_FATAL)
            s = ERR_FATAL;
    } while (s == ERR_RETRY && time(NULL) < deadline);
    if (s != ERR_FATAL)
        fail_msg("%d: %s", (int)s, err.text);
    a.log->ops->close(a.log);
    b.log->ops->close(b.log);
    assert_int_equal(count_out(), N + 10);
}

struct series {
    int next[PARTITIONS];
    int n;
};

/* Runs of one partition, then turns. */
static int partition_of_put(int i)
{
    return (i < 600 ? i / 40 : i) % PARTITIONS;
}

/* Of those that begin with '#': each partition has its numbers in order, with key, header and value as they were put. */
static void in_order(void *ctx, const struct reader_msg *m)
{
    struct series *s = ctx;
    int i;

    if (m->key.n == 0 || m->key.data[0] != '#')
        return;
    i = atoi((const char *)m->key.data + 1);
    assert_int_equal(m->partition, partition_of_put(i));
    assert_true(i >= s->next[m->partition]);
    s->next[m->partition] = i + 1;
    assert_int_equal(m->value.data == NULL, i == 3);
    assert_int_equal(m->value.n, i == 3 ? 0 : (size_t)i);
    s->n++;
}

static void puts_together_are_those_of_one_after_the_other(void **state)
{
    enum { MANY = 700, HUGE_ONE = 300 };
    static char keys[MANY][16], bytes[3000000];
    static struct log_put puts[MANY];
    struct series s = {0};
    struct run r;
    struct error err;
    bool unmoved;
    size_t done;

    (void)state;
    memset(bytes, 'v', sizeof(bytes));
    for (int i = 0; i < MANY; i++) {
        snprintf(keys[i], sizeof(keys[i]), "#%d", i);
        puts[i] = (struct log_put){.topic = out_topic, .partition = partition_of_put(i), .key = view_of(keys[i], sizeof(keys[i])),
                                   .value = view_of(i == 3 ? NULL : bytes, i == 3 ? 0 : (size_t)i)};
        if (i % 150 == 60)
            puts[i].traceparent = view_str("00-a-b-01");
    }
    puts[HUGE_ONE].value.n = sizeof(bytes);
    open_run(&r, "0");
    read_until(&r, 0, PARTITIONS, false); /* a commit without positions sends those that it has */
    assert_int_equal(r.log->ops->put_all(r.log, puts, MANY, &done, &err), ERR_RECORD);
    assert_int_equal(done, HUGE_ONE);
    must(r.log->ops->put_all(r.log, puts + HUGE_ONE + 1, MANY - HUGE_ONE - 1, &done, &err), &err);
    assert_int_equal(done, MANY - HUGE_ONE - 1);
    must(r.log->ops->commit(r.log, NULL, 0, &unmoved, &err), &err);
    r.log->ops->close(r.log);
    each_out(in_order, &s);
    assert_int_equal(s.n, MANY - 1);
}

static void no_kafka_is_one_sentence(void **state)
{
    struct error err;
    struct log *log;

    (void)state;
    must(log_kafka_new(&pipeline, &stage, "127.0.0.1:1", "0", /* restores= */ false, &log, &err), &err);
    assert_int_equal(log_kafka_begin(log, NULL, 0, &err), ERR_FATAL);
    log->ops->close(log);
    assert_non_null(strstr(err.text, "no Kafka answers at 127.0.0.1:1"));
}

static void a_missing_topic_is_named(void **state)
{
    struct error err;
    struct log *log;

    (void)state;
    topics[0].broker_name = "it.none";
    must(log_kafka_new(&pipeline, &stage, kafka_brokers(NULL), "0", /* restores= */ false, &log, &err), &err);
    assert_int_equal(log_kafka_begin(log, NULL, 0, &err), ERR_FATAL);
    log->ops->close(log);
    topics[0].broker_name = in_topic;
    assert_non_null(strstr(err.text, "topic it.none does not exist at "));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(other_partitions_are_refused),
        cmocka_unit_test(a_retention_is_set_and_another_is_refused),
        cmocka_unit_test(a_copy_aborted_and_done_again_is_there_once),
        cmocka_unit_test(a_restarted_slot_goes_on_where_it_committed),
        cmocka_unit_test(a_restore_reads_past_a_dead_writers_open_transaction),
        cmocka_unit_test(a_second_member_shares_and_the_old_assignment_cannot_commit),
        cmocka_unit_test(a_paused_partition_flows_after_a_seek),
        cmocka_unit_test(a_second_of_the_same_name_fences_the_first),
        cmocka_unit_test(puts_together_are_those_of_one_after_the_other),
        cmocka_unit_test(no_kafka_is_one_sentence),
        cmocka_unit_test(a_missing_topic_is_named),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
