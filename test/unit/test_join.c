/*
 * test/unit/test_join.c: joins against a slow oracle that looks through all that came before a row: types, ties, disorder, delays, ages, conditions;
 * batches and restores that show nowhere; versions that nobody can ask for any more leave nothing behind.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/rand.h"
#include "feature/feature.h"
#include "feature/fields.h"
#include "state_move.h"

#define N_ROWS 3000
#define N_KEYS 4
#define N_FIELDS 6
#define LATENESS_MS 3000
#define TEXT_MAX 3000

enum { CUSTOMERS, NOTES, BUYS };

/* Text, bytes, number, integer, condition, time; all of them in both tables. */
static const struct feature_col table_cols[] = {{"segment", COL_STRING, false, -1}, {"photo", COL_BYTES, false, -1},
                                                {"limit", COL_DOUBLE, false, 2},    {"points", COL_INT, false, -1},
                                                {"vip", COL_BOOL, false, -1},       {"born", COL_INT, true, -1}};
static const struct feature_col buy_cols[] = {{"x", COL_DOUBLE, false, 2}, {"place", COL_STRING, false, -1}};
static const struct feature_input inputs[] = {{"customers", table_cols, N_FIELDS, 0, NULL, 0}, {"notes", table_cols, N_FIELDS, 0, NULL, 0}, {"buys", buy_cols, 2, 0, NULL, 0}};

static const char *const every[] = {"segment", "photo", "limit", "points", "vip", "born"};
static const struct feature_def defs[] = {
    {.name = "c", .join = "customers", .fields = every, .n_fields = N_FIELDS},
    {.name = "delayed", .join = "customers", .fields = every, .n_fields = N_FIELDS, .delay = "4s"},
    {.name = "young", .join = "customers", .fields = every, .n_fields = N_FIELDS, .within = "5s"},
    {.name = "both", .join = "customers", .fields = every, .n_fields = N_FIELDS, .delay = "2s", .within = "1s"},
    {.name = "vips", .join = "customers", .fields = every + 2, .n_fields = 2, .where = "vip"},
    {.name = "note", .join = "notes", .fields = every, .n_fields = 1},
    {.name = "rich", .expr = "x > 0.5 * c_limit"},
    {.name = "here", .expr = "place = c_segment"},
    {.name = "n", .aggregate = "count", .of = "customers", .over = (const char *const[]){"5s"}, .n_over = 1}, /* over the same ring */
};
static const int64_t delay_ms[] = {0, 4000, 0, 2000, 0, 0}, within_ms[] = {0, 0, 5000, 1000, 0, 0};
#define N_JOINS ARRAY_LEN(delay_ms)

struct taken {
    int input, key;
    int64_t ms;
    bool null[N_FIELDS];
    char text[2][TEXT_MAX];
    size_t n_text[2];
    double x;
    int64_t i[3];
};

/* What came out of a row, printed: what is compared. */
struct got {
    char text[8 * TEXT_MAX];
};

static struct taken *rows;
static struct got *outs[3];

static void random_text(struct rand *r, struct taken *row, size_t which)
{
    static const size_t most[] = {1, 3, 20, 200, TEXT_MAX};
    size_t n = rand_below(r, most[rand_below(r, 100) < 90 ? rand_below(r, 3) : 3 + rand_below(r, 2)]);

    row->n_text[which] = n;
    for (size_t i = 0; i < n; i++)
        row->text[which][i] = (char)('a' + rand_below(r, which ? 26 : 2));
}

/* Rising times, of tenths of a second, so that ties and borders are met; the tables in any disorder, now and then older than all, the buys within the lateness. */
static void make_rows(uint64_t seed)
{
    struct rand r;
    int64_t now = -4000000, at = now; /* times before and after 1970 */

    rand_seed(&r, seed);
    for (size_t i = 0; i < N_ROWS; i++) {
        struct taken *row = &rows[i];

        now += rand_below(&r, 3) == 0 ? 0 : (int64_t)rand_below(&r, rand_below(&r, 100) == 0 ? 1000 : 15) * 100;
        *row = (struct taken){.input = (int)rand_below(&r, 4), .key = (int)rand_below(&r, N_KEYS), .ms = now};
        row->input = row->input > BUYS ? BUYS : row->input;
        if (rand_below(&r, 4) == 0)
            row->ms -= (int64_t)rand_below(&r, row->input == BUYS || rand_below(&r, 2) ? LATENESS_MS / 100 : 10000) * 100;
        if (row->input == BUYS) {
            row->ms = row->ms < at - LATENESS_MS ? at - LATENESS_MS : row->ms;
            at = row->ms > at ? row->ms : at;
        }
        for (size_t k = 0; k < N_FIELDS; k++)
            row->null[k] = rand_below(&r, 6) == 0;
        random_text(&r, row, 0);
        random_text(&r, row, 1);
        row->x = (double)rand_below(&r, 100000) / 100;
        row->i[0] = (int64_t)rand_u64(&r) >> rand_below(&r, 64);
        row->i[1] = (int64_t)rand_below(&r, 2);
        row->i[2] = (int64_t)rand_below(&r, 2000000000) * 1000;
    }
}

