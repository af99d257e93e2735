/*
 * test/unit/test_order.c: the order in which a task takes its inputs' records, against slow readings of the rule.
 *
 * Streams are drawn: a topic from outside and two that stages with three tasks write, with marks, rest, epochs and words that
 * lie. The shipped intake, merge, task and changelog take them in chunks of any size, with restarts from the last checkpoint in
 * between. Per input the order is that of a reader who applies the rule after each word by trying all pairs; over all inputs,
 * where nobody rests before the end, that of sorting all records at once.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/rand.h"
#include "stage/internal.h"
#include "wire/frame.h"
#include "wire/text.h"

#define SEED 11
#define ROUNDS 400
#define INPUTS 3
#define TASKS 3
#define WORDS_MAX 120
#define T0 INT64_C(1600000000000)
#define MINUTE INT64_C(60000)

enum verdict { TAKEN, DEAD, NO_RECORD };

/* One word of an input's log and what the slow reader made of it. */
struct word {
    bool is_mark, idle;
    int epoch, task;
    int64_t at;    /* in the topic from outside: the event time */
    int64_t from;  /* the offset that its writer took, of one channel; 0: not said */
    int64_t order; /* `at` that orders it */
    enum verdict verdict;
    struct bytes bytes; /* a mark's header or a record's value */
};

struct stream {
    struct word words[WORDS_MAX];
    size_t n;
    size_t order[WORDS_MAX], n_order; /* as the slow reader releases them */
};

struct world {
    struct log log;
    struct stage *s;
    struct stream in[INPUTS];
    size_t fed[INPUTS];
    size_t got[INPUTS][WORDS_MAX], n_got[INPUTS]; /* words taken, in order */
    struct { int input; size_t word; } all[INPUTS * WORDS_MAX];
    size_t n_all;
    struct bytes key[2], value[2]; /* the checkpoint and the state of the one key: the last put, and what a commit made of it */
    struct bytes committed_key[2], committed[2];
    struct log_position at[INPUTS];
};

/* ---- the log ---- */

static void release(struct log *l, struct log_record *r)
{
    (void)l, (void)r;
}

static int64_t end_of(struct log *l, int input, int partition)
{
    (void)partition;
    return (int64_t)((struct world *)l)->in[input].n;
}

static void set_bytes(struct bytes *b, struct view v)
{
    bytes_clear(b);
    bytes_append(b, v.data, v.n);
}

static enum status put(struct log *l, const struct log_put *p, struct error *err)
{
    struct world *w = (struct world *)l;

    (void)err;
    if (strcmp(p->topic, w->s->changelog) == 0) {
        set_bytes(&w->key[p->key.n != 4], p->key);
        set_bytes(&w->value[p->key.n != 4], p->value);
    }
    return OK;
}

static enum status committed(struct log *l, int task, struct log_position *ret, struct error *err)
{
    (void)task, (void)err;
    memcpy(ret, ((struct world *)l)->at, sizeof(((struct world *)l)->at));
    return OK;
}

static enum status restore(struct log *l, const char *topic, const int *partitions, size_t n, log_restore_fn *each, void *ctx,
                           struct error *err)
{
    struct world *w = (struct world *)l;

    (void)topic, (void)n;
    for (int i = 1; i >= 0; i--) {
        const struct bytes *key = &w->committed_key[i], *value = &w->committed[i];

        if (value->n && each(ctx, &(struct log_kept){partitions[0], view_of(key->data, key->n), view_of(value->data, value->n)}, 1, err) != OK)
            return err->status;
    }
    return OK;
}

static enum status seek(struct log *l, int input, int partition, int64_t offset, struct error *err)
{
    (void)partition, (void)err;
    ((struct world *)l)->fed[input] = offset < 0 ? 0 : (size_t)offset;
    return OK;
}

static const struct log_ops ops = {
    .release = release, .end = end_of, .put = put, .committed = committed, .restore = restore, .seek = seek};

/* ---- the slow reader ---- */

