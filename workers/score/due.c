#include "workers/score/due.h"

#include "base/mutant.h"

int64_t due_boundary(const struct due *d, int64_t at)
{
    int64_t t = at - d->lag_ms, q = t / d->every_ms;

    /* C rounds towards zero; times before 1970 lie below */
    return (q - (t % d->every_ms < 0)) * d->every_ms;
}

bool due_is_past(const struct due *d, int64_t at_next)
{
    return d->every_ms == 0 || due_boundary(d, at_next) <= d->passed;
}

static bool is_decided(const struct due *d, const struct model_store *store, const char *model, int64_t b)
{
    return model_store_verdict(store, model, b) || model_store_verdict(store, model, b + d->every_ms);
}

/* Who is a whole period behind the clock catches up, and may wait for whom he likes. */
static bool is_live(const struct due *d, int64_t b, int64_t wall_ms)
{
    return wall_ms - d->every_ms < b + d->lag_ms || !SAFE(M_VERDICT_SLOW);
}

int64_t due_limit(struct due *d, const struct model_store *store, const char *model, int64_t at_next, int64_t wall_ms,
                  bool *ret_gave_up)
{
    bool follows;
    int64_t b;

    *ret_gave_up = false;
    if (due_is_past(d, at_next))
        return INT64_MAX;
    b = due_boundary(d, at_next);
    follows = model_store_verdict(store, model, b - d->every_ms) != NULL;
    if (is_decided(d, store, model, b) || (!follows && b <= d->begins_at)) {
        d->passed = b;
        d->asks = false;
        return INT64_MAX;
    }
    d->asks = !follows && d->begins_at == INT64_MIN;
    /* The earliest boundary is waited for first: tasks at different times must not restart each other's clock. */
    if (d->held <= d->passed || b < d->held) {
        d->held = b;
        d->held_since_ms = wall_ms;
    }
    if (b > d->held)
        return b + d->lag_ms;
    if (wall_ms - d->held_since_ms < d->wait_ms || !is_live(d, b, wall_ms))
        return b + d->lag_ms;
    *ret_gave_up = true;
    d->passed = b;
    return INT64_MAX;
}
