/*
 * test/reference/compare.c: an Avro container file beside a CSV of numbers: row by row, each of the CSV's columns against
 * the record's field of that name, to 1e-6.
 *
 * usage: compare FILE.avro FILE.csv     prints the first differences and a count; exit status 0 only when there are none.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "wire/container.h"
#include "wire/plan.h"

#define COLUMNS_MAX 64
#define LINE_MAX_BYTES 4096
#define SHOWN 20

struct compare {
    struct container_reader *file;
    FILE *csv;
    char line[LINE_MAX_BYTES], header[LINE_MAX_BYTES];
    struct want wants[COLUMNS_MAX];
    size_t n;
    struct decode_plan *plan;
    struct arena arena;
    struct batch row;
    size_t n_rows, n_bad, n_shown;
};

static void die(const char *what, const char *which)
{
    fprintf(stderr, "compare: %s: %s\n", what, which);
    exit(2);
}

static bool next_line(struct compare *c)
{
    return fgets(c->line, sizeof(c->line), c->csv) != NULL;
}

static void open_columns(struct compare *c, const char *csv)
{
    const struct schema *s = container_schema(c->file);
    struct want leaves[512];
    size_t n = schema_wants(s, leaves, ARRAY_LEN(leaves));
    struct error err;

    if (!next_line(c))
        die(csv, "no header");
    memcpy(c->header, c->line, sizeof(c->header));
    for (char *name = strtok(c->header, ",\r\n"); name; name = strtok(NULL, ",\r\n")) {
        size_t i = 0;

        while (i < n && i < ARRAY_LEN(leaves) && strcmp(leaves[i].path, name) != 0)
            i++;
        if (i == n || leaves[i].type > COL_DOUBLE || c->n == COLUMNS_MAX)
            die("no number in the records of the name", name);
        c->wants[c->n++] = leaves[i];
    }
    if (decode_plan_new(s, s, c->wants, c->n, &c->plan, &err) != OK)
        die("plan", err.text);
    batch_init(&c->row, &c->arena, 1);
    decode_begin(c->wants, c->n, &c->row);
    c->row.n_rows = 1;
}

static double value_of(const struct col *c)
{
    return c->null[0] ? (double)NAN : c->type == COL_DOUBLE ? c->f64[0] : (double)c->i64[0];
}

static void compare_row(struct compare *c)
{
    char *p = c->line;
    bool bad = false;

    for (size_t i = 0; i < c->n; i++) {
        double got = value_of(&c->row.cols[i]), want = strtod(p, &p);

        p += *p == ',';
        if (fabs(want - got) <= 1e-6)
            continue;
        bad = true;
        if (c->n_shown++ < SHOWN)
            printf("row %zu %s: want %.9g, got %.9g\n", c->n_rows, c->wants[i].path, want, got);
    }
    c->n_bad += bad;
}

int main(int argc, char **argv)
{
    struct compare c = {0};
    struct error err;
    struct view body;
    bool line;

    if (argc != 3)
        die("usage", "compare FILE.avro FILE.csv");
    if (container_open(argv[1], &c.file, &err) != OK)
        die("open", err.text);
    c.csv = fopen(argv[2], "r");
    if (c.csv == NULL)
        die("cannot read", argv[2]);
    open_columns(&c, argv[2]);
    for (;; c.n_rows++) {
        if (container_next(c.file, &body, &err) != OK)
            die("read", err.text);
        line = next_line(&c);
        if (body.data == NULL || !line)
            break;
        if (decode_row(c.plan, body, &c.row, 0, &err) != OK)
            die("decode", err.text);
        compare_row(&c);
    }
    if (line || body.data)
        printf("one of the two has more rows than %zu\n", c.n_rows);
    printf("%zu rows, %zu differ\n", c.n_rows, c.n_bad);
    container_close(c.file);
    decode_plan_free(c.plan);
    arena_done(&c.arena);
    fclose(c.csv);
    return c.n_rows == 0 || c.n_bad != 0 || line || body.data;
}