static bool earlier(const struct word *a, const struct word *b)
{
    return a->order != b->order ? a->order < b->order : a->task < b->task;
}

struct slow {
    struct stream *st;
    bool waits[WORDS_MAX];
    int64_t said[TASKS], last[TASKS]; /* in any word, in a record */
    bool idle[TASKS];
    int epoch;
};

static size_t smallest(const struct slow *r)
{
    size_t best = SIZE_MAX;

    for (size_t i = 0; i < r->st->n; i++)
        if (r->waits[i] && (best == SIZE_MAX || earlier(&r->st->words[i], &r->st->words[best])))
            best = i;
    return best;
}

static bool may_go(const struct slow *r, size_t i)
{
    const struct word *w = &r->st->words[i];

    for (int t = 0; t < TASKS; t++) {
        bool has = false;

        for (size_t k = 0; k < r->st->n; k++)
            has |= r->waits[k] && r->st->words[k].task == t;
        if (!has && !r->idle[t] && !(r->said[t] > w->order || (r->said[t] == w->order && t > w->task)))
            return false;
    }
    return true;
}

static void let_go(struct slow *r)
{
    size_t i;

    while ((i = smallest(r)) != SIZE_MAX && may_go(r, i)) {
        r->waits[i] = false;
        r->st->order[r->st->n_order++] = i;
    }
}

static void read_inside(struct stream *st)
{
    struct slow r = {.st = st};

    for (int t = 0; t < TASKS; t++)
        r.said[t] = r.last[t] = INT64_MIN;
    for (size_t i = 0; i < st->n; i++) {
        struct word *w = &st->words[i];
        bool old = w->epoch < r.epoch, behind = !old && w->at < (w->is_mark ? r.said : r.last)[w->task];

        w->verdict = w->is_mark ? NO_RECORD : old || behind ? DEAD : TAKEN;
        if (old && !w->is_mark)
            st->order[st->n_order++] = i;
        if (old || (behind && w->is_mark))
            continue;
        if (w->epoch > r.epoch) {
            memset(r.idle, 0, sizeof(r.idle));
            r.epoch = w->epoch;
        }
        w->order = behind ? r.last[w->task] : w->at; /* in its place: it may be a repeat */
        if (w->order > r.said[w->task])
            r.said[w->task] = w->order;
        if (!w->is_mark)
            r.last[w->task] = w->order;
        r.idle[w->task] = w->is_mark && w->idle;
        r.waits[i] = !w->is_mark;
        let_go(&r);
    }
    assert_true(smallest(&r) == SIZE_MAX); /* at the end all rest */
}

static void read_outside(struct stream *st, int64_t lateness_ms)
{
    int64_t at = INT64_MIN;

    for (size_t i = 0; i < st->n; i++) {
        struct word *w = &st->words[i];

        w->verdict = at != INT64_MIN && w->at < at - lateness_ms ? DEAD : TAKEN;
        if (w->verdict == TAKEN && w->at > at)
            at = w->at;
        w->order = at;
        st->order[st->n_order++] = i;
    }
}

/* ---- drawing ---- */

static void encode(struct world *w, size_t input, struct word *word)
{
    const struct schema *schema = w->s->inputs[input].topic->schema;
    struct bytes json = BYTES_EMPTY, body = BYTES_EMPTY;
    struct error err;

    if (word->is_mark) {
        const struct mark m = {word->epoch, word->task, TASKS, word->at, word->idle};

        mark_put(&m, &word->bytes);
        return;
    }
    bytes_printf(&json, "{\"tx_id\":1,\"customer_id\":\"c\",\"terminal_id\":\"t\",\"amount\":1,\"%s\":%lld",
                 input == 0 ? "reported_ts" : "ts", (long long)word->at);
    if (input != 0)
        bytes_printf(&json, ",\"lineage\":{\"source\":{\"topic\":\"a\",\"partition\":0,\"offset\":0},\"task\":%d,\"offset\":%lld,"
                     "\"channel\":%d,\"index\":0,\"tasks\":%d,\"epoch\":%d,\"at\":%lld,\"seen\":[]}", word->task, (long long)word->from,
                     word->from ? 0 : -1, TASKS, word->epoch, (long long)word->at);
    bytes_printf(&json, "}");
    if (text_to_avro(schema, view_of(json.data, json.n), &body, &err) != OK)
        fail_msg("%s", err.text);
    frame_put(&word->bytes, schema_id(schema));
    bytes_append(&word->bytes, body.data, body.n);
    bytes_done(&json);
    bytes_done(&body);
}

