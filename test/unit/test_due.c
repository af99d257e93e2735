/* test/unit/test_due.c: when rows that no record makes are put, and what a task says before they are. No clock, no broker. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "stage/internal.h"

#define EVERY 100
#define KEYS 5
#define BATCH 2

/* What make_due was asked for, in its order. */
struct asked {
    int64_t due_ms[64];
    size_t from[64], n;
};

static int64_t next_due(void *ctx, int64_t after_ms)
{
    (void)ctx;
    return (after_ms / EVERY + 1) * EVERY;
}

static enum status make_due(void *ctx, struct rows *last, int64_t due_ms, size_t n, size_t *from, struct out *outs, bool *ret_all,
                            struct error *err)
{
    struct asked *a = ctx;

    (void)last, (void)outs, (void)err;
    assert_int_equal(n, BATCH);
    a->due_ms[a->n] = due_ms;
    a->from[a->n++] = *from;
    *from = *from + n > KEYS ? KEYS : *from + n;
    *ret_all = *from == KEYS;
    return OK;
}

static void release(struct log *l, struct log_record *r)
{
    (void)l, (void)r;
}

static const struct log_ops ops = {.release = release};
static const struct worker worker = {.name = "preprocess", .due = next_due, .make_due = make_due};

struct made {
    struct pipeline pipeline;
    struct stage stage;
    struct stage_def def;
    struct log log;
    struct topic topic;
    struct task *task;
    struct asked asked;
};

/* A stage of one task with one input: of two channels with marks, or from outside. */
static void begin(struct made *m, bool outside, int keys)
{
    struct error err;

    *m = (struct made){.pipeline = {.memory = {.state = 1 << 20}}, .log = {&ops}, .topic = {.broker_name = "p.t"}};
    m->stage.pipeline = &m->pipeline;
    m->stage.worker = &worker;
    m->stage.ctx = &m->asked;
    m->stage.def = &m->def;
    m->stage.log = &m->log;
    m->stage.timed = true;
    m->stage.opt.batch = BATCH;
    m->stage.n_inputs = 1;
    m->stage.inputs[0] = (struct input){.topic = &m->topic, .outside = outside, .marked = !outside, .tasks = 2};
    m->task = task_new(&m->stage, 0);
    for (int i = 0; i < keys; i++)
        assert_non_null(state_get(m->task->state, view_of(&i, sizeof(i)), &err));
}

static void end(struct made *m)
{
    task_free(&m->stage, m->task);
    arena_done(&m->stage.batch);
}

static void push(struct made *m, int task, int64_t at, int64_t offset)
{
    const struct pending p = {.rec = {.offset = offset}, .task = task, .at = at, .event_ms = at, .origin.channel = -1};

    merge_push(&m->task->inputs[0].merge, &p);
}

static void mark(struct made *m, int task, int64_t at, bool idle, int64_t offset)
{
    const struct mark word = {0, task, 2, at, idle};

    merge_mark(&m->task->inputs[0].merge, &word, offset);
}

static void take_record(struct made *m, int64_t now_ms)
{
    struct pending p;
    int input;

    assert_non_null(task_head(&m->stage, m->task, now_ms, &input));
    assert_true(task_take(&m->stage, m->task, input, &p));
    m->task->at = p.at > m->task->at ? p.at : m->task->at;
    (void)due_at(&m->stage, m->task, &p);
}

/* How many steps it takes until nothing is due. */
static size_t run(struct made *m)
{
    struct error err;
    size_t before = m->asked.n, n;

    do
        assert_int_equal(due_run(&m->stage, m->task, 1000000, &n, &err), OK);
    while (n);
    return m->asked.n - before;
}

static void all_that_is_due_comes_before_the_record_behind_it_in_steps(void **state)
{
    struct made m;

    (void)state;
    begin(&m, /* outside= */ true, KEYS);
    push(&m, 0, 50, 0);
    assert_int_equal(run(&m), 0); /* the first record is behind nothing */
    take_record(&m, 0);
    push(&m, 0, 199, 1);
    push(&m, 0, 310, 2);
    assert_int_equal(run(&m), 3);
    for (size_t i = 0; i < 3; i++)
        assert_true(m.asked.due_ms[i] == 100 && m.asked.from[i] == BATCH * i);
    take_record(&m, 0);
    assert_int_equal(run(&m), 6);
    assert_true(m.asked.due_ms[3] == 200 && m.asked.from[3] == 0 && m.asked.due_ms[8] == 300);
    take_record(&m, 0);
    assert_int_equal(run(&m), 0);
    assert_int_equal(due_next(&m.stage, m.task), 400);
    end(&m);
}

