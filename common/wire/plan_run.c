/* common/wire/plan_run.c: the hot path: one record's bytes straight into columns. */
#include "wire/plan_ops.h"

void decode_begin(const struct want *want, size_t n_want, struct batch *b)
{
    assert(b->n_cols == 0);
    for (size_t i = 0; i < n_want; i++)
        batch_add_col(b, want[i].path, want[i].type);
}

static void set_null(struct col *c, size_t row)
{
    c->null[row] = 1;
    if (c->type >= COL_STRING)
        c->view[row] = (struct view){0};
    else
        c->i64[row] = 0;
}

static void set_constant(struct col *c, size_t row, const struct constant *k)
{
    if (k->is_null) {
        set_null(c, row);
        return;
    }
    c->null[row] = 0;
    if (c->type >= COL_STRING)
        c->view[row] = k->view;
    else
        c->i64[row] = k->i64; /* a double's bits too */
}

static void set_nulls(const struct op *from, const struct op *to, const struct batch *b, size_t row)
{
    for (; from < to; from++)
        if (from->code >= OP_OPEN)
            set_null(&b->cols[from->col], row);
}

__attribute__((noinline, cold))
static enum status bad_row(const struct skip *s, const struct op *op, struct error *err)
{
    char why[128];

    if (op->code == OP_END)
        return err_set(err, ERR_RECORD, "avro: %td bytes left over after the last field", s->end - s->p);
    skip_why(s, why, sizeof(why));
    return err_set(err, ERR_RECORD, "avro: %s: %s", op->path, why);
}

static inline bool take_fixed(struct skip *s, void *to, size_t n)
{
    if (__builtin_expect((size_t)(s->end - s->p) < n, 0))
        return skip_fail(s, BAD_END, 0, 0);
    memcpy(to, s->p, n);
    s->p += n;
    return true;
}

static inline bool take_int(struct skip *s, int64_t *ret)
{
    return skip_long(s, ret) && (__builtin_expect(*ret == (int32_t)*ret, 1) || skip_fail(s, BAD_INT, 0, 0));
}

static inline bool take_micros(struct skip *s, int64_t *ret)
{
    int64_t v;

    if (!skip_long(s, &v))
        return false;
    /* Rounded down: -1 us lies in millisecond -1. */
    *ret = v / 1000 - (v % 1000 < 0);
    return true;
}

static inline bool take_view(struct skip *s, struct view *ret)
{
    int64_t n;

    if (!skip_length(s, &n))
        return false;
    *ret = view_of(s->p, (size_t)n);
    s->p += n;
    return true;
}

static inline bool skip_n(struct skip *s, const struct op *op)
{
    int64_t v;

    switch ((enum op_code)op->code) {
    case OP_SKIP_FIXED:
        if ((size_t)(s->end - s->p) < op->n)
            return skip_fail(s, BAD_END, 0, 0);
        s->p += op->n;
        return true;
    case OP_SKIP_INT:
        return take_int(s, &v);
    case OP_SKIP_LONGS:
        for (size_t i = 0; i < op->n; i++)
            if (!skip_long(s, &v))
                return false;
        return true;
    default:
        for (size_t i = 0; i < op->n; i++) {
            if (!skip_length(s, &v))
                return false;
            s->p += v;
        }
        return true;
    }
}

/* As skip_value does it, for items of plain fields. */
static bool skip_items(struct skip *at, const struct op *op, const struct op *end)
{
    struct skip s = *at; /* in registers */
    const uint8_t *block_end;
    bool ok = true;
    int64_t n;

    for (;;) {
        struct skip block = s;

        ok = skip_block(&block, &n, &block_end);
        s = block;
        if (!ok || n == 0)
            break;
        for (; n > 0 && ok; n--)
            for (const struct op *o = op + 1; o < end && ok; o++)
                ok = skip_n(&s, o);
        if (ok && block_end != NULL && s.p != block_end)
            ok = skip_fail(&s, BAD_BLOCK, s.p - block_end, 0);
        if (!ok)
            break;
    }
    *at = s;
    return ok;
}

__attribute__((noinline)) static bool skip_any(struct skip *at, const struct op *op, const struct op *ops)
{
    if (op->code == OP_SKIP_ITEMS)
        return skip_items(at, op, ops + op->to);
    at->text = op->code == OP_KEEP_VALUE;
    return skip_value(at, op->schema);
}

/* Reads the branch of a union of null and one other. False: wrong bytes. */
static inline bool take_branch(struct skip *s, uint8_t at, bool *ret_null)
{
    int64_t v;

    if (__builtin_expect(s->p < s->end && (*s->p & ~2) == 0, 1)) {
        *ret_null = (*s->p++ >> 1) == at - 1;
        return true;
    }
    if (!skip_long(s, &v))
        return false;
    if (v != 0 && v != 1)
        return skip_fail(s, BAD_UNION, v, 2);
    *ret_null = v == at - 1;
    return true;
}

