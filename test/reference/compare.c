/*
 * test/reference/compare.c: the records of an Avro container file beside those of another source, row by row.
 *
 * usage: compare [--by FIELD] [--except FIELD,...] FILE.avro OTHER
 *
 * OTHER is a table of numbers (its name ends in .table): a line of the columns' names, divided by commas, and then the rows, a double of this machine
 * for each column, NaN where there is none: each against the record's field of that name, to 1e-6.
 * Or an Avro container file with the same fields: each to the last bit, but for the records or fields named by --except.
 * Rows go by their number, or with --by by the value of a field, which no two rows may share: for files that hold the same rows
 * in another order. OTHER is held in memory, 8 bytes a value (of texts and nested values: a hash).
 * Prints the first differences and a count; exit status 0 only when there are none.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/siphash.h"
#include "wire/container.h"
#include "wire/plan.h"

#define COLUMNS_MAX 128
#define LINE_MAX_BYTES 4096
#define SHOWN 20
#define NULL_VALUE UINT64_C(0x7ff8a5a5a5a5a5a5) /* as a double no number, so no number is within 1e-6 of it */

struct columns {
    struct want wants[COLUMNS_MAX];
    size_t n;
};

/* An Avro file as rows of values. */
struct records {
    const char *path;
    struct container_reader *file;
    struct decode_plan *plan;
    struct arena arena;
    struct batch row;
    uint64_t values[COLUMNS_MAX];
};

struct table {
    uint64_t *values; /* n rows of as many as there are columns */
    size_t n, cap;
    size_t *by_key;   /* rows in the order of their keys */
    bool *used;
};

struct compare {
    struct columns columns;
    size_t key; /* a column; SIZE_MAX: the row's number */
    bool is_numbers;
    struct table other;
    size_t n_rows, n_bad, n_shown;
};

static void die(const char *what, const char *which)
{
    fprintf(stderr, "compare: %s: %s\n", what, which);
    exit(2);
}

/* ---- Avro records ---- */

static void records_open(const char *path, struct records *r)
{
    struct error err;

    *r = (struct records){.path = path};
    if (container_open(path, &r->file, &err) != OK)
        die("open", err.text);
}

static void records_close(struct records *r)
{
    container_close(r->file);
    decode_plan_free(r->plan);
    arena_done(&r->arena);
}

static void records_plan(struct records *r, const struct columns *c)
{
    const struct schema *s = container_schema(r->file);
    struct error err;

    if (decode_plan_new(s, NULL, c->wants, c->n, &r->plan, &err) != OK)
        die(r->path, err.text);
    batch_init(&r->row, &r->arena, 1);
    decode_begin(c->wants, c->n, &r->row);
    r->row.n_rows = 1;
}

static uint64_t value_of(const struct col *c, bool as_number)
{
    static const uint64_t hash_key[2] = {1, 2};
    double number = as_number && c->type != COL_DOUBLE ? (double)c->i64[0] : c->f64[0];
    uint64_t bits;

    if (c->null[0])
        return NULL_VALUE;
    if (c->type >= COL_STRING)
        return siphash(hash_key, c->view[0]);
    memcpy(&bits, &number, sizeof(bits));
    return c->type == COL_DOUBLE || as_number ? bits : (uint64_t)c->i64[0];
}

/* The next record's values; false: there is none. */
static bool records_next(struct records *r, bool as_numbers)
{
    struct error err;
    struct view body;

    if (container_next(r->file, &body, &err) != OK)
        die("read", err.text);
    if (body.data == NULL)
        return false;
    if (decode_row(r->plan, body, &r->row, 0, &err) != OK)
        die(r->path, err.text);
    for (size_t i = 0; i < r->row.n_cols; i++)
        r->values[i] = value_of(&r->row.cols[i], as_numbers);
    return true;
}

/* ---- which columns ---- */

static void add_column(struct columns *c, const struct want *w)
{
    if (c->n == COLUMNS_MAX)
        die("too many columns from here on", w->path);
    c->wants[c->n++] = *w;
}

