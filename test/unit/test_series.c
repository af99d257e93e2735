/* What a model of forecasts learns from: pairs of row and step, against a join by brute force; and its rows' columns. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/rand.h"
#include "feature/zone.h"
#include "workers/train/series.h"

#define DAY ((int64_t)86400000)
#define ROWS 400
#define MANY 9000 /* of which it is decided in parts whether they are asked */
#define KEYS 5

/* What was read, in the order in which it came. */
struct record {
    char key[16];
    int64_t event_ms, offset;
    double value, level; /* value NaN: null */
};

static const struct feature_col cols[] = {{"level", COL_DOUBLE, false, -1}};
static const char *const features[] = {"number"};
static struct forecast_known known[] = {{"dow", "weekday(target_time - 1)"}, {"twice", "step * 2 + level"}, {"late", "if(step > 1, step, null)"}};
static const struct forecast_def with_lead = {
    .value = "v", .horizon = 5, .every_ms = DAY, .zone = "", .lead_time = 3, .scale = "level", .offset = "step * 10 + level", .min = (double)NAN, .known = known, .n_known = 3};

/* Each key has rows on so many days. Of 28 they overlap; of 12 one begins the day after another ends. */
static void fill(struct record *r, size_t n, int days, struct rand *rand)
{
    for (size_t i = 0; i < n; i++) { /* gaps, repeats (revisions) and nulls */
        int key = (int)rand_below(rand, KEYS);

        snprintf(r[i].key, sizeof(r[i].key), "k%d", key);
        r[i].event_ms = (key * (days == 12 ? 12 : 8) + (int64_t)rand_below(rand, (uint64_t)days)) * DAY;
        r[i].offset = (int64_t)i;
        r[i].value = rand_below(rand, 12) == 0 ? (double)NAN : (double)rand_below(rand, 100);
        r[i].level = (double)rand_below(rand, 6) - 1; /* -1 and 0: the scale is 1 */
    }
}

static void add_all(struct series *s, const struct record *r, size_t n, struct rand *rand)
{
    struct error err;
    size_t *order = malloc(n * sizeof(*order));

    for (size_t i = 0; i < n; i++)
        order[i] = i;
    for (size_t i = n - 1; i > 0; i--) {
        size_t k = rand_below(rand, i + 1), t = order[i];

        order[i] = order[k];
        order[k] = t;
    }
    for (size_t i = 0; i < n; i++) {
        const struct record *c = &r[order[i]];
        struct series_row row = {.event_ms = c->event_ms, .offset = c->offset, .value = c->value};
        int64_t *fields;
        uint8_t *null;
        float *x;

        assert_int_equal(series_add(s, &row, view_str(c->key), &x, &fields, &null, &err), OK);
        x[0] = (float)c->offset;
        memcpy(fields, &c->level, sizeof(c->level));
        *null = 0;
    }
    free(order);
    assert_int_equal(series_finish(s, &err), OK);
}

/* The last record of a key and time, or NULL. */
static const struct record *latest(const struct record *r, size_t n, const char *key, int64_t event_ms)
{
    const struct record *found = NULL;

    for (size_t i = 0; i < n; i++)
        if (strcmp(r[i].key, key) == 0 && r[i].event_ms == event_ms)
            found = &r[i];
    return found;
}

static double value_at(const struct record *r, size_t n, const char *key, int64_t event_ms)
{
    const struct record *found = latest(r, n, key, event_ms);

    return found ? found->value : (double)NAN;
}

struct wanted {
    float row[6], label; /* number, dow, twice, late, step, steps */
};