/* ---- the oracle ---- */
static bool is_vip(const struct taken *row)
{
    return !row->null[4] && row->i[1];
}

/* The latest of the table as of the row less the delay; of equal times the one that came last. NULL: none, or too old. */
static const struct taken *latest(size_t at, int table, size_t join)
{
    const struct taken *own = &rows[at], *best = NULL;
    int64_t until = own->ms - delay_ms[join];

    for (size_t i = 0; i < at; i++)
        if (rows[i].input == table && rows[i].key == own->key && rows[i].ms <= until && (best == NULL || rows[i].ms >= best->ms) &&
            (join != 4 || is_vip(&rows[i])))
            best = &rows[i];
    return best && within_ms[join] && best->ms <= until - within_ms[join] ? NULL : best;
}

static size_t print_field(char *to, const char *name, const struct taken *row, size_t field)
{
    int n = sprintf(to, "%s_%s=", name, every[field]);

    if (row == NULL || row->null[field])
        return (size_t)n + (size_t)sprintf(to + n, "null ");
    if (field < 2)
        n += sprintf(to + n, "'%.*s' ", (int)row->n_text[field], row->text[field]);
    else if (field == 2)
        n += sprintf(to + n, "%.17g ", row->x);
    else
        n += sprintf(to + n, "%lld ", (long long)row->i[field - 3]);
    return (size_t)n;
}

static void oracle(size_t at, char *to)
{
    const struct taken *c = latest(at, CUSTOMERS, 0), *own = &rows[at];
    long n = 0;

    for (size_t j = 0; j < N_JOINS; j++) {
        const struct taken *row = latest(at, j == 5 ? NOTES : CUSTOMERS, j);

        for (size_t k = 0; k < defs[j].n_fields; k++)
            to += print_field(to, defs[j].name, row, j == 4 ? k + 2 : k);
    }
    for (size_t i = 0; i < at; i++)
        n += rows[i].input == CUSTOMERS && rows[i].key == own->key && rows[i].ms <= own->ms && rows[i].ms > own->ms - 5000;
    to += c == NULL || c->null[2] || own->null[2] ? sprintf(to, "rich=null ") : sprintf(to, "rich=%d ", own->x > 0.5 * c->x);
    to += c == NULL || c->null[0] || own->null[0]
              ? sprintf(to, "here=null ")
              : sprintf(to, "here=%d ", c->n_text[0] == own->n_text[0] && memcmp(c->text[0], own->text[0], c->n_text[0]) == 0);
    sprintf(to, "n_5s=%ld ", n);
}

/* ---- the engine ---- */
static struct features *compile(void)
{
    struct features *f = NULL;
    struct error err;

    if (features_new(inputs, 3, BUYS, defs, ARRAY_LEN(defs), &f, &err) != OK)
        fail_msg("%s", err.text);
    return f;
}

static void put(struct col *c, size_t r, bool null, struct view text, double x, int64_t i)
{
    c->null[r] = null;
    if (null)
        return;
    if (c->type == COL_DOUBLE)
        c->f64[r] = x;
    else if (c->type == COL_STRING || c->type == COL_BYTES)
        c->view[r] = text;
    else
        c->i64[r] = i;
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
        else if (col->type == COL_STRING || col->type == COL_BYTES)
            to += sprintf(to, "'%.*s' ", (int)col->view[r].n, (const char *)col->view[r].data);
        else
            to += sprintf(to, "%lld ", (long long)col->i64[r]);
    }
}

