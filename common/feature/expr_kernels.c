/* common/feature/expr_kernels.c: one operation over all rows, per type. The value of a null is 0 or empty, before and after. */
#include <math.h>

#include "base/calendar.h"
#include "feature/expr_tree.h"
#include "feature/zone.h"

#define DAY_MS INT64_C(86400000)

/* Copies, for nothing else may point to what a loop over rows keeps in registers. */
#define TAKE(NAME, I) const struct vec NAME = f->vecs[s->args[I]]
#define OUT const struct vec o = f->vecs[s->out]
#define ROWS for (size_t r = 0; r < f->n_rows; r++)
#define NULL_OF(A) (A).null[r & (A).mask]

static void put_number(const struct vec *o, size_t r, uint8_t null, double v)
{
    null = (uint8_t)(null | !isfinite(v));
    o->null[r] = null;
    o->f64[r] = null ? 0 : v + 0.0; /* -0.0 becomes 0.0 */
}

static void put_int(const struct vec *o, size_t r, uint8_t null, int64_t v)
{
    o->null[r] = null;
    o->i64[r] = null ? 0 : v;
}

/* VALUE is of x (and y), of the field FROM; a number that is not finite is null. */
#define UNARY(NAME, FROM, FROM_TYPE, PUT, VALUE)                                                                                 \
    void NAME(const struct step *s, const struct frame *f)                                                                       \
    {                                                                                                                            \
        TAKE(a, 0);                                                                                                              \
        OUT;                                                                                                                     \
        ROWS                                                                                                                     \
        {                                                                                                                        \
            FROM_TYPE x = a.FROM[r & a.mask];                                                                                    \
            PUT(&o, r, NULL_OF(a), VALUE);                                                                                       \
        }                                                                                                                        \
    }
#define BINARY(NAME, FROM, FROM_TYPE, PUT, VALUE)                                                                                \
    void NAME(const struct step *s, const struct frame *f)                                                                       \
    {                                                                                                                            \
        TAKE(a, 0);                                                                                                              \
        TAKE(b, 1);                                                                                                              \
        OUT;                                                                                                                     \
        ROWS                                                                                                                     \
        {                                                                                                                        \
            FROM_TYPE x = a.FROM[r & a.mask], y = b.FROM[r & b.mask];                                                            \
            PUT(&o, r, NULL_OF(a) | NULL_OF(b), VALUE);                                                                          \
        }                                                                                                                        \
    }
/* WRONG: null beyond the operands'; it may set z. */
#define EXACT(NAME, WRONG)                                                                                                       \
    void NAME(const struct step *s, const struct frame *f)                                                                       \
    {                                                                                                                            \
        TAKE(a, 0);                                                                                                              \
        TAKE(b, 1);                                                                                                              \
        OUT;                                                                                                                     \
        ROWS                                                                                                                     \
        {                                                                                                                        \
            int64_t x = a.i64[r & a.mask], y = b.i64[r & b.mask], z = 0;                                                         \
            uint8_t null = NULL_OF(a) | NULL_OF(b) | (WRONG);                                                                    \
            put_int(&o, r, null, z);                                                                                             \
        }                                                                                                                        \
    }

static bool mod(int64_t x, int64_t y, int64_t *z)
{
    *z = y == 0 || y == -1 ? 0 : x % y; /* % -1 is 0 for all */
    return y == 0;
}

/* ---- arithmetic ---- */
EXACT(k_add_int, __builtin_add_overflow(x, y, &z))
EXACT(k_sub_int, __builtin_sub_overflow(x, y, &z))
EXACT(k_mul_int, __builtin_mul_overflow(x, y, &z))
EXACT(k_mod_int, mod(x, y, &z))
BINARY(k_add, f64, double, put_number, x + y)
BINARY(k_sub, f64, double, put_number, x - y)
BINARY(k_mul, f64, double, put_number, x *y)
BINARY(k_div, f64, double, put_number, x / y)
BINARY(k_mod, f64, double, put_number, fmod(x, y))
UNARY(k_to_number, i64, int64_t, put_number, (double)x)
UNARY(k_abs, f64, double, put_number, fabs(x))
UNARY(k_log, f64, double, put_number, math_log(x))
UNARY(k_exp, f64, double, put_number, math_exp(x))
UNARY(k_floor, f64, double, put_number, floor(x))
BINARY(k_min_int, i64, int64_t, put_int, y < x ? y : x)
BINARY(k_max_int, i64, int64_t, put_int, y > x ? y : x)
BINARY(k_min, f64, double, put_number, y < x ? y : x)
BINARY(k_max, f64, double, put_number, y > x ? y : x)