/* By the definition: for each row that is not superseded, each step whose truth lies in the span. */
static size_t brute_force(const struct record *r, size_t n, const struct pairs_span *span, bool high, struct wanted *ret)
{
    size_t k = 0;

    for (int key = 0; key < KEYS; key++)
        for (int64_t t = span->from_ms; t < span->truth_to_ms; t += DAY) {
            char name[16];
            const struct record *row;

            snprintf(name, sizeof(name), "k%d", key);
            row = latest(r, n, name, t);
            for (int step = 1; row && (!high || row->level > 2) && step <= 6; step++) {
                int ahead = step < 6 ? step : 3, from = step < 6 ? step : 1;
                int64_t end = t + ahead * DAY;
                double sum = 0, dows = 0, twice = 0, late = step == 6 ? 2.5 : step > 1 ? step : (double)NAN, n_ahead = ahead - from + 1, scale = row->level > 0 ? row->level : 1;

                for (int h = from; h <= ahead; h++) {
                    sum += value_at(r, n, name, t + h * DAY) - (h * 10 + row->level);
                    dows += (double)((t / DAY + h - 1 + 3) % 7);
                    twice += h * 2 + row->level;
                }
                if (isnan(sum) || end < span->truth_from_ms || end >= span->truth_to_ms)
                    continue;
                ret[k++] = (struct wanted){{(float)row->offset, (float)(dows / n_ahead), (float)(twice / n_ahead), (float)late, (float)ahead,
                                            step < 6 ? 1 : 3}, (float)(sum / n_ahead / scale)};
            }
        }
    return k;
}

static void compare(const struct series *s, struct forecast *f, const struct pairs_span *span, const struct wanted *want, size_t n)
{
    struct pairs *p = pairs_new(s, f, NULL, span);
    struct booster_chunk c;
    struct error err;
    size_t k = 0;

    assert_int_equal(pairs_count(p), n);
    for (int pass = 0; pass < 2; pass++, pairs_again(p))
        for (k = 0;; k += c.n_rows) {
            assert_int_equal(pairs_next(p, &c, NULL, &err), OK);
            if (c.n_rows == 0)
                break;
            for (size_t i = 0; i < c.n_rows; i++) {
                assert_true(k + i < n);
                assert_memory_equal(c.rows + i * 6, want[k + i].row, sizeof(want->row));
                assert_true(fabsf(c.labels[i] - want[k + i].label) < 1e-4F);
            }
        }
    pairs_free(p);
}

static void pairs_are_those_of_a_join_by_brute_force(void **state)
{
    uint64_t seed = 20260107;
    struct record *r = malloc(MANY * sizeof(*r));
    struct wanted *want = malloc(ROWS * 6 * sizeof(*want)); /* 5 keys of 28 days and 6 steps are no more */
    struct error err;
    struct expr *where;
    enum col_type type;
    size_t all = 0;

    (void)state;
    assert_int_equal(expr_new("level > 2", cols, 1, &where, &type, &err), OK);
    printf("seed %llu\n", (unsigned long long)seed);
    for (int round = 0; round < 20; round++) {
        struct pairs_span span = {0, round % 2 ? 30 * DAY : INT64_MIN, round % 3 ? 60 * DAY : 45 * DAY, 1};
        struct forecast *f;
        struct series s;
        struct rand rand;
        size_t n, n_rows = round == 7 ? MANY : ROWS;

        rand_seed(&rand, seed + (uint64_t)round);
        fill(r, n_rows, round % 2 ? 28 : 12, &rand);
        series_init(&s, 1, cols, 1, round % 4 == 3 ? where : NULL);
        add_all(&s, r, n_rows, &rand);
        assert_int_equal(forecast_new(&with_lead, cols, 1, features, 1, &f, &err), OK);
        assert_int_equal(forecast_n_cols(f), 6);
        n = brute_force(r, n_rows, &span, round % 4 == 3, want);
        compare(&s, f, &span, want, n);
        if (round == 7) { /* half of the rows, as if by chance */
            struct pairs *p;

            span.share = 0.5;
            p = pairs_new(&s, f, NULL, &span);
            assert_true(pairs_count(p) > n / 4 && pairs_count(p) < n * 3 / 4);
            pairs_free(p);
        }
        all += n;
        forecast_free(f);
        series_done(&s);
    }
    assert_true(all > 3000);
    expr_free(where);
    free(want);
    free(r);
}

