/*
 * test/bench/features.c: 27 of the fraud pipeline's 29 features over the published transactions, memory to memory; what an event costs
 * over windows from 1 to 60 days and for 1,000 to 1,000,000 keys, and beside one hot key; and tumbling windows.
 *
 * usage: features [TX.csv.zst]   Labels are frauds, known 7 days after; two chained sets as in pipelines/fraud.json, inputs merged by
 * event time, a label before a transaction of the same time. Each transaction is thus an event of two sets: features_mem_per_s counts
 * it once, features_events_per_s each time and the labels.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/rand.h"
#include "feature/feature.h"
#include "feature/tumbling.h"
#include "test/bench/figure.h"

#define DEFAULT_CSV "../shared/data/fraud/handbook_tx.csv.zst"
#define WEEK_MS ((int64_t)7 * 86400000)
#define BATCH 1000

struct tx {
    int64_t event_ms;
    double amount;
    char customer[12], terminal[12];
    int fraud;
};

static const char *const spans[] = {"1d", "7d", "30d"}, *const weeks[] = {"7d", "14d", "28d", "60d"}, *const ever[] = {"ever"};
static const struct feature_col tx_cols[] = {{"amount", COL_DOUBLE, false, 2}, {"ts", COL_INT, true, -1}};
static const struct feature_input customer_inputs[] = {{"transactions", tx_cols, 2, 0, NULL, 0}};
static const struct feature_input terminal_inputs[] = {{"labels", tx_cols, 1, 0, NULL, 0}, {"enriched", tx_cols, 2, 0, NULL, 0}};
static const struct feature_def customer_defs[] = {
    {.name = "amount", .expr = "amount"},
    {.name = "weekend", .expr = "weekday(ts) >= 5"},
    {.name = "night", .expr = "hour(ts) <= 6"},
    {.name = "customer_n", .aggregate = "count", .of = "transactions", .over = spans, .n_over = 3},
    {.name = "customer_mean", .aggregate = "mean", .of = "amount", .over = spans, .n_over = 3},
    {.name = "customer_max", .aggregate = "max", .of = "amount", .over = ever, .n_over = 1, .others = true},
    {.name = "amount_to_mean", .aggregate = "ratio", .of = "amount", .over = spans + 1, .n_over = 2},
    {.name = "amount_zscore", .aggregate = "zscore", .of = "amount", .over = spans + 2, .n_over = 1},
    {.name = "amount_to_max", .expr = "amount / customer_max"},
};
static const struct feature_def terminal_defs[] = {
    {.name = "terminal_n", .aggregate = "count", .of = "enriched", .over = spans, .n_over = 3, .delay = "7d"},
    {.name = "terminal_frauds", .aggregate = "count", .of = "labels", .over = spans, .n_over = 3},
    {.name = "terminal_risk", .expr = "coalesce(terminal_frauds / terminal_n, 0)"},
    {.name = "terminal_chargebacks", .aggregate = "count", .of = "labels", .over = weeks, .n_over = 4},
    {.name = "terminal_small_chargebacks", .aggregate = "count", .of = "labels", .over = weeks, .n_over = 4, .where = "amount < 220"},
};

struct stage {
    struct features *f;
    struct state *state;
    int64_t at;
};

static void die(const char *what)
{
    fprintf(stderr, "features: %s\n", what);
    exit(1);
}

static struct stage make(const struct feature_input *inputs, size_t n_inputs, const struct feature_def *defs, size_t n)
{
    struct stage s = {.state = state_new((size_t)4 << 30), .at = INT64_MIN};
    struct error err;

    if (features_new(inputs, n_inputs, n_inputs - 1, defs, n, &s.f, &err) != OK)
        die(err.text);
    return s;
}

static void apply(struct stage *s, size_t input, struct batch *b, const struct view *keys, const int64_t *ms)
{
    const char **bad = arena_zalloc(b->arena, b->n_rows * sizeof(*bad));
    struct error err;

    if (features_apply(s->f, s->state, input, b, keys, ms, bad, s->at, /* lateness_ms= */ 3600000, 1, &err) != OK)
        die(err.text);
    for (size_t r = 0; r < b->n_rows; r++) {
        if (bad[r] != NULL)
            die(bad[r]);
        if (ms[r] > s->at)
            s->at = ms[r];
    }
}

