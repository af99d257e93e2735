/* Tumbling windows against a slow oracle that knows every event, and borders against a walk through all minutes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/calendar.h"
#include "base/rand.h"
#include "feature/tumbling.h"

#define MINUTE_MS ((int64_t)60000)
#define HOUR_MS (60 * MINUTE_MS)
#define DAY_MS (24 * HOUR_MS)
#define T0 ((int64_t)1711756800000) /* 2024-03-30 00:00 UTC, a day before Europe's clocks go forward */

enum { EVENTS = 400, KEYS = 4, VALUES = 9, ROWS_MAX = 200000 };

struct event_in {
    int64_t ms;
    int key;
    double amount, price; /* price NaN: null */
};

struct row_out {
    int key;
    int32_t revision;
    struct period window;
    double v[VALUES];
};

static const struct feature_col cols[] = {{"amount", COL_DOUBLE, false, 2}, {"price", COL_DOUBLE, false, -1}};
static const struct feature_input input = {"sales", cols, 2, 0, NULL, 0};
static const struct feature_def defs[VALUES] = {
    {.name = "total", .aggregate = "sum", .of = "amount"},
    {.name = "n", .aggregate = "count", .of = "sales", .has_fill = true, .fill = -1},
    {.name = "n_large", .aggregate = "count", .of = "sales", .where = "amount > 50"},
    {.name = "mean_price", .aggregate = "mean", .of = "price"},
    {.name = "least", .aggregate = "min", .of = "amount", .where = "amount > 50", .has_fill = true, .fill = 0.5},
    {.name = "most", .aggregate = "max", .of = "price"},
    {.name = "first_price", .aggregate = "first", .of = "price"},
    {.name = "last_price", .aggregate = "last", .of = "price"},
    {.name = "spread", .aggregate = "variance", .of = "amount"},
};
static const char *const names[KEYS] = {"a", "ab", "b", "\x80"};

/* ---- the oracle ---- */

struct oracle {
    const struct tumbling_def *def;
    const struct borders *borders;
    struct event_in seen[EVENTS];
    size_t n_seen, n_late;
    struct row_out *rows;
    size_t n_rows;
};

static bool is_in(const struct event_in *e, int key, struct period w)
{
    return e->key == key && e->ms >= w.start && e->ms < w.end;
}

/* Each value by a look at all events, in the order in which they were taken. */
static void oracle_values(const struct oracle *o, int key, struct period w, double *v)
{
    double n = 0, n_large = 0, sum = 0, squares = 0, n_price = 0, price = 0, least = NAN, most = NAN, first = NAN, last = NAN;
    int64_t first_ms = INT64_MAX, last_ms = INT64_MIN;

    for (size_t i = 0; i < o->n_seen; i++) {
        const struct event_in *e = &o->seen[i];

        if (!is_in(e, key, w))
            continue;
        n++;
        sum += e->amount;
        squares += e->amount * e->amount;
        n_large += e->amount > 50;
        least = e->amount > 50 && !(least <= e->amount) ? e->amount : least;
        n_price += !isnan(e->price);
        price += isnan(e->price) ? 0 : e->price;
        most = !isnan(e->price) && !(most >= e->price) ? e->price : most;
        first = e->ms < first_ms ? e->price : first;
        first_ms = e->ms < first_ms ? e->ms : first_ms;
        last = e->ms >= last_ms ? e->price : last;
        last_ms = e->ms >= last_ms ? e->ms : last_ms;
    }
    v[0] = sum;
    v[1] = n ? n : -1;
    v[2] = n_large;
    v[3] = n_price ? price / n_price : NAN;
    v[4] = n_large ? least : 0.5;
    v[5] = most;
    v[6] = first;
    v[7] = last;
    v[8] = n < 2 ? NAN : (squares - sum * sum / n) / (n - 1);
}

static bool oracle_is_there(const struct oracle *o, int key, struct period w)
{
    for (size_t i = 0; i < o->n_seen; i++)
        if (is_in(&o->seen[i], key, w) ||
            (o->seen[i].key == key && o->seen[i].ms < w.start && w.start - o->seen[i].ms <= o->def->fill_for_ms))
            return true;
    return false;
}

