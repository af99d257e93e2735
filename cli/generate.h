/* cli/generate.h */
/*
 * generate: card transactions after the Fraud Detection Handbook's published design, the same on every machine.
 *
 * Shape    customers and terminals lie uniformly on a plane of 100 x 100. A customer has a mean amount U(5, 100), a
 *          deviation of half of it, a mean number of payments a day U(0, 4), and pays at terminals within 5 of home. A day has
 *          Poisson many payments, each at N(43200, 20000) seconds (outside the day: none), amount N(mean, deviation),
 *          if negative U(0, 2 mean), rounded to cents.
 * Fraud    1: amount over 220. 2: each day two terminals turn bad for 28 days. 3: each day three cards leak: for 14
 *          days a third of their payments is five times as high and fraud.
 * Order    rows rise by (time, customer); fewer days are a beginning of more days with the same seed.
 * Same     one stream of numbers from base/rand; logarithm and exponential are our own, of +, -, *, / and sqrt, which
 *          IEEE 754 fixes to the last bit (a libm's are not the same everywhere).
 * Source   Le Borgne, Siblini, Lebichot, Bontempi: Reproducible Machine Learning for Credit Card Fraud Detection, 2022.
 */
#ifndef CLI_GENERATE_H
#define CLI_GENERATE_H

#include <stdint.h>

struct generate_plan {
    uint64_t seed;
    int days;
    int customers;
    int terminals;
    int64_t start_ms; /* midnight of the first day */
};

struct generate_row {
    int64_t tx_id; /* from 0, rising */
    int64_t ts_ms;
    int customer;
    int terminal;
    int64_t cents;
    int fraud; /* 0 none, else which of the three */
};

typedef void generate_row_fn(void *ctx, const struct generate_row *row);

/* Calls `each` for every row; returns how many there were. */
int64_t generate_rows(const struct generate_plan *plan, generate_row_fn *each, void *ctx);

#endif
