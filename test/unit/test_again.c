/*
 * test/unit/test_again.c: rows that take the place of those of their key and time, against a slow oracle: after each row all that are there now go, in
 * order, through the same features in a fresh state where nothing is ever replaced (test_aggregates.c and test_window.c have those' own oracles).
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

#define N_ROWS 1200
#define N_KEYS 3
#define SPAN_MS 6000
#define N_COLS 4
#define N_ALL (N_COLS + 1) /* with what is passed on */

static const struct feature_col day_cols[N_COLS] = {
    {"name", COL_STRING, false, -1}, {"units", COL_DOUBLE, false, 2}, {"revision", COL_INT, false, -1}, {"open", COL_BOOL, false, -1}};
static const struct feature_col passed_cols[] = {{"steps", COL_AVRO, false, -1}}; /* its bytes are nobody's matter here */
static const struct feature_col buy_cols[] = {{"x", COL_DOUBLE, false, 2}};

#define OVER(...) .over = (const char *const[]){__VA_ARGS__}, .n_over = ARRAY_LEN(((const char *const[]){__VA_ARGS__}))
#define ALL "3s", "20s", "last3", "gap800ms", "ever"
static const struct feature_def own_defs[] = {
    {.name = "n", .aggregate = "count", .of = "days", OVER(ALL)},
    {.name = "sum", .aggregate = "sum", .of = "units", OVER(ALL)},
    {.name = "dev", .aggregate = "stddev", .of = "units", OVER(ALL)},
    {.name = "least", .aggregate = "min", .of = "units", OVER(ALL)},
    {.name = "most", .aggregate = "max", .of = "units", OVER(ALL), .others = true},
    {.name = "first", .aggregate = "first", .of = "name", OVER(ALL)},
    {.name = "last", .aggregate = "last", .of = "units", OVER(ALL), .delay = "1s"},
    {.name = "previous", .aggregate = "previous", .of = "name"},
    {.name = "since", .aggregate = "since", .of = "days"},
    {.name = "kinds", .aggregate = "distinct", .of = "name", OVER(ALL)},
    {.name = "half", .aggregate = "quantile", .of = "units", OVER(ALL), .has_parameter = true, .parameter = 0.5},
    {.name = "top", .aggregate = "top", .of = "name", OVER("3s", "last3", "gap800ms")},
    {.name = "ratio", .aggregate = "ratio", .of = "units", OVER("20s"), .where = "open"},
    {.name = "opened", .aggregate = "sum", .of = "units", OVER(ALL), .where = "open", .others = true},
    {.name = "closed", .aggregate = "max", .of = "units", OVER("last3", "ever"), .where = "not open", .delay = "700ms"},
    {.name = "fades", .aggregate = "ewm", .of = "units", OVER("4s")},
    {.name = "twice", .expr = "2 * units + sum"},
    {.name = "kind", .expr = "hash(name, 8)"},
};
/* Of the replaced input only what ends and is by time: rows beyond it do not come again. */
static const struct feature_def short_defs[] = {
    {.name = "sum", .aggregate = "sum", .of = "units", OVER("2s")},
    {.name = "most", .aggregate = "max", .of = "units", OVER("1s"), .delay = "500ms"},
};
static const char *const fields[] = {"name", "units"};
static const struct feature_def other_defs[] = {
    {.name = "n", .aggregate = "count", .of = "days", OVER(ALL)},
    {.name = "sum", .aggregate = "sum", .of = "units", OVER(ALL), .where = "open"},
    {.name = "most", .aggregate = "max", .of = "units", OVER(ALL)},
    {.name = "fades", .aggregate = "ewm", .of = "units", OVER("4s")},
    {.name = "day", .join = "days", .fields = fields, .n_fields = 2, .delay = "300ms"},
};

/* An engine: its features, and the same over rows that are never replaced. */
struct pair {
    struct feature_input inputs[2];
    size_t n_inputs, emit;
    struct features *f, *plain;
};

static struct features *compile(const struct pair *p, int64_t replaces_ms, const struct feature_def *defs, size_t n)
{
    struct feature_input inputs[2] = {p->inputs[0], p->inputs[1]};
    struct features *f = NULL;
    struct error err;

    inputs[0].replaces_ms = replaces_ms;
    if (features_new(inputs, p->n_inputs, p->emit, defs, n, &f, &err) != OK)
        fail_msg("%s", err.text);
    return f;
}

