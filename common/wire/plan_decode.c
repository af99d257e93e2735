/*
 * Decoding: one operation per wanted field or run of skipped ones, in the order of the bytes. A nullable
 * record is OP_NULLABLE with a jump over its operations; the columns between are then null. A value
 * that is wanted whole stands between OP_OPEN and OP_CLOSE.
 */
#include <assert.h>
#include <stdlib.h>

#include "wire/avro.h"
#include "wire/plan.h"
#include "wire/schema_doc.h"
#include "wire/skip.h"

enum op_code {
    OP_END,
    /* n in a row */
    OP_SKIP_FIXED,
    OP_SKIP_LONGS,
    OP_SKIP_BYTES,
    OP_SKIP_VALUE, /* anything: by its schema */
    OP_KEEP_VALUE, /* the same with its strings looked at */
    OP_NULLABLE,
    /* with a column */
    OP_OPEN,
    OP_CLOSE,
    OP_CONST,
    OP_NULL,
    OP_BOOLEAN,
    OP_INT,
    OP_LONG,
    OP_MICROS,
    OP_INT_F64,
    OP_LONG_F64,
    OP_MICROS_F64,
    OP_FLOAT,
    OP_DOUBLE,
    OP_TEXT,
    OP_BYTES,
    OP_FIXED,
    OP_ENUM,
};

struct constant {
    bool is_null;
    union {
        int64_t i64;
        double f64;
        struct view view;
    };
};

struct op {
    uint8_t code;
    uint8_t null_at; /* 1 + the index of null in the union around the value; 0: no union */
    uint16_t col;
    uint32_t to; /* OP_NULLABLE: where it goes on when null */
    const char *path;
    union {
        size_t n; /* also OP_ENUM: of symbols */
        const struct schema *schema;
        const struct constant *constant;
    };
    const struct view *symbols;
};

struct decode_plan {
    struct arena arena;
    struct op *ops;
    size_t n_ops;
    size_t cap_ops;
    size_t n_cols;
};

/* -- making a plan -- */

struct maker {
    struct decode_plan *plan;
    const struct want *want;
    size_t n_want;
    size_t barrier; /* a jump lands here: nothing after it is merged into what is before it */
    struct error *err;
};

static enum status make_record(struct maker *m, const struct schema *w, const struct schema *r, const char *prefix,
                               bool keep);

static struct op *add_op(struct maker *m, enum op_code code, const char *path)
{
    struct decode_plan *p = m->plan;

    if (p->n_ops == p->cap_ops) {
        p->cap_ops = p->cap_ops ? p->cap_ops * 2 : 32;
        p->ops = xrealloc(p->ops, p->cap_ops * sizeof(*p->ops));
    }
    p->ops[p->n_ops] = (struct op){.code = (uint8_t)code, .path = path};
    return &p->ops[p->n_ops++];
}

static struct op *add_col_op(struct maker *m, enum op_code code, size_t col)
{
    struct op *op = add_op(m, code, m->want[col].path);

    op->col = (uint16_t)col;
    return op;
}

static void add_skip(struct maker *m, enum op_code code, size_t n, const char *path)
{
    struct decode_plan *p = m->plan;

    if (p->n_ops > m->barrier && p->ops[p->n_ops - 1].code == code)
        p->ops[p->n_ops - 1].n += n;
    else
        add_op(m, code, path)->n = n;
}

/* 1 + the index of null of a union of null and one other, else 0. */
static uint8_t null_at(const struct schema *s)
{
    if (schema_unwrap(s) == s)
        return 0;
    return s->branches[0]->type == SCHEMA_NULL ? 1 : 2;
}

/* What follows OP_NULLABLE at `jump` is at its end. */
static void end_nullable(struct maker *m, size_t jump)
{
    m->plan->ops[jump].to = (uint32_t)m->plan->n_ops;
    m->barrier = m->plan->n_ops;
}