static void add(struct world *w, size_t input, struct word word)
{
    struct stream *st = &w->in[input];

    assert_true(st->n < WORDS_MAX);
    st->words[st->n] = word;
    encode(w, input, &st->words[st->n++]);
}

static void draw_outside(struct world *w, struct rand *r, size_t n, bool tidy)
{
    int64_t at = T0;

    for (size_t i = 0; i < n; i++) {
        at += (int64_t)rand_below(r, 40) * MINUTE;
        add(w, 0, (struct word){.at = tidy ? at : at - (int64_t)rand_below(r, 80) * MINUTE});
    }
}

/* tidy: nobody rests, lies or changes its epoch before the end. */
static void draw_inside(struct world *w, size_t input, struct rand *r, size_t n, bool tidy)
{
    int64_t at[TASKS] = {T0, T0, T0};
    int epoch = 0;

    for (size_t i = 0; i < n; i++) {
        int t = (int)rand_below(r, TASKS);
        uint64_t kind = rand_below(r, tidy ? 8 : 12);
        struct word word = {.epoch = epoch, .task = t};

        at[t] += (int64_t)rand_below(r, 30) * MINUTE;
        word.at = at[t];
        word.is_mark = kind >= 6 && kind < 10;
        word.idle = kind == 8 || kind == 9;
        if (kind == 10 && rand_below(r, 3) == 0) {
            word.epoch = ++epoch;
        } else if (kind == 10) {
            word.epoch = epoch > 0 ? epoch - 1 : 0; /* too late */
        } else if (kind == 11) {
            word.at -= (int64_t)(1 + rand_below(r, 50)) * MINUTE; /* said more already */
            word.is_mark = rand_below(r, 2);
        }
        if (kind >= 10 && word.epoch == epoch && word.at > at[t])
            at[t] = word.at;
        add(w, input, word);
    }
    for (int t = 0; t < TASKS; t++)
        add(w, input, (struct word){.is_mark = true, .idle = true, .epoch = epoch, .task = t, .at = at[t] + 1000 * MINUTE});
}

/* ---- taking ---- */

static void feed(struct world *w, size_t input, size_t n, int64_t now_ms)
{
    struct stream *st = &w->in[input];
    struct error err;

    for (; n > 0 && w->fed[input] < st->n; n--, w->fed[input]++) {
        const struct word *word = &st->words[w->fed[input]];
        struct view v = view_of(word->bytes.data, word->bytes.n);
        struct log_record r = {.input = (int)input, .offset = (int64_t)w->fed[input], .arrival_ms = -1};

        if (word->is_mark)
            r.mark = v;
        else
            r.value = v;
        if (intake_record(w->s, &r, now_ms, &err) != OK)
            fail_msg("input %zu word %zu: %s", input, w->fed[input], err.text);
    }
    if (w->fed[input] == st->n) {
        struct log_record end = {.input = (int)input, .offset = (int64_t)st->n, .at_end = true};

        assert_int_equal(intake_record(w->s, &end, now_ms, &err), OK);
    }
}