/* A flat switch: each case is one way from bytes to a column's slot. ret_n NULL: all bytes are the record's. The cursor's address stays here: it lives in registers. */
static enum status decode(const struct decode_plan *p, struct view body, struct batch *b, size_t row, size_t *ret_n, struct error *err)
{
    struct skip s = {.p = body.data, .end = body.data + body.n}, there;
    const struct op *op = p->ops;
    struct col *cols = b->cols;
    bool is_null = false, passed;
    uint64_t bits;
    uint32_t bits32;
    int64_t v;
    float f;

    assert(b->n_cols >= p->n_cols && row < b->cap_rows);
    for (;; op++) {
        struct col *c = &cols[op->col];

        if (op->null_at != 0) {
            if (!take_branch(&s, op->null_at, &is_null))
                goto bad;
            if (op->code == OP_NULLABLE) {
                if (is_null) {
                    set_nulls(op, p->ops + op->to, b, row);
                    op = p->ops + op->to - 1;
                }
                continue;
            }
            if (is_null) {
                if (op->code >= OP_OPEN)
                    set_null(c, row);
                continue;
            }
        }
        switch ((enum op_code)op->code) {
        case OP_END:
            if (ret_n)
                *ret_n = (size_t)(s.p - body.data);
            else if (s.p != s.end)
                goto bad;
            return OK;
        case OP_SKIP_FIXED:
        case OP_SKIP_LONGS:
        case OP_SKIP_BYTES:
        case OP_SKIP_INT:
            if (!skip_n(&s, op))
                goto bad;
            continue;
        case OP_SKIP_ITEMS:
        case OP_SKIP_VALUE:
        case OP_KEEP_VALUE:
            there = s;
            passed = skip_any(&there, op, p->ops);
            s = there;
            if (!passed)
                goto bad;
            if (op->code == OP_SKIP_ITEMS)
                op = p->ops + op->to - 1;
            continue;
        case OP_NULLABLE:
            continue;
        case OP_OPEN:
            c->view[row].data = s.p;
            break;
        case OP_CLOSE:
            c->view[row].n = (size_t)(s.p - c->view[row].data);
            continue;
        case OP_CONST:
            set_constant(c, row, op->constant);
            continue;
        case OP_NULL:
            set_null(c, row);
            continue;
        case OP_BOOLEAN:
            if (s.p == s.end || *s.p > 1) {
                skip_fail(&s, s.p == s.end ? BAD_END : BAD_BOOLEAN, s.p == s.end ? 0 : *s.p, 0);
                goto bad;
            }
            c->i64[row] = *s.p++;
            break;
        case OP_INT:
            if (!take_int(&s, &c->i64[row]))
                goto bad;
            break;
        case OP_LONG:
            if (!skip_long(&s, &c->i64[row]))
                goto bad;
            break;
        case OP_MICROS:
            if (!take_micros(&s, &c->i64[row]))
                goto bad;
            break;
        case OP_INT_F64:
            if (!take_int(&s, &v))
                goto bad;
            c->f64[row] = (double)v;
            break;
        case OP_LONG_F64:
            if (!skip_long(&s, &v))
                goto bad;
            c->f64[row] = (double)v;
            break;
        case OP_MICROS_F64:
            if (!skip_long(&s, &v))
                goto bad;
            c->f64[row] = (double)v / 1000;
            break;
        case OP_FLOAT:
            if (!take_fixed(&s, &bits32, sizeof(bits32)))
                goto bad;
            bits32 = le32toh(bits32);
            memcpy(&f, &bits32, sizeof(f));
            c->f64[row] = (double)f;
            break;
        case OP_DOUBLE:
            if (!take_fixed(&s, &bits, sizeof(bits)))
                goto bad;
            bits = le64toh(bits);
            memcpy(&c->f64[row], &bits, sizeof(bits));
            break;
        case OP_TEXT:
            if (!take_view(&s, &c->view[row]))
                goto bad;
            if (!avro_is_text(c->view[row])) {
                skip_fail(&s, BAD_TEXT, 0, 0);
                goto bad;
            }
            break;
        case OP_BYTES:
            if (!take_view(&s, &c->view[row]))
                goto bad;
            break;
        case OP_FIXED:
            if ((size_t)(s.end - s.p) < op->n) {
                skip_fail(&s, BAD_END, 0, 0);
                goto bad;
            }
            c->view[row] = view_of(s.p, op->n);
            s.p += op->n;
            break;
        case OP_ENUM:
            if (!skip_long(&s, &v))
                goto bad;
            if (v < 0 || (uint64_t)v >= op->n) {
                skip_fail(&s, BAD_ENUM, v, (int64_t)op->n);
                goto bad;
            }
            c->view[row] = op->symbols[v];
            break;
        }
        c->null[row] = 0;
    }
bad:
    there = s;
    return bad_row(&there, op, err);
}

enum status decode_row(const struct decode_plan *p, struct view body, struct batch *b, size_t row, struct error *err)
{
    return decode(p, body, b, row, NULL, err);
}

enum status decode_first(const struct decode_plan *p, struct view bodies, struct batch *b, size_t row, size_t *ret_n, struct error *err)
{
    return decode(p, bodies, b, row, ret_n, err);
}
