/* A preprocess stage without a loop: which columns it asks for, which input gives rows, and what is in them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>

#include "base/rand.h"
#include "test/unit/stage_make.h"
#include "workers/preprocess/preprocess.h"

#define MINUTE_MS ((int64_t)60000)
#define HOUR_MS ((int64_t)3600000)
#define T0 ((int64_t)1767225600000)

enum { LABELS, PAYMENTS };

static const char pipeline[] =
    "\"topics\": {"
    "\"labels\": {\"schema\": \"FraudLabel\", \"key\": \"terminal_id\", \"time\": \"reported_ts\", \"partitions\": 1},"
    "\"payments\": {\"schema\": \"Transaction\", \"key\": \"terminal_id\", \"time\": \"ts\", \"partitions\": 1, \"lateness\": \"1h\"},"
    "\"features\": {}},"
    "\"stages\": {\"joined\": {\"worker\": \"preprocess\", \"from\": [\"labels\", \"payments\"], \"emit_on\": \"payments\", \"to\": \"features\","
    "\"features\": {\"n\": {\"count\": \"payments\", \"over\": [\"1h\"]}, \"mean\": {\"mean\": \"amount\", \"over\": [\"1h\"]},"
    "\"frauds\": {\"count\": \"labels\", \"over\": [\"2h\"]}, \"share\": \"frauds_2h / n_1h\"}}}";

static void begin(struct bench *b)
{
    struct error err;

    *b = (struct bench){.s = stage_make(pipeline, "joined"), .state = state_new((size_t)1 << 26), .at = INT64_MIN};
    assert_int_equal(preprocess_open(b->s, &b->ctx, &err), OK);
}

static void end(struct bench *b)
{
    preprocess_close(b->ctx);
    state_free(b->state);
    stage_unmake(b->s);
    arena_done(&b->arena);
}

static void rows(struct bench *b, size_t input, size_t n)
{
    arena_reset(&b->arena);
    b->in = rows_make(b->s, input, n, b->state, &b->arena, &b->cols);
    b->in.emit_at = b->at;
    b->in.lateness_ms = b->s->inputs[PAYMENTS].topic->lateness_ms;
}

static void run(struct bench *b)
{
    struct error err;

    b->out = (struct out){0};
    assert_int_equal(preprocess_transform(b->ctx, &b->in, &b->out, &err), OK);
    for (size_t r = 0; r < b->cols.n_rows; r++)
        if (b->in.input == PAYMENTS && b->in.bad[r] == NULL && b->in.event_ms[r] > b->at)
            b->at = b->in.event_ms[r];
}

static void label(struct bench *b, const char *terminal, int64_t ms)
{
    rows(b, LABELS, 1);
    set_row(&b->in, 0, terminal, ms);
    run(b);
    assert_int_equal(b->out.cols.n_rows, 0);
    assert_int_equal(b->out.cols.n_cols, 0);
}

static void payment(struct bench *b, const char *terminal, int64_t ms, double amount)
{
    rows(b, PAYMENTS, 1);
    set_row(&b->in, 0, terminal, ms);
    set_number(&b->in, "amount", 0, amount);
    run(b);
}

static double made(const struct bench *b, const char *name, size_t row)
{
    const struct col *c = batch_col(&b->cols, name);

    assert_non_null(c);
    assert_false(c->null[row]);
    return c->type == COL_DOUBLE ? c->f64[row] : (double)c->i64[row];
}

static void only_columns_that_a_feature_needs_are_asked_for(void **state)
{
    struct bench b;

    (void)state;
    begin(&b);
    assert_int_equal(b.s->inputs[LABELS].n_wants, 0);
    assert_int_equal(b.s->inputs[PAYMENTS].n_wants, 1);
    assert_string_equal(b.s->inputs[PAYMENTS].wants[0].path, "amount");
    end(&b);
}

static void rows_come_from_the_emitting_input_and_know_the_other(void **state)
{
    struct bench b;

    (void)state;
    begin(&b);
    payment(&b, "x", T0, 10);
    assert_int_equal(b.out.cols.n_rows, 1);
    assert_true(made(&b, "n_1h", 0) == 1 && made(&b, "mean_1h", 0) == 10 && made(&b, "frauds_2h", 0) == 0);
    label(&b, "x", T0 + MINUTE_MS);
    label(&b, "other", T0 + MINUTE_MS);
    payment(&b, "x", T0 + 2 * MINUTE_MS, 20);
    assert_true(made(&b, "n_1h", 0) == 2 && made(&b, "mean_1h", 0) == 15 && made(&b, "frauds_2h", 0) == 1);
    assert_true(made(&b, "share", 0) == 0.5);
    payment(&b, "x", T0 + HOUR_MS, 30); /* the first lies at the window's open end */
    assert_true(made(&b, "n_1h", 0) == 2 && made(&b, "mean_1h", 0) == 25);
    end(&b);
}