/* Whether the list names the field, or a record that it lies in. */
static bool is_named(const char *list, const char *path)
{
    for (size_t n; *list; list += n + (list[n] == ',')) {
        n = strcspn(list, ",");
        if (n && strncmp(list, path, n) == 0 && (path[n] == '\0' || path[n] == '.'))
            return true;
    }
    return false;
}

static void columns_of_schema(const struct schema *s, const char *except, struct columns *c)
{
    struct want leaves[512];
    size_t n = schema_wants(s, leaves, ARRAY_LEN(leaves));

    for (size_t i = 0; i < n && i < ARRAY_LEN(leaves); i++)
        if (!is_named(except, leaves[i].path))
            add_column(c, &leaves[i]);
}

/* header: cut into names, which the columns borrow. */
static void columns_of_header(const struct schema *s, char *header, struct columns *c)
{
    struct want leaves[512];
    size_t n = schema_wants(s, leaves, ARRAY_LEN(leaves));

    for (char *name = strtok(header, ",\r\n"); name; name = strtok(NULL, ",\r\n")) {
        size_t i = 0;

        while (i < n && i < ARRAY_LEN(leaves) && strcmp(leaves[i].path, name) != 0)
            i++;
        if (i == n || leaves[i].type > COL_DOUBLE)
            die("no number in the records of the name", name);
        add_column(c, &leaves[i]);
    }
}

/* ---- the other's rows, in memory ---- */

static double number_of(uint64_t bits)
{
    double v;

    memcpy(&v, &bits, sizeof(v));
    return v;
}

static uint64_t *table_row(struct table *t, size_t n_columns)
{
    if (t->n == t->cap) {
        t->cap = t->cap ? t->cap * 2 : 4096;
        t->values = xrealloc(t->values, t->cap * n_columns * sizeof(*t->values));
    }
    return t->values + t->n++ * n_columns;
}

static void load_numbers(struct compare *c, FILE *numbers)
{
    uint64_t row[COLUMNS_MAX];

    while (fread(row, sizeof(*row), c->columns.n, numbers) == c->columns.n) {
        for (size_t i = 0; i < c->columns.n; i++)
            row[i] = isnan(number_of(row[i])) ? NULL_VALUE : row[i];
        memcpy(table_row(&c->other, c->columns.n), row, c->columns.n * sizeof(*row));
    }
}

static void load_avro(struct compare *c, struct records *other)
{
    records_plan(other, &c->columns);
    while (records_next(other, false))
        memcpy(table_row(&c->other, c->columns.n), other->values, c->columns.n * sizeof(*other->values));
}

static const struct compare *sorting; /* what qsort's function knows of */

static uint64_t key_of(const struct compare *c, size_t row)
{
    return c->key == SIZE_MAX ? row : c->other.values[row * c->columns.n + c->key];
}

static int in_order(const void *x, const void *y)
{
    uint64_t a = key_of(sorting, *(const size_t *)x), b = key_of(sorting, *(const size_t *)y);

    return a < b ? -1 : a > b;
}

static void index_other(struct compare *c)
{
    struct table *t = &c->other;

    t->by_key = xmalloc((t->n + 1) * sizeof(*t->by_key));
    t->used = xcalloc(t->n + 1, sizeof(*t->used));
    for (size_t i = 0; i < t->n; i++)
        t->by_key[i] = i;
    sorting = c;
    if (c->key != SIZE_MAX)
        qsort(t->by_key, t->n, sizeof(*t->by_key), in_order);
    for (size_t i = 1; i < t->n; i++)
        if (key_of(c, t->by_key[i - 1]) == key_of(c, t->by_key[i]))
            die("two rows of the second file share a value of the field that --by names", c->columns.wants[c->key].path);
}

/* The row of the key that was not yet met; SIZE_MAX: there is none. */
static size_t find(struct compare *c, uint64_t key)
{
    size_t low = 0, high = c->other.n, row;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (key_of(c, c->other.by_key[mid]) < key)
            low = mid + 1;
        else
            high = mid;
    }
    row = low < c->other.n ? c->other.by_key[low] : 0;
    if (low == c->other.n || key_of(c, row) != key || c->other.used[row])
        return SIZE_MAX;
    c->other.used[row] = true;
    return row;
}