static struct pair pair_new(size_t n_inputs, const struct feature_def *defs, size_t n)
{
    struct pair p = {.inputs = {{"days", day_cols, N_COLS, 0, passed_cols, 1}, {"buys", buy_cols, 1, 0, NULL, 0}}, .n_inputs = n_inputs, .emit = n_inputs - 1};

    p.f = compile(&p, SPAN_MS, defs, n);
    p.plain = compile(&p, 0, defs, n);
    return p;
}

static void pair_done(struct pair *p)
{
    features_free(p->f);
    features_free(p->plain);
}

/* ---- rows ---- */
struct taken {
    int input, key;
    int64_t ms;
    bool null[N_ALL];
    char name[24], steps[24];
    double units;
    int64_t open;
};

static struct taken rows[N_ROWS];

/* The latest row of that key and time among the first n; N_ROWS: none. */
static size_t latest(size_t n, int key, int64_t ms)
{
    size_t found = N_ROWS;

    for (size_t i = 0; i < n; i++)
        if (rows[i].input == 0 && rows[i].key == key && rows[i].ms == ms)
            found = i;
    return found;
}

static void fill_text(struct rand *r, char text[24])
{
    size_t n = rand_below(r, rand_below(r, 20) == 0 ? 24 : 3);

    memset(text, 0, 24);
    for (size_t i = 0; i < n && i + 1 < 24; i++)
        text[i] = (char)('a' + rand_below(r, 2));
}

static void fill(struct rand *r, struct taken *row)
{
    fill_text(r, row->name);
    fill_text(r, row->steps);
    row->units = (double)((int64_t)rand_below(r, 2000) - 400) / 100;
    row->open = (int64_t)rand_below(r, 2);
    for (size_t k = 0; k < N_ALL; k++)
        row->null[k] = k != 2 && rand_below(r, 8) == 0;
}

/* Days one after the other, each key now and then with none; a third are corrections of what is less than the span behind, or days that were left out. */
static void make_rows(uint64_t seed, size_t n_inputs)
{
    int64_t at = -400000; /* times before and after 1970 */
    struct rand r;

    rand_seed(&r, seed);
    for (size_t i = 0; i < N_ROWS; i++) {
        struct taken *row = &rows[i];

        *row = (struct taken){.input = n_inputs > 1 && rand_below(&r, 3) == 0, .key = (int)rand_below(&r, N_KEYS), .ms = at};
        if (rand_below(&r, 3) == 0)
            row->ms = at - (int64_t)rand_below(&r, (n_inputs > 1 && row->input) ? 10 : SPAN_MS / 100) * 100;
        else
            row->ms = at + (int64_t)rand_below(&r, rand_below(&r, 60) == 0 ? 300 : 6) * 100;
        at = row->ms > at ? row->ms : at;
        fill(&r, row);
    }
}

/* ---- through an engine ---- */
struct text {
    char *text;
    size_t n, cap;
};

static void say(struct text *t, const char *format, ...)
{
    va_list args;

    if (t->cap - t->n < 4096)
        t->text = realloc(t->text, t->cap = (t->cap + 4096) * 2);
    va_start(args, format);
    t->n += (size_t)vsnprintf(t->text + t->n, t->cap - t->n, format, args);
    va_end(args);
}

static void say_col(struct text *t, const struct col *c, size_t r)
{
    if (c->null[r])
        say(t, " %s=null", c->name);
    else if (c->type == COL_DOUBLE)
        say(t, " %s=%.17g", c->name, c->f64[r]);
    else if (c->type >= COL_STRING)
        say(t, " %s='%.*s'", c->name, (int)c->view[r].n, (const char *)c->view[r].data);
    else
        say(t, " %s=%lld", c->name, (long long)c->i64[r]);
}

static void say_row(struct text *t, const struct features *f, const struct batch *b, size_t r, const char *key, int64_t ms)
{
    say(t, "%s at %lld:", key, (long long)ms);
    for (size_t c = 0; c < features_n_cols(f); c++)
        say_col(t, batch_col(b, features_cols(f)[c].name), r);
}

struct batch_of {
    struct batch b;
    struct view *keys;
    int64_t *ms;
    const char **bad;
};

static struct batch_of batch_new(struct arena *a, const struct feature_input *input, size_t n)
{
    struct batch_of x = {.keys = arena_alloc(a, n * sizeof(*x.keys)), .ms = arena_alloc(a, n * sizeof(*x.ms)), .bad = arena_zalloc(a, n * sizeof(*x.bad))};

