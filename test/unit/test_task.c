/* test/unit/test_task.c: when an input rests, and in which order a task takes what its inputs bring. No clock, no broker. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "stage/internal.h"

/* A log that only knows where its partitions end. */
struct ends {
    struct log log;
    int64_t end;
};

static int64_t end_of(struct log *l, int input, int partition)
{
    (void)input, (void)partition;
    return ((struct ends *)l)->end;
}

static void release(struct log *l, struct log_record *r)
{
    (void)l, (void)r;
}

static const struct log_ops ops = {.end = end_of, .release = release};
static const struct worker worker = {.name = "preprocess"};

/* A stage of one task, with inputs from inside (marked), outside, or inside without marks. */
struct made {
    struct stage stage;
    struct stage_def def;
    struct ends log;
    struct topic topic;
    struct task *tasks[1];
};

static struct pipeline pipeline = {.memory = {.state = (size_t)1 << 30}};

static void make(struct made *m, size_t n_inputs)
{
    *m = (struct made){.log = {{&ops}, 0}};
    m->stage.worker = &worker;
    m->stage.pipeline = &pipeline;
    m->stage.def = &m->def;
    m->stage.log = &m->log.log;
    m->stage.tasks = m->tasks;
    m->stage.n_tasks = 1;
    m->stage.n_inputs = n_inputs;
    for (size_t i = 0; i < n_inputs; i++)
        m->stage.inputs[i] = (struct input){.topic = &m->topic, .marked = true, .tasks = 2};
    metrics_init(&m->stage.metrics, "p", "s");
}

static struct task *start(struct made *m)
{
    return m->tasks[0] = task_new(&m->stage, 0);
}

static void take(struct made *m, struct log_record r, int64_t now_ms)
{
    struct error err;

    assert_int_equal(intake_record(&m->stage, &r, now_ms, &err), OK);
}

static void take_mark(struct made *m, int input, int64_t offset, struct mark mark, int64_t now_ms)
{
    struct bytes b = BYTES_EMPTY;

    mark_put(&mark, &b);
    take(m, (struct log_record){.input = input, .offset = offset, .arrival_ms = -1, .mark = view_of(b.data, b.n)}, now_ms);
    bytes_done(&b);
}

static void take_end(struct made *m, int input, int64_t offset, int64_t now_ms)
{
    take(m, (struct log_record){.input = input, .offset = offset, .at_end = true}, now_ms);
}

static void an_inside_input_rests_when_all_its_channels_say_so(void **state)
{
    struct made m;
    struct task *t;

    (void)state;
    make(&m, 1);
    t = start(&m);
    take_end(&m, 0, 0, 1000);
    assert_false(task_idle(&m.stage, t, 100000)); /* its writers may be dead: nobody said that nothing comes */
    take_mark(&m, 0, 0, (struct mark){0, 0, 2, 500, true}, 100000);
    take_end(&m, 0, 1, 100001);
    assert_false(task_idle(&m.stage, t, 200000));
    take_mark(&m, 0, 1, (struct mark){0, 1, 2, 600, true}, 200000);
    assert_false(task_idle(&m.stage, t, 200001)); /* the log goes on, for all that is known */
    m.log.end = 2;
    take_end(&m, 0, 2, 200002);
    assert_true(task_idle(&m.stage, t, 200002));
    m.log.end = 3; /* of an open transaction */
    assert_false(task_idle(&m.stage, t, 300000));
    m.log.end = 2;
    take_mark(&m, 0, 2, (struct mark){0, 1, 2, 700, false}, 300000);
    take_end(&m, 0, 3, 300001);
    assert_false(task_idle(&m.stage, t, 400000));
    task_free(&m.stage, t);
}

/* After a restart no record need come any more: what the marks beyond the last one said is all that is heard. */
static void what_a_resting_mark_said_counts(void **state)
{
    struct made m;
    struct task *t;

    (void)state;
    make(&m, 2);
    t = start(&m);
    t->at = 400;
    assert_int_equal(task_furthest(&m.stage, t), 400);
    take_mark(&m, 0, 0, (struct mark){0, 0, 2, 300, true}, 1000);
    assert_int_equal(task_furthest(&m.stage, t), 400);
    take_mark(&m, 1, 0, (struct mark){0, 1, 2, 700, true}, 1000);
    take_mark(&m, 1, 1, (struct mark){0, 0, 2, 600, true}, 1000);
    assert_int_equal(task_furthest(&m.stage, t), 700);
    task_free(&m.stage, t);
}

static void an_outside_input_rests_at_its_end_but_not_before_an_open_transaction(void **state)
{
    struct made m;
    struct task *t;

    (void)state;
    make(&m, 1);
    m.stage.inputs[0].outside = true;
    m.stage.inputs[0].marked = false;
    t = start(&m);
    m.log.end = 7;
    take_end(&m, 0, 7, 1000);
    assert_false(task_idle(&m.stage, t, 1000 + IDLE_AFTER_MS - 1));
    assert_true(task_idle(&m.stage, t, 1000 + IDLE_AFTER_MS));
    m.log.end = 9;
    assert_false(task_idle(&m.stage, t, 100000));
    task_free(&m.stage, t);
}