/* rows[from, to), all of one input. */
static void apply(const struct features *f, struct state *s, size_t from, size_t to, int64_t at, struct arena *a, struct got *got)
{
    const struct feature_input *input = &inputs[rows[from].input];
    struct view *keys = arena_alloc(a, (to - from) * sizeof(*keys));
    int64_t *ms = arena_alloc(a, (to - from) * sizeof(*ms));
    const char **bad = arena_zalloc(a, (to - from) * sizeof(*bad));
    struct error err;
    struct batch b;

    batch_init(&b, a, to - from);
    b.n_rows = to - from;
    for (size_t i = 0; i < input->n_cols; i++)
        batch_add_col(&b, input->cols[i].name, input->cols[i].type);
    for (size_t r = 0; r < to - from; r++) {
        const struct taken *row = &rows[from + r];

        keys[r] = view_str(arena_printf(a, "key %d", row->key));
        ms[r] = row->ms;
        if (row->input == BUYS) {
            put(&b.cols[0], r, row->null[2], view_of(NULL, 0), row->x, 0);
            put(&b.cols[1], r, row->null[0], view_of(row->text[0], row->n_text[0]), 0, 0);
        }
        for (size_t k = 0; row->input != BUYS && k < N_FIELDS; k++)
            put(&b.cols[k], r, row->null[k], k < 2 ? view_of(row->text[k], row->n_text[k]) : view_of(NULL, 0), row->x, k < 3 ? 0 : row->i[k - 3]);
    }
    if (features_apply(f, s, (size_t)rows[from].input, &b, keys, ms, bad, at, LATENESS_MS, 1, &err) != OK)
        fail_msg("%s", err.text);
    for (size_t r = 0; r < to - from; r++) { /* what is here never looks as if it could not be */
        const struct entry *e = state_find(s, keys[r]);

        if (e && features_check(f, view_of(e->value, e->n_bytes), &err) != OK)
            fail_msg("row %zu: %s", from + r, err.text);
    }
    for (size_t r = 0; r < to - from; r++) {
        assert_null(bad[r]);
        if (rows[from].input == BUYS)
            print(f, &b, r, got[from + r].text);
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
        apply(f, s, from, to, at, &a, got);
        for (size_t i = from; i < to; i++)
            at = rows[i].input == BUYS && rows[i].ms > at ? rows[i].ms : at;
    }
    arena_done(&a);
    state_free(s);
}

static void a_join_is_what_a_look_through_all_before_finds(void **state)
{
    const size_t batches[] = {1, 7, 1000}, restores[] = {SIZE_MAX, N_ROWS / 3, N_ROWS / 2};
    static struct got want;
    struct features *f = compile();

    (void)state;
    rows = calloc(N_ROWS, sizeof(*rows));
    for (size_t k = 0; k < 3; k++)
        outs[k] = calloc(N_ROWS, sizeof(struct got));
    for (uint64_t seed = 1; seed <= 5; seed++) {
        size_t n_there = 0;

        make_rows(seed);
        for (size_t k = 0; k < 3; k++)
            play(f, batches[k], restores[k], outs[k]);
        for (size_t i = 0; i < N_ROWS; i++) {
            if (rows[i].input != BUYS)
                continue;
            oracle(i, want.text);
            n_there += strstr(want.text, "rich=null") == NULL;
            for (size_t k = 0; k < 3; k++)
                if (strcmp(want.text, outs[k][i].text) != 0)
                    fail_msg("seed %llu, batches of %zu, row %zu at %lld:\nwant %.2000s\ngot  %.2000s", (unsigned long long)seed, batches[k], i,
                             (long long)rows[i].ms, want.text, outs[k][i].text);
        }
        assert_true(n_there > N_ROWS / 4);
    }
    for (size_t k = 0; k < 3; k++)
        free(outs[k]);
    free(rows);
    features_free(f);
}

/* ---- one key ---- */
struct one {
    struct features *f;
    struct state *s;
    struct arena a;
};

static struct one one_new(const struct feature_def *d)
{
    struct one o = {.s = state_new(SIZE_MAX), .a = ARENA_EMPTY};
    struct error err;

    if (features_new(inputs, 3, BUYS, d, 1, &o.f, &err) != OK)
        fail_msg("%s", err.text);
    return o;
}

static void one_done(struct one *o)
{
    features_free(o->f);
    state_free(o->s);
    arena_done(&o->a);
}