    batch_init(&x.b, a, n);
    for (size_t i = 0; i < input->n_cols; i++)
        batch_add_col(&x.b, input->cols[i].name, input->cols[i].type);
    for (size_t i = 0; i < input->n_passed; i++)
        batch_add_col(&x.b, input->passed[i].name, input->passed[i].type);
    return x;
}

static struct view text_view(struct arena *a, const char *text)
{
    return view_of(arena_copy(a, text, strlen(text) + 1), strlen(text));
}

static void batch_put(struct batch_of *x, const struct taken *row, int64_t revision)
{
    size_t r = x->b.n_rows++;

    x->keys[r] = view_str(arena_printf(x->b.arena, "key %d", row->key));
    x->ms[r] = row->ms;
    if (row->input == 1) {
        x->b.cols[0].f64[r] = row->units;
        return;
    }
    for (size_t k = 0; k < N_ALL; k++)
        x->b.cols[k].null[r] = row->null[k];
    if (!row->null[0])
        x->b.cols[0].view[r] = text_view(x->b.arena, row->name);
    if (!row->null[1])
        x->b.cols[1].f64[r] = row->units;
    x->b.cols[2].i64[r] = revision;
    if (!row->null[3])
        x->b.cols[3].i64[r] = row->open;
    if (!row->null[N_COLS])
        x->b.cols[N_COLS].view[r] = text_view(x->b.arena, row->steps);
}

/* What comes out of row i: itself, then those behind it. */
struct said {
    struct text of[N_ROWS];
};

static struct said *said_new(void)
{
    return calloc(1, sizeof(struct said));
}

static void said_free(struct said *s)
{
    for (size_t i = 0; i < N_ROWS; i++)
        free(s->of[i].text);
    free(s);
}

static const char *said_of(const struct said *s, size_t i)
{
    return s->of[i].text ? s->of[i].text : "";
}

/* ---- the oracle ---- */
/* Revisions by row: how often a row of its key and time came out before. */
struct oracle {
    int64_t revision[N_ROWS];
    int64_t reach_ms;
};

/* All of the key's days as they are after row n - 1, in order, through the plain engine; says those from `from` on that rest on it. */
static void days_anew(const struct pair *p, size_t n, struct oracle *o, struct arena *a, struct text *to)
{
    const struct taken *own = &rows[n - 1];
    struct state *s = state_new(SIZE_MAX);
    struct batch_of x = batch_new(a, &p->inputs[0], N_ROWS);
    size_t at[N_ROWS], k = 0;
    struct error err;

    for (int64_t ms = -500000; k < N_ROWS; ms = rows[at[k++]].ms) { /* the next one in time */
        at[k] = N_ROWS;
        for (size_t i = 0; i < n; i++)
            if (rows[i].input == 0 && rows[i].key == own->key && rows[i].ms > ms && (at[k] == N_ROWS || rows[i].ms <= rows[at[k]].ms))
                at[k] = i;
        if (at[k] == N_ROWS)
            break;
        if (at[k] != n - 1 && rows[at[k]].ms > own->ms && rows[at[k]].ms - own->ms < o->reach_ms)
            o->revision[at[k]]++;
        batch_put(&x, &rows[at[k]], o->revision[at[k]]);
    }
    if (features_apply(p->plain, s, 0, &x.b, x.keys, x.ms, x.bad, INT64_MIN, 0, 1, &err) != OK)
        fail_msg("%s", err.text);
    for (size_t r = 0; r < k; r++)
        if (x.ms[r] >= own->ms && (x.ms[r] == own->ms || x.ms[r] - own->ms < o->reach_ms)) {
            say_row(to, p->plain, &x.b, r, (const char *)x.keys[r].data, x.ms[r]);
            for (size_t c = 0; c < N_ALL; c++)
                say_col(to, &x.b.cols[c], r);
            say(to, "\n");
        }
    state_free(s);
}