static void an_input_without_marks_rests_by_the_clock(void **state)
{
    struct made m;
    struct task *t;

    (void)state;
    make(&m, 1);
    m.stage.inputs[0].marked = false;
    t = start(&m);
    take_end(&m, 0, 0, 1000);
    assert_true(task_idle(&m.stage, t, 1000 + IDLE_AFTER_MS));
    task_free(&m.stage, t);
}

static void push(struct task *t, int input, int task, int64_t at, int64_t offset)
{
    const struct pending p = {.rec = {.input = input, .offset = offset}, .task = task, .at = at};

    merge_push(&t->inputs[input].merge, &p);
}

static void who_keeps_a_task_waiting_is_known(void **state)
{
    struct wait w;
    struct made m;
    struct task *t;

    (void)state;
    make(&m, 2);
    t = start(&m);
    assert_false(waits_for(&m.stage, t, 0, &w)); /* nothing is there that could wait */
    push(t, 1, 0, 700, 0);
    assert_true(waits_for(&m.stage, t, 0, &w));
    assert_true(w.input == 1 && w.task == 1 && w.at == 700);
    take_mark(&m, 1, 1, (struct mark){0, 1, 2, 800, false}, 0);
    take_mark(&m, 0, 0, (struct mark){0, 0, 2, 900, false}, 0);
    assert_true(waits_for(&m.stage, t, 0, &w)); /* its own partition lets it go, the other input does not */
    assert_true(w.input == 0 && w.task == 1 && w.at == 700);
    take_mark(&m, 0, 1, (struct mark){0, 1, 2, 900, false}, 0);
    assert_false(waits_for(&m.stage, t, 0, &w));
    task_free(&m.stage, t);
}

/* A worker that has waited since *ctx. */
static int64_t waits_since(void *ctx, int64_t now_ms, char *ret_why, size_t cap)
{
    (void)now_ms;
    snprintf(ret_why, cap, "waits for a verdict");
    return *(const int64_t *)ctx;
}

static void what_a_worker_waits_for_is_said_as_well(void **state)
{
    static const struct worker waiter = {.name = "score", .waits = waits_since};
    int64_t since_ms = 0;
    char why[600];
    struct made m;
    struct task *t;

    (void)state;
    make(&m, 2);
    m.topic.broker_name = "p.t";
    m.stage.ops = ops_new(&m.stage.metrics);
    m.stage.worker = &waiter;
    m.stage.ctx = &since_ms;
    t = start(&m);
    ops_ready(m.stage.ops, true, "processing");
    waits_look(&m.stage, 100000);
    assert_int_equal(metrics_get(&m.stage.metrics, METRIC_WAITING, 0), 0);
    since_ms = 100000;
    waits_look(&m.stage, 159000);
    assert_int_equal(metrics_get(&m.stage.metrics, METRIC_WAITING, 0), 59000);
    assert_true(ops_is_ready(m.stage.ops, why, sizeof(why)));
    waits_look(&m.stage, 160000);
    assert_false(ops_is_ready(m.stage.ops, why, sizeof(why)));
    assert_string_equal(why, "waits for a verdict");
    since_ms = 0;
    waits_look(&m.stage, 161000);
    assert_int_equal(metrics_get(&m.stage.metrics, METRIC_WAITING, 0), 0);
    assert_true(ops_is_ready(m.stage.ops, why, sizeof(why)));
    ops_free(m.stage.ops);
    task_free(&m.stage, t);
}

static void an_open_transaction_outside_is_what_a_task_waits_for(void **state)
{
    struct wait w;
    struct made m;
    struct task *t;

    (void)state;
    make(&m, 2);
    m.stage.inputs[0].outside = true;
    m.stage.inputs[0].marked = false;
    t = start(&m);
    push(t, 1, 0, 700, 0);
    take_mark(&m, 1, 1, (struct mark){0, 1, 2, 800, false}, 0);
    m.log.end = 1;
    take_end(&m, 0, 0, 1000);
    assert_true(waits_for(&m.stage, t, 100000, &w));
    assert_true(w.input == 0 && w.task == -1);
    m.log.end = 0;
    assert_false(waits_for(&m.stage, t, 100000, &w));
    task_free(&m.stage, t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_inside_input_rests_when_all_its_channels_say_so),
        cmocka_unit_test(what_a_resting_mark_said_counts),
        cmocka_unit_test(an_outside_input_rests_at_its_end_but_not_before_an_open_transaction),
        cmocka_unit_test(an_input_without_marks_rests_by_the_clock),
        cmocka_unit_test(who_keeps_a_task_waiting_is_known),
        cmocka_unit_test(what_a_worker_waits_for_is_said_as_well),
        cmocka_unit_test(an_open_transaction_outside_is_what_a_task_waits_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