static struct tx *read_csv(const char *path, size_t *ret_n)
{
    char command[600], line[256];
    struct tx *rows = NULL;
    size_t n = 0, cap = 0;
    FILE *in;

    snprintf(command, sizeof(command), "zstd -dc '%s'", path);
    in = popen(command, "r");
    if (in == NULL || fgets(line, sizeof(line), in) == NULL)
        die("cannot read the transactions");
    while (fgets(line, sizeof(line), in) != NULL) {
        struct tx *t;

        if (n == cap)
            rows = xrealloc(rows, (cap = cap ? 2 * cap : 65536) * sizeof(*rows));
        t = &rows[n++];
        if (sscanf(line, "%*d,%ld,%11[^,],%11[^,],%lf,%d", &t->event_ms, t->customer, t->terminal, &t->amount,
                   &t->fraud) != 5)
            die("a line that is no transaction");
        t->event_ms *= 1000;
    }
    pclose(in);
    *ret_n = n;
    return rows;
}

static void give_labels(struct stage *terminal, const struct tx *rows, size_t n, size_t *next, int64_t until_ms,
                        struct arena *a)
{
    struct view keys[BATCH];
    int64_t ms[BATCH];
    double amounts[BATCH];
    size_t k = 0;

    for (; *next < n && rows[*next].event_ms + WEEK_MS <= until_ms && k < BATCH; ++*next)
        if (rows[*next].fraud) {
            keys[k] = view_str(rows[*next].terminal);
            amounts[k] = rows[*next].amount;
            ms[k++] = rows[*next].event_ms + WEEK_MS;
        }
    if (k > 0) {
        struct batch b;

        batch_init(&b, a, k);
        b.n_rows = k;
        memcpy(batch_add_col(&b, "amount", COL_DOUBLE)->f64, amounts, k * sizeof(*amounts));
        apply(terminal, 0, &b, keys, ms);
    }
}

/* At most BATCH rows from `from` before the next label is due. */
static void run_batch(struct stage *customer, struct stage *terminal, const struct tx *rows, size_t from, size_t to, struct arena *a)
{
    struct view keys[BATCH], terminals[BATCH];
    int64_t ms[BATCH];
    struct batch b;
    struct col *amount;

    batch_init(&b, a, to - from);
    b.n_rows = to - from;
    amount = batch_add_col(&b, "amount", COL_DOUBLE);
    for (size_t r = 0; r < b.n_rows; r++) {
        keys[r] = view_str(rows[from + r].customer);
        terminals[r] = view_str(rows[from + r].terminal);
        ms[r] = rows[from + r].event_ms;
        amount->f64[r] = rows[from + r].amount;
    }
    memcpy(batch_add_col(&b, "ts", COL_INT)->i64, ms, b.n_rows * sizeof(*ms));
    apply(customer, 0, &b, keys, ms);
    apply(terminal, 1, &b, terminals, ms);
}

static double seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* A key by its number, as spread over memory as real ones are. */
static struct view name_key(char name[8], uint64_t number)
{
    uint64_t key = number * 0x9e3779b1u % 0xfffffffbu;

    for (size_t c = 0; c < 8; c++)
        name[c] = (char)('a' + (key >> (4 * c) & 15));
    return view_of(name, 8);
}

/* ---- flatness: count, mean, variance and max of one window; keys in turn, each with an event every 12 hours ---- */
#define HALF_DAY_MS ((int64_t)12 * 3600000)

/* Nanoseconds an event, once the windows are full. hot_every: of so many events one is of one key besides; 0: none. *ret_batch_ms: the longest
 * that BATCH events took; NULL: nobody asks. */
