/*
 * test/unit/test_restore.c: after a restore at any of 200 random commits a stage puts out, byte for byte, what it would have.
 *
 * The shipped loop runs preprocess over a log of two partitions that lies in memory, once to its end. Then it is begun anew 200 times
 * with what was committed at a random moment: positions, and the changelog, whole or compacted. Commits write little, so that most
 * keys are older than the checkpoint; one key has half of all events, and more chunks than one; some events are late.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/rand.h"
#include "stage/internal.h"
#include "wire/avro.h"
#include "wire/frame.h"
#include "workers/preprocess/preprocess.h"

enum { PARTITIONS = 2, EVENTS = 4000, KEYS = 60, POINTS = 200, COMMITS_MAX = 20000, QUIET_TAKES = 3 };

struct put {
    int partition;
    struct bytes key, value;
};

struct puts {
    struct put *all;
    size_t n, cap;
};

struct committed {
    int64_t next[PARTITIONS];
    char metadata[PARTITIONS][64];
    size_t n_outputs, n_changes;
};

struct world {
    struct log log;
    struct stage *s;
    struct rand rand;
    struct put records[PARTITIONS][EVENTS];
    int64_t ms[PARTITIONS][EVENTS];
    size_t n_records[PARTITIONS];
    struct puts outputs, changes;
    struct committed commits[COMMITS_MAX];
    size_t n_commits;
    const struct puts *restored; /* the quiet run's changelog, */
    struct committed from;       /* and as of when */
    bool is_compacted;
    int64_t next[PARTITIONS];
    bool told, ended[PARTITIONS];
    int quiet;
};

static struct world *of(struct log *l)
{
    return (struct world *)l;
}

static struct bytes copy(struct view v)
{
    struct bytes b = BYTES_EMPTY;

    bytes_append(&b, v.data, v.n);
    return b;
}

static void append(struct puts *p, int partition, struct view key, struct view value)
{
    if (p->n == p->cap) {
        p->cap = p->cap ? p->cap * 2 : 1024;
        p->all = xrealloc(p->all, p->cap * sizeof(*p->all));
    }
    p->all[p->n++] = (struct put){partition, copy(key), copy(value)};
}

static void puts_done(struct puts *p)
{
    for (size_t i = 0; i < p->n; i++) {
        bytes_done(&p->all[i].key);
        bytes_done(&p->all[i].value);
    }
    free(p->all);
    *p = (struct puts){0};
}

/* ---- the log ---- */

static enum status take(struct log *l, int timeout_ms, struct log_record *ret, size_t cap, size_t *ret_n, struct log_assignment *ret_a,
                        struct error *err)
{
    static const int tasks[PARTITIONS] = {0, 1};
    struct world *w = of(l);
    size_t want = 1 + rand_below(&w->rand, 200);

    (void)timeout_ms;
    *ret_a = (struct log_assignment){!w->told, tasks, PARTITIONS};
    *ret_n = 0;
    if (!w->told) {
        w->told = true;
        return OK;
    }
    while (*ret_n < want && *ret_n < cap && !(w->ended[0] && w->ended[1])) {
        int p = (int)rand_below(&w->rand, PARTITIONS);
        int64_t at = w->next[p];
        const struct put *r = &w->records[p][at];

        if (w->ended[p])
            continue;
        w->ended[p] = (size_t)at == w->n_records[p];
        ret[*ret_n] = (struct log_record){.partition = p, .offset = at, .at_end = w->ended[p]};
        if (!w->ended[p]) {
            ret[*ret_n] = (struct log_record){.partition = p, .offset = at, .arrival_ms = w->ms[p][at] + 1000, .key = view_of(r->key.data, r->key.n),
                                              .value = view_of(r->value.data, r->value.n)};
            w->next[p]++;
        }
        ++*ret_n;
    }
    if (*ret_n == 0 && ++w->quiet > QUIET_TAKES)
        return err_set(err, ERR_FATAL, "done");
    return OK;
}

static void release(struct log *l, struct log_record *r)
{
    (void)l, (void)r;
}

static enum status committed(struct log *l, int task, struct log_position *ret, struct error *err)
{
    struct world *w = of(l);