static void a_record_at_the_moment_itself_is_behind_it(void **state)
{
    struct made m;

    (void)state;
    begin(&m, /* outside= */ true, KEYS);
    push(&m, 0, 50, 0);
    take_record(&m, 0);
    push(&m, 0, 100, 1);
    assert_int_equal(run(&m), 3);
    assert_int_equal(due_next(&m.stage, m.task), 200);
    end(&m);
}

static void marks_tell_the_time_where_no_record_comes(void **state)
{
    struct made m;

    (void)state;
    begin(&m, /* outside= */ false, KEYS);
    push(&m, 0, 50, 0);
    mark(&m, 1, 60, false, 1);
    take_record(&m, 0);
    assert_int_equal(run(&m), 0);
    mark(&m, 1, 250, false, 2);
    assert_int_equal(run(&m), 0); /* channel 0 may still bring less */
    mark(&m, 0, 50, true, 3);
    assert_int_equal(run(&m), 6);
    assert_int_equal(m.asked.due_ms[5], 200);
    assert_int_equal(due_time(m.task), 200);
    end(&m);
}

static void nothing_is_due_by_the_end_of_a_topic_from_outside(void **state)
{
    struct made m;

    (void)state;
    begin(&m, /* outside= */ true, KEYS);
    push(&m, 0, 50, 0);
    take_record(&m, 0);
    m.task->inputs[0].end_since_ms = 1;
    assert_int_equal(run(&m), 0);
    assert_int_equal(m.asked.n, 0);
    end(&m);
}

/* As they came: that a channel rests at last takes nothing back. */
static void marks_tell_the_time_at_the_end_of_a_replay_as_they_did(void **state)
{
    struct made m;

    (void)state;
    begin(&m, /* outside= */ false, KEYS);
    m.stage.finite = true;
    push(&m, 0, 50, 0);
    mark(&m, 1, 20, /* idle= */ true, 1);
    take_record(&m, 0);
    mark(&m, 0, 210, /* idle= */ false, 2);
    mark(&m, 0, 290, /* idle= */ true, 3);
    merge_end(&m.task->inputs[0].merge);
    assert_true(run(&m) > 0);
    assert_int_equal(m.asked.due_ms[m.asked.n - 1], 200);
    end(&m);
}

/* Live as well, though nobody waits for who rests; and what lies before a mark is taken before what is due by it. */
static void so_they_do_live_behind_the_records_that_are_held(void **state)
{
    struct made m;

    (void)state;
    begin(&m, /* outside= */ false, KEYS);
    push(&m, 0, 50, 0);
    mark(&m, 1, 20, /* idle= */ true, 1);
    take_record(&m, 0);
    push(&m, 0, 150, 2);
    mark(&m, 0, 210, /* idle= */ false, 3);
    mark(&m, 0, 290, /* idle= */ true, 4);
    assert_true(run(&m) > 0);
    assert_int_equal(m.asked.due_ms[m.asked.n - 1], 100);
    take_record(&m, 0);
    assert_true(run(&m) > 0);
    assert_int_equal(m.asked.due_ms[m.asked.n - 1], 200);
    end(&m);
}

/* Readers would take a row with a smaller `at` than that for a lie. */
static void a_task_says_no_more_than_what_is_due_next(void **state)
{
    struct made m;

    (void)state;
    begin(&m, /* outside= */ true, KEYS);
    push(&m, 0, 50, 0);
    take_record(&m, 0);
    push(&m, 0, 310, 1);
    assert_int_equal(task_awaits(&m.stage, m.task, 0), 310);
    assert_int_equal(task_progress(&m.stage, m.task, 0), 100);
    (void)run(&m);
    assert_int_equal(task_progress(&m.stage, m.task, 0), 310);
    end(&m);
    begin(&m, /* outside= */ true, 0);
    push(&m, 0, 50, 0);
    take_record(&m, 0);
    push(&m, 0, 310, 1);
    assert_int_equal(task_progress(&m.stage, m.task, 0), 310); /* without a key nothing comes */
    assert_int_equal(run(&m), 0);
    end(&m);
}

/* It woke with what the marks of the others had passed: a restore could not know what was out by then. */
static void what_wakes_behind_the_marks_has_all_state_written(void **state)
{
    struct made m;

    (void)state;
    begin(&m, /* outside= */ false, KEYS);
    push(&m, 0, 50, 0);
    mark(&m, 1, 250, false, 1);
    take_record(&m, 0);
    mark(&m, 0, 50, true, 2);
    assert_int_equal(run(&m), 6);
    assert_false(m.task->woken);
    push(&m, 0, 120, 3);
    take_record(&m, 0);
    assert_true(m.task->woken);
    assert_int_equal(due_time(m.task), 200);
    end(&m);
}

