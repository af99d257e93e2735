/*
 * Encoding: one operation per field that has a column, or run of fields that take their defaults, in the
 * order of the bytes. OP_NULLABLE stands before a nullable record's operations and jumps over them when
 * all their columns are null.
 */
#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "wire/avro.h"
#include "wire/plan.h"
#include "wire/schema_doc.h"
#include "wire/varint.h"

enum op_code {
    OP_END,
    OP_CONST,
    OP_NULLABLE,
    /* with a column */
    OP_BOOLEAN,
    OP_INT,
    OP_LONG,
    OP_MICROS,
    OP_INT_FLOAT,
    OP_INT_DOUBLE,
    OP_FLOAT,
    OP_DOUBLE,
    OP_TEXT,
    OP_BYTES,
    OP_FIXED,
    OP_ENUM,
    OP_COPY,
};

struct op {
    uint8_t code;
    uint8_t null_at; /* 1 + the index of null in the union around the value; 0: no union */
    uint16_t col;
    uint32_t to;     /* OP_NULLABLE: where it goes on when null */
    const char *path;
    size_t n;            /* OP_CONST, OP_FIXED: bytes; OP_ENUM: symbols */
    const uint8_t *data; /* OP_CONST */
    const struct view *symbols;
    /* by encode_bind */
    const uint8_t *null;
    union {
        const int64_t *i64;
        const double *f64;
        const struct view *view;
    };
};

struct encode_plan {
    struct arena arena;
    struct op *ops;
    size_t n_ops;
    size_t cap_ops;
    struct want *cols;
    size_t n_cols;
    size_t bytes_max; /* of a row, views and constants apart */
};

/* -- making a plan -- */

struct maker {
    struct encode_plan *plan;
    size_t barrier; /* a jump lands here: constants after it are not merged into one before */
    bool *used;
    struct error *err;
};

static struct op *add_op(struct maker *m, enum op_code code, const char *path)
{
    struct encode_plan *p = m->plan;

    if (p->n_ops == p->cap_ops) {
        p->cap_ops = p->cap_ops ? p->cap_ops * 2 : 32;
        p->ops = xrealloc(p->ops, p->cap_ops * sizeof(*p->ops));
    }
    p->ops[p->n_ops] = (struct op){.code = (uint8_t)code, .path = path};
    p->bytes_max += 1 + VARINT_BYTES_MAX;
    return &p->ops[p->n_ops++];
}

static void add_constant(struct maker *m, const char *path, const struct bytes *b)
{
    struct encode_plan *p = m->plan;
    struct op *op;
    uint8_t *data;

    if (p->n_ops == m->barrier || p->n_ops == 0 || p->ops[p->n_ops - 1].code != OP_CONST)
        add_op(m, OP_CONST, path);
    op = &p->ops[p->n_ops - 1];
    data = arena_alloc(&p->arena, op->n + b->n);
    if (op->n != 0)
        memcpy(data, op->data, op->n);
    if (b->n != 0)
        memcpy(data + op->n, b->data, b->n);
    op->data = data;
    op->n += b->n;
    p->bytes_max += b->n;
}

static uint8_t null_at(const struct schema *s)
{
    if (schema_unwrap(s) == s)
        return 0;
    return s->branches[0]->type == SCHEMA_NULL ? 1 : 2;
}

static bool is_micros(const struct schema *s)
{
    return s->logical != NULL &&
           (strcmp(s->logical, "timestamp-micros") == 0 || strcmp(s->logical, "local-timestamp-micros") == 0);
}

