/*
 * test/unit/test_repeats.c: a task that reads what others wrote again after faults, and has faults of its own: whatever is committed,
 * lost and restored, each record counts once in the state. The changelog is a list here; there is no clock, no broker.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/rand.h"
#include "stage/internal.h"
#include "wire/text.h"

enum { WRITERS = 2, CHANNELS = 2, UNIQUE = 60, LOG_MAX = 4000, KEYS = 5, CHANGES_MAX = 20000 };

/* A record of the input's partition: id says which it is, whichever coming it is. */
struct record {
    struct origin origin;
    int id;
};

struct change {
    struct bytes key, value;
};

struct world {
    struct log log;
    struct stage stage;
    struct stage_def def;
    struct topic topic;
    struct task *tasks[1];
    struct record records[LOG_MAX];
    size_t n_records;
    struct change changes[CHANGES_MAX]; /* the changelog; those from n_committed on are of the open transaction */
    size_t n_changes, n_committed;
    int64_t fetched, committed;
};

static struct world *of(struct log *l)
{
    return (struct world *)l;
}

static void release(struct log *l, struct log_record *r)
{
    (void)l, (void)r;
}

static enum status put(struct log *l, const struct log_put *p, struct error *err)
{
    struct world *w = of(l);
    struct change *c = &w->changes[w->n_changes++];

    (void)err;
    assert_true(w->n_changes < CHANGES_MAX && p->atomic);
    *c = (struct change){BYTES_EMPTY, BYTES_EMPTY};
    bytes_append(&c->key, p->key.data, p->key.n);
    bytes_append(&c->value, p->value.data, p->value.n);
    return OK;
}

static enum status committed(struct log *l, int task, struct log_position *ret, struct error *err)
{
    (void)err;
    ret[0] = (struct log_position){.partition = task, .offset = of(l)->committed};
    return OK;
}

static enum status restore(struct log *l, const char *topic, const int *partitions, size_t n, log_restore_fn *each, void *ctx,
                           struct error *err)
{
    struct world *w = of(l);

    (void)topic, (void)n;
    for (size_t i = 0; i < w->n_committed; i++) {
        const struct change *c = &w->changes[i];

        if (each(ctx, &(struct log_kept){partitions[0], view_of(c->key.data, c->key.n), view_of(c->value.data, c->value.n)}, 1, err) != OK)
            return err->status;
    }
    return OK;
}

static enum status seek(struct log *l, int input, int partition, int64_t offset, struct error *err)
{
    (void)input, (void)partition, (void)err;
    of(l)->fetched = offset < 0 ? 0 : offset;
    return OK;
}

static const struct log_ops ops = {.release = release, .put = put, .committed = committed, .restore = restore, .seek = seek};
static const struct worker worker = {.name = "preprocess"};
static struct pipeline pipeline = {.memory = {.state = (size_t)1 << 30}};

static struct world *world_new(const struct schema *state_schema)
{
    struct world *w = xcalloc(1, sizeof(*w));

    w->log.ops = &ops;
    w->committed = -1;
    w->stage.log = &w->log;
    w->stage.worker = &worker;
    w->stage.pipeline = &pipeline;
    w->stage.def = &w->def;
    w->stage.tasks = w->tasks;
    w->stage.n_tasks = w->stage.n_inputs = 1;
    w->stage.inputs[0] = (struct input){.topic = &w->topic, .marked = true, .tasks = WRITERS};
    w->stage.has_changelog = w->stage.stateful = true;
    w->stage.changelog_bytes = w->stage.changelog_bytes_max = 1; /* one key a commit: most stay dirty, and `low` far behind */
    w->stage.state_schema = (struct schema *)(uintptr_t)state_schema;
    w->stage.commit = 1;
    metrics_init(&w->stage.metrics, "p", "s");
    w->stage.ops = ops_new(&w->stage.metrics);
    w->tasks[0] = task_new(&w->stage, 0);
    return w;
}

