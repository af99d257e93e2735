/*
 * test/unit/test_ahead.c: joins at times ahead against a slow oracle that looks through all that came before a row: revisions, ties, disorder,
 * delays, ages, conditions, rows that take each other's place; batches and restores that show nowhere; what has passed leaves nothing behind.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/calendar.h"
#include "base/rand.h"
#include "feature/feature.h"
#include "state_move.h"

#define N_ROWS 3000
#define N_KEYS 3
#define LATENESS_MS 3000
#define HOUR ((int64_t)3600000)

enum { PLANS, BUYS };

static const struct feature_col plan_cols[] = {{"valid", COL_INT, true, -1}, {"x", COL_DOUBLE, false, 2}, {"note", COL_STRING, false, -1}, {"good", COL_BOOL, false, -1}};
static const struct feature_col buy_cols[] = {{"y", COL_DOUBLE, false, 2}};
static const struct feature_input inputs[] = {{"plans", plan_cols, 4, 0, NULL, 0}, {"buys", buy_cols, 1, 0, NULL, 0}},
                                  replaced[] = {{"plans", plan_cols, 4, LATENESS_MS, NULL, 0}, {"buys", buy_cols, 1, 0, NULL, 0}};

static const char *const fields[] = {"x", "note"};
static const struct feature_def defs[] = {
    {.name = "p", .join = "plans", .fields = fields, .n_fields = 2, .valid = "valid", .every = "1s", .ahead = 5},
    {.name = "delayed", .join = "plans", .fields = fields, .n_fields = 2, .valid = "valid", .every = "3s", .ahead = 2, .delay = "2s"},
    {.name = "young", .join = "plans", .fields = fields, .n_fields = 1, .valid = "valid", .every = "1s", .ahead = 5, .within = "2s"},
    {.name = "good", .join = "plans", .fields = fields, .n_fields = 1, .valid = "valid + 500", .every = "2s", .ahead = 3, .where = "good"},
    {.name = "twice", .expr = "2 * p_x"},
    {.name = "n", .aggregate = "count", .of = "plans", .over = (const char *const[]){"5s"}, .n_over = 1}, /* over the same input, by its own time */
};
static const int64_t every_ms[] = {1000, 3000, 1000, 2000}, delay_ms[] = {0, 2000, 0, 0}, within_ms[] = {0, 0, 2000, 0}, later_ms[] = {0, 0, 0, 500};
#define N_JOINS ARRAY_LEN(every_ms)

struct taken {
    int input, key;
    int64_t ms, valid;
    bool has_valid, has_x, has_note, good;
    double x;
    char note[80];
    size_t n_note;
};

struct got {
    char text[4000];
};

static struct taken *rows;
static struct got *outs[3];

/* Times of tenths of a second, so that ties and borders are met. Plans come in any disorder, but within the lateness where they take each other's
 * place; what they are for has often passed. Buys come within the lateness. */
static void make_rows(uint64_t seed, bool replaces)
{
    struct rand r;
    int64_t now = -4000000, at = now;

    rand_seed(&r, seed);
    for (size_t i = 0; i < N_ROWS; i++) {
        struct taken *row = &rows[i];

        now += rand_below(&r, 3) == 0 ? 0 : (int64_t)rand_below(&r, rand_below(&r, 100) == 0 ? 500 : 8) * 100;
        *row = (struct taken){.input = (int)rand_below(&r, 4) == 0 ? BUYS : PLANS, .key = (int)rand_below(&r, N_KEYS), .ms = now};
        if (rand_below(&r, 4) == 0)
            row->ms -= (int64_t)rand_below(&r, row->input == BUYS || replaces || rand_below(&r, 2) ? LATENESS_MS / 100 : 200) * 100;
        if (row->input == BUYS || replaces)
            row->ms = row->ms < at - LATENESS_MS + 100 ? at - LATENESS_MS + 100 : row->ms;
        if (row->input == BUYS)
            at = row->ms > at ? row->ms : at;
        row->valid = (floor_div(row->ms, 1000) * 2 + (int64_t)rand_below(&r, 14) - 3) * 500;
        row->has_valid = rand_below(&r, 10) != 0;
        row->has_x = rand_below(&r, 6) != 0;
        row->has_note = rand_below(&r, 6) != 0;
        row->good = rand_below(&r, 2);
        row->x = (double)rand_below(&r, 100000) / 100;
        row->n_note = rand_below(&r, rand_below(&r, 10) ? 4 : sizeof(row->note));
        memset(row->note, 'a' + (int)rand_below(&r, 26), row->n_note);
    }
}