static double event_ns(const char *window, size_t n_keys, size_t n_warm, size_t n_timed, size_t hot_every, double *ret_key_bytes,
                       double *ret_batch_ms)
{
    const char *const over[] = {window};
    const struct feature_def defs[] = {{.name = "n", .aggregate = "count", .of = "transactions", .over = over, .n_over = 1},
                                       {.name = "mean", .aggregate = "mean", .of = "amount", .over = over, .n_over = 1},
                                       {.name = "variance", .aggregate = "variance", .of = "amount", .over = over, .n_over = 1},
                                       {.name = "max", .aggregate = "max", .of = "amount", .over = over, .n_over = 1}};
    struct stage s = make(customer_inputs, 1, defs, ARRAY_LEN(defs));
    struct arena a = ARENA_EMPTY;
    static char names[BATCH][8];
    struct view keys[BATCH];
    int64_t ms[BATCH];
    double began = 0, batch_began;
    struct rand r;

    rand_seed(&r, 1);
    for (size_t i = 0; i < n_warm + n_timed; i += BATCH) {
        struct batch b;
        struct col *amount;

        if (i == n_warm)
            began = seconds();
        arena_reset(&a);
        batch_init(&b, &a, BATCH);
        b.n_rows = BATCH;
        amount = batch_add_col(&b, "amount", COL_DOUBLE);
        for (size_t k = 0; k < BATCH; k++) {
            keys[k] = name_key(names[k], hot_every && (i + k) % hot_every == 0 ? n_keys : (i + k) % n_keys);
            ms[k] = (int64_t)((i + k) / n_keys) * HALF_DAY_MS + (int64_t)((double)((i + k) % n_keys) / (double)n_keys * (double)HALF_DAY_MS);
            amount->f64[k] = (double)rand_below(&r, 100000) / 100;
        }
        batch_began = seconds();
        apply(&s, 0, &b, keys, ms);
        if (ret_batch_ms && i >= n_warm && (seconds() - batch_began) * 1e3 > *ret_batch_ms)
            *ret_batch_ms = (seconds() - batch_began) * 1e3;
    }
    began = seconds() - began;
    *ret_key_bytes = (double)state_bytes(s.state) / (double)state_n_keys(s.state);
    state_free(s.state);
    features_free(s.f);
    arena_done(&a);
    return began * 1e9 / (double)n_timed;
}

/* ---- one key, a million events in a window of a day; then one behind a silence that ends half of it, and one behind all ---- */
#define N_MILLION 1000000

static double take_hot_ms(struct stage *s, struct arena *a, int64_t first_ms, size_t n)
{
    struct view *keys;
    struct batch b;
    int64_t *ms;
    double began;

    arena_reset(a);
    batch_init(&b, a, n);
    b.n_rows = n;
    keys = arena_alloc(a, n * sizeof(*keys));
    ms = arena_alloc(a, n * sizeof(*ms));
    batch_add_col(&b, "amount", COL_DOUBLE);
    for (size_t r = 0; r < n; r++) {
        keys[r] = view_str("hot");
        ms[r] = first_ms + (int64_t)r * 2 * HALF_DAY_MS / N_MILLION;
        b.cols[0].f64[r] = (double)(r * 7919 % 100003) / 100;
    }
    began = seconds();
    apply(s, 0, &b, keys, ms);
    return (seconds() - began) * 1e3 / (double)n;
}