    (void)err;
    ret[0] = (struct log_position){.partition = task, .offset = w->from.next[task]};
    memcpy(ret[0].metadata, w->from.metadata[task], sizeof(ret[0].metadata));
    return OK;
}

static enum status seek(struct log *l, int input, int partition, int64_t offset, struct error *err)
{
    (void)input, (void)err;
    of(l)->next[partition] = offset < 0 ? 0 : offset;
    return OK;
}

static enum status pause_one(struct log *l, int input, int partition, bool paused, struct error *err)
{
    (void)l, (void)input, (void)partition, (void)paused, (void)err;
    return OK;
}

static enum status put_one(struct log *l, const struct log_put *p, struct error *err)
{
    struct world *w = of(l);

    (void)err;
    if (p->mark.data == NULL)
        append(strcmp(p->topic, w->s->changelog) == 0 ? &w->changes : &w->outputs, p->partition, p->key, p->value);
    w->quiet = 0;
    return OK;
}

static enum status commit(struct log *l, const struct log_position *at, size_t n, bool *ret_unmoved, struct error *err)
{
    struct world *w = of(l);
    struct committed *c = &w->commits[w->n_commits];

    (void)ret_unmoved, (void)err;
    *c = w->n_commits ? w->commits[w->n_commits - 1] : w->from;
    for (size_t i = 0; i < n; i++) {
        c->next[at[i].partition] = at[i].offset;
        memcpy(c->metadata[at[i].partition], at[i].metadata, sizeof(at[i].metadata));
    }
    c->n_outputs = w->outputs.n;
    c->n_changes = w->changes.n;
    assert_true(++w->n_commits < COMMITS_MAX);
    return OK;
}

static enum status abort_all(struct log *l, struct error *err)
{
    (void)l, (void)err;
    return OK;
}

static bool is_later(const struct puts *all, size_t i, size_t n)
{
    for (size_t k = i + 1; k < n; k++)
        if (all->all[k].partition == all->all[i].partition && all->all[k].key.n == all->all[i].key.n &&
            memcmp(all->all[k].key.data, all->all[i].key.data, all->all[i].key.n) == 0)
            return true;
    return false;
}

static enum status restore(struct log *l, const char *topic, const int *partitions, size_t n, log_restore_fn *each, void *ctx,
                           struct error *err)
{
    struct world *w = of(l);

    (void)topic, (void)partitions;
    assert_int_equal(n, PARTITIONS);
    for (size_t i = 0; i < w->from.n_changes; i++) {
        const struct put *p = &w->restored->all[i];
        struct log_kept kept = {p->partition, view_of(p->key.data, p->key.n), view_of(p->value.data, p->value.n)};

        if (w->is_compacted && is_later(w->restored, i, w->from.n_changes))
            continue;
        if (each(ctx, &kept, 1, err) != OK)
            return err->status;
    }
    return OK;
}

static enum status partitions_of(struct log *l, const char *topic, int *ret_n, struct error *err)
{
    (void)l, (void)topic, (void)err;
    *ret_n = PARTITIONS;
    return OK;
}

static int64_t end_of(struct log *l, int input, int partition)
{
    (void)input;
    return (int64_t)of(l)->n_records[partition];
}

static void close_log(struct log *l)
{
    (void)l;
}

static const struct log_ops ops = {.take = take, .release = release, .committed = committed, .seek = seek, .pause = pause_one,
                                   .put = put_one, .commit = commit, .abort = abort_all, .restore = restore,
                                   .partitions = partitions_of, .end = end_of, .close = close_log};

/* ---- the stage ---- */

