/* How much is held back: where it waits for another input its partition is not read on; where it cannot be left, it has room or is an error. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "stage/internal.h"

#define RECORD_BYTES (sizeof(struct pending) + LOG_RECORD_BYTES)

/* A log that notes what is paused. */
struct pauses {
    struct log log;
    bool paused[2];
    int n;
};

static enum status note(struct log *l, int input, int partition, bool paused, struct error *err)
{
    struct pauses *p = (struct pauses *)l;

    (void)partition, (void)err;
    p->paused[input] = paused;
    p->n++;
    return OK;
}

static void release(struct log *l, struct log_record *r)
{
    (void)l, (void)r;
}

static const struct log_ops ops = {.pause = note, .release = release};
static const struct worker worker = {.name = "preprocess"};

struct made {
    struct stage stage;
    struct stage_def def;
    struct pauses log;
    struct topic topic;
    struct pipeline pipeline;
    struct task *tasks[1];
    uint8_t value[4096];
};

/* A stage of one task with two inputs, each of one channel or of two; so much for what is held of each, and for state. */
static void make(struct made *m, int channels, size_t held, size_t state)
{
    *m = (struct made){.log = {.log = {&ops}}, .pipeline = {.name = "p", .memory = {.held = 2 * held, .state = state}},
                       .topic = {.broker_name = "p.t", .writer = -1}};
    m->stage.worker = &worker;
    m->stage.pipeline = &m->pipeline;
    m->stage.def = &m->def;
    m->stage.log = &m->log.log;
    m->stage.tasks = m->tasks;
    m->stage.n_tasks = m->stage.n_assigned = 1;
    m->stage.n_inputs = 2;
    for (size_t i = 0; i < 2; i++)
        m->stage.inputs[i] = (struct input){.topic = &m->topic, .outside = channels == 1, .marked = channels > 1, .tasks = channels};
    metrics_init(&m->stage.metrics, "p", "s");
    m->tasks[0] = task_new(&m->stage, 0);
}

static void unmake(struct made *m)
{
    task_free(&m->stage, m->tasks[0]);
}

static void push(struct made *m, int input, size_t n_records, size_t bytes)
{
    struct merge *merge = &m->tasks[0]->inputs[input].merge;

    for (size_t i = 0; i < n_records; i++) {
        struct pending p = {.rec = {.input = input, .offset = (int64_t)merge->end_step, .value = view_of(m->value, bytes)}, .at = 5};

        merge_push(merge, &p);
    }
}

static void pop(struct made *m, int input, size_t n_records)
{
    for (size_t i = 0; i < n_records; i++)
        (void)merge_pop(&m->tasks[0]->inputs[input].merge);
}

static bool is_paused(struct made *m, int input)
{
    struct error err;

    assert_int_equal(hold_regulate(&m->stage, &err), OK);
    return m->log.paused[input];
}

static void a_partition_whose_records_take_too_much_is_not_read_on(void **state)
{
    struct made m;

    (void)state;
    make(&m, 1, 100 * (RECORD_BYTES + 1000), (size_t)1 << 20);
    push(&m, 0, 100, 1000);
    assert_false(is_paused(&m, 0));
    push(&m, 0, 1, 1000);
    assert_true(is_paused(&m, 0));
    assert_false(m.log.paused[1]);
    pop(&m, 0, 75);
    assert_true(is_paused(&m, 0)); /* not at once: each change costs the log what it has at hand */
    pop(&m, 0, 1);
    assert_false(is_paused(&m, 0));
    assert_int_equal(m.log.n, 2);
    unmake(&m);
}

static void small_ones_are_counted(void **state)
{
    struct made m;

    (void)state;
    make(&m, 1, (size_t)1 << 30, (size_t)1 << 30);
    push(&m, 0, 20000, 1);
    assert_false(is_paused(&m, 0));
    push(&m, 0, 1, 1);
    assert_true(is_paused(&m, 0));
    pop(&m, 0, 15001);
    assert_false(is_paused(&m, 0));
    unmake(&m);
}

/* Task 1 has said nothing: what task 0 wrote waits for a word behind it. */
static void what_cannot_be_left_has_room_or_is_an_error(void **state)
{
    struct error err;
    struct made m;
    size_t room;

    (void)state;
    make(&m, 2, 100 * (RECORD_BYTES + 1000), 200 * (RECORD_BYTES + 1000));
    room = 400 - state_bytes(m.tasks[0]->state) / (RECORD_BYTES + 1000) - 1;
    push(&m, 0, room - 100, 1000);
    push(&m, 1, 100, 1000);
    assert_false(is_paused(&m, 0));
    push(&m, 1, 2, 1000);
    assert_int_equal(hold_regulate(&m.stage, &err), ERR_FATAL);
    if (strstr(err.text, "p.t partition 0: ") == NULL || strstr(err.text, "are held back, which is all that there is room for") == NULL)
        fail_msg("%s", err.text);
    assert_int_equal(m.log.n, 0);
    unmake(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_partition_whose_records_take_too_much_is_not_read_on),
        cmocka_unit_test(small_ones_are_counted),
        cmocka_unit_test(what_cannot_be_left_has_room_or_is_an_error),
    };

    return cmocka_run_group_tests_name("hold", tests, NULL, NULL);
}