/* ---- the oracle ---- */
static bool is_replaced(size_t i, size_t at)
{
    for (size_t k = i + 1; k < at; k++)
        if (rows[k].input == PLANS && rows[k].key == rows[i].key && rows[k].ms == rows[i].ms)
            return true;
    return false;
}

/* Of step k: of those known by then the latest time in it, of these the latest, of these the last. */
static const struct taken *known(size_t at, size_t join, int64_t k, bool replaces)
{
    const struct taken *own = &rows[at], *best = NULL;
    int64_t until = own->ms - delay_ms[join], to = own->ms + k * every_ms[join] - later_ms[join];

    for (size_t i = 0; i < at; i++) {
        const struct taken *p = &rows[i];

        if (p->input != PLANS || p->key != own->key || !p->has_valid || p->valid > to || p->valid <= to - every_ms[join] || p->ms > until ||
            (within_ms[join] && p->ms <= until - within_ms[join]) || (join == 3 && !p->good) || (replaces && is_replaced(i, at)))
            continue;
        if (best == NULL || p->valid > best->valid || (p->valid == best->valid && p->ms >= best->ms))
            best = p;
    }
    return best;
}

static int print_number(char *to, const char *name, int64_t k, const struct taken *p, double factor)
{
    return p && p->has_x ? sprintf(to, "%s_ahead%d=%.17g ", name, (int)k, factor * p->x) : sprintf(to, "%s_ahead%d=null ", name, (int)k);
}

static void oracle(size_t at, bool replaces, char *to)
{
    long n = 0;
    char name[40];

    for (size_t j = 0; j < N_JOINS; j++)
        for (size_t field = 0; field < defs[j].n_fields; field++) {
            sprintf(name, "%s_%s", defs[j].name, fields[field]);
            for (int64_t k = 1; k <= (int64_t)defs[j].ahead; k++) {
                const struct taken *p = known(at, j, k, replaces);

                if (field == 0)
                    to += print_number(to, name, k, p, 1);
                else
                    to += p && p->has_note ? sprintf(to, "%s_ahead%d='%.*s' ", name, (int)k, (int)p->n_note, p->note)
                                           : sprintf(to, "%s_ahead%d=null ", name, (int)k);
            }
        }
    for (int64_t k = 1; k <= (int64_t)defs[0].ahead; k++)
        to += print_number(to, "twice", k, known(at, 0, k, replaces), 2);
    for (size_t i = 0; i < at; i++)
        n += rows[i].input == PLANS && rows[i].key == rows[at].key && rows[i].ms <= rows[at].ms && rows[i].ms > rows[at].ms - 5000 &&
             !(replaces && is_replaced(i, at));
    sprintf(to, "n_5s=%ld ", n);
}

/* ---- the engine ---- */
static struct features *compile(const struct feature_input *in, const struct feature_def *d, size_t n)
{
    struct features *f = NULL;
    struct error err;

    if (features_new(in, 2, BUYS, d, n, &f, &err) != OK)
        fail_msg("%s", err.text);
    return f;
}

static void print(const struct features *f, const struct batch *b, size_t r, char *to)
{
    for (size_t c = 0; c < features_n_cols(f); c++) {
        const struct col *col = batch_col(b, features_cols(f)[c].name);

        assert_int_equal(col->type, features_cols(f)[c].type);
        to += sprintf(to, "%s=", col->name);
        if (col->null[r])
            to += sprintf(to, "null ");
        else if (col->type == COL_DOUBLE)
            to += sprintf(to, "%.17g ", col->f64[r]);
        else if (col->type == COL_STRING)
            to += sprintf(to, "'%.*s' ", (int)col->view[r].n, (const char *)col->view[r].data);
        else
            to += sprintf(to, "%lld ", (long long)col->i64[r]);
    }
}

static void put_plan(struct batch *b, size_t r, const struct taken *row)
{
    b->cols[0].null[r] = !row->has_valid;
    b->cols[0].i64[r] = row->has_valid ? row->valid : 0;
    b->cols[1].null[r] = !row->has_x;
    b->cols[1].f64[r] = row->has_x ? row->x : 0;
    b->cols[2].null[r] = !row->has_note;
    b->cols[2].view[r] = row->has_note ? view_of(row->note, row->n_note) : view_of(NULL, 0);
    b->cols[3].i64[r] = row->good;
}