/* How often it came out. */
static int32_t oracle_times(const struct oracle *o, int key, struct period w)
{
    int32_t n = 0;

    for (size_t i = 0; i < o->n_rows; i++)
        n += o->rows[i].key == key && o->rows[i].window.start == w.start;
    return n;
}

static void oracle_emit(struct oracle *o, int key, struct period w)
{
    struct row_out *row = &o->rows[o->n_rows];

    assert_true(o->n_rows < ROWS_MAX);
    row->key = key;
    row->window = w;
    row->revision = oracle_times(o, key, w);
    oracle_values(o, key, w, row->v);
    o->n_rows++;
}

static void oracle_take(struct oracle *o, const struct event_in *e, int64_t *at)
{
    struct period w;

    if (*at != INT64_MIN)
        for (w = borders_find(o->borders, *at); w.end <= e->ms; w = borders_find(o->borders, w.end))
            for (int k = 0; k < KEYS; k++)
                if (oracle_is_there(o, k, w))
                    oracle_emit(o, k, w);
    *at = e->ms > *at ? e->ms : *at;
    w = borders_find(o->borders, e->ms);
    if (w.end <= *at && *at - w.end >= o->def->allowed_ms) {
        o->n_late++;
        return;
    }
    o->seen[o->n_seen++] = *e;
    if (w.end > *at)
        return;
    oracle_emit(o, e->key, w);
    while ((w = borders_find(o->borders, w.end)).end <= *at)
        if (oracle_is_there(o, e->key, w) && oracle_times(o, e->key, w) == 0)
            oracle_emit(o, e->key, w);
}

/* ---- the engine, in batches, closing in steps ---- */

struct run {
    const struct features *f;
    struct state *state;
    struct arena arena;
    struct row_out *rows;
    size_t n_rows, n_late;
    int64_t at;
};

static void keep(struct run *r, const struct window_rows *rows)
{
    for (size_t i = 0; i < rows->n; i++) {
        struct row_out *to = &r->rows[r->n_rows++];

        assert_true(r->n_rows < ROWS_MAX);
        for (to->key = 0; !view_eq(view_str(names[to->key]), rows->rows[i].key);)
            to->key++;
        to->revision = rows->rows[i].revision;
        to->window = rows->rows[i].window;
        memcpy(to->v, rows->rows[i].v, sizeof(to->v));
    }
}

static void close_up_to(struct run *r, int64_t at, size_t step)
{
    while (r->at != INT64_MIN && tumbling_next(r->f, r->at) <= at) {
        int64_t end = tumbling_next(r->f, r->at);
        size_t from = 0;
        bool all = false;

        while (!all) {
            struct window_rows rows = {.arena = &r->arena};

            all = tumbling_close(r->f, r->state, end, step, &from, &rows);
            assert_true(rows.n <= step);
            keep(r, &rows);
        }
        r->at = end;
    }
}

static void take_batch(struct run *r, const struct event_in *events, size_t n)
{
    struct window_rows rows = {.arena = &r->arena};
    const char *bad[EVENTS] = {NULL};
    int64_t ms[EVENTS], at[EVENTS];
    struct view keys[EVENTS];
    struct batch in;
    struct error err;
    struct col *c;

    batch_init(&in, &r->arena, n);
    in.n_rows = n;
    batch_add_col(&in, "amount", COL_DOUBLE);
    batch_add_col(&in, "price", COL_DOUBLE);
    for (size_t i = 0; i < n; i++) {
        keys[i] = view_str(names[events[i].key]);
        ms[i] = events[i].ms;
        r->at = ms[i] > r->at ? ms[i] : r->at;
        at[i] = r->at;
        batch_col(&in, "amount")->f64[i] = events[i].amount;
        c = batch_col(&in, "price");
        c->null[i] = (uint8_t)isnan(events[i].price);
        c->f64[i] = isnan(events[i].price) ? 0 : events[i].price;
    }
    assert_int_equal(tumbling_apply(r->f, r->state, &in, keys, ms, at, bad, 1, &rows, &err), OK);
    for (size_t i = 0; i < n; i++) {
        assert_true(bad[i] == NULL || strncmp(bad[i], "late: ", 6) == 0);
        r->n_late += bad[i] != NULL;
        if (state_find(r->state, keys[i])) { /* what is here never looks as if it could not be */
            const struct entry *e = state_find(r->state, keys[i]);

            assert_int_equal(features_check(r->f, view_of(e->value, e->n_bytes), &err), OK);
        }
    }
    keep(r, &rows);
}