/* The key's days as they are before the buy, in order, then the buy alone. */
static void buy_anew(const struct pair *p, size_t n, struct arena *a, struct text *to)
{
    struct state *s = state_new(SIZE_MAX);
    struct batch_of x = batch_new(a, &p->inputs[0], N_ROWS), y = batch_new(a, &p->inputs[1], 1);
    const struct taken *own = &rows[n - 1];
    struct error err;

    for (int64_t ms = -500000;;) {
        size_t next = N_ROWS;

        for (size_t i = 0; i < n; i++)
            if (rows[i].input == 0 && rows[i].key == own->key && rows[i].ms > ms && (next == N_ROWS || rows[i].ms <= rows[next].ms))
                next = i;
        if (next == N_ROWS)
            break;
        batch_put(&x, &rows[next], 0);
        ms = rows[next].ms;
    }
    batch_put(&y, own, 0);
    assert_int_equal(features_apply(p->plain, s, 0, &x.b, x.keys, x.ms, x.bad, INT64_MIN, SPAN_MS, 1, &err), OK);
    assert_int_equal(features_apply(p->plain, s, 1, &y.b, y.keys, y.ms, y.bad, INT64_MIN, SPAN_MS, 1, &err), OK);
    say_row(to, p->plain, &y.b, 0, (const char *)y.keys[0].data, y.ms[0]);
    say(to, "\n");
    state_free(s);
}

static struct said *oracle(const struct pair *p, int64_t reach_ms)
{
    struct oracle *o = calloc(1, sizeof(*o));
    struct said *said = said_new();
    struct arena a = ARENA_EMPTY;

    o->reach_ms = reach_ms;
    for (size_t i = 0; i < N_ROWS; i++) {
        size_t former = latest(i, rows[i].key, rows[i].ms);

        arena_reset(&a);
        o->revision[i] = former == N_ROWS ? 0 : o->revision[former] + 1;
        if (rows[i].input == 1)
            buy_anew(p, i + 1, &a, &said->of[i]);
        else if (p->emit == 0)
            days_anew(p, i + 1, o, &a, &said->of[i]);
    }
    arena_done(&a);
    free(o);
    return said;
}

/* ---- the engine ---- */
static void check_key(const struct features *f, struct state *s, struct view key)
{
    const struct entry *e = state_find(s, key);
    static unsigned n;
    struct error err;

    if (e && features_check(f, view_of(e->value, e->n_bytes), &err) != OK)
        fail_msg("%s", err.text);
    if (e && n++ % 3 == 0)
        move_together(f, s, key);
}

/* Rows [from, to), all of one input. */
static void apply(const struct pair *p, struct state *s, size_t from, size_t to, int64_t at, struct arena *a, struct said *said)
{
    int input = rows[from].input;
    bool emits = (size_t)input == p->emit, again = emits && features_has_again(p->f);
    struct batch_of x = batch_new(a, &p->inputs[input], to - from);
    struct features_rows out = {0};
    struct error err;

    for (size_t i = from; i < to; i++)
        batch_put(&x, &rows[i], 0);
    if (again) {
        if (features_again(p->f, s, &x.b, x.keys, x.ms, x.bad, at, 0, 1, &out, &err) != OK ||
            features_apply(p->f, s, 0, &out.cols, out.keys, out.event_ms, out.bad, at, 0, 1, &err) != OK)
            fail_msg("%s", err.text);
    } else if (features_apply(p->f, s, (size_t)input, &x.b, x.keys, x.ms, x.bad, at, 1000, 1, &err) != OK) {
        fail_msg("%s", err.text);
    }
    for (size_t r = 0; r < to - from; r++)
        check_key(p->f, s, x.keys[r]);
    for (size_t r = 0; !again && emits && r < to - from; r++) {
        say_row(&said->of[from + r], p->f, &x.b, r, (const char *)x.keys[r].data, x.ms[r]);
        say(&said->of[from + r], "\n");
    }
    for (size_t r = 0; again && r < out.cols.n_rows; r++) {
        struct text *t = &said->of[from + out.parent[r]];

        assert_null(out.bad[r]);
        say_row(t, p->f, &out.cols, r, (const char *)out.keys[r].data, out.event_ms[r]);
        for (size_t c = 0; c < N_ALL; c++)
            say_col(t, &out.cols.cols[c], r);
        say(t, "\n");
    }
}

static struct said *play(const struct pair *p, size_t batch, size_t restore_every)
{
    struct state *s = state_new(SIZE_MAX);
    struct said *said = said_new();
    struct arena a = ARENA_EMPTY;
    int64_t at = INT64_MIN;