static void world_free(struct world *w)
{
    task_free(&w->stage, w->tasks[0]);
    ops_free(w->stage.ops);
    output_close(&w->stage);
    arena_done(&w->stage.scratch);
    for (size_t i = 0; i < w->n_changes; i++) {
        bytes_done(&w->changes[i].key);
        bytes_done(&w->changes[i].value);
    }
    free(w);
}

/* Each writer puts out its records, channel by channel as chance has it; now and then it falls back to where it committed last. */
static void write_log(struct world *w, struct rand *r, int faults)
{
    int next[WRITERS][CHANNELS] = {{0}}, safe[WRITERS][CHANNELS] = {{0}};

    for (;;) {
        int k = (int)rand_below(r, WRITERS * CHANNELS), t = k / CHANNELS, c = k % CHANNELS, left = 0;

        for (int i = 0; i < WRITERS * CHANNELS; i++)
            left += next[i / CHANNELS][i % CHANNELS] < UNIQUE;
        if (left == 0)
            break;
        if (next[t][c] < UNIQUE) {
            int n = next[t][c]++;

            w->records[w->n_records++] = (struct record){{t, 0, c, n * 3, 0}, k * UNIQUE + n};
            assert_true(w->n_records < LOG_MAX);
        }
        if (rand_below(r, 12) == 0)
            memcpy(safe[t], next[t], sizeof(safe[t]));
        if (faults > 0 && rand_below(r, 25) == 0) {
            memcpy(next[t], safe[t], sizeof(safe[t]));
            faults--;
        }
    }
}

static void fetch(struct world *w, struct task *t)
{
    const struct record *r = &w->records[w->fetched];
    struct pending p = {.rec = {.offset = w->fetched}, .task = r->origin.task, .at = r->origin.offset, .origin = r->origin};

    p.replay = w->fetched < merge_channel(&t->inputs[0].merge, p.task)->next_offset;
    merge_push(&t->inputs[0].merge, &p);
    t->inputs[0].next_offset = ++w->fetched;
}

/* Counts the record under its key, as the loop has rows counted. */
static void count(struct world *w, struct task *t, const struct pending *p)
{
    int id = w->records[p->rec.offset].id;
    char key = (char)('a' + id % KEYS);
    struct entry *e = state_find(t->state, view_of(&key, 1));
    struct error err;

    if (p->replay && e && changelog_reflects(t, e, 0, p->task, p->rec.offset))
        return;
    e = state_get(t->state, view_of(&key, 1), &err);
    assert_non_null(e);
    assert_int_equal(state_resize(t->state, e, WRITERS * CHANNELS * UNIQUE, &err), OK);
    e->value[id]++;
    state_dirty(t->state, e, (size_t)id, 1, w->stage.commit);
}

static bool take_one(struct world *w, struct task *t)
{
    struct pending p;

    if (merge_head(&t->inputs[0].merge) == NULL)
        return false;
    if (task_take(&w->stage, t, /* input= */ 0, &p))
        count(w, t, &p);
    return true;
}

static void commit(struct world *w, struct task *t)
{
    struct error err;

    assert_int_equal(changelog_write(&w->stage, t, &err), OK);
    w->n_committed = w->n_changes;
    w->committed = task_low(t, 0);
    output_forget(&w->stage);
    w->stage.commit++;
    task_moment(t, w->stage.commit, 1);
}

static struct task *crash(struct world *w)
{
    struct error err;

    task_free(&w->stage, w->tasks[0]);
    output_forget(&w->stage);
    for (; w->n_changes > w->n_committed; w->n_changes--) {
        bytes_done(&w->changes[w->n_changes - 1].key);
        bytes_done(&w->changes[w->n_changes - 1].value);
    }
    w->tasks[0] = task_new(&w->stage, 0);
    if (changelog_restore(&w->stage, &err) != OK)
        fail_msg("%s", err.text);
    task_moment(w->tasks[0], w->stage.commit, 1);
    return w->tasks[0];
}