static void silence(void)
{
    static const char *const day[] = {"1d"};
    static const char *const kinds[] = {"mean", "variance", "max", "distinct"};
    struct feature_def defs[ARRAY_LEN(kinds)];
    struct arena a = ARENA_EMPTY;
    struct stage s;
    double in = 0;

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        defs[i] = (struct feature_def){.name = kinds[i], .aggregate = kinds[i], .of = "amount", .over = day, .n_over = 1};
    s = make(customer_inputs, 1, defs, ARRAY_LEN(defs));
    for (int64_t i = 0; i < N_MILLION; i += BATCH)
        in += take_hot_ms(&s, &a, i * 2 * HALF_DAY_MS / N_MILLION, BATCH) * BATCH / N_MILLION;
    figure("features", "features_million_event_ns", in * 1e6, "ns");
    figure("features", "features_half_million_leaves_ms", take_hot_ms(&s, &a, 3 * HALF_DAY_MS, 1), "ms");
    figure("features", "features_rest_leaves_ms", take_hot_ms(&s, &a, 9 * HALF_DAY_MS, 1), "ms");
    state_free(s.state);
    features_free(s.f);
    arena_done(&a);
}

static void flatness(void)
{
    double bytes, few, many;

    few = event_ns("1d", 10000, 100000, 500000, 0, &bytes, NULL);
    figure("features", "features_1d_ns", few, "ns");
    figure("features", "features_1d_key_bytes", bytes, "B");
    many = event_ns("60d", 10000, 1400000, 500000, 0, &bytes, NULL);
    figure("features", "features_60d_ns", many, "ns");
    figure("features", "features_60d_key_bytes", bytes, "B");
    figure("features", "features_60d_vs_1d", many / few, "ratio");
    few = event_ns("5d", 1000, 100000, 1000000, 0, &bytes, NULL);
    figure("features", "features_1000_keys_ns", few, "ns");
    many = event_ns("5d", 1000000, 11000000, 2000000, 0, &bytes, NULL);
    figure("features", "features_1000000_keys_ns", many, "ns");
    figure("features", "features_1000000_keys_key_bytes", bytes, "B");
    figure("features", "features_1000000_vs_1000_keys", many / few, "ratio");
}

/* One key with half of all events, 300,000 of them in its window, beside as many events of 10,000 keys alone. */
static void hot_key(void)
{
    double bytes, batch_ms = 0, hot_batch_ms = 0;
    double even = event_ns("30d", 10000, 700000, 500000, 0, &bytes, &batch_ms);
    double hot = event_ns("30d", 10000, 700000, 500000, 2, &bytes, &hot_batch_ms);

    figure("features", "features_hot_key_vs_even", hot / even, "ratio");
    figure("features", "features_even_batch_ms_max", batch_ms, "ms");
    figure("features", "features_hot_key_batch_ms_max", hot_batch_ms, "ms");
}

/* ---- tumbling: three values of each key's day, for 10,000 keys with ten events a day; rows that come out included ---- */
#define DAY_MS ((int64_t)86400000)
#define TUMBLING_KEYS ((size_t)10000)
#define TUMBLING_DAY ((size_t)100000)
#define TUMBLING_DAYS ((size_t)20)

static size_t close_windows(const struct features *f, struct state *s, int64_t end_ms, struct arena *a)
{
    size_t from = 0, n = 0;

    for (bool all = false; !all;) {
        struct window_rows rows = {.arena = a};

        arena_reset(a);
        all = tumbling_close(f, s, end_ms, BATCH, &from, &rows);
        n += rows.n;
    }
    return n;
}

static void take_events(const struct features *f, struct state *s, size_t first, struct rand *r, struct arena *a)
{
    static char names[BATCH][8];
    struct window_rows rows = {.arena = a};
    struct view keys[BATCH];
    int64_t ms[BATCH];
    struct batch b;
    struct col *amount;
    const char **bad;
    struct error err;

    arena_reset(a);
    batch_init(&b, a, BATCH);
    b.n_rows = BATCH;
    amount = batch_add_col(&b, "amount", COL_DOUBLE);
    bad = arena_zalloc(a, BATCH * sizeof(*bad));
    for (size_t k = 0; k < BATCH; k++) {
        keys[k] = name_key(names[k], rand_below(r, TUMBLING_KEYS));
        ms[k] = (int64_t)(first + k) * DAY_MS / (int64_t)TUMBLING_DAY;
        amount->f64[k] = (double)rand_below(r, 100000) / 100;
    }
    if (tumbling_apply(f, s, &b, keys, ms, ms, bad, 1, &rows, &err) != OK)
        die(err.text);
}

