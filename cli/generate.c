#include "cli/generate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/rand.h"

#define DAY_S 86400
#define RADIUS 5.0
#define BAD_TERMINALS_A_DAY 2
#define BAD_DAYS 28
#define LEAKED_CARDS_A_DAY 3
#define LEAKED_DAYS 14
#define HIGH_CENTS 22000

struct customer {
    double x, y, mean, deviation;
    double none; /* probability of a day without payments: e^-rate */
    double rate;
    int *near; /* terminals in reach */
    int n_near;
    int leaked_until; /* day */
};

struct terminal {
    double x, y;
    int bad_until; /* day */
};

struct day_row {
    int32_t second, customer, terminal, seq;
    int64_t cents;
    int fraud;
};

struct world {
    struct rand rand;
    struct customer *customers;
    struct terminal *terminals;
    struct day_row *rows; /* of a day */
    size_t n_rows, cap_rows;
    double spare;
    int has_spare;
};

/* ln m = 2 artanh((m-1)/(m+1)) for m in [0.7, 1.42): 12 terms reach the last bit. */
static double ln(double x)
{
    static const double ln2 = 0.69314718055994530942;
    int exponent;
    double m = frexp(x, &exponent), s, square, sum = 0;

    if (m < 0.70710678118654752) {
        m *= 2;
        exponent--;
    }
    s = (m - 1) / (m + 1);
    square = s * s;
    for (int k = 23; k >= 1; k -= 2)
        sum = sum * square + 1.0 / k;
    return exponent * ln2 + 2 * s * sum;
}

/* e^-x for 0 <= x <= 4: a series at x/16, squared four times. */
static double exp_neg(double x)
{
    double term = 1, sum = 1;

    x /= 16;
    for (int k = 1; k <= 16; k++) {
        term *= -x / k;
        sum += term;
    }
    for (int i = 0; i < 4; i++)
        sum *= sum;
    return sum;
}

static double uniform(struct world *w, double from, double to)
{
    return from + (to - from) * rand_unit(&w->rand);
}

/* Marsaglia's polar form of Box-Muller: no sine or cosine. */
static double normal(struct world *w, double mean, double deviation)
{
    double u, v, s, factor;

    if (w->has_spare) {
        w->has_spare = 0;
        return mean + deviation * w->spare;
    }
    do {
        u = uniform(w, -1, 1);
        v = uniform(w, -1, 1);
        s = u * u + v * v;
    } while (s >= 1 || s == 0);
    factor = sqrt(-2 * ln(s) / s);
    w->spare = v * factor;
    w->has_spare = 1;
    return mean + deviation * u * factor;
}

/* By inversion: one number a draw, so that the stream does not depend on the result. */
static int poisson(struct world *w, const struct customer *c)
{
    double u = rand_unit(&w->rand), p = c->none, sum = p;
    int n = 0;

    while (u >= sum && n < 60) { /* beyond 60 lies less than a double's last bit */
        n++;
        p *= c->rate / n;
        sum += p;
    }
    return n;
}

static void make_world(struct world *w, const struct generate_plan *plan)
{
    int *near = xmalloc((size_t)plan->terminals * sizeof(*near));

    rand_seed(&w->rand, plan->seed);
    w->customers = xcalloc((size_t)plan->customers, sizeof(*w->customers));
    w->terminals = xcalloc((size_t)plan->terminals, sizeof(*w->terminals));
    for (int t = 0; t < plan->terminals; t++) {
        w->terminals[t].x = uniform(w, 0, 100);
        w->terminals[t].y = uniform(w, 0, 100);
    }
    for (int i = 0; i < plan->customers; i++) {
        struct customer *c = &w->customers[i];

        c->x = uniform(w, 0, 100);
        c->y = uniform(w, 0, 100);
        c->mean = uniform(w, 5, 100);
        c->deviation = c->mean / 2;
        c->rate = uniform(w, 0, 4);
        c->none = exp_neg(c->rate);
        for (int t = 0; t < plan->terminals; t++) {
            double dx = w->terminals[t].x - c->x, dy = w->terminals[t].y - c->y;

            if (dx * dx + dy * dy < RADIUS * RADIUS)
                near[c->n_near++] = t;
        }
        c->near = xmalloc(((size_t)c->n_near + 1) * sizeof(*c->near));
        memcpy(c->near, near, (size_t)c->n_near * sizeof(*c->near));
    }
    free(near);
}