    for (size_t from = 0, to; from < N_ROWS; from = to) {
        for (to = from; to < N_ROWS && to < from + batch && rows[to].input == rows[from].input; to++)
            ;
        if (from / restore_every != to / restore_every)
            s = restored(s);
        arena_reset(&a);
        apply(p, s, from, to, at, &a, said);
        for (size_t i = from; i < to; i++)
            at = (size_t)rows[i].input == p->emit && rows[i].ms > at ? rows[i].ms : at;
    }
    arena_done(&a);
    state_free(s);
    return said;
}

static void compare(size_t n_inputs, const struct feature_def *defs, size_t n_defs, int64_t reach_ms, uint64_t n_seeds)
{
    const size_t batches[] = {1, 7, 1000}, restores[] = {N_ROWS, 50, 300};
    struct pair p = pair_new(n_inputs, defs, n_defs);
    size_t n_again = 0;

    for (uint64_t seed = 1; seed <= n_seeds; seed++) {
        struct said *want, *got;

        make_rows(seed, n_inputs);
        want = oracle(&p, reach_ms);
        for (size_t k = 0; k < ARRAY_LEN(batches); k++) {
            got = play(&p, batches[k], restores[k]);
            for (size_t i = 0; i < N_ROWS; i++) {
                const char *line = strchr(said_of(want, i), '\n');

                n_again += line && line[1];
                if (strcmp(said_of(want, i), said_of(got, i)) != 0)
                    fail_msg("seed %llu, batches of %zu, row %zu:\nwant %.3000s\ngot  %.3000s", (unsigned long long)seed, batches[k], i,
                             said_of(want, i), said_of(got, i));
            }
            said_free(got);
        }
        said_free(want);
    }
    assert_true(p.emit != 0 || n_again > N_ROWS / 4);
    pair_done(&p);
}

static void a_correction_and_what_rests_on_it_come_out_as_if_it_had_been_there(void **state)
{
    (void)state;
    compare(1, own_defs, ARRAY_LEN(own_defs), INT64_MAX, 2);
}

static void what_lies_beyond_the_longest_window_does_not_come_again(void **state)
{
    (void)state;
    compare(1, short_defs, ARRAY_LEN(short_defs), 2000, 2);
}

static void another_input_is_corrected_for_what_comes_later(void **state)
{
    (void)state;
    compare(2, other_defs, ARRAY_LEN(other_defs), 0, 2);
}

/* A key of many chunks, of which each commit writes those that changed. */
static void what_changes_is_written(void **state)
{
    const struct feature_def def = {.name = "sum", .aggregate = "sum", .of = "units", OVER("20s")};
    struct pair p = pair_new(1, &def, 1);
    struct state *s = state_new(SIZE_MAX), *log = state_new(SIZE_MAX);
    struct arena a = ARENA_EMPTY;
    static char text[3000];
    size_t most = 0;
    struct rand r;

    (void)state;
    rand_seed(&r, 5);
    for (int64_t i = 0; i < 1000; i++) {
        struct batch_of x;
        struct features_rows out;
        struct error err;

        arena_reset(&a);
        x = batch_new(&a, &p.inputs[0], 1);
        batch_put(&x, &(struct taken){.ms = (i - (int64_t)rand_below(&r, 50) * (int64_t)rand_below(&r, 2)) * 100}, 0);
        memset(text, (int)('a' + i % 26), sizeof(text));
        x.b.cols[0].view[0] = view_of(text, rand_below(&r, sizeof(text)));
        if (features_again(p.f, s, &x.b, x.keys, x.ms, x.bad, i * 100, 0, 1, &out, &err) != OK ||
            features_apply(p.f, s, 0, &out.cols, out.keys, out.event_ms, out.bad, i * 100, 0, 1, &err) != OK)
            fail_msg("%s", err.text);
        commit_to(log, s);
        if (!log_has(log, s, view_str("key 0")))
            fail_msg("row %lld: the log has something else", (long long)i);
        most = state_bytes(s) > most ? state_bytes(s) : most;
    }
    printf("at most %zu bytes\n", most);
    assert_true(most > 2 * STATE_CHUNK_BYTES && most < 12 * STATE_CHUNK_BYTES);
    arena_done(&a);
    state_free(s);
    state_free(log);
    pair_done(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_correction_and_what_rests_on_it_come_out_as_if_it_had_been_there),
        cmocka_unit_test(what_lies_beyond_the_longest_window_does_not_come_again),
        cmocka_unit_test(another_input_is_corrected_for_what_comes_later),
        cmocka_unit_test(what_changes_is_written),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