static void tumbling(void)
{
    const struct feature_def defs[] = {{.name = "n", .aggregate = "count", .of = "transactions"},
                                       {.name = "total", .aggregate = "sum", .of = "amount"},
                                       {.name = "most", .aggregate = "max", .of = "amount"}};
    const struct tumbling_def days = {.every_ms = DAY_MS, .allowed_ms = 3600000, .fill_for_ms = INT64_MAX};
    struct state *s = state_new((size_t)4 << 30);
    struct arena a = ARENA_EMPTY;
    struct features *f;
    struct error err;
    struct rand r;
    size_t n_rows = 0;
    double took;

    if (tumbling_new(customer_inputs, &days, defs, ARRAY_LEN(defs), &f, &err) != OK)
        die(err.text);
    rand_seed(&r, 1);
    took = seconds();
    for (size_t day = 0; day < TUMBLING_DAYS; day++) {
        for (size_t i = 0; i < TUMBLING_DAY; i += BATCH)
            take_events(f, s, day * TUMBLING_DAY + i, &r, &a);
        n_rows += close_windows(f, s, (int64_t)(day + 1) * DAY_MS, &a);
    }
    took = seconds() - took;
    figure("features", "tumbling_events_per_s", (double)(TUMBLING_DAYS * TUMBLING_DAY) / took, "1/s");
    figure("features", "tumbling_rows", (double)n_rows, "rows");
    figure("features", "tumbling_key_bytes", (double)state_bytes(s) / (double)state_n_keys(s), "B");
    state_free(s);
    features_free(f);
    arena_done(&a);
}

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : DEFAULT_CSV;
    struct stage customer = make(customer_inputs, 1, customer_defs, ARRAY_LEN(customer_defs));
    struct stage terminal = make(terminal_inputs, 2, terminal_defs, ARRAY_LEN(terminal_defs));
    struct arena a = ARENA_EMPTY;
    size_t n, next_label = 0, n_frauds = 0;
    struct stat st;
    struct tx *rows;
    double began;

    if (stat(path, &st) != 0) {
        printf("features skipped: no data at %s\n", path);
        return 0;
    }
    rows = read_csv(path, &n);
    began = seconds();
    for (size_t from = 0, to; from < n; from = to) {
        size_t due = next_label;

        arena_reset(&a);
        /* Labels due by this row come first; the batch ends where the next one is due. */
        while (due < n && (!rows[due].fraud || rows[due].event_ms + WEEK_MS <= rows[from].event_ms))
            due++;
        while (next_label < n && rows[next_label].event_ms + WEEK_MS <= rows[from].event_ms)
            give_labels(&terminal, rows, n, &next_label, rows[from].event_ms, &a);
        for (to = from + 1; to < n && to < from + BATCH && (due == n || rows[to].event_ms < rows[due].event_ms + WEEK_MS);)
            to++;
        run_batch(&customer, &terminal, rows, from, to, &a);
    }
    began = seconds() - began;
    for (size_t i = 0; i < n; i++)
        n_frauds += (size_t)rows[i].fraud;
    figure("features", "features_mem_per_s", (double)n / began, "1/s");
    figure("features", "features_events_per_s", (double)(2 * n + n_frauds) / began, "1/s");
    figure("features", "features_state_bytes", (double)(state_bytes(customer.state) + state_bytes(terminal.state)), "B");
    figure("features", "features_customer_key_bytes", (double)state_bytes(customer.state) / (double)state_n_keys(customer.state), "B");
    figure("features", "features_terminal_key_bytes", (double)state_bytes(terminal.state) / (double)state_n_keys(terminal.state), "B");
    state_free(customer.state);
    state_free(terminal.state);
    features_free(customer.f);
    features_free(terminal.f);
    arena_done(&a);
    free(rows);
    flatness();
    hot_key();
    silence();
    tumbling();
    return 0;
}