static void make_skip(struct maker *m, const struct schema *s, const char *path, bool keep)
{
    size_t jump = m->plan->n_ops;

    if (null_at(s) != 0) {
        add_op(m, OP_NULLABLE, path)->null_at = null_at(s);
        make_skip(m, schema_unwrap(s), path, keep);
        end_nullable(m, jump);
        return;
    }
    switch (s->type) {
    case SCHEMA_RECORD:
        for (size_t i = 0; i < s->n; i++)
            make_skip(m, s->fields[i].type,
                      arena_printf(&m->plan->arena, "%s.%s", path, s->fields[i].name), keep);
        return;
    case SCHEMA_NULL:
        return;
    case SCHEMA_FLOAT:
        add_skip(m, OP_SKIP_FIXED, 4, path);
        return;
    case SCHEMA_DOUBLE:
        add_skip(m, OP_SKIP_FIXED, 8, path);
        return;
    case SCHEMA_FIXED:
        add_skip(m, OP_SKIP_FIXED, s->fixed_bytes, path);
        return;
    case SCHEMA_LONG:
        add_skip(m, OP_SKIP_LONGS, 1, path);
        return;
    case SCHEMA_BYTES:
        add_skip(m, OP_SKIP_BYTES, 1, path);
        return;
    case SCHEMA_STRING:
        if (!keep) {
            add_skip(m, OP_SKIP_BYTES, 1, path);
            return;
        }
        break;
    default:
        break;
    }
    add_op(m, keep ? OP_KEEP_VALUE : OP_SKIP_VALUE, path)->schema = s;
}

static bool is_micros(const struct schema *s)
{
    return s->logical != NULL &&
           (strcmp(s->logical, "timestamp-micros") == 0 || strcmp(s->logical, "local-timestamp-micros") == 0);
}

/* How a leaf of this type becomes a column of that type, or -1. */
static int leaf_code(const struct schema *s, enum col_type type)
{
    bool f64 = type == COL_DOUBLE;

    switch (s->type) {
    case SCHEMA_NULL:
        return OP_NULL;
    case SCHEMA_BOOLEAN:
        return type == COL_BOOL ? OP_BOOLEAN : -1;
    case SCHEMA_INT:
        return type == COL_INT ? OP_INT : f64 ? OP_INT_F64 : -1;
    case SCHEMA_LONG:
        if (is_micros(s))
            return type == COL_INT ? OP_MICROS : f64 ? OP_MICROS_F64 : -1;
        return type == COL_INT ? OP_LONG : f64 ? OP_LONG_F64 : -1;
    case SCHEMA_FLOAT:
        return f64 ? OP_FLOAT : -1;
    case SCHEMA_DOUBLE:
        return f64 ? OP_DOUBLE : -1;
    case SCHEMA_BYTES:
    case SCHEMA_STRING:
        return type == COL_STRING ? OP_TEXT : type == COL_BYTES ? OP_BYTES : -1;
    case SCHEMA_FIXED:
        return type == COL_BYTES ? OP_FIXED : -1;
    case SCHEMA_ENUM:
        return type == COL_STRING ? OP_ENUM : -1;
    default:
        return -1;
    }
}

/* What can be wanted whole. */
static bool is_nested(const struct schema *s)
{
    return s->type == SCHEMA_RECORD || s->type == SCHEMA_ARRAY || s->type == SCHEMA_MAP || s->type == SCHEMA_UNION;
}

static enum status wrong_want(struct maker *m, const struct want *w, const struct schema *s)
{
    return err_set(m->err, ERR_FATAL, "field '%s' is %s, wanted as %s", w->path, schema_type_name(s),
                   col_type_name(w->type));
}

static enum status make_leaf(struct maker *m, const struct schema *s, size_t col)
{
    const struct schema *leaf = schema_unwrap(s);
    int code = leaf_code(leaf, m->want[col].type);
    struct view *symbols;
    struct op *op;