static void take(struct world *w, size_t n, int64_t now_ms)
{
    struct task *t = w->s->tasks[0];
    struct error err;
    int input;

    for (; n > 0 && task_head(w->s, t, now_ms, &input) != NULL; n--) {
        struct pending p;
        const struct word *word;
        size_t k;

        assert_true(task_take(w->s, t, input, &p));
        k = (size_t)p.rec.offset;
        word = &w->in[input].words[k];

        if (p.at > t->at)
            t->at = p.at;
        if (!p.replay) {
            if ((p.bad != NULL) != (word->verdict == DEAD))
                fail_msg("input %d word %zu: %s", input, k, p.bad ? p.bad : "good");
            w->got[input][w->n_got[input]++] = k;
            w->all[w->n_all].input = input;
            w->all[w->n_all++].word = k;
            t->inputs[input].n_taken++;
        }
        t->changed = true;
        state_dirty(t->state, state_get(t->state, view_str("key"), &err), 0, 1, w->s->commit);
        task_release(w->s, &p);
    }
}

/* As the loop does: checkpoint and positions together. The key that changed is not always written. */
static void commit(struct world *w, bool all)
{
    struct task *t = w->s->tasks[0];
    struct error err;

    w->s->changelog_bytes = w->s->changelog_bytes_max = all ? CHANGELOG_BYTES : 0;
    assert_int_equal(changelog_write(w->s, t, &err), OK);
    output_forget(w->s);
    for (int i = 0; i < 2; i++) {
        set_bytes(&w->committed_key[i], view_of(w->key[i].data, w->key[i].n));
        set_bytes(&w->committed[i], view_of(w->value[i].data, w->value[i].n));
    }
    for (int i = 0; i < INPUTS; i++) {
        int64_t low = task_low(t, (size_t)i);

        if (low < w->at[i].offset)
            continue;
        w->at[i].offset = low;
        snprintf(w->at[i].metadata, sizeof(w->at[i].metadata), "{\"taken\":%lld,\"at\":%lld}",
                 (long long)t->inputs[i].n_taken, (long long)t->at);
    }
    w->s->commit++;
    task_moment(t, w->s->commit, INPUTS);
}

/* What was taken since the last commit was never put out: it is taken again. */
static void restart(struct world *w)
{
    struct error err;

    if (w->s->n_tasks)
        task_free(w->s, w->s->tasks[0]);
    w->s->n_tasks = 1;
    w->s->tasks[0] = task_new(w->s, 0);
    if (changelog_restore(w->s, &err) != OK)
        fail_msg("%s", err.text);
    task_moment(w->s->tasks[0], w->s->commit, INPUTS);
    w->n_all = 0;
    for (int i = 0; i < INPUTS; i++) {
        int64_t taken = w->s->tasks[0]->inputs[i].n_taken;

        w->n_got[i] = (size_t)taken;
        w->n_all += (size_t)taken;
    }
}

static void run(struct world *w, struct rand *r, bool restarts)
{
    int64_t now_ms = 1000;
    size_t left = 1;

    while (left > 0) {
        size_t input = (size_t)rand_below(r, INPUTS);

        feed(w, input, 1 + (size_t)rand_below(r, 1 + rand_below(r, 40)), now_ms);
        take(w, (size_t)rand_below(r, 30), now_ms);
        now_ms += (int64_t)rand_below(r, 2) * 200;
        if (rand_below(r, 4) == 0)
            commit(w, rand_below(r, 3) == 0);
        if (restarts && rand_below(r, 12) == 0)
            restart(w);
        left = 0;
        for (int i = 0; i < INPUTS; i++)
            left += w->in[i].n - w->fed[i];
    }
    for (size_t i = 0; i < INPUTS; i++)
        feed(w, i, 0, now_ms);
    take(w, SIZE_MAX, now_ms + 10 * IDLE_AFTER_MS);
}

/* ---- the stage ---- */

