/* common/feature/parts.c: what all parts have, and those of fixed size. */
#include "feature/parts.h"

#include <math.h>
#include <string.h>

int128 scaled_of(double v, double factor)
{
    static const double magic = 6755399441055744.0; /* 1.5 * 2^52: adding it rounds to an integer, ties to even */
    double x = v * factor;
    union {
        double d;
        int64_t i;
    } rounded = {x + magic}, zero = {magic};

    if (fabs(x) < 1e15)
        return rounded.i - zero.i;
    return fabs(x) < 9e18 ? (int128)llrint(x) : (int128)x;
}

void part_clear(struct past *p, const struct part_def *def)
{
    for (size_t i = 0; i < def->kind->n_runs; i++)
        past_give_run(p, part_run_of(p, def, i));
    memset(part_of(p, def), 0, def->kind->bytes);
}

void part_move_runs(struct past *p, const struct part_def *def, const struct past *from, const struct part_def *base)
{
    for (size_t i = 0; i < def->kind->n_runs; i++) {
        struct part_run was = *part_run_of(from, base, i), now = {0, 0};

        if (was.place && (now.place = past_take(p, was.order)) != 0) {
            now.order = was.order;
            memcpy(past_at(p, now.place), past_at(from, was.place), run_bytes(p->plan, was.order));
        }
        *part_run_of(p, def, i) = now;
    }
}

/* ---- events ---- */
static void events_add(struct past *p, const struct part_def *def, const struct event *e)
{
    (void)e;
    ((struct part_events *)part_of(p, def))->n++;
}

static void events_in(void *to, const void *part)
{
    ((struct part_events *)to)->n += ((const struct part_events *)part)->n;
}

static void events_out(void *of, const void *part)
{
    ((struct part_events *)of)->n -= ((const struct part_events *)part)->n;
}

static void events_evict(struct past *p, const struct part_def *def, const struct event *e)
{
    (void)e;
    ((struct part_events *)part_of(p, def))->n--;
}

/* ---- sum ---- */
int128 part_sum_of(const struct part_sum *s)
{
    return (int128)(((uint128)s->high << 64) | s->low);
}

static void sum_by(struct part_sum *s, int128 by)
{
    uint128 sum = (uint128)part_sum_of(s) + (uint128)by;

    s->low = (uint64_t)sum;
    s->high = (uint64_t)(sum >> 64);
}

static void sum_in(void *to, const void *part)
{
    sum_by(to, part_sum_of(part));
    ((struct part_sum *)to)->n += ((const struct part_sum *)part)->n;
}

static void sum_out(void *of, const void *part)
{
    sum_by(of, -part_sum_of(part));
    ((struct part_sum *)of)->n -= ((const struct part_sum *)part)->n;
}

static void sum_add(struct past *p, const struct part_def *def, const struct event *e)
{
    struct part_sum *s = part_of(p, def);

    if (isnan(e->v))
        return;
    sum_by(s, scaled_of(e->v, def->factor));
    s->n++;
}

static void sum_evict(struct past *p, const struct part_def *def, const struct event *e)
{
    struct part_sum *s = part_of(p, def);

    if (isnan(e->v))
        return;
    sum_by(s, -scaled_of(e->v, def->factor));
    s->n--;
}

/* ---- squares: 256 bits, for a value has up to 100 ---- */
static void wide_add(uint64_t *a, const uint64_t *b, size_t n)
{
    uint128 carry = 0;

    for (size_t i = 0; i < n; i++) {
        carry += (uint128)a[i] + b[i];
        a[i] = (uint64_t)carry;
        carry >>= 64;
    }
}

static void wide_sub(uint64_t *a, const uint64_t *b, size_t n)
{
    uint64_t borrow = 0;

    for (size_t i = 0; i < n; i++) {
        uint128 d = (uint128)a[i] - b[i] - borrow;

        a[i] = (uint64_t)d;
        borrow = (uint64_t)(d >> 64) & 1;
    }
}

static void wide_mul(const uint64_t *a, size_t n_a, const uint64_t *b, size_t n_b, uint64_t *ret)
{
    memset(ret, 0, (n_a + n_b) * sizeof(*ret));
    for (size_t i = 0; i < n_a; i++) {
        uint128 carry = 0;

        for (size_t j = 0; j < n_b; j++) {
            carry += (uint128)a[i] * b[j] + ret[i + j];
            ret[i + j] = (uint64_t)carry;
            carry >>= 64;
        }
        ret[i + n_b] = (uint64_t)carry;
    }
}

static void square(int128 v, uint64_t ret[4])
{
    uint128 m = v < 0 ? -(uint128)v : (uint128)v;
    uint64_t words[2] = {(uint64_t)m, (uint64_t)(m >> 64)};

    if (words[1] == 0) { /* as nearly all are */
        m *= m;
        memcpy(ret, (uint64_t[4]){(uint64_t)m, (uint64_t)(m >> 64), 0, 0}, 4 * sizeof(*ret));
        return;
    }
    wide_mul(words, 2, words, 2, ret);
}

static void squares_add(struct past *p, const struct part_def *def, const struct event *e)
{
    uint64_t s[4];

    if (isnan(e->v))
        return;
    square(scaled_of(e->v, def->factor), s);
    wide_add(((struct part_squares *)part_of(p, def))->word, s, 4);
}