    if (code < 0)
        return wrong_want(m, &m->want[col], leaf);
    op = add_col_op(m, (enum op_code)code, col);
    op->null_at = null_at(s);
    if (code == OP_FIXED)
        op->n = leaf->fixed_bytes;
    if (code == OP_ENUM) {
        op->n = leaf->n;
        symbols = arena_alloc(&m->plan->arena, leaf->n * sizeof(*symbols));
        for (size_t i = 0; i < leaf->n; i++) {
            const char *symbol = arena_strdup(&m->plan->arena, leaf->symbols[i]);

            symbols[i] = view_str(symbol);
        }
        op->symbols = symbols;
    }
    return OK;
}

/* What a default (not null, and it fits: the schema was checked) is in a column. */
static enum status constant_of(struct maker *m, const struct schema *s, const json_t *v, const struct want *w,
                               struct constant *c)
{
    struct arena *a = &m->plan->arena;
    struct bytes b = BYTES_EMPTY;
    enum status st;
    int64_t i;
    size_t head = 0;

    switch (w->type) {
    case COL_BOOL:
        c->i64 = json_is_true(v);
        return OK;
    case COL_INT:
        i = json_integer_value(v);
        c->i64 = is_micros(s) ? i / 1000 - (i % 1000 < 0) : i;
        return OK;
    case COL_DOUBLE:
        c->f64 = json_number_value(v) / (is_micros(s) ? 1000 : 1);
        return OK;
    case COL_STRING:
        if (s->type != SCHEMA_BYTES) {
            c->view = view_of(arena_copy(a, json_string_value(v), json_string_length(v)), json_string_length(v));
            return OK;
        }
        break;
    default:
        break;
    }
    st = schema_encode_default(s, v, &b, m->err);
    if (st == OK && (s->type == SCHEMA_BYTES || s->type == SCHEMA_STRING)) {
        while (b.data[head] >= 0x80)
            head++;
        head++;
    }
    if (st == OK)
        c->view = view_of(arena_copy(a, b.data + head, b.n - head), b.n - head);
    bytes_done(&b);
    return st;
}

static enum status missing(struct maker *m, const struct want *w, const struct schema *writer)
{
    const char *near = schema_nearest(writer, strrchr(w->path, '.') ? strrchr(w->path, '.') + 1 : w->path);

    return err_set(m->err, ERR_FATAL, "field '%s' is not in %s%s%s%s, and the reader has no default for it", w->path,
                   schema_type_name(writer), near[0] ? " (nearest: '" : "", near, near[0] ? "')" : "");
}

/* A wanted field that the writer lacks, at `rest` of the reader's record: its default or null. */
static enum status make_const(struct maker *m, const struct schema *writer, const struct schema *r, const char *rest,
                              size_t col)
{
    const struct want *w = &m->want[col];
    struct constant *c = arena_zalloc(&m->plan->arena, sizeof(*c));
    const struct schema *s = r ? schema_at(r, rest) : NULL;
    const json_t *v = NULL;
    bool nullable = false;
    bool first = true;

    if (s == NULL)
        return missing(m, w, writer);
    for (; rest[0] != '\0' && !json_is_null(v); first = false) {
        size_t n = strcspn(rest, ".");
        const char *name = arena_printf(&m->plan->arena, "%.*s", (int)n, rest);
        const struct schema_field *f = schema_field(schema_unwrap(r), name);
        const json_t *inner = first ? NULL : json_object_get(v, name);

        v = inner ? inner : f->deflt;
        nullable = nullable || null_at(f->type) != 0 || f->type->type == SCHEMA_NULL;
        if (v == NULL && !nullable)
            return missing(m, w, writer);
        if (v == NULL)
            break;
        r = f->type;
        rest += n + (rest[n] == '.');
    }
    if (w->type == COL_AVRO ? !is_nested(schema_unwrap(s)) : leaf_code(schema_unwrap(s), w->type) < 0)
        return wrong_want(m, w, s);
    c->is_null = v == NULL || json_is_null(v);
    add_col_op(m, OP_CONST, col)->constant = c;
    return c->is_null ? OK : constant_of(m, schema_unwrap(s), v, w, c);
}