/* How a column of this type becomes a value of that type, or -1. */
static int leaf_code(const struct schema *s, enum col_type type)
{
    switch (s->type) {
    case SCHEMA_BOOLEAN:
        return type == COL_BOOL ? OP_BOOLEAN : -1;
    case SCHEMA_INT:
        return type == COL_INT ? OP_INT : -1;
    case SCHEMA_LONG:
        return type != COL_INT ? -1 : is_micros(s) ? OP_MICROS : OP_LONG;
    case SCHEMA_FLOAT:
        return type == COL_DOUBLE ? OP_FLOAT : type == COL_INT ? OP_INT_FLOAT : -1;
    case SCHEMA_DOUBLE:
        return type == COL_DOUBLE ? OP_DOUBLE : type == COL_INT ? OP_INT_DOUBLE : -1;
    case SCHEMA_STRING:
        return type == COL_STRING || type == COL_BYTES ? OP_TEXT : -1;
    case SCHEMA_BYTES:
        return type == COL_STRING || type == COL_BYTES ? OP_BYTES : -1;
    case SCHEMA_FIXED:
        return type == COL_BYTES ? OP_FIXED : -1;
    case SCHEMA_ENUM:
        return type == COL_STRING ? OP_ENUM : -1;
    case SCHEMA_RECORD:
    case SCHEMA_ARRAY:
    case SCHEMA_MAP:
    case SCHEMA_UNION:
        return type == COL_AVRO ? OP_COPY : -1;
    case SCHEMA_NULL:
        break;
    }
    return -1;
}

static enum status make_leaf(struct maker *m, const struct schema *s, size_t col)
{
    const struct schema *leaf = schema_unwrap(s);
    const struct want *w = &m->plan->cols[col];
    int code = leaf_code(leaf, w->type);
    struct view *symbols;
    struct op *op;

    m->used[col] = true;
    if (code < 0)
        return err_set(m->err, ERR_FATAL, "field '%s' is %s; a column of type %s does not fit it", w->path,
                       schema_type_name(leaf), col_type_name(w->type));
    op = add_op(m, (enum op_code)code, w->path);
    op->null_at = null_at(s);
    op->col = (uint16_t)col;
    op->n = leaf->fixed_bytes;
    if (code == OP_ENUM) {
        op->n = leaf->n;
        symbols = arena_alloc(&m->plan->arena, leaf->n * sizeof(*symbols));
        for (size_t i = 0; i < leaf->n; i++)
            symbols[i] = view_str(arena_strdup(&m->plan->arena, leaf->symbols[i]));
        op->symbols = symbols;
    }
    return OK;
}

static enum status make_default(struct maker *m, const struct schema_field *f, const char *path)
{
    struct bytes b = BYTES_EMPTY;

    if (f->type->type == SCHEMA_NULL)
        return OK;
    if (f->deflt != NULL) {
        if (schema_encode_default(f->type, f->deflt, &b, m->err) != OK)
            return err_wrap(m->err, "default of field '%s'", path);
    } else if (null_at(f->type) != 0) {
        avro_put_long(&b, null_at(f->type) - 1);
    } else {
        return err_set(m->err, ERR_FATAL, "field '%s' has neither a column nor a default", path);
    }
    add_constant(m, path, &b);
    bytes_done(&b);
    return OK;
}

static long col_at(const struct maker *m, const char *path)
{
    for (size_t i = 0; i < m->plan->n_cols; i++)
        if (strcmp(m->plan->cols[i].path, path) == 0)
            return (long)i;
    return -1;
}

static bool cols_below(const struct maker *m, const char *path)
{
    size_t n = strlen(path);

    for (size_t i = 0; i < m->plan->n_cols; i++)
        if (strncmp(m->plan->cols[i].path, path, n) == 0 && m->plan->cols[i].path[n] == '.')
            return true;
    return false;
}

static enum status make_record(struct maker *m, const struct schema *s, const char *prefix)
{
    for (size_t i = 0; i < s->n; i++) {
        const struct schema_field *f = &s->fields[i];
        const char *path = arena_printf(&m->plan->arena, "%s%s%s", prefix, prefix[0] ? "." : "", f->name);
        const struct schema *inner = schema_unwrap(f->type);
        size_t jump = m->plan->n_ops;
        long col = col_at(m, path);
        enum status st;

        if (col >= 0) {
            st = make_leaf(m, f->type, (size_t)col);
        } else if (inner->type == SCHEMA_RECORD && cols_below(m, path)) {
            if (null_at(f->type) != 0)
                add_op(m, OP_NULLABLE, path)->null_at = null_at(f->type);
            st = make_record(m, inner, path);
            if (null_at(f->type) != 0) {
                m->plan->ops[jump].to = (uint32_t)m->plan->n_ops;
                m->barrier = m->plan->n_ops;
            }
        } else {
            st = make_default(m, f, path);
        }
        if (st != OK)
            return st;
    }
    return OK;
}