static void engine(struct run *r, const struct event_in *events, size_t n, size_t at_once, size_t step)
{
    for (size_t i = 0, k; i < n; i += k) {
        int64_t first = events[i].ms > r->at ? events[i].ms : r->at, next;

        close_up_to(r, events[i].ms, step);
        next = tumbling_next(r->f, first);
        for (k = 1; k < at_once && i + k < n && events[i + k].ms < next;)
            k++;
        take_batch(r, events + i, k);
        arena_reset(&r->arena);
    }
}

static void same_rows(const struct run *r, const struct oracle *o, const char *what)
{
    for (size_t i = 0; i < r->n_rows && i < o->n_rows; i++) {
        const struct row_out *a = &r->rows[i], *b = &o->rows[i];
        bool same = a->key == b->key && a->revision == b->revision && a->window.start == b->window.start && a->window.end == b->window.end;

        for (size_t v = 0; v < VALUES; v++)
            same = same && (isnan(b->v[v]) ? isnan(a->v[v]) : fabs(a->v[v] - b->v[v]) <= 1e-6 * (1 + fabs(b->v[v])));
        if (!same)
            fail_msg("%s: row %zu is %s [%lld, %lld) revision %d, want %s [%lld, %lld) revision %d", what, i, names[a->key],
                     (long long)a->window.start, (long long)a->window.end, a->revision, names[b->key], (long long)b->window.start,
                     (long long)b->window.end, b->revision);
    }
    assert_int_equal(r->n_rows, o->n_rows);
    assert_int_equal(r->n_late, o->n_late);
}

static void make_events(struct rand *rand, struct event_in *events, int64_t every_ms, int64_t behind_ms)
{
    int64_t ms = T0;

    for (size_t i = 0; i < EVENTS; i++) {
        uint64_t kind = rand_below(rand, 20);

        ms += kind == 0 ? (int64_t)rand_below(rand, 8) * every_ms : (int64_t)rand_below(rand, (uint64_t)every_ms / 4);
        events[i] = (struct event_in){ms, (int)rand_below(rand, KEYS), (double)rand_below(rand, 10000) / 100,
                                      rand_below(rand, 4) ? (double)rand_below(rand, 100) : NAN};
        if (kind > 12) /* out of order */
            events[i].ms -= (int64_t)rand_below(rand, (uint64_t)behind_ms);
        events[i].key = kind == 5 ? KEYS - 1 : events[i].key % (KEYS - 1); /* one of them seldom */
    }
}

static void rows_are_those_of_a_look_at_every_event(void **state)
{
    static const struct tumbling_def table[] = {
        {HOUR_MS, NULL, 3 * HOUR_MS, INT64_MAX}, {HOUR_MS, NULL, 0, INT64_MAX}, {HOUR_MS, NULL, 10 * HOUR_MS, 3 * HOUR_MS},
        {7 * DAY_MS, NULL, 15 * DAY_MS, INT64_MAX}, {90 * MINUTE_MS, NULL, 6 * HOUR_MS, 0}, {DAY_MS, "Europe/Berlin", 2 * DAY_MS, 5 * DAY_MS},
        {2 * DAY_MS, "America/New_York", 9 * DAY_MS, INT64_MAX},
    };
    static struct event_in events[EVENTS];
    static struct oracle o;
    static struct row_out got[ROWS_MAX], want[ROWS_MAX];
    const uint64_t seed = 11;
    struct rand rand;

    (void)state;
    printf("seed %d\n", (int)seed);
    rand_seed(&rand, seed);
    for (size_t k = 0; k < ARRAY_LEN(table) * 4; k++) {
        const struct tumbling_def *def = &table[k % ARRAY_LEN(table)];
        struct arena arena = ARENA_EMPTY;
        struct borders borders = {.every_ms = def->every_ms};
        int64_t at = INT64_MIN;
        struct features *f;
        struct error err;

        make_events(&rand, events, def->every_ms, def->allowed_ms + 2 * def->every_ms);
        if (def->zone)
            assert_int_equal(zone_load(def->zone, &arena, &borders.zone, &err), OK);
        o = (struct oracle){.def = def, .borders = &borders, .rows = want};
        for (size_t i = 0; i < EVENTS; i++)
            oracle_take(&o, &events[i], &at);
        assert_true(o.n_late > 0 && o.n_rows > 50);
        assert_int_equal(tumbling_new(&input, def, defs, VALUES, &f, &err), OK);
        for (size_t at_once = 1; at_once <= 343; at_once *= 7) {
            struct run r = {.f = f, .state = state_new((size_t)1 << 26), .rows = got, .at = INT64_MIN};
            char what[64];

            snprintf(what, sizeof(what), "case %zu, %zu at once", k, at_once);
            engine(&r, events, EVENTS, at_once, at_once == 7 ? 1 : at_once == 49 ? 3 : 1000);
            same_rows(&r, &o, what);
            state_free(r.state);
            arena_done(&r.arena);
        }
        features_free(f);
        arena_done(&arena);
    }
}

