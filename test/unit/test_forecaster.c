/* A model of several outputs: fitted on one matrix, loaded output by output, and what makes its numbers a forecast. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/rand.h"
#include "model/forecaster.h"

#define ROWS 2000
#define COLS 4

static const char *columns[COLS] = {"level", "dow", "step", "steps"};
static const struct feature_col fields[] = {{"level", COL_DOUBLE, false, -1}};
static struct forecast_known known[] = {{"dow", "weekday(target_time)"}};
static struct booster_param shared[] = {{"tree_method", "hist"}, {"base_score", "1"}, {"seed", "1"}, {"max_depth", "3"}};
static struct booster_param own[3][2] = {{{"objective", "reg:squarederror"}, {NULL, NULL}},
                                         {{"objective", "reg:quantileerror"}, {"quantile_alpha", "0.9"}},
                                         {{"objective", "reg:absoluteerror"}, {NULL, NULL}}};
static const char *const names[] = {"mean", "high", "middle"};
static float rows[ROWS * COLS], labels[ROWS];

/* The rows in chunks of one size, again and again. */
struct chunks {
    size_t at, size;
};

static enum status next(void *ctx, struct booster_chunk *ret, struct error *err)
{
    struct chunks *c = ctx;
    size_t n = ROWS - c->at < c->size ? ROWS - c->at : c->size;

    (void)err;
    *ret = (struct booster_chunk){rows + c->at * COLS, labels + c->at, NULL, n};
    c->at += n;
    return OK;
}

static void again(void *ctx)
{
    ((struct chunks *)ctx)->at = 0;
}

/* The three outputs' bytes, one behind the other; ret_n: the length of each. */
static void make(struct bytes *ret, int64_t ret_n[3])
{
    struct chunks chunks = {0, 700};
    struct booster_source source = {&chunks, next, again};
    struct booster_matrix *m = NULL;
    struct error err = {0};

    if (booster_matrix_new(&source, columns, COLS, 256, &m, &err) != OK)
        fail_msg("%s", err.text);
    assert_int_equal(booster_matrix_n_rows(m), ROWS);
    for (size_t i = 0; i < 3; i++) {
        struct booster_param params[6];
        struct booster_fit fit = {.params = params, .n_params = i == 1 ? 6 : 5, .rounds = 10, .labels = labels};
        size_t before = ret->n;

        memcpy(params, shared, sizeof(shared));
        memcpy(params + 4, own[i], sizeof(own[i]));
        if (booster_train_on(m, &fit, ret, &err) != OK)
            fail_msg("%s", err.text);
        ret_n[i] = (int64_t)(ret->n - before);
    }
    booster_matrix_free(m);
}

struct made {
    struct forecast_def target;
    struct model_output outputs[3];
    struct model_record record;
    struct bytes bytes;
};

static void made_init(struct made *m)
{
    int64_t n[3];

    *m = (struct made){.target = {.value = "level", .horizon = 3, .every_ms = 86400000, .zone = "", .lead_time = 2, .scale = "", .offset = "",
                                  .min = (double)NAN, .known = known, .n_known = 1}};
    make(&m->bytes, n);
    for (size_t i = 0; i < 3; i++)
        m->outputs[i] = (struct model_output){.name = names[i], .params = own[i], .n_params = i == 1 ? 2 : 1, .rounds = 10,
                                              .clip = (double)NAN, .n_bytes = n[i]};
    m->record = (struct model_record){.name = "m", .version = 1, .features = columns, .n_features = COLS, .params = shared, .n_params = 4,
                                      .target = &m->target, .outputs = m->outputs, .n_outputs = 3};
}

static enum status load(const struct made *m, struct forecaster **ret, struct error *err)
{
    return forecaster_load(&m->record, view_of(m->bytes.data, m->bytes.n), fields, 1, /* tries= */ true, ret, err);
}

static void the_same_rows_give_the_same_bytes(void **state)
{
    struct bytes a = BYTES_EMPTY, b = BYTES_EMPTY;
    int64_t n[3];

    (void)state;
    make(&a, n);
    make(&b, n);
    assert_true(a.n == b.n && memcmp(a.data, b.data, a.n) == 0);
    bytes_done(&a);
    bytes_done(&b);
}

static void outputs_answer_as_libxgboost_does_each(void **state)
{
    struct forecaster *f = NULL;
    struct error err = {0};
    struct made m;
    double *got = malloc(ROWS * 3 * sizeof(*got));
    float *want = malloc(ROWS * sizeof(*want));
    size_t at = 0, below = 0;

    (void)state;
    made_init(&m);
    if (load(&m, &f, &err) != OK)
        fail_msg("%s", err.text);
    assert_int_equal(forecaster_n_features(f), 1);
    assert_true(forecaster_is_flat(f));
    assert_int_equal(forecaster_predict(f, rows, ROWS, got, &err), OK);
    for (size_t i = 0; i < 3; i++) {
        struct booster *b = NULL;

        assert_int_equal(booster_load(view_of(m.bytes.data + at, (size_t)m.outputs[i].n_bytes), &b, &err), OK);
        assert_int_equal(booster_predict(b, rows, ROWS, want, &err), OK);
        for (size_t r = 0; r < ROWS; r++)
            assert_true(got[r * 3 + i] == (double)want[r]);
        booster_free(b);
        at += (size_t)m.outputs[i].n_bytes;
    }
    for (size_t r = 0; r < ROWS; r++)
        below += (double)labels[r] <= got[r * 3 + 1];
    assert_true(below > ROWS * 8 / 10 && below < ROWS * 98 / 100);
    forecaster_free(f);
    bytes_done(&m.bytes);
    free(got);
    free(want);
}