static void squares_evict(struct past *p, const struct part_def *def, const struct event *e)
{
    uint64_t s[4];

    if (isnan(e->v))
        return;
    square(scaled_of(e->v, def->factor), s);
    wide_sub(((struct part_squares *)part_of(p, def))->word, s, 4);
}

static void squares_in(void *to, const void *part)
{
    wide_add(((struct part_squares *)to)->word, ((const struct part_squares *)part)->word, 4);
}

static void squares_out(void *of, const void *part)
{
    wide_sub(((struct part_squares *)of)->word, ((const struct part_squares *)part)->word, 4);
}

double part_spread(const struct part_sum *s, const struct part_squares *q)
{
    uint64_t n[1] = {s->n}, a[5], b[5] = {0};
    int128 sum = part_sum_of(s);
    double out = 0;

    if (sum == (int64_t)sum && q->word[1] < UINT32_MAX && (q->word[2] | q->word[3]) == 0 && s->n < UINT32_MAX) {
        uint128 spread = (((uint128)q->word[1] << 64) | q->word[0]) * s->n - (uint128)(sum * sum); /* nothing overflows */

        return (double)(uint64_t)(spread >> 64) * 0x1p64 + (double)(uint64_t)spread;
    }
    wide_mul(q->word, 4, n, 1, a);
    square(sum, b);
    wide_sub(a, b, 5); /* never below 0, for the sums are exact */
    for (size_t i = 5; i-- > 0;)
        out = out * 0x1p64 + (double)a[i];
    return out;
}

/* ---- since ever: they only take in ---- */
static void best_add(struct part_best *b, double v, bool least)
{
    if (isnan(v) || (b->has && !(least ? v < b->v : v > b->v)))
        return;
    b->v = v;
    b->has = 1;
}

static void least_add(struct past *p, const struct part_def *def, const struct event *e)
{
    best_add(part_of(p, def), e->v, true);
}

static void least_in(void *to, const void *part)
{
    if (((const struct part_best *)part)->has)
        best_add(to, ((const struct part_best *)part)->v, true);
}

static void most_in(void *to, const void *part)
{
    if (((const struct part_best *)part)->has)
        best_add(to, ((const struct part_best *)part)->v, false);
}

static void most_add(struct past *p, const struct part_def *def, const struct event *e)
{
    best_add(part_of(p, def), e->v, false);
}

static void first_add(struct past *p, const struct part_def *def, const struct event *e)
{
    struct part_first *f = part_of(p, def);

    if (!f->has || e->ms < f->ms)
        *f = (struct part_first){e->ms, e->v, 1};
}

/* Of equally late ones the one that was taken last. */
static void latest_add(struct past *p, const struct part_def *def, const struct event *e)
{
    struct part_first *f = part_of(p, def);

    if (!f->has || e->ms >= f->ms)
        *f = (struct part_first){e->ms, e->v, 1};
}

double half_to(double x)
{
    double whole = floor(x), y = (x - whole) * -0.69314718055994530942, term = 1, sum = 1;

    if (!(whole < 1000))
        return 0;
    for (int i = 1; i < 20; i++) {
        term = term * y / i;
        sum += term;
    }
    return ldexp(sum, -(int)whole);
}

static void decayed_add(struct past *p, const struct part_def *def, const struct event *e)
{
    struct part_decayed *d = part_of(p, def);
    double f;

    if (isnan(e->v))
        return;
    if (e->ms < d->ms && d->weight != 0) { /* older than all that may still come in order */
        f = half_to((double)((uint64_t)d->ms - (uint64_t)e->ms) / def->parameter);
        d->sum += e->v * f;
        d->weight += f;
        return;
    }
    f = d->weight == 0 ? 0 : half_to((double)((uint64_t)e->ms - (uint64_t)d->ms) / def->parameter);
    d->sum = d->sum * f + e->v;
    d->weight = d->weight * f + 1;
    d->ms = e->ms;
}

#define FIXED(name_, type, ...) {.name = name_, .bytes = sizeof(struct type), __VA_ARGS__}
const struct part_kind PART_EVENTS = FIXED("events", part_events, .takes_back = true, .add = events_add, .evict = events_evict,
                                           .in = events_in, .out = events_out);
const struct part_kind PART_SUM = FIXED("sum", part_sum, .takes_back = true, .add = sum_add, .evict = sum_evict, .in = sum_in,
                                        .out = sum_out);
const struct part_kind PART_SQUARES = FIXED("squares", part_squares, .takes_back = true, .add = squares_add, .evict = squares_evict,
                                            .in = squares_in, .out = squares_out);
const struct part_kind PART_LEAST = FIXED("least", part_best, .add = least_add, .in = least_in);
const struct part_kind PART_MOST = FIXED("most", part_best, .add = most_add, .in = most_in);
const struct part_kind PART_FIRST = FIXED("first", part_first, .add = first_add);
const struct part_kind PART_LATEST = FIXED("latest", part_first, .add = latest_add);
const struct part_kind PART_DECAYED = FIXED("decayed", part_decayed, .is_ordered = true, .add = decayed_add);