static void a_bad_row_neither_comes_out_nor_counts(void **state)
{
    struct bench b;

    (void)state;
    begin(&b);
    rows(&b, PAYMENTS, 3);
    for (size_t r = 0; r < 3; r++) {
        set_row(&b.in, r, "x", T0 + (int64_t)r);
        set_number(&b.in, "amount", r, 10);
    }
    b.in.bad[1] = "avro: whatever";
    run(&b);
    assert_int_equal(b.out.cols.n_rows, 2);
    assert_int_equal(b.out.parent[0], 0);
    assert_int_equal(b.out.parent[1], 2);
    assert_true(made(&b, "n_1h", 2) == 2);
    end(&b);
}

/* The oracle: each row looks through all before it. */
static void batches_of_any_size_give_what_a_slow_count_gives(void **state)
{
    enum { N = 600, KEYS = 3 };
    static struct { int input, key; int64_t ms; double amount; } table[N];
    const uint64_t seed = 9;
    int64_t ms = T0;
    struct bench b;
    struct rand r;

    (void)state;
    printf("seed %d\n", (int)seed);
    rand_seed(&r, seed);
    for (int i = 0; i < N; i++) {
        ms += (int64_t)rand_below(&r, 10) * MINUTE_MS;
        table[i].input = rand_below(&r, 4) ? PAYMENTS : LABELS;
        table[i].key = (int)rand_below(&r, KEYS);
        table[i].ms = ms;
        table[i].amount = (double)rand_below(&r, 10000) / 100;
    }
    for (int at_once = 1; at_once <= 64; at_once *= 4) {
        begin(&b);
        for (int i = 0, n; i < N; i += n) {
            for (n = 1; n < at_once && i + n < N && table[i + n].input == table[i].input;)
                n++;
            rows(&b, (size_t)table[i].input, (size_t)n);
            for (int k = 0; k < n; k++) {
                set_row(&b.in, (size_t)k, &"a\0b\0c"[2 * table[i + k].key], table[i + k].ms);
                if (table[i].input == PAYMENTS)
                    set_number(&b.in, "amount", (size_t)k, table[i + k].amount);
            }
            run(&b);
            assert_int_equal(b.out.cols.n_rows, table[i].input == PAYMENTS ? n : 0);
            for (int k = i; k < i + n && table[i].input == PAYMENTS; k++) {
                double count = 0, sum = 0, frauds = 0;

                for (int j = 0; j <= k; j++) {
                    if (table[j].key != table[k].key)
                        continue;
                    if (table[j].input == LABELS)
                        frauds += table[j].ms > table[k].ms - 2 * HOUR_MS;
                    else if (table[j].ms > table[k].ms - HOUR_MS) {
                        count++;
                        sum += table[j].amount;
                    }
                }
                assert_true(made(&b, "n_1h", (size_t)(k - i)) == count && made(&b, "frauds_2h", (size_t)(k - i)) == frauds);
                assert_true(fabs(made(&b, "mean_1h", (size_t)(k - i)) - sum / count) < 1e-6);
            }
        }
        end(&b);
    }
}