static struct stage *load(void)
{
    static const struct worker preprocess = {.name = "preprocess", .open = preprocess_open, .transform = preprocess_transform,
                                             .check = preprocess_check, .close = preprocess_close};
    static const char *const json =
        "{\"pipeline\": \"p\", \"schemas\": \"%s/schemas\", \"topics\": {"
        "\"a\": {\"schema\": \"Transaction\", \"key\": \"customer_id\", \"time\": \"ts\", \"partitions\": 2, \"lateness\": \"1m\"},"
        "\"out\": {\"key\": \"terminal_id\"}}, \"stages\": {\"one\": {\"worker\": \"preprocess\", \"from\": \"a\", \"to\": \"out\", \"features\": {"
        "\"n\": {\"count\": \"a\", \"over\": [\"5m\", \"30d\", \"last10\", \"gap10s\"]},"
        "\"total\": {\"sum\": \"amount\", \"over\": [\"1h\", \"30d\"], \"delay\": \"1m\"},"
        "\"least\": {\"min\": \"amount\", \"over\": [\"5m\", \"last10\"]}, \"more\": {\"mean\": \"amount * 2\", \"over\": \"30d\"},"
        "\"places\": {\"distinct\": \"terminal_id\", \"over\": \"1h\"}}}}}";
    char path[] = "/tmp/test-restore-XXXXXX", folder[4096];
    FILE *f = fdopen(mkstemp(path), "w");
    struct stage *s = xcalloc(1, sizeof(*s));
    struct error err;

    assert_non_null(f);
    assert_non_null(getcwd(folder, sizeof(folder)));
    fprintf(f, json, folder);
    fclose(f);
    s->worker = &preprocess;
    s->opt = (struct stage_options){.pipeline = path, .stage = "one", .brokers = "none", .batch = 100};
    if (stage_load(s, &err) != OK || s->worker->open(s, &s->ctx, &err) != OK || intake_open(s, &err) != OK)
        fail_msg("%s", err.text);
    unlink(path);
    s->def->commit_interval_ms = 0;
    s->changelog_bytes = s->changelog_bytes_max = 4000;
    s->at_min_told = INT64_MIN;
    return s;
}

static void make_records(struct world *w, const struct stage *s)
{
    uint32_t id = schema_id(s->inputs[0].topic->schema);
    int64_t now = INT64_C(1600000000000);

    for (int i = 0; i < EVENTS; i++) {
        struct bytes b = BYTES_EMPTY;
        char key[16], terminal[16];
        int p;

        now += (int64_t)rand_below(&w->rand, 3000);
        snprintf(key, sizeof(key), "c%d", rand_below(&w->rand, 2) ? 0 : (int)rand_below(&w->rand, KEYS));
        snprintf(terminal, sizeof(terminal), "t%d", (int)rand_below(&w->rand, 12));
        p = kafka_partition(view_str(key), PARTITIONS);
        w->ms[p][w->n_records[p]] = now - (int64_t)rand_below(&w->rand, rand_below(&w->rand, 50) ? 30000 : 200000);
        frame_put(&b, id);
        avro_put_long(&b, i);
        avro_put_long(&b, w->ms[p][w->n_records[p]]);
        avro_put_str(&b, key);
        avro_put_str(&b, terminal);
        avro_put_double(&b, (double)rand_below(&w->rand, 50000) / 100);
        w->records[p][w->n_records[p]++] = (struct put){p, copy(view_str(key)), b};
    }
}

/* From `from` to the end. */
static void run(struct world *w, struct stage *s)
{
    struct error err;

    w->log.ops = &ops;
    w->s = s;
    s->log = &w->log;
    w->told = w->ended[0] = w->ended[1] = false;
    w->quiet = 0;
    w->n_commits = 0;
    assert_int_equal(loop_run(s, &err), ERR_FATAL);
    assert_string_equal(err.text, "done");
    for (size_t i = 0; i < s->n_tasks; i++)
        assert_int_equal(state_since_min(s->tasks[i]->state), INT64_MAX);
    stage_end(s);
}

static int by_bytes(const void *a, const void *b)
{
    const struct put *x = a, *y = b;
    size_t n = x->value.n < y->value.n ? x->value.n : y->value.n;
    int c = memcmp(x->value.data, y->value.data, n);

    return c ? c : (x->value.n > y->value.n) - (x->value.n < y->value.n);
}