static enum status check_used(struct maker *m, const struct schema *s)
{
    for (size_t i = 0; i < m->plan->n_cols; i++) {
        const char *near = schema_nearest(s, m->plan->cols[i].path);

        if (!m->used[i])
            return err_set(m->err, ERR_FATAL, "column '%s': %s has no such field, or it is given twice%s%s%s",
                           m->plan->cols[i].path, schema_type_name(s), near[0] ? " (nearest: '" : "", near,
                           near[0] ? "')" : "");
    }
    return OK;
}

enum status encode_plan_new(const struct schema *s, const struct want *cols, size_t n_cols,
                            struct encode_plan **ret_plan, struct error *err)
{
    struct encode_plan *p;
    struct maker m = {.barrier = SIZE_MAX, .err = err};
    enum status st;

    if (s->type != SCHEMA_RECORD)
        return err_set(err, ERR_FATAL, "the schema is %s; a topic's values are records", schema_type_name(s));
    if (n_cols > UINT16_MAX)
        return err_set(err, ERR_FATAL, "%zu columns; at most %d", n_cols, UINT16_MAX);
    p = xcalloc(1, sizeof(*p));
    p->n_cols = n_cols;
    p->cols = arena_zalloc(&p->arena, (n_cols + 1) * sizeof(*p->cols));
    for (size_t i = 0; i < n_cols; i++)
        p->cols[i] = (struct want){arena_strdup(&p->arena, cols[i].path), cols[i].type};
    m.plan = p;
    m.used = arena_zalloc(&p->arena, n_cols + 1);
    st = make_record(&m, s, "");
    if (st == OK)
        st = check_used(&m, s);
    add_op(&m, OP_END, "");
    if (st != OK) {
        encode_plan_free(p);
        return st;
    }
    *ret_plan = p;
    return OK;
}

void encode_plan_free(struct encode_plan *p)
{
    if (p == NULL)
        return;
    arena_done(&p->arena);
    free(p->ops);
    free(p);
}

enum status encode_bind(struct encode_plan *p, const struct batch *b, struct error *err)
{
    for (size_t i = 0; i < p->n_ops; i++) {
        struct op *op = &p->ops[i];
        const struct want *w;
        const struct col *c;

        if (op->code < OP_BOOLEAN)
            continue;
        w = &p->cols[op->col];
        c = batch_col(b, w->path);
        if (c == NULL)
            return err_set(err, ERR_FATAL, "no column '%s'", w->path);
        if (c->type != w->type)
            return err_set(err, ERR_FATAL, "column '%s' is %s, expected %s", w->path, col_type_name(c->type),
                           col_type_name(w->type));
        op->null = c->null;
        op->i64 = c->i64;
    }
    return OK;
}

/* -- rows -- */

static bool all_null(const struct op *from, const struct op *to, size_t row)
{
    for (; from < to; from++)
        if (from->code >= OP_BOOLEAN && !from->null[row])
            return false;
    return true;
}

static uint8_t *put_f64(uint8_t *q, double v)
{
    uint64_t bits;

    memcpy(&bits, &v, sizeof(bits));
    bits = htole64(bits);
    memcpy(q, &bits, sizeof(bits));
    return q + sizeof(bits);
}

static uint8_t *put_f32(uint8_t *q, float v)
{
    uint32_t bits;

    memcpy(&bits, &v, sizeof(bits));
    bits = htole32(bits);
    memcpy(q, &bits, sizeof(bits));
    return q + sizeof(bits);
}

static long symbol_at(const struct op *op, struct view v)
{
    for (size_t i = 0; i < op->n; i++)
        if (view_eq(op->symbols[i], v))
            return (long)i;
    return -1;
}