void k_abs_int(const struct step *s, const struct frame *f)
{
    TAKE(a, 0);
    OUT;

    ROWS
    {
        int64_t x = a.i64[r & a.mask];

        put_int(&o, r, NULL_OF(a) | (x == INT64_MIN), x == INT64_MIN ? 0 : x < 0 ? -x : x);
    }
}

/* Half away from zero; digits before the point are divided off. */
void k_round(const struct step *s, const struct frame *f)
{
    const struct scale *scale = s->with;
    TAKE(a, 0);
    OUT;

    ROWS
    {
        double x = a.f64[r & a.mask];
        double v = scale->divides ? round(x / scale->power) * scale->power : round(x * scale->power) / scale->power;

        put_number(&o, r, NULL_OF(a), isfinite(x * scale->power) ? v : x); /* so large a number has no such digits */
    }
}

/* ---- conditions ---- */
BINARY(k_eq_int, i64, int64_t, put_int, x == y)
BINARY(k_ne_int, i64, int64_t, put_int, x != y)
BINARY(k_lt_int, i64, int64_t, put_int, x < y)
BINARY(k_le_int, i64, int64_t, put_int, x <= y)
BINARY(k_gt_int, i64, int64_t, put_int, x > y)
BINARY(k_ge_int, i64, int64_t, put_int, x >= y)
BINARY(k_eq, f64, double, put_int, x == y)
BINARY(k_ne, f64, double, put_int, x != y)
BINARY(k_lt, f64, double, put_int, x < y)
BINARY(k_le, f64, double, put_int, x <= y)
BINARY(k_gt, f64, double, put_int, x > y)
BINARY(k_ge, f64, double, put_int, x >= y)
BINARY(k_eq_text, view, struct view, put_int, view_eq(x, y))
BINARY(k_ne_text, view, struct view, put_int, !view_eq(x, y))
UNARY(k_not, i64, int64_t, put_int, !x)

void k_and(const struct step *s, const struct frame *f)
{
    TAKE(a, 0);
    TAKE(b, 1);
    OUT;

    ROWS
    {
        int64_t x = a.i64[r & a.mask], y = b.i64[r & b.mask];
        bool is_false = (!NULL_OF(a) && !x) || (!NULL_OF(b) && !y);

        put_int(&o, r, !is_false && (NULL_OF(a) | NULL_OF(b)), x & y);
    }
}

void k_or(const struct step *s, const struct frame *f)
{
    TAKE(a, 0);
    TAKE(b, 1);
    OUT;

    ROWS
    {
        int64_t z = a.i64[r & a.mask] | b.i64[r & b.mask];

        put_int(&o, r, !z && (NULL_OF(a) | NULL_OF(b)), z);
    }
}

void k_is_null(const struct step *s, const struct frame *f)
{
    TAKE(a, 0);
    OUT;

    ROWS put_int(&o, r, 0, NULL_OF(a));
}

/* ---- choice: of words, which integers and numbers are alike, and of texts ---- */
#define CHOICE(NAME, N, FIELD, INDEX)                                                                                            \
    void NAME(const struct step *s, const struct frame *f)                                                                       \
    {                                                                                                                            \
        const struct vec args[3] = {f->vecs[s->args[0]], f->vecs[s->args[1]], f->vecs[s->args[(N) - 1]]};                        \
        OUT;                                                                                                                     \
        ROWS                                                                                                                     \
        {                                                                                                                        \
            const struct vec *a = &args[INDEX];                                                                                  \
            o.null[r] = a->null[r & a->mask];                                                                                    \
            o.FIELD[r] = a->FIELD[r & a->mask];                                                                                  \
        }                                                                                                                        \
    }
CHOICE(k_coalesce, 2, i64, NULL_OF(args[0]) ? 1 : 0)
CHOICE(k_coalesce_text, 2, view, NULL_OF(args[0]) ? 1 : 0)
CHOICE(k_if, 3, i64, args[0].i64[r & args[0].mask] ? 1 : 2) /* a null's value is 0 */
CHOICE(k_if_text, 3, view, args[0].i64[r & args[0].mask] ? 1 : 2)

/* The value at the index that comes first; beyond them, null. */
#define PICK(NAME, FIELD, EMPTY)                                                                                                 \
    void NAME(const struct step *s, const struct frame *f)                                                                       \
    {                                                                                                                            \
        size_t n = *(const size_t *)s->with;                                                                                     \
        TAKE(index, 0);                                                                                                          \
        OUT;                                                                                                                     \
        ROWS                                                                                                                     \
        {                                                                                                                        \
            uint64_t i = (uint64_t)index.i64[r & index.mask];                                                                    \
            const struct vec *a = !NULL_OF(index) && i < n ? &f->vecs[s->args[i + 1]] : NULL;                                    \
            o.null[r] = a == NULL || a->null[r & a->mask];                                                                       \
            o.FIELD[r] = a ? a->FIELD[r & a->mask] : EMPTY;                                                                      \
        }                                                                                                                        \
    }