static void check_counts(struct task *t)
{
    for (int id = 0; id < WRITERS * CHANNELS * UNIQUE; id++) {
        char key = (char)('a' + id % KEYS);
        const struct entry *e = state_find(t->state, view_of(&key, 1));

        assert_non_null(e);
        if (e->value[id] != 1)
            fail_msg("record %d counts %d times", id, e->value[id]);
    }
}

static struct schema *read_schema(const char *path)
{
    static char text[8192];
    FILE *f = fopen(path, "r");
    struct schema *s;
    struct error err;
    size_t n;

    assert_non_null(f);
    n = fread(text, 1, sizeof(text) - 1, f);
    fclose(f);
    text[n] = '\0';
    if (schema_parse(view_str(text), NULL, NULL, &s, &err) != OK)
        fail_msg("%s", err.text);
    return s;
}

/* Counts repeats that were dropped, and how often some of them lay above `low`. */
static void many_lives(uint64_t seed, int faults_of_writers, int64_t *ret_dropped, size_t *ret_listed)
{
    struct schema *schema = read_schema("schemas/State.avsc");
    struct rand r;

    *ret_dropped = 0;
    *ret_listed = 0;
    printf("seed %d\n", (int)seed);
    rand_seed(&r, seed);
    for (int round = 0; round < 300; round++) {
        struct world *w = world_new(schema);
        struct task *t = w->tasks[0];
        int steps = 0;

        write_log(w, &r, faults_of_writers);
        task_moment(t, w->stage.commit, 1);
        while (w->fetched < (int64_t)w->n_records || t->inputs[0].merge.n_pending != 0) {
            assert_true(steps++ < 10000);
            for (uint64_t n = rand_below(&r, 20); n > 0 && w->fetched < (int64_t)w->n_records; n--)
                fetch(w, t);
            if (w->fetched == (int64_t)w->n_records)
                merge_end(&t->inputs[0].merge);
            for (uint64_t n = rand_below(&r, 20); n > 0 && take_one(w, t); n--)
                ;
            if (rand_below(&r, 4) == 0)
                commit(w, t);
            *ret_listed += t->inputs[0].dropped.n;
            if (rand_below(&r, 12) == 0)
                t = crash(w);
        }
        check_counts(t);
        *ret_dropped += w->stage.n_repeats;
        world_free(w);
    }
    schema_free(schema);
}

static void a_fault_amid_the_replay_after_another_loses_nothing(void **state)
{
    int64_t dropped;
    size_t listed;

    (void)state;
    many_lives(4, /* faults_of_writers= */ 0, &dropped, &listed);
    assert_true(dropped == 0 && listed == 0);
}

static void each_record_counts_once_whatever_comes_again(void **state)
{
    int64_t dropped;
    size_t listed;

    (void)state;
    many_lives(5, /* faults_of_writers= */ 12, &dropped, &listed);
    assert_true(dropped > 1000 && listed > 1000);
}

static void a_checkpoint_is_a_record_of_its_schema(void **state)
{
    struct schema *schema = read_schema("schemas/State.avsc");
    struct world *w = world_new(schema);
    struct bytes text = BYTES_EMPTY, *value;
    struct error err;

    (void)state;
    w->n_records = 3;
    for (int i = 0; i < 3; i++)
        w->records[i] = (struct record){{0, 1, 1, i == 2 ? 7 : 7 + i, 0}, i}; /* the third is the first again */
    for (int i = 0; i < 3; i++)
        fetch(w, w->tasks[0]);
    merge_end(&w->tasks[0]->inputs[0].merge);
    task_moment(w->tasks[0], 1, 1);
    while (take_one(w, w->tasks[0]))
        ;
    dropped_add(&w->tasks[0]->inputs[0].dropped, 5);
    commit(w, w->tasks[0]);
    value = &w->changes[w->n_changes - 1].value;
    assert_int_equal(text_from_avro(schema, view_of(value->data + 5, value->n - 5), false, &text, &err), OK);
    bytes_append(&text, "", 1);
    assert_non_null(strstr((const char *)text.data, "{\"input\":0,\"task\":0,\"writer_input\":1,\"channel\":1,\"offset\":8,\"index\":0}"));
    (void)crash(w);
    assert_int_equal(w->tasks[0]->inputs[0].origins.n, 1);
    assert_int_equal(w->tasks[0]->inputs[0].origins.last[0].offset, 8);
    bytes_done(&text);
    world_free(w);
    schema_free(schema);
}

