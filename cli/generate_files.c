/* millrace generate: transactions and their labels as CSV, made here or taken from the published file. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "cli/cli.h"
#include "cli/generate.h"

#define REPORTED_AFTER_MS ((int64_t)7 * 86400000)
#define FLUSH_BYTES ((size_t)1024 * 1024)
#define ROW_BYTES_MAX 256
#define ID_BYTES_MAX 40

/* A file is written beside its name and takes it at the end: a half one is never mistaken for a whole. */
struct sheet {
    char path[4096], part[4112];
    FILE *file;
    struct bytes text;
    int64_t rows;
    int error; /* errno of the first failure, 0 none */
};

static bool sheet_open(struct sheet *s, const char *dir, const char *name, const char *header)
{
    *s = (struct sheet){.text = BYTES_EMPTY};
    if (snprintf(s->path, sizeof(s->path), "%s/%s", dir, name) >= (int)sizeof(s->path)) {
        s->error = ENAMETOOLONG;
        return false;
    }
    snprintf(s->part, sizeof(s->part), "%s.part", s->path);
    s->file = fopen(s->part, "wb");
    if (s->file == NULL) {
        s->error = errno;
        return false;
    }
    bytes_append(&s->text, header, strlen(header));
    return true;
}

static void sheet_flush(struct sheet *s)
{
    if (s->error == 0 && s->text.n > 0 && fwrite(s->text.data, 1, s->text.n, s->file) != s->text.n)
        s->error = errno;
    bytes_clear(&s->text);
}

/* keep false: what was written goes away. */
static void sheet_close(struct sheet *s, bool keep)
{
    if (s->file) {
        if (keep)
            sheet_flush(s);
        if (fclose(s->file) != 0 && s->error == 0)
            s->error = errno;
        if (!keep || s->error != 0)
            (void)unlink(s->part);
        else if (rename(s->part, s->path) != 0)
            s->error = errno;
    }
    s->file = NULL;
    bytes_done(&s->text);
}

static char *put_uint(char *p, uint64_t v)
{
    char digits[20];
    int n = 0;

    do
        digits[n++] = (char)('0' + v % 10);
    while ((v /= 10) != 0);
    while (n > 0)
        *p++ = digits[--n];
    return p;
}

