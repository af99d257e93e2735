#include "feature/borders.h"

#include "base/calendar.h"

#define DAY_S ((int64_t)86400)
#define DAY_MS (DAY_S * 1000)
#define MONDAY_MS (4 * DAY_MS) /* 1970-01-05 */

/* The first instant (seconds) whose local time is not before midnight of that local day. */
static int64_t day_begins(const struct zone *z, int64_t day)
{
    int64_t midnight = day * DAY_S;
    struct zone_span span = zone_find(z, midnight - DAY_S); /* no zone is a day ahead: it is earlier there */

    for (;;) {
        int64_t s = midnight - span.offset;

        if (s < span.from)
            s = span.from;
        if (s < span.to)
            return s;
        span = zone_find(z, span.to);
    }
}

static int64_t border_of_day(const struct borders *b, int64_t day)
{
    return b->zone ? day_begins(b->zone, day) * 1000 : day * DAY_MS;
}

static struct period find_days(const struct borders *b, int64_t ms)
{
    int64_t n = b->every_ms / DAY_MS, s = floor_div(ms, 1000);
    int64_t first = n % 7 == 0 ? MONDAY_MS / DAY_MS : 0; /* a day from which they are counted */
    int64_t local = floor_div(s + (b->zone ? zone_find(b->zone, s).offset : 0), DAY_S);
    int64_t day = first + floor_div(local - first, n) * n;
    struct period p;

    while (border_of_day(b, day) > ms) /* a clock that is put back over midnight has the end of a day twice */
        day -= n;
    while ((p.end = border_of_day(b, day + n)) <= ms)
        day += n;
    p.start = border_of_day(b, day);
    return p;
}

struct period borders_find(const struct borders *b, int64_t ms)
{
    int64_t start;

    if (b->every_ms % DAY_MS == 0)
        return find_days(b, ms);
    start = floor_div(ms, b->every_ms) * b->every_ms;
    return (struct period){start, start + b->every_ms};
}

void borders_steps(const struct borders *b, int64_t t, size_t n, int64_t *ret_times)
{
    bool walks = b->zone && borders_find(b, t).start == t;

    for (size_t i = 0; i < n; i++)
        ret_times[i] = t = walks ? borders_find(b, t).end : t + b->every_ms;
}
