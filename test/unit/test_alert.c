/* Rules without a loop: who is told, how often, and that null never holds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/rand.h"
#include "test/unit/stage_make.h"
#include "workers/alert/alert.h"

#define HOUR_MS ((int64_t)3600000)
#define T0 ((int64_t)1767225600000)

#define TOPICS                                                                                                        \
    "\"topics\": {\"scores\": {\"schema\": \"Score\", \"key\": \"customer_id\", \"time\": \"ts\", \"partitions\": 1},"  \
    "\"alerts\": {\"schema\": \"Alert\"}},"
#define STAGE(rules) TOPICS "\"stages\": {\"alert\": {\"worker\": \"alert\", \"from\": \"scores\", \"to\": \"alerts\", \"rules\": [" rules "]}}"

static const char two_rules[] = STAGE("{\"name\": \"high\", \"when\": \"score >= 0.9\", \"severity\": \"high\", \"key\": \"customer_id\","
                                      " \"cooldown\": \"1h\"}, {\"name\": \"large\", \"when\": \"amount > 220\", \"severity\": \"low\"}");

static void begin(struct bench *b, const char *json)
{
    struct error err;

    *b = (struct bench){.s = stage_make(json, "alert"), .state = state_new((size_t)1 << 26)};
    if (alert_open(b->s, &b->ctx, &err) != OK)
        fail_msg("%s", err.text);
}

static void end(struct bench *b)
{
    alert_close(b->ctx);
    state_free(b->state);
    stage_unmake(b->s);
    arena_done(&b->arena);
}

static void rows(struct bench *b, size_t n)
{
    arena_reset(&b->arena);
    b->in = rows_make(b->s, 0, n, b->state, &b->arena, &b->cols);
}

static void run(struct bench *b)
{
    struct error err;

    b->out = (struct out){0};
    assert_int_equal(alert_transform(b->ctx, &b->in, &b->out, &err), OK);
}

static void expect(const struct bench *b, size_t o, uint32_t parent, const char *rule, const char *severity)
{
    assert_true(o < b->out.cols.n_rows);
    assert_int_equal(b->out.parent[o], parent);
    assert_true(view_eq(batch_col(&b->out.cols, "rule")->view[o], view_str(rule)));
    assert_true(view_eq(batch_col(&b->out.cols, "severity")->view[o], view_str(severity)));
}

static void fill(struct bench *b, size_t row, const char *customer, int64_t ms, double amount, double score)
{
    set_row(&b->in, row, customer, ms);
    set_text(&b->in, "customer_id", row, customer);
    set_number(&b->in, "amount", row, amount);
    if (score >= 0)
        set_number(&b->in, "score", row, score);
}

static void each_rule_that_holds_gives_an_alert_in_the_order_of_the_rules(void **state)
{
    struct bench b;

    (void)state;
    begin(&b, two_rules);
    rows(&b, 3);
    fill(&b, 0, "a", T0, 500, 0.95);
    fill(&b, 1, "b", T0, 5, 0.1);
    fill(&b, 2, "c", T0, 500, 0.1);
    run(&b);
    assert_int_equal(b.out.cols.n_rows, 3);
    expect(&b, 0, 0, "high", "high");
    expect(&b, 1, 0, "large", "low");
    expect(&b, 2, 2, "large", "low");
    end(&b);
}

static void a_null_condition_does_not_hold_and_a_bad_row_says_nothing(void **state)
{
    struct bench b;

    (void)state;
    begin(&b, two_rules);
    rows(&b, 2);
    fill(&b, 0, "a", T0, 1, -1); /* no score: no model yet */
    fill(&b, 1, "b", T0, 500, 1);
    b.in.bad[1] = "late: whatever";
    run(&b);
    assert_int_equal(b.out.cols.n_rows, 0);
    assert_int_equal(state_n_keys(b.state), 0);
    end(&b);
}