/* rows[0, n), all of one input. */
static void apply(const struct features *f, struct state *s, const struct taken *of, size_t n, int64_t at, struct arena *a, struct got *got)
{
    const struct feature_input *input = &inputs[of->input];
    struct view *keys = arena_alloc(a, n * sizeof(*keys));
    int64_t *ms = arena_alloc(a, n * sizeof(*ms));
    const char **bad = arena_zalloc(a, n * sizeof(*bad));
    struct error err;
    struct batch b;

    batch_init(&b, a, n);
    b.n_rows = n;
    for (size_t i = 0; i < input->n_cols; i++)
        batch_add_col(&b, input->cols[i].name, input->cols[i].type);
    for (size_t r = 0; r < n; r++) {
        keys[r] = view_str(arena_printf(a, "key %d", of[r].key));
        ms[r] = of[r].ms;
        if (of[r].input == PLANS)
            put_plan(&b, r, &of[r]);
    }
    if (features_apply(f, s, (size_t)of->input, &b, keys, ms, bad, at, LATENESS_MS, 1, &err) != OK)
        fail_msg("%s", err.text);
    for (size_t r = 0; r < n; r++) { /* what is here never looks as if it could not be */
        const struct entry *e = state_find(s, keys[r]);

        if (e && features_check(f, view_of(e->value, e->n_bytes), &err) != OK)
            fail_msg("row %zu: %s", r, err.text);
        assert_null(bad[r]);
        if (of->input == BUYS && got)
            print(f, &b, r, got[r].text);
    }
}

static void play(const struct features *f, size_t batch, size_t restore_at, struct got *got)
{
    struct state *s = state_new(SIZE_MAX);
    struct arena a = ARENA_EMPTY;
    int64_t at = INT64_MIN;

    for (size_t from = 0, to; from < N_ROWS; from = to) {
        for (to = from; to < N_ROWS && to < from + batch && rows[to].input == rows[from].input; to++)
            ;
        if (restore_at >= from && restore_at < to)
            s = restored(s);
        arena_reset(&a);
        apply(f, s, rows + from, to - from, at, &a, got + from);
        for (size_t i = from; i < to; i++)
            at = rows[i].input == BUYS && rows[i].ms > at ? rows[i].ms : at;
    }
    arena_done(&a);
    state_free(s);
}

static size_t compare_all(const struct features *f, uint64_t seed, bool replaces)
{
    const size_t batches[] = {1, 7, 1000}, restores[] = {SIZE_MAX, N_ROWS / 3, N_ROWS / 2};
    static struct got want;
    size_t n_there = 0;

    for (size_t k = 0; k < 3; k++)
        play(f, batches[k], restores[k], outs[k]);
    for (size_t i = 0; i < N_ROWS; i++) {
        if (rows[i].input != BUYS)
            continue;
        oracle(i, replaces, want.text);
        n_there += strstr(want.text, "p_x_ahead2=null") == NULL;
        for (size_t k = 0; k < 3; k++)
            if (strcmp(want.text, outs[k][i].text) != 0)
                fail_msg("seed %llu, batches of %zu, row %zu at %lld:\nwant %.2000s\ngot  %.2000s", (unsigned long long)seed, batches[k], i,
                         (long long)rows[i].ms, want.text, outs[k][i].text);
    }
    return n_there;
}

static void each_step_has_what_a_look_through_all_before_finds(void **state)
{
    (void)state;
    rows = calloc(N_ROWS, sizeof(*rows));
    for (size_t k = 0; k < 3; k++)
        outs[k] = calloc(N_ROWS, sizeof(struct got));
    for (int replaces = 0; replaces < 2; replaces++) {
        struct features *f = compile(replaces ? replaced : inputs, defs, ARRAY_LEN(defs));

        for (uint64_t seed = 1; seed <= 5; seed++) {
            make_rows(seed, replaces);
            assert_true(compare_all(f, seed, replaces) > N_ROWS / 100);
        }
        features_free(f);
    }
    for (size_t k = 0; k < 3; k++)
        free(outs[k]);
    free(rows);
}

/* ---- one key ---- */
struct one {
    struct features *f;
    struct state *s;
    struct arena a;
    int64_t at;
};