/* Readers of a nested value know its schema as the reader's: the bytes must be of the same form. */
static enum status check_whole(struct maker *m, const struct schema *w, const struct schema *r, size_t col)
{
    struct bytes a = BYTES_EMPTY;
    struct bytes b = BYTES_EMPTY;
    bool same;

    if (r == NULL)
        return OK;
    schema_write_canonical(w, &a);
    schema_write_canonical(schema_unwrap(r), &b);
    same = a.n == b.n && memcmp(a.data, b.data, a.n) == 0;
    bytes_done(&a);
    bytes_done(&b);
    if (same)
        return OK;
    return err_set(m->err, ERR_FATAL,
                   "field '%s' is wanted whole, and the writer's schema of it is not the reader's", m->want[col].path);
}

static bool wanted_below(const struct maker *m, const char *path)
{
    size_t n = strlen(path);

    for (size_t i = 0; i < m->n_want; i++)
        if (strncmp(m->want[i].path, path, n) == 0 && m->want[i].path[n] == '.')
            return true;
    return false;
}

static long wanted_at(const struct maker *m, const char *path)
{
    for (size_t i = 0; i < m->n_want; i++)
        if (strcmp(m->want[i].path, path) == 0)
            return (long)i;
    return -1;
}

static enum status make_field(struct maker *m, const struct schema *w, const struct schema *r, const char *path,
                              bool keep)
{
    const struct schema *inner = schema_unwrap(w);
    bool below = wanted_below(m, path);
    long col = wanted_at(m, path);
    bool whole = col >= 0 && m->want[col].type == COL_AVRO;
    size_t jump = m->plan->n_ops;
    enum status st = OK;

    if (below && inner->type != SCHEMA_RECORD)
        return err_set(m->err, ERR_FATAL, "field '%s' is %s: it has no fields, but some are wanted", path,
                       schema_type_name(inner));
    if (col >= 0 && !whole)
        return make_leaf(m, w, (size_t)col);
    if (!below && col < 0) {
        make_skip(m, w, path, keep);
        return OK;
    }
    if (whole && leaf_code(inner, COL_AVRO) >= 0)
        return make_leaf(m, w, (size_t)col);
    if (whole && !is_nested(inner))
        return wrong_want(m, &m->want[col], inner);
    if (null_at(w) != 0)
        add_op(m, OP_NULLABLE, path)->null_at = null_at(w);
    if (whole) {
        st = check_whole(m, inner, r, (size_t)col);
        add_col_op(m, OP_OPEN, (size_t)col);
    }
    if (st == OK && below)
        st = make_record(m, inner, r ? schema_unwrap(r) : NULL, path, keep || whole);
    else if (st == OK)
        make_skip(m, inner, path, true);
    if (whole)
        add_col_op(m, OP_CLOSE, (size_t)col);
    if (null_at(w) != 0)
        end_nullable(m, jump);
    return st;
}