static void a_cooldown_is_silent_up_to_its_end_in_event_time_for_its_key_alone(void **state)
{
    const struct {
        const char *customer;
        int64_t ms;
        bool told;
    } table[] = {
        {"a", T0, true},
        {"a", T0, false},                    /* the same instant */
        {"a", T0 + HOUR_MS - 1, false},      /* a silent one does not prolong it */
        {"b", T0 + 1, true},                 /* another key */
        {"a", T0 + HOUR_MS, true},           /* the end is not part of it */
        {"a", T0 + HOUR_MS + 1, false},
        {"a", T0 + HOUR_MS / 2, false},      /* out of order, before the last alert */
        {"a", T0 + 2 * HOUR_MS, true},
    };
    struct bench b;

    (void)state;
    for (size_t at_once = 1; at_once <= ARRAY_LEN(table); at_once++) { /* however the rows are cut into batches */
        begin(&b, two_rules);
        for (size_t i = 0; i < ARRAY_LEN(table); i += at_once) {
            size_t n = ARRAY_LEN(table) - i < at_once ? ARRAY_LEN(table) - i : at_once, o = 0;

            rows(&b, n);
            for (size_t k = 0; k < n; k++)
                fill(&b, k, table[i + k].customer, table[i + k].ms, 1, 0.9);
            run(&b);
            for (size_t k = 0; k < n; k++)
                if (table[i + k].told)
                    expect(&b, o++, (uint32_t)k, "high", "high");
            assert_int_equal(b.out.cols.n_rows, o);
        }
        end(&b);
    }
}

static void what_was_said_is_dirty_state_and_silence_is_not(void **state)
{
    struct state_chunk chunk;
    struct bench b;
    int64_t last[2];

    (void)state;
    begin(&b, two_rules);
    rows(&b, 2);
    fill(&b, 0, "a", T0, 1, 0.9);
    fill(&b, 1, "a", T0 + 5, 1, 0.9);
    run(&b);
    assert_true(state_next_chunk(b.state, &chunk));
    assert_true(view_eq(chunk.entry->key, view_of("high\0customer_id\0a", 18)));
    assert_int_equal(chunk.bytes.n, sizeof(last));
    memcpy(last, chunk.bytes.data, sizeof(last));
    assert_true(last[0] == T0 && last[1] == 0);
    assert_false(state_next_chunk(b.state, &chunk));
    rows(&b, 1);
    fill(&b, 0, "a", T0 + 10, 1, 0.9);
    run(&b);
    assert_false(state_next_chunk(b.state, &chunk));
    end(&b);
}

static void columns_that_no_rule_needs_are_not_asked_for(void **state)
{
    struct bench b;

    (void)state;
    begin(&b, two_rules);
    for (size_t i = 0; i < b.s->inputs[0].n_wants; i++)
        assert_true(strcmp(b.s->inputs[0].wants[i].path, "score") == 0 || strcmp(b.s->inputs[0].wants[i].path, "amount") == 0 ||
                    strcmp(b.s->inputs[0].wants[i].path, "customer_id") == 0);
    assert_int_equal(b.s->inputs[0].n_wants, 3);
    end(&b);
}

static void a_full_state_ends_the_stage_instead_of_forgetting(void **state)
{
    struct bench b;
    struct error err;
    enum status st = OK;

    (void)state;
    begin(&b, two_rules);
    state_free(b.state);
    b.state = state_new(4096);
    for (int i = 0; i < 1000 && st == OK; i++) {
        char customer[16];

        snprintf(customer, sizeof(customer), "%d", i);
        rows(&b, 1);
        fill(&b, 0, customer, T0, 1, 0.9);
        b.out = (struct out){0};
        st = alert_transform(b.ctx, &b.in, &b.out, &err);
    }
    assert_int_equal(st, ERR_FATAL);
    end(&b);
}

static void once_per_is_silent_until_the_value_changes_and_null_is_a_value(void **state)
{
    const struct {
        const char *customer;
        double score; /* below 0: null */
        bool told;
    } table[] = {
        {"a", 0.5, true}, {"a", 0.5, false}, {"b", 0.5, true}, {"a", 0.7, true},  {"a", 0.5, true}, /* not what it was last */
        {"a", -1, true},  {"a", -1, false},  {"a", 0, true},   {"b", 0.5, false}, {"a", -1, true},
    };
    struct bench b;

    (void)state;
    for (size_t at_once = 1; at_once <= ARRAY_LEN(table); at_once++) {
        begin(&b, STAGE("{\"name\": \"new\", \"when\": \"amount > 0\", \"severity\": \"low\", \"once_per\": \"score\"}"));
        for (size_t i = 0; i < ARRAY_LEN(table); i += at_once) {
            size_t n = ARRAY_LEN(table) - i < at_once ? ARRAY_LEN(table) - i : at_once, o = 0;

            rows(&b, n);
            for (size_t k = 0; k < n; k++)
                fill(&b, k, table[i + k].customer, T0 - (int64_t)(i + k), 1, table[i + k].score); /* late ones are told too */
            run(&b);
            for (size_t k = 0; k < n; k++)
                if (table[i + k].told)
                    expect(&b, o++, (uint32_t)k, "new", "low");
            assert_int_equal(b.out.cols.n_rows, o);
        }
        end(&b);
    }
}