static int64_t replaces_ms(const struct bench *b, const char *topic)
{
    return pipeline_topic(b->s->pipeline, topic)->replaces_ms;
}

static void rows_are_replaced_behind_windows_while_key_and_time_stay(void **state)
{
    static const char chain[] =
        "\"topics\": {\"payments\": {\"schema\": \"Transaction\", \"key\": \"terminal_id\", \"time\": \"ts\", \"partitions\": 1, \"lateness\": \"2d\"},"
        "\"hours\": {}, \"means\": {}, \"lags\": {}, \"by_revision\": {\"key\": \"revision\"}, \"by_start\": {\"time\": \"start\"}, \"alerts\": {}, \"plain\": {}, \"strict\": {}},"
        "\"stages\": {"
        "\"close\": {\"worker\": \"preprocess\", \"from\": \"payments\", \"to\": \"hours\", \"tumbling\": {\"every\": \"1h\", \"allowed\": \"3h\","
        "\"values\": {\"n\": {\"count\": \"payments\"}}}},"
        "\"never\": {\"worker\": \"preprocess\", \"from\": \"payments\", \"to\": \"strict\", \"tumbling\": {\"every\": \"1h\", \"allowed\": \"0s\","
        "\"values\": {\"n\": {\"count\": \"payments\"}}}},"
        "\"mean\": {\"worker\": \"preprocess\", \"from\": \"hours\", \"to\": \"means\", \"features\": {\"m\": {\"mean\": \"n\", \"over\": \"1d\"}}},"
        "\"lag\": {\"worker\": \"preprocess\", \"from\": \"means\", \"to\": [\"lags\", \"by_revision\", \"by_start\"], \"features\": {\"m2\": \"2 * m_1d\"}},"
        "\"warn\": {\"worker\": \"alert\", \"from\": \"means\", \"to\": \"alerts\", \"rules\": [{\"name\": \"r\", \"when\": \"n > 1\", \"severity\": \"low\"}]},"
        "\"more\": {\"worker\": \"preprocess\", \"from\": \"payments\", \"to\": \"plain\", \"features\": {\"c\": {\"count\": \"payments\", \"over\": \"1d\"}}}}";
    struct bench b = {.s = stage_make(chain, "mean")};

    (void)state;
    assert_int_equal(replaces_ms(&b, "hours"), 3 * HOUR_MS);
    assert_int_equal(replaces_ms(&b, "means"), 3 * HOUR_MS);
    assert_int_equal(replaces_ms(&b, "lags"), 3 * HOUR_MS);
    assert_int_equal(replaces_ms(&b, "payments"), 0);
    assert_int_equal(replaces_ms(&b, "plain"), 0);
    assert_int_equal(replaces_ms(&b, "strict"), 0);
    assert_int_equal(replaces_ms(&b, "by_revision"), 0);
    assert_int_equal(replaces_ms(&b, "by_start"), 0);
    assert_int_equal(replaces_ms(&b, "alerts"), 0);
    assert_true(features_has_again(b.s->def->compiled));
    assert_false(features_has_again(pipeline_stage(b.s->pipeline, "lag")->compiled)); /* nothing there rests on another row */
    assert_false(features_has_again(pipeline_stage(b.s->pipeline, "more")->compiled));
    stage_unmake(b.s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_columns_that_a_feature_needs_are_asked_for),
        cmocka_unit_test(rows_come_from_the_emitting_input_and_know_the_other),
        cmocka_unit_test(a_bad_row_neither_comes_out_nor_counts),
        cmocka_unit_test(batches_of_any_size_give_what_a_slow_count_gives),
        cmocka_unit_test(rows_are_replaced_behind_windows_while_key_and_time_stay),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