PICK(k_pick, i64, 0)
PICK(k_pick_text, view, (struct view){0})

void k_copy(const struct step *s, const struct frame *f)
{
    TAKE(a, 0);
    OUT;

    ROWS put_int(&o, r, NULL_OF(a), a.i64[r & a.mask]);
}

void k_copy_text(const struct step *s, const struct frame *f)
{
    TAKE(a, 0);
    OUT;

    ROWS
    {
        o.null[r] = NULL_OF(a);
        o.view[r] = a.view[r & a.mask];
    }
}

/* ---- membership ---- */
int view_order(struct view a, struct view b)
{
    if (a.n != b.n)
        return a.n < b.n ? -1 : 1;
    return a.n ? memcmp(a.data, b.data, a.n) : 0;
}

#define ORDER(X, Y) ((X) < (Y) ? -1 : (X) > (Y))
#define MEMBER(NAME, FIELD, TYPE, COMPARE)                                                                                       \
    static bool find_##FIELD(const struct list *l, TYPE x)                                                                       \
    {                                                                                                                            \
        size_t lo = 0, hi = l->n;                                                                                                \
        while (lo < hi) {                                                                                                        \
            size_t mid = (lo + hi) / 2;                                                                                          \
            int order = COMPARE(l->FIELD[mid], x);                                                                               \
            if (order == 0)                                                                                                      \
                return true;                                                                                                     \
            if (order < 0)                                                                                                       \
                lo = mid + 1;                                                                                                    \
            else                                                                                                                 \
                hi = mid;                                                                                                        \
        }                                                                                                                        \
        return false;                                                                                                            \
    }                                                                                                                            \
    UNARY(NAME, FIELD, TYPE, put_int, find_##FIELD(s->with, x))
MEMBER(k_in_int, i64, int64_t, ORDER)
MEMBER(k_in, f64, double, ORDER)
MEMBER(k_in_text, view, struct view, view_order)

/* ---- calendar ---- */
struct local {
    const struct zone *zone;
    struct zone_span span; /* where the last instant was: the next is mostly there too */
};

/* Milliseconds of local time. */
static int64_t local_ms(struct local *l, int64_t ms)
{
    int64_t s, local;

    if (l->zone == NULL)
        return ms;
    s = floor_div(ms, 1000);
    if (s < l->span.from || s >= l->span.to)
        l->span = zone_find(l->zone, s);
    return __builtin_add_overflow(ms, (int64_t)l->span.offset * 1000, &local) ? ms : local; /* at the ends of all time: as if UTC */
}

static int64_t day_of_year(int64_t days)
{
    return days - calendar_days(calendar_date(days).year, 1, 1) + 1;
}

/* ISO 8601: weeks begin on Monday; the first is the one with the year's first Thursday. */
static int64_t week(int64_t days)
{
    return (day_of_year(days - calendar_weekday(days) + 3) - 1) / 7 + 1;
}

/* Not by a product: the first day of all begins before the first millisecond. */
static int64_t in_day(int64_t ms)
{
    return ms % DAY_MS + (ms % DAY_MS < 0 ? DAY_MS : 0);
}

/* VALUE is of `ms`, local time, whose days since 1970-01-01 are DAYS. */
#define DAYS floor_div(ms, DAY_MS)
#define CALENDAR(NAME, VALUE)                                                                                                    \
    void NAME(const struct step *s, const struct frame *f)                                                                       \
    {                                                                                                                            \
        struct local local = {.zone = s->with};                                                                                  \
        TAKE(a, 0);                                                                                                              \
        OUT;                                                                                                                     \
        ROWS                                                                                                                     \
        {                                                                                                                        \
            int64_t ms = local_ms(&local, a.i64[r & a.mask]);                                                                    \
            put_int(&o, r, NULL_OF(a), VALUE);                                                                                   \
        }                                                                                                                        \
    }
CALENDAR(k_minute, in_day(ms) / 60000 % 60)
CALENDAR(k_hour, in_day(ms) / 3600000)
CALENDAR(k_weekday, calendar_weekday(DAYS))
CALENDAR(k_is_weekend, calendar_weekday(DAYS) >= 5)
CALENDAR(k_day, calendar_date(DAYS).day)
CALENDAR(k_month, calendar_date(DAYS).month)
CALENDAR(k_year, calendar_date(DAYS).year)
CALENDAR(k_day_of_year, day_of_year(DAYS))
CALENDAR(k_week, week(DAYS))