static void a_cooldown_and_once_per_must_both_be_over(void **state)
{
    struct bench b;

    (void)state;
    begin(&b, STAGE("{\"name\": \"new\", \"when\": \"amount > 0\", \"severity\": \"low\", \"cooldown\": \"1h\", \"once_per\": \"terminal_id\"}"));
    rows(&b, 4);
    for (size_t i = 0; i < 4; i++)
        fill(&b, i, "a", T0 + (int64_t)i * HOUR_MS / 2, 1, -1);
    set_text(&b.in, "terminal_id", 0, "x");
    set_text(&b.in, "terminal_id", 1, "y"); /* too soon */
    set_text(&b.in, "terminal_id", 2, "x"); /* the same */
    set_text(&b.in, "terminal_id", 3, "y");
    run(&b);
    assert_int_equal(b.out.cols.n_rows, 2);
    expect(&b, 0, 0, "new", "low");
    expect(&b, 1, 3, "new", "low");
    end(&b);
}

/* The oracle: for every row all alerts before it are looked through. */
static void many_rows_tell_what_a_slow_reading_of_the_rules_tells(void **state)
{
    enum { N = 3000 };
    static struct { int customer, rule; int64_t ms; } told[2 * N];
    const uint64_t seed = 5;
    int64_t ms = T0;
    struct bench b;
    struct rand r;
    size_t n_told = 0, n_seen = 0;

    (void)state;
    printf("seed %d\n", (int)seed);
    rand_seed(&r, seed);
    begin(&b, STAGE("{\"name\": \"high\", \"when\": \"score >= 0.9\", \"severity\": \"high\", \"key\": \"customer_id\", \"cooldown\": \"1h\"},"
                    "{\"name\": \"large\", \"when\": \"amount > 220\", \"severity\": \"low\", \"key\": \"customer_id\", \"cooldown\": \"3h\"}"));
    for (int i = 0; i < N; i++) {
        int customer = (int)rand_below(&r, 7);
        double amount = (double)rand_below(&r, 400), score = rand_unit(&r) * 1.1 - 0.1;
        char name[4] = {(char)('a' + customer)};
        size_t expected = 0;

        ms += (int64_t)rand_below(&r, 1200000) - 100000; /* now and then back */
        rows(&b, 1);
        fill(&b, 0, name, ms, amount, score);
        run(&b);
        for (int rule = 0; rule < 2; rule++) {
            bool may = rule == 0 ? score >= 0.9 : amount > 220;
            int64_t last = INT64_MIN;

            for (size_t k = 0; k < n_told; k++)
                if (told[k].customer == customer && told[k].rule == rule)
                    last = told[k].ms; /* the last that was told, whatever its time */
            may = may && (last == INT64_MIN || ms >= last + (rule == 0 ? 1 : 3) * HOUR_MS);
            if (!may)
                continue;
            told[n_told].customer = customer;
            told[n_told].rule = rule;
            told[n_told++].ms = ms;
            expect(&b, expected++, 0, rule == 0 ? "high" : "large", rule == 0 ? "high" : "low");
        }
        assert_int_equal(b.out.cols.n_rows, expected);
        n_seen += expected;
    }
    assert_true(n_seen > 300);
    end(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_rule_that_holds_gives_an_alert_in_the_order_of_the_rules),
        cmocka_unit_test(a_null_condition_does_not_hold_and_a_bad_row_says_nothing),
        cmocka_unit_test(a_cooldown_is_silent_up_to_its_end_in_event_time_for_its_key_alone),
        cmocka_unit_test(once_per_is_silent_until_the_value_changes_and_null_is_a_value),
        cmocka_unit_test(a_cooldown_and_once_per_must_both_be_over),
        cmocka_unit_test(what_was_said_is_dirty_state_and_silence_is_not),
        cmocka_unit_test(columns_that_no_rule_needs_are_not_asked_for),
        cmocka_unit_test(a_full_state_ends_the_stage_instead_of_forgetting),
        cmocka_unit_test(many_rows_tell_what_a_slow_reading_of_the_rules_tells),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