static struct one one_new(const struct feature_def *d)
{
    return (struct one){compile(inputs, d, 1), state_new(SIZE_MAX), ARENA_EMPTY, INT64_MIN};
}

static void one_done(struct one *o)
{
    features_free(o->f);
    state_free(o->s);
    arena_done(&o->a);
}

static void plan(struct one *o, int64_t ms, int64_t valid, double x)
{
    const struct taken row = {.input = PLANS, .ms = ms, .valid = valid, .has_valid = true, .has_x = true, .x = x, .has_note = true, .note = "0123456789012345678901234567890123456789", .n_note = 40};

    arena_reset(&o->a);
    apply(o->f, o->s, &row, 1, o->at, &o->a, NULL);
}

static const char *buy(struct one *o, int64_t ms)
{
    static struct got got;
    const struct taken row = {.input = BUYS, .ms = ms};

    arena_reset(&o->a);
    apply(o->f, o->s, &row, 1, o->at, &o->a, &got);
    o->at = ms > o->at ? ms : o->at;
    return got.text;
}

/* A forecast of two days each hour, for years: what is kept is what may still be asked for. */
static void what_has_passed_leaves_nothing_behind(void **state)
{
    const struct feature_def d = {.name = "p", .join = "plans", .fields = fields, .n_fields = 2, .valid = "valid", .every = "1h", .ahead = 24};
    struct one o = one_new(&d);
    size_t early = 0;

    (void)state;
    for (int64_t hour = 0; hour < 4000; hour++) {
        for (int64_t k = 0; k <= 48; k++)
            plan(&o, hour * HOUR, (hour + k) * HOUR, (double)k);
        buy(&o, hour * HOUR);
        if (hour == 400)
            early = state_bytes(o.s);
    }
    printf("%zu bytes after 400 forecasts of 49 hours, %zu after 4,000\n", early, state_bytes(o.s));
    assert_true(early < 49 * 1000 && state_bytes(o.s) <= early + early / 4);
    one_done(&o);
}

static void days_of_a_zone_have_23_or_25_hours(void **state)
{
    const struct feature_def d = {.name = "p", .join = "plans", .fields = fields, .n_fields = 1, .valid = "valid", .every = "1d", .zone = "Europe/Berlin", .ahead = 3};
    const int64_t day = calendar_days(2024, 3, 30) * 24 * HOUR; /* clocks are put forward on the 31st at 1:00 UTC */
    struct one o = one_new(&d);

    (void)state;
    plan(&o, day - 24 * HOUR, day + 23 * HOUR, 30);
    plan(&o, day - 24 * HOUR, day + 46 * HOUR, 31);
    plan(&o, day - 24 * HOUR, day + 70 * HOUR, 1);
    assert_string_equal(buy(&o, day - HOUR), "p_x_ahead1=30 p_x_ahead2=31 p_x_ahead3=1 ");
    assert_string_equal(buy(&o, day), "p_x_ahead1=30 p_x_ahead2=31 p_x_ahead3=1 "); /* 24 hours each from there, where no day begins */
    plan(&o, day, day + 46 * HOUR + 1, 32); /* the first moment of the next day */
    assert_string_equal(buy(&o, day + 23 * HOUR), "p_x_ahead1=31 p_x_ahead2=1 p_x_ahead3=null ");
    one_done(&o);
}

static void what_is_asked_is_of_the_feature_set(void **state)
{
    const struct feature_def base = {.name = "p", .join = "plans", .fields = fields, .n_fields = 1, .valid = "valid", .every = "1d", .ahead = 3};
    struct feature_def changed[] = {base, base, base, base};
    struct one o = one_new(&base);

    (void)state;
    changed[0].valid = "valid + 1";
    changed[1].every = "2d";
    changed[2].ahead = 4;
    changed[3].zone = "Europe/Berlin";
    for (size_t i = 0; i < ARRAY_LEN(changed); i++) {
        struct one c = one_new(&changed[i]);

        assert_string_not_equal(features_fingerprint(o.f), features_fingerprint(c.f));
        one_done(&c);
    }
    one_done(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_step_has_what_a_look_through_all_before_finds),
        cmocka_unit_test(what_has_passed_leaves_nothing_behind),
        cmocka_unit_test(days_of_a_zone_have_23_or_25_hours),
        cmocka_unit_test(what_is_asked_is_of_the_feature_set),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
