/* CSV cells to Avro: each cell by its field's type; a nested field's column has a dotted name. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "wire/avro.h"
#include "wire/text.h"
#include "wire/text_read.h"

struct row {
    const char *const *columns;
    const struct view *cells;
    size_t n;
    size_t next; /* where the next field's column stands, when both are in one order */
};

static const struct view *cell_of(struct row *row, const char *path)
{
    for (size_t k = 0; k < row->n; k++) {
        size_t i = (row->next + k) % row->n;

        if (strcmp(row->columns[i], path) == 0) {
            row->next = i + 1;
            return &row->cells[i];
        }
    }
    return NULL;
}

static bool cells_below(const struct row *row, const char *path)
{
    size_t n = strlen(path);

    for (size_t i = 0; i < row->n; i++)
        if (strncmp(row->columns[i], path, n) == 0 && row->columns[i][n] == '.')
            return true;
    return false;
}

static bool is_word(struct view v, const char *const words[4])
{
    for (int i = 0; i < 4; i++)
        if (view_eq(v, view_str(words[i])))
            return true;
    return false;
}

/* The cell as a number of the type; strtod takes more than a number may be (hex, spaces), so look first. */
static enum status read_number(struct text_reader *r, const struct schema *s, struct view v)
{
    bool whole = s->type == SCHEMA_INT || s->type == SCHEMA_LONG;
    char text[64];
    char *end;
    double d;
    long long i;

    if (v.n >= sizeof(text) || v.n == 0)
        return text_differs(r, s, "text");
    memcpy(text, v.data, v.n);
    text[v.n] = '\0';
    if (!whole && text_special_double(v, &d))
        return text_put_double(r, s, d);
    if (strspn(text, whole ? "+-0123456789" : "+-0123456789.eE") != v.n)
        return text_time_unit(s) != 0 ? text_read_text(r, s, v) : text_differs(r, s, "text");
    errno = 0;
    if (whole) {
        i = strtoll(text, &end, 10);
        if (*end != '\0' && text_time_unit(s) != 0)
            return text_read_text(r, s, v);
        if (*end != '\0' || end == text || errno != 0)
            return text_differs(r, s, errno ? "a number beyond 64 bits" : "text");
        return text_time_unit(s) != 0 ? text_put_time(r, s, i) : text_put_long(r, s, i);
    }
    d = strtod(text, &end);
    if (*end != '\0' || end == text || !isfinite(d))
        return text_differs(r, s, *end ? "text" : "a number beyond its range");
    return text_put_double(r, s, d);
}

static enum status read_cell(struct text_reader *r, const struct schema *s, struct view v)
{
    static const char *const yes[4] = {"true", "1", "True", "TRUE"};
    static const char *const no[4] = {"false", "0", "False", "FALSE"};
    json_t *j;
    enum status st;

    switch (s->type) {
    case SCHEMA_INT:
    case SCHEMA_LONG:
    case SCHEMA_FLOAT:
    case SCHEMA_DOUBLE:
        return read_number(r, s, v);
    case SCHEMA_BOOLEAN:
        if (!is_word(v, yes) && !is_word(v, no))
            return text_differs(r, s, "text");
        avro_put_bool(r->out, is_word(v, yes));
        return OK;
    case SCHEMA_STRING:
    case SCHEMA_BYTES:
    case SCHEMA_FIXED:
    case SCHEMA_ENUM:
        return text_read_text(r, s, v);
    default:
        break;
    }
    if (json_read(v, &j, r->err) != OK) {
        r->err->status = ERR_RECORD;
        return err_wrap(r->err, "expected %s as JSON", schema_type_name(s));
    }
    st = text_read_value(r, s, j);
    json_decref(j);
    return st;
}

static enum status read_row(struct text_reader *r, const struct schema *s, struct row *row, const char *prefix);

static enum status read_row_field(struct text_reader *r, const struct schema_field *f, struct row *row, const char *path)
{
    const struct view *cell = cell_of(row, path);
    const struct schema *inner = schema_unwrap(f->type);

    if (cell == NULL && inner->type == SCHEMA_RECORD && cells_below(row, path)) {
        if (inner != f->type)
            avro_put_long(r->out, f->type->branches[1] == inner);
        return read_row(r, inner, row, path);
    }
    if (cell == NULL || cell->n == 0) {
        if (inner == f->type || cell == NULL)
            return text_put_missing(r, f);
        avro_put_long(r->out, f->type->branches[0] == inner);
        return OK;
    }
    if (inner != f->type)
        avro_put_long(r->out, f->type->branches[1] == inner);
    if (read_cell(r, inner, *cell) != OK)
        return err_wrap(r->err, "field '%s'", path);
    return OK;
}

static enum status read_row(struct text_reader *r, const struct schema *s, struct row *row, const char *prefix)
{
    for (size_t i = 0; i < s->n; i++) {
        char path[256];

        snprintf(path, sizeof(path), "%s%s%s", prefix, prefix[0] ? "." : "", s->fields[i].name);
        if (read_row_field(r, &s->fields[i], row, path) != OK)
            return r->err->status;
    }
    return OK;
}

enum status text_csv_to_avro(const struct schema *s, const char *const *columns, const struct view *cells,
                             size_t n_cells, struct bytes *ret_body, struct error *err)
{
    struct text_reader r = {ret_body, err};
    struct row row = {columns, cells, n_cells, 0};
    size_t before = ret_body->n;
    enum status st;

    if (s->type != SCHEMA_RECORD)
        return err_set(err, ERR_RECORD, "the schema is %s; a row is a record", schema_type_name(s));
    for (size_t i = 0; i < n_cells; i++)
        if (schema_at(s, columns[i]) == NULL)
            return text_unknown_field(&r, s, columns[i]);
    st = read_row(&r, s, &row, "");
    if (st != OK)
        ret_body->n = before;
    return st;
}