/* The order between tasks is chance's; within one lineage has it, so equal bytes are equal order. */
static void compare(const struct puts *quiet, size_t from, struct puts *got, size_t point)
{
    size_t n = quiet->n - from;
    struct put *want;

    if (got->n != n)
        fail_msg("from commit %zu on: %zu records, the quiet run has %zu", point, got->n, n);
    if (n == 0)
        return;
    want = xmalloc(n * sizeof(*want));
    memcpy(want, quiet->all + from, n * sizeof(*want));
    qsort(want, n, sizeof(*want), by_bytes);
    qsort(got->all, n, sizeof(*got->all), by_bytes);
    for (size_t i = 0; i < n; i++)
        if (want[i].partition != got->all[i].partition || by_bytes(&want[i], &got->all[i]) != 0)
            fail_msg("from commit %zu on: record %zu of %zu differs", point, i, n);
    free(want);
}

static void a_restore_at_any_commit_puts_out_what_would_have_come(void **state)
{
    struct world *w = xcalloc(1, sizeof(*w));
    struct puts quiet, changes;
    struct committed *commits = xcalloc(COMMITS_MAX, sizeof(*commits));
    struct stage *s = load();
    size_t n, n_second = 0;

    (void)state;
    printf("seed 12\n");
    rand_seed(&w->rand, 12);
    make_records(w, s);
    w->from = (struct committed){.next = {-1, -1}};
    w->restored = &w->changes;
    run(w, s);
    n = w->n_commits;
    memcpy(commits, w->commits, n * sizeof(*commits));
    quiet = w->outputs;
    changes = w->changes;
    for (size_t i = 0; i < changes.n; i++)
        n_second += changes.all[i].key.n > 4 && changes.all[i].key.data[changes.all[i].key.n - 1] == 1;
    assert_int_equal(quiet.n, EVENTS); /* dead letters among them */
    assert_true(n > 50 && n_second > 0);
    for (int i = 0; i < POINTS; i++) {
        size_t point = (size_t)rand_below(&w->rand, n);

        w->outputs = w->changes = (struct puts){0};
        w->from = commits[point];
        w->restored = &changes;
        w->is_compacted = i % 2;
        run(w, load());
        compare(&quiet, commits[point].n_outputs, &w->outputs, point);
        puts_done(&w->outputs);
        puts_done(&w->changes);
    }
    puts_done(&quiet);
    puts_done(&changes);
    for (int p = 0; p < PARTITIONS; p++)
        for (size_t i = 0; i < w->n_records[p]; i++) {
            bytes_done(&w->records[p][i].key);
            bytes_done(&w->records[p][i].value);
        }
    free(commits);
    free(w);
}

/* However many tasks a process has, the loop waits for one commit. */
static void all_tasks_of_a_process_share_what_a_commit_writes(void **state)
{
    enum { TASKS = 8, DIRTY = 1000, VALUE = 100 };
    struct world *w = xcalloc(1, sizeof(*w));
    struct stage *s = load();
    size_t n_bytes = 0, n_keys = 0;
    struct error err;

    (void)state;
    w->log.ops = &ops;
    w->s = s;
    s->log = &w->log;
    s->changelog_bytes_max = 2 * s->changelog_bytes;
    s->tasks = xcalloc(TASKS, sizeof(*s->tasks));
    for (s->n_tasks = 0; s->n_tasks < TASKS; s->n_tasks++) {
        struct task *t = s->tasks[s->n_tasks] = task_new(s, (int)s->n_tasks);

        task_moment(t, 0, s->n_inputs);
        for (int k = 0; k < DIRTY; k++) {
            struct entry *e = state_get(t->state, view_str(arena_printf(&s->scratch, "k%d", k)), &err);

            assert_int_equal(state_resize(t->state, e, VALUE, &err), OK);
            state_dirty(t->state, e, 0, VALUE, 0);
        }
    }
    for (size_t i = 0; i < TASKS; i++)
        assert_int_equal(changelog_write(s, s->tasks[i], &err), OK);
    for (size_t i = 0; i < w->changes.n; i++) {
        n_keys += w->changes.all[i].key.n > 4;
        n_bytes += w->changes.all[i].key.n > 4 ? VALUE : 0;
    }
    assert_true(n_keys >= TASKS); /* each its part */
    assert_in_range(n_bytes, s->changelog_bytes_max / 2, s->changelog_bytes_max);
    puts_done(&w->changes);
    stage_end(s);
    free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_restore_at_any_commit_puts_out_what_would_have_come),
                                       cmocka_unit_test(all_tasks_of_a_process_share_what_a_commit_writes)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