static void free_world(struct world *w, const struct generate_plan *plan)
{
    for (int i = 0; i < plan->customers; i++)
        free(w->customers[i].near);
    free(w->customers);
    free(w->terminals);
    free(w->rows);
}

static void add_payment(struct world *w, int customer, int day)
{
    struct customer *c = &w->customers[customer];
    double second = normal(w, DAY_S / 2.0, 20000), amount = normal(w, c->mean, c->deviation);
    struct day_row row = {.customer = customer, .seq = (int32_t)w->n_rows};

    if (amount < 0)
        amount = uniform(w, 0, 2 * c->mean);
    if (second <= 0 || second >= DAY_S || c->n_near == 0)
        return;
    row.second = (int32_t)second;
    row.terminal = c->near[rand_below(&w->rand, (uint64_t)c->n_near)];
    row.cents = (int64_t)floor(amount * 100 + 0.5);
    if (row.cents > HIGH_CENTS)
        row.fraud = 1;
    if (day < w->terminals[row.terminal].bad_until)
        row.fraud = 2;
    if (day < c->leaked_until && rand_below(&w->rand, 3) == 0) {
        row.cents *= 5;
        row.fraud = 3;
    }
    if (w->n_rows == w->cap_rows) {
        w->cap_rows = w->cap_rows ? 2 * w->cap_rows : 16384;
        w->rows = xrealloc(w->rows, w->cap_rows * sizeof(*w->rows));
    }
    w->rows[w->n_rows++] = row;
}

static int by_time(const void *a, const void *b)
{
    const struct day_row *x = a, *y = b;

    if (x->second != y->second)
        return x->second < y->second ? -1 : 1;
    return x->seq < y->seq ? -1 : 1; /* customers come in order, so seq orders by them too */
}

static void make_day(struct world *w, const struct generate_plan *plan, int day)
{
    w->n_rows = 0;
    for (int i = 0; i < BAD_TERMINALS_A_DAY; i++)
        w->terminals[rand_below(&w->rand, (uint64_t)plan->terminals)].bad_until = day + BAD_DAYS;
    for (int i = 0; i < LEAKED_CARDS_A_DAY; i++)
        w->customers[rand_below(&w->rand, (uint64_t)plan->customers)].leaked_until = day + LEAKED_DAYS;
    for (int i = 0; i < plan->customers; i++)
        for (int n = poisson(w, &w->customers[i]); n > 0; n--)
            add_payment(w, i, day);
    if (w->n_rows > 0)
        qsort(w->rows, w->n_rows, sizeof(*w->rows), by_time);
}

int64_t generate_rows(const struct generate_plan *plan, generate_row_fn *each, void *ctx)
{
    struct world w = {.rows = NULL};
    int64_t tx_id = 0;

    make_world(&w, plan);
    for (int day = 0; day < plan->days; day++) {
        make_day(&w, plan, day);
        for (size_t i = 0; i < w.n_rows; i++) {
            const struct day_row *r = &w.rows[i];
            struct generate_row row = {
                .tx_id = tx_id++,
                .ts_ms = plan->start_ms + ((int64_t)day * DAY_S + r->second) * 1000,
                .customer = r->customer,
                .terminal = r->terminal,
                .cents = r->cents,
                .fraud = r->fraud,
            };

            each(ctx, &row);
        }
    }
    free_world(&w, plan);
    return tx_id;
}