/* ---- row by row ---- */

static void print_value(const char *what, uint64_t v, enum col_type type)
{
    if (v == NULL_VALUE)
        printf("%s null", what);
    else if (type == COL_DOUBLE)
        printf("%s %.17g", what, number_of(v));
    else if (type < COL_DOUBLE)
        printf("%s %lld", what, (long long)v);
    else
        printf("%s another", what);
}

static bool equal(const struct compare *c, uint64_t want, uint64_t got)
{
    return want == got || (c->is_numbers && fabs(number_of(want) - number_of(got)) <= 1e-6);
}

static void compare_row(struct compare *c, const uint64_t *want, const uint64_t *got)
{
    bool bad = false;

    for (size_t i = 0; i < c->columns.n; i++) {
        enum col_type type = c->is_numbers ? COL_DOUBLE : c->columns.wants[i].type;

        if (equal(c, want[i], got[i]))
            continue;
        bad = true;
        if (c->n_shown++ >= SHOWN)
            continue;
        printf("row %zu", c->n_rows);
        if (c->key != SIZE_MAX)
            print_value(", of", got[c->key], c->is_numbers ? COL_DOUBLE : c->columns.wants[c->key].type);
        print_value(type >= COL_STRING ? ": a text differs" : ": want", want[i], type);
        print_value(", got", got[i], type);
        printf(" in %s\n", c->columns.wants[i].path);
    }
    c->n_bad += bad;
}

static void compare_all(struct compare *c, struct records *r)
{
    size_t missing = 0;

    for (; records_next(r, c->is_numbers); c->n_rows++) {
        size_t row = find(c, c->key == SIZE_MAX ? c->n_rows : r->values[c->key]);

        if (row != SIZE_MAX) {
            compare_row(c, c->other.values + row * c->columns.n, r->values);
            continue;
        }
        c->n_bad++;
        if (c->n_shown++ < SHOWN)
            printf("row %zu: the other has no such row, or it was met before\n", c->n_rows);
    }
    for (size_t i = 0; i < c->other.n; i++)
        missing += !c->other.used[i];
    if (missing)
        printf("%zu rows of the other are missing\n", missing);
    c->n_bad += missing;
    printf("%zu rows, %zu differ\n", c->n_rows, c->n_bad);
}

/* The columns and the rows of OTHER. */
static void open_other(struct compare *c, const char *path, const char *except, const struct schema *s)
{
    static char header[LINE_MAX_BYTES];
    struct records other;
    FILE *numbers;

    c->is_numbers = strlen(path) > 6 && strcmp(path + strlen(path) - 6, ".table") == 0;
    if (!c->is_numbers) {
        columns_of_schema(s, except, &c->columns);
        records_open(path, &other);
        load_avro(c, &other);
        records_close(&other);
        return;
    }
    numbers = fopen(path, "r");
    if (numbers == NULL || fgets(header, sizeof(header), numbers) == NULL)
        die("cannot read", path);
    columns_of_header(s, header, &c->columns);
    load_numbers(c, numbers);
    fclose(numbers);
}

int main(int argc, char **argv)
{
    const char *by = NULL, *except = "";
    struct compare c = {.key = SIZE_MAX};
    struct records r;

    for (; argc > 3 && strncmp(argv[1], "--", 2) == 0; argc -= 2, argv += 2)
        *(strcmp(argv[1], "--by") == 0 ? &by : &except) = argv[2];
    if (argc != 3)
        die("usage", "compare [--by FIELD] [--except FIELD,...] FILE.avro OTHER.table|OTHER.avro");
    records_open(argv[1], &r);
    open_other(&c, argv[2], except, container_schema(r.file));
    for (size_t i = 0; by && i < c.columns.n; i++)
        if (strcmp(c.columns.wants[i].path, by) == 0)
            c.key = i;
    if (by && c.key == SIZE_MAX)
        die("--by names no field of both", by);
    index_other(&c);
    records_plan(&r, &c.columns);
    compare_all(&c, &r);
    records_close(&r);
    free(c.other.values);
    free(c.other.by_key);
    free(c.other.used);
    return c.n_rows == 0 || c.n_bad != 0;
}