/* A task's restore from the changelog as it is: what it says. */
static enum status restore_again(struct world *w, struct error *err)
{
    task_free(&w->stage, w->tasks[0]);
    w->tasks[0] = task_new(&w->stage, 0);
    return changelog_restore(&w->stage, err);
}

static void a_garbled_checkpoint_is_read_or_refused(void **state)
{
    struct schema *schema = read_schema("schemas/State.avsc");
    struct world *w = world_new(schema);
    int refused = 0;
    struct bytes *value;
    struct error err;
    size_t whole;

    (void)state;
    w->n_records = 3;
    for (int i = 0; i < 3; i++)
        w->records[i] = (struct record){{0, 1, 1, i == 2 ? 7 : 7 + i, 0}, i};
    for (int i = 0; i < 3; i++)
        fetch(w, w->tasks[0]);
    merge_end(&w->tasks[0]->inputs[0].merge);
    task_moment(w->tasks[0], 1, 1);
    while (take_one(w, w->tasks[0]))
        ;
    commit(w, w->tasks[0]);
    value = &w->changes[w->n_changes - 1].value;
    whole = value->n;
    assert_int_equal(restore_again(w, &err), OK);
    for (value->n = 1; value->n < whole; value->n++) {
        assert_int_equal(restore_again(w, &err), ERR_FATAL);
        assert_non_null(strstr(err.text, "changelog"));
    }
    for (size_t bit = 0; bit < whole * 8; bit++) {
        value->data[bit / 8] ^= (uint8_t)(1U << bit % 8);
        refused += restore_again(w, &err) != OK;
        value->data[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    assert_true(refused > (int)whole);
    world_free(w);
    schema_free(schema);
}

static void the_state_of_another_version_is_refused(void **state)
{
    struct schema *schema = read_schema("schemas/State.avsc");
    struct world *w = world_new(schema);
    struct bytes *value;
    struct error err;
    char *layout;

    (void)state;
    w->records[w->n_records++] = (struct record){{0, 1, 1, 7, 0}, 0};
    fetch(w, w->tasks[0]);
    merge_end(&w->tasks[0]->inputs[0].merge);
    task_moment(w->tasks[0], 1, 1);
    assert_true(take_one(w, w->tasks[0]));
    commit(w, w->tasks[0]);
    value = &w->changes[w->n_changes - 1].value;
    layout = memmem(value->data, value->n, "\"layout\":", 9);
    assert_non_null(layout);
    layout[9] = '9';
    assert_int_equal(restore_again(w, &err), ERR_FATAL);
    assert_non_null(strstr(err.text, "layout 9"));
    w->def.epoch = 1; /* built anew, whatever it was */
    assert_int_equal(restore_again(w, &err), OK);
    world_free(w);
    schema_free(schema);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fault_amid_the_replay_after_another_loses_nothing),
        cmocka_unit_test(each_record_counts_once_whatever_comes_again),
        cmocka_unit_test(a_checkpoint_is_a_record_of_its_schema),
        cmocka_unit_test(a_garbled_checkpoint_is_read_or_refused),
        cmocka_unit_test(the_state_of_another_version_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