/* The bytes of the view, with the length before them when its type has one; room for what else follows. */
static uint8_t *put_view(const struct encode_plan *p, const struct op *op, struct view v, uint8_t *q, struct bytes *out)
{
    out->n = (size_t)(q - out->data);
    q = bytes_reserve(out, v.n + p->bytes_max);
    if (op->code == OP_TEXT || op->code == OP_BYTES)
        q = varint_write(q, (int64_t)v.n);
    if (v.n != 0)
        memcpy(q, v.data, v.n);
    return q + v.n;
}

/* Why the view cannot be that field, or NULL. */
static const char *view_refused(const struct op *op, struct view v)
{
    if (op->code == OP_TEXT && !avro_is_text(v))
        return "not UTF-8, or with a NUL";
    if (op->code == OP_FIXED && v.n != op->n)
        return "not as many bytes as its schema fixes";
    if (op->code == OP_COPY && v.n == 0)
        return "a nested value without a byte";
    return NULL;
}

__attribute__((noinline, cold))
static enum status bad_value(const struct op *op, size_t before, struct bytes *out, const char *why, struct error *err)
{
    out->n = before;
    return err_set(err, ERR_RECORD, "avro: %s: %s", op->path, why);
}

/* A flat switch: each case is one way from a column's slot to bytes. */
enum status encode_row(const struct encode_plan *p, size_t row, struct bytes *out, struct error *err)
{
    size_t before = out->n;
    uint8_t *q = bytes_reserve(out, p->bytes_max);
    const char *why;
    int64_t v;
    double d;
    long symbol;

    for (const struct op *op = p->ops;; op++) {
        if (op->null_at != 0) {
            bool is_null = op->code == OP_NULLABLE ? all_null(op, p->ops + op->to, row) : op->null[row];

            /* Of two branches: null's own index, or the other. */
            *q++ = (uint8_t)((is_null ? op->null_at - 1 : 2 - op->null_at) * 2);
            if (op->code == OP_NULLABLE) {
                if (is_null)
                    op = p->ops + op->to - 1;
                continue;
            }
            if (is_null)
                continue;
        } else if (op->code >= OP_BOOLEAN && op->null[row]) {
            return bad_value(op, before, out, "null, but the field takes none", err);
        }
        switch ((enum op_code)op->code) {
        case OP_END:
            out->n = (size_t)(q - out->data);
            return OK;
        case OP_CONST:
            if (op->n != 0)
                memcpy(q, op->data, op->n);
            q += op->n;
            break;
        case OP_NULLABLE:
            break;
        case OP_BOOLEAN:
            *q++ = op->i64[row] != 0;
            break;
        case OP_INT:
            v = op->i64[row];
            if (v != (int32_t)v)
                return bad_value(op, before, out, "a number beyond 32 bits in an int", err);
            q = varint_write(q, v);
            break;
        case OP_LONG:
            q = varint_write(q, op->i64[row]);
            break;
        case OP_MICROS:
            if (__builtin_mul_overflow(op->i64[row], 1000, &v))
                return bad_value(op, before, out, "a time beyond 64 bits in microseconds", err);
            q = varint_write(q, v);
            break;
        case OP_INT_FLOAT:
            q = put_f32(q, (float)op->i64[row]);
            break;
        case OP_INT_DOUBLE:
            q = put_f64(q, (double)op->i64[row]);
            break;
        case OP_FLOAT:
            d = op->f64[row];
            if (isfinite(d) && !isfinite((float)d))
                return bad_value(op, before, out, "a number beyond a float's range", err);
            q = put_f32(q, (float)d);
            break;
        case OP_DOUBLE:
            q = put_f64(q, op->f64[row]);
            break;
        case OP_TEXT:
        case OP_BYTES:
        case OP_FIXED:
        case OP_COPY:
            why = view_refused(op, op->view[row]);
            if (why != NULL)
                return bad_value(op, before, out, why, err);
            q = put_view(p, op, op->view[row], q, out);
            break;
        case OP_ENUM:
            symbol = symbol_at(op, op->view[row]);
            if (symbol < 0)
                return bad_value(op, before, out, "not a symbol of its enum", err);
            q = varint_write(q, symbol);
            break;
        }
    }
}