static void nothing_is_due_while_records_are_taken_again(void **state)
{
    struct made m;

    (void)state;
    begin(&m, /* outside= */ true, KEYS);
    push(&m, 0, 50, 0);
    take_record(&m, 0);
    push(&m, 0, 310, 1);
    m.task->inputs[0].replay_to = 1;
    assert_int_equal(run(&m), 0);
    m.task->inputs[0].next_offset = 1;
    assert_true(run(&m) > 0);
    end(&m);
}

/* Their `at` is that of then, from where the checkpoint says that the task was, and not that of now. */
static void a_record_that_is_taken_again_has_the_at_that_it_had(void **state)
{
    struct made m;
    struct pending p = {.at = 120, .replay = true};

    (void)state;
    begin(&m, /* outside= */ true, KEYS);
    m.task->at = 310;
    m.task->due.replay_at = 100;
    assert_int_equal(due_at(&m.stage, m.task, &p), 120);
    p.at = 90;
    assert_int_equal(due_at(&m.stage, m.task, &p), 120);
    p.replay = false;
    assert_int_equal(due_at(&m.stage, m.task, &p), 310);
    end(&m);
}

/* What a key needs that becomes dirty then is taken once more if the task dies amid the replay, and from there. */
static void a_moment_amid_a_replay_has_the_replays_progress(void **state)
{
    struct made m;
    struct error err;

    (void)state;
    begin(&m, /* outside= */ true, KEYS);
    m.task->at = m.task->due.at = 310;
    m.task->due.replay_at = 100;
    m.task->inputs[0].replay_to = 5;
    task_moment(m.task, 1, 1);
    state_dirty(m.task->state, state_get(m.task->state, view_str("k"), &err), 0, 1, 1);
    assert_int_equal(task_need(m.task, 1)->at, 100);
    m.task->inputs[0].next_offset = 5;
    task_moment(m.task, 2, 1);
    assert_int_equal(m.task->moments[m.task->n_moments - 1].at, 310);
    end(&m);
}

/* The checkpoint holds it as JSON; a restore that could not read it would never end. */
static void a_source_that_no_stage_can_have_written_is_not_kept(void **state)
{
    static const struct {
        const char *topic;
        int64_t partition, offset;
        bool kept;
    } cases[] = {{"p.t-1_A", 3, 7, true}, {"p\"t", 3, 7, false}, {"", 3, 7, false}, {"p.t", -1, 7, false}, {"p.t", 3, -7, false},
                 {"p.t", (int64_t)1 << 40, 7, false}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct pending p = {.rec = {.offset = 11}};
        const char *bad[1] = {NULL};
        const int n_outs[1] = {2};
        struct batch cols;
        struct rows rows = {.cols = &cols, .bad = bad};
        struct made m;

        begin(&m, /* outside= */ false, KEYS);
        batch_init(&cols, &m.stage.batch, 1);
        cols.n_rows = 1;
        batch_add_col(&cols, "lineage.source.topic", COL_STRING)->view[0] = view_str(cases[i].topic);
        batch_add_col(&cols, "lineage.source.partition", COL_INT)->i64[0] = cases[i].partition;
        batch_add_col(&cols, "lineage.source.offset", COL_INT)->i64[0] = cases[i].offset;
        due_behind(&m.stage, m.task, &rows, &p, n_outs);
        assert_string_equal(m.task->due.topic, cases[i].kept ? cases[i].topic : "");
        assert_int_equal(m.task->due.partition, cases[i].kept ? cases[i].partition : 0);
        assert_int_equal(m.task->due.offset, cases[i].kept ? cases[i].offset : 0);
        end(&m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_that_is_due_comes_before_the_record_behind_it_in_steps),
        cmocka_unit_test(a_record_at_the_moment_itself_is_behind_it),
        cmocka_unit_test(marks_tell_the_time_where_no_record_comes),
        cmocka_unit_test(nothing_is_due_by_the_end_of_a_topic_from_outside),
        cmocka_unit_test(marks_tell_the_time_at_the_end_of_a_replay_as_they_did),
        cmocka_unit_test(so_they_do_live_behind_the_records_that_are_held),
        cmocka_unit_test(a_task_says_no_more_than_what_is_due_next),
        cmocka_unit_test(what_wakes_behind_the_marks_has_all_state_written),
        cmocka_unit_test(nothing_is_due_while_records_are_taken_again),
        cmocka_unit_test(a_record_that_is_taken_again_has_the_at_that_it_had),
        cmocka_unit_test(a_moment_amid_a_replay_has_the_replays_progress),
        cmocka_unit_test(a_source_that_no_stage_can_have_written_is_not_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