static void load(struct world *w)
{
    static const struct worker preprocess = {.name = "preprocess"};
    static const char *const json =
        "{\"pipeline\": \"p\", \"schemas\": \"%s/schemas\", \"topics\": {"
        "\"labels\": {\"schema\": \"FraudLabel\", \"key\": \"terminal_id\", \"time\": \"reported_ts\", \"partitions\": 3},"
        "\"a\": {\"schema\": \"Transaction\", \"key\": \"customer_id\", \"time\": \"ts\", \"partitions\": 3},"
        "\"b\": {\"key\": \"terminal_id\"}, \"c\": {\"key\": \"terminal_id\"}, \"out\": {}}, \"stages\": {"
        "\"one\": {\"worker\": \"preprocess\", \"from\": \"a\", \"to\": \"b\", \"epoch\": 99, \"features\": {\"x\": \"amount\"}},"
        "\"two\": {\"worker\": \"preprocess\", \"from\": \"a\", \"to\": \"c\", \"epoch\": 99, \"features\": {\"x\": \"amount\"}},"
        "\"last\": {\"worker\": \"preprocess\", \"from\": [\"labels\", \"b\", \"c\"], \"emit_on\": \"b\", \"to\": \"out\","
        "\"features\": {\"n\": {\"count\": \"b\", \"over\": \"1d\"}}}}}";
    char path[] = "/tmp/test-order-XXXXXX", folder[4096];
    FILE *f = fdopen(mkstemp(path), "w");
    struct error err;

    assert_non_null(f);
    assert_non_null(getcwd(folder, sizeof(folder)));
    fprintf(f, json, folder);
    fclose(f);
    *w = (struct world){.log = {&ops}, .s = xcalloc(1, sizeof(*w->s))};
    w->s->worker = &preprocess;
    w->s->opt = (struct stage_options){.pipeline = path, .stage = "last", .brokers = "none", .batch = 100};
    if (stage_load(w->s, &err) != OK || intake_open(w->s, &err) != OK)
        fail_msg("%s", err.text);
    unlink(path);
    assert_int_equal(w->s->n_inputs, INPUTS);
    assert_true(w->s->inputs[1].marked && w->s->inputs[1].tasks == TASKS && w->s->inputs[0].outside);
    w->s->log = &w->log;
    w->s->tasks = xcalloc(1, sizeof(*w->s->tasks));
}

static void forget_round(struct world *w)
{
    if (w->s->n_tasks)
        task_free(w->s, w->s->tasks[0]);
    w->s->n_tasks = 0;
    for (int i = 0; i < INPUTS; i++) {
        for (size_t k = 0; k < w->in[i].n; k++)
            bytes_done(&w->in[i].words[k].bytes);
        w->in[i].n = w->in[i].n_order = w->fed[i] = 0;
        w->at[i] = (struct log_position){.input = i, .offset = -1};
    }
    for (int i = 0; i < 2; i++) {
        bytes_clear(&w->value[i]);
        bytes_clear(&w->committed[i]);
    }
}

static void unload(struct world *w)
{
    forget_round(w);
    w->s->log = NULL;
    stage_end(w->s);
    for (int i = 0; i < 2; i++) {
        bytes_done(&w->key[i]);
        bytes_done(&w->value[i]);
        bytes_done(&w->committed_key[i]);
        bytes_done(&w->committed[i]);
    }
}

static void draw(struct world *w, struct rand *r, bool tidy)
{
    forget_round(w);
    draw_outside(w, r, 1 + (size_t)rand_below(r, 60), tidy);
    for (size_t i = 1; i < INPUTS; i++)
        draw_inside(w, i, r, 1 + (size_t)rand_below(r, 100), tidy);
    read_outside(&w->in[0], w->s->inputs[0].topic->lateness_ms);
    for (size_t i = 1; i < INPUTS; i++)
        read_inside(&w->in[i]);
    restart(w);
}

static void each_input(bool restarts)
{
    static struct world w;
    struct rand r;

    printf("seed %d\n", SEED);
    rand_seed(&r, SEED);
    load(&w);
    for (int round = 0; round < ROUNDS; round++) {
        draw(&w, &r, /* tidy= */ round % 4 == 0);
        run(&w, &r, restarts);
        for (int i = 0; i < INPUTS; i++) {
            if (w.n_got[i] != w.in[i].n_order)
                fail_msg("round %d input %d: %zu of %zu records taken", round, i, w.n_got[i], w.in[i].n_order);
            for (size_t k = 0; k < w.n_got[i]; k++)
                if (w.got[i][k] != w.in[i].order[k])
                    fail_msg("round %d input %d: record %zu taken is word %zu, not %zu", round, i, k, w.got[i][k],
                             w.in[i].order[k]);
        }
    }
    unload(&w);
}

