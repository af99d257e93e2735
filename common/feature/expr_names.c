/* common/feature/expr_names.c: names of plain columns, and the nearest to one that is none. */
#include "feature/expr.h"

static size_t distance(const char *a, const char *b)
{
    size_t row[64], n = strlen(b);

    if (n >= ARRAY_LEN(row) || strlen(a) >= ARRAY_LEN(row))
        return SIZE_MAX;
    for (size_t j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t d = diagonal + (a[i - 1] != b[j - 1]);

            diagonal = row[j];
            d = d < row[j] + 1 ? d : row[j] + 1;
            row[j] = d < row[j - 1] + 1 ? d : row[j - 1] + 1;
        }
    }
    return row[n];
}

const char *expr_nearest(const char *name, const struct feature_col *cols, size_t n_cols)
{
    size_t best = strlen(name) / 3 + 2;
    const char *found = NULL;

    for (size_t i = 0; i < n_cols; i++) {
        size_t d = distance(name, cols[i].name);

        if (d < best) {
            best = d;
            found = cols[i].name;
        }
    }
    return found;
}

struct plain {
    const struct feature_col *cols;
    size_t n;
};

static const struct feature_col *plain_resolve(void *ctx, const char *name)
{
    const struct plain *p = ctx;

    for (size_t i = 0; i < p->n; i++)
        if (strcmp(p->cols[i].name, name) == 0)
            return &p->cols[i];
    return NULL;
}

static const char *plain_nearest(void *ctx, const char *name)
{
    const struct plain *p = ctx;

    return expr_nearest(name, p->cols, p->n);
}

enum status expr_new(const char *text, const struct feature_col *cols, size_t n_cols, struct expr **ret_expr, enum col_type *ret_type,
                     struct error *err)
{
    struct plain p = {cols, n_cols};
    struct expr *e;
    enum col_type type;
    size_t width;

    if (expr_compile(text, plain_resolve, plain_nearest, &p, &e, &type, err) != OK)
        return err->status;
    width = expr_width(e);
    if (width != 1) {
        expr_free(e);
        return err_set(err, ERR_FATAL, "\"%.80s\" makes %zu columns, where one value is needed", text, width);
    }
    *ret_expr = e;
    *ret_type = type;
    return OK;
}