static void steps_in_a_zone_are_its_days(void **state)
{
    struct forecast_def d = {.value = "v", .horizon = 3, .every_ms = DAY, .zone = "Europe/London", .scale = "", .offset = "", .min = (double)NAN};
    int64_t saturday = 1711756800000, times[3]; /* 2024-03-30T00:00 in London, whose Sunday has 23 hours */
    struct forecast *f;
    struct error err;

    (void)state;
    assert_int_equal(forecast_new(&d, NULL, 0, features, 1, &f, &err), OK);
    forecast_times(f, saturday, times);
    assert_true(times[0] == saturday + DAY && times[1] == saturday + DAY + DAY / 24 * 23 && times[2] == times[1] + DAY);
    forecast_times(f, saturday + 1, times); /* no beginning of a day: as the clock goes */
    assert_true(times[0] == saturday + 1 + DAY && times[2] == saturday + 1 + 3 * DAY);
    forecast_free(f);
}

static void another_version_of_the_zones_is_refused(void **state)
{
    struct forecast_known by_hour[] = {{"hour", "hour(target_time, 'Europe/London')"}};
    const struct forecast_def plain = {.value = "v", .horizon = 3, .every_ms = DAY, .zone = "", .scale = "", .offset = "", .min = (double)NAN};
    struct forecast_def defs[] = {plain, plain, plain, plain};
    struct arena arena = ARENA_EMPTY;
    const char *version;
    struct error err;

    (void)state;
    assert_int_equal(zone_version(&arena, &version, &err), OK);
    defs[0].zone = "Europe/London";
    defs[1].known = by_hour;
    defs[1].n_known = 1;
    defs[2].offset = by_hour[0].expr;
    for (size_t i = 0; i < ARRAY_LEN(defs); i++) {
        const char *here = i < 3 ? version : "";
        const char *const trained[] = {NULL, "", here, "1999a"};

        for (size_t k = 0; k < ARRAY_LEN(trained); k++) {
            struct forecast *f = NULL;
            enum status st;

            defs[i].zone_data = trained[k];
            st = forecast_new(&defs[i], NULL, 0, features, 1, &f, &err);
            if ((st == OK) != (k < 3))
                fail_msg("target %zu, trained with '%s': %s", i, trained[k] ? trained[k] : "", st == OK ? "taken" : err.text);
            if (st == OK)
                assert_string_equal(forecast_zone_data(f), here);
            else
                assert_non_null(strstr(err.text, "trained with version 1999a, here is"));
            forecast_free(f);
        }
    }
    arena_done(&arena);
}

static void a_wrong_expression_is_named(void **state)
{
    struct forecast_known wrong[] = {{"dow", "weekday(target_time)"}, {"nothing", "nowhere + 1"}};
    struct forecast_def d = with_lead;
    struct forecast *f;
    struct error err;

    (void)state;
    d.known = wrong;
    d.n_known = ARRAY_LEN(wrong);
    assert_int_equal(forecast_new(&d, cols, 1, features, 1, &f, &err), ERR_FATAL);
    assert_non_null(strstr(err.text, "nothing: "));
    d.known = with_lead.known;
    d.n_known = with_lead.n_known;
    d.scale = "step";
    assert_int_equal(forecast_new(&d, cols, 1, features, 1, &f, &err), ERR_FATAL);
    assert_non_null(strstr(err.text, "scale: "));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs_are_those_of_a_join_by_brute_force),
        cmocka_unit_test(steps_in_a_zone_are_its_days),
        cmocka_unit_test(another_version_of_the_zones_is_refused),
        cmocka_unit_test(a_wrong_expression_is_named),
    };

    return cmocka_run_group_tests_name("series", tests, NULL, NULL);
}