static char *put_int(char *p, int64_t v)
{
    if (v < 0)
        *p++ = '-';
    return put_uint(p, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
}

static char *put_cents(char *p, int64_t cents)
{
    p = put_uint(p, (uint64_t)cents / 100);
    *p++ = '.';
    *p++ = (char)('0' + cents / 10 % 10);
    *p++ = (char)('0' + cents % 10);
    return p;
}

static char *put_view(char *p, struct view v)
{
    memcpy(p, v.data, v.n);
    return p + v.n;
}

struct sheets {
    struct sheet transactions, labels;
};

struct line {
    int64_t tx_id, ts_ms;
    struct view customer, terminal, amount; /* as text, each at most ID_BYTES_MAX */
    bool fraud;
};

static void put_line(struct sheets *s, const struct line *l)
{
    char *begin = (char *)bytes_reserve(&s->transactions.text, ROW_BYTES_MAX), *p = put_int(begin, l->tx_id);

    *p++ = ',';
    p = put_int(p, l->ts_ms);
    *p++ = ',';
    p = put_view(p, l->customer);
    *p++ = ',';
    p = put_view(p, l->terminal);
    *p++ = ',';
    p = put_view(p, l->amount);
    *p++ = '\n';
    s->transactions.text.n += (size_t)(p - begin);
    s->transactions.rows++;
    if (s->transactions.text.n >= FLUSH_BYTES)
        sheet_flush(&s->transactions);
    if (!l->fraud)
        return;
    begin = (char *)bytes_reserve(&s->labels.text, ROW_BYTES_MAX);
    p = put_int(begin, l->tx_id);
    *p++ = ',';
    p = put_view(p, l->terminal);
    *p++ = ',';
    p = put_view(p, l->customer);
    *p++ = ',';
    p = put_view(p, l->amount);
    *p++ = ',';
    p = put_int(p, l->ts_ms + REPORTED_AFTER_MS);
    *p++ = '\n';
    s->labels.text.n += (size_t)(p - begin);
    s->labels.rows++;
    if (s->labels.text.n >= FLUSH_BYTES)
        sheet_flush(&s->labels);
}

static void put_row(void *ctx, const struct generate_row *row)
{
    char customer[24], terminal[24], amount[24];
    struct line l = {.tx_id = row->tx_id, .ts_ms = row->ts_ms, .fraud = row->fraud != 0};

    l.customer = view_of(customer, (size_t)(put_int(customer, row->customer) - customer));
    l.terminal = view_of(terminal, (size_t)(put_int(terminal, row->terminal) - terminal));
    l.amount = view_of(amount, (size_t)(put_cents(amount, row->cents) - amount));
    put_line(ctx, &l);
}

/* ---- the published CSV: tx_id,ts,customer_id,terminal_id,amount,fraud,scenario; ts in seconds, rows in time order ---- */
static const char published_header[] = "tx_id,ts,customer_id,terminal_id,amount,fraud,scenario";

static bool whole(struct view v, int64_t *ret)
{
    char text[24], *end;

    if (v.n == 0 || v.n >= sizeof(text))
        return false;
    memcpy(text, v.data, v.n);
    text[v.n] = '\0';
    errno = 0;
    *ret = strtoll(text, &end, 10);
    return errno == 0 && *end == '\0' && *ret >= 0 && *ret < INT64_MAX / 2000;
}

static bool is_amount(struct view v)
{
    size_t dots = 0;

    for (size_t i = 0; i < v.n; i++)
        if (v.data[i] == '.')
            dots++;
        else if (v.data[i] < '0' || v.data[i] > '9')
            return false;
    return v.n > dots && dots <= 1;
}

/* NULL, or what is wrong. */
static const char *parse_line(char *text, size_t n, struct line *l)
{
    struct view cells[7];
    size_t n_cells = 0, begin = 0;
    int64_t seconds, fraud;

    while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\r'))
        n--;
    for (size_t i = 0; i <= n; i++) {
        if (i < n && text[i] != ',')
            continue;
        if (n_cells == ARRAY_LEN(cells))
            return "expected 7 cells, got more";
        cells[n_cells++] = view_of(text + begin, i - begin);
        begin = i + 1;
    }
    if (n_cells != ARRAY_LEN(cells))
        return "expected 7 cells, got fewer";
    if (!whole(cells[0], &l->tx_id))
        return "expected a whole number as tx_id";
    if (!whole(cells[1], &seconds))
        return "expected whole seconds as ts";
    if (cells[2].n == 0 || cells[2].n > ID_BYTES_MAX || cells[3].n == 0 || cells[3].n > ID_BYTES_MAX)
        return "expected 1 to 40 characters as customer_id and terminal_id";
    if (cells[4].n > ID_BYTES_MAX || !is_amount(cells[4]))
        return "expected an amount such as 12.34";
    if (!whole(cells[5], &fraud) || fraud > 1)
        return "expected 0 or 1 as fraud";
    l->ts_ms = seconds * 1000;
    l->customer = cells[2];
    l->terminal = cells[3];
    l->amount = cells[4];
    l->fraud = fraud == 1;
    return NULL;
}

static bool read_published(FILE *in, const char *name, struct sheets *s)
{
    char *text = NULL;
    size_t cap = 0;
    ssize_t n = getline(&text, &cap, in);
    int64_t last_ms = 0, line = 1;
    const char *why = NULL;

    if (n < 0 || strncmp(text, published_header, strlen(published_header)) != 0)
        why = "expected the header tx_id,ts,customer_id,terminal_id,amount,fraud,scenario";
    while (why == NULL && (n = getline(&text, &cap, in)) >= 0) {
        struct line l;

        line++;
        why = parse_line(text, (size_t)n, &l);
        if (why == NULL && l.ts_ms < last_ms)
            why = "expected rows in the order of ts";
        if (why == NULL) {
            last_ms = l.ts_ms;
            put_line(s, &l);
        }
    }
    if (why == NULL && ferror(in))
        why = strerror(errno);
    if (why)
        fprintf(stderr, "millrace generate: %s:%" PRId64 ": %s\n", name, line, why);
    free(text);
    return why == NULL;
}

/* ---- the call ---- */
struct call {
    const char *days, *seed, *customers, *terminals, *start, *out, *from_csv;
};

static bool read_plan(const struct call *c, struct generate_plan *plan)
{
    long long days, seed = 0, customers = 5000, terminals = 10000;

    if (c->days == NULL || !cli_number(c->days, 1, 36500, &days))
        return cli_wrong("generate", "--days: expected a number from 1 to 36500"), false;
    if (c->seed == NULL || !cli_number(c->seed, 0, INT64_MAX, &seed))
        return cli_wrong("generate", "--seed: expected a whole number, at least 0"), false;
    if (c->customers && !cli_number(c->customers, 1, 1000000, &customers))
        return cli_wrong("generate", "--customers: expected a number from 1 to 1000000"), false;
    if (c->terminals && !cli_number(c->terminals, 1, 1000000, &terminals))
        return cli_wrong("generate", "--terminals: expected a number from 1 to 1000000"), false;
    *plan = (struct generate_plan){.seed = (uint64_t)seed, .days = (int)days, .customers = (int)customers,
                                   .terminals = (int)terminals};
    if (!cli_time(c->start ? c->start : "2018-04-01", &plan->start_ms) || plan->start_ms % 1000 != 0)
        return cli_wrong("generate", "--start: expected a date such as 2018-04-01"), false;
    return true;
}

static int write_files(const struct call *c, const struct generate_plan *plan, FILE *in)
{
    static struct sheets s;
    const char *dir = c->out;
    bool good;

    if (mkdir(dir, 0777) != 0 && errno != EEXIST) {
        fprintf(stderr, "millrace generate: %s: cannot be made: %s\n", dir, strerror(errno));
        return 1;
    }
    memset(&s, 0, sizeof(s));
    good = sheet_open(&s.transactions, dir, "transactions.csv", "tx_id,ts,customer_id,terminal_id,amount\n") &&
           sheet_open(&s.labels, dir, "labels.csv", "tx_id,terminal_id,customer_id,amount,reported_ts\n");
    if (good && in)
        good = read_published(in, c->from_csv, &s);
    else if (good)
        (void)generate_rows(plan, put_row, &s);
    sheet_close(&s.transactions, good);
    sheet_close(&s.labels, good);
    for (size_t i = 0; i < 2; i++) {
        const struct sheet *sheet = i == 0 ? &s.transactions : &s.labels;

        if (sheet->error != 0) {
            fprintf(stderr, "millrace generate: %s: cannot be written: %s\n", sheet->path, strerror(sheet->error));
            good = false;
        }
    }
    if (good)
        printf("%s: %" PRId64 " rows\n%s: %" PRId64 " rows\n", s.transactions.path, s.transactions.rows, s.labels.path,
               s.labels.rows);
    return good ? 0 : 1;
}

int cli_generate(int argc, char **argv)
{
    struct call c = {.out = "."};
    const struct cli_option options[] = {
        {"--days", &c.days, NULL},           {"--seed", &c.seed, NULL},   {"--customers", &c.customers, NULL},
        {"--terminals", &c.terminals, NULL}, {"--start", &c.start, NULL}, {"--out", &c.out, NULL},
        {"--from-csv", &c.from_csv, NULL},
    };
    struct generate_plan plan = {.days = 0};
    const char *args[1];
    size_t n_args;
    FILE *in = NULL;
    int status;

    if (!cli_options(argc, argv, options, ARRAY_LEN(options), args, ARRAY_LEN(args), &n_args))
        return EXIT_CALL;
    if (n_args == 0 || strcmp(args[0], "fraud") != 0)
        return cli_wrong("generate", "expected what to make: there is 'fraud'");
    if (c.from_csv == NULL && !read_plan(&c, &plan))
        return EXIT_CALL;
    if (c.from_csv && (c.days || c.seed || c.customers || c.terminals || c.start))
        return cli_wrong("generate", "--from-csv takes the rows from the file: only --out goes with it");
    if (c.from_csv) {
        in = strcmp(c.from_csv, "-") == 0 ? stdin : fopen(c.from_csv, "rb");
        if (in == NULL) {
            fprintf(stderr, "millrace generate: %s: cannot be read: %s\n", c.from_csv, strerror(errno));
            return 1;
        }
    }
    status = write_files(&c, &plan, in);
    if (in && in != stdin)
        fclose(in);
    return status;
}