/* The wanted fields of a record that its writer lacks come last: so they are null when it is. */
static enum status make_record(struct maker *m, const struct schema *w, const struct schema *r, const char *prefix,
                               bool keep)
{
    size_t n_prefix = prefix[0] ? strlen(prefix) + 1 : 0;

    for (size_t i = 0; i < w->n; i++) {
        const char *path = arena_printf(&m->plan->arena, "%s%s%s", prefix, prefix[0] ? "." : "", w->fields[i].name);
        const struct schema_field *f = r ? schema_field(r, w->fields[i].name) : NULL;

        if (make_field(m, w->fields[i].type, f ? f->type : NULL, path, keep) != OK)
            return m->err->status;
    }
    for (size_t i = 0; i < m->n_want; i++) {
        const char *rest = m->want[i].path + n_prefix;
        char name[256];

        if (n_prefix != 0 && (strncmp(m->want[i].path, prefix, n_prefix - 1) != 0 || rest[-1] != '.'))
            continue;
        if (strcspn(rest, ".") >= sizeof(name))
            return missing(m, &m->want[i], w);
        memcpy(name, rest, strcspn(rest, "."));
        name[strcspn(rest, ".")] = '\0';
        if (schema_field(w, name) == NULL && make_const(m, w, r, rest, i) != OK)
            return m->err->status;
    }
    return OK;
}

enum status decode_plan_new(const struct schema *writer, const struct schema *reader, const struct want *want,
                            size_t n_want, struct decode_plan **ret_plan, struct error *err)
{
    struct decode_plan *p = xcalloc(1, sizeof(*p));
    struct maker m = {.plan = p, .want = want, .n_want = n_want, .err = err};
    enum status st = OK;

    p->n_cols = n_want;
    if (n_want > UINT16_MAX)
        st = err_set(err, ERR_FATAL, "%zu columns; at most %d", n_want, UINT16_MAX);
    else if (writer->type != SCHEMA_RECORD || (reader && reader->type != SCHEMA_RECORD))
        st = err_set(err, ERR_FATAL, "the schema is %s; a topic's values are records",
                     schema_type_name(writer->type != SCHEMA_RECORD ? writer : reader));
    for (size_t i = 0; i < n_want && st == OK; i++)
        if (wanted_at(&m, want[i].path) != (long)i)
            st = err_set(err, ERR_FATAL, "field '%s' is wanted twice", want[i].path);
    if (st == OK)
        st = make_record(&m, writer, reader, "", false);
    add_op(&m, OP_END, "");
    if (st != OK) {
        decode_plan_free(p);
        return st;
    }
    /* The paths are the caller's; a plan lives on its own. */
    for (size_t i = 0; i < p->n_ops; i++)
        p->ops[i].path = arena_strdup(&p->arena, p->ops[i].path);
    *ret_plan = p;
    return OK;
}

void decode_plan_free(struct decode_plan *p)
{
    if (p == NULL)
        return;
    arena_done(&p->arena);
    free(p->ops);
    free(p);
}

/* -- rows -- */

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

static bool skip_n(struct skip *s, const struct op *op)
{
    int64_t v;

    for (size_t i = 0; i < op->n; i++) {
        if (op->code == OP_SKIP_LONGS ? !skip_long(s, &v) : !skip_length(s, &v))
            return false;
        if (op->code == OP_SKIP_BYTES)
            s->p += v;
    }
    return true;
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

/* A flat switch: each case is one way from bytes to a column's slot. */
enum status decode_row(const struct decode_plan *p, struct view body, struct batch *b, size_t row, struct error *err)
{
    struct skip s = {.p = body.data, .end = body.data + body.n};
    const struct op *op = p->ops;
    struct col *cols = b->cols;
    bool is_null = false;
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
                set_null(c, row);
                continue;
            }
        }
        switch ((enum op_code)op->code) {
        case OP_END:
            if (s.p != s.end)
                goto bad;
            return OK;
        case OP_SKIP_FIXED:
            if ((size_t)(s.end - s.p) < op->n) {
                skip_fail(&s, BAD_END, 0, 0);
                goto bad;
            }
            s.p += op->n;
            continue;
        case OP_SKIP_LONGS:
        case OP_SKIP_BYTES:
            if (!skip_n(&s, op))
                goto bad;
            continue;
        case OP_SKIP_VALUE:
        case OP_KEEP_VALUE:
            s.text = op->code == OP_KEEP_VALUE;
            if (!skip_value(&s, op->schema))
                goto bad;
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
    return bad_row(&s, op, err);
}