static void each_input_is_taken_as_a_slow_reader_takes_it(void **state)
{
    (void)state;
    each_input(/* restarts= */ false);
}

static void a_restart_from_any_checkpoint_goes_on_in_the_same_order(void **state)
{
    (void)state;
    each_input(/* restarts= */ true);
}

/* By the cursors of what was taken repeats are known: what is refused may not move them. */
static void what_a_writer_of_an_ended_epoch_says_is_no_repeat_of_the_next_ones(void **state)
{
    static struct world w;

    (void)state;
    load(&w);
    forget_round(&w);
    add(&w, 1, (struct word){.epoch = 1, .at = T0, .from = 5});
    add(&w, 1, (struct word){.epoch = 0, .at = T0, .from = 9});
    add(&w, 1, (struct word){.epoch = 1, .at = T0 + 1, .from = 7});
    for (int t = 0; t < TASKS; t++)
        for (size_t i = 1; i < INPUTS; i++)
            add(&w, i, (struct word){.is_mark = true, .idle = true, .epoch = 1, .task = t, .at = T0 + MINUTE});
    read_inside(&w.in[1]);
    restart(&w);
    for (size_t i = 0; i < INPUTS; i++)
        feed(&w, i, SIZE_MAX, 1000);
    take(&w, SIZE_MAX, 1000 + 10 * IDLE_AFTER_MS);
    assert_int_equal(w.n_got[1], 3);
    unload(&w);
}

static const struct world *sorting;

static int by_order(const void *x, const void *y)
{
    const struct { int input; size_t word; } *a = x, *b = y;
    const struct word *v = &sorting->in[a->input].words[a->word], *w = &sorting->in[b->input].words[b->word];

    if (v->order != w->order)
        return v->order < w->order ? -1 : 1;
    if (a->input != b->input)
        return a->input < b->input ? -1 : 1;
    if (v->task != w->task)
        return v->task < w->task ? -1 : 1;
    return a->word < b->word ? -1 : 1;
}

static void all_inputs_come_as_one_sort_of_all_records(void **state)
{
    static struct world w;
    struct rand r;

    (void)state;
    printf("seed %d\n", SEED);
    rand_seed(&r, SEED);
    load(&w);
    for (int round = 0; round < ROUNDS; round++) {
        struct { int input; size_t word; } want[INPUTS * WORDS_MAX];
        size_t n = 0;

        draw(&w, &r, /* tidy= */ true);
        run(&w, &r, /* restarts= */ false);
        for (int i = 0; i < INPUTS; i++)
            for (size_t k = 0; k < w.in[i].n; k++)
                if (!w.in[i].words[k].is_mark) {
                    want[n].input = i;
                    want[n++].word = k;
                }
        sorting = &w;
        qsort(want, n, sizeof(*want), by_order);
        assert_int_equal(w.n_all, n);
        for (size_t k = 0; k < n; k++)
            if (want[k].input != w.all[k].input || want[k].word != w.all[k].word)
                fail_msg("round %d: record %zu taken is %d/%zu, not %d/%zu", round, k, w.all[k].input, w.all[k].word,
                         want[k].input, want[k].word);
    }
    unload(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_input_is_taken_as_a_slow_reader_takes_it),
        cmocka_unit_test(a_restart_from_any_checkpoint_goes_on_in_the_same_order),
        cmocka_unit_test(what_a_writer_of_an_ended_epoch_says_is_no_repeat_of_the_next_ones),
        cmocka_unit_test(all_inputs_come_as_one_sort_of_all_records),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