/* A record of the table, or (n_text SIZE_MAX) an event, whose first column is returned. *ret_bad: why it is refused. */
static const struct col *one_row(struct one *o, const char *key, int64_t ms, int64_t at, const char *text, size_t n_text, const char **ret_bad)
{
    size_t input = n_text == SIZE_MAX ? BUYS : CUSTOMERS;
    struct view k = view_str(key);
    struct error err;
    struct batch b;

    arena_reset(&o->a);
    batch_init(&b, &o->a, 1);
    b.n_rows = 1;
    for (size_t i = 0; i < inputs[input].n_cols; i++)
        batch_add_col(&b, inputs[input].cols[i].name, inputs[input].cols[i].type);
    if (input == CUSTOMERS)
        b.cols[0].view[0] = view_of(text, n_text);
    *ret_bad = NULL;
    assert_int_equal(features_apply(o->f, o->s, input, &b, &k, &ms, ret_bad, at, LATENESS_MS, 1, &err), OK);
    return input == BUYS ? batch_col(&b, features_cols(o->f)[0].name) : NULL;
}

/* Versions for a year, each of another length: what is kept is what may still be asked for. */
static void versions_that_nobody_asks_for_leave_nothing_behind(void **state)
{
    const struct feature_def d = {.name = "c", .join = "customers", .fields = every, .n_fields = 1, .delay = "10s"};
    static char text[TEXT_MAX];
    struct one o = one_new(&d);
    size_t early = 0;
    const char *bad;
    struct rand r;

    (void)state;
    rand_seed(&r, 3);
    memset(text, 'x', sizeof(text));
    for (int64_t i = 0; i < 200000; i++) {
        size_t n = rand_below(&r, rand_below(&r, 10) ? 30 : sizeof(text));

        one_row(&o, "k", i * 1000, i * 1000, text, n, &bad);
        if (i % 7 == 0)
            one_row(&o, "k", i * 1000, i * 1000, NULL, SIZE_MAX, &bad);
        if (i == 20000)
            early = state_bytes(o.s);
    }
    printf("%zu bytes after 20,000 versions, %zu after 200,000\n", early, state_bytes(o.s));
    assert_true(early < 100000 && state_bytes(o.s) <= early + early / 2);
    one_done(&o);
}

static void a_row_of_three_short_fields_is_small(void **state)
{
    static const char *const three[] = {"segment", "limit", "photo"};
    const struct feature_def d = {.name = "c", .join = "customers", .fields = three, .n_fields = 3};
    struct one o = one_new(&d);
    const char *bad;

    (void)state;
    for (int i = 0; i < 10000; i++) {
        char key[16];

        snprintf(key, sizeof(key), "key %d", i);
        one_row(&o, key, 1000, INT64_MIN, "gold", 4, &bad);
    }
    printf("%zu bytes a key\n", state_bytes(o.s) / 10000);
    assert_true(state_bytes(o.s) / 10000 < 700);
    one_done(&o);
}

static void a_text_that_is_too_long_is_refused_and_changes_nothing(void **state)
{
    const struct feature_def d = {.name = "c", .join = "customers", .fields = every, .n_fields = 1};
    static char text[FIELDS_BYTES_MAX];
    struct one o = one_new(&d);
    const struct col *c;
    const char *bad;

    (void)state;
    memset(text, 'x', sizeof(text));
    one_row(&o, "k", 1000, INT64_MIN, text, FIELDS_BYTES_MAX - 16, &bad);
    assert_null(bad);
    c = one_row(&o, "k", 1000, INT64_MIN, NULL, SIZE_MAX, &bad);
    assert_int_equal(c->view[0].n, FIELDS_BYTES_MAX - 16);
    one_row(&o, "k", 1001, 1000, text, FIELDS_BYTES_MAX - 15, &bad);
    assert_string_equal(bad, "range: the fields that are joined have 16385 bytes; 16384 is the most");
    c = one_row(&o, "k", 1002, 1000, NULL, SIZE_MAX, &bad);
    assert_int_equal(c->view[0].n, FIELDS_BYTES_MAX - 16);
    one_done(&o);
}

static void fields_delay_and_age_are_of_the_feature_set(void **state)
{
    const struct feature_def base = {.name = "c", .join = "customers", .fields = every, .n_fields = 2};
    struct feature_def changed[] = {base, base, base, base, base};
    struct one o = one_new(&base);

    (void)state;
    changed[0].fields++;
    changed[1].within = "5s";
    changed[2].delay = "5s";
    changed[3].where = "vip";
    changed[4].join = "notes";
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
        cmocka_unit_test(a_join_is_what_a_look_through_all_before_finds),
        cmocka_unit_test(versions_that_nobody_asks_for_leave_nothing_behind),
        cmocka_unit_test(a_row_of_three_short_fields_is_small),
        cmocka_unit_test(a_text_that_is_too_long_is_refused_and_changes_nothing),
        cmocka_unit_test(fields_delay_and_age_are_of_the_feature_set),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