static void numbers_are_corrected_scaled_moved_bounded_and_put_in_order(void **state)
{
    static double up[] = {0, 0, 0, 9}, down[] = {0, -4, 0, 0};
    static const struct {
        size_t step;
        double scale, offset, in[3], want[3]; /* mean, high, middle */
    } cases[] = {
        {0, 1, 0, {5, 3, 2}, {5, 3, 2}},           /* as the boosters say */
        {0, 2, 10, {5, 3, 2}, {20, 16, 14}},       /* scale, then offset */
        {0, 1, 0, {5, 2, 3}, {5, 3, 2}},           /* the middle lies not above the high one */
        {1, 1, 0, {5, 6, 1}, {5, 2, 1}},           /* high is corrected at the second step, */
        {1, 10, 0, {5, 6, 3}, {50, 30, 20}},       /* before it is scaled, and put in order */
        {3, 1, 0, {5, 6, 3}, {5, 12, 6}},          /* the lead time has corrections of its own */
        {0, 1, -4, {5, 3, 2}, {1, 0.5, 0.5}},      /* none is less than the least */
    };
    struct forecaster *f = NULL;
    struct error err = {0};
    struct made m;

    (void)state;
    made_init(&m);
    m.target.min = 0.5;
    m.outputs[1].corrections = down;
    m.outputs[1].n_corrections = 4;
    m.outputs[2].corrections = up;
    m.outputs[2].n_corrections = 4;
    assert_int_equal(load(&m, &f, &err), OK);
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        double v[3];

        memcpy(v, cases[i].in, sizeof(v));
        forecaster_finish(f, cases[i].step, cases[i].scale, cases[i].offset, v);
        for (size_t k = 0; k < 3; k++)
            if (v[k] != cases[i].want[k])
                fail_msg("case %zu, %s: want %g, got %g", i, names[k], cases[i].want[k], v[k]);
    }
    forecaster_free(f);
    bytes_done(&m.bytes);
}

static void what_is_no_such_model_is_refused_by_name(void **state)
{
    static const char *const other[COLS] = {"level", "step", "dow", "steps"}, *const high[COLS] = {"height", "dow", "step", "steps"};
    static const char *const why[] = {"one of forecasts", "column 1: expected 'dow'", "output mean: model: feature 0", "output mean: ",
                                      "output high: ", "output middle: expected", "dow: ", "features beside"};

    (void)state;
    for (size_t i = 0; i < sizeof(why) / sizeof(*why); i++) {
        struct forecast_known wrong[] = {{"dow", "weekday(nowhere)"}};
        struct forecaster *f = NULL;
        struct error err = {0};
        struct made m;

        made_init(&m);
        if (i == 0)
            m.record.target = NULL;
        if (i == 1)
            m.record.features = (const char **)(uintptr_t)other;
        if (i == 2)
            m.record.features = (const char **)(uintptr_t)high;
        if (i == 3)
            m.outputs[0].n_bytes -= 1;
        if (i == 4)
            m.bytes.data[m.outputs[0].n_bytes + 40] ^= 0xff;
        if (i == 5)
            m.outputs[2].n_bytes += 1;
        if (i == 6)
            m.target.known = wrong;
        if (i == 7)
            m.record.n_features = 3;
        assert_int_not_equal(load(&m, &f, &err), OK);
        if (strstr(err.text, why[i]) == NULL)
            fail_msg("case %zu: want '%s', got '%s'", i, why[i], err.text);
        bytes_done(&m.bytes);
    }
}

static void a_bad_label_names_its_row(void **state)
{
    struct chunks chunks = {0, 700};
    struct booster_source source = {&chunks, next, again};
    struct booster_matrix *m = NULL;
    struct error err = {0};
    float kept = labels[5];

    (void)state;
    labels[5] = INFINITY;
    assert_int_equal(booster_matrix_new(&source, columns, COLS, 256, &m, &err), ERR_RECORD);
    assert_non_null(strstr(err.text, "row 5"));
    labels[5] = kept;
}

static int set_up(void **state)
{
    struct rand r;

    (void)state;
    rand_seed(&r, 11);
    for (size_t i = 0; i < ROWS; i++) {
        float *x = rows + i * COLS;

        x[0] = (float)rand_below(&r, 100);
        x[1] = (float)rand_below(&r, 7);
        x[2] = (float)(1 + rand_below(&r, 3));
        x[3] = 1;
        labels[i] = (float)(rand_unit(&r) + 0.2 * (double)x[1]);
    }
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_rows_give_the_same_bytes),
        cmocka_unit_test(outputs_answer_as_libxgboost_does_each),
        cmocka_unit_test(numbers_are_corrected_scaled_moved_bounded_and_put_in_order),
        cmocka_unit_test(what_is_no_such_model_is_refused_by_name),
        cmocka_unit_test(a_bad_label_names_its_row),
    };

    return cmocka_run_group_tests_name("forecaster", tests, set_up, NULL);
}