/* What is kept of a key does not grow with time. */
static void a_key_keeps_only_windows_that_may_change(void **state)
{
    static const struct tumbling_def def = {HOUR_MS, NULL, 3 * HOUR_MS, INT64_MAX};
    static struct row_out rows[ROWS_MAX];
    struct features *f;
    struct error err;
    struct run r = {.state = state_new((size_t)1 << 26), .rows = rows, .at = INT64_MIN};
    size_t bytes = 0;

    (void)state;
    assert_int_equal(tumbling_new(&input, &def, defs, VALUES, &f, &err), OK);
    r.f = f;
    for (int i = 0; i < 200; i++) {
        struct event_in e = {T0 + i * HOUR_MS, 0, 1, 1};

        engine(&r, &e, 1, 1, 1000);
        if (i == 10)
            bytes = state_find(r.state, view_str("a"))->n_bytes;
    }
    assert_int_equal(state_find(r.state, view_str("a"))->n_bytes, bytes);
    assert_int_equal(r.n_rows, 199);
    features_free(f);
    state_free(r.state);
    arena_done(&r.arena);
}

static void what_no_value_takes_begins_no_series(void **state)
{
    static const struct tumbling_def def = {HOUR_MS, NULL, 0, INT64_MAX};
    static const struct feature_def only = {.name = "least", .aggregate = "min", .of = "amount", .where = "amount > 50"};
    struct event_in e = {T0, 0, 10, 1};
    struct features *f;
    struct error err;
    struct run r = {.state = state_new((size_t)1 << 26), .at = INT64_MIN};

    (void)state;
    assert_int_equal(tumbling_new(&input, &def, &only, 1, &f, &err), OK);
    r.f = f;
    take_batch(&r, &e, 1);
    assert_int_equal(state_n_keys(r.state), 0);
    assert_int_equal(r.at, T0); /* but it says how late it is */
    features_free(f);
    state_free(r.state);
    arena_done(&r.arena);
}

static void what_a_window_cannot_have_is_refused(void **state)
{
    static const struct tumbling_def def = {HOUR_MS, NULL, 0, INT64_MAX}, no_zone = {DAY_MS, "Europe/Berlyn", 0, INT64_MAX};
    static const struct {
        struct feature_def def;
        const char *why;
    } table[] = {
        {{.name = "x", .aggregate = "previous", .of = "amount"}, "feature 'x': previous has no meaning in a tumbling window"},
        {{.name = "x", .aggregate = "ewm", .of = "amount"}, "feature 'x': ewm has no meaning in a tumbling window"},
        {{.name = "x", .aggregate = "distinct", .of = "amount"}, "feature 'x': distinct has no meaning in a tumbling window"},
        {{.name = "x", .aggregate = "sum", .of = "amuont"}, "did you mean 'amount'?"},
    };
    struct features *f;
    struct error err;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        assert_int_equal(tumbling_new(&input, &def, &table[i].def, 1, &f, &err), ERR_FATAL);
        if (strstr(err.text, table[i].why) == NULL)
            fail_msg("%s", err.text);
    }
    assert_int_equal(tumbling_new(&input, &no_zone, defs, 1, &f, &err), ERR_FATAL);
    assert_non_null(strstr(err.text, "did you mean 'Europe/Berlin'?"));
}

/* ---- borders ---- */

/* The local day of each minute never goes back: of a day that a zone has twice, the end belongs to the next. */
static void days_of_a_zone_are_those_of_a_walk_through_its_minutes(void **state)
{
    static const struct {
        const char *zone;
        int64_t from; /* days since 1970 */
        int days;
    } table[] = {
        {"Europe/London", 19800, 400}, {"America/Sao_Paulo", 17300, 200} /* midnight itself was skipped */,
        {"Pacific/Apia", 15330, 20} /* without 2011-12-30 */, {"Asia/Kolkata", 19800, 9}, {"America/St_Johns", 14900, 400} /* put back at 00:01 */,
    };
    static const int64_t widths[] = {1, 2, 7};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(table) * ARRAY_LEN(widths); i++) {
        int64_t n = widths[i % ARRAY_LEN(widths)], from = table[i / 3].from, begins = INT64_MIN, number = INT64_MIN, most = INT64_MIN;
        struct borders b = {.every_ms = n * DAY_MS};
        struct arena arena = ARENA_EMPTY;
        struct period w = {0, 0};
        struct error err;

        assert_int_equal(zone_load(table[i / 3].zone, &arena, &b.zone, &err), OK);
        for (int64_t m = 0; m < table[i / 3].days * 1440; m++) {
            int64_t s = from * 86400 + m * 60, day = floor_div(s + zone_find(b.zone, s).offset, 86400), now;

            most = day > most ? day : most;
            now = n == 7 ? floor_div(most - 4, 7) : floor_div(most, n);
            if (now != number && number != INT64_MIN) {
                if (begins != INT64_MIN)
                    assert_true(w.start == begins && w.end == s * 1000);
                begins = s * 1000;
            }
            number = now;
            if (begins == INT64_MIN)
                continue;
            w = borders_find(&b, s * 1000 + 59999);
            if (w.start != begins || w.end <= s * 1000)
                fail_msg("%s, %lld days: at %lld [%lld, %lld), want from %lld", table[i / 3].zone, (long long)n, (long long)s,
                         (long long)w.start / 1000, (long long)w.end / 1000, (long long)begins / 1000);
        }
        arena_done(&arena);
    }
}

static void borders_are_multiples_of_the_width(void **state)
{
    static const struct {
        int64_t every, ms, start, end;
    } table[] = {
        {HOUR_MS, 0, 0, HOUR_MS}, {HOUR_MS, -1, -HOUR_MS, 0}, {HOUR_MS, HOUR_MS, HOUR_MS, 2 * HOUR_MS},
        {DAY_MS, T0 + 5, T0, T0 + DAY_MS}, {DAY_MS, -1, -DAY_MS, 0}, {90 * MINUTE_MS, HOUR_MS, 0, 90 * MINUTE_MS},
        {7 * DAY_MS, 4 * DAY_MS, 4 * DAY_MS, 11 * DAY_MS} /* Monday 1970-01-05 */, {7 * DAY_MS, 4 * DAY_MS - 1, -3 * DAY_MS, 4 * DAY_MS},
        {2 * DAY_MS, 3 * DAY_MS, 2 * DAY_MS, 4 * DAY_MS},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct borders b = {.every_ms = table[i].every};
        struct period w = borders_find(&b, table[i].ms);

        if (w.start != table[i].start || w.end != table[i].end)
            fail_msg("row %zu: [%lld, %lld)", i, (long long)w.start, (long long)w.end);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_those_of_a_look_at_every_event),
        cmocka_unit_test(a_key_keeps_only_windows_that_may_change),
        cmocka_unit_test(what_no_value_takes_begins_no_series),
        cmocka_unit_test(what_a_window_cannot_have_is_refused),
        cmocka_unit_test(days_of_a_zone_are_those_of_a_walk_through_its_minutes),
        cmocka_unit_test(borders_are_multiples_of_the_width),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
